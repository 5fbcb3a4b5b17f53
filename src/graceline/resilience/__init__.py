"""Policies around an attempt as pure decisions: an explicit `now`, no clock, no waiting."""

from graceline.resilience.budget import RetryBudget

__all__ = ["RetryBudget"]
