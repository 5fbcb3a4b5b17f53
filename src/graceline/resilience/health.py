"""Health: which of several alternatives to try first, and when to try one that was ill.

The definition
==============

Of the calls of the last 30 seconds, at most the newest 256, that tell something:

    health = success rate * closeness
    success rate = successes / calls
    closeness = 1 - max(0, r - 1/2),   r = p95 of elapsed / limit, within [0, 1]

A call that was cut by its limit has r = 1; only calls that returned or were cut so have an r, since
a fast error is no proof of a fast service. So closeness is 1 while the p95 is below half the limit,
where more speed is worth nothing, and falls to 1/2 at the limit itself. Without calls the health is
1: what is unknown is trusted, and the order in which alternatives were written down decides. The
formula is our own; it is a weight to sort by and no probability.

What counts
===========

Successes for it; errors, own timeouts and rejections against it. An ancestor's timeout counts
against it if the call had more time than the p95 of those that succeeded, or if none did: an
alternative that hangs, without a limit of its own, must not go first for ever. One that was cut
earlier tells nothing, and so do ignored errors and calls that somebody cancelled, superseded ones
included.

Unhealthy
=========

An alternative is unhealthy from the call that takes its health below 1/2 until one that takes it
back to 1/2 or above. In between its health stays as of its last call: to forget the failures by age
would make it look unknown, and send all the traffic there at once. Instead, when it has been
unhealthy for 30 seconds, one call tries it first; if that does not cure it, another does 30 seconds
later. There is no other exploration. Its old calls are out of the window by then, so that a success
is a cure and a failure is none, unless others have called it meanwhile for want of a better one.
One whose health is below 1/2 only since older successes were forgotten is not unhealthy in this
sense; what is left of its failures will be forgotten soon.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from math import ceil, inf
from typing import TypeAlias

from graceline.resilience.counting import Counted
from graceline.values import frozen

__all__ = ["AlternativeHealth", "AlternativeSnapshot", "rank"]

_WINDOW = 30.0
"""Seconds that a call counts."""

_MOST = 256
"""So many calls count at most."""

_UNHEALTHY = 0.5
"""Below this health an alternative is unhealthy."""

_RETRY_AFTER = 30.0
"""Seconds after which one call tries an unhealthy alternative first."""


_Call: TypeAlias = tuple[float, float | None, float | None]
"""When it ended; how long a success took; the share of its limit, if its duration tells one."""


def _p95(ordered: Sequence[float]) -> float:
    """The smallest value that 95 % of them do not exceed."""
    return ordered[ceil(0.95 * len(ordered)) - 1]


def _closeness(shares: Sequence[float]) -> float:
    """How far calls stay from their limit, by their sorted shares of it."""
    return 1.0 - max(0.0, _p95(shares) - 0.5) if shares else 1.0


@frozen
class AlternativeSnapshot:
    """The health of an alternative at one moment.

    Attributes:
        name: the alternative, as `pipeline.stage.node.alternative`.
        value: its health, in [0, 1].
        unhealthy_since: when it became unhealthy, in absolute seconds of the engine's clock; None
            while it is healthy.
    """

    name: str
    value: float
    unhealthy_since: float | None


class AlternativeHealth:
    """The health of one alternative. Not thread-safe: one event loop uses it.

    Attributes:
        unhealthy_since: when it became unhealthy, None while it is healthy.
    """

    __slots__ = ("_calls", "_shares", "_successes", "_tried", "_value", "unhealthy_since")

    def __init__(self) -> None:
        self._calls: deque[_Call] = deque()
        self._successes = 0
        self._shares: list[float] = []
        """Those of the calls, sorted."""
        self._value = 1.0
        """The health; that of an unhealthy alternative as of its last call."""
        self._tried = -inf
        """When an unhealthy alternative was last tried first on purpose, or fell ill."""
        self.unhealthy_since: float | None = None

    def __repr__(self) -> str:
        since = self.unhealthy_since
        return f"<{'healthy' if since is None else f'unhealthy since {since:g}'}>"

    def settle(
        self, now: float, counted: Counted, elapsed: float = 0.0, limit: float = inf
    ) -> None:
        """A call of the alternative has ended, or was rejected.

        Args:
            now: when, in seconds.
            counted: how.
            elapsed: seconds that it took; of no meaning for one that was rejected.
            limit: its own limit in seconds, whatever its ancestors had left; `inf` without one.
        """
        self._forget(now)
        if counted is Counted.OK:
            share = min(1.0, elapsed / limit) if limit > 0.0 else 1.0
            self._add((now, elapsed, share))
        elif counted is Counted.OWN_TIMEOUT:
            self._add((now, None, 1.0))
        elif self._tells(counted, elapsed):
            self._add((now, None, None))
        else:
            return
        self._value = self._compute()
        if self._value >= _UNHEALTHY:
            self.unhealthy_since = None
        elif self.unhealthy_since is None:
            self.unhealthy_since = self._tried = now

    def value(self, now: float) -> float:
        """Its health, in [0, 1]; 1 when nothing is known."""
        self._forget(now)
        return self._value

    def snapshot(self, name: str, now: float) -> AlternativeSnapshot:
        """Its health for people; changes nothing, so any thread may ask."""
        since = self.unhealthy_since
        value = self._value
        if since is None:
            value = _health([call for call in tuple(self._calls) if call[0] > now - _WINDOW])
        return AlternativeSnapshot(name, value, since)

    def retry_due(self, now: float) -> bool:
        """Whether it is unhealthy, and was not tried on purpose, for 30 seconds."""
        return self.unhealthy_since is not None and now - self._tried >= _RETRY_AFTER

    def retried(self, now: float) -> None:
        """It is tried first now: the next time is 30 seconds from now, whatever comes of it."""
        self._tried = now

    def _forget(self, now: float) -> None:
        """Drop the calls that are too old."""
        calls = self._calls
        if calls and calls[0][0] <= now - _WINDOW:
            while calls and calls[0][0] <= now - _WINDOW:
                self._drop()
            if self.unhealthy_since is None:
                self._value = self._compute()

    def _add(self, call: _Call) -> None:
        if len(self._calls) == _MOST:
            self._drop()
        self._calls.append(call)
        _, took, share = call
        self._successes += took is not None
        if share is not None:
            insort(self._shares, share)

    def _drop(self) -> None:
        _, took, share = self._calls.popleft()
        self._successes -= took is not None
        if share is not None:
            del self._shares[bisect_left(self._shares, share)]

    def _tells(self, counted: Counted, elapsed: float) -> bool:
        """Whether the end of a call that is no success speaks against the alternative."""
        if counted is Counted.ANCESTORS_TIMEOUT:
            needed = sorted(took for _, took, _ in self._calls if took is not None)
            return not needed or elapsed > _p95(needed)
        return counted is Counted.ERROR or counted is Counted.REJECTED

    def _compute(self) -> float:
        if not self._calls:
            return 1.0
        return self._successes / len(self._calls) * _closeness(self._shares)


def _health(calls: Sequence[_Call]) -> float:
    """What these calls come to, counted from scratch."""
    if not calls:
        return 1.0
    shares = sorted(share for _, _, share in calls if share is not None)
    successes = sum(took is not None for _, took, _ in calls)
    return successes / len(calls) * _closeness(shares)


def rank(alternatives: Sequence[AlternativeHealth], now: float) -> list[int]:
    """The order in which a call tries its alternatives: their numbers, the healthiest first.

    Equal ones keep their order. If one has been unhealthy for 30 seconds this call tries it first,
    and is the only one to do so; of several the one that has waited longest.

    Args:
        alternatives: their health, in the order in which they were written down.
        now: seconds.
    """
    health = [one.value(now) for one in alternatives]
    order = sorted(range(len(alternatives)), key=lambda number: -health[number])
    due = [number for number, one in enumerate(alternatives) if one.retry_due(now)]
    if due:
        first = min(due, key=lambda number: alternatives[number]._tried)  # noqa: SLF001 - same module
        alternatives[first].retried(now)
        order.remove(first)
        order.insert(0, first)
    return order
