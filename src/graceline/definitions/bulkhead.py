"""A bulkhead: how many attempts of a node, or of several, may run at once."""

from __future__ import annotations

from datetime import timedelta

import attrs

from graceline.definitions.arguments import explained_class
from graceline.definitions.checks import brief, check_count, check_name
from graceline.errors import DefinitionError
from graceline.values import frozen

__all__ = ["Bulkhead", "as_bulkhead"]


@explained_class
@frozen
class Bulkhead:
    """At most so many at once: `limit=5`, or `limit=Bulkhead(5, name="database")`.

    Who finds no slot waits for one, first come, first served; the waiting counts for the node's
    time. One slow service can then not take what all others need.

    Attributes:
        slots: attempts that may run at once, at least 1.
        max_queue: how many may wait; more are `rejected`. None for any number.
        name: nodes whose bulkheads have the same name share one; None for one of the node's own.

    Raises:
        DefinitionError: for a number that is none, or out of range.
    """

    slots: int
    max_queue: int | None = attrs.field(default=None, kw_only=True)
    name: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_count(self.slots, "Bulkhead(slots=)")
        queue = self.max_queue
        if queue is not None and (
            isinstance(queue, bool) or not isinstance(queue, int) or queue < 0
        ):
            raise DefinitionError(
                f"Bulkhead(max_queue=) must be a whole number, at least 0, not {brief(queue)}"
            )
        if self.name is not None:
            check_name(self.name, "Bulkhead(name=)")


def as_bulkhead(value: object, where: str) -> Bulkhead:
    """A bulkhead as it is, or a number of slots as one."""
    if isinstance(value, Bulkhead):
        return value
    if isinstance(value, str | float | timedelta):
        raise DefinitionError(
            f"{where}, limit= counts attempts at once: a whole number, at least 1, not "
            f"{brief(value)}; a limit in seconds is timeout={brief(value)}"
        )
    return Bulkhead(slots=check_count(value, f"{where}, limit="))
