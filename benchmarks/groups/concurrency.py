"""Many runs at once: the CPU that is left for everything else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.crowd import PLAIN, contestants, crowd
from benchmarks.floors import HAND
from benchmarks.measure import interleave, timed
from benchmarks.rows import MILLI, Row, compare
from benchmarks.shapes import sleeping, stages_of
from graceline import open_engine

if TYPE_CHECKING:
    from benchmarks.effort import Effort

__all__ = ["concurrent"]

RUNS = 1000


async def concurrent(effort: Effort) -> list[Row]:
    """1,000 runs at once of 5 nodes that sleep for 10 ms each."""
    work = stages_of(sleeping, 1, 5)
    async with open_engine(max_concurrent_pipelines=None) as engine:
        samples = await interleave(
            {
                name: timed(partial(crowd, RUNS, run))
                for name, run in contestants(engine, work).items()
            },
            effort.rounds(12),
        )
    what = f"CPU of {RUNS:,} runs at once, 5 nodes x 10 ms"
    return [
        compare(
            samples, "concurrent", what, figure="engine", floor=PLAIN, bar=1.7,
            unit="ms", scale=MILLI,
        ),
        compare(
            samples, "concurrent", what, figure="engine", floor=HAND, bar=1.0,
            unit="ms", scale=MILLI,
        ),
    ]  # fmt: skip
