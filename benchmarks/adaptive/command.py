"""The command: simulates, prints the table, and says by its exit status whether a bar is missed."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import attrs

from benchmarks.adaptive.budgets import render_budgets, share
from benchmarks.adaptive.charts import draw
from benchmarks.adaptive.costs import memory_per_key, typical_cost, worst_cost
from benchmarks.adaptive.regimes import REGIMES
from benchmarks.adaptive.service import serve
from benchmarks.adaptive.table import LEARNERS, OURS, Line, Simulation, lines, render

__all__ = ["main"]

SEEDS = range(10000, 10020)
"""The seeds that the bars are stated for; tune on others."""

_BUDGET_SEEDS = 5
"""The first so many of them are enough for the sharing of a budget, which runs in the engine."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adaptive",
        description="Simulate the learner of limits in traffic of every kind, beside naive ones.",
        epilog="Exit status: 1 if a bar is missed, else 0.",
    )
    parser.add_argument(
        "--seeds",
        nargs=2,
        type=int,
        metavar=("FIRST", "END"),
        default=(SEEDS.start, SEEDS.stop),
        help=f"{SEEDS.start} {SEEDS.stop} by default",
    )
    parser.add_argument(
        "--real-time", action="store_true", help="call services on the real clock too: 3 minutes"
    )
    parser.add_argument("--no-costs", action="store_true", help="time nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--charts", type=Path, metavar="DIR", help="draw an SVG per regime")
    return parser


def _costs() -> list[Line]:
    return [
        Line("cost of a call (issue and settle), typical", "us", {OURS: typical_cost()}, 10.0),
        Line("cost of a call, worst window", "us", {OURS: worst_cost()}, 60.0),
        Line("memory per key", "KiB", {OURS: memory_per_key()}, 16.0),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    asked = _parser().parse_args(argv)
    simulation = Simulation(tuple(range(*asked.seeds)))
    table = lines(simulation)
    table += serve(simulation.seeds[0], real=False)
    if asked.real_time:
        table += serve(simulation.seeds[0], real=True)
    if not asked.no_costs:
        table += _costs()
    print(render(table))
    budgets = share(simulation.seeds[:_BUDGET_SEEDS])
    print(f"\n{render_budgets(budgets)}")
    if asked.json:
        document = {
            "graceline": version("graceline"),
            "python": platform.python_version(),
            "seeds": list(simulation.seeds),
            "lines": [line.to_document() for line in table],
            "budgets": {way: attrs.asdict(runs) for way, runs in budgets.items()},
        }
        asked.json.write_text(json.dumps(document, indent=2) + "\n")
    if asked.charts:
        asked.charts.mkdir(parents=True, exist_ok=True)
        for regime in REGIMES:
            runs = {learner: simulation.runs(learner, regime)[0] for learner in LEARNERS}
            draw(regime, runs, asked.charts / f"{_file_name(regime)}.svg")
    return int(any(line.missed for line in table))


def _file_name(regime: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in regime).split())
