"""Hedging: when a second copy of a slow call is sent, and why it is not.

Most of a service's slow answers are slow by bad luck: another copy of the same call would be
answered sooner. Sent once the first has taken longer than the p95, a copy is needed for 5 % of the
calls and cuts the tail to about that of two p95 in a row (Dean & Barroso 2013, "The Tail at Scale",
Commun. ACM 56:2, "hedged requests"). It makes things worse where all calls are slow: there the p95
is outdated, and every copy adds to the load that makes them slow. Hence two budgets. One is of the
hedge itself: each call adds `max_extra` of a token, each copy takes one, so that copies are at most
that share of the calls. The other is the pool of the node's retries, for an outage must not be met
with both. Nothing is saved up beyond a small number of copies.

The question is asked twice. `hedge_delay` when the call starts: is it worth to set a timer?
`why_not_hedge` when the timer goes off: may the copy be sent now? Only then are tokens taken.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from graceline.definitions.hedge import Hedge

__all__ = ["HedgeBudget", "NoHedge", "TokenPool", "hedge_delay", "why_not_hedge"]

_LEAST_DELAY = 0.01
"""Seconds: the p95 of faster calls is noise of the scheduler, and a copy would come too late."""

_TOKEN = 1_000_000
"""A token in parts, for sums that are exact."""

_SAVED = 10
"""So many tokens are saved up at most."""


class NoHedge(StrEnum):
    """Why no second copy is sent."""

    TOO_FEW_SAMPLES = "too few samples"
    BREAKER_NOT_CLOSED = "breaker not closed"
    SATURATED = "saturated"
    TOO_LITTLE_TIME = "too little time"
    BUDGET_EMPTY = "budget empty"


class TokenPool(Protocol):
    """What extra calls are paid from, such as the retry budget of a node."""

    def take(self, now: float, /) -> bool:
        """Take a token; False if there is none."""
        ...

    def give_back(self, taken: float, /) -> None:
        """Give a token back that was taken for nothing, and when."""
        ...


class HedgeBudget:
    """Tokens for second copies: a share of the calls, out of the pool of the node's retries.

    Of the first n calls at most `max_extra * n` get a copy; of any n calls in a row at most 10 more
    than that. It is itself a `TokenPool`.

    Args:
        max_extra: tokens per call, above 0 and at most 1.
        pool: what a copy must be paid from as well.
    """

    __slots__ = ("_parts", "_per_call", "_pool")

    def __init__(self, max_extra: float, pool: TokenPool) -> None:
        self._per_call = round(max_extra * _TOKEN)
        self._parts = 0
        self._pool = pool

    def called(self) -> None:
        """A call, which is no copy, has started."""
        self._parts = min(self._parts + self._per_call, _SAVED * _TOKEN)

    def take(self, now: float) -> bool:
        """Pay for a copy, from both or from none; False if one of them is empty."""
        if self._parts < _TOKEN or not self._pool.take(now):
            return False
        self._parts -= _TOKEN
        return True

    def give_back(self, taken: float) -> None:
        """The copy that was paid for at the instant `taken` did not start."""
        self._parts = min(self._parts + _TOKEN, _SAVED * _TOKEN)
        self._pool.give_back(taken)


def hedge_delay(
    hedge: Hedge, *, samples: int, p95: float | None, p50: float | None, remaining: float
) -> float | NoHedge:
    """When to ask for the second copy of a call that starts now: seconds, or a reason why never.

    A delay that is stated needs no samples.

    Args:
        hedge: the policy.
        samples: how many durations of calls are known.
        p95: of the durations, in seconds; None if it is not known.
        p50: of the durations, in seconds; None if it is not known.
        remaining: seconds that the node has left, `inf` without a limit.
    """
    delay = hedge.delay
    if delay is None:
        if samples < hedge.min_samples or p95 is None:
            return NoHedge.TOO_FEW_SAMPLES
        delay = max(p95, _LEAST_DELAY)
    return NoHedge.TOO_LITTLE_TIME if _too_late(remaining - delay, p50) else delay


def why_not_hedge(
    now: float,
    *,
    p50: float | None,
    remaining: float,
    breaker_closed: bool,
    saturated: bool,
    budget: TokenPool,
) -> NoHedge | None:
    """Whether the second copy may start now: None if so, and a token has been taken for it.

    Args:
        now: seconds, for the budget.
        p50: of the durations, in seconds; None if it is not known.
        remaining: seconds that the node has left, `inf` without a limit.
        breaker_closed: whether the node's breaker is closed, or there is none.
        saturated: whether the slots that the copy needs are taken, or somebody waits for one.
        budget: what it is paid from; give the token back if the copy does not start after all.
    """
    if not breaker_closed:
        return NoHedge.BREAKER_NOT_CLOSED
    if saturated:
        return NoHedge.SATURATED
    if _too_late(remaining, p50):
        return NoHedge.TOO_LITTLE_TIME
    return None if budget.take(now) else NoHedge.BUDGET_EMPTY


def _too_late(left: float, p50: float | None) -> bool:
    """Whether a copy that has `left` seconds will hardly be done in time."""
    return left <= 0.0 or (p50 is not None and left < p50)
