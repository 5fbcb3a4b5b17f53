"""Policies are inherited: what a node does not say, its stage, its pipeline or the engine may."""

from __future__ import annotations

from typing import Any, cast

import attrs

from graceline.definitions.adaptive import Adaptive
from graceline.definitions.breaker import Breaker
from graceline.definitions.bulkhead import Bulkhead, as_bulkhead
from graceline.definitions.checks import brief
from graceline.definitions.hedge import Hedge
from graceline.definitions.retry import Retry
from graceline.durations import Duration, parse_duration
from graceline.errors import DefinitionError
from graceline.values import frozen

__all__ = ["INHERIT", "Defaults", "Inheritable", "inherited", "resolve", "stated_policies"]

INHERIT: Any = type("Inherit", (), {"__repr__": lambda _: "INHERIT"})()
"""Not stated here: what the level above says holds. None, in contrast, switches a policy off."""

# As in `part`: a constructor takes more than its attribute holds.


def _limit(value: Duration | Adaptive | None) -> float | Adaptive | None:
    return cast("float | Adaptive | None", value)


def _bulkhead(value: Bulkhead | int | None) -> Bulkhead | None:
    return cast("Bulkhead | None", value)


@frozen(kw_only=True, eq=False)
class Inheritable:
    """The policies of a level: its own, and the default of the levels below it.

    Each field here is inherited; a new one needs a check in `_check_policies`, and an option of
    `open_engine` and of `NodeOptions`.

    Attributes:
        retry: how a node is tried again, as a default for the nodes of a stage or a pipeline; None
            switches off what a level above says.
        attempt_timeout: seconds for one attempt, or an `Adaptive`; inherited like `retry`, while
            `timeout` bounds all attempts and the waiting in between.
        breaker: a circuit breaker of each node; inherited like `retry`.
        limit: how many attempts of a node may run at once, a number or a `Bulkhead`; inherited.
            Seconds are stated with `timeout`.
        hedge: when a second copy of a slow attempt is sent; inherited by the nodes that say
            `idempotent=True`.
    """

    retry: Retry | None = INHERIT
    attempt_timeout: float | Adaptive | None = attrs.field(default=INHERIT, converter=_limit)
    breaker: Breaker | None = INHERIT
    limit: Bulkhead | None = attrs.field(default=INHERIT, converter=_bulkhead)
    hedge: Hedge | None = INHERIT

    def _check_policies(self, where: str) -> None:
        """Check and convert what is stated; `where` is for the messages.

        Raises:
            DefinitionError: for what is no policy.
        """
        put = object.__setattr__
        if self.retry not in (INHERIT, None) and not isinstance(self.retry, Retry):
            raise DefinitionError(
                f"{where}, retry= takes a Retry such as Retry(attempts=3), not {brief(self.retry)}"
            )
        if self.breaker not in (INHERIT, None) and not isinstance(self.breaker, Breaker):
            raise DefinitionError(
                f"{where}, breaker= takes a Breaker such as Breaker(failure_rate=0.3), not "
                f"{brief(self.breaker)}"
            )
        if self.hedge not in (INHERIT, None) and not isinstance(self.hedge, Hedge):
            raise DefinitionError(
                f"{where}, hedge= takes a Hedge such as Hedge(max_extra=0.02), not "
                f"{brief(self.hedge)}"
            )
        if self.limit not in (INHERIT, None):
            put(self, "limit", as_bulkhead(self.limit, where))
        if self.attempt_timeout is not INHERIT and not isinstance(self.attempt_timeout, Adaptive):
            put(self, "attempt_timeout", _attempt_limit(self.attempt_timeout, where))


def _attempt_limit(value: Duration | None, where: str) -> float | None:
    if value is None:
        return None
    what = f"{where}, attempt_timeout="
    seconds = parse_duration(value, what, signed=True)
    if seconds <= 0.0:
        raise DefinitionError(
            f"{what} must be above 0, not {brief(value)}: such an attempt never starts; write "
            "None or math.inf for no limit"
        )
    return seconds


@frozen(kw_only=True, eq=False)
class Defaults(Inheritable):
    """The policies that an engine states for the nodes of all its pipelines.

    Raises:
        DefinitionError: for what is no policy.
    """

    def __attrs_post_init__(self) -> None:
        self._check_policies("open_engine()")


def resolve(field: str, *levels: Inheritable) -> Any:
    """The first statement of a policy, from the innermost level outwards; None if there is none."""
    stated = (getattr(level, field) for level in levels)
    return next((value for value in stated if value is not INHERIT), None)


def inherited(level: Inheritable, above: Inheritable) -> dict[str, Any]:
    """The policies that a level takes over from the one above it, by field."""
    fields = (field.name for field in attrs.fields(Inheritable))
    return {field: getattr(above, field) for field in fields if getattr(level, field) is INHERIT}


def stated_policies(level: Inheritable) -> tuple[str, ...]:
    """The policies that a level states, by field; for those who cannot honour them."""
    fields = (field.name for field in attrs.fields(Inheritable))
    return tuple(field for field in fields if getattr(level, field) not in (INHERIT, None))
