"""Definitions: what a node costs once in the life of a program.

Who defines a pipeline for each request pays it every time.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.groups.growing import SHAPES
from benchmarks.measure import interleave, timed
from benchmarks.rows import Row, amount
from graceline import Engine, Pipeline, open_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.effort import Effort

__all__ = ["defining"]

_AT_ONCE = 200


async def _define(make: Callable[[], Pipeline]) -> None:
    make()


async def _first_run(engine: Engine, make: Callable[[], Pipeline], times: int, size: int) -> float:
    """Seconds per node of runs that have to compile their pipeline."""
    taken = 0.0
    for _ in range(times):
        pipeline = make()
        start = time.process_time()
        await engine.run(pipeline, 1)
        taken += time.process_time() - start
    return taken / (times * size)


async def defining(effort: Effort) -> list[Row]:
    """Each shape: the definition, and the compilation, which is part of the first run."""
    rows = []
    async with open_engine() as engine:
        for name, shape in SHAPES.items():
            for size in effort.sizes(10, 1_000):
                make, times = partial(shape.pipeline, size), max(1, _AT_ONCE // size)
                samples = await interleave(
                    {
                        "definition": timed(partial(_define, make), times=times, units=size),
                        "first run": partial(_first_run, engine, make, times, size),
                        "next run": timed(partial(engine.run, make(), 1), times=times, units=size),
                    },
                    effort.rounds(6),
                )
                where = f"node of {size:,} {name}"
                rows += [
                    amount(samples, "define", f"definition, {where}", figure="definition"),
                    amount(
                        samples, "define", f"compilation, {where}", figure="first run",
                        base="next run",
                    ),
                ]  # fmt: skip
    return rows
