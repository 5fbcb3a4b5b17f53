"""The command: measures groups, and says by its exit status whether a bar is missed."""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from benchmarks.chart import draw
from benchmarks.effort import Effort
from benchmarks.groups import GROUPS, Group
from benchmarks.rows import Row, exit_code, to_document
from benchmarks.table import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["main"]


def _parser(groups: Mapping[str, Group]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the engine against hand-written Trio, in interleaved rounds.",
        epilog="Exit status: 1 if a bar is missed that does not depend on the machine, else 0.",
    )
    parser.add_argument("group", nargs="*", help=f"of {', '.join(groups)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    parser.add_argument("--long", action="store_true", help="100,000 runs too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a chart of the ratios")
    return parser


def main(argv: Sequence[str] | None = None, groups: Mapping[str, Group] = GROUPS) -> int:
    """Run the command; returns its exit status."""
    parser = _parser(groups)
    asked = parser.parse_args(argv)
    chosen = asked.group or list(groups)
    for name in chosen:
        if name not in groups:
            parser.error(f"no group is called {name!r}; there are {', '.join(groups)}")
    effort = Effort(quick=asked.quick, long=asked.long)
    rows: list[Row] = []
    for name in chosen:
        rows += trio.run(groups[name], effort)
    print(render(rows))
    if asked.json:
        about = {
            "graceline": version("graceline"),
            "trio": version("trio"),
            "python": platform.python_version(),
            "quick": effort.quick,
            "long": effort.long,
        }
        asked.json.write_text(json.dumps(to_document(rows, about), indent=2) + "\n")
    if asked.svg:
        asked.svg.write_text(draw(rows))
    return exit_code(rows)
