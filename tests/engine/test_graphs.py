"""Semantics 4: values through sequences and graphs, conditions, fail-fast, long chains."""

import contextvars
import math

import pytest
import trio
import trio.testing

from graceline import (
    Node,
    Pipeline,
    Stage,
    Timeouts,
    open_engine,
    parallel,
    sequence,
)


async def add(value):
    await trio.lowlevel.checkpoint()
    return value + 1


async def fail(_):
    raise ValueError("broken")


async def joined(values):
    return dict(values)


def gives(value, after=0.0):
    async def give(_):
        await trio.sleep(after)
        return value

    return give


async def test_values_flow_through_a_sequence(autojump_clock, engine):
    """In a sequence every node gets the value of the one before, across stages."""
    nodes = [Node(add, name=f"n{i}") for i in range(3)]
    result = await engine.run(Pipeline("p", [Stage("a", sequence(*nodes)), Stage("b", [add])]), 1)
    assert (result.value, result.completed) == (5, ("n0", "n1", "n2", "add"))
    assert result.blame is None


async def test_values_flow_through_a_graph(autojump_clock, engine):
    """Several predecessors give a dict by name, several sinks too."""
    graph = sequence(
        add, parallel(Node(add, name="l"), Node(add, name="r")), Node(joined, name="j")
    )
    result = await engine.run(Pipeline("p", [Stage("s", graph)]), 1)
    assert result.value == {"l": 3, "r": 3}
    result = await engine.run(Pipeline("p", parallel(Node(add, name="l"), Node(add, name="r"))), 1)
    assert result.value == {"l": 2, "r": 2}


async def test_a_node_starts_when_its_own_predecessors_are_done(autojump_clock, engine):
    """There is no barrier: a node does not wait for nodes that it does not depend on."""
    nodes = [
        Node(gives(1, after=1), name="quick"),
        Node(gives(2, after=5), name="slow"),
        Node(gives(3), name="next", after="quick"),
    ]
    result = await engine.run(Pipeline("p", [Stage("s", nodes)]))
    assert result.node("next").started == pytest.approx(1)
    assert list(result.stages["s"].nodes) == ["quick", "slow", "next"]


async def test_stages_can_form_a_graph(autojump_clock, engine):
    """Stages follow the same graph rule: two parallel stages, then a stage that gets both values."""
    stages = sequence(
        parallel(Stage("a", [gives(1, after=2)]), Stage("b", [gives(2, after=2)])),
        Stage("c", [Node(joined, name="c")]),
    )
    result = await engine.run(Pipeline("p", stages))
    assert result.value == {"a": 1, "b": 2}
    assert result.stages["c"].started == pytest.approx(2)


async def test_definition_order_of_outcomes_does_not_depend_on_running_order(
    autojump_clock, engine
):
    """Outcomes stand in the order of definition, also where `after` reverses the running order."""
    nodes = [Node(add, name="second", after="first"), Node(add, name="first")]
    stages = [Stage("y", nodes, after="x"), Stage("x", [add], after=())]
    result = await engine.run(Pipeline("p", stages), 1)
    assert list(result.stages) == ["y", "x"]
    assert list(result.stages["y"].nodes) == ["second", "first"]
    assert result.value == 4


async def test_when_false_skips_and_passes_the_input(autojump_clock, engine):
    """A condition that is false skips node or stage, and its input goes to what depends on it."""
    nodes = sequence(Node(add, name="a", when=lambda value: value > 5), Node(add, name="b"))
    stage = Stage("no", [fail], when=lambda _: False)
    result = await engine.run(Pipeline("p", [Stage("s", nodes), stage]), 1)
    assert (result.value, result.status) == (2, "ok")
    assert (result.node("a").status, result.stages["no"].status) == ("skipped", "skipped")
    assert result.node("fail").status == "skipped"


async def test_when_that_raises_fails_its_part(autojump_clock, engine):
    """A condition that raises is a failure of its node, and says so."""
    result = await engine.run(Pipeline("p", [Node(add, when=lambda v: v["x"])]), 1)
    assert (result.status, type(result.error)) == ("failed", TypeError)
    assert "when=" in result.blame.message


async def test_without_fail_fast_independent_branches_finish(autojump_clock, engine):
    """With `fail_fast=False` the other branches finish, and only dependents are skipped."""
    nodes = [
        fail,
        Node(gives(1), name="dependent", after="fail"),
        Node(gives(2, after=3), name="free"),
        Node(gives(3), name="further", after="free"),
    ]
    result = await engine.run(Pipeline("p", [Stage("s", nodes)], fail_fast=False))
    assert (result.status, result.value) == ("failed", None)
    assert result.node("further").value == 3
    assert result.node("dependent").status == "skipped"
    assert result.node("dependent").blame is None


async def test_fail_fast_default_comes_from_the_engine(autojump_clock):
    """`Timeouts(fail_fast=False)` applies where neither stage nor pipeline says otherwise."""
    timeouts = Timeouts(node=None, pipeline=None, fail_fast=False)
    async with open_engine(timeouts=timeouts) as engine:
        result = await engine.run(Pipeline("p", parallel(fail, gives(1, after=1))))
    assert result.node("give").value == 1


async def test_users_context_variables_travel_down_a_sequence(autojump_clock, engine):
    """A context variable set in one node of a sequence is seen by the next, and by the caller."""
    variable = contextvars.ContextVar("variable", default="unset")

    async def put(_):
        variable.set("put")

    async def get(_):
        return variable.get()

    result = await engine.run(Pipeline("p", sequence(put, get)))
    assert (result.value, variable.get()) == ("put", "put")


async def test_ten_thousand_nodes(autojump_clock, engine):
    """A sequence of 10,000 nodes runs, and lets other tasks in on the way."""
    ticks = 0

    async def count():
        nonlocal ticks
        while True:
            await trio.lowlevel.checkpoint()
            ticks += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        nodes = sequence(*(Node(add, name=f"n{i}") for i in range(10_000)))
        result = await engine.run(Pipeline("p", nodes, timeout=math.inf), 0)
        nursery.cancel_scope.cancel()
    assert result.value == 10_000
    assert ticks > 100


async def test_plain_chain_is_cut_by_its_limit_and_by_a_cancel(autojump_clock, engine):
    """A long chain of nodes without any checkpoint is still cut, by time and by a cancel."""

    async def tick(value):
        autojump_clock.jump(0.01)
        return value

    nodes = [Node(tick, name=f"n{i}") for i in range(500)]
    result = await engine.run(Pipeline("p", sequence(*nodes), timeout=1))
    assert result.status in ("timed_out", "late")
    assert len(result.completed) == pytest.approx(100, abs=2)

    async def stop(value):
        run.cancel("mid-chain")
        return value

    run = engine.start(Pipeline("p", sequence(*nodes[:50], stop, *nodes[50:])))
    result = await run.wait()
    assert (result.status, len(result.completed)) == ("cancelled", 51)
    assert result.node("stop").status == "late"


async def test_condition_that_holds(autojump_clock, engine):
    """A condition that is true changes nothing."""
    nodes = sequence(Node(add, name="a", when=lambda value: value == 1), Node(add, name="b"))
    stage = Stage("s", nodes, when=lambda value: value == 1)
    assert (await engine.run(Pipeline("p", [stage]), 1)).value == 3


async def test_a_critical_timeout_cancels_the_siblings(autojump_clock, engine):
    """A limit that passes is a failure for the siblings as well, wherever the parts lie."""

    async def forever(_):
        await trio.sleep_forever()

    for parts in (
        parallel(Node(forever, name="cut", timeout=1), Node(forever, name="sibling")),
        parallel(Stage("a", [Node(forever, name="cut")], timeout=1),
                 Stage("b", [Node(forever, name="sibling")])),
    ):  # fmt: skip
        result = await engine.run(Pipeline("p", parts))
        assert (result.status, result.elapsed) == ("timed_out", pytest.approx(1))
        assert result.node("sibling").blame.kind == "sibling_failed"


async def test_without_fail_fast_parallel_stages_finish(autojump_clock, engine):
    """With `fail_fast=False` on the pipeline, stages that do not depend on the failed one finish."""
    stages = [
        Stage("bad", [fail], after=()),
        Stage("good", [gives("good", after=2)], after=()),
        Stage("then", [Node(gives("then"), name="then")], after="good"),
        Stage("never", [Node(gives("never"), name="never")], after="bad"),
    ]
    result = await engine.run(Pipeline("p", stages, fail_fast=False))
    statuses = [str(stage.status) for stage in result.stages.values()]
    assert (result.status, statuses) == ("failed", ["failed", "ok", "ok", "skipped"])
    assert result.stages["never"].blame is None


async def test_a_skipped_node_gives_its_input_to_a_join(autojump_clock, engine):
    """In a graph too, what depends on a node whose condition is false gets that node's input."""
    nodes = sequence(
        parallel(Node(add, name="l", when=lambda _: False), Node(add, name="r")),
        Node(joined, name="j"),
    )
    result = await engine.run(Pipeline("p", [Stage("s", nodes)]), 1)
    assert result.value == {"l": 1, "r": 2}
