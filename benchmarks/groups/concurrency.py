"""Many runs at once: the CPU that is left for everything else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from benchmarks.floors import bare, hand_written
from benchmarks.groups.sequences import HAND
from benchmarks.measure import interleave, timed
from benchmarks.rows import MILLI, Row, compare
from benchmarks.shapes import sleeping, stages_of, straight
from graceline import open_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.effort import Effort

__all__ = ["concurrent", "crowd"]

RUNS = 1000


async def crowd(count: int, run: Callable[[], Awaitable[Any]]) -> None:
    """So many runs at once, each in a task of its own."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(run)


async def concurrent(effort: Effort) -> list[Row]:
    """1,000 runs at once of 5 nodes that sleep for 10 ms each."""
    work = stages_of(sleeping, 1, 5)
    pipeline = straight(work)
    async with open_engine(max_concurrent_pipelines=None) as engine:
        runs: dict[str, Callable[[], Awaitable[Any]]] = {
            "plain Trio": partial(bare, work, 1),
            HAND: partial(hand_written, work, 1),
            "engine": partial(engine.run, pipeline, 1),
        }
        samples = await interleave(
            {name: timed(partial(crowd, RUNS, run)) for name, run in runs.items()},
            effort.rounds(12),
        )
    what = f"CPU of {RUNS:,} runs at once, 5 nodes x 10 ms"
    return [
        compare(
            samples, "concurrent", what, figure="engine", floor="plain Trio", bar=1.7,
            unit="ms", scale=MILLI,
        ),
        compare(
            samples, "concurrent", what, figure="engine", floor=HAND, bar=1.0,
            unit="ms", scale=MILLI,
        ),
    ]  # fmt: skip
