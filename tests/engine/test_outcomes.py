"""Semantics 4: statuses, fail-soft, fail-fast, strict, partial values, conditions, graphs."""

import json

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
    cleanup,
    current,
    open_engine,
    parallel,
    save_partial,
    sequence,
)


async def forever(_):
    await trio.sleep_forever()


async def add(value):
    await trio.lowlevel.checkpoint()
    return value + 1


async def fail(_):
    raise ValueError("broken")


def gives(value, after=0.0):
    async def give(_):
        await trio.sleep(after)
        return value

    return give


async def add_up(values):
    return sum(values.values())


async def test_first_critical_failure_decides(autojump_clock, engine):
    """The status and blame of a run are those of its first critical part that failed, in time."""
    nodes = parallel(Node(forever, name="slow", timeout=2), Node(forever, name="quick", timeout=1))
    result = await engine.run(Pipeline("p", [Stage("s", nodes, fail_fast=False)]))
    assert (result.status, result.blame.name, result.elapsed) == (
        "timed_out", "quick", pytest.approx(2),
    )  # fmt: skip


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
    with pytest.raises(DefinitionError, match=r"register\(\).*Pipeline"):
        engine.register(add)


async def test_duplicate_live_ids_are_refused(autojump_clock, engine):
    """An id may be used again only after its run has ended."""
    engine.start(Pipeline("p", [trio.sleep]), 5, run_id="one")
    with pytest.raises(GracelineError, match="'one'"):
        engine.start(Pipeline("p", [add]), 1, run_id="one")
    await trio.sleep(6)
    assert (await engine.run(Pipeline("p", [add]), 1, run_id="one")).run_id == "one"


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


async def test_a_result_has_the_outcome_of_every_node_that_ran_or_not(autojump_clock, engine):
    """Nodes and stages that had no turn are there as `skipped`, without value, blame or attempt."""
    stages = [
        Stage("a", sequence(add, Node(fail, name="b"), Node(add, name="c"))),
        Stage("d", parallel(Node(add, name="e"), Node(add, name="f"))),
    ]
    result = await engine.run(Pipeline("p", stages), 1)
    statuses = {
        name: str(outcome.status)
        for stage in result.stages.values()
        for name, outcome in stage.nodes.items()
    }
    assert statuses == {
        "add": "ok", "b": "failed", "c": "skipped", "e": "skipped", "f": "skipped",
    }  # fmt: skip
    assert result.stages["d"].status == "skipped"
    skipped = result.node("f")
    assert (skipped.value, skipped.blame, skipped.attempts) == (None, None, 0)


async def test_a_result_shows_the_time_of_every_level_against_its_limit(autojump_clock, engine):
    """Elapsed time, limit, grace used and attempts stand beside each other on every level."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.5)

    stages = [
        Stage("a", [Node(gives(1, after=1), name="n", timeout=3)], timeout=4),
        Stage("b", [Node(work, timeout=2)], timeout=5),
    ]
    result = await engine.run(Pipeline("p", stages, timeout=9))
    parts = (
        result.node("n"), result.stages["a"], result.node("work"), result.stages["b"], result,
    )  # fmt: skip
    assert [part.limit for part in parts] == [3, 4, 2, 5, 9]
    assert [part.elapsed for part in parts] == pytest.approx([1, 1, 2.5, 2.5, 3.5])
    assert result.node("work").grace_used == pytest.approx(0.5)
    assert (result.node("n").attempts, result.node("work").attempts) == (1, 1)


async def test_completed_names_stand_in_the_order_of_completion(autojump_clock, engine):
    """What finished first stands first, whatever the order of definition or of names."""
    nodes = parallel(
        Node(gives(1, after=3), name="a"), Node(gives(2, after=1), name="c"),
        Node(gives(3, after=2), name="b"),
    )  # fmt: skip
    result = await engine.run(Pipeline("p", [Stage("s", nodes), Stage("z", [add_up])]))
    assert result.completed == ("c", "b", "a", "add_up")


@pytest.mark.parametrize("after", ["timed_out", "failed", "cancelled", "fallback", "late"])
async def test_a_completed_value_is_never_lost(autojump_clock, engine, after):
    """Whatever happens after it, the value of a completed node is in its outcome."""

    async def then(_):
        if after in ("failed", "fallback"):
            raise ValueError
        if after == "late":
            autojump_clock.jump(5)
            return
        await trio.sleep_forever()

    options = {
        "timed_out": {"timeout": 1},
        "fallback": {"critical": False, "fallback": lambda value: value.nothing},
    }.get(after, {})
    stage = Stage("s", sequence(Node(gives("kept"), name="n"), Node(then, **options)))
    limit = 2 if after == "late" else None
    run = engine.start(Pipeline("p", [stage, Stage("t", [forever])], timeout=limit))
    await trio.sleep(0.5)
    if after == "cancelled":
        run.cancel("stop")
    result = await run.wait()
    assert result.status not in ("ok", "late")
    assert (result.node("n").value, result.completed[0]) == ("kept", "n")


@pytest.mark.parametrize("end", ["timed_out", "failed", "user", "sibling", "shutdown"])
async def test_a_partial_value_survives_every_end(autojump_clock, engine, end):
    """Whatever cuts a node, the latest partial value is in its outcome and in the result."""

    async def work(_):
        save_partial("so far")
        if end == "failed":
            raise ValueError
        await trio.sleep_forever()

    async def sibling(_):
        await trio.sleep(1)
        if end == "sibling":
            raise KeyError

    limit = 1 if end == "timed_out" else None
    run = engine.start(Pipeline("p", parallel(Node(work, timeout=limit), sibling)))
    await trio.sleep(0.5)
    if end == "user":
        run.cancel("stop")
    if end == "shutdown":
        await engine.drain(0)
    result = await run.wait()
    assert result.node("work").status == (end if end in ("timed_out", "failed") else "cancelled")
    assert (result.node("work").partial, dict(result.partial)) == ("so far", {"work": "so far"})


@pytest.mark.parametrize("holder", ["stage", "pipeline"])
async def test_skipped_parts_decide_nothing(autojump_clock, engine, holder):
    """A stage or pipeline of which all parts are skipped by a condition is ok, with its input."""
    no = {"when": lambda _: False}
    stage = Stage("s", [Node(fail, **({} if holder == "pipeline" else no))],
                  **(no if holder == "pipeline" else {}))  # fmt: skip
    result = await engine.run(Pipeline("p", [stage]), "in")
    assert (result.status, result.value, result.blame) == ("ok", "in", None)
    assert result.stages["s"].status == ("skipped" if holder == "pipeline" else "ok")


async def test_a_stage_follows_the_rule_over_its_nodes(autojump_clock, engine):
    """A stage has status, blame and error of its first critical node, in order of finishing."""

    async def fail_later(_):
        await trio.sleep(2)
        raise ValueError

    nodes = parallel(fail_later, Node(forever, timeout=1), Node(fail, critical=False))
    soft = Stage("s", nodes, fail_fast=False, critical=False)
    result = await engine.run(Pipeline("p", [soft]))
    stage = result.stages["s"]
    assert (stage.status, stage.blame) == ("timed_out", result.node("forever").blame)
    assert (stage.error, result.status) == (None, "ok")


async def test_a_refusal_has_an_outcome_for_every_node(autojump_clock, engine):
    """`run` returns a refusal as a result with all nodes skipped; `execute` raises it."""
    await engine.drain()
    pipeline = Pipeline("p", [Stage("a", [add]), Stage("b", parallel(fail, forever))])
    result = await engine.run(pipeline, 1)
    assert (result.status, result.blame.kind, result.completed) == ("rejected", "rejected", ())
    assert {node.status for stage in result.stages.values() for node in stage.nodes.values()} == {
        "skipped"
    }
    with pytest.raises(OverloadedError, match="draining"):
        await engine.execute(pipeline, 1)
