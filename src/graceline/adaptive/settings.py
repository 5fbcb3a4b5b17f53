"""What a learner is told: the bounds that its user states, and the constants of the algorithm."""

from __future__ import annotations

from functools import cached_property
from math import inf, log

import attrs

from graceline.values import frozen

__all__ = ["Settings"]


@frozen
class Settings:
    """The bounds of a limit, and the constants of the learner. All durations are seconds.

    The constants were chosen by simulation and are rarely worth changing.

    Attributes:
        initial: the limit before anything is known, above 0; it is clamped to the bounds.
        floor: the lowest limit, above 0.
        ceiling: the highest limit; what takes longer counts as hung.
        alpha: the share of healthy calls that may be cut, above 0 and below 0.5.
        window: how many samples are kept, at least `warm_at`.
        quantile: the quantile that the limit is a multiple of, above 0 and below 1.
        margin: the factor between quantile and limit at the start.
        margin_low: the lowest factor, at least 1.
        margin_high: the highest factor.
        gain: how far one call moves the logarithm of the factor, above 0.
        warm_from: completions below this number leave the limit at `initial`.
        warm_at: completions from this number on decide it alone.
        alarm_at: the height of the CUSUM at which the alarm goes off, above 0.
        alarm_gap: the rise of the rate of misses that the CUSUM looks for, above 0 and below 1.
        boost: the factor on the limit after an alarm, above 1.
        reprobe: own timeouts after which a certificate of hangs expires, at least 1.
        reprobe_most: the same where the ceiling is very many times the quantile.
        restart: calls for which the limit is held up after a shift.
        excess: unexplained mass in the tail, in multiples of `alpha`, that asks for a probe.

    Raises:
        ValueError: if one of them is out of its range.
    """

    initial: float = 1.0
    floor: float = 0.005
    ceiling: float = 3.0
    alpha: float = 0.01
    window: int = attrs.field(default=256, kw_only=True)
    quantile: float = attrs.field(default=0.95, kw_only=True)
    margin: float = attrs.field(default=1.5, kw_only=True)
    margin_low: float = attrs.field(default=1.2, kw_only=True)
    margin_high: float = attrs.field(default=4.0, kw_only=True)
    gain: float = attrs.field(default=0.05, kw_only=True)
    warm_from: int = attrs.field(default=5, kw_only=True)
    warm_at: int = attrs.field(default=30, kw_only=True)
    alarm_at: float = attrs.field(default=6.0, kw_only=True)
    alarm_gap: float = attrs.field(default=0.15, kw_only=True)
    boost: float = attrs.field(default=3.0, kw_only=True)
    reprobe: int = attrs.field(default=32, kw_only=True)
    reprobe_most: int = attrs.field(default=256, kw_only=True)
    restart: int = attrs.field(default=10, kw_only=True)
    excess: float = attrs.field(default=3.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        for name in ("initial", "floor", "ceiling"):
            value = getattr(self, name)
            if not 0.0 < value < inf:
                raise ValueError(f"{name}: {value!r} is not a number of seconds above 0")
        if self.floor > self.ceiling:
            raise ValueError(
                f"floor: {self.floor!r} is above the ceiling, {self.ceiling!r}; swap them?"
            )
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low < value < high:
                raise ValueError(f"{name}: {value!r} is not above {low:g} and below {high:g}")
        if not 1.0 <= self.margin_low <= self.margin <= self.margin_high < inf:
            raise ValueError("the margins must be 1 <= margin_low <= margin <= margin_high")
        if not 0 <= self.warm_from < self.warm_at <= self.window:
            raise ValueError("the counts must be 0 <= warm_from < warm_at <= window")
        if not 1 <= self.reprobe <= self.reprobe_most:
            raise ValueError("the counts must be 1 <= reprobe <= reprobe_most")
        if self.restart < 0:
            raise ValueError(f"restart: {self.restart!r} is below 0")

    @cached_property
    def start(self) -> float:
        """The first limit: `initial` within the bounds."""
        return min(max(self.initial, self.floor), self.ceiling)

    @cached_property
    def hung_from(self) -> float:
        """A call that is cut from here on counts as one that reached the ceiling."""
        return 0.95 * self.ceiling

    @cached_property
    def log_margin(self) -> float:
        """The logarithm of the factor at the start."""
        return log(self.margin)

    @cached_property
    def log_margin_low(self) -> float:
        """The logarithm of the lowest factor."""
        return log(self.margin_low)

    @cached_property
    def log_margin_high(self) -> float:
        """The logarithm of the highest factor."""
        return log(self.margin_high)

    @cached_property
    def relief(self) -> float:
        """What a call in time adds to the CUSUM: log((1 - p1) / (1 - p0)), whatever p0."""
        return log(1.0 - self.alarm_gap)


_RANGES = (
    ("alpha", 0.0, 0.5),
    ("quantile", 0.0, 1.0),
    ("gain", 0.0, inf),
    ("alarm_at", 0.0, inf),
    ("alarm_gap", 0.0, 1.0),
    ("boost", 1.0, inf),
    ("excess", 0.0, inf),
)
