"""The policies of a node, resolved once: what its attempts ask before and after."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any

import attrs
import trio

from graceline.deadlines import Limit
from graceline.definitions import Hedge, Retry
from graceline.engine.bulkhead import Slots
from graceline.engine.learning import Recorded
from graceline.resilience import CircuitBreaker, HedgeBudget, RetryBudget
from graceline.values import frozen
from graceline.work import Bound

__all__ = ["Policies"]

_KEPT = 256
"""So many durations of attempts tell what the next one will take."""


@frozen(kw_only=True, eq=False)
class Policies:
    """What may happen around the attempts of one node.

    Attributes:
        call: the node's work.
        retry: how often; one attempt, if nothing is said.
        limit: of one attempt.
        idempotent: whether an attempt that had started may be made again; None does not say.
        durations: takes those of attempts, and gives a learned limit or the p95 for a hedge.
        retry_budget: the tokens that the retries of all runs share.
        random: gives numbers in [0, 1).
        breaker: refuses attempts while the node keeps failing; None for none.
        slots: how many attempts may run at once; None for any number.
        hedge: when a second copy of an attempt is sent; None for never.
        hedge_budget: the tokens that the copies of all runs share; None without a hedge.
        crowded: whether runs wait for the engine; then no copy is sent.
    """

    call: Bound
    retry: Retry
    limit: Limit
    idempotent: bool | None
    durations: Recorded | None
    retry_budget: RetryBudget
    random: Callable[[], float]
    breaker: CircuitBreaker | None
    slots: Slots | None
    hedge: Hedge | None
    hedge_budget: HedgeBudget | None
    crowded: Callable[[], bool]
    successes: deque[float] | None = attrs.field(init=False)
    """Seconds that the last attempts took which succeeded; None if nobody asks, or `durations`."""

    def __attrs_post_init__(self) -> None:
        asked = self.retry.attempts > 1 and self.durations is None
        object.__setattr__(self, "successes", deque(maxlen=_KEPT) if asked else None)

    @property
    def simple(self) -> bool:
        """Whether a first attempt needs nothing of its own: no limit, no slot, no copy."""
        return self.durations is None and self.limit.timeout == inf and self.slots is None

    def succeeded(self, now: float, elapsed: float) -> None:
        """An attempt that took `elapsed` seconds has succeeded."""
        if self.successes is not None:
            self.successes.append(elapsed)
        if self.retry.attempts > 1 or self.hedge is not None:
            self.retry_budget.deposit(now)

    @trio.lowlevel.disable_ki_protection
    async def work(self, value: Any) -> Any:
        """Await the user's code, which an interrupt may hit."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self.call(value)

    def known(self) -> tuple[float | None, int]:
        """The p50 of the attempts so far, in seconds, and how many have succeeded."""
        if self.durations is not None:
            history = self.durations.history
            return history.quantile(0.5), history.completions
        durations = sorted(self.successes or ())
        return (durations[(len(durations) - 1) // 2] if durations else None), len(durations)
