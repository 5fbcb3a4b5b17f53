"""The floors: they have a scope on each level, and each of them cuts. Virtual time throughout."""

from functools import partial
from math import inf

import pytest
import trio
from benchmarks import crowd, floors
from benchmarks.floors import (
    HAND,
    bare,
    hand_graph,
    hand_parallel,
    hand_written,
    plain_parallel,
    rolling,
    yardstick,
)
from benchmarks.measure import timed
from benchmarks.shapes import NODE_LIMIT, PIPELINE_LIMIT, STAGE_LIMIT

from graceline import open_engine

LEVELS = ("node", "stage", "pipeline")
SHAPES = {
    "hand_written": (lambda node, *_: hand_written([[node]], 0), None),
    "hand_parallel": (lambda node, other: hand_parallel([node, other], 0), {1: 0}),
    "hand_graph": (lambda node, other: hand_graph([(node, ()), (other, ())], 0), {1: 0}),
}


class Scopes:
    """Counts the cancel scopes that are entered, and keeps the limits of those with a deadline."""

    def __init__(self, monkeypatch):
        self.limits = []
        self.entered = 0
        enter = trio.CancelScope.__enter__

        def counted(scope):
            self.entered += 1
            entered = enter(scope)
            if scope.deadline != inf:
                self.limits.append(scope.deadline - trio.current_time())
            return entered

        monkeypatch.setattr(trio.CancelScope, "__enter__", counted)


async def at_once(value):
    """A node that needs no time."""
    return value


async def stuck(value):
    """A node that never ends."""
    await trio.sleep_forever()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("floor", SHAPES)
async def test_floors_are_cut_at_each_level(autojump_clock, monkeypatch, floor, level):
    """The limit of each level cuts by itself, and only that of the pipeline is an error."""
    limits = {f"{one.upper()}_LIMIT": 1000.0 for one in LEVELS} | {f"{level.upper()}_LIMIT": 5.0}
    for name, limit in limits.items():
        monkeypatch.setattr(floors, name, limit)
    if floor == "hand_written":
        arguments = {name.lower(): limit for name, limit in limits.items()}
        run = partial(hand_written, [[stuck]], 0, **arguments)
    else:
        run = partial(SHAPES[floor][0], stuck, at_once)
    start = trio.current_time()
    if level == "pipeline":
        with pytest.raises(trio.TooSlowError):
            await run()
    else:
        assert await run() == SHAPES[floor][1]
    assert trio.current_time() - start == 5


@pytest.mark.parametrize(
    ("run", "limits", "nurseries"),
    [
        (partial(hand_written, [[at_once] * 5] * 3, 0), {"pipeline": 1, "stage": 3, "node": 15}, 0),
        (partial(hand_parallel, [at_once] * 4, 0), {"pipeline": 1, "stage": 1, "node": 4}, 1),
        (
            partial(hand_graph, [(at_once, ()), (at_once, (0,)), (at_once, (0, 1))], 0),
            {"pipeline": 1, "stage": 1, "node": 3},
            1,
        ),
        (partial(bare, [[at_once] * 5], 0), {}, 0),
        (partial(plain_parallel, [at_once] * 4, 0), {}, 1),
    ],
    ids=["hand_written", "hand_parallel", "hand_graph", "bare", "plain_parallel"],
)
async def test_floors_enter_a_scope_per_level(autojump_clock, monkeypatch, run, limits, nurseries):
    """One for the pipeline, one per stage and one per node, each with its own limit; no more."""
    of = {"pipeline": PIPELINE_LIMIT, "stage": STAGE_LIMIT, "node": NODE_LIMIT}
    assert sorted(of.values()) == [100.0, 200.0, 300.0]
    scopes = Scopes(monkeypatch)
    await run()
    assert {level: scopes.limits.count(limit) for level, limit in of.items()} == {
        level: limits.get(level, 0) for level in of
    }
    # A nursery has one too; those of the tasks in it are not entered.
    assert scopes.entered == sum(limits.values()) + nurseries


async def test_rolling_moves_its_deadline_for_each_node(autojump_clock):
    """One scope, whose deadline is a node's limit away from the start of each node."""
    left = []

    async def node(value):
        left.append(trio.current_effective_deadline() - trio.current_time())
        await trio.sleep(10)
        return value + 1

    assert await rolling([[node] * 2] * 3, 0) == 6
    assert left == [NODE_LIMIT] * 6


async def test_rolling_has_one_scope(autojump_clock, monkeypatch):
    """It is what the deadlines alone cost, so no node has a scope of its own."""
    scopes = Scopes(monkeypatch)
    await rolling([[at_once] * 5] * 3, 0)
    assert scopes.entered == 1


async def test_contestants_of_a_crowd_are_what_they_are_called(autojump_clock, monkeypatch):
    """Plain Trio has no scope, hand-written scopes have one per level, the engine tells."""
    async with open_engine() as engine:
        runs = crowd.contestants(engine, [[at_once] * 5])
        scopes = Scopes(monkeypatch)
        await runs[crowd.PLAIN]()
        assert scopes.entered == 0
        await runs[HAND]()
        assert sorted(scopes.limits) == [NODE_LIMIT] * 5 + [STAGE_LIMIT, PIPELINE_LIMIT]
        result = await runs["engine"]()
    assert len(result.stages["s0"].nodes) == 5


async def test_the_yardstick_is_a_node_of_the_design(autojump_clock, monkeypatch):
    """Seconds per node of 50 plain nodes with hand-written scopes, in stages of 5."""
    scopes = Scopes(monkeypatch)
    nodes_so_far = lambda: float(scopes.limits.count(NODE_LIMIT))
    monkeypatch.setattr(floors, "timed", partial(timed, clock=nodes_so_far))
    assert await yardstick()[HAND]() == 1.0
    pipelines, stages, nodes = map(scopes.limits.count, (PIPELINE_LIMIT, STAGE_LIMIT, NODE_LIMIT))
    assert (stages / pipelines, nodes / stages) == (10, 5)
