"""The learners that one writes first, as opponents: each sensible, each failing in its own way."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

import attrs

__all__ = ["CutsAtTheMaximum", "Limit", "Static", "SuccessesOnly"]

MARGIN, WEIGHT, WINDOW, FIRST = 1.5, 0.1, 256, 10


@attrs.frozen
class Limit:
    """A lease of a naive learner: it knows the limit and whom to tell."""

    timeout: float
    learner: SuccessesOnly

    def completed(self, elapsed: float, /) -> None:
        """A success."""
        self.learner.learn(elapsed)

    def cut(self, _elapsed: float, /) -> None:
        """Something that naive learners leave out, or guess."""
        self.learner.learn_cut()

    def censored(self, _elapsed: float, /) -> None:
        """Nothing that they look at."""


class SuccessesOnly:
    """The p95 of the last successes, times a margin, smoothed; all in seconds."""

    def __init__(self, initial: float = 1.0, floor: float = 0.005, ceiling: float = 3.0) -> None:
        self.limit = initial
        self.floor = floor
        self.ceiling = ceiling
        self._window: deque[float] = deque()
        self._sorted: list[float] = []

    def issue(self) -> Limit:
        """The limit for a call that starts now."""
        return Limit(self.limit, self)

    def learn(self, duration: float) -> None:
        """Take a duration for what a call needs."""
        self._window.append(duration)
        insort(self._sorted, duration)
        if len(self._window) > WINDOW:
            del self._sorted[bisect_left(self._sorted, self._window.popleft())]
        if len(self._window) >= FIRST:
            aim = MARGIN * self._sorted[int(0.95 * (len(self._sorted) - 1))]
            self.limit += WEIGHT * (min(max(aim, self.floor), self.ceiling) - self.limit)

    def learn_cut(self) -> None:
        """A cut call is no success, so it is left out: the death spiral."""


class CutsAtTheMaximum(SuccessesOnly):
    """The obvious repair: a cut call counts as one that took the ceiling."""

    def learn_cut(self) -> None:
        """Every hang drags the limit up."""
        self.learn(self.ceiling)


class Static(SuccessesOnly):
    """No learner: the configured limit."""

    def learn(self, _duration: float) -> None:
        """Learns nothing."""
