"""A crowd: many runs that are in flight at the same moment, which a gate proves by counting them.

The last node of every run waits at the gate, and the gate tells when so many do. So all have
started and none has ended, and whoever measures chooses when they go on.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from benchmarks.floors import HAND, bare, hand_written
from benchmarks.shapes import Function, straight

if TYPE_CHECKING:
    from graceline import Engine

__all__ = [
    "PLAIN",
    "Contestants",
    "Gate",
    "HeadStart",
    "Reading",
    "contestants",
    "crowd",
    "readings",
]

PLAIN = "plain Trio"

Figure = TypeVar("Figure")

Contestants = Mapping[str, Callable[[], Awaitable[Any]]]
"""The same run in several spellings, by what they are called."""

Reading = Callable[[], Awaitable[Mapping[str, float]]]
"""Measures something once; returns several figures by their names."""


class Gate:
    """A node that waits until the gate is opened.

    Attributes:
        waiting: how many wait.
    """

    def __init__(self) -> None:
        self.shut(1)

    def shut(self, expected: int) -> None:
        """Let nobody pass from now on, and tell when so many wait."""
        self.waiting = 0
        self._expected = expected
        self._full, self._open = trio.Event(), trio.Event()

    def open(self) -> None:
        """Let all pass."""
        self._open.set()

    async def full(self) -> None:
        """Wait until all that are expected wait here at the same time.

        Raises:
            AssertionError: if one was cut before, on a machine that is too slow for its limit.
        """
        await self._full.wait()
        assert self.waiting == self._expected, "a run was cut before all were in flight"

    async def full_by(self, deadline: float) -> bool:
        """Wait for them no longer than this; returns whether all were here in time."""
        with trio.move_on_at(deadline):
            await self._full.wait()
        return self._full.is_set() and trio.current_time() < deadline

    async def wait(self, value: Any) -> Any:
        """The node."""
        self.waiting += 1
        if self.waiting == self._expected:
            self._full.set()
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1
            if not self._open.is_set():
                self._full.set()
        return value


class HeadStart:
    """The time in which a crowd gathers before a deadline that all of it shares."""

    def __init__(self, count: int) -> None:
        self._seconds = 0.2 + count * 200e-6

    async def give(self, attempt: Callable[[float], Awaitable[Figure | None]]) -> Figure:
        """What `attempt(deadline)` returns, which is None if some came too late.

        Then it is tried again with twice the time, of which the next one profits too.
        """
        for _ in range(10):
            figure = await attempt(trio.current_time() + self._seconds)
            if figure is not None:
                return figure
            self._seconds *= 2
        raise AssertionError(f"not all runs are in flight after {self._seconds:.0f} s")


def contestants(engine: Engine, work: list[list[Function]]) -> Contestants:
    """One run of this work: plain Trio, hand-written scopes, the engine."""
    return {
        PLAIN: partial(bare, work, 1),
        HAND: partial(hand_written, work, 1),
        "engine": partial(engine.run, straight(work), 1),
    }


async def crowd(count: int, run: Callable[[], Awaitable[Any]]) -> None:
    """So many runs at once, each in a task of its own."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(run)


async def readings(
    samples: Mapping[str, Reading], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Sample every contestant once per round; returns the figures by their names.

    Before each sample everything is collected: how soon the collector looks at all objects again
    depends on how many it saw the last time, which must not be the crowd of the one before.
    """
    figures: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for name, sample in samples.items():
            gc.collect()
            await trio.lowlevel.checkpoint()
            for what, figure in (await sample()).items():
                figures.setdefault(what, {}).setdefault(name, []).append(figure)
    return figures
