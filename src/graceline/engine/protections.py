"""Breakers, bulkheads and retry budgets of one engine: found by name, kept while it lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

import attrs

from graceline.definitions import Breaker, Bulkhead, Hedge
from graceline.engine.bulkhead import BulkheadHealth, Slots
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
from graceline.telemetry.stats import Stats, count

__all__ = ["Place", "Protections"]

Place: TypeAlias = tuple[str, ...]
"""The names of a pipeline, its stage and a node; with dots in them a joined text is ambiguous."""


class Protections:
    """Finds breakers, bulkheads and retry budgets.

    Args:
        hub: takes the events of breakers that change.
        stats: counts these changes.
        lane: the engine's lane.
        enforced: False in the modes that cancel nothing; breakers then refuse nothing either.
        random: gives numbers in [0, 1), for the jitter of breakers.
    """

    def __init__(
        self, hub: Hub, stats: Stats, lane: str, *, enforced: bool, random: Callable[[], float]
    ) -> None:
        self._hub = hub
        self._stats = stats
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

    def healths(self, now: float) -> dict[tuple[str, str, str], float]:
        """The health of all alternatives by pipeline, stage and `choice.alternative`."""
        found = self._alternatives.copy().items()
        return {
            (pipeline, stage, f"{node}.{name}"): one.snapshot(name, now).value
            for (pipeline, stage, node, name), one in found
        }

    def breakers(self, now: float) -> tuple[BreakerSnapshot, ...]:
        """All breakers at one moment."""
        return tuple(breaker.snapshot(now) for breaker in tuple(self._breakers.values()))

    def bulkheads(self) -> tuple[BulkheadHealth, ...]:
        """All bulkheads at one moment."""
        return tuple(slots.health() for slots in tuple(self._bulkheads.values()))

    def _teller(self, name: str) -> Callable[[BreakerState, BreakerState, float], None]:
        def tell(old: BreakerState, new: BreakerState, now: float) -> None:
            count(self._stats.transitions, (name, str(old), str(new)))
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
