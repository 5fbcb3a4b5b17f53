"""Sequences: the cost per node, the cost of a whole short run, and that of a run that times out."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from benchmarks.floors import BARE, HAND, bare, hand_written, rolling
from benchmarks.measure import interleave, timed
from benchmarks.rows import Row, compare
from benchmarks.shapes import Function, checkpointing, plain, stages_of, straight
from graceline import Engine, Status, open_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.effort import Effort
    from benchmarks.measure import Sample

__all__ = ["runs", "sequences", "timeouts"]

ROLLING = "one moved scope"
CROWD = 100
KINDS: dict[str, Function] = {"plain nodes": plain, "nodes with a checkpoint": checkpointing}


def _contestants(
    engine: Engine, function: Function, stages: int, nodes: int
) -> dict[str, Callable[[], Awaitable[Any]]]:
    work = stages_of(function, stages, nodes)
    pipeline = straight(work)
    return {
        BARE: partial(bare, work, 1),
        HAND: partial(hand_written, work, 1),
        ROLLING: partial(rolling, work, 1),
        "engine": partial(engine.run, pipeline, 1),
    }


async def sequences(effort: Effort) -> list[Row]:
    """50 trivial nodes in stages of 5: the overhead per node over a bare loop."""
    rows = []
    async with open_engine() as engine:
        for kind, function in KINDS.items():
            works = _contestants(engine, function, 10, 5)
            samples = await interleave(
                {name: timed(work, times=4, units=50) for name, work in works.items()},
                effort.rounds(300),
            )
            what = f"overhead per node, 50 {kind} in stages of 5"
            for name, bar in (("engine", 0.6), (ROLLING, None)):
                rows.append(
                    compare(
                        samples, "sequence", what if name == "engine" else f"{what}: {name} alone",
                        figure=name, floor=HAND, base=BARE, bar=bar,
                    )
                )  # fmt: skip
    return rows


async def runs(effort: Effort) -> list[Row]:
    """The whole run of a pipeline of 5 nodes, in one stage and in five."""
    rows = []
    shapes = {"in one stage": (1, 5), "in five stages": (5, 1)}
    async with open_engine() as engine:
        for shape, (stages, nodes) in shapes.items():
            for kind, function in KINDS.items():
                works = _contestants(engine, function, stages, nodes)
                samples = await interleave(
                    {name: timed(work, times=25) for name, work in works.items()},
                    effort.rounds(180),
                )
                rows.append(
                    compare(
                        samples, "run", f"whole run, 5 {kind} {shape}",
                        figure="engine", floor=HAND, bar=1.0,
                    )
                )  # fmt: skip
    return rows


async def timeouts(effort: Effort) -> list[Row]:
    """Runs whose third node exceeds its limit of 1 ms: CPU, so that the waiting does not count.

    One by one they begin and end in a process that has just slept; many at once keep it awake.
    """

    async def stuck(_: Any) -> Any:
        await trio.sleep_forever()

    limit = 0.001
    work = [[plain, plain, stuck, plain, plain]]
    pipeline = straight(work, node_limit=limit)
    async with open_engine(max_concurrent_pipelines=None) as engine:

        async def by_engine() -> None:
            result = await engine.run(pipeline, 1)
            assert result.status is Status.TIMED_OUT

        async def by_hand() -> None:
            assert await hand_written(work, 1, node_limit=limit) is None

        works = {HAND: by_hand, "engine": by_engine}
        alone = await interleave(
            {name: timed(work, times=10) for name, work in works.items()}, effort.rounds(100)
        )
        together = await interleave(
            {name: _at_once(work) for name, work in works.items()}, effort.rounds(100)
        )
    whats = {
        "CPU of a run that times out, third node of 5": alone,
        f"CPU of a run that times out, {CROWD} at once": together,
    }
    return [
        compare(samples, "timeout", what, figure="engine", floor=HAND, bar=1.6)
        for what, samples in whats.items()
    ]


def _at_once(work: Callable[[], Awaitable[Any]]) -> Sample:
    """A sample of many at once, after a full collection: else one in a few has to pay for it."""

    async def crowd() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(CROWD):
                nursery.start_soon(work)

    measured = timed(crowd, units=CROWD)

    async def sample() -> float:
        gc.collect()
        return await measured()

    return sample
