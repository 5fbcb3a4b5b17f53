"""Charts of horizontal bars: what is promised against its limit, and what features cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil, log10
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from benchmarks.curves import draw_growth
from benchmarks.drawing import HEAD, WIDTH, arrow, bar, dot, line, picture, text, whisker, wrapped
from benchmarks.table import bars, promise, quantity, share, times

if TYPE_CHECKING:
    from benchmarks.measure import Spread
    from benchmarks.rows import Row

__all__ = ["CHARTS", "draw_features", "draw_ratios", "write_charts"]

_EDGE, _LABELS, _SCALE = 20, 430, 310
_LEFT = _EDGE + _LABELS + 12
_LINE, _GROUP, _BAR = 16, 30, 12
_MOST = 1.5
"""So many times its bar is a figure at the end of the scale; what is beyond it has an arrow."""

_LEAST = -1
"""The power of ten at which the scale of microseconds begins."""

FEATURE = ", more per "
"""What a row is called that says what something costs more than without it."""


@attrs.frozen
class _Bar:
    """One line: where its bar ends, or its dot is, on a scale from 0 to 1, and what is said."""

    group: str
    label: str
    spread: tuple[float, float, float]
    said: str
    kind: str


def write_charts(rows: Sequence[Row], path: Path) -> None:
    """Write the chart of ratios into an `.svg`, or all charts into a directory."""
    if path.suffix == ".svg":
        path.write_text(draw_ratios(rows), "utf-8")
        return
    path.mkdir(parents=True, exist_ok=True)
    for name, draw in CHARTS.items():
        (path / f"{name}.svg").write_text(draw(rows), "utf-8")


def draw_ratios(rows: Sequence[Row]) -> str:
    """All rows that promise something: how much of its bar each takes."""
    drawn = []
    for row in rows:
        limit, spread = promise(row)
        if limit:
            said = (
                times(spread, spread=False) if spread is row.ratio else quantity(spread, row.unit)
            )
            shares = _each(spread, partial(share, row, limit))
            kind = "f-failed" if row.verdict == "MISSED" else "f-ok"
            drawn.append(
                _Bar(_heading(row, rows), _label(row, rows), shares, f"{said}, {bars(row)}", kind)
            )
    steps = {percent / 100: f"{percent} %" for percent in (0, 25, 50, 75, 100, 125)}
    title = "what is promised, and what was measured"
    subtitle = "share of its bar that a figure takes, with quartiles; up to the line it holds"
    return _draw(
        title, subtitle, drawn, {at / _MOST: said for at, said in steps.items()}, 1 / _MOST
    )


def draw_features(rows: Sequence[Row]) -> str:
    """What each feature costs where it is switched on, in microseconds, by powers of ten."""
    shown = [row for row in rows if FEATURE in row.what and row.unit == "us"]
    powers = max(1, ceil(log10(max([1.0, *(row.figure.high for row in shown)])))) - _LEAST

    def place(value: float) -> float:
        return (log10(max(value, 10**_LEAST)) - _LEAST) / powers

    drawn = [
        _Bar(row.group, row.what, _each(row.figure, place), quantity(row.figure, "us"), "f-running")
        for row in shown
    ]
    steps = {at / powers: f"{10.0 ** (at + _LEAST):g} us" for at in range(powers + 1)}
    title = "what features cost while nothing fails"
    subtitle = (
        "more than the same run without it, by powers of ten; a dot at the left edge is below"
    )
    return _draw(title, subtitle, drawn, steps)


def _heading(row: Row, rows: Sequence[Row]) -> str:
    """The group, and what all of it is held against."""
    others = {other.against for other in rows if other.group == row.group}
    return f"{row.group}, against {row.against}" if len(others) == 1 and row.against else row.group


def _label(row: Row, rows: Sequence[Row]) -> str:
    said = row.series or not row.against or _heading(row, rows) != row.group
    return row.what if said else f"{row.what}, against {row.against}"


def _each(spread: Spread, place: Callable[[float], float]) -> tuple[float, float, float]:
    low, middle, high = sorted(map(place, (spread.low, spread.median, spread.high)))
    return low, middle, high


def _draw(
    title: str,
    subtitle: str,
    drawn: Sequence[_Bar],
    steps: dict[float, str],
    mark: float | None = None,
) -> str:
    parts: list[str] = []
    y, group = HEAD + 26.0, ""
    top = y
    for one in drawn:
        if one.group != group:
            group = one.group
            y += _GROUP
            parts.append(text(_EDGE, y - 8, group, "f-ink b"))
        labels = wrapped(one.label, _LABELS)
        for at, said in enumerate(labels):
            parts.append(text(_EDGE + _LABELS, y + _LINE * at + 12, said, at="end"))
        middle = y + _LINE * len(labels) / 2
        parts += _one(one, middle)
        y += _LINE * len(labels) + 6
    return picture(title, subtitle, y + 14, [*_scale(steps, top, y + 4, mark), *parts])


def _at(end: float) -> float:
    return _LEFT + _SCALE * min(max(end, 0.0), 1.0)


def _one(one: _Bar, middle: float) -> list[str]:
    scale = _MOST if one.kind != "f-running" else 1.0
    ends = [end / scale for end in one.spread]
    low, value, high = map(_at, ends)
    if one.kind == "f-running":
        parts = [dot(value, middle, one.kind)]
    else:
        parts = [bar(_LEFT, middle - _BAR / 2, value - _LEFT, _BAR, one.kind)]
    if ends[1] > 1:
        parts.append(arrow(value, middle, _BAR, one.kind))
    elif high - low > 1:
        capped = tuple(x for x, end in ((low, ends[0]), (high, ends[2])) if 0 < end <= 1)
        parts.append(whisker(low, high, middle, capped))
    return [*parts, text(WIDTH - _EDGE, middle + 4.5, one.said, "f-soft", at="end")]


def _scale(steps: dict[float, str], top: float, bottom: float, mark: float | None) -> list[str]:
    parts = []
    for end, said in steps.items():
        x = _at(end)
        heavy = end == mark
        parts += [
            line([(x, top), (x, bottom)], "s-ink" if heavy else "s-line", 1.6 if heavy else 1),
            text(x, top - 7, said, "f-ink m b" if heavy else "f-soft m", at="middle"),
        ]
    return parts


CHARTS: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "ratios": draw_ratios,
    "growth": draw_growth,
    "features": draw_features,
}
"""The charts, by the name of their file."""
