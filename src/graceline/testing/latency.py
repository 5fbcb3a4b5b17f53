"""How long modelled work takes: constant, lognormal, Pareto, bimodal, or a recorded history.

A model has no state. It is sampled with a random number generator that the caller seeds, so that a
failing example replays.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Protocol, cast, runtime_checkable

import attrs

from graceline.definitions.checks import brief
from graceline.durations import Duration, parse_duration
from graceline.errors import DefinitionError

__all__ = ["Bimodal", "Constant", "Latency", "Lognormal", "Pareto", "Trace", "as_latency"]


@runtime_checkable
class Latency(Protocol):
    """Anything that can say how long one call takes."""

    def sample(self, random: random.Random) -> float:
        """Seconds of one call, at least 0; `math.inf` never ends."""
        ...


def _seconds(value: Duration) -> float:
    """Tells type checkers what may be given; `__attrs_post_init__` parses, and can say where."""
    return cast("float", value)


def _history(value: Iterable[Duration]) -> tuple[float, ...]:
    return cast("tuple[float, ...]", value)


def _parse(model: Any, *names: str) -> None:
    for name in names:
        what = f"{type(model).__name__}({name}=)"
        object.__setattr__(model, name, parse_duration(getattr(model, name), what))


def _check(model: Any, name: str, *, least: float, most: float = math.inf) -> None:
    """Raise unless an attribute is a finite number above `least`, or at it where that is 0."""
    value = getattr(model, name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most or value == math.inf:
        bounds = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
        raise DefinitionError(
            f"{type(model).__name__}({name}=) must be a finite number {bounds}, not {brief(value)}"
        )


def _positive(model: Any, name: str) -> None:
    value = getattr(model, name)
    _check(model, name, least=0.0)
    if not value:
        raise DefinitionError(f"{type(model).__name__}({name}=) must be above 0")


@attrs.frozen(repr=False)
class Constant:
    """Always the same.

    Attributes:
        seconds: how long each call takes; `math.inf` never ends.

    Raises:
        DefinitionError: for negative values, NaN, booleans, strings without a unit.
    """

    seconds: float = attrs.field(converter=_seconds)

    def __attrs_post_init__(self) -> None:
        _parse(self, "seconds")

    def __repr__(self) -> str:
        return f"Constant({self.seconds!r})"

    def sample(self, random: random.Random) -> float:  # noqa: ARG002 - the protocol's
        """Seconds of one call."""
        return self.seconds


@attrs.frozen
class Lognormal:
    """Most calls near the median, some several times as long: what services often show.

    Attributes:
        median: seconds that half of the calls do not exceed, above 0.
        sigma: standard deviation of the logarithm, at least 0; 0.5 puts one call in a hundred
            above 3.2 times the median.

    Raises:
        DefinitionError: for values out of range.
    """

    median: float = attrs.field(converter=_seconds)
    sigma: float

    def __attrs_post_init__(self) -> None:
        _parse(self, "median")
        _positive(self, "median")
        _check(self, "sigma", least=0.0)

    def sample(self, random: random.Random) -> float:
        """Seconds of one call."""
        return random.lognormvariate(math.log(self.median), self.sigma)


@attrs.frozen
class Pareto:
    """A heavy tail: the share of calls above x seconds is `(scale / x) ** alpha`.

    Attributes:
        scale: the shortest call in seconds, above 0.
        alpha: the tail index, above 0; the smaller, the heavier. At 1 and below there is no mean.

    Raises:
        DefinitionError: for values out of range.
    """

    scale: float = attrs.field(converter=_seconds)
    alpha: float

    def __attrs_post_init__(self) -> None:
        _parse(self, "scale")
        _positive(self, "scale")
        _positive(self, "alpha")

    def sample(self, random: random.Random) -> float:
        """Seconds of one call."""
        return self.scale * random.paretovariate(self.alpha)


@attrs.frozen
class Bimodal:
    """Two speeds, such as a hit and a miss of a cache.

    Attributes:
        fast: seconds of a fast call.
        slow: seconds of a slow call, at least `fast`.
        slow_share: the share of slow calls, from 0 to 1.

    Raises:
        DefinitionError: for values out of range.
    """

    fast: float = attrs.field(converter=_seconds)
    slow: float = attrs.field(converter=_seconds)
    slow_share: float

    def __attrs_post_init__(self) -> None:
        _parse(self, "fast", "slow")
        _check(self, "slow_share", least=0.0, most=1.0)
        if self.slow < self.fast:
            raise DefinitionError(
                f"Bimodal(slow=) must be at least fast={self.fast:g}, not {self.slow:g}"
            )

    def sample(self, random: random.Random) -> float:
        """Seconds of one call."""
        return self.slow if random.random() < self.slow_share else self.fast


@attrs.frozen
class Trace:
    """A recorded history, sampled with replacement.

    Attributes:
        durations: seconds of the recorded calls, at least one.

    Raises:
        DefinitionError: for no durations, and for one that is none.
    """

    durations: tuple[float, ...] = attrs.field(converter=_history)

    def __attrs_post_init__(self) -> None:
        given: Any = self.durations
        if isinstance(given, str | bytes) or not isinstance(given, Iterable):
            raise DefinitionError(f"Trace() takes a list of durations, not {brief(given)}")
        parsed = tuple(
            parse_duration(value, f"Trace(), duration {index}") for index, value in enumerate(given)
        )
        if not parsed:
            raise DefinitionError("Trace() needs at least one duration")
        object.__setattr__(self, "durations", parsed)

    def sample(self, random: random.Random) -> float:
        """Seconds of one call."""
        return random.choice(self.durations)


def as_latency(value: Latency | Duration) -> Latency:
    """A model as it is, or a duration (`0.25`, `"250ms"`, a `timedelta`) as a `Constant`.

    Raises:
        DefinitionError: for anything else, and for a bad duration.
    """
    if isinstance(value, Latency) and not isinstance(value, type):
        return value
    if isinstance(value, int | float | str | timedelta):
        return Constant(parse_duration(value, "latency"))
    raise DefinitionError(
        f"latency: {brief(value)} is neither a duration (0.25, '250ms') nor a model "
        "such as Lognormal(0.05, 0.5)"
    )
