"""Calls that a learner of limits is used for: one after another, or many in flight at once.

Nothing waits here: the order of events follows from the latencies, so thousands of calls take
milliseconds, and the same latencies give the same limits.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf
from typing import Protocol

import attrs

__all__ = ["Call", "CallLease", "EndedCall", "LimitLearner", "replay"]


class CallLease(Protocol):
    """The limit of one call, as `graceline.adaptive.Lease` has it."""

    @property
    def timeout(self) -> float:
        """The limit in seconds."""

    def completed(self, elapsed: float, /) -> None:
        """The call ended by itself after `elapsed` seconds."""

    def cut(self, elapsed: float, /) -> None:
        """The limit cut the call after `elapsed` seconds."""

    def censored(self, elapsed: float, /) -> None:
        """Something else ended the call after `elapsed` seconds."""


class LimitLearner(Protocol):
    """Whatever gives limits: `graceline.adaptive.Learner`, or what it is compared with."""

    def issue(self) -> CallLease:
        """The limit for a call that starts now."""


@attrs.frozen
class Call:
    """One call, as it would go if nobody limited it.

    Attributes:
        latency: seconds that it takes; `inf` if it hangs.
        outside: seconds after which something else ends it, such as the caller's deadline.
    """

    latency: float
    outside: float = inf


@attrs.frozen
class EndedCall:
    """One call, as it went.

    Attributes:
        call: what it would have been.
        limit: the learner's limit in seconds.
        elapsed: seconds until it ended.
        cut: whether the learner's limit ended it.
    """

    call: Call
    limit: float
    elapsed: float
    cut: bool


def replay(
    learner: LimitLearner, calls: Iterable[Call | float], *, in_flight: int = 1
) -> list[EndedCall]:
    """Send calls through a learner; returns them as they went, in the order of their starts.

    Args:
        learner: gives the limits and is told how the calls ended.
        calls: the calls, or just their latencies in seconds.
        in_flight: how many run at any moment; the next one starts when one has ended.
    """
    ended: list[EndedCall] = []
    waiting: list[tuple[float, int, CallLease]] = []
    now = 0.0

    def settle() -> float:
        instant, number, lease = heappop(waiting)
        one = ended[number]
        if one.cut:
            lease.cut(one.elapsed)
        elif one.elapsed < one.call.latency:
            lease.censored(one.elapsed)
        else:
            lease.completed(one.elapsed)
        return instant

    for number, given in enumerate(calls):
        call = given if isinstance(given, Call) else Call(given)
        if len(waiting) >= in_flight:
            now = settle()
        lease = learner.issue()
        limit = lease.timeout
        elapsed = min(call.latency, limit, call.outside)
        cut = elapsed == limit < min(call.latency, call.outside)
        ended.append(EndedCall(call, limit, elapsed, cut))
        heappush(waiting, (now + elapsed, number, lease))
    while waiting:
        settle()
    return ended
