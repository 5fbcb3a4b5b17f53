"""Memory per run in flight: the growth of RSS of a fresh process with 10,000 runs in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import attrs
import trio

from benchmarks.measure import Sample, interleave
from benchmarks.rows import Row, compare
from benchmarks.worker import BRANCHES, CONTESTANTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.effort import Effort

__all__ = ["memory", "subprocess_sample"]

KB = 1 / 1024
NAMES = {"hand": "hand-written scopes", "engine": "engine"}


def subprocess_sample(*arguments: str, env: Mapping[str, str] | None = None) -> Sample:
    """A sample that a fresh Python process prints, with this environment in place of our own."""

    async def sample() -> float:
        done = await trio.run_process([sys.executable, *arguments], capture_stdout=True, env=env)
        return float(done.stdout)

    return sample


async def memory(effort: Effort) -> list[Row]:
    """A sequence of 5 nodes that waits in its last, a stage of 4 parallel nodes that all wait."""
    runs = 2_000 if effort.quick else 10_000
    bars = {"sequence": None, "parallel": 1.3}
    whats = {"sequence": "5-node sequence", "parallel": f"stage of {BRANCHES} parallel nodes"}
    rows = []
    for shape, what in whats.items():
        samples = await interleave(
            {
                NAMES[one]: subprocess_sample("-m", "benchmarks.worker", one, shape, str(runs))
                for one in CONTESTANTS
            },
            effort.rounds(2),
            warmup=0,
        )
        row = compare(
            samples, "memory", f"RSS per run in flight, {runs:,} at once, {what}", figure="engine",
            floor=NAMES["hand"], bar=bars[shape], unit="KB", scale=KB,
        )  # fmt: skip
        rows.append(attrs.evolve(row, most=8.0 if shape == "sequence" else None))
    return rows
