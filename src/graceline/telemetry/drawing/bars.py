"""The bars of a waterfall: what stands in each cell of a line, and in which colour.

The bar of a node with policies shows what it did at each instant: an attempt, a backoff, waiting
for a slot of its bulkhead. Copies of an attempt overlap; the one that succeeded is on top. No event
tells of that waiting: it is what is left between two others, if it is longer than a turn of the
event loop and a rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from graceline.deadlines import Status
from graceline.telemetry.drawing.burning import stopped_of
from graceline.telemetry.drawing.trying import going_since, has_items, is_refused, last_of

if TYPE_CHECKING:
    from graceline.telemetry.timeline import AttemptRow, Row

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

_TURN = 2e-3  # seconds that a turn of the event loop may take before an attempt starts

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
        if row.started is not None:
            if row.unattempted:
                self._draw_unattempted(cells, row)
            elif row.attempts and not has_items(row):
                self._draw_attempts(cells, row)
            else:
                fill = self._marks.span if holds else self._marks.work
                self._draw(cells, row, fill, tick)
        if tick is not None:
            cells[tick] = (self._marks.limit, "cyan")
        return cells

    def _draw(self, cells: list[_Cell], row: Row, fill: str, tick: int | None) -> None:
        """Work, and what unwound after it."""
        started = row.started or 0.0
        ended, worked = self._ended(row), self._worked(row)
        begin, middle, end = self._at(started), self._at(worked), self._at(ended)
        if middle == begin and (worked > started or ended == worked):
            begin = min(begin, self._cells - 1)
            middle, fill = begin + 1, self._marks.brief
        cells[begin:middle] = [(fill, style_of(row, self._now))] * (middle - begin)
        shift = 1 if tick == middle else 0  # the tick stands between work and unwinding
        end = max(end, middle)
        unwinding = (self._marks.unwinding, "yellow")
        cells[middle + shift : end + shift] = [unwinding] * (end - middle)

    def _draw_unattempted(self, cells: list[_Cell], row: Row) -> None:
        """A node that did no work: it was refused, or waited for a slot until it was cut."""
        if row.status is Status.REJECTED:
            self._refuse(cells, self._ended(row))
        else:
            self._fill(cells, row.started or 0.0, self._ended(row), self._marks.queue, "dim")

    def _draw_attempts(self, cells: list[_Cell], row: Row) -> None:
        """What a node was at, one attempt after the other."""
        marks, ended, worked = self._marks, self._ended(row), self._worked(row)
        free, delay = row.started or 0.0, 0.0  # since when nothing but a slot was missing
        for one in row.attempts:
            if one.hedge:
                continue
            if delay > 0 or self._is_wait(free, one.started):
                self._pause(cells, free, one.started)
            else:
                self._fill(cells, free, one.started, marks.work, STYLES[one.status])
            delay = one.delay or 0.0
            free = one.ended + delay
            self._fill(cells, one.ended, min(free, ended), marks.backoff, "dim")
        for one in sorted(row.attempts, key=lambda one: one.status is Status.OK):
            self._draw_one(cells, one, min(one.worked_until, worked), ended)
        last, since = last_of(row), going_since(row)
        if since is not None and since <= ended:
            going = attrs.evolve(row, level="attempt", started=since, attempts=())
            self._draw(cells, going, marks.work, None)
        elif last is not None and last.delay is not None:
            free = last.ended + last.delay
            if is_refused(row):
                self._fill(cells, free, worked, marks.backoff, "dim")
                self._refuse(cells, worked)
            else:
                self._pause(cells, free, worked)
        if worked < ended:
            self._fill(cells, worked, ended, marks.unwinding, "yellow")

    def _draw_one(self, cells: list[_Cell], one: AttemptRow, worked: float, end: float) -> None:
        style = STYLES[one.status]
        if self._at(one.started) == self._at(worked):
            cells[min(self._at(one.started), self._cells - 1)] = (self._marks.brief, style)
        self._fill(cells, one.started, worked, self._marks.work, style)
        self._fill(cells, worked, min(one.ended, end), self._marks.unwinding, "yellow")

    def _pause(self, cells: list[_Cell], free: float, until: float) -> None:
        """What came after a backoff: waiting for a slot, or nothing but its last turn."""
        mark = self._marks.queue if self._is_wait(free, until) else self._marks.backoff
        self._fill(cells, free, until, mark, "dim")

    def _is_wait(self, free: float, until: float) -> bool:
        cell = (self._end - self._zero) / self._cells
        return until - free > max(_TURN, cell)

    def _refuse(self, cells: list[_Cell], at: float) -> None:
        cells[min(self._at(at), self._cells - 1)] = (self._marks.refused, "red")

    def _fill(self, cells: list[_Cell], start: float, end: float, mark: str, style: str) -> None:
        begin, length = self._at(start), self._at(end) - self._at(start)
        if length > 0:
            cells[begin : begin + length] = [(mark, style)] * length

    def _ended(self, row: Row) -> float:
        return self._now if row.ended is None else row.ended

    def _worked(self, row: Row) -> float:
        """Until when its work went on, as far as is known now."""
        stopped = stopped_of(row, self._now) if row.status is None else row.worked_until
        return self._ended(row) if stopped is None else stopped

    def _at(self, instant: float) -> int:
        share = (instant - self._zero) / (self._end - self._zero)
        return max(0, min(self._cells, round(share * self._cells)))
