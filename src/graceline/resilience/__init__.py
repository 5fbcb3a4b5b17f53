"""Policies around an attempt as pure decisions: an explicit `now`, no clock, no waiting."""

from graceline.resilience.admission import (
    Load,
    Predictor,
    Refusal,
    expected_wait,
    retry_after,
)
from graceline.resilience.budget import RetryBudget
from graceline.resilience.header import DEFAULT_HEADER, Malformed, decode, encode
from graceline.resilience.retry import (
    Attempt,
    Go,
    Stop,
    StopReason,
    attempt_limit,
    backoff_delay,
    decide_retry,
    is_retryable,
    retry_hint,
)

__all__ = [
    "DEFAULT_HEADER",
    "Attempt",
    "Go",
    "Load",
    "Malformed",
    "Predictor",
    "Refusal",
    "RetryBudget",
    "Stop",
    "StopReason",
    "attempt_limit",
    "backoff_delay",
    "decide_retry",
    "decode",
    "encode",
    "expected_wait",
    "is_retryable",
    "retry_after",
    "retry_hint",
"""Policies as pure decisions: what may happen around an attempt, asked with an explicit `now`."""

from graceline.resilience.breaker import (
    BreakerRefusal,
    BreakerSnapshot,
    BreakerState,
    CircuitBreaker,
    Permit,
)
from graceline.resilience.counting import Counted
from graceline.resilience.health import AlternativeHealth, rank
from graceline.resilience.hedge import (
    HedgeBudget,
    NoHedge,
    TokenPool,
    hedge_delay,
    why_not_hedge,
)

__all__ = [
    "AlternativeHealth",
    "BreakerRefusal",
    "BreakerSnapshot",
    "BreakerState",
    "CircuitBreaker",
    "Counted",
    "HedgeBudget",
    "NoHedge",
    "Permit",
    "TokenPool",
    "hedge_delay",
    "rank",
    "why_not_hedge",
]
