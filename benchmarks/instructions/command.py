"""The command: counts, prints the table, and says by its exit status whether a cost has grown."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.instructions.counting import Counts, NoCountError, count
from benchmarks.instructions.figures import (
    FIGURES,
    TOLERANCE,
    BadFiguresError,
    compare,
    load,
    render,
    save,
)
from benchmarks.instructions.scenarios import SCENARIOS

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions",
        description="Count what the engine and hand-written scopes cost in instructions.",
        epilog=(
            f"Exit status: 1 if a ratio is more than {TOLERANCE:.0%} above the one that is "
            "committed, or none is; 2 if nothing can be counted, or the figures are damaged."
        ),
    )
    parser.add_argument("scenario", nargs="*", help=f"of {', '.join(SCENARIOS)}; all by default")
    parser.add_argument(
        "--update", action="store_true", help="write the figures, for this version of Python"
    )
    return parser


def main(
    argv: Sequence[str] | None = None,
    *,
    counting: Callable[[Iterable[str]], Counts] = count,
    figures: Path = FIGURES,
) -> int:
    """Run the command; returns its exit status."""
    parser = _parser()
    asked = parser.parse_args(argv)
    for name in asked.scenario:
        if name not in SCENARIOS:
            parser.error(f"no scenario is called {name!r}; there are {', '.join(SCENARIOS)}")
    python = "{}.{}".format(*sys.version_info)
    try:
        known = load(figures)
        counts = counting(asked.scenario or list(SCENARIOS))
    except (NoCountError, BadFiguresError) as error:
        print(f"nothing was counted: {error}", file=sys.stderr)
        return 2
    if asked.update:
        save(figures, counts, python)
        known = load(figures)
    lines = compare(counts, known, python)
    print(render(lines))
    if any(line.known is None for line in lines):
        print(f"{figures.name} lacks figures of Python {python}: --update writes them")
    return int(any(line.failed for line in lines))
