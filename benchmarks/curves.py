"""The chart of growth: what a node or a run costs by how many there are, one panel per question."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import TYPE_CHECKING

from benchmarks.drawing import HEAD, WIDTH, line, picture, text, wrapped

if TYPE_CHECKING:
    from benchmarks.measure import Spread
    from benchmarks.rows import Row

__all__ = ["draw_growth"]

_ENGINE = "engine"
_OTHERS = {"hand-written scopes": "late", "plain Trio": "skipped", "bare loop": "skipped"}
_COLOURS = {_ENGINE: "running", **_OTHERS}
_ACROSS, _EDGE, _GAP = 3, 20, 24
_PANEL = (WIDTH - 2 * _EDGE - (_ACROSS - 1) * _GAP) / _ACROSS
_HIGH, _TITLE, _FOOT, _AXIS = 150, 46, 40, 54

Curves = dict[str, dict[str, dict[float, "Spread"]]]
"""Figures by size, by contestant, by panel."""


def draw_growth(rows: Sequence[Row]) -> str:
    """All rows that were measured at several sizes."""
    panels, units = _panels(rows)
    parts: list[str] = []
    height = _TITLE + _HIGH + _FOOT
    for at, (title, curves) in enumerate(panels.items()):
        x = _EDGE + (at % _ACROSS) * (_PANEL + _GAP)
        y = HEAD + 34 + (at // _ACROSS) * height
        parts += _panel(title, curves, units[title], x, y)
    names = [name for name in _COLOURS if any(name in curves for curves in panels.values())]
    legend: list[str] = []
    x = float(_EDGE)
    for name in names:
        legend += [
            line([(x, HEAD + 16), (x + 22, HEAD + 16)], f"s-{_COLOURS[name]}", 2.5),
            text(x + 28, HEAD + 20.5, name),
        ]
        x += 28 + 8 * len(name) + 30
    bottom = HEAD + 34 + -(-len(panels) // _ACROSS) * height
    title = "how cost grows with size"
    return picture(
        title, "cost per unit by how many there are; flat is good", bottom, legend + parts
    )


def _panels(rows: Sequence[Row]) -> tuple[Curves, dict[str, str]]:
    panels: Curves = {}
    units = {}
    for row in rows:
        sizes = {_number(size): spread for size, spread in row.series.items()}
        if len(sizes) < 2:
            continue
        name = next((one for one in _OTHERS if f", {one}" in row.what), _ENGINE)
        title = row.what.replace(f", {name}", "").rpartition(", ")[0] or row.what
        panels.setdefault(title, {})[name] = sizes
        units[title] = row.unit
    return panels, units


def _number(size: str) -> float:
    return float(size.replace(",", ""))


def _panel(
    title: str, curves: dict[str, dict[float, Spread]], unit: str, x: float, y: float
) -> list[str]:
    sizes = sorted({size for curve in curves.values() for size in curve})
    most = _rounded(max(spread.high for curve in curves.values() for spread in curve.values()))
    left, right = x + _AXIS, x + _PANEL - 12
    top, bottom = y + _TITLE, y + _TITLE + _HIGH

    def place(size: float, value: float) -> tuple[float, float]:
        across = (log10(size) - log10(sizes[0])) / (log10(sizes[-1]) - log10(sizes[0]))
        return left + across * (right - left), bottom - value / most * (bottom - top)

    parts = [
        text(x, y + 14 + 16 * at, said, "f-ink b") for at, said in enumerate(wrapped(title, _PANEL))
    ]
    for share in (0.0, 0.5, 1.0):
        level = bottom - share * (bottom - top)
        parts += [
            line([(left, level), (right, level)], "s-line"),
            text(left - 6, level + 4, f"{share * most:,.4g} {unit}", "f-soft m", at="end"),
        ]
    parts += [
        text(place(size, 0)[0], bottom + 17, f"{size:,.0f}", "f-soft m", at="middle")
        for size in sizes
    ]
    for name, curve in curves.items():
        kind = _COLOURS[name]
        points = [place(size, spread.median) for size, spread in sorted(curve.items())]
        parts.append(line(points, f"s-{kind}", 2.5))
        for size, spread in curve.items():
            middle = place(size, spread.median)
            ends = [place(size, value) for value in (spread.low, spread.high)]
            parts += [
                line(ends, f"s-{kind}", 1.2),
                f'<circle cx="{middle[0]:.1f}" cy="{middle[1]:.1f}" r="3" class="f-{kind}"/>',
            ]
    return parts


def _rounded(value: float) -> float:
    """The next round figure above a value."""
    power = 10.0 ** int(log10(value)) if value >= 1 else 1.0
    return next(
        step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 100) if step * power >= value
    )
