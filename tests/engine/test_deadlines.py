"""Semantics 1: levels, clamping, defaults, grace and reserve, as a running engine keeps them."""

import ast
import math
import pathlib

import pytest
import trio
import trio.testing

import graceline
from graceline import (
    DefinitionError,
    Node,
    Pipeline,
    PipelineTimeoutError,
    Stage,
    Timeouts,
    cleanup,
    open_engine,
    parallel,
    remaining,
    sequence,
)


async def forever(_):
    await trio.sleep_forever()


def sleeper(seconds, value="done"):
    async def sleep(_):
        await trio.sleep(seconds)
        return value

    return sleep


async def test_node_limit_cancels_the_node_and_is_blamed(autojump_clock, engine):
    """A node that exceeds its limit is cancelled at that limit, and the node is blamed."""
    result = await engine.run(Pipeline("p", [Node(forever, timeout=2)]))
    assert result.status == "timed_out"
    assert (result.blame.level, result.blame.name, result.blame.limit) == ("node", "forever", 2.0)
    assert result.elapsed == pytest.approx(2)


async def test_equal_limits_blame_the_outermost(autojump_clock, engine):
    """Where node, stage and pipeline expire at the same instant, the pipeline is blamed."""
    stage = Stage("s", [Node(forever, timeout=1)], timeout=1)
    result = await engine.run(Pipeline("p", [stage], timeout=1))
    assert result.blame.level == "pipeline"
    assert result.node("forever").blame == result.blame


async def test_child_limit_is_clamped_by_its_parent(autojump_clock, engine):
    """A node limit above its pipeline's does not let the node outlive the pipeline."""
    with pytest.warns(match="clamps"):
        pipeline = Pipeline("p", [Node(forever, timeout=9)], timeout=1)
    result = await engine.run(pipeline)
    assert (result.blame.level, result.elapsed) == ("pipeline", pytest.approx(1))


async def test_timeout_zero_never_starts(autojump_clock, engine):
    """A node with `timeout=0` is timed out before its function is called."""
    called = []
    result = await engine.run(Pipeline("p", [Node(called.append, name="n", timeout=0)]))
    assert (result.status, called) == ("timed_out", [])
    assert result.node("n").attempts == 0


@pytest.mark.parametrize("timeout", [0, -3, "0s"])
async def test_expired_on_arrival(autojump_clock, engine, timeout):
    """A run whose limit is 0 or less ends at once, with every node skipped."""
    result = await engine.run(Pipeline("p", [forever]), timeout=timeout)
    assert (result.status, result.blame.kind, result.elapsed) == ("timed_out", "timeout", 0)
    assert result.node("forever").status == "skipped"


async def test_call_limit_replaces_the_pipelines(autojump_clock, engine):
    """A limit given with the call is used instead of the pipeline's, with source `call`."""
    result = await engine.run(Pipeline("p", [forever], timeout=9), timeout="500ms")
    assert (result.blame.source, result.elapsed) == ("call", pytest.approx(0.5))
    with pytest.raises(PipelineTimeoutError, match="given with the call"):
        result.unwrap()


async def test_call_limit_can_lift_the_pipelines(autojump_clock, engine):
    """`timeout=inf` with the call lifts the pipeline's limit for this run."""
    result = await engine.run(Pipeline("p", [sleeper(5)], timeout=1), timeout=math.inf)
    assert (result.status, result.limit) == ("ok", None)


async def test_call_limit_below_the_reserve_is_expired(autojump_clock, engine):
    """A call limit that leaves nothing after the reserve is expired before anything starts."""
    pipeline = Pipeline("p", [forever], timeout=3, reserve=1)
    result = await engine.run(pipeline, timeout=0.5)
    assert (result.status, result.elapsed) == ("timed_out", 0)


async def test_budget_only_shortens(autojump_clock, engine):
    """A requester's budget shortens the limit with source `header`, and never lengthens it."""
    pipeline = Pipeline("p", [forever], timeout=2)
    shorter = await engine.run(pipeline, budget=1)
    longer = await engine.run(pipeline, budget=5)
    assert (shorter.blame.source, shorter.elapsed) == ("header", pytest.approx(1))
    assert (longer.blame.source, longer.elapsed) == ("pipeline", pytest.approx(2))


@pytest.mark.parametrize("timeout", [math.nan, True, "5", "soon"])
async def test_bad_call_limits_are_refused(autojump_clock, engine, timeout):
    """NaN, booleans and strings without a unit are an error of the call."""
    with pytest.raises(DefinitionError, match="timeout="):
        await engine.run(Pipeline("p", [forever]), timeout=timeout)


async def test_metadata_timeout_is_a_limit(autojump_clock, engine):
    """`metadata["timeout"]` counts where `timeout=` is not given, with source `metadata`."""
    result = await engine.run(Pipeline("p", [Node(forever, metadata={"timeout": "1s"})]))
    assert (result.blame.source, result.elapsed) == ("metadata", pytest.approx(1))


async def test_grace_comes_after_the_limit(autojump_clock, engine):
    """With `timeout=1, grace=0.5` a hung cleanup is cut at 1.5 s."""

    async def stubborn(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    result = await engine.run(Pipeline("p", [stubborn], timeout=1, grace=0.5))
    assert result.elapsed == pytest.approx(1.5)
    assert result.grace_used == pytest.approx(0.5)


async def test_reserve_is_inside_the_limit(autojump_clock, engine):
    """With `timeout=1, reserve=0.25` work is cut at 0.75 s and all has ended at 1 s."""
    cut = []

    async def stubborn(_):
        try:
            await trio.sleep_forever()
        finally:
            cut.append(trio.current_time())
            with cleanup():
                await trio.sleep_forever()

    began = trio.current_time()
    result = await engine.run(Pipeline("p", [stubborn], timeout=1, reserve=0.25))
    assert cut[0] - began == pytest.approx(0.75)
    assert (result.elapsed, result.blame.limit) == (pytest.approx(1), 1.0)


async def test_soft_stage_with_reserve_leaves_the_next_stage_its_time(autojump_clock, engine):
    """A soft stage with `reserve` has ended by its timeout, hung cleanup included."""

    async def stubborn(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    soft = Stage("soft", [stubborn], timeout=1, reserve=0.2, critical=False)
    result = await engine.run(Pipeline("p", [soft, Stage("next", [sleeper(1)])], timeout=2.5))
    assert (result.status, result.degraded) == ("ok", ("soft",))
    assert result.stages["next"].started == pytest.approx(1)


async def test_grace_is_inherited(autojump_clock, engine):
    """A node without a grace of its own has that of its stage, else of the pipeline, else the engine's."""

    async def show(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup() as block:
                graces.append(block.deadline - trio.current_time())

    graces = []
    await engine.run(Pipeline("p", [Stage("s", [show], timeout=1, grace=0.25)], grace=3))
    await engine.run(Pipeline("p", [show], timeout=1, grace=3))
    await engine.run(Pipeline("p", [show], timeout=1))
    assert graces == pytest.approx([0.25, 3, 1])


async def test_unlimited_grace_is_allowed(autojump_clock):
    """With `Timeouts(grace=None)` a cleanup may take as long as it likes."""

    async def slow(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup() as block:
                assert block.deadline == math.inf
                await trio.sleep(1000)

    async with open_engine(timeouts=Timeouts.none()) as engine:
        result = await engine.run(Pipeline("p", [slow], timeout=1))
    assert result.elapsed == pytest.approx(1001)


async def test_stage_limit_covers_all_its_nodes(autojump_clock, engine):
    """A stage limit cuts the node that is running when it passes, and blames the stage."""
    nodes = sequence(Node(sleeper(1), name="a"), Node(sleeper(9), name="b"))
    result = await engine.run(Pipeline("p", [Stage("s", nodes, timeout=2)]))
    assert (result.blame.level, result.blame.name) == ("stage", "s")
    assert result.completed == ("a",)


async def test_remaining_knows_the_tightest_level_and_the_caller(autojump_clock, engine):
    """`remaining()` is the time until the earliest limit, the caller's own included."""
    seen = []

    async def look(_):
        seen.append(remaining())

    pipeline = Pipeline("p", [Stage("s", [Node(look)], timeout=4)], timeout=8)
    await engine.run(pipeline)
    with trio.move_on_after(3):
        await engine.run(pipeline)
    assert seen == pytest.approx([4, 3])


async def test_a_child_of_a_parallel_stage_is_cut_with_it(autojump_clock, engine):
    """All branches of a stage are cut at its limit, and each blames the stage."""
    nodes = parallel(Node(forever, name="a"), Node(forever, name="b"))
    result = await engine.run(Pipeline("p", [Stage("s", nodes, timeout=1)]))
    blames = {outcome.blame.level for outcome in result.stages["s"].nodes.values()}
    assert (blames, result.elapsed) == ({"stage"}, pytest.approx(1))


async def test_queue_time_counts(autojump_clock):
    """The pipeline's clock starts at submission: a run that queued has less time left."""
    left = []

    async def look(_):
        left.append(remaining())
        await trio.sleep(1)

    pipeline = Pipeline("p", [look], timeout=3)
    async with open_engine(max_concurrent_pipelines=1) as engine:
        engine.start(pipeline)
        await trio.testing.wait_all_tasks_blocked()
        second = engine.start(pipeline)
        result = await second.wait()
    assert left == pytest.approx([3, 2])
    assert result.queued == pytest.approx(1)


async def test_the_clock_of_a_level_runs_from_its_own_start(autojump_clock, engine):
    """A limit counts from the start of its own level, whatever ran before in the same run."""
    nodes = sequence(Node(sleeper(3), name="a"), Node(forever, name="b", timeout=2))
    stages = [Stage("s", nodes), Stage("never", [sleeper(1)])]
    result = await engine.run(Pipeline("p", stages))
    assert (result.blame.name, result.elapsed) == ("b", pytest.approx(5))
    soft = Stage("first", [sleeper(3)])
    result = await engine.run(Pipeline("p", [soft, Stage("second", [forever], timeout=2)]))
    assert (result.blame.name, result.elapsed) == ("second", pytest.approx(5))


@pytest.mark.parametrize("level", ["stage", "pipeline"])
async def test_timeout_zero_of_a_holder_starts_nothing(autojump_clock, engine, level):
    """A stage or pipeline with `timeout=0` is timed out, and none of its nodes is called."""
    called = []
    limits = {"stage": None, "pipeline": None, level: 0}
    stage = Stage("s", [called.append], timeout=limits["stage"])
    result = await engine.run(Pipeline("p", [stage], timeout=limits["pipeline"]))
    assert (result.status, result.blame.level, called) == ("timed_out", level, [])
    assert result.node("append").status == "skipped"
    assert result.stages["s"].status == ("timed_out" if level == "stage" else "skipped")


async def test_an_expired_run_does_not_wait_for_a_slot(autojump_clock):
    """A run without any time is timed out at submission, also where it would have to queue."""
    async with open_engine(max_concurrent_pipelines=1) as engine:
        engine.start(Pipeline("long", [trio.sleep], timeout=9), 5)
        await trio.testing.wait_all_tasks_blocked()
        result = await engine.run(Pipeline("p", [forever]), timeout=0)
        assert trio.current_time() == 0
    assert (result.blame.kind, result.stages["p"].status) == ("timeout", "skipped")


@pytest.mark.parametrize("level", ["node", "stage", "pipeline"])
@pytest.mark.parametrize(
    ("option", "cut", "end"), [({"grace": 0.1}, 0.25, 0.35), ({"reserve": 0.05}, 0.2, 0.25)]
)
async def test_any_level_may_use_grace_or_reserve(autojump_clock, engine, level, option, cut, end):
    """`timeout=0.25` ends by 0.35 s with `grace=0.1`, and by 0.25 s with `reserve=0.05`, on any level."""
    cuts = []

    async def stubborn(_):
        try:
            await trio.sleep_forever()
        finally:
            cuts.append(trio.current_time())
            with cleanup():
                await trio.sleep_forever()

    options = {"node": {}, "stage": {}, "pipeline": {}, level: {"timeout": 0.25, **option}}
    stage = Stage("s", [Node(stubborn, **options["node"])], **options["stage"])
    result = await engine.run(Pipeline("p", [stage], **options["pipeline"]))
    assert cuts == [pytest.approx(cut)]
    assert (result.elapsed, result.blame.level) == (pytest.approx(end), level)
    assert result.blame.limit == 0.25


async def test_a_reserve_is_the_grace_of_the_levels_below(autojump_clock, engine):
    """A node inside a stage with `reserve` has that as its grace, like any grace of a level above."""

    async def stubborn(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    stage = Stage("s", [Node(stubborn, timeout=2)], timeout=9, reserve=0.5)
    result = await engine.run(Pipeline("p", [stage]))
    assert (result.blame.level, result.elapsed) == ("node", pytest.approx(2.5))


async def test_the_clock_of_a_started_run_runs_from_the_call(autojump_clock, engine):
    """Time between `start()` and the first turn of its task counts, as time in the queue does."""
    run = engine.start(Pipeline("p", [forever], timeout=3))
    autojump_clock.jump(2)
    result = await run.wait()
    assert (result.elapsed, trio.current_time()) == (pytest.approx(3), pytest.approx(3))


async def test_a_started_run_is_not_bounded_by_its_starter(autojump_clock, engine):
    """`start` has no virtual parent: deadline and cancel of the task that starts a run stay outside."""
    left = []

    async def look(_):
        left.append(remaining())
        await trio.sleep(3)

    with trio.move_on_after(1) as scope:
        run = engine.start(Pipeline("p", [look]))
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert ((await run.wait()).status, left) == ("ok", [math.inf])


def test_the_state_machine_imports_no_trio():
    """Whoever imports the rules of deadlines gets plain arithmetic, and no event loop."""
    for module in pathlib.Path(graceline.deadlines.__file__).parent.glob("*.py"):
        tree = ast.parse(module.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert "trio" not in {alias.name.split(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] != "trio"
