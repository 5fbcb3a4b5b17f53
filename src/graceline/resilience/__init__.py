"""Policies around an attempt as pure decisions: an explicit `now`, no clock, no waiting."""

from graceline.resilience.budget import RetryBudget
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
    "Attempt",
    "Go",
    "RetryBudget",
    "Stop",
    "StopReason",
    "attempt_limit",
    "backoff_delay",
    "decide_retry",
    "is_retryable",
    "retry_hint",
]
