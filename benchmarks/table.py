"""The table for people: one line per row, the bar beside the ratio, and how near it is drawn."""

from __future__ import annotations

import os
import sys
from math import inf
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import JustifyMethod

    from benchmarks.measure import Spread
    from benchmarks.rows import Row

__all__ = ["bars", "console", "indented", "promise", "quantity", "share", "show", "table", "times"]

FILE_WIDTH = 150
"""Columns where there is no terminal to ask."""

_ALL, _MOST, _LEAST = 130, 100, 64
"""From so many columns on there is room for the floor, for gauge and quartiles, for columns."""

_MARK, _GAUGE = 10, 15
"""The bar is drawn after so many cells of so many."""


def console(stream: TextIO | None = None, width: int | None = None) -> Console:
    """Where to print: as wide as the terminal, or as `COLUMNS` says."""
    stream = stream or sys.stdout
    if width is None and not stream.isatty() and "COLUMNS" not in os.environ:
        width = FILE_WIDTH
    return Console(file=stream, width=width, highlight=False)


def show(rows: Sequence[Row], out: Console | None = None) -> None:
    """Print the rows."""
    out = out or console()
    out.print(table(rows, out.width, ascii_only=out.options.ascii_only))


def table(rows: Sequence[Row], width: int, *, ascii_only: bool = False) -> Table:
    """The rows for so many columns; below the least of them each has lines of its own."""
    heads = ["what", "engine", "floor", "against", "ratio (IQR)", "", "bar", ""]
    left_out = {2, 3} if width < _ALL else set()
    left_out |= {5} if width < _MOST else set()
    made = Table(box=None, pad_edge=False, header_style="bold", show_header=width >= _LEAST)
    for at, head in enumerate(heads):
        if at in left_out or (at and width < _LEAST):
            continue
        justify: JustifyMethod = "right" if at in {1, 2, 4, 6} else "left"
        made.add_column(head, justify=justify, no_wrap=at not in {0, 3}, ratio=None if at else 1)
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            made.add_row(Text(group, "bold"))
        cells = _cells(row, wide=width >= _MOST, ascii_only=ascii_only)
        if 3 in left_out and row.against:
            cells[0].append(f", against {row.against}")
        shown = [cell for at, cell in enumerate(cells) if at not in left_out]
        if width < _LEAST:
            rest = Text("  ").join(cell for cell in shown[1:] if cell)
            shown = [Text("\n  ").join([shown[0], rest])]
        made.add_row(indented(shown[0]), *shown[1:])
    return made


def _cells(row: Row, *, wide: bool, ascii_only: bool) -> list[Text]:
    style = {"ok": "green", "MISSED": "bold red"}.get(row.verdict, "")
    return [
        Text(row.what),
        Text(quantity(row.figure, row.unit)),
        Text("" if row.floor is None else quantity(row.floor, row.unit)),
        Text(row.against),
        Text("" if row.ratio is None else times(row.ratio, spread=wide)),
        Text(_gauge(row, ascii_only=ascii_only)),
        Text(bars(row)),
        Text(row.verdict, style),
    ]


def indented(cell: Text) -> Padding:
    """A cell below the name of its group."""
    return Padding(cell, (0, 0, 0, 2))


def times(ratio: Spread, *, spread: bool = True) -> str:
    """A ratio with its quartiles."""
    around = f" ({ratio.low:.2f}-{ratio.high:.2f})" if spread else ""
    return f"{ratio.median:.2f}{around}"


def quantity(figure: Spread, unit: str, *, spread: bool = False) -> str:
    """A figure with its unit, and with its quartiles if there is room."""
    digits = 2 if abs(figure.median) < 10 else 1 if abs(figure.median) < 1_000 else 0
    around = f" ({figure.low:,.{digits}f}-{figure.high:,.{digits}f})" if spread else ""
    return f"{figure.median:,.{digits}f}{around} {unit}"


def bars(row: Row) -> str:
    """What is promised of a row."""
    found = [] if row.bar is None else [f"<= {row.bar:.3g} x"]
    if row.least is not None:
        found.append(f">= {row.least:.3g} x")
    return ", ".join(found if row.most is None else [*found, f"<= {row.most:g} {row.unit}"])


def promise(row: Row) -> tuple[float | None, Spread]:
    """The limit of a row, and what is held against it."""
    limit = row.bar if row.bar is not None else row.least
    return (row.most, row.figure) if limit is None or row.ratio is None else (limit, row.ratio)


def share(row: Row, limit: float, value: float) -> float:
    """How much of its limit a value takes; how much of a value the limit, if more is better."""
    if row.least is None or row.ratio is None:
        return value / limit
    return limit / value if value > 0 else inf


def _gauge(row: Row, *, ascii_only: bool) -> str:
    """How much of its limit a row takes, as a bar with a mark across it."""
    limit, spread = promise(row)
    if not limit:
        return ""
    full, mark, over = "#|+" if ascii_only else "█│┃"
    taken = _MARK * min(share(row, limit, spread.median), 2.0)
    cells = max(round(taken), _MARK + 1) if taken > _MARK else max(0, min(round(taken), _MARK))
    drawn = (full * min(cells, _GAUGE)).ljust(_GAUGE)
    return f"{drawn[:_MARK]}{over if cells > _MARK else mark}{drawn[_MARK:-1]}"
