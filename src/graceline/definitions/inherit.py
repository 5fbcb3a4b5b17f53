"""Policies are inherited: what a node does not say, its stage, its pipeline or the engine may."""

from __future__ import annotations

from typing import Any

__all__ = ["INHERIT", "resolve", "stated_policies"]

_POLICIES = ("retry", "attempt_timeout", "breaker", "limit", "hedge")

INHERIT: Any = type("Inherit", (), {"__repr__": lambda _: "INHERIT"})()
"""Not stated here: what the level above says holds. None, in contrast, switches a policy off."""


def resolve(field: str, *levels: object) -> Any:
    """The first statement of a policy, from the innermost level outwards; None if there is none."""
    stated = (getattr(level, field, INHERIT) for level in levels)
    return next((value for value in stated if value is not INHERIT), None)


def stated_policies(part: object) -> tuple[str, ...]:
    """The policies that a part states, by field; for those who cannot honour them."""
    return tuple(field for field in _POLICIES if getattr(part, field) not in (INHERIT, None))
