"""A choice: several ways to do the same work, of which the healthiest is tried first."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from graceline.definitions.checks import check_names
from graceline.definitions.inherit import inherited
from graceline.definitions.part import PASS_INPUT
from graceline.errors import DefinitionError
from graceline.values import frozen

if TYPE_CHECKING:
    from graceline.definitions.nodes import Node

__all__ = ["Choice"]

_WHERE = "choose()"


@frozen(eq=False)
class Choice:
    """What a node made by `choose()` runs.

    Attributes:
        alternatives: at least two nodes; those of equal health are tried in this order.

    Raises:
        DefinitionError: for fewer than two, a name used twice, an alternative that is a choice
            itself, has no time, or states what belongs to the choice as a whole.
    """

    alternatives: tuple[Node, ...]

    def __attrs_post_init__(self) -> None:
        if len(self.alternatives) < 2:
            raise DefinitionError(
                f"{_WHERE}: {len(self.alternatives)} of at least 2 alternatives; with one there is "
                "nothing to choose, and a plain node will do"
            )
        check_names([one.name for one in self.alternatives], _WHERE)
        for one in self.alternatives:
            _check(one)

    @property
    def __name__(self) -> str:
        """By default the name of the node, such as `fast_or_slow`."""
        return "_or_".join(one.name for one in self.alternatives)

    def within(self, node: Node) -> tuple[Node, ...]:
        """The alternatives as they run in a node.

        They are called `node.alternative`, and take over the policies of the node where they say
        nothing themselves.
        """
        return tuple(_placed(one, node) for one in self.alternatives)


def _check(one: Node) -> None:
    where = f"{_WHERE}: alternative {one.name!r}"
    if isinstance(one.function, Choice):
        raise DefinitionError(f"{where} is a choice itself; name all alternatives in one choose()")
    if one.each is not None:
        raise DefinitionError(f"{where} runs over a list; write each(choose(...)) instead")
    stated = {
        "after": one.after is not None,
        "when": one.when is not None,
        "critical": not one.critical,
        "fallback": one.fallback is not PASS_INPUT,
        "on_cleanup": bool(one.on_cleanup),
        "strict": one.strict is not None,
        "slo": one.slo is not None,
    }
    for option in (option for option, said in stated.items() if said):
        raise DefinitionError(
            f"{where} states {option}=, which is for the choice as a whole: write "
            f"choose(..., {option}=...)"
        )
    if one.stated_timeout == 0.0:
        raise DefinitionError(
            f"{where}, timeout= must be above 0; an alternative of 0 s never starts"
        )


def _placed(one: Node, node: Node) -> Node:
    changes = inherited(one, node) | {"name": f"{node.name}.{one.name}"}
    if one.idempotent is None:
        changes["idempotent"] = node.idempotent
    placed = copy.copy(one)  # not `evolve`: all was checked, and warned of, before
    for field, value in changes.items():
        object.__setattr__(placed, field, value)
    return placed
