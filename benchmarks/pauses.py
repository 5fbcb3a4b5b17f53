"""Pauses: how long the loop keeps everybody waiting, and how much of it is the garbage collector's.

A `Stall` has no place where CPU is measured, since Trio calls it on every tick. A `Collector` may
be there: it is called twice for 700 new objects.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Self

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Collector", "Stall"]


class Collector:
    """What the garbage collector takes while the block runs.

    Attributes:
        seconds: of all collections.
        longest: of the longest one.
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self._clock = clock
        self._start = 0.0
        self.seconds = 0.0
        self.longest = 0.0

    def _called(self, phase: str, _: object) -> None:
        if phase == "start":
            self._start = self._clock()
            return
        took = self._clock() - self._start
        self.seconds += took
        self.longest = max(self.longest, took)

    def __enter__(self) -> Self:
        gc.callbacks.append(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._called)


class Stall(trio.abc.Instrument):
    """The longest time between two looks of Trio at the outside world while the block runs.

    Meanwhile no packet is read, no signal is seen and no deadline fires.

    Attributes:
        longest: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._since = 0.0
        self.longest = 0.0

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - Trio's signature
        """The loop has looked."""
        self._since = self._clock()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - Trio's signature
        """The loop looks again."""
        self.longest = max(self.longest, self._clock() - self._since)

    def __enter__(self) -> Self:
        trio.lowlevel.add_instrument(self)
        self._since = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        self.longest = max(self.longest, self._clock() - self._since)
        trio.lowlevel.remove_instrument(self)
