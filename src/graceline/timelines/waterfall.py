"""The waterfall: a timeline drawn for a terminal, readable without colour and at any usual width.

Needs rich: `pip install 'graceline[cli]'`. The engine and the sinks never import this module.
"""

from __future__ import annotations

from itertools import chain, groupby
from math import ceil
from operator import itemgetter
from typing import TYPE_CHECKING

import attrs

try:
    from rich.cells import cell_len
    from rich.text import Text
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"graceline.timelines.waterfall needs rich ({_error}); run: pip install 'graceline[cli]'",
        name=_error.name,
    ) from None

from graceline.durations import format_duration
from graceline.timelines.arranging import arranged
from graceline.timelines.bars import STYLES, Bars, Marks, style_of
from graceline.timelines.burning import (
    common_scale,
    left_of,
    scale_of,
    share_of,
    stopped_of,
    ticking,
    urgency_of,
)
from graceline.timelines.facts import closing_facts, in_short
from graceline.timelines.folding import folded, told, told_attempts, without
from graceline.timelines.lettering import cropped, fitted, listed, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

    from graceline.results import PipelineResult
    from graceline.timelines.drawn import Drawn
    from graceline.timelines.rows import Row

__all__ = ["Waterfall"]

_RUNNING, _UNWINDING, _NOT_YET, _BACKOFF = "running", "unwinding", "-", "backoff"
_WIDE = 100  # columns from which there is room for each part's own limit
_NARROW = 60  # columns below which there is no room for what is left of a limit, nor for words
_TIMES, _BAR = 8, 8  # cells of the seconds, and of a bar: where there are fewer, they stay away
_FACTS = 10  # closing lines of a kind, at most
_GAUGE = 10  # cells of the gauge that burns down
_WAITED = 1e-3  # seconds before its first turn that a run has without any queue


_UNICODE = Marks()
_ASCII = Marks("#", "#", "-", "~", ".", ":", "x", "|", "<", "=", ".", "...")


class Waterfall:
    """Draws a timeline: `rich.print(Waterfall(timeline, result))`.

    One line per stage and node: a bar for its work, a lighter one while it unwinds (from its cancel
    to its end, with its cleanup or without), a tick where it was to be cancelled, the status and
    the seconds it took. A node that was tried more than once shows attempts and backoffs in its
    bar, and each attempt on a line below it; of many those in the middle are only counted. The
    closing lines name the level to blame, what was raised and where, why there were no more
    attempts, the degraded parts, the abandoned threads and the partial values. What a console
    cannot encode is written as an escape.

    A run that goes on is drawn as it is at the instant `now`: open bars reach up to it, and what
    runs says how much is left of its limit. The gauge of the first line burns down.

    Args:
        timeline: that of a run, finished or not: `result.timeline`, or a `Timeline` sink.
        result: the result of that run; adds partial values and errors to the closing lines.
        now: for a run that goes on, seconds since its submission: `timeline.elapsed(...)`.
        height: lines to get along with; what is at work is shown first. By default all lines
            of up to 60; of more, stages of more than 3 nodes show those that did not succeed.
        beside: another timeline that is drawn for the same width: both get the same columns, and
            a second is as long in one as in the other.
    """

    def __init__(
        self,
        timeline: Drawn,
        result: PipelineResult | None = None,
        *,
        now: float = 0.0,
        height: int | None = None,
        beside: Drawn | None = None,
    ) -> None:
        self._both = [timeline] if beside is None else [timeline, beside]
        self._timeline = timeline
        self._result = result
        self._now = now
        self._height = height

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Draw for the width and the encoding of a console."""
        run = self._timeline.pipeline
        if run is None:
            yield Text("nothing was heard of a run")
            return
        marks = _ASCII if options.ascii_only else _UNICODE
        width, encoding = options.max_width, options.encoding
        run = attrs.evolve(run, name=shown(run.name, encoding))
        queued = self._timeline.queued
        yield cropped(_headline(run, queued, self._now, width, marks), width, marks.more)
        lines, *others = (self._lines(timeline, width, encoding) for timeline in self._both)
        facts = [
            (word, shown(said, encoding))
            for word, said in in_short(closing_facts(run, self._timeline, self._result), _FACTS)
        ]
        closing = list(listed(facts, console, width, marks.more)) if facts else []
        if lines:
            # Beside the lines there are the first one, the axis and the legend.
            room = len(lines) if self._height is None else self._height - 3 - len(closing)
            scale = common_scale(self._both, self._now) if others else None
            runs = [timeline.pipeline for timeline in self._both]
            left = any(run is not None and left_of(run, self._now) is not None for run in runs)
            columns = _Columns([*lines, *chain(*others)], width, self._now, left=left)
            picture = _Picture(run, lines, columns, self._now, queued, marks, scale)
            yield from picture.lines(room)
        yield from closing

    def _lines(self, timeline: Drawn, width: int, encoding: str) -> list[tuple[int, Row]]:
        word = "#" if width < _NARROW else "attempt "
        lines = [
            (indent, attrs.evolve(row, name=shown(row.name, encoding)))
            for indent, row in arranged(timeline.rows(), self._now, word)
        ]
        return without(lines) if self._height is None else lines


def _headline(run: Row, queued: float, now: float, width: int, marks: Marks) -> Text:
    text = Text(run.name, style="bold", no_wrap=True, overflow="crop")
    text.append("  ")
    own = None if run.limit is None else f"{format_duration(run.limit)} ({run.source})"
    left, stopped = left_of(run, now), stopped_of(run, now)
    if run.status is not None:
        text.append(str(run.status), style=STYLES[run.status])
    elif stopped is None:
        text.append(_RUNNING, style="cyan not bold")
    else:
        text.append(_UNWINDING, style="yellow not bold")
    if run.status is None:
        text.append(f" for {ticking(now - (stopped or 0.0))}", style="not bold")
    elif run.ended is not None:
        text.append(f" after {_short(run.ended)}", style="not bold")
    said = []
    if left is not None:
        said.append(f"{ticking(left)} left" + (f" of {own}" if own else ""))
    elif own is not None:
        said.append(f"limit {own}")
    if queued >= _WAITED:
        said.append(f"{_short(queued)} in the queue")
    text.append("".join(f", {fact}" for fact in said), style="not bold")
    if left is not None and text.cell_len + 2 + _GAUGE <= width:
        share = share_of(run, left)
        full = ceil(share * _GAUGE)
        text.append("  " + marks.left * full + marks.burnt * (_GAUGE - full), urgency_of(share))
    return text


class _Columns:
    """Which columns there is room for, and how wide they are: statuses are the last to be cut.

    Args:
        lines: all of them; of a pair those of both.
        width: in cells.
        now: for a run that goes on, seconds since its submission.
        left: whether anything is left of the limit of a run.
    """

    def __init__(self, lines: list[tuple[int, Row]], width: int, now: float, *, left: bool) -> None:
        self.width = width
        wanted = max(
            cell_len(row.name) + 2 * indent for indent, row in lines if row.level != "more"
        )
        self.name = min(wanted, max(8, width * 3 // 10))
        self.limits = width >= _WIDE and any(row.limit is not None for _, row in lines)
        left = left or any(left_of(row, now) is not None for _, row in lines)
        self.left = left and width >= _NARROW
        taken = self.name + 2 + 3 + 9 + 22 * self.limits + 14 * self.left
        self.times = width >= taken + _TIMES + _BAR + 2
        # Two cells more than the scale: a limit at its very end, and the unwinding behind it.
        self.cells = max(_BAR // 2, width - taken - _TIMES * self.times - 2)


class _Picture:
    """The lines of a picture, and the scale of its bars."""

    def __init__(
        self,
        run: Row,
        lines: list[tuple[int, Row]],
        columns: _Columns,
        now: float,
        queued: float,
        marks: Marks,
        scale: float | None,
    ) -> None:
        self._columns = columns
        self._lines = lines
        self._marks = marks
        parts = [row for _, row in lines if row.level in ("node", "stage")]
        self._now = now
        # A run that did not wait is drawn from its first turn: nothing happened before.
        alone = scale is None
        self._scale = (scale_of(run, [run, *parts], now) if scale is None else scale) or 1.0
        zero = queued if alone and queued < min(_WAITED, self._scale) else 0.0
        self._holding = {row.stage for row in parts if row.level == "node"}
        self._bars = Bars(columns.cells, zero, self._scale, now, marks)

    def lines(self, height: int) -> Iterator[Text]:
        """The axis, one line per part as far as they fit, and what the characters mean."""
        yield self._axis()
        seen: set[str] = set()
        visible, others = folded(self._lines, height)
        for indent, row in visible:
            if row.level == "more":
                yield self._more(indent, row.name or told_attempts(row.attempts))
                continue
            line, used = self._line(indent, row)
            seen |= used
            yield line
        if others:
            yield self._more(0, told(others))
        yield self._legend(seen)

    def _more(self, indent: int, said: str) -> Text:
        text = Text(
            f"{'  ' * indent}{self._marks.more} {said}", style="dim", no_wrap=True, overflow="crop"
        )
        return cropped(text, self._columns.width, self._marks.more)

    def _axis(self) -> Text:
        end = _short(self._scale)
        text = Text(" " * (self._columns.name + 2), style="dim", no_wrap=True, overflow="crop")
        text.append("0" + end.rjust(self._columns.cells))
        return text

    def _legend(self, seen: set[str]) -> Text:
        marks = self._marks
        if marks.brief in seen:
            seen.add(marks.work)
        said = "  ".join(f"{mark} {word}" for mark, word in marks.words().items() if mark in seen)
        indent = min(self._columns.name + 2, max(0, self._columns.width - cell_len(said)))
        text = Text(" " * indent + said, style="dim", no_wrap=True, overflow="crop")
        return cropped(text, self._columns.width, marks.more)

    def _line(self, indent: int, row: Row) -> tuple[Text, set[str]]:
        stopped = stopped_of(row, self._now) is not None
        style = style_of(row, self._now)
        text = Text(no_wrap=True, overflow="crop")
        name = fitted("  " * indent + row.name, self._columns.name, self._marks.more)
        text.append(name, style="bold reverse" if row.blamed else "" if indent else "bold")
        text.append("  ")
        holds = row.level == "stage" and row.stage in self._holding
        bar = self._bars.bar(row, holds=holds)
        for colour, cells in groupby(bar, itemgetter(1)):  # a live view must not take long
            text.append("".join(mark for mark, _ in cells), style=colour)
        text.append(f" {self._marks.blamed if row.blamed else ' '} ", style="bold red")
        waits = _BACKOFF if row.level == "attempt" else _NOT_YET
        word = waits if row.started is None else _UNWINDING if stopped else _RUNNING
        status = str(row.status or word)
        text.append(f"{status:<9}", style=style)
        if self._columns.times:
            text.append(f" {self._took(row):>{_TIMES - 1}}")
        if self._columns.left:
            left = left_of(row, self._now)
            said = "" if left is None else f"{ticking(left):>9} left"
            text.append(f"{said:<14}", "" if left is None else urgency_of(share_of(row, left)))
        if self._columns.limits:
            limit = "" if row.limit is None else f"  limit {_limit(row)}"
            text.append(limit, style="dim")
        text.rstrip()
        used = {mark for mark, _ in bar}
        return text, {*used, self._marks.blamed} if row.blamed else used

    def _took(self, row: Row) -> str:
        if row.started is None:
            return ""
        if row.ended is None:
            return ticking(self._now - row.started)
        return _short(max(0.0, row.ended - row.started))


def _limit(row: Row) -> str:
    source = "" if row.source is None else f" ({row.source})"
    return f"{format_duration(row.limit or 0.0)}{source}"


def _short(seconds: float) -> str:
    return format_duration(0.0 if seconds < 1e-6 else seconds)
