"""Ladders: what a node, a run, a branch or a timeout consists of, a rung for each thing it does.

Each contestant does what the one before it does, and one thing more, so the difference is what
that costs. The last one is the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import trio

from benchmarks.floors import bare, hand_parallel, hand_written, plain_parallel, rolling
from benchmarks.instructions.scenarios import Contestants, Scenario, main
from benchmarks.shapes import NODE_LIMIT, plain, side_by_side, stages_of, straight
from graceline import Engine

__all__ = ["LADDERS", "MODULE"]

MODULE = "benchmarks.instructions.ladders"
_NODES, _WIDTH, _LIMIT = 50, 20, 0.001
_EVERY = 11  # nodes that share a deadline, where each takes a tenth of the slack


async def _looking(nodes: int, every: int) -> None:
    """A look for each node whether somebody has cancelled the scope, moved for every so many."""
    clock = trio.lowlevel.current_clock().current_time
    value = 1
    with trio.CancelScope(deadline=clock() + NODE_LIMIT) as scope:
        for number in range(nodes):
            if number % every == 0:
                scope.deadline = clock() + NODE_LIMIT
            value = await plain(value)
            await trio.lowlevel.checkpoint_if_cancelled()


def _node(engine: Engine) -> Contestants:
    work = stages_of(plain, 1, _NODES)
    return {
        "the call": partial(bare, work, 1),
        "a look whether it is cancelled": partial(_looking, _NODES, _NODES),
        "its share of a deadline that is moved": partial(_looking, _NODES, _EVERY),
        "its outcome, metrics, whom to blame": partial(engine.run, straight(work, name="node"), 1),
        "its fifth of a stage": partial(
            engine.run, straight(stages_of(plain, 10, 5), name="stages"), 1
        ),
    }


def _run(engine: Engine) -> Contestants:
    work = stages_of(plain, 1, 1)
    return {
        "the call of its node": partial(bare, work, 1),
        "one scope with a deadline": partial(rolling, work, 1),
        "a look whether it is cancelled": partial(_looking, 1, 1),
        "admission, the records, the result": partial(engine.run, straight(work, name="run"), 1),
    }


def _branch(engine: Engine) -> Contestants:
    functions = [plain] * _WIDTH
    return {
        "a task in a nursery": partial(plain_parallel, functions, 1),
        "a scope of its own": partial(hand_parallel, functions, 1),
        "its outcome, metrics, whom to blame": partial(engine.run, side_by_side(functions), 1),
    }


def _timeout(engine: Engine) -> Contestants:
    async def stuck(_: Any) -> Any:
        await trio.sleep_forever()

    work = [[plain, plain, stuck]]
    limited = straight(work, node_limit=_LIMIT, name="stuck")
    return {
        "scopes around three nodes": partial(hand_written, [[plain] * 3], 1, node_limit=_LIMIT),
        "waiting, and the cancel": partial(hand_written, work, 1, node_limit=_LIMIT),
        "the records, the blame, the result": partial(engine.run, limited, 1),
    }


LADDERS: Mapping[str, Scenario] = {
    "node": Scenario("a node of a sequence", "node", _node, units=_NODES, runs=16, ticks=True),
    "run": Scenario("a run of one node", "run", _run),
    "branch": Scenario("a branch of 20", "branch", _branch, units=_WIDTH, runs=16),
    "timeout": Scenario("a run whose third node times out", "run", _timeout),
}

if __name__ == "__main__":
    main(LADDERS)
