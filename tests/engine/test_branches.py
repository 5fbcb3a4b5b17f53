"""Branches that are one plain node: their corners."""

import pytest
import trio

from graceline import Adaptive, Node, Pipeline, Retry, Stage, parallel
from graceline.engine.levels import CURRENT, SEATED, level_of
from graceline.telemetry.events import NodeFinished, NodeStarted


async def pause(value):
    await trio.sleep(1)
    return value


async def test_a_follower_that_comes_while_branches_run_hears_their_ends(autojump_clock, engine):
    """From the moment it follows, each branch that ends well is told of."""
    run = engine.start(Pipeline("p", parallel(pause, Node(pause, name="b"))), 1)
    await trio.sleep(0.5)
    heard = [event async for event in run.events()]
    assert {event.node for event in heard if type(event) is NodeFinished} == {"pause", "b"}
    assert not [event for event in heard if type(event) is NodeStarted]


async def test_each_branch_that_starts_is_told(autojump_clock, engine):
    """A trace has the start of every branch, with when it is cut."""
    run = engine.start(Pipeline("p", parallel(pause, Node(pause, name="b", timeout=3))), 1)
    heard = [event async for event in run.events()]
    starts = {
        event.node: event.fires_at - event.at for event in heard if type(event) is NodeStarted
    }
    assert starts.keys() == {"pause", "b"}
    assert starts["b"] == pytest.approx(3)


@pytest.mark.parametrize("limited", ["stage", "node"])
async def test_a_branch_whose_turn_comes_too_late_is_not_called(autojump_clock, engine, limited):
    """The limit of its stage passed before its first turn, in which it would start; its own starts with it."""
    called = []

    async def block(value):
        called.append(value)
        autojump_clock.jump(2)
        return value

    own = 1 if limited == "node" else None
    nodes = [Node(block, name=name, timeout=own) for name in "ab"]
    stage = Stage("s", parallel(*nodes), timeout=None if own else 1)
    result = await engine.run(Pipeline("p", [stage]), 1)
    ended = sorted(result.node(name).status for name in "ab")
    assert (len(called), ended) == ((2, ["late"] * 2) if own else (1, ["late", "timed_out"]))


async def test_a_branch_leaves_its_level_ended(autojump_clock, engine):
    """Who keeps the level of a branch beyond its end, as a task that it started does, finds it ended."""
    kept = {}

    def look(name):
        async def node(value):
            if name == "asks":
                kept["asked"] = CURRENT.get()
            kept[name] = SEATED.get()
            return value

        return Node(node, name=name)

    result = await engine.run(Pipeline("p", parallel(look("asks"), look("silent"))), 1)
    assert result.status == "ok"
    assert kept["asked"].ended
    assert [level_of(kept[name]).ended for name in ("asks", "silent")] == [True, True]


async def test_a_branch_keeps_what_its_retries_and_its_input_were(autojump_clock, engine):
    """The errors of attempts that were made again, and what went in, are there behind the fast end."""
    calls, kept = [], []

    async def second(value):
        calls.append(value)
        if len(calls) == 1:
            raise ValueError("once")
        return value

    async def look(value):
        kept.append(level_of(SEATED.get()).input)
        return value

    again = Node(second, name="again", retry=Retry(attempts=2, backoff=0))
    result = await engine.run(Pipeline("p", parallel(again, Node(look, name="look"))), 1)
    node = result.node("again")
    assert (node.attempts, len(node.secondary), kept) == (2, 1, [1])


async def test_a_branch_is_cut_at_its_learned_limit(autojump_clock, engine):
    """The limit in force is that of the lease: at its instant the scope fires, and the outcome names it."""
    limits = Adaptive(initial=1, ceiling=3)
    hang = Node(trio.sleep, name="hang", timeout=limits, critical=False)
    other = Node(trio.sleep, name="other", critical=False)
    pipeline = Pipeline("p", parallel(hang, other))
    for _ in range(300):
        quick = await engine.run(pipeline, 0.1)
    learned = quick.node("hang")
    assert (learned.limit < 1, learned.source) == (True, "adaptive")
    cut = (await engine.run(pipeline, 2)).node("hang")
    assert (cut.status, cut.elapsed) == ("timed_out", pytest.approx(cut.limit))
