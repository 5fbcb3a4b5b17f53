"""Lateness: how long after a deadline the caller has its answer."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import trio

from benchmarks.floors import hand_written
from benchmarks.groups.concurrency import crowd
from benchmarks.groups.sequences import HAND
from benchmarks.measure import interleave
from benchmarks.rows import MILLI, Row, compare
from benchmarks.shapes import Function, straight
from graceline import Status, open_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.effort import Effort

__all__ = ["lateness"]

LIMIT = 0.05
RUNS = 1000
HEAD_START = 0.5  # seconds in which all of them start to wait


async def _stuck(_: Any) -> Any:
    await trio.sleep_forever()


async def _alone(run: Callable[[], Awaitable[Any]]) -> float:
    start = trio.current_time()
    await run()
    return trio.current_time() - start - LIMIT


async def _together(run: Callable[[float], Awaitable[Any]]) -> float:
    deadline = trio.current_time() + HEAD_START
    late: list[float] = []

    async def one() -> None:
        await run(deadline - trio.current_time())
        late.append(trio.current_time() - deadline)

    await crowd(RUNS, one)
    assert min(late) >= 0.0
    return median(late)


async def lateness(effort: Effort) -> list[Row]:
    """A timeout of 50 ms alone, and 1,000 runs that share one deadline."""
    work: list[list[Function]] = [[_stuck]]
    limited = straight(work, node_limit=LIMIT)
    unlimited = straight(work)
    async with open_engine(max_concurrent_pipelines=None) as engine:

        async def engine_alone() -> None:
            result = await engine.run(limited, 1)
            assert result.status is Status.TIMED_OUT

        async def engine_together(limit: float) -> None:
            result = await engine.run(unlimited, 1, timeout=limit)
            assert result.status is Status.TIMED_OUT

        async def hand_together(limit: float) -> None:
            with trio.CancelScope():
                try:
                    await hand_written(work, 1, pipeline_limit=limit)
                except trio.TooSlowError:
                    return
            raise AssertionError("it did not time out")

        alone = await interleave(
            {
                HAND: lambda: _alone(lambda: hand_written(work, 1, node_limit=LIMIT)),
                "engine": lambda: _alone(engine_alone),
            },
            effort.rounds(100),
        )
        together = await interleave(
            {HAND: lambda: _together(hand_together), "engine": lambda: _together(engine_together)},
            effort.rounds(10),
        )
    return [
        compare(
            alone, "lateness", "p50 lateness of a 50 ms timeout, alone", figure="engine",
            floor=HAND, bar=1.1,
        ),
        compare(
            together, "lateness", f"p50 lateness of {RUNS:,} runs with one deadline",
            figure="engine", floor=HAND, bar=2.0, unit="ms", scale=MILLI,
        ),
    ]  # fmt: skip
