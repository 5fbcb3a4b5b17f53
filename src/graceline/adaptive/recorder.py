"""The durations of a part whose limit is not learned: kept for plans, budgets and people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from graceline.adaptive.history import DurationHistory

__all__ = ["Recorder"]


class Recorder:
    """Records the durations of calls, and nothing else. Not thread-safe.

    Args:
        window: how many samples are kept, at least 1.

    Attributes:
        history: the samples.
        listener: called after every sample that was kept.
    """

    __slots__ = ("history", "listener")

    def __init__(self, window: int = 256) -> None:
        self.history: DurationHistory = DurationHistory(window)
        self.listener: Callable[[Recorder], object] | None = None

    def __repr__(self) -> str:
        return f"<records {self.history!r}>"

    def add(self, duration: float, *, censored: bool = False, at: float | None = None) -> None:
        """Record how long a call took, or how long it took at least; see `DurationHistory.add`.

        What is no number of seconds, such as NaN, is left out.
        """
        kept = 0.0 <= duration < inf and self.history.add(duration, censored=censored, at=at)
        if kept and self.listener is not None:
            self.listener(self)

    def state(self) -> Mapping[str, float]:
        """Nothing: all that it knows are the samples."""
        return {}
