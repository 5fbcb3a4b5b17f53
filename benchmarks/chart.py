"""The chart: one horizontal bar per ratio, with its limit as a tick across it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.rows import Row

__all__ = ["draw"]

_LABELS, _SCALE, _ROW, _TOP = 470, 360, 26, 56
_FINE, _OVER, _FREE, _INK, _FAINT = "#3a7d5c", "#c0483b", "#8a94a3", "#1f2933", "#d5dae1"


def draw(rows: Sequence[Row]) -> str:
    """An SVG of all rows that have a ratio."""
    shown = [row for row in rows if row.ratio is not None and row.least is None]
    longest = max((max(_value(row), row.bar or 0.0) for row in shown), default=1.0)
    most = min(max(2.0, longest), 4.0)
    width, height = _LABELS + _SCALE + 90, _TOP + _ROW * len(shown) + 16
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12">'
        ),
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(16, 22, "graceline against its floors", extra='font-size="15" font-weight="600"'),
        _text(16, 40, "ratio, less is better; the tick is the bar", fill=_FREE),
    ]
    for step in range(int(most * 2) + 1):
        x = _at(step / 2, most)
        parts += [
            (
                f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{height - 12}" '
                f'stroke="{_FAINT}"/>'
            ),
            _text(x, _TOP - 12, f"{step / 2:g}", fill=_FREE, extra='text-anchor="middle"'),
        ]
    for number, row in enumerate(shown):
        parts += _row(row, _TOP + _ROW * number, most)
    return "\n".join([*parts, "</svg>\n"])


def _value(row: Row) -> float:
    return 0.0 if row.ratio is None else row.ratio.median


def _at(ratio: float, most: float) -> float:
    return _LABELS + _SCALE * min(ratio, most) / most


def _row(row: Row, top: float, most: float) -> list[str]:
    value = _value(row)
    colour = _FREE if row.bar is None else _OVER if row.missed else _FINE
    end = _at(value, most)
    label = row.what if row.group != "concurrent" else f"{row.what} / {row.against}"
    parts = [
        _text(_LABELS - 10, top + 15, label, extra='text-anchor="end"'),
        (
            f'<rect x="{_LABELS}" y="{top + 4}" width="{end - _LABELS:.1f}" height="15" '
            f'fill="{colour}"/>'
        ),
    ]
    after = end
    if row.bar is not None:
        tick = _at(row.bar, most)
        after = max(end, tick)
        parts.append(
            f'<line x1="{tick:.1f}" y1="{top + 1}" x2="{tick:.1f}" y2="{top + 22}" '
            f'stroke="{_INK}" stroke-width="2.5"/>'
        )
    return [*parts, _text(after + 7, top + 16, f"{value:.2f}", fill=colour)]


def _text(x: float, y: float, text: str, *, fill: str = _INK, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" {extra}>{escape(text)}</text>'
