"""Interleaved rounds: every contestant is sampled once per round, so that they share the weather.

The garbage collector stays on. Before each sample the young generations are emptied and Trio gets a
tick, so that nobody pays for what the one before left behind. Each sample ends with a tick as well:
who leaves stale deadlines in Trio's heap pays for clearing them away.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median, quantiles
from typing import Any

import attrs
import trio

__all__ = ["Sample", "Samples", "Spread", "interleave", "ratios", "timed"]

Sample = Callable[[], Awaitable[float]]
"""Measures something once; returns the figure."""

Samples = Mapping[str, Sequence[float]]
"""The figures of each contestant, one per round."""


@attrs.frozen
class Spread:
    """A median with the quartiles around it, of so many figures."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, figures: Sequence[float], *, scale: float = 1.0) -> Spread:
        """Sum up figures, each multiplied by `scale`.

        Raises:
            ValueError: for no figures.
        """
        if not figures:
            raise ValueError("a spread needs at least one figure")
        scaled = [figure * scale for figure in figures]
        if len(scaled) == 1:
            return cls(scaled[0], scaled[0], scaled[0], 1)
        low, _, high = quantiles(scaled, n=4, method="inclusive")
        return cls(median(scaled), low, high, len(scaled))


def ratios(
    figures: Sequence[float], floors: Sequence[float], bases: Sequence[float] | None = None
) -> list[float]:
    """The ratios of figure to floor, round by round, after `bases` is taken off both.

    A round in which the floor is not above its base says nothing and is left out.
    """
    below = [0.0] * len(figures) if bases is None else bases
    return [
        (figure - base) / (floor - base)
        for figure, floor, base in zip(figures, floors, below, strict=True)
        if floor > base
    ]


async def interleave(
    contestants: Mapping[str, Sample], rounds: int, *, warmup: int = 1
) -> dict[str, list[float]]:
    """Sample every contestant once per round, always in the same order, after `warmup` rounds."""
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(-warmup, rounds):
        for name, sample in contestants.items():
            gc.collect(1)
            await trio.lowlevel.checkpoint()
            figure = await sample()
            if number >= 0:
                figures[name].append(figure)
    return figures


def timed(
    work: Callable[[], Awaitable[Any]],
    *,
    times: int = 1,
    units: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> Sample:
    """A sample of seconds per unit: `work` is awaited `times` times and does `units` units each.

    CPU seconds by default: what is measured is busy all the time, or is not to count while it
    waits, and a neighbour on the same machine then disturbs less.

    Args:
        work: what is measured.
        times: how often it runs per sample; samples of a few milliseconds lie close together.
        units: what one call counts for, such as its nodes.
        clock: what tells the seconds.
    """

    async def sample() -> float:
        start = clock()
        for _ in range(times):
            await work()
        await trio.lowlevel.checkpoint()
        return (clock() - start) / (times * units)

    return sample
