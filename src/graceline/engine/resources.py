"""What all plans of one engine are made with."""

from __future__ import annotations

from collections.abc import Callable

from graceline.definitions import Defaults, Timeouts
from graceline.engine.learning import Learning
from graceline.engine.protections import Protections
from graceline.telemetry.stats import Stats
from graceline.values import frozen
from graceline.work import Workers

__all__ = ["Resources"]


@frozen(kw_only=True, eq=False)
class Resources:
    """What all plans of one engine are made with.

    Attributes:
        timeouts: the engine's default limits.
        defaults: the engine's default policies.
        enforced: whether limits cut anything.
        stats: where the aggregates live.
        workers: where work runs that does not run in the event loop.
        learning: gives learned limits; None does not learn.
        protections: breakers, bulkheads and retry budgets.
        random: gives numbers in [0, 1), for the jitter of backoffs.
        crowded: whether runs wait for a slot of the engine.
        slack: seconds by which the scope of a quick node may fire too late at most.
    """

    timeouts: Timeouts
    defaults: Defaults
    enforced: bool
    stats: Stats
    workers: Workers
    learning: Learning | None
    protections: Protections
    random: Callable[[], float]
    crowded: Callable[[], bool]
    slack: float
