"""What is measured in a regime.

A call that could have finished by the ceiling, but was cut, is a *false timeout*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from statistics import fmean, median, quantiles

from benchmarks.adaptive.regimes import CHANGE
from graceline.testing.traffic import EndedCall

__all__ = [
    "CEILING",
    "Figure",
    "cold_limit",
    "cold_rate",
    "cuts_after",
    "detection",
    "false_rate",
    "is_false",
    "recovery",
    "stuck",
    "variation",
    "waste",
]

CEILING = 3.0
Runs = Sequence[Sequence[EndedCall]]
"""The calls of one regime, seed by seed."""

Figure = Callable[[Runs], float]


def is_false(one: EndedCall) -> bool:
    """Whether a call was cut that would have finished by the ceiling."""
    return one.cut and one.call.latency <= min(CEILING, one.call.outside)


def _false(calls: Sequence[EndedCall]) -> int:
    return sum(map(is_false, calls))


def false_rate(runs: Runs) -> float:
    """The share of false timeouts among all calls, in percent."""
    return 100.0 * fmean(_false(calls) / len(calls) for calls in runs)


def cold_rate(runs: Runs) -> float:
    """The same for the first 50 calls."""
    return false_rate([calls[:50] for calls in runs])


def cold_limit(runs: Runs) -> float:
    """The mean limit of the first 50 calls, in milliseconds."""
    return 1000.0 * fmean(one.limit for calls in runs for one in calls[:50])


def cuts_after(start: int, count: int) -> Figure:
    """The mean number of false timeouts in `count` calls from `start` on."""

    def figure(runs: Runs) -> float:
        return fmean(_false(calls[start : start + count]) for calls in runs)

    return figure


def recovery(runs: Runs) -> float:
    """Calls after the change until 20 in a row are not cut: the p90 of the seeds."""
    return _share([_calls_until_calm(calls[CHANGE:]) for calls in runs], 0.9)


def _calls_until_calm(calls: Sequence[EndedCall]) -> float:
    start = 0
    for number, one in enumerate(calls):
        if is_false(one):
            start = number + 1
        elif number - start >= 19:
            return start
    return inf


def _hung(runs: Runs, start: int, count: int) -> list[EndedCall]:
    hung = [one for calls in runs for one in calls[start : start + count]]
    return [one for one in hung if one.call.latency > CEILING]


def detection(start: int, count: int) -> Figure:
    """The mean time until a hung call is cut, in milliseconds."""

    def figure(runs: Runs) -> float:
        return 1000.0 * fmean(one.elapsed for one in _hung(runs, start, count))

    return figure


def waste(start: int, count: int) -> Figure:
    """The p99, over all calls, of the time spent in a call that was cut, in milliseconds."""

    def figure(runs: Runs) -> float:
        calls = [one for run in runs for one in run[start : start + count]]
        return 1000.0 * _share([one.elapsed if one.cut else 0.0 for one in calls], 0.99)

    return figure


def variation(runs: Runs) -> float:
    """How much a learned limit moves: its interquartile range as sigma, in percent."""

    def of(calls: Sequence[EndedCall]) -> float:
        limits = [one.limit for one in calls[500:]]
        low, middle, high = quantiles(limits, n=4)
        return (high - low) / 1.349 / middle

    return 100.0 * median(of(calls) for calls in runs)


def stuck(runs: Runs) -> bool:
    """Whether, for some seed, at least half of the last 500 healthy calls are cut."""

    def of(calls: Sequence[EndedCall]) -> bool:
        healthy = [one for one in calls[-500:] if one.call.latency <= CEILING]
        return 2 * _false(healthy) >= len(healthy)

    return any(map(of, runs))


def _share(figures: Sequence[float], share: float) -> float:
    ordered = sorted(figures)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
