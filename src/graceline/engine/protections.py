"""Breakers, bulkheads and retry budgets of one engine: found by name, kept while it lives."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TypeAlias, TypeVar

import attrs
import trio

from graceline.definitions import Breaker, Bulkhead, Hedge
from graceline.errors import DefinitionError
from graceline.resilience import (
    AlternativeHealth,
    AlternativeSnapshot,
    BreakerSnapshot,
    BreakerState,
    CircuitBreaker,
    HedgeBudget,
    RetryBudget,
)
from graceline.telemetry import events
from graceline.telemetry.hub import Hub

__all__ = ["BulkheadHealth", "Place", "Protections", "Slots"]


Place: TypeAlias = tuple[str, ...]
"""The names of a pipeline, its stage and a node; with dots in them a joined text is ambiguous."""


@attrs.frozen
class BulkheadHealth:
    """A bulkhead at one moment.

    Attributes:
        name: its name.
        slots: how many attempts may run at once.
        active: how many do.
        queued: how many wait for a slot.
    """

    name: str
    slots: int
    active: int
    queued: int


class Slots:
    """A bulkhead at work: slots, and a queue in front of them, first in first out."""

    def __init__(self, policy: Bulkhead, name: str) -> None:
        self.policy: Bulkhead = policy
        self.name: str = name
        self._semaphore = trio.Semaphore(policy.slots, max_value=policy.slots)

    def is_saturated(self) -> bool:
        """Whether all slots are taken."""
        return self._semaphore.value == 0

    def is_full(self) -> bool:
        """Whether there is neither a slot nor a place in the queue."""
        most = inf if self.policy.max_queue is None else self.policy.max_queue
        return self.is_saturated() and self._semaphore.statistics().tasks_waiting >= most

    def try_take(self) -> bool:
        """Take a slot if one is free; nobody can be waiting then."""
        try:
            self._semaphore.acquire_nowait()
        except trio.WouldBlock:
            return False
        return True

    async def take(self) -> None:
        """Wait for a slot.

        Raises:
            Cancelled: if the node is cancelled meanwhile; no slot is taken then.
        """
        await self._semaphore.acquire()

    def give_back(self) -> None:
        """Give a slot back: the first in the queue gets it."""
        self._semaphore.release()

    def health(self) -> BulkheadHealth:
        """How many have a slot and how many wait."""
        queued = self._semaphore.statistics().tasks_waiting
        slots = self.policy.slots
        return BulkheadHealth(self.name, slots, slots - self._semaphore.value, queued)


class Protections:
    """Finds breakers, bulkheads and retry budgets.

    Args:
        hub: takes the events of breakers that change.
        lane: the engine's lane.
        enforced: False in the modes that cancel nothing; breakers then refuse nothing either.
        random: gives numbers in [0, 1), for the jitter of breakers.
    """

    def __init__(self, hub: Hub, lane: str, *, enforced: bool, random: Callable[[], float]) -> None:
        self._hub = hub
        self._lane = lane
        self._enforced = enforced
        self._random = random
        self._breakers: dict[Place, CircuitBreaker] = {}
        self._bulkheads: dict[Place, Slots] = {}
        self._budgets: dict[Place, RetryBudget] = {}
        self._alternatives: dict[Place, AlternativeHealth] = {}
        self._hedges: dict[tuple[Place, float], HedgeBudget] = {}

    def budget(self, place: Place) -> RetryBudget:
        """The retry budget of the node at `place`."""
        return self._budgets.setdefault(place, RetryBudget())

    def hedges(self, policy: Hedge, place: Place) -> HedgeBudget:
        """The tokens for second copies of the node at `place`."""
        key = (place, policy.max_extra)
        if key not in self._hedges:
            self._hedges[key] = HedgeBudget(policy.max_extra, self.budget(place))
        return self._hedges[key]

    def breaker(self, policy: Breaker, place: Place) -> CircuitBreaker:
        """The breaker of a policy's name, else that of the node at `place`.

        Raises:
            DefinitionError: if nodes that share one by name have different policies.
        """
        key, name = _named(policy.name, place)
        if not self._enforced and policy.mode in ("on", "forced_open"):
            policy = attrs.evolve(policy, mode="metrics_only")
        found = self._breakers.get(key)
        if found is None or (found.policy != policy and policy.name is None):
            found = self._breakers[key] = CircuitBreaker(
                policy, name, self._random, self._teller(name)
            )
        return _agreed(found, policy, "breaker")

    def bulkhead(self, policy: Bulkhead, place: Place) -> Slots:
        """The bulkhead of a policy's name, else that of the node at `place`.

        Raises:
            DefinitionError: if nodes that share one by name have different policies.
        """
        key, name = _named(policy.name, place)
        found = self._bulkheads.get(key)
        if found is None or (found.policy != policy and policy.name is None):
            found = self._bulkheads[key] = Slots(policy, name)
        return _agreed(found, policy, "bulkhead")

    def alternative(self, place: Place) -> AlternativeHealth:
        """The health of the alternative at `place`, behind the name of its choice."""
        return self._alternatives.setdefault(place, AlternativeHealth())

    def alternatives(self, now: float) -> tuple[AlternativeSnapshot, ...]:
        """The health of all alternatives at one moment."""
        found = tuple(self._alternatives.items())
        return tuple(one.snapshot(".".join(place), now) for place, one in found)

    def breakers(self, now: float) -> tuple[BreakerSnapshot, ...]:
        """All breakers at one moment."""
        return tuple(breaker.snapshot(now) for breaker in tuple(self._breakers.values()))

    def bulkheads(self) -> tuple[BulkheadHealth, ...]:
        """All bulkheads at one moment."""
        return tuple(slots.health() for slots in tuple(self._bulkheads.values()))

    def _teller(self, name: str) -> Callable[[BreakerState, BreakerState, float], None]:
        def tell(old: BreakerState, new: BreakerState, now: float) -> None:
            self._hub.emit(
                events.BreakerChanged(
                    at=now, run_id="", pipeline="", lane=self._lane, breaker=name,
                    old=str(old), new=str(new),
                )
            )  # fmt: skip

        return tell


def _named(name: str | None, place: Place) -> tuple[Place, str]:
    """The key of a protection, and what it is called; no place has the key of a shared one."""
    return (place, ".".join(place)) if name is None else ((name,), name)


_T = TypeVar("_T", CircuitBreaker, Slots)


def _agreed(found: _T, policy: object, what: str) -> _T:
    if found.policy != policy:
        raise DefinitionError(
            f"{what} {found.name!r}: nodes that share it by name must state the same; "
            f"{found.policy!r} is not {policy!r}"
        )
    return found
