"""Policies that hardly do what was meant: no error, but a warning at the line that wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graceline.definitions.breaker import Breaker
from graceline.definitions.bulkhead import Bulkhead
from graceline.definitions.choice import Choice
from graceline.definitions.part import warn_writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.definitions.nodes import Node
    from graceline.definitions.pipeline import Pipeline

__all__ = ["advise"]


def advise(pipeline: Pipeline) -> None:
    """Warn of the policies in a pipeline that hardly do what was meant."""
    _warn_unshared(pipeline)


def _warn_unshared(pipeline: Pipeline) -> None:
    """Whoever hands one nameless breaker or bulkhead to two nodes means that they share it.

    A node that stands in two places, and a policy that nodes inherit, mean one for each.
    """
    holders: dict[int, Node] = {}
    for node in _as_written(pipeline):
        for policy in (node.breaker, node.limit):
            if not isinstance(policy, Breaker | Bulkhead) or policy.name is not None:
                continue
            first = holders.setdefault(id(policy), node)
            if first.name != node.name or first.function is not node.function:
                warn_writer(
                    f"the same {type(policy).__name__} object stands on nodes {first.name!r} and "
                    f"{node.name!r}, and each has one of its own; give it a name= to share it, "
                    "or each node an object of its own"
                )


def _as_written(pipeline: Pipeline) -> Iterator[Node]:
    """All nodes, and alternatives without what they take over from their choice."""
    for stage in pipeline.stages:
        for node in stage.nodes:
            yield node
            if isinstance(node.function, Choice):
                yield from node.function.alternatives
