"""Policies that hardly do what was meant: no error, but a warning at the line that wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graceline.definitions.adaptive import Adaptive
from graceline.definitions.breaker import Breaker
from graceline.definitions.bulkhead import Bulkhead
from graceline.definitions.choice import Choice
from graceline.definitions.hedge import Hedge
from graceline.definitions.inherit import resolve
from graceline.definitions.part import warn_writer, where_of
from graceline.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.definitions.nodes import Node
    from graceline.definitions.part import Part
    from graceline.definitions.pipeline import Pipeline, Stage

__all__ = ["advise"]


def advise(pipeline: Pipeline) -> None:
    """Warn of the policies in a pipeline that hardly do what was meant."""
    _warn_unshared(pipeline)
    for holder, stages in ((pipeline, pipeline.stages), *((s, (s,)) for s in pipeline.stages)):
        if isinstance(holder.hedge, Hedge) and not any(
            one.idempotent for stage in stages for node in stage.nodes for one in _hedged(node)
        ):
            warn_writer(
                f"{where_of(holder)}: its hedge= is for the nodes in it that say idempotent=True, "
                "and none does"
            )
    for stage in pipeline.stages:
        for node in stage.nodes:
            for one in _hedged(node):
                _warn_late_copy(one, node, stage, pipeline)


def _hedged(node: Node) -> tuple[Node, ...]:
    """What a hedge makes copies of: the alternatives of a choice, else the node."""
    return node.alternatives or (node,)


def _warn_late_copy(one: Node, node: Node, stage: Stage, pipeline: Pipeline) -> None:
    """A copy that is sent when there is no time left is never sent."""
    hedge = resolve("hedge", one, stage, pipeline)
    if hedge is None or hedge.delay is None or not one.idempotent:
        return
    levels: list[Part] = [pipeline]
    if not pipeline.is_soft(stage):
        levels.append(stage)
    if not pipeline.is_soft(stage, node):
        levels.append(node)
    if one is not node:
        levels.append(one)
    limits = [
        (level.stated_timeout - (level.reserve or 0.0), f"limit of {where_of(level)}")
        for level in levels
        if level.stated_timeout is not None
    ]
    attempt = resolve("attempt_timeout", one, stage, pipeline)
    if attempt is not None:
        seconds = attempt.ceiling if isinstance(attempt, Adaptive) else attempt
        limits.append((seconds, "limit of each attempt"))
    if node.each is not None and node.each.item_timeout is not None:
        limits.append((node.each.item_timeout, "limit of each item"))
    if limits and min(limits)[0] <= hedge.delay:
        least, which = min(limits)
        warn_writer(
            f"{where_of(one)}: its hedge sends a second copy after {format_duration(hedge.delay)}, "
            f"and the {which} is {format_duration(least)}: none is ever sent; shorten delay="
        )


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
