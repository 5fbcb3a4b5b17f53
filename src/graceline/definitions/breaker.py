"""A circuit breaker: no more calls to what has been failing, until a probe has succeeded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import attrs

from graceline.definitions.arguments import explained_class
from graceline.definitions.checks import (
    brief,
    check_count,
    check_errors,
    check_name,
    check_share,
    nearest,
    positive_duration,
)
from graceline.durations import format_duration
from graceline.errors import DefinitionError
from graceline.values import frozen

if TYPE_CHECKING:
    from graceline.durations import Duration

__all__ = ["Breaker", "BreakerMode", "Ignored"]

BreakerMode: TypeAlias = Literal["on", "metrics_only", "off", "forced_open"]
"""What a breaker does: all, only show what it would do, nothing, or refuse everything."""

Ignored: TypeAlias = tuple[type[Exception], ...] | Callable[[Exception], bool]
"""Which errors do not count: classes, or a predicate."""


def _seconds(value: Duration) -> float:
    return cast("float", value)  # parsed in `__attrs_post_init__`, which can say where


def _optional_seconds(value: Duration | None) -> float | None:
    return cast("float | None", value)


def _ignored(value: type[Exception] | Iterable[type[Exception]] | Ignored) -> Ignored:
    return cast("Ignored", value)


@explained_class
@frozen(kw_only=True)
class Breaker:
    """A circuit breaker: `breaker=Breaker(failure_rate=0.3, open_for="30s")`.

    It opens when one of the rates is reached (`>=`), refuses calls for a while, then lets a few
    probes through and closes again when all of them succeed. Timeouts count as failures; calls
    that somebody else cancelled do not. See `graceline.resilience.breaker`.

    Attributes:
        failure_rate: the share of failures that opens it, above 0 and at most 1.
        min_calls: how many calls of the window must have counted before a share means anything.
        window: how long a call counts, in seconds. It is forgotten in steps of a tenth.
        consecutive: so many failures in a row open it, however few and old they are; None for off.
        slow_rate: the share of slow calls that opens it; given together with `slow_after`.
        slow_after: a call that takes longer than this, in seconds, is slow.
        open_for: how long calls are refused, in seconds. Each probe that fails doubles it.
        max_open_for: the most it is doubled to, in seconds. Each time it is then varied by +-20 %,
            so that many breakers do not send their probes at once.
        probes: how many calls are let through after that, and must succeed for it to close.
        probe_max: how long a probe holds its slot at most, in seconds; then another call may have
            it, and the result of the slow one counts all the same. A probe frees its slot when it
            ends, so this is for one that never does. As long as a window by default: many times
            what a call takes, and a stuck probe does not keep the breaker from closing for longer.
        ignore: errors that count neither as success nor as failure: an exception class, several,
            or a plain function of the exception that says whether to ignore it.
        mode: `on`; `metrics_only` to count and show its state but never refuse; `off` to count
            nothing; `forced_open` to refuse everything.
        name: nodes whose breakers have the same name share one; None for one of the node's own.

    Raises:
        DefinitionError: for numbers out of these ranges, durations that are not above 0 and finite,
            one of `slow_rate` and `slow_after` without the other, an unknown mode.
    """

    failure_rate: float = 0.5
    min_calls: int = 10
    window: float = attrs.field(default=30.0, converter=_seconds)
    consecutive: int | None = None
    slow_rate: float | None = None
    slow_after: float | None = attrs.field(default=None, converter=_optional_seconds)
    open_for: float = attrs.field(default=10.0, converter=_seconds)
    max_open_for: float = attrs.field(default=300.0, converter=_seconds)
    probes: int = 1
    probe_max: float = attrs.field(default=30.0, converter=_seconds)
    ignore: Ignored = attrs.field(default=(), converter=_ignored)
    mode: BreakerMode = "on"
    name: str | None = None

    def __attrs_post_init__(self) -> None:
        self._parse("window", "open_for", "max_open_for", "probe_max")
        check_share(self.failure_rate, "Breaker(failure_rate=)")
        check_count(self.min_calls, "Breaker(min_calls=)")
        check_count(self.probes, "Breaker(probes=)")
        if self.consecutive is not None:
            check_count(self.consecutive, "Breaker(consecutive=)")
        if (self.slow_rate is None) is not (self.slow_after is None):
            raise DefinitionError(
                "Breaker: slow_rate= and slow_after= go together; give both or neither"
            )
        if self.slow_rate is not None:
            check_share(self.slow_rate, "Breaker(slow_rate=)")
            self._parse("slow_after")
        if self.open_for > self.max_open_for:
            raise DefinitionError(
                f"Breaker: open_for {format_duration(self.open_for)} must not be longer than "
                f"max_open_for {format_duration(self.max_open_for)}"
            )
        if self.mode not in get_args(BreakerMode):
            raise DefinitionError(
                f"Breaker(mode=): {brief(self.mode)} is unknown; "
                f"{nearest(self.mode, get_args(BreakerMode))}"
            )
        if self.name is not None:
            check_name(self.name, "Breaker(name=)")
        object.__setattr__(self, "ignore", check_errors(self.ignore, "Breaker(ignore=)"))

    def _parse(self, *names: str) -> None:
        for name in names:
            seconds = positive_duration(getattr(self, name), f"Breaker({name}=)")
            object.__setattr__(self, name, seconds)

    def ignores(self, error: Exception) -> bool:
        """Whether an error does not count; of a group, whether none of its errors does."""
        ignore = self.ignore
        if isinstance(error, ignore) if isinstance(ignore, tuple) else ignore(error):
            return True
        return isinstance(error, ExceptionGroup) and all(map(self.ignores, error.exceptions))
