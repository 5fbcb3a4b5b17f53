"""The floors: what one writes by hand with Trio, and nothing more.

"Hand-written scopes" are one `fail_after` per pipeline, one `move_on_after` per stage and one per
node. They know no outcomes, no blame and no metrics; they only stop in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from benchmarks.measure import timed
from benchmarks.shapes import (
    NODE_LIMIT,
    PIPELINE_LIMIT,
    STAGE_LIMIT,
    Function,
    GraphWork,
    plain,
    stages_of,
)

if TYPE_CHECKING:
    from benchmarks.measure import Sample

__all__ = [
    "BARE",
    "HAND",
    "bare",
    "hand_graph",
    "hand_parallel",
    "hand_written",
    "plain_parallel",
    "rolling",
    "yardstick",
]

BARE, HAND = "bare loop", "hand-written scopes"

Stages = Sequence[Sequence[Function]]


async def bare(stages: Stages, value: Any) -> Any:
    """A loop of `await f(x)`: no deadline anywhere."""
    for stage in stages:
        for function in stage:
            value = await function(value)
    return value


async def hand_written(
    stages: Stages,
    value: Any,
    *,
    pipeline_limit: float = PIPELINE_LIMIT,
    stage_limit: float = STAGE_LIMIT,
    node_limit: float = NODE_LIMIT,
) -> Any:
    """Hand-written scopes around a sequence; None if a stage or a node was cut.

    Raises:
        TooSlowError: if the limit of the pipeline passed.
    """
    with trio.fail_after(pipeline_limit):
        for stage in stages:
            with trio.move_on_after(stage_limit) as stage_scope:
                for function in stage:
                    with trio.move_on_after(node_limit) as node_scope:
                        value = await function(value)
                    if node_scope.cancelled_caught:
                        return None
            if stage_scope.cancelled_caught:
                return None
    return value


async def rolling(stages: Stages, value: Any) -> Any:
    """One scope whose deadline is moved for each node and nothing else: Trio's own share."""
    clock = trio.lowlevel.current_clock().current_time
    with trio.CancelScope(deadline=clock() + NODE_LIMIT) as scope:
        for stage in stages:
            for function in stage:
                scope.deadline = clock() + NODE_LIMIT
                value = await function(value)
    return value


async def hand_parallel(functions: Sequence[Function], value: Any) -> dict[int, Any]:
    """Hand-written scopes around one stage whose nodes run at the same time, in a nursery."""
    values: dict[int, Any] = {}

    async def branch(index: int, function: Function) -> None:
        with trio.move_on_after(NODE_LIMIT):
            values[index] = await function(value)

    with trio.fail_after(PIPELINE_LIMIT), trio.move_on_after(STAGE_LIMIT):
        async with trio.open_nursery() as nursery:
            for index, function in enumerate(functions):
                nursery.start_soon(branch, index, function)
    return values


async def hand_graph(work: GraphWork, value: Any) -> dict[int, Any]:
    """Hand-written scopes around a graph: a task per node that waits until those before it ended.

    A node that is cut ends the others.
    """
    values: dict[int, Any] = {}
    ended = [trio.Event() for _ in work]

    async def branch(index: int, function: Function, before: Sequence[int]) -> None:
        for other in before:
            await ended[other].wait()
        given = {other: values[other] for other in before} if before else value
        with trio.move_on_after(NODE_LIMIT) as scope:
            values[index] = await function(given)
        if scope.cancelled_caught:
            nursery.cancel_scope.cancel()
        ended[index].set()

    with trio.fail_after(PIPELINE_LIMIT), trio.move_on_after(STAGE_LIMIT):
        async with trio.open_nursery() as nursery:
            for index, (function, before) in enumerate(work):
                nursery.start_soon(branch, index, function, before)
    return values


async def plain_parallel(functions: Sequence[Function], value: Any) -> dict[int, Any]:
    """A nursery with one task per node: no deadline anywhere."""
    values: dict[int, Any] = {}

    async def branch(index: int, function: Function) -> None:
        values[index] = await function(value)

    async with trio.open_nursery() as nursery:
        for index, function in enumerate(functions):
            nursery.start_soon(branch, index, function)
    return values


def yardstick() -> dict[str, Sample]:
    """One node with hand-written scopes, in the shape of the design: see `rows.difference`."""
    work = stages_of(plain, 10, 5)
    return {HAND: timed(partial(hand_written, work, 1), times=4, units=50)}
