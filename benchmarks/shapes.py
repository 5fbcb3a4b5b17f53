"""The same work in two spellings: plain functions for the floors, pipelines of them for the engine.

Every part states a limit of its own, different on each level and so generous that nothing fires:
the engine has to move its deadline for each node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from graceline import Adaptive, Node, Pipeline, Stage, parallel, sequence

__all__ = [
    "NODE_LIMIT",
    "PIPELINE_LIMIT",
    "STAGE_LIMIT",
    "Function",
    "GraphWork",
    "checkpointing",
    "in_thread",
    "layered",
    "levels_of",
    "plain",
    "side_by_side",
    "sleeping",
    "stages_of",
    "straight",
    "threaded",
]

Function = Callable[[Any], Awaitable[Any]]
GraphWork = Sequence[tuple[Function, Sequence[int]]]
"""Nodes of a graph, each with the indices of those that it needs."""

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


def threaded(value: Any) -> Any:
    """A plain function: as a node it runs in a thread."""
    return value


async def in_thread(value: Any) -> Any:
    """What one writes by hand for it."""
    return await trio.to_thread.run_sync(threaded, value, abandon_on_cancel=True)


def stages_of(function: Function, stages: int, nodes: int) -> list[list[Function]]:
    """The work of a sequence for the floors."""
    return [[function] * nodes for _ in range(stages)]


def levels_of(function: Function, levels: int, width: int = 2) -> GraphWork:
    """The work of a graph for the floors: each node needs all of the level above."""
    work: list[tuple[Function, Sequence[int]]] = []
    above: Sequence[int] = ()
    for _ in range(levels):
        here = range(len(work), len(work) + width)
        work += [(function, above)] * width
        above = here
    return work


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
    **policies: Any,
) -> Pipeline:
    """A sequence of stages that are sequences of nodes, with policies as `Pipeline` takes them."""
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
        **policies,
    )


def side_by_side(functions: Sequence[Function]) -> Pipeline:
    """One stage whose nodes run at the same time."""
    nodes = parallel(*(_node(one, index) for index, one in enumerate(functions)))
    stage = Stage("all", nodes, timeout=STAGE_LIMIT)
    return Pipeline("side_by_side", (stage,), timeout=PIPELINE_LIMIT)


def layered(function: Function, levels: int, width: int = 2) -> Pipeline:
    """One stage with so many nodes on each level, all of which need all of the level above."""
    nodes = tuple(
        _node(one, index, after=tuple(f"n{other}" for other in before))
        for index, (one, before) in enumerate(levels_of(function, levels, width))
    )
    return Pipeline(
        "layered", (Stage("levels", nodes, timeout=STAGE_LIMIT),), timeout=PIPELINE_LIMIT
    )
