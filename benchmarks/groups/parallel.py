"""A stage of nodes that run at the same time, against a nursery with one scope per node."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.floors import HAND, hand_parallel, plain_parallel
from benchmarks.groups.sequences import KINDS
from benchmarks.measure import interleave, timed
from benchmarks.rows import Row, compare
from benchmarks.shapes import side_by_side
from graceline import open_engine

if TYPE_CHECKING:
    from benchmarks.effort import Effort

__all__ = ["parallel"]

WIDTH = 20


async def parallel(effort: Effort) -> list[Row]:
    """A run of one stage of 20 parallel nodes."""
    rows = []
    async with open_engine() as engine:
        for kind, function in KINDS.items():
            functions = [function] * WIDTH
            pipeline = side_by_side(functions)
            samples = await interleave(
                {
                    "plain Trio": timed(partial(plain_parallel, functions, 1), times=4),
                    HAND: timed(partial(hand_parallel, functions, 1), times=4),
                    "engine": timed(partial(engine.run, pipeline, 1), times=4),
                },
                effort.rounds(150),
            )
            rows.append(
                compare(
                    samples, "parallel", f"stage of {WIDTH} parallel {kind}",
                    figure="engine", floor=HAND, bar=1.25,
                )
            )  # fmt: skip
    return rows
