"""How often, and how soon, an attempt that failed is made again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import attrs

from graceline.definitions.arguments import explained_class
from graceline.definitions.checks import (
    brief,
    check_errors,
    check_flag,
    check_plain,
    finite_duration,
)
from graceline.durations import format_duration
from graceline.errors import DefinitionError
from graceline.values import frozen

if TYPE_CHECKING:
    from graceline.durations import Duration

__all__ = ["Retry"]

_Kinds: TypeAlias = tuple[type[Exception], ...]
_Predicate: TypeAlias = Callable[[Exception], Any]


def _seconds(value: Duration) -> float:
    return cast("float", value)  # parsed in `__attrs_post_init__`, which can say where


def _on(value: type[Exception] | Iterable[type[Exception]] | _Predicate) -> _Kinds | _Predicate:
    return cast("_Kinds | _Predicate", value)


@explained_class
@frozen(kw_only=True)
class Retry:
    """What failed is tried again, within the time and the retry budget that are left.

    Before attempt k a time between 0 and `min(max_backoff, backoff * factor ** (k - 2))` is waited,
    drawn evenly, so that those who failed together do not come back together. If what is left does
    not suffice for that and for an attempt, the last error is raised at once.

    Never retried, whatever `on` says: a cancel, a limit above the attempt's own, a refusal, an
    error whose attribute `retryable` is False. Of an exception group each leaf must be retryable.
    An attempt that its own limit ended is retried.

    Attributes:
        attempts: how many there may be, the first one included; at least 1.
        backoff: seconds, the base of the exponential backoff.
        factor: by how much it grows with each attempt, at least 1.
        max_backoff: seconds, the longest backoff; at least `backoff`.
        on: what is retried: a class of exceptions or several, or a plain function of the exception.
        min_attempt: seconds that an attempt is expected to take until 20 have succeeded.
        nested: whether to retry also what a layer inside this one has retried before.
        retry_after: a plain function of the error that gives the seconds after which its server
            wants to be asked again, or None. By default the error's attribute `retry_after`.
            A backoff is never shorter than that, and may be longer than `max_backoff` for it.

    Raises:
        DefinitionError: for values outside these ranges.
    """

    attempts: int = 3
    backoff: float = attrs.field(default=0.1, converter=_seconds)
    factor: float = 2.0
    max_backoff: float = attrs.field(default=10.0, converter=_seconds)
    on: _Kinds | _Predicate = attrs.field(default=Exception, converter=_on)
    min_attempt: float = attrs.field(default=0.05, converter=_seconds)
    nested: bool = False
    retry_after: Callable[[Exception], float | None] | None = None

    def __attrs_post_init__(self) -> None:
        attempts, factor = self.attempts, self.factor
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            raise DefinitionError(
                f"Retry(attempts=) counts all attempts, the first one included: an integer of at "
                f"least 1, not {brief(attempts)}"
            )
        for name in ("backoff", "max_backoff", "min_attempt"):
            seconds = finite_duration(getattr(self, name), f"Retry({name}=)")
            object.__setattr__(self, name, seconds)
        if self.backoff > self.max_backoff:
            raise DefinitionError(
                f"Retry: backoff {format_duration(self.backoff)} is above max_backoff "
                f"{format_duration(self.max_backoff)}; raise max_backoff="
            )
        number = isinstance(factor, int | float) and not isinstance(factor, bool)
        if not number or not 1 <= factor < math.inf:
            raise DefinitionError(
                f"Retry(factor=) is a number of at least 1, such as 2, not {brief(factor)}"
            )
        on = check_errors(self.on, "Retry(on=)", "; cancels and exits are never retried")
        if on == ():
            raise DefinitionError("Retry(on=) names no exception; write attempts=1 for no retry")
        object.__setattr__(self, "on", on)
        check_flag(self.nested, "Retry(nested=)")
        if self.retry_after is not None:
            check_plain(self.retry_after, "Retry(retry_after=)", "the exception")
