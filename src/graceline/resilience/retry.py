"""Whether an attempt that failed is made again, and when: one decision, all of its inputs explicit.

A retry is worth its load only if somebody still waits for the answer when it comes. A limit per
attempt does not see to that: a "total of 5 s" took 8, 16 and 20 s in three libraries, because the
last backoff and the last attempt were begun without a look at the time. So before attempt k > 1:

    delay = random() * min(max_backoff, backoff * factor ** (k - 2)), or the server's hint
    need  = p50 of the attempts that succeeded, if there are at least 20, else min_attempt;
            never more than attempt_timeout
    stop, if remaining <= delay + need
    stop, if the node's breaker will still refuse calls after the delay
    stop, if the node's retry budget has no token
    wait for `delay`

The delay is exponential backoff with *full jitter* (Marc Brooker, "Exponential Backoff And Jitter",
AWS Architecture Blog, 2015): drawn from all of the interval, not from around its end. Those who
failed together would otherwise come back together, and with full jitter their calls are the fewest.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from math import floor, inf, log10
from typing import Any, TypeAlias

from graceline.deadlines import Status
from graceline.definitions import Retry
from graceline.durations import parse_duration
from graceline.errors import DefinitionError
from graceline.resilience.budget import RetryBudget
from graceline.values import frozen

__all__ = [
    "Attempt",
    "Go",
    "Stop",
    "StopReason",
    "backoff_delay",
    "decide_retry",
    "has_started",
    "is_retryable",
    "retry_hint",
]

_ENOUGH = 20
"""Attempts that must have succeeded before their p50 says anything."""

_Random: TypeAlias = Callable[[], float]


class StopReason(StrEnum):
    """Why no further attempt is made."""

    NOT_RETRYABLE = "not_retryable"
    """It was cancelled or refused, its error is not to be retried, or the breaker is open."""
    ATTEMPTS = "attempts"
    """There were as many as there may be."""
    DEADLINE = "deadline"
    """What is left of the time does not suffice."""
    BUDGET = "budget"
    """The retry budget of the node has no token left."""


@frozen
class Go:
    """Wait, and make another attempt; a token was taken for it.

    Attributes:
        delay: seconds to wait. Give the token back if that wait is cancelled.
    """

    delay: float


@frozen
class Stop:
    """Make no further attempt; raise the last real error.

    Attributes:
        reason: why.
        note: a line for people, for `add_note` of that error.
    """

    reason: StopReason
    note: str


@frozen(kw_only=True)
class Attempt:
    """How the last attempt ended.

    Attributes:
        number: which one it was; the first one is 1.
        status: what became of it.
        error: what it raised, if its status is `failed`.
        own_timeout: for `timed_out`, whether its own limit ended it, and not one above it.
        started: whether its work had begun; False for one that still waited for a thread.
        retried_inside: whether a layer inside it had a retry of its own.
    """

    number: int
    status: Status
    error: BaseException | None = None
    own_timeout: bool = False
    started: bool = True
    retried_inside: bool = False


def decide_retry(
    retry: Retry,
    last: Attempt,
    *,
    idempotent: bool | None,
    remaining: float,
    attempt_timeout: float,
    p50: float | None,
    successes: int,
    budget: RetryBudget,
    now: float,
    random: _Random,
    refused_for: float = 0.0,
    refused_by: str = "",
) -> Go | Stop:
    """Whether to make another attempt after the last one; takes a token from the budget if so.

    Args:
        retry: the policy.
        last: the attempt that did not succeed.
        idempotent: of the node; if it is False, only what failed before it started is tried again.
        remaining: seconds that the node has left, all levels above it included; `inf` for no limit.
        attempt_timeout: seconds, the limit of one attempt, `inf` for none.
        p50: seconds, of the attempts that succeeded; None if it is not known.
        successes: how many attempts `p50` was taken from.
        budget: of the node.
        now: the instant of the decision, in seconds of the clock of the budget.
        random: gives numbers in [0, 1).
        refused_for: seconds for which the breaker of the node refuses calls, 0 if it does not.
        refused_by: the name of that breaker.

    Raises:
        Exception: what the functions of the policy raise.
    """
    if retry.attempts == 1:  # whatever it raised: nobody asked for another one
        return Stop(StopReason.ATTEMPTS, "retry stopped: the only attempt is used up")
    obstacle = _obstacle(retry, last, idempotent)
    if obstacle is not None:
        return Stop(StopReason.NOT_RETRYABLE, f"retry stopped: {obstacle}")
    if last.number >= retry.attempts:
        return Stop(StopReason.ATTEMPTS, f"retry stopped: all {last.number} attempts are used up")
    delay = backoff_delay(retry, last.number + 1, random)
    if last.error is not None:
        delay = max(delay, retry_hint(retry, last.error))
    need = retry.min_attempt if p50 is None or successes < _ENOUGH else p50
    need = min(need, attempt_timeout)
    if remaining <= delay + need:
        left = _seconds(max(remaining, 0.0))
        note = f"{left} left, {_seconds(delay)} backoff + {_seconds(need)} expected"
        return Stop(StopReason.DEADLINE, f"retry stopped: {note}")
    if refused_for > delay:
        return Stop(StopReason.NOT_RETRYABLE, f"retry stopped: breaker {refused_by!r} is open")
    if not budget.take(now):
        return Stop(StopReason.BUDGET, "retry budget empty")
    return Go(delay)


def backoff_delay(retry: Retry, attempt: int, random: _Random) -> float:
    """Seconds to wait before an attempt: exponential backoff with full jitter.

    Args:
        retry: the policy.
        attempt: the number of the attempt to come, 2 for the first retry.
        random: gives numbers in [0, 1).
    """
    try:
        longest = retry.backoff * retry.factor ** (attempt - 2)
    except OverflowError:
        longest = inf if retry.backoff else 0.0
    return random() * min(retry.max_backoff, longest)


def retry_hint(retry: Retry, error: BaseException) -> float:
    """Seconds after which the server wants to be asked again, 0 if it did not say.

    A number, a duration such as "1.5s", or the digits of a `Retry-After` header. Of a group it is
    the longest of its leaves'. What is nothing of that, or not finite and above 0, does not count.
    """
    if isinstance(error, BaseExceptionGroup):
        return max(retry_hint(retry, one) for one in error.exceptions)
    asked = retry.retry_after
    if asked is None or not isinstance(error, Exception):
        hint: Any = getattr(error, "retry_after", None)
    else:
        hint = asked(error)
    if isinstance(hint, str) and hint.isascii() and hint.isdigit():
        hint = float(hint)
    try:
        seconds = parse_duration(hint, signed=True)
    except DefinitionError:
        return 0.0
    return seconds if 0.0 < seconds < inf else 0.0


def is_retryable(retry: Retry, error: BaseException) -> bool:
    """Whether an error is one that is retried; of a group, whether every leaf is.

    The attribute `retryable = False` of an error, or of a group, outweighs the policy, and nothing
    but an `Exception` is ever retried.
    """
    if not isinstance(error, Exception) or getattr(error, "retryable", None) is False:
        return False
    if isinstance(error, ExceptionGroup):
        return all(is_retryable(retry, one) for one in error.exceptions)
    on = retry.on
    return isinstance(error, on) if isinstance(on, tuple) else bool(on(error))


def has_started(error: BaseException) -> bool:
    """Whether the work may have had an effect: the attribute `started = False` of an error denies.

    So says an error of connecting, for instance. Of a group, every leaf has to.
    """
    if isinstance(error, BaseExceptionGroup) and not hasattr(error, "started"):
        return any(has_started(one) for one in error.exceptions)
    return getattr(error, "started", None) is not False


def _obstacle(retry: Retry, last: Attempt, idempotent: bool | None) -> str | None:  # noqa: FBT001
    """Why the last attempt is never to be tried again, None if it may."""
    if last.status is Status.TIMED_OUT:
        if not last.own_timeout:
            return "a limit above the attempt passed"
    elif last.status is not Status.FAILED:
        return f"the attempt was {last.status}"
    elif last.error is not None and not is_retryable(retry, last.error):
        return f"{type(last.error).__name__} is not retryable"
    if idempotent is False and last.started:
        return "the attempt had started, and the node is not idempotent"
    if last.retried_inside and not retry.nested:
        return "a layer inside has a Retry of its own, and nested= is False"
    return None


def _seconds(seconds: float) -> str:
    """Seconds in a note: `1.0 s`, `0.05 s`; two digits that count below a second."""
    digits = 1 if seconds >= 1.0 else min(6, 1 - floor(log10(seconds))) if seconds > 0.0 else 1
    whole, _, fraction = f"{seconds:.{digits}f}".partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'} s"
