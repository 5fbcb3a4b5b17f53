"""Policies: what a node costs more with a retry and a breaker, of which nothing fails."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.measure import interleave, timed
from benchmarks.rows import difference
from benchmarks.shapes import plain, stages_of, straight
from graceline import Breaker, Retry, open_engine

if TYPE_CHECKING:
    from benchmarks.effort import Effort
    from benchmarks.rows import Row

__all__ = ["policies"]


async def policies(effort: Effort) -> list[Row]:
    """A stage of 5 and one of 50 plain nodes."""
    rows = []
    async with open_engine() as engine:
        for nodes in (5, 50):
            work = stages_of(plain, 1, nodes)
            without = straight(work, name=f"without_{nodes}")
            guarded = straight(
                work, name=f"guarded_{nodes}", retry=Retry(attempts=3), breaker=Breaker()
            )
            samples = await interleave(
                {
                    name: timed(
                        partial(engine.run, pipeline, 1), times=max(1, 100 // nodes), units=nodes
                    )
                    for name, pipeline in {"without": without, "guarded": guarded}.items()
                },
                effort.rounds(300),
            )
            rows.append(
                difference(
                    samples, "policies", f"a retry and a breaker, more per node, {nodes} nodes",
                    figure="guarded", base="without", most=3.0,
                )
            )  # fmt: skip
    return rows
