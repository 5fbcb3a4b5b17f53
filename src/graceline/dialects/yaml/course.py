"""The course of a step that never succeeds: how often it is tried, when it ends, and by whom.

The decisions are those of `graceline.resilience`, with a budget of which nothing was taken yet.
That counts in whole seconds of the clock; the run is taken to begin with one.
"""

from __future__ import annotations

import math

import attrs

from graceline.deadlines import Status
from graceline.definitions import Retry
from graceline.resilience import Attempt, Go, RetryBudget, decide_retry

__all__ = ["Course", "Ended"]

_MOST = 100
"""So many attempts are looked at."""


@attrs.frozen
class Ended:
    """The end of a step whose attempts all come to the same end.

    Attributes:
        attempts: how many were made.
        after: seconds from its start, cleanup aside; None for never, or for later than 100
            attempts take.
        level: the level that is to blame; None if the step never ends.
        name: its name.
        why: what ended it: a `limit` above the attempts, or there was no further attempt since all
            `attempts` were made, the retry `budget` was empty, too little time was left before a
            `deadline`, or it was `not_retryable`; `never`.
    """

    attempts: int
    after: float | None
    level: str | None
    name: str | None
    why: str


@attrs.frozen
class Course:
    """What decides the course of a step.

    Attributes:
        retry: how it is tried again.
        idempotent: as the step states it.
        attempt: seconds, the limit of one attempt; None for none.
        above: the levels above, from the outside in: level, name and seconds left, or `inf`.
        copy: seconds that a second copy prolongs an attempt that hangs; 0 if none is sent.
        share: the share of each backoff that is waited.
        start: seconds of the run that have passed when the step starts.
    """

    retry: Retry
    idempotent: bool | None
    attempt: float | None
    above: list[tuple[str, str, float]]
    copy: float
    share: float
    start: float = 0.0

    def end(self, step: str, takes: float = math.inf) -> Ended:
        """The end of it.

        Args:
            step: its name.
            takes: seconds after which an attempt fails; `inf` for one that hangs.
        """
        limit = math.inf if self.attempt is None else self.attempt
        level, name, fires = min(self.above, key=lambda one: one[2])
        budget, now, number = RetryBudget(), 0.0, 0
        status = Status.FAILED if takes < limit else Status.TIMED_OUT
        length = takes if takes < limit else limit + self.copy
        while number < _MOST:
            if now >= fires:
                return Ended(number, max(fires, 0.0), level, name, "limit")
            number += 1
            if now + length >= fires:
                if fires == math.inf:
                    break
                return Ended(number, fires, level, name, "limit")
            now += length
            last = Attempt(
                number=number,
                status=status,
                error=ValueError() if status is Status.FAILED else None,
                own_timeout=status is Status.TIMED_OUT,
            )
            next_one = decide_retry(
                self.retry,
                last,
                idempotent=self.idempotent,
                remaining=fires - now,
                attempt_timeout=limit,
                p50=None,
                successes=0,
                budget=budget,
                now=self.start + now,
                random=lambda: self.share,
            )
            if not isinstance(next_one, Go):
                blamed = "attempt" if status is Status.TIMED_OUT else "node"
                return Ended(number, now, blamed, step, str(next_one.reason))
            now += next_one.delay
        return Ended(number, None, None, None, "never")
