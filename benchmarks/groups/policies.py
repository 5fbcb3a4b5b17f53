"""Policies, metrics, timelines: what a node costs more with them if nothing fails or is slow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from prometheus_client import CollectorRegistry

from benchmarks.measure import interleave, timed
from benchmarks.rows import difference
from benchmarks.shapes import plain, stages_of, straight
from graceline import Breaker, Engine, Hedge, Metrics, Pipeline, Retry, open_engine
from graceline.telemetry.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.effort import Effort
    from benchmarks.rows import Row

__all__ = ["policies"]

_WARM = 60
"""Runs before anything is measured: a hedge is armed once 50 calls have completed."""


async def policies(effort: Effort) -> list[Row]:
    """A stage of 5 and one of 50 plain nodes."""
    rows = []
    for nodes in (5, 50):
        shown_by = Metrics(registry=CollectorRegistry())
        async with open_engine() as engine, open_engine(metrics=shown_by) as shown:
            runs = _contestants(engine, shown, nodes)
            for _ in range(_WARM):
                for run in runs.values():
                    await run()
            samples = await interleave(
                {
                    name: timed(run, times=max(1, 100 // nodes), units=nodes)
                    for name, run in runs.items()
                },
                effort.rounds(300),
            )
        rows += [
            difference(
                samples, "policies", f"{what}, more per node, {nodes} nodes",
                figure=figure, base="without", most=most,
            )
            for figure, what, most in (
                ("guarded", "a retry and a breaker", 3.0),
                ("hedged", "a hedge that is armed and not sent", None),
                ("shown", "metrics in a registry", 0.5),
                ("drawn", "a timeline as a live sink", 3.0),
                ("looked at", "the rows of a waterfall, made from the result", None),
            )
        ]  # fmt: skip
    return rows


def _contestants(
    engine: Engine, shown: Engine, nodes: int
) -> dict[str, Callable[[], Awaitable[Any]]]:
    work = stages_of(plain, 1, nodes)
    without = straight(work, name="without")
    guarded = straight(work, name="guarded", retry=Retry(attempts=3), breaker=Breaker())
    return {
        "without": partial(engine.run, without, 1),
        "guarded": partial(engine.run, guarded, 1),
        "hedged": partial(engine.run, _hedged(straight(work, name="hedged")), 1),
        "shown": partial(shown.run, without, 1),
        "drawn": partial(_drawn, engine, without),
        "looked at": partial(_looked_at, engine, without),
    }


def _hedged(pipeline: Pipeline) -> Pipeline:
    (stage,) = pipeline.stages
    nodes = [attrs.evolve(node, idempotent=True, hedge=Hedge()) for node in stage.nodes]
    return attrs.evolve(pipeline, stages=(attrs.evolve(stage, nodes=nodes),))


async def _drawn(engine: Engine, pipeline: Pipeline) -> None:
    """A run with a timeline of its own, since one keeps no more than one run."""
    unsubscribe = engine.subscribe(Timeline())
    await engine.run(pipeline, 1)
    unsubscribe()


async def _looked_at(engine: Engine, pipeline: Pipeline) -> None:
    """A run of which somebody wants the rows."""
    (await engine.run(pipeline, 1)).timeline.rows()
