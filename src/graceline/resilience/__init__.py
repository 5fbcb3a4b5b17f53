"""Policies as pure decisions: what may happen around an attempt, asked with an explicit `now`."""

from graceline.resilience.admission import (
    ENOUGH_RUNS,
    Expected,
    Load,
    Predictor,
    Refusal,
    retry_after,
)
from graceline.resilience.breaker import (
    BreakerRefusal,
    BreakerSnapshot,
    BreakerState,
    CircuitBreaker,
    Permit,
)
from graceline.resilience.budget import RetryBudget
from graceline.resilience.counting import Counted
from graceline.resilience.header import DEFAULT_HEADER, Malformed, decode, encode
from graceline.resilience.health import AlternativeHealth, AlternativeSnapshot, rank
from graceline.resilience.hedge import (
    HedgeBudget,
    NoHedge,
    hedge_delay,
    why_not_hedge,
)
from graceline.resilience.retry import (
    Attempt,
    Go,
    Stop,
    StopReason,
    decide_retry,
    has_started,
)

__all__ = [
    "DEFAULT_HEADER",
    "ENOUGH_RUNS",
    "AlternativeHealth",
    "AlternativeSnapshot",
    "Attempt",
    "BreakerRefusal",
    "BreakerSnapshot",
    "BreakerState",
    "CircuitBreaker",
    "Counted",
    "Expected",
    "Go",
    "HedgeBudget",
    "Load",
    "Malformed",
    "NoHedge",
    "Permit",
    "Predictor",
    "Refusal",
    "RetryBudget",
    "Stop",
    "StopReason",
    "decide_retry",
    "decode",
    "encode",
    "has_started",
    "hedge_delay",
    "rank",
    "retry_after",
    "why_not_hedge",
]
