"""What a history shows on a terminal: the table of its keys, and the picture of one of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs
from rich.cells import cell_len
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from graceline.cli.history.chart import Chart
from graceline.cli.history.keys import about, path_of
from graceline.cli.history.words import facts_of, known, packed, share_of, split_name
from graceline.timelines.lettering import listed, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from graceline.adaptive import Key
    from graceline.adaptive.course import Point, Summary

__all__ = ["age", "row_of", "show_key", "show_table"]

_HEADS = ("samples", "censored", "p50", "p95", "limit", "newest")
_ENDLESS = 10_000  # columns
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s"))


def row_of(key: Key, summary: Summary) -> dict[str, object]:
    """One key as plain JSON types."""
    return {
        **attrs.asdict(key),
        "samples": summary.samples,
        "censored": summary.censored,
        "censored_share": summary.censored / summary.samples,
        "p50": summary.p50,
        "p95": summary.p95,
        "limit": summary.limit,
        "newest": None if summary.newest is None else summary.newest.isoformat(),
    }


def show_table(out: Console, found: Sequence[tuple[Key, Summary]]) -> None:
    """One line per key, or one paragraph where the terminal is too narrow for the names.

    In the table the lane is left out where all have the same one.
    """
    for gap in (2, 1):
        table = _table(found, out.encoding, gap)
        needed = Measurement.get(out, out.options.update(max_width=_ENDLESS), table).maximum
        if needed - gap <= out.width:
            out.print(table)
            return
    for key, summary in found:
        for line in split_name(shown(path_of(key), out.encoding), out.width):
            out.print(Text(line, style="bold", no_wrap=True))
        words = [
            about(key),
            *(" ".join(pair) for pair in zip(_HEADS, _cells(summary), strict=True)),
        ]
        for line in packed((shown(word, out.encoding) for word in words), out.width - 2, "  "):
            out.print(Text(f"  {line}"))


def _table(found: Sequence[tuple[Key, Summary]], encoding: str, gap: int) -> Table:
    lanes = {key.lane for key, _ in found}
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    for head in (*(["lane"] if len(lanes) > 1 else []), "pipeline.stage.node", "level"):
        table.add_column(head, no_wrap=True)
    for head in _HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for key, summary in found:
        names = [*([key.lane] if len(lanes) > 1 else []), path_of(key), key.level]
        table.add_row(*(Text(shown(word, encoding)) for word in (*names, *_cells(summary))))
    return table


def _cells(summary: Summary) -> tuple[str, ...]:
    """The numbers of a key, in the order of their heads."""
    return (
        str(summary.samples),
        share_of(summary.censored, summary.samples),
        known(summary.p50),
        known(summary.p95),
        "-" if summary.limit is None else known(summary.limit),
        "-" if summary.newest is None else age(time.time() - summary.newest.timestamp()),
    )


def age(seconds: float) -> str:
    """How long ago, in its largest unit."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit} ago"
    return "now"


def show_key(out: Console, key: Key, points: Sequence[Point], summary: Summary) -> None:
    """The picture of one key, with its name above and its numbers below."""
    name, what = (shown(said, out.encoding) for said in (path_of(key), about(key)))
    lines = [Text(line, style="bold", no_wrap=True) for line in split_name(name, out.width)]
    if len(lines) == 1 and lines[0].cell_len + 2 + cell_len(what) <= out.width:
        lines[0].append(f"  {what}", "not bold")
    else:
        lines.append(Text(what))
    for line in (*lines, Chart(points), ""):
        out.print(line)
    for line in listed(facts_of(summary), out, out.width, "..."):
        out.print(line)
