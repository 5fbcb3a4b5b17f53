"""Lateness: how long after a deadline the caller has its answer.

Alone, most of it is the kernel's, which wakes the process late, and by how much differs from one
timeout to the next by more than what is compared. So p50 is what it says: the median of many, for
each contestant, and the ratio that of the medians. The part that is ours, from the moment the loop
is awake until the caller goes on, has a row of its own; the caches are cold then.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import trio

from benchmarks.crowd import Contestants, Gate, HeadStart, crowd, readings
from benchmarks.floors import HAND, hand_written
from benchmarks.measure import Samples, interleave
from benchmarks.rows import MILLI, Row, compare
from benchmarks.shapes import Function, straight
from graceline import Engine, Status, open_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.effort import Effort

__all__ = ["in_blocks", "lateness"]

GROUP = "lateness"
LIMIT = 0.05
BLOCK = 15
LATE, AWAKE = "late", "awake"


class Wake(trio.abc.Instrument):
    """When the loop came back from waiting, on the clock of this process."""

    at = 0.0

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - Trio's signature
        """The loop is awake."""
        self.at = time.process_time()


async def lateness(effort: Effort) -> list[Row]:
    """A timeout of 50 ms alone; 1,000 and 10,000 runs that share one deadline."""
    async with open_engine(max_concurrent_pipelines=None) as engine:
        rows = await _all_alone(engine, effort)
        for count in effort.sizes(1_000, 10_000):
            rows.append(await _all_together(engine, count, effort))
    return rows


async def _stuck(_: Any) -> Any:
    await trio.sleep_forever()


async def _all_alone(engine: Engine, effort: Effort) -> list[Row]:
    work: list[list[Function]] = [[_stuck]]
    limited = straight(work, node_limit=LIMIT)

    async def by_engine() -> None:
        result = await engine.run(limited, 1)
        assert result.status is Status.TIMED_OUT

    runs: Contestants = {
        HAND: partial(hand_written, work, 1, node_limit=LIMIT),
        "engine": by_engine,
    }
    late = await interleave(
        {name: partial(_late, run) for name, run in runs.items()}, effort.rounds(10 * BLOCK)
    )
    wake = Wake()
    trio.lowlevel.add_instrument(wake)
    awake = await interleave(
        {name: partial(_awake, run, wake) for name, run in runs.items()}, effort.rounds(4 * BLOCK)
    )
    trio.lowlevel.remove_instrument(wake)
    return [
        compare(
            in_blocks(late), GROUP, "p50 lateness of a 50 ms timeout, alone", figure="engine",
            floor=HAND, bar=1.1,
        ),
        compare(
            in_blocks(awake), GROUP, "of it CPU from the loop's waking to the answer, p50",
            figure="engine", floor=HAND,
        ),
    ]  # fmt: skip


def in_blocks(samples: Samples) -> dict[str, list[float]]:
    """The medians of each so many rounds, which stand for a round each; what is left is dropped."""
    return {
        name: [median(figures[at : at + BLOCK]) for at in range(0, len(figures) - BLOCK + 1, BLOCK)]
        for name, figures in samples.items()
    }


async def _late(run: Callable[[], Awaitable[Any]]) -> float:
    start = trio.current_time()
    await run()
    end = trio.current_time()
    assert end >= start + LIMIT
    return end - start - LIMIT


async def _awake(run: Callable[[], Awaitable[Any]], wake: Wake) -> float:
    await run()
    return time.process_time() - wake.at


async def _all_together(engine: Engine, count: int, effort: Effort) -> Row:
    gate = Gate()
    work: list[list[Function]] = [[gate.wait]]
    unlimited = straight(work)

    async def by_engine(limit: float) -> None:
        result = await engine.run(unlimited, 1, timeout=limit)
        assert result.status is Status.TIMED_OUT

    async def by_hand(limit: float) -> None:
        try:
            await hand_written(work, 1, pipeline_limit=limit)
        except trio.TooSlowError:
            return
        raise AssertionError("it did not time out")

    early = HeadStart(count)
    runs = {HAND: by_hand, "engine": by_engine}
    figures = await readings(
        {name: partial(_together, gate, count, run, early) for name, run in runs.items()},
        effort.rounds(3),
    )
    return compare(
        figures[LATE], GROUP, f"p50 lateness of {count:,} runs with one deadline",
        figure="engine", floor=HAND, bar=2.0, unit="ms", scale=MILLI,
    )  # fmt: skip


async def _together(
    gate: Gate, count: int, run: Callable[[float], Awaitable[Any]], early: HeadStart
) -> dict[str, float]:
    async def attempt(deadline: float) -> float | None:
        late: list[float] = []

        async def one() -> None:
            await run(max(0.0, deadline - trio.current_time()))  # who is too late does not count
            late.append(trio.current_time() - deadline)

        gate.shut(count)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd, count, one)
            full = await gate.full_by(deadline)
        assert min(late) >= 0.0
        return median(late) if full else None

    return {LATE: await early.give(attempt)}
