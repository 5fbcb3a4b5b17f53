"""Storms: many runs in flight that are all cancelled at once, until the last has unwound.

Everything is told: each result has to say that its run was cancelled or timed out, and the engine
has to have forgotten all of them. The engine also tells of each cancel, and says in each result
whose it was; by hand there is nothing but the cut.

The grace period is longer than any storm. With that of the defaults, 100 ms, a storm of 1,000 runs
cuts the cleanup of most: each has its turn when all others had theirs.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import trio

from benchmarks.crowd import Gate, HeadStart, crowd, readings
from benchmarks.floors import HAND, hand_written
from benchmarks.pauses import Stall
from benchmarks.rows import MICRO, MILLI, Row, compare
from benchmarks.shapes import PIPELINE_LIMIT, Function, plain, straight
from graceline import Engine, Status, Timeouts, cleanup, open_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from benchmarks.effort import Effort
    from graceline.engine.handle import Run

__all__ = [
    "CALLER",
    "CLEANING",
    "DEADLINE",
    "WAYS",
    "ByEngine",
    "ByHand",
    "Runs",
    "makers",
    "open_for_storms",
    "storm",
    "storms",
]

GRACE = 60.0
CPU, STALL = "cpu", "stall"

ONE_BY_ONE = "each cancelled"
CLEANING = "each cancelled, with a cleanup block"
CALLER = "the caller cancelled"
DEADLINE = "one deadline"
WAYS = {
    ONE_BY_ONE: Status.CANCELLED,
    CLEANING: Status.CANCELLED,
    CALLER: Status.CANCELLED,
    DEADLINE: Status.TIMED_OUT,
}
"""The ways to end them all, with what a result has to say."""


class Runs(Protocol):
    """So many runs of one contestant, in one storm."""

    async def one(self, limit: float) -> None:
        """A run, until it is cancelled or its limit passes."""

    def look(self) -> None:
        """All are in flight."""

    async def cancel(self) -> None:
        """Cancel each of them."""

    def check(self, count: int) -> None:
        """All have unwound; so many were cancelled."""


class ByEngine:
    """Runs of the engine, each cancelled by its id."""

    def __init__(self, engine: Engine, work: list[list[Function]], way: str) -> None:
        self._engine = engine
        self._pipeline = straight(work)
        self._status = WAYS[way]
        self._handles: Sequence[Run] = ()

    async def one(self, limit: float) -> None:
        """A run; what it says is looked at later."""
        await self._engine.run(self._pipeline, 1, timeout=limit)

    def look(self) -> None:
        """Keep the handles."""
        self._handles = self._engine.runs()

    async def cancel(self) -> None:
        """Cancel by id."""
        for handle in self._handles:
            await self._engine.cancel(handle.run_id, "a storm", wait=False)

    def check(self, count: int) -> None:
        """Each result says what happened, nothing is left in the engine, no cleanup was cut."""
        ends = [None if one.result is None else one.result.status for one in self._handles]
        assert ends == [self._status] * count
        assert not self._engine.runs()
        assert not self._engine.stats.pipeline(self._pipeline.name).overruns


class ByHand:
    """Runs with hand-written scopes; those that are cancelled one by one have one more for that."""

    def __init__(self, work: list[list[Function]], way: str) -> None:
        self._work = work
        self._one_by_one = way in {ONE_BY_ONE, CLEANING}
        self._scopes: list[trio.CancelScope] = []
        self._unwound = 0

    async def one(self, limit: float) -> None:
        """A run that counts its end."""
        try:
            if self._one_by_one:
                with trio.CancelScope() as scope:
                    self._scopes.append(scope)
                    await hand_written(self._work, 1, pipeline_limit=limit)
                self._unwound += scope.cancelled_caught
            else:
                await hand_written(self._work, 1, pipeline_limit=limit)
        except trio.TooSlowError:
            self._unwound += 1
        except trio.Cancelled:
            self._unwound += 1
            raise

    def look(self) -> None:
        """The scopes are there already."""

    async def cancel(self) -> None:
        """Cancel the scope of each."""
        for scope in self._scopes:
            scope.cancel()

    def check(self, count: int) -> None:
        """All were cut."""
        assert self._unwound == count


async def storm(
    gate: Gate,
    runs: Runs,
    count: int,
    way: str,
    deadline: float | None = None,
) -> dict[str, float] | None:
    """From the cancel of so many runs in flight until the last has unwound.

    Args:
        gate: where they wait.
        runs: what they are.
        count: how many.
        way: one of `WAYS`.
        deadline: the one they share, for this way.

    Returns:
        CPU seconds per run and the longest stall of the loop, which is busy for a few long ticks;
        None if the deadline passed before all of them were in flight.
    """
    gate.shut(count)
    stall = Stall()
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd, count, partial(_one, runs, deadline))
            if deadline is None:
                await gate.full()
            elif not await gate.full_by(deadline):
                return None
            runs.look()
            stack.enter_context(stall)
            start = time.process_time()
            if way == CALLER:
                nursery.cancel_scope.cancel()
            elif deadline is None:
                await runs.cancel()
        took = time.process_time() - start
    assert gate.waiting == 0
    runs.check(count)
    return {CPU: took / count, STALL: stall.longest}


async def _one(runs: Runs, deadline: float | None) -> None:
    limit = PIPELINE_LIMIT
    if deadline is not None:
        limit = max(0.0, deadline - trio.current_time())  # who comes too late is not counted
    await runs.one(limit)


async def _reading(
    gate: Gate, make: Callable[[], Runs], count: int, way: str, early: HeadStart
) -> dict[str, float]:
    async def attempt(deadline: float | None) -> dict[str, float] | None:
        return await storm(gate, make(), count, way, deadline)

    figures = await (early.give(attempt) if way == DEADLINE else attempt(None))
    assert figures is not None
    return figures


async def storms(effort: Effort) -> list[Row]:
    """A sequence of 5 nodes that waits in its last."""
    gate = Gate()
    rows = []
    async with open_for_storms() as engine:
        for count in [1_000] if effort.quick else [10_000]:
            early = HeadStart(count)
            for way in WAYS:
                figures = await readings(
                    {
                        name: partial(_reading, gate, make, count, way, early)
                        for name, make in makers(engine, gate, way).items()
                    },
                    2,
                )
                rows += [
                    compare(
                        figures[what], "storms", f"{said}, {count:,} runs, {way}",
                        figure="engine", floor=HAND, unit=unit, scale=scale,
                    )
                    for what, said, unit, scale in (
                        (CPU, "CPU per run to unwind", "us", MICRO),
                        (STALL, "longest stall", "ms", MILLI),
                    )
                ]  # fmt: skip
    return rows


def open_for_storms() -> AbstractAsyncContextManager[Engine]:
    """An engine with as many slots and as much grace as a storm needs."""
    return open_engine(max_concurrent_pipelines=None, timeouts=Timeouts(grace=GRACE))


def makers(engine: Engine, gate: Gate, way: str) -> dict[str, Callable[[], Runs]]:
    """What makes the runs of a storm, by contestant; each storm has its own."""
    last: Function = gate.wait
    by_hand: Function = gate.wait
    if way == CLEANING:
        last, by_hand = _careful(gate, cleanup), _careful(gate, _by_hand)
    return {
        HAND: partial(ByHand, [[*[plain] * 4, by_hand]], way),
        "engine": partial(ByEngine, engine, [[*[plain] * 4, last]], way),
    }


def _by_hand() -> AbstractContextManager[Any]:
    return trio.move_on_after(GRACE, shield=True)


def _careful(gate: Gate, block: Callable[[], Any]) -> Function:
    async def node(value: Any) -> Any:
        try:
            return await gate.wait(value)
        finally:
            with block():
                await trio.lowlevel.checkpoint()

    return node
