"""The regimes: what the latencies of a service do, call by call, from a seed.

The base is lognormal with a median of 50 ms and a sigma of 0.5. Whatever changes does so at call
`CHANGE`; calls are counted, not seconds, so a regime is the same for every learner.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf
from random import Random

import attrs

from graceline.testing.traffic import Call

__all__ = ["CALLS", "CHANGE", "REGIMES", "STATIONARY", "Regime"]

CALLS = 3000
CHANGE = 1000
MEDIAN, SIGMA = 0.05, 0.5
STORM = range(CHANGE, CHANGE + 500)
BROWN_OUT = range(CHANGE, CHANGE + 300)
OUTAGE = range(CHANGE, CHANGE + 50)
TICK = 0.0156
"""Seconds between the ticks of a coarse timer."""


@attrs.frozen
class Regime:
    """One kind of traffic.

    Attributes:
        name: as in the table.
        draw: makes the call of a number.
        stationary: whether it stays the same from the first call to the last.
    """

    name: str
    draw: Callable[[Random, int], Call]
    stationary: bool = False

    def calls(self, seed: int, count: int = CALLS) -> list[Call]:
        """The calls of a seed."""
        rng = Random(f"{self.name} {seed}")  # noqa: S311 - a simulation
        return [self.draw(rng, number) for number in range(count)]


def _base(rng: Random, factor: float = 1.0) -> float:
    return factor * MEDIAN * rng.lognormvariate(0.0, SIGMA)


def _lognormal(rng: Random, _: int) -> Call:
    return Call(_base(rng))


def _pareto(rng: Random, _: int) -> Call:
    return Call(MEDIAN / math.sqrt(2.0) * rng.paretovariate(2.0))


def _bimodal(rng: Random, _: int) -> Call:
    return Call(_base(rng, 0.1) if rng.random() < 0.8 else _base(rng, 3.0))


def _timer(rng: Random, _: int) -> Call:
    return Call(math.ceil(_base(rng) / TICK) * TICK)


def _cancels(rng: Random, _: int) -> Call:
    latency = _base(rng)
    return Call(latency, rng.expovariate(1.0 / MEDIAN) if rng.random() < 0.3 else inf)


def _budget(rng: Random, _: int) -> Call:
    return Call(_base(rng), rng.uniform(0.05, 0.25))


def _drift(rng: Random, number: int) -> Call:
    return Call(_base(rng, 1.0 + 2.0 * min(max((number - CHANGE) / 1000, 0.0), 1.0)))


def _periodic(rng: Random, number: int) -> Call:
    return Call(_base(rng, 1.5 + 0.5 * math.sin(number * math.tau / 500)))


def _flapping(rng: Random, number: int) -> Call:
    return Call(_base(rng, 4.0 if number // 250 % 2 else 1.0))


def _step(factor: float) -> Callable[[Random, int], Call]:
    def draw(rng: Random, number: int) -> Call:
        return Call(_base(rng, 1.0 if number < CHANGE else factor))

    return draw


def _storm(rng: Random, number: int) -> Call:
    missed = rng.random() < 0.1 and number in STORM
    return Call(_base(rng, 24.0 if missed else 1.0))


def _above(rng: Random, _: int) -> Call:
    return Call(1.5 * rng.lognormvariate(0.0, 0.2))


def _brown_out(rng: Random, number: int) -> Call:
    hangs = rng.random() < 0.1 and number in BROWN_OUT
    return Call(inf if hangs else _base(rng))


def _hangs(rng: Random, _: int) -> Call:
    return Call(inf if rng.random() < 0.05 else _base(rng))


def _outage(rng: Random, number: int) -> Call:
    return Call(inf if number in OUTAGE else _base(rng))


def _shift(rng: Random, number: int) -> Call:
    return Call(rng.uniform(0.04, 0.06) if number < CHANGE else rng.uniform(0.09, 0.118))


_ALL = (
    Regime("lognormal", _lognormal, stationary=True),
    Regime("pareto tail", _pareto, stationary=True),
    Regime("cache hit or miss", _bimodal, stationary=True),
    Regime("15.6 ms timer", _timer, stationary=True),
    Regime("30 % outside cancels", _cancels, stationary=True),
    Regime("budget cuts", _budget, stationary=True),
    Regime("drift x3", _drift),
    Regime("periodic", _periodic),
    Regime("flapping x4", _flapping),
    Regime("step down /4", _step(0.25)),
    Regime("step x1.7", _step(1.7)),
    Regime("step x4", _step(4.0)),
    Regime("step x20", _step(20.0)),
    Regime("the trap: 40-60 to 90-118 ms", _shift),
    Regime("miss storm", _storm),
    Regime("above the default", _above),
    Regime("brown-out", _brown_out),
    Regime("5 % hang for ever", _hangs),
    Regime("outage of 50 calls", _outage),
)

REGIMES = {regime.name: regime for regime in _ALL}
STATIONARY = tuple(regime.name for regime in _ALL if regime.stationary)
