"""The scale of a drawing of durations: where a duration lies, and which ones to write beside it."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, log10

import attrs

__all__ = ["Scale", "scale_for"]

_WIDE = 8.0  # times the shortest duration from which equal steps would press the short ones flat
_BARE = 0.1  # share of a logarithmic scale above its last tick from which it is given another one
_STEPS = (1.0, 2.0, 5.0)


@attrs.frozen
class Scale:
    """From `low` to `high` seconds, in equal steps or, with `log`, in equal factors."""

    low: float
    high: float
    log: bool

    def share(self, seconds: float) -> float:
        """Where a duration lies: 0 is `low`, 1 is `high`; what is beyond them lies on them."""
        if self.log:
            seconds = max(seconds, self.low)
            share = log10(seconds / self.low) / log10(self.high / self.low)
        else:
            share = (seconds - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self, most: int) -> list[float]:
        """At most so many round durations on the scale, in seconds, the shortest first."""
        decades = range(floor(log10(self.low)) if self.low else -9, ceil(log10(self.high)) + 1)
        if self.log:
            choices = [
                [step * 10.0**decade for decade in decades for step in steps]
                for steps in (_STEPS, (1.0, 3.0), (1.0,))
            ]
        else:
            choices = [
                [step * 10.0**decade * number for number in range(most)]
                for decade in range(floor(log10(self.high)) - 2, decades.stop)
                for step in _STEPS
                if self.high < step * 10.0**decade * most
            ]
        fitting = ([at for at in ticks if self.low <= at <= self.high] for ticks in choices)
        found = next((ticks for ticks in fitting if len(ticks) <= most), [])
        return self._reaching_up(found, most) if self.log and len(found) > 1 else found

    def _reaching_up(self, ticks: list[float], most: int) -> list[float]:
        """Ticks with one near the top, where the longest durations would have none."""
        decade = 10.0 ** floor(log10(self.high))
        top = floor(self.high / decade) * decade
        if self.share(top) - self.share(ticks[-1]) < _BARE:
            return ticks
        return [*ticks[: most - 1], top]


def scale_for(durations: Iterable[float]) -> Scale:
    """The scale on which some durations can be told apart, in seconds.

    In equal factors where the longest is many times the shortest, otherwise in equal steps from 0.
    """
    shown = list(durations)
    longest = max(shown, default=0.0) or 1.0
    shortest = min((one for one in shown if one > 0.0), default=longest)
    if longest <= _WIDE * shortest:
        return Scale(0.0, longest * 1.05, log=False)
    return Scale(shortest / 1.1, longest * 1.1, log=True)
