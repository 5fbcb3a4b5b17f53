"""Capacity: how many runs a second of one processor is enough for, by the shape of a run.

It is counted in CPU seconds, so that a machine that is busy with something else, or runs that wait,
do not count. No bars: these are absolute figures, for those who plan.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from benchmarks.crowd import crowd
from benchmarks.floors import HAND, hand_parallel, hand_written
from benchmarks.measure import Spread, interleave, timed
from benchmarks.rows import Row
from benchmarks.shapes import (
    checkpointing,
    in_thread,
    plain,
    side_by_side,
    sleeping,
    stages_of,
    straight,
    threaded,
)
from graceline import Adaptive, Breaker, Pipeline, Retry, open_engine

if TYPE_CHECKING:
    from benchmarks.effort import Effort
    from benchmarks.measure import Sample

__all__ = ["LOADS", "Load", "capacity"]


@attrs.frozen
class Load:
    """Runs of one shape.

    Attributes:
        pipeline: for the engine.
        by_hand: the same with hand-written scopes; None where nobody would write it.
        at_once: runs in flight.
        times: how often a sample does them.
        warm: times before anything is measured.
    """

    pipeline: Pipeline
    by_hand: Callable[[], Awaitable[Any]] | None
    at_once: int = 1
    times: int = 1
    warm: int = 1

    def sample(self, run: Callable[[], Awaitable[Any]]) -> Sample:
        """Samples of the CPU seconds per run."""
        together = run if self.at_once == 1 else partial(crowd, self.at_once, run)
        return timed(together, times=self.times, units=self.at_once)


def _sequence(function: Any, nodes: int, by_hand: Any = None, **more: Any) -> Load:
    by_hand = stages_of(by_hand or function, 1, nodes)
    return Load(straight(stages_of(function, 1, nodes)), partial(hand_written, by_hand, 1), **more)


LOADS = {
    "1 plain node": _sequence(plain, 1, times=50),
    "5 plain nodes": _sequence(plain, 5, times=25),
    "5 nodes with a checkpoint": _sequence(checkpointing, 5, times=25),
    "5 nodes x 10 ms, 1,000 runs at once": _sequence(sleeping, 5, at_once=1000),
    "20 parallel nodes": Load(
        side_by_side([plain] * 20), partial(hand_parallel, [plain] * 20, 1), times=5
    ),
    "50 nodes with retry, breaker and learned limit": Load(
        straight(
            stages_of(plain, 1, 50),
            name="guarded",
            retry=Retry(attempts=3),
            attempt_timeout=Adaptive(initial=1, ceiling=3),
            breaker=Breaker(),
        ),
        None,
        times=2,
        warm=150,
    ),
    "5 thread nodes, 10 runs at once": _sequence(threaded, 5, in_thread, at_once=10, times=2),
}


async def capacity(effort: Effort) -> list[Row]:
    """Each load, beside the same by hand where there is such a thing."""
    rows = []
    async with open_engine(max_concurrent_pipelines=None) as engine:
        for what, load in LOADS.items():
            contestants = {"engine": load.sample(partial(engine.run, load.pipeline, 1))}
            if load.by_hand is not None:
                contestants[HAND] = load.sample(load.by_hand)
            samples = await interleave(contestants, effort.rounds(15), warmup=load.warm)
            rates = {
                name: Spread.of([1 / seconds for seconds in figures])
                for name, figures in samples.items()
            }
            floor = rates.get(HAND)
            rows.append(
                Row(
                    group="capacity", what=what, unit="runs/s", figure=rates["engine"],
                    floor=floor, against="" if floor is None else HAND,
                )
            )  # fmt: skip
    return rows
