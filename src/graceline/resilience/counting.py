"""The ends of a call as breakers and health count them, and counters over a sliding window."""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from math import inf

__all__ = ["Counted", "SlidingCounts"]


class Counted(StrEnum):
    """How a call ended, as far as it tells something about what was called."""

    OK = "ok"
    """It returned a value, in time or late."""
    ERROR = "error"
    """It raised."""
    IGNORED_ERROR = "ignored error"
    """It raised what the policy ignores."""
    OWN_TIMEOUT = "own timeout"
    """Its own limit passed, or that of its node."""
    ANCESTORS_TIMEOUT = "ancestor's timeout"
    """A limit above its node passed: how long it took until then tells whether it was slow."""
    NOTHING = "nothing"
    """Cancelled by a user, a shutdown, the caller, a sibling's failure or a faster copy."""
    REJECTED = "rejected"
    """It never started: another protection refused it, or its limit passed in a queue."""


class SlidingCounts:
    """Sums over the last `window` seconds, kept in buckets: constant memory, whatever the traffic.

    A bucket leaves as a whole, so a count is kept for at least `window * (1 - 1 / buckets)` seconds
    and for less than `window`, give or take the rounding of the clock.

    Args:
        window: seconds, above 0.
        counters: how many sums.
        buckets: into how many parts the window is cut.

    Attributes:
        sums: of what the window held at the last `advance` or `add`, one per counter.
    """

    __slots__ = ("_buckets", "_current", "_filled", "_until", "_width", "sums")

    def __init__(self, window: float, counters: int, buckets: int = 10) -> None:
        self._width = window / buckets
        self._buckets = buckets
        self._filled: deque[tuple[float, list[int]]] = deque()
        """The buckets in the window, oldest first, by their number since the clock's zero."""
        self._current: list[int] = []
        """The newest of them."""
        self._until = -inf
        """When the next one begins."""
        self.sums: list[int] = [0] * counters

    def advance(self, now: float) -> list[int]:
        """Forget what is too old, and return the sums: the list that the next calls change."""
        if now >= self._until:
            self._turn(now)
        return self.sums

    def add(self, now: float, counter: int) -> None:
        """Add one to a counter."""
        if now >= self._until:
            self._turn(now)
        self._current[counter] += 1
        self.sums[counter] += 1

    def at(self, now: float) -> list[int]:
        """The sums at an instant that is not past; changes nothing, so any thread may ask."""
        oldest = now // self._width - self._buckets
        kept = [amounts for number, amounts in tuple(self._filled) if number > oldest]
        return [sum(amounts[index] for amounts in kept) for index in range(len(self.sums))]

    def clear(self) -> None:
        """Forget everything."""
        self._filled.clear()
        self._until = -inf
        self.sums = [0] * len(self.sums)

    def _turn(self, now: float) -> None:
        """Drop the buckets that are too old, and begin a new one."""
        number = now // self._width
        while self._filled and self._filled[0][0] <= number - self._buckets:
            for counter, amount in enumerate(self._filled.popleft()[1]):
                self.sums[counter] -= amount
        self._until = (number + 1.0) * self._width
        self._current = [0] * len(self.sums)
        self._filled.append((number, self._current))
