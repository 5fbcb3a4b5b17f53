"""Semantics 4: statuses, fail-soft, fail-fast, strict, partial values, conditions, graphs."""

import contextvars
import json
import math

import pytest
import trio
import trio.testing

from graceline import (
    DefinitionError,
    GracelineError,
    Node,
    NodeFailedError,
    NodeTimeoutError,
    OverloadedError,
    Pipeline,
    PipelineCancelledError,
    PipelineResult,
    Stage,
    Timeouts,
    current,
    each,
    open_engine,
    parallel,
    save_partial,
    sequence,
)


async def forever(_):
    await trio.sleep_forever()


async def fail(_):
    raise ValueError("broken")


async def joined(values):
    return dict(values)


def gives(value, after=0.0):
    async def give(_):
        await trio.sleep(after)
        return value

    return give


async def add(value):
    await trio.lowlevel.checkpoint()
    return value + 1


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


async def test_first_critical_failure_decides(autojump_clock, engine):
    """The status and blame of a run are those of its first critical part that failed, in time."""
    nodes = parallel(Node(forever, name="slow", timeout=2), Node(forever, name="quick", timeout=1))
    result = await engine.run(Pipeline("p", [Stage("s", nodes, fail_fast=False)]))
    assert (result.status, result.blame.name, result.elapsed) == (
        "timed_out", "quick", pytest.approx(2),
    )  # fmt: skip


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


async def test_soft_node_gives_its_input_to_dependents(autojump_clock, engine):
    """A non-critical node that fails passes its input on, and is listed as degraded."""
    result = await engine.run(Pipeline("p", sequence(Node(fail, critical=False), add)), 1)
    assert (result.status, result.value, result.degraded) == ("ok", 2, ("fail",))
    assert isinstance(result.node("fail").error, ValueError)


@pytest.mark.parametrize(("fallback", "value"), [(10, 11), (lambda v: v + 20, 22), (None, None)])
async def test_fallback_is_a_value_or_a_function(autojump_clock, engine, fallback, value):
    """`fallback=` gives dependents its value, or what it makes of the input; None counts."""

    async def bump(given):
        return None if given is None else given + 1

    nodes = sequence(Node(fail, critical=False, fallback=fallback), bump)
    result = await engine.run(Pipeline("p", nodes), 1)
    assert result.value == value


async def test_fallback_that_raises_is_a_failure(autojump_clock, engine):
    """A fallback that raises fails its part for good, and keeps the first error beside its own."""
    node = Node(fail, critical=False, fallback=lambda v: v.nothing)
    result = await engine.run(Pipeline("p", sequence(node, add)), 1)
    assert (result.status, type(result.error)) == ("failed", AttributeError)
    assert [type(e) for e in result.node("fail").secondary] == [ValueError]
    assert result.node("add").status == "skipped"


async def test_soft_node_in_a_graph(autojump_clock, engine):
    """In a graph too, dependents of a soft failure get the fallback."""
    nodes = [
        Node(fail, critical=False, fallback="F"),
        gives("G", after=1),
        Node(joined, name="join", after=("fail", "give")),
    ]
    result = await engine.run(Pipeline("p", [Stage("s", nodes)]))
    assert result.value == {"fail": "F", "give": "G"}


async def test_soft_stage_keeps_its_outcome(autojump_clock, engine):
    """A non-critical stage that times out keeps its own status, and the run is ok and degraded."""
    stages = [Stage("a", [add]), Stage("soft", [forever], timeout=1, critical=False)]
    result = await engine.run(Pipeline("p", stages), 1)
    assert (result.status, result.value, result.degraded) == ("ok", 2, ("soft",))
    assert result.stages["soft"].status == "timed_out"
    assert result.blame is None


async def test_pipeline_limit_with_only_soft_parts_left_keeps_the_answer(autojump_clock, engine):
    """When only non-critical parts are left at the pipeline's limit, the answer is not lost."""
    soft = {"critical": False}
    stages = [
        Stage("answer", [gives(42, after=1)]),
        Stage("polish", [forever], **soft),
        Stage("reflect", [add], fallback=lambda v: v * 10, **soft),
    ]
    result = await engine.run(Pipeline("p", stages, timeout=2))
    assert (result.status, result.value) == ("ok", 420)
    assert result.degraded == ("polish", "reflect")
    assert result.stages["reflect"].status == "timed_out"


@pytest.mark.parametrize("strict", [False, True])
async def test_soft_nodes_at_the_end_of_a_critical_stage_keep_the_answer(
    autojump_clock, engine, strict
):
    """The same holds for non-critical nodes at the end of a critical stage, strict or not."""
    last = Stage("last", sequence(add, Node(forever, critical=False)))
    only = Stage("only", [Node(forever, name="polish", critical=False)])
    for stage in (last, only):
        pipeline = Pipeline("p", [Stage("first", [add]), stage], timeout=2, strict=strict)
        result = await engine.run(pipeline, 1)
        assert (result.status, result.stages[stage.name].status) == ("ok", "ok")
        assert result.value == (3 if stage is last else 2)
        assert len(result.degraded) == 1


async def test_user_cancel_stops_soft_parts_too(autojump_clock, engine):
    """A user cancel stops everything, although only non-critical parts are left."""
    stages = [Stage("a", [add]), Stage("soft", [forever], critical=False)]
    run = engine.start(Pipeline("p", stages), 1)
    await trio.sleep(1)
    run.cancel()
    result = await run.wait()
    assert (result.status, result.value, result.degraded) == ("cancelled", None, ())
    assert result.node("add").value == 2


async def test_late_pipeline(autojump_clock, engine):
    """A run whose limit passed before its last critical part returned is late, and keeps the value."""

    async def shielded(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        return 1

    result = await engine.run(Pipeline("p", [Stage("s", [shielded])], timeout=2))
    assert (result.status, result.value, result.overrun) == ("late", 1, pytest.approx(1))
    assert result.stages["s"].status == "late"
    assert (result.blame.level, result.unwrap()) == ("pipeline", 1)


async def test_strict_makes_late_timed_out_and_keeps_the_value_as_partial(autojump_clock, engine):
    """With `strict=True` a late value counts as timed out; the value stays in `partial`."""

    async def shielded(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        return 1

    result = await engine.run(Pipeline("p", [Node(shielded, timeout=2)], strict=True))
    assert (result.status, result.partial) == ("timed_out", {"shielded": 1})
    run = engine.start(Pipeline("p", [Node(shielded, strict=True)]))
    await trio.sleep(1)
    run.cancel()
    assert (await run.wait()).status == "cancelled"


async def test_part_after_the_limit_is_timed_out_before_it_starts(autojump_clock, engine):
    """After a late node, what was still to come is timed out without being started."""

    async def shielded(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    ran = []
    nodes = sequence(shielded, Node(ran.append, name="next"), Node(add, name="last"))
    result = await engine.run(Pipeline("p", [Stage("s", nodes)], timeout=2))
    assert (result.status, ran) == ("timed_out", [])
    assert result.node("next").status == "timed_out"
    assert result.node("last").status == "skipped"


async def test_partial_value_is_the_last_one_saved(autojump_clock, engine):
    """`save_partial` keeps the latest value across a cancel, None included."""

    async def work(_):
        for value in (1, 2, None):
            save_partial(value)
            await trio.sleep(1)

    result = await engine.run(Pipeline("p", [Node(work, timeout=1.5)]))
    assert (result.node("work").partial, dict(result.partial)) == (2, {"work": 2})
    result = await engine.run(Pipeline("p", [Node(work, timeout=2.5)]))
    assert dict(result.partial) == {"work": None}
    result = await engine.run(Pipeline("p", [work]))
    assert (result.status, dict(result.partial)) == ("ok", {})


async def test_names_that_repeat_across_stages_are_qualified(autojump_clock, engine):
    """Where a node name occurs in two stages, lists of names say `stage.node`."""
    stages = [Stage("a", [add]), Stage("b", [add, Node(add, name="other")])]
    result = await engine.run(Pipeline("p", stages), 1)
    assert set(result.completed) == {"a.add", "b.add", "other"}
    assert result.node("b.add").value == 3
    with pytest.raises(KeyError, match="several"):
        result.node("add")


async def test_each_keeps_the_order_and_bounds_the_parallelism(autojump_clock, engine):
    """`each` gives results in the order of items, with at most `max_parallel` at once."""
    alive = 0
    peak = []

    async def work(item):
        nonlocal alive
        alive += 1
        peak.append(alive)
        await trio.sleep(10 - item)
        alive -= 1
        return item * 2

    result = await engine.run(Pipeline("p", [each(work, max_parallel=3)]), range(7))
    assert result.value == [0, 2, 4, 6, 8, 10, 12]
    assert max(peak) == 3


async def test_each_over_nothing(autojump_clock, engine):
    """An empty list gives an empty list."""
    assert (await engine.run(Pipeline("p", [each(add)]), [])).value == []


@pytest.mark.parametrize("value", [5, "text", {"a": 1}, None])
async def test_each_needs_a_list(autojump_clock, engine, value):
    """An input that is no list of items is a failure that says what came instead."""
    result = await engine.run(Pipeline("p", [each(add)]), value)
    assert result.status == "failed"
    assert type(value).__name__ in str(result.error)


async def test_each_is_cut_as_a_whole(autojump_clock, engine):
    """The node's own limit bounds the loop; what was finished is its partial value."""
    node = each(gives("x", after=1), max_parallel=1, timeout=2.5)
    result = await engine.run(Pipeline("p", [node]), range(5))
    assert (result.blame.level, result.partial["give"]) == ("node", ["x", "x"])


async def test_failing_item_fails_the_node(autojump_clock, engine):
    """The first item that raises ends the loop; the error is the node's."""

    async def work(item):
        await trio.sleep(item)
        if item == 2:
            raise ValueError("two")
        return item

    result = await engine.run(Pipeline("p", [each(work)]), [1, 2, 3])
    assert (result.status, str(result.error)) == ("failed", "two")
    assert result.partial["work"] == [1]


async def test_save_partial_in_an_item_is_refused(autojump_clock, engine):
    """In an item of `each` finished items are the partial value, and `save_partial` says so."""

    async def work(_):
        save_partial(1)

    result = await engine.run(Pipeline("p", [each(work)]), [1])
    assert isinstance(result.error, GracelineError)


async def test_execute_gives_the_value_or_raises(autojump_clock, engine):
    """`execute` returns the value, or raises the error of the level that is to blame."""
    assert await engine.execute(Pipeline("p", [add]), 1) == 2
    with pytest.raises(NodeTimeoutError) as caught:
        await engine.execute(Pipeline("p", sequence(add, Node(forever, timeout=1))), 1)
    assert (caught.value.completed, caught.value.limit) == (("add",), 1.0)
    with pytest.raises(NodeFailedError) as failed:
        await engine.execute(Pipeline("p", [fail]))
    assert isinstance(failed.value.__cause__, ValueError)


async def test_cancelled_run_raises_its_reason(autojump_clock, engine):
    """Unwrapping a cancelled run raises the reason that was given."""
    run = engine.start(Pipeline("p", [forever]))
    await trio.testing.wait_all_tasks_blocked()
    run.cancel("no longer needed")
    with pytest.raises(PipelineCancelledError, match="no longer needed"):
        (await run.wait()).unwrap()


async def test_values_may_be_exceptions(autojump_clock, engine):
    """A node may return an exception object as its value."""
    error = ValueError("a value")
    result = await engine.run(Pipeline("p", [gives(error)]))
    assert (result.status, result.value) == ("ok", error)


async def test_result_survives_json(autojump_clock, engine):
    """A result with a timeout, an error and partial values round-trips through JSON."""

    async def work(_):
        save_partial([1, 2])
        await trio.sleep_forever()

    stages = [Stage("a", [Node(fail, critical=False)]), Stage("b", [Node(work, timeout=1)])]
    result = await engine.run(Pipeline("p", stages), {"q": 1})
    document = json.loads(json.dumps(result.to_dict()))
    again = PipelineResult.from_dict(document)
    assert again.to_dict() == document
    assert (again.status, again.blame, again.degraded) == (result.status, result.blame, ("fail",))


async def test_current_says_where(autojump_clock, engine):
    """`current()` knows run, names, attempt, input and lane, in nodes and in handlers."""
    seen = []

    async def look(_):
        seen.append(current())

    stage = Stage("s", [Node(look, name="n")], on_cleanup=look)
    await engine.run(Pipeline("p", [stage], on_cleanup=look), "in", run_id="r1")
    node, stage, pipeline = seen
    assert (node.run_id, node.pipeline, node.stage, node.node) == ("r1", "p", "s", "n")
    assert (node.attempt, node.input, node.lane) == (1, "in", "default")
    assert (stage.stage, stage.node, pipeline.stage) == ("s", None, None)


async def test_users_context_variables_travel_down_a_sequence(autojump_clock, engine):
    """A context variable set in one node of a sequence is seen by the next, and by the caller."""
    variable = contextvars.ContextVar("variable", default="unset")

    async def put(_):
        variable.set("put")

    async def get(_):
        return variable.get()

    result = await engine.run(Pipeline("p", sequence(put, get)))
    assert (result.value, variable.get()) == ("put", "put")


async def test_registered_pipelines_run_by_name(autojump_clock, engine):
    """A registered pipeline runs by its name; an unknown name gets the nearest one."""
    pipeline = engine.register(Pipeline("assist", [add]))
    assert engine.register(pipeline) is pipeline
    assert (await engine.run("assist", 1)).value == 2
    with pytest.raises(DefinitionError, match="did you mean 'assist'"):
        await engine.run("asist")
    with pytest.raises(DefinitionError, match="another pipeline"):
        engine.register(Pipeline("assist", [add]))
    with pytest.raises(DefinitionError, match="neither"):
        await engine.run(add)
    with pytest.raises(DefinitionError, match="not a Pipeline"):
        engine.register(add)


async def test_duplicate_live_ids_are_refused(autojump_clock, engine):
    """An id may be used again only after its run has ended."""
    engine.start(Pipeline("p", [trio.sleep]), 5, run_id="one")
    with pytest.raises(GracelineError, match="'one'"):
        engine.start(Pipeline("p", [add]), 1, run_id="one")
    await trio.sleep(6)
    assert (await engine.run(Pipeline("p", [add]), 1, run_id="one")).run_id == "one"


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


async def test_rejected_run_raises_overloaded(autojump_clock):
    """A refusal is a result; `execute` raises `OverloadedError` with the reason."""
    async with open_engine(max_concurrent_pipelines=1, max_queue=0) as engine:
        run = engine.start(Pipeline("p", [trio.sleep], timeout=5), 3)
        await trio.testing.wait_all_tasks_blocked()
        result = await engine.run(Pipeline("p", [add]), 1)
        with pytest.raises(OverloadedError, match="queue full"):
            await engine.execute(Pipeline("p", [add]), 1)
    assert (result.status, result.node("add").status) == ("rejected", "skipped")
    assert run.result.status == "ok"


async def test_finished_items_are_partial_in_the_order_of_items(autojump_clock, engine):
    """The partial value of a cut loop keeps the order of items, not that of finishing."""

    async def work(seconds):
        await trio.sleep(seconds)
        return seconds

    result = await engine.run(Pipeline("p", [each(work, timeout=5)]), [3, 9, 1, 2])
    assert result.partial["work"] == [3, 1, 2]
