"""The chart: what a node costs in each peer, as bars on a scale of powers of ten."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log10
from typing import Any

from benchmarks.drawing import HEAD, WIDTH, bar, line, picture, text
from benchmarks.peers.catalogue import OURS
from benchmarks.peers.study import FLOOR
from benchmarks.peers.table import ordered

__all__ = ["draw"]

_EDGE, _LABELS, _ROW, _TOP = 20, 210, 26, HEAD + 24
_SCALE = WIDTH - 2 * _EDGE - _LABELS - 80
_COLOURS = {OURS: "f-ok", FLOOR: "f-skipped"}
_LOWEST = -1
"""The power of ten at which the scale begins."""


def draw(found: Mapping[str, Mapping[str, Any]]) -> str:
    """An SVG with a bar for each peer that was measured."""
    over = {
        name: found[name]["cost"][f"over_{FLOOR}"]["median"]
        for name in ordered(found)
        if f"over_{FLOOR}" in (found[name]["cost"] or {})
    }
    powers = max(1, ceil(log10(max([1.0, *over.values()])))) - _LOWEST
    bottom = _TOP + _ROW * len(over) + 4

    def at(power: float) -> float:
        return _EDGE + _LABELS + _SCALE * min(max(power - _LOWEST, 0.0), powers) / powers

    parts = []
    for power in range(_LOWEST, powers + _LOWEST + 1):
        one = power == 0
        parts += [
            line([(at(power), _TOP - 4), (at(power), bottom)], "s-ink" if one else "s-line"),
            text(at(power), _TOP - 10, f"{10.0**power:,g}", "f-soft m", at="middle"),
        ]
    for number, (name, value) in enumerate(over.items()):
        top, begin = _TOP + _ROW * number, at(_LOWEST)
        shown = f"{value:.2f}" if value < 10 else f"{value:,.0f}"
        width = at(log10(max(value, 1e-9))) - begin
        parts += [
            text(begin - 10, top + 16, found[name]["title"], at="end"),
            bar(begin, top + 4, width, 15, _COLOURS.get(name, "f-running")),
            text(WIDTH - _EDGE, top + 16, shown, "f-soft", at="end"),
        ]
    title = "what a node costs over a bare loop"
    return picture(title, "times hand-written scopes, less is better", bottom + 12, parts)
