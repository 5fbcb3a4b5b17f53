"""Semantics 4: non-critical parts cost the answer nothing."""

import pytest
import trio
import trio.testing

from graceline import (
    Breaker,
    Node,
    Pipeline,
    Stage,
    parallel,
    save_partial,
    sequence,
)
from graceline.engine.surrounded import StandIn


async def forever(_):
    await trio.sleep_forever()


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


async def test_a_stand_in_knows_what_it_stands_in_for(autojump_clock, engine):
    """It gets the outcome instead of the input: of what failed, and of what was never started."""

    class Told(StandIn):
        def __call__(self, outcome):
            return f"{outcome.name} {outcome.status}"

    refused = Breaker(mode="forced_open")
    nodes = [
        Node(fail, critical=False, fallback=Told()),
        Node(add, critical=False, fallback=Told(), breaker=refused),
        Node(joined, name="join", after=("fail", "add")),
    ]
    result = await engine.run(Pipeline("p", nodes), 1)
    assert result.value == {"fail": "fail failed", "add": "add rejected"}


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


async def test_plain_soft_nodes_run_on_the_short_path(autojump_clock, engine):
    """Non-critical nodes and stages that succeed degrade nothing."""
    stages = [
        Stage("a", [Node(add, name="soft", critical=False)]),
        Stage("b", [Node(add, name="x")], critical=False),
    ]
    result = await engine.run(Pipeline("p", stages), 1)
    assert (result.status, result.value, result.degraded) == ("ok", 3, ())


async def test_cut_of_one_stage_leaves_the_others_alone(autojump_clock, engine):
    """A failure inside one parallel stage cancels that stage's nodes only, while it is soft."""

    async def fail(_):
        await trio.sleep(1)
        raise ValueError

    stages = parallel(
        Stage("soft", parallel(fail, forever), critical=False),
        Stage("main", [Node(trio.sleep, name="main")]),
    )
    result = await engine.run(Pipeline("p", stages), 3)
    assert (result.status, result.degraded) == ("ok", ("soft",))
    assert result.node("main").status == "ok"


async def test_fallback_that_raises_after_a_timeout(autojump_clock, engine):
    """A fallback that raises fails its part also where the part itself had timed out."""
    node = Node(forever, timeout=1, critical=False, fallback=lambda v: v.nothing)
    result = await engine.run(Pipeline("p", [node]))
    assert (result.status, type(result.error)) == ("failed", AttributeError)
    assert result.node("forever").secondary == ()


async def test_a_soft_part_keeps_what_it_has(autojump_clock, engine):
    """A non-critical node that times out keeps its partial value, and a failed one its error."""

    async def work(_):
        save_partial("so far")
        await trio.sleep_forever()

    soft = {"critical": False, "fallback": 0}
    nodes = sequence(Node(work, timeout=1, **soft), Node(fail, **soft), add)
    result = await engine.run(Pipeline("p", nodes), 5)
    assert (result.status, result.value, result.degraded) == ("ok", 1, ("work", "fail"))
    assert (result.node("work").status, result.node("work").partial) == ("timed_out", "so far")
    assert dict(result.partial) == {"work": "so far"}
    assert isinstance(result.node("fail").error, ValueError)
    assert result.node("fail").blame.kind == "failed"


async def test_a_soft_failure_cancels_no_sibling(autojump_clock, engine):
    """Only a critical failure is reason enough to cancel the siblings, among nodes and stages."""

    async def slow(_):
        await trio.sleep(2)
        return "slow"

    for parts in (
        parallel(Node(fail, critical=False), slow),
        parallel(Stage("soft", [fail], critical=False), Stage("slow", [slow])),
    ):
        result = await engine.run(Pipeline("p", parts), 1)
        assert (result.status, result.node("slow").value) == ("ok", "slow")


async def test_soft_branches_that_end_well(autojump_clock, engine):
    """Nodes that run at once and may fail give their values like others."""

    async def one(_):
        return 1

    async def two(_):
        return 2

    nodes = [Node(one, critical=False), Node(two, critical=False)]
    result = await engine.run(Pipeline("p", [Stage("s", nodes)]))
    assert (result.status, result.value, result.degraded) == ("ok", {"one": 1, "two": 2}, ())
