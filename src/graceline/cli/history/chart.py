"""The durations of a key drawn for a terminal: a mark per call, lines for p95 and limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from rich.text import Text

from graceline.adaptive.course import time_of
from graceline.cli.history.marks import CALLS, WORDS, drawn, kind_of, lasting, probing
from graceline.cli.history.scale import scale_for
from graceline.cli.history.words import packed
from graceline.durations import format_duration
from graceline.timelines.lettering import cropped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType

    from graceline.adaptive.course import Point

__all__ = ["Chart"]

_HEIGHT = 18
_PER_TICK = 3  # lines for each duration beside the picture, at least
_STRETCH = 3  # columns of one call, at most: a few calls are no wide picture
_LEAST = 24  # columns
_SPARE = 4  # columns that the narrowest terminal leaves to the picture


@attrs.frozen
class _Marks:
    """The characters of a picture; each means one thing, so that colour is not needed.

    Where two fall on the same place, the later one in this order is seen.
    """

    p95: str = "┄"
    completed: str = "·"
    limit: str = "━"
    probing: str = "═"
    censored: str = "×"  # noqa: RUF001 - a mark, no letter
    probe: str = "◆"
    hung: str = "◇"
    alarm: str = "▲"
    axis: str = "│"
    corner: str = "└"
    base: str = "─"
    more: str = "…"


_UNICODE = _Marks()
_ASCII = _Marks("-", ".", "=", "~", "x", "P", "H", "A", "|", "+", "-", "...")
_COLOURS = {
    "completed": "",
    "censored": "red",
    "probe": "magenta bold",
    "hung": "magenta bold",
    "alarm": "yellow bold",
    "p95": "cyan",
    "limit": "bright_blue",
    "probing": "magenta",
}
_ORDER = ("p95", "completed", "limit", "probing", "censored", "probe", "hung", "alarm")


class Chart:
    """Draws the calls of a key: `rich.print(Chart(course_of(record)))`.

    From left to right one call after another, whatever lay between them; upwards the duration. A
    probe or the call that raised an alarm has a mark of its own in the place of the usual one. The
    limit of a probe held for that call only, and is a mark above it, no part of the line.

    Args:
        points: the calls, oldest first; at least one.
        height: lines of the picture without heading, axis and legend, at least 2.
    """

    def __init__(self, points: Sequence[Point], height: int = _HEIGHT) -> None:
        self._points = points
        self._height = height

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Draw for the width and the encoding of a console."""
        marks = _ASCII if options.ascii_only else _UNICODE
        yield from _Picture(self._points, options.max_width, self._height, marks).lines()


class _Picture:
    """The cells of a picture, and the lines that they make."""

    def __init__(self, points: Sequence[Point], width: int, height: int, marks: _Marks) -> None:
        self._points = points
        self._marks = marks
        self._width = width
        self._height = height
        self._scale = scale_for(drawn(points))
        ticks = self._scale.ticks(max(1, height // _PER_TICK))
        self._labels = {self._row(tick): format_duration(tick) for tick in ticks}
        self._margin = max(map(len, self._labels.values()), default=0) + 2
        room = max(_SPARE, width - self._margin)
        self._columns = min(room, max(_LEAST, _STRETCH * len(points)))
        self._cells = self._filled()

    def _row(self, seconds: float) -> int:
        return round(self._scale.share(seconds) * (self._height - 1))

    def _column(self, number: int) -> int:
        return number * self._columns // len(self._points)

    def _filled(self) -> dict[tuple[int, int], str]:
        """What is seen in each cell, by row and column: the name of its mark."""
        cells: dict[tuple[int, int], str] = {}
        lines = {"p95": [point.p95 for point in self._points], "limit": lasting(self._points)}
        single = {"probing": probing(self._points)}
        for kind in CALLS:
            single[kind] = [
                point.duration if kind_of(point) == kind else None for point in self._points
            ]
        for name in _ORDER:
            for number, seconds in enumerate(lines.get(name, ())):
                if seconds is not None:
                    row = self._row(seconds)
                    for column in range(self._column(number), self._column(number + 1)):
                        cells[row, column] = name
            for number, seconds in enumerate(single.get(name, ())):
                if seconds is not None:
                    cells[self._row(seconds), self._column(number)] = name
        return cells

    def lines(self) -> Iterator[Text]:
        """The picture from top to bottom, its axes and what the characters mean."""
        yield self._said("duration, logarithmic" if self._scale.log else "duration, linear")
        for row in reversed(range(self._height)):
            text = Text(no_wrap=True, overflow="crop")
            text.append(self._labels.get(row, "").rjust(self._margin - 2), style="dim")
            text.append(f" {self._marks.axis}", style="dim")
            for column in range(self._columns):
                name = self._cells.get((row, column))
                if name is None:
                    text.append(" ")
                else:
                    text.append(getattr(self._marks, name), style=_COLOURS[name])
            text.rstrip()
            yield text
        yield self._axis()
        yield from self._ends()
        yield from self._legend()

    def _axis(self) -> Text:
        text = Text(" " * (self._margin - 1) + self._marks.corner, style="dim")
        text.append(self._marks.base * self._columns)
        text.no_wrap, text.overflow = True, "crop"
        return text

    def _ends(self) -> Iterator[Text]:
        """When the oldest and the newest call were."""
        first, last = self._points[0], self._points[-1]
        began, ended = time_of(first.at), time_of(last.at)
        left, right = "oldest", "newest"
        if began is not None and ended is not None:
            left = f"{began:%Y-%m-%d %H:%M} UTC"
            right = f"{ended:%H:%M}" if began.date() == ended.date() else f"{ended:%Y-%m-%d %H:%M}"
        if len(self._points) == 1:
            right = ""
        gap = max(2, self._columns - len(left) - len(right))
        said = " " * self._margin + left + " " * gap + right
        yield cropped(Text(said.rstrip(), style="dim", no_wrap=True), self._width, self._marks.more)

    def _legend(self) -> Iterator[Text]:
        """What the characters mean that are in the picture, in as many lines as they need."""
        seen = set(self._cells.values())
        entries = [
            f"{getattr(self._marks, name)} {word}" for name, word in WORDS.items() if name in seen
        ]
        for line in packed(entries, self._width - self._margin, "  "):
            yield self._said(line)

    def _said(self, line: str) -> Text:
        text = Text(" " * self._margin + line, style="dim", no_wrap=True, overflow="crop")
        return cropped(text, self._width, self._marks.more)
