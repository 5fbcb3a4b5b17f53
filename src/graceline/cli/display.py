"""What a history shows on a terminal: the table of its keys, and the picture of one of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs
from rich.table import Table
from rich.text import Text

from graceline.cli.chart import Chart
from graceline.cli.choosing import path_of
from graceline.cli.telling import facts_of, known, share_of
from graceline.telemetry.lettering import listed, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from graceline.adaptive import Key
    from graceline.adaptive.course import Point, Summary

__all__ = ["age", "row_of", "show_key", "show_table"]

_WIDE = 100  # columns from which there is room between those of a table
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
    """One line per key; the lane is left out where all have the same one."""
    lanes = {key.lane for key, _ in found}
    gap = 2 if out.width >= _WIDE else 1
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    if len(lanes) > 1:
        table.add_column("lane", overflow="fold")
    table.add_column("pipeline.stage.node", overflow="fold")
    table.add_column("level", no_wrap=True)
    for head in ("samples", "censored", "p50", "p95", "limit", "newest"):
        table.add_column(head, justify="right", no_wrap=True)
    for key, summary in found:
        words = [
            *([key.lane] if len(lanes) > 1 else []),
            path_of(key),
            key.level,
            str(summary.samples),
            share_of(summary.censored, summary.samples),
            known(summary.p50),
            known(summary.p95),
            "-" if summary.limit is None else known(summary.limit),
            "-" if summary.newest is None else age(time.time() - summary.newest.timestamp()),
        ]
        table.add_row(*(Text(shown(word, out.encoding)) for word in words))
    out.print(table)


def age(seconds: float) -> str:
    """How long ago, in its largest unit."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit} ago"
    return "now"


def show_key(out: Console, key: Key, points: Sequence[Point], summary: Summary) -> None:
    """The picture of one key, with its name above and its numbers below."""
    head = Text(shown(path_of(key), out.encoding), style="bold", no_wrap=True, overflow="fold")
    head.append(shown(f"  {key.level}, lane {key.lane or repr('')}", out.encoding), "not bold")
    out.print(head, soft_wrap=True)
    out.print(Chart(points))
    out.print()
    for line in listed(facts_of(summary), out, out.width, "..."):
        out.print(line)
