"""Learned limits: what a node costs more with one than with a limit that is stated."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.measure import interleave, timed
from benchmarks.rows import difference
from benchmarks.shapes import plain, stages_of, straight
from graceline import Adaptive, Engine, open_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.effort import Effort
    from benchmarks.rows import Row

__all__ = ["contestants", "learning"]

LEARNED = Adaptive(initial=1, ceiling=3)
WARM_UP = 300
"""Runs before anything is measured: the cold start is over and the window full."""


async def contestants(engine: Engine, nodes: int) -> dict[str, Callable[[], Awaitable[Any]]]:
    """One stage of plain nodes, with a stated and a learned limit on each; both are warm."""
    work = stages_of(plain, 1, nodes)
    limits: dict[str, float | Adaptive] = {"stated": 1.0, "learned": LEARNED}
    runs: dict[str, Callable[[], Awaitable[Any]]] = {
        # A name of its own, or one engine would give both the same statistics.
        name: partial(engine.run, straight(work, node_limit=limit, name=f"{name}_{nodes}"), 1)
        for name, limit in limits.items()
    }
    for _ in range(WARM_UP):
        for run in runs.values():
            await run()
    return runs


async def learning(effort: Effort) -> list[Row]:
    """A stage of 5 and one of 50 plain nodes."""
    rows = []
    async with open_engine() as engine:
        for nodes in (5, 50):
            samples = await interleave(
                {
                    name: timed(run, times=max(1, 100 // nodes), units=nodes)
                    for name, run in (await contestants(engine, nodes)).items()
                },
                effort.rounds(300),
            )
            rows.append(
                difference(
                    samples, "learning", f"a learned limit, more per node, {nodes} plain nodes",
                    figure="learned", base="stated", most=6.0,
                )
            )  # fmt: skip
    return rows
