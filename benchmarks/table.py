"""The table for people: one line per row, the bar beside the ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Spread
    from benchmarks.rows import Row

__all__ = ["render"]

HEADS = ("group", "what", "engine", "floor", "against", "ratio (IQR)", "bar", "")
_RIGHT = {2, 3, 5, 6}


def render(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [HEADS, *map(_cells, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADS))]
    text = [_line(line, widths) for line in lines]
    return "\n".join([text[0], "  ".join("-" * width for width in widths), *text[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if at in _RIGHT else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    ratio = row.ratio
    return (
        row.group,
        row.what,
        _quantity(row.figure, row.unit),
        "" if row.floor is None else _quantity(row.floor, row.unit),
        row.against,
        "" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})",
        _bar(row),
        row.verdict,
    )


def _quantity(spread: Spread, unit: str) -> str:
    digits = 2 if spread.median < 10 else 1
    return f"{spread.median:,.{digits}f} {unit}"


def _bar(row: Row) -> str:
    bars = [] if row.bar is None else [f"<= {row.bar:g} x"]
    if row.least is not None:
        bars.append(f">= {row.least:g} x")
    return ", ".join(bars if row.most is None else [*bars, f"<= {row.most:g} {row.unit}"])
