"""The retry budget: retries are a share of what succeeds, so that an outage makes no storm.

Three attempts for each call treble the load on a server that is down, and every layer that does so
trebles it again. A limit per call cannot prevent that; one that all calls of a node share can.

The rule is that of Finagle's `RetryBudget` (blog of Finagle, "Retry Budgets", 2016; its token
bucket is a leaky one): every success deposits a fifth of a token, a retry takes a whole one, and
what was deposited expires after 10 s. So does what was taken. Therefore the three tokens in reserve
are three *in each 10 s*: a node that is called once a minute may retry as well, and a node that is
down gets three tries per 10 s. Finagle has its clients deposit for every request; here it is for
every success, so that an outage earns nothing. What hedges take comes out of the same budget.

Time is cut into buckets of a second, of which the newest ten count. A token thus lives for more
than nine and up to ten seconds, and memory and time are constant whatever the load. With S
successes and W tokens taken within the ten buckets before any take, it itself included:

    W <= 0.2 * S + 3

Windows that end at a take can be laid side by side over any stretch of time, and so the same holds
for that stretch, with three in reserve for each 10 s of it.
"""

from __future__ import annotations

from math import floor, inf

__all__ = ["RetryBudget"]

_BUCKETS = 10
"""Of a second each."""

_COST = 5
"""Successes that pay for a token: integers, for a fifth of a token is no binary number."""

_RESERVE = 3 * _COST
_NEVER = -(2**63)
"""The bucket before all that a clock may show first."""


class RetryBudget:
    """The tokens that all attempts of a node share; not for several threads at once.

    All instants are seconds of one monotonic clock.
    """

    __slots__ = ("_at", "_newest", "_sum", "_sums", "_until")

    def __init__(self) -> None:
        self._newest = _NEVER
        self._until = -inf
        """When the next bucket begins."""
        self._at = 0
        """The place of the newest bucket."""
        self._sums = [0] * _BUCKETS
        self._sum = _RESERVE

    def tokens(self, now: float) -> float:
        """How many tokens there are; below 0 when what paid for those taken has expired."""
        self._advance(now)
        return self._sum / _COST

    def deposit(self, now: float) -> None:
        """Add a fifth of a token, for an attempt that succeeded."""
        if now >= self._until:  # once per success: it is hot
            self._advance(now)
        self._sums[self._at] += 1
        self._sum += 1

    def take(self, now: float) -> bool:
        """Take a token for an additional attempt; returns False if there is none."""
        self._advance(now)
        if self._sum < _COST:
            return False
        self._sums[self._at] -= _COST
        self._sum -= _COST
        return True

    def give_back(self, taken: float) -> None:
        """Undo a `take` whose attempt was not made, as if it had never been.

        Args:
            taken: the instant of the take. A token that was taken more than 10 s ago has come back
                by itself.
        """
        bucket = floor(taken)
        if bucket > self._newest - _BUCKETS:
            self._sums[bucket % _BUCKETS] += _COST
            self._sum += _COST

    def _advance(self, now: float) -> None:
        bucket = floor(now)
        steps = bucket - self._newest
        if steps <= 0:
            return
        if steps >= _BUCKETS:
            self._sums = [0] * _BUCKETS
            self._sum = _RESERVE
        else:
            for index in range(self._newest + 1, bucket + 1):
                at = index % _BUCKETS
                self._sum -= self._sums[at]
                self._sums[at] = 0
        self._newest, self._at, self._until = bucket, bucket % _BUCKETS, bucket + 1.0
