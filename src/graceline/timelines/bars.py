"""The bars of a waterfall in a terminal: what stands in each cell of a line, and its colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from graceline.deadlines import Status
from graceline.timelines.burning import stopped_of
from graceline.timelines.segments import Segment, segments

if TYPE_CHECKING:
    from graceline.timelines.rows import Row

__all__ = ["STYLES", "Bars", "Marks", "style_of"]

STYLES = {
    Status.OK: "green",
    Status.LATE: "yellow",
    Status.TIMED_OUT: "red",
    Status.FAILED: "red",
    Status.CANCELLED: "magenta",
    Status.SKIPPED: "dim",
    Status.REJECTED: "red",
}
"""The colour of each status."""

_Cell: TypeAlias = tuple[str, str]
"""A character and its style."""


@attrs.frozen
class Marks:
    """The characters of a picture; each means one thing, so that colour is not needed."""

    work: str = "█"
    brief: str = "▏"
    span: str = "─"
    unwinding: str = "░"
    backoff: str = "·"
    queue: str = "◦"
    refused: str = "✕"
    limit: str = "┊"
    blamed: str = "◄"
    left: str = "▰"
    burnt: str = "▱"
    more: str = "…"

    def words(self) -> dict[str, str]:
        """What the legend says of the marks in a bar and beside it, in its order."""
        return {
            self.work: "work", self.span: "stage", self.unwinding: "unwinding",
            self.backoff: "backoff", self.queue: "waits", self.refused: "refused",
            self.limit: "limit", self.blamed: "to blame",
        }  # fmt: skip


def style_of(row: Row, now: float) -> str:
    """The colour of a part: that of its status, or of what it is at."""
    if row.status is not None:
        return STYLES[row.status]
    return "cyan" if stopped_of(row, now) is None else "yellow"


class Bars:
    """Draws bars on one scale.

    Args:
        cells: how many cells the scale has; a bar has two more, for a limit at its very end and
            the unwinding behind it.
        zero: the instant at the left end.
        end: the instant at the right end.
        now: the instant that open bars reach up to.
        marks: the characters.
    """

    def __init__(self, cells: int, zero: float, end: float, now: float, marks: Marks) -> None:
        self._cells = cells
        self._zero = zero
        self._end = end
        self._now = now
        self._marks = marks

    def bar(self, row: Row, *, holds: bool = False) -> list[_Cell]:
        """The cells of one part; `holds` for a stage whose nodes have lines of their own."""
        cells: list[_Cell] = [(" ", "")] * (self._cells + 2)
        tick = None
        if row.limit_at is not None and 0 <= row.limit_at <= self._end:
            tick = self._at(row.limit_at)
        tried = bool(row.attempts) or row.unattempted
        least = (self._end - self._zero) / self._cells
        after = 0
        for piece in segments(row, self._now, least):
            if piece.kind == "refused":
                cells[min(self._at(piece.start), self._cells - 1)] = (self._marks.refused, "red")
            elif piece.kind == "work":
                fill = self._marks.span if holds else self._marks.work
                after = self._work(cells, piece, fill, style_of(row, self._now))
            elif tried:
                self._fill(cells, piece, self._at(piece.start))
            else:
                begin = max(after, self._at(piece.start))
                # The tick stands between work and unwinding.
                self._fill(cells, piece, begin, shift=int(begin == tick))
        if tick is not None:
            cells[tick] = (self._marks.limit, "cyan")
        return cells

    def _work(self, cells: list[_Cell], piece: Segment, fill: str, going: str) -> int:
        style = going if piece.status is None else STYLES[piece.status]
        begin, end = self._at(piece.start), self._at(piece.end)
        if begin == end and piece.brief:
            begin = min(begin, self._cells - 1)
            end, fill = begin + 1, self._marks.brief
        cells[begin:end] = [(fill, style)] * max(0, end - begin)
        return end

    def _fill(self, cells: list[_Cell], piece: Segment, begin: int, shift: int = 0) -> None:
        mark, style = {
            "unwinding": (self._marks.unwinding, "yellow"),
            "backoff": (self._marks.backoff, "dim"),
            "queue": (self._marks.queue, "dim"),
        }[piece.kind]
        length = self._at(piece.end) - begin
        if length > 0:
            cells[begin + shift : begin + shift + length] = [(mark, style)] * length

    def _at(self, instant: float) -> int:
        share = (instant - self._zero) / (self._end - self._zero)
        return max(0, min(self._cells, round(share * self._cells)))
