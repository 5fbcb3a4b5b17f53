"""The policies of a node, resolved once: what its attempts ask before and after."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from graceline.deadlines import Limit
from graceline.definitions import Retry
from graceline.engine.learning import Recorded
from graceline.engine.protections import Slots
from graceline.resilience import CircuitBreaker, RetryBudget

__all__ = ["Policies"]


@attrs.frozen(kw_only=True, eq=False)
class Policies:
    """What may happen around the attempts of one node.

    Attributes:
        retry: how often; one attempt, if nothing is said.
        limit: of one attempt.
        idempotent: whether an attempt that had started may be made again; None does not say.
        history: takes the durations of attempts, and gives a learned limit.
        budget: the tokens that the retries of all runs share.
        random: gives numbers in [0, 1).
        breaker: refuses attempts while the node keeps failing; None for none.
        slots: how many attempts may run at once; None for any number.
    """

    retry: Retry
    limit: Limit
    idempotent: bool | None
    history: Recorded | None
    budget: RetryBudget
    random: Callable[[], float]
    breaker: CircuitBreaker | None
    slots: Slots | None

    def known(self) -> tuple[float | None, int]:
        """The p50 of the attempts so far, in seconds, and how many have succeeded."""
        if self.history is None:
            return None, 0
        history = self.history.history
        return history.quantile(0.5), history.completions
