"""The same work in two spellings: plain functions for the floors, pipelines of them for the engine.

Every part states a limit of its own, different on each level and so generous that nothing fires:
the engine has to move its deadline for each node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from graceline import Adaptive, Breaker, Node, Pipeline, Retry, Stage, parallel, sequence

__all__ = [
    "NODE_LIMIT",
    "PIPELINE_LIMIT",
    "STAGE_LIMIT",
    "Function",
    "checkpointing",
    "layered",
    "plain",
    "side_by_side",
    "sleeping",
    "stages_of",
    "straight",
]

Function = Callable[[Any], Awaitable[Any]]

PIPELINE_LIMIT = 300.0
STAGE_LIMIT = 200.0
NODE_LIMIT = 100.0


async def plain(value: Any) -> Any:
    return value


async def checkpointing(value: Any) -> Any:
    await trio.lowlevel.checkpoint()
    return value


async def sleeping(value: Any) -> Any:
    await trio.sleep(0.01)
    return value


def stages_of(function: Function, stages: int, nodes: int) -> list[list[Function]]:
    """The work of a sequence for the floors."""
    return [[function] * nodes for _ in range(stages)]


def _node(
    function: Function,
    index: int,
    limit: float | Adaptive = NODE_LIMIT,
    after: tuple[str, ...] | None = None,
) -> Node:
    return Node(function, name=f"n{index}", timeout=limit, after=after)


def straight(
    work: Sequence[Sequence[Function]],
    *,
    node_limit: float | Adaptive = NODE_LIMIT,
    name: str = "straight",
    retry: Retry | None = None,
    breaker: Breaker | None = None,
) -> Pipeline:
    """A sequence of stages that are sequences of nodes, with policies for all of them."""
    return Pipeline(
        name,
        tuple(
            Stage(
                f"s{at}",
                sequence(*(_node(one, index, node_limit) for index, one in enumerate(functions))),
                timeout=STAGE_LIMIT,
            )
            for at, functions in enumerate(work)
        ),
        timeout=PIPELINE_LIMIT,
        retry=retry,
        breaker=breaker,
    )


def side_by_side(functions: Sequence[Function]) -> Pipeline:
    """One stage whose nodes run at the same time."""
    nodes = parallel(*(_node(one, index) for index, one in enumerate(functions)))
    stage = Stage("all", nodes, timeout=STAGE_LIMIT)
    return Pipeline("side_by_side", (stage,), timeout=PIPELINE_LIMIT)


def layered(function: Function, levels: int) -> Pipeline:
    """One stage with two nodes on each level, both of which need both of the level above."""
    nodes: list[Node] = []
    above: tuple[str, ...] = ()
    for _ in range(levels):
        pair = [_node(function, len(nodes) + at, after=above) for at in (0, 1)]
        above = tuple(node.name for node in pair)
        nodes += pair
    stage = Stage("levels", tuple(nodes), timeout=STAGE_LIMIT)
    return Pipeline("layered", (stage,), timeout=PIPELINE_LIMIT)
