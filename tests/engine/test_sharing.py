"""Sharing the time of a pipeline: which limits parts get, and what is soft, hard or refused."""

import math

import pytest
import trio

from graceline import Adaptive, Node, Pipeline, Stage, Timeouts, each, open_engine, sequence
from graceline.adaptive import Key
from graceline.telemetry import events


class Service:
    """A node's body whose latency the test decides; calls beyond those given take the last one."""

    def __init__(self, *seconds):
        self.seconds = list(seconds)

    async def __call__(self, value):
        await trio.sleep(self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0])
        return value


def node(name, *seconds, **options):
    return Node(Service(*seconds), name=name, **options)


def chain(budget, *nodes, timeout=0.25, **options):
    """One stage per node, one after the other; a stage has the name of its node."""
    stages = [Stage(one.name, [one]) for one in nodes]
    return Pipeline("p", stages, timeout=timeout, budget=budget, **options)


def teach(engine, durations, pipeline="p", count=20):
    """Let the engine know how long nodes take, by `stage.node` or by a name for both."""
    for path, seconds in durations.items():
        stage, _, name = path.rpartition(".")
        recorder = recorder_of(engine, stage or name, name, pipeline)
        for _ in range(count):
            recorder.add(seconds)


def recorder_of(engine, stage, name, pipeline="p"):
    return engine._learning._learners.recorder(Key("default", pipeline, stage, name))


def quicken(engine, name):
    """A few calls of a node were so fast that hardly any time that is left is hopeless."""
    for _ in range(3):
        recorder_of(engine, name, name).add(0.001)


def samples_of(engine, stage, name, level="node"):
    entry = engine._learning._learners._entries[Key("default", "p", stage, name, level)]
    return [(round(duration, 6), censored) for _, duration, censored in entry.history.samples()]


def limits_of(result):
    """Limit and source of every node, by its name."""
    return {
        name: (outcome.limit and round(outcome.limit, 9), outcome.source)
        for stage in result.stages.values()
        for name, outcome in stage.nodes.items()
    }


@pytest.fixture
def late(engine):
    """What ran late: stage, node and the seconds from the start."""
    heard = []

    def note(event):
        if isinstance(event, events.RunningLate):
            heard.append((event.stage, event.node, round(event.late_after, 9)))

    engine.subscribe(note, inline=True)
    return heard


# -- remaining ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "status"), [("fixed", "timed_out"), ("remaining", "ok"), ("reserve", "ok")]
)
async def test_who_needs_more_takes_what_others_leave(autojump_clock, engine, budget, status):
    """A node past its own limit is cut in a fixed budget, and goes on in a shared one."""
    slow = chain(budget, node("a", 0.01), node("b", 0.2, timeout=0.05), node("c", 0.01))
    result = await engine.run(slow)
    assert result.status == status
    assert limits_of(result)["b"] == ((0.05, "node") if budget == "fixed" else (None, None))


@pytest.mark.parametrize("budget", ["remaining", "reserve"])
async def test_a_hang_is_the_pipeline_s_to_cut(autojump_clock, engine, budget):
    """What never ends is cut when nothing is left, and the pipeline is to blame."""
    result = await engine.run(chain(budget, node("a", 0.01), node("b", 9, timeout=0.05)))
    assert (result.status, result.blame.level, result.elapsed) == ("timed_out", "pipeline", 0.25)
    assert result.node("b").status == "timed_out"


@pytest.mark.parametrize("options", [{"timeout": 0.05}, {"metadata": {"timeout": 0.05}}])
async def test_a_limit_that_is_no_option_is_soft(autojump_clock, engine, late, options):
    """Passing a stated limit is told, whether it is stated on the node, the stage or in metadata."""
    inner = Stage("s", sequence(node("a", 0.08, **options), node("b", 0.08)), **options)
    result = await engine.run(Pipeline("p", [inner], timeout=0.25, budget="remaining"))
    assert result.status == "ok"
    assert (result.stages["s"].limit, result.node("a").limit) == (None, None)
    assert late == [("s", "", 0.05), ("s", "a", 0.05)]


async def test_what_ends_in_time_is_not_late(autojump_clock, engine, late):
    """Nothing is told of parts that keep their limits, nor of `timeout=math.inf`."""
    inner = Stage("s", [node("a", 0.04, timeout=0.05)], timeout=math.inf)
    await engine.run(Pipeline("p", [inner], timeout=0.25, budget="remaining"))
    assert late == []


@pytest.mark.parametrize("budget", ["remaining", "reserve"])
@pytest.mark.parametrize(
    ("on_stage", "on_node", "level"),
    [
        ({}, {"timeout": 0.05, "critical": False}, "node"),
        ({"critical": False}, {"timeout": 0.05}, "node"),
        ({"critical": False, "timeout": 0.05}, {}, "stage"),
    ],
    ids=["a node", "a node in such a stage", "a stage"],
)
async def test_what_something_can_stand_in_for_is_cut(
    autojump_clock, engine, late, budget, on_stage, on_node, level
):
    """A non-critical part keeps its limit hard: its fallback leaves time for the others."""
    fallback = {"fallback": "instead"}
    on_stage = on_stage and on_stage | fallback
    on_node = on_node | fallback if "critical" in on_node else on_node
    extra = Stage("extra", [node("x", 9, **on_node)], **on_stage)
    pipeline = Pipeline(
        "p", [extra, Stage("b", [node("b", 0.1)])], timeout=0.25, budget=budget, reserve=0.05
    )
    result = await engine.run(pipeline)
    assert (result.status, result.value) == ("ok", "instead")
    blame = result.node("x").blame
    assert (blame.level, blame.limit, result.node("b").started) == (level, 0.05, 0.05)
    assert late == []


async def test_the_limit_of_an_item_stays(autojump_clock, engine):
    """`each(item_timeout=)` is about items, not about sharing: it cuts."""
    items = each(node("a", 0.2), item_timeout=0.05)
    result = await engine.run(chain("remaining", items), [1])
    assert (result.blame.level, result.blame.limit) == ("item", 0.05)


async def test_defaults_of_the_engine_do_not_apply_inside(autojump_clock):
    """Node and stage defaults are off in a shared budget; that of the pipeline is the budget."""
    timeouts = Timeouts(node=0.1, stage=0.15, pipeline=0.5)
    async with open_engine(timeouts=timeouts) as engine:
        result = await engine.run(chain("remaining", node("a", 0.4), node("b", 9), timeout=None))
        assert (result.node("a").status, result.elapsed) == ("ok", 0.5)
        assert (result.blame.level, result.blame.source) == ("pipeline", "default")
        extras = Stage("x", [node("x", 0.3)], critical=False)
        soft = Pipeline(
            "q", [extras, Stage("s", [node("y", 0.15, critical=False)])], budget="reserve"
        )
        assert (await engine.run(soft)).degraded == ()


@pytest.mark.parametrize("budget", ["remaining", "reserve"])
async def test_without_a_limit_there_is_nothing_to_share(autojump_clock, engine, late, budget):
    """A pipeline without a limit runs as long as it likes; stated limits are told all the same."""
    teach(engine, {"a": 0.1, "b": 0.1})
    pipeline = chain(budget, node("a", 0.3, timeout=0.2), node("b", 0.3), timeout=None)
    result = await engine.run(pipeline)
    assert (result.status, late) == ("ok", [("a", "a", 0.2)])
    assert limits_of(result) == {"a": (None, None), "b": (None, None)}


# -- reserve --------------------------------------------------------------------------------------


async def test_time_is_kept_for_what_follows(autojump_clock, engine):
    """Each node may use what is left but four fifths of the p50 of all that follow it."""
    teach(engine, {"a": 0.02, "b": 0.03, "c": 0.04})
    pipeline = chain("reserve", node("a", 0.05), node("b", 0.03), node("c", 0.04))
    assert limits_of(await engine.run(pipeline)) == {
        "a": (round(0.25 - 0.8 * 0.07, 9), "adaptive"),
        "b": (round(0.20 - 0.8 * 0.04, 9), "adaptive"),
        "c": (None, None),
    }


async def test_a_hang_is_cut_while_the_others_still_have_time(autojump_clock, engine):
    """A node past its share is cut there, and blamed with the source `adaptive`."""
    teach(engine, {"a": 0.02, "b": 0.1})
    result = await engine.run(chain("reserve", node("a", 9), node("b", 0.1)))
    blame = result.blame
    assert (result.status, blame.level, blame.name, blame.source) == (
        "timed_out", "node", "a", "adaptive",
    )  # fmt: skip
    assert (result.elapsed, blame.limit) == pytest.approx((0.17, 0.17))
    assert samples_of(engine, "a", "a")[-1] == (0.17, True)


async def test_when_little_is_left_a_node_has_its_share(autojump_clock, engine):
    """With less left than four fifths of the reserve the proportional share is the limit."""
    teach(engine, {"a": 0.01, "b": 0.02})
    quicken(engine, "a")
    quicken(engine, "b")
    result = await engine.run(chain("reserve", node("a", 0.001), node("b", 0.001), timeout=0.015))
    assert limits_of(result)["a"] == (0.005, "adaptive")


@pytest.mark.parametrize(("completions", "limit"), [(19, None), (20, 0.17)])
async def test_what_is_not_known_keeps_nothing(autojump_clock, engine, completions, limit):
    """Below twenty completions a node counts nothing in the reserve of those before it."""
    teach(engine, {"b": 0.1}, count=completions)
    result = await engine.run(chain("reserve", node("a", 0.01), node("b", 0.1)))
    assert result.node("a").limit == (limit and pytest.approx(limit))


async def test_durations_are_looked_at_again_every_sixteen_runs(autojump_clock, engine):
    """Twenty completions count from the 33rd run on: the first after them that looks again."""
    pipeline = chain("reserve", node("a", 0.01), node("b", 0.1))
    limits = [(await engine.run(pipeline)).node("a").limit for _ in range(34)]
    assert limits == [None] * 32 + [pytest.approx(0.17)] * 2


def fork(tails):
    """One node, then two branches of which the second is longer, then one that joins them."""
    return [
        node("a", 0.01),
        node("short", 0.02, after="a"),
        node("long", 0.05, after="a"),
        node("join", 0.03, after=("short", "long"), **tails),
    ]


KNOWN = {"a": 0.01, "short": 0.02, "long": 0.05, "join": 0.03}


async def test_the_longest_path_of_a_graph_of_nodes_is_kept(autojump_clock, engine):
    """Of two branches that must join, the longer one counts, and after both the join."""
    teach(engine, {f"s.{name}": seconds for name, seconds in KNOWN.items()})
    result = await engine.run(Pipeline("p", [Stage("s", fork({}))], timeout=0.25, budget="reserve"))
    assert limits_of(result) == {
        "a": (round(0.25 - 0.8 * 0.08, 9), "adaptive"),
        "short": (round(0.24 - 0.8 * 0.03, 9), "adaptive"),
        "long": (round(0.24 - 0.8 * 0.03, 9), "adaptive"),
        "join": (None, None),
    }


async def test_the_longest_path_of_a_graph_of_stages_is_kept(autojump_clock, engine):
    """The same among stages, each as long as the longest path through its nodes."""
    teach(engine, {"a.a": 0.01, "short.x": 0.02, "long.y": 0.03, "long.z": 0.02, "join.j": 0.03})
    stages = [
        Stage("a", [node("a", 0.01)]),
        Stage("short", [node("x", 0.02)], after="a"),
        Stage("long", sequence(node("y", 0.03), node("z", 0.02)), after="a"),
        Stage("join", [node("j", 0.03)], after=("short", "long")),
    ]
    result = await engine.run(Pipeline("p", stages, timeout=0.25, budget="reserve"))
    assert limits_of(result) == {
        "a": (round(0.25 - 0.8 * 0.08, 9), "adaptive"),
        "x": (round(0.24 - 0.8 * 0.03, 9), "adaptive"),
        "y": (round(0.24 - 0.8 * 0.05, 9), "adaptive"),
        "z": (round(0.21 - 0.8 * 0.03, 9), "adaptive"),
        "j": (None, None),
    }


SOFT = {"critical": False}


@pytest.mark.parametrize(
    ("stages", "kept"),
    [
        ([Stage("b", sequence(node("b", 0.02), node("x", 0.5, **SOFT)))], 0.02),
        ([Stage("b", [node("b", 0.02), node("x", 0.5, **SOFT)])], 0.02),
        ([Stage("b", [node("b", 0.02)]), Stage("x", [node("x", 0.5)], critical=False)], 0.02),
        ([Stage("b", [node("b", 0.02, **SOFT)]), Stage("x", [node("x", 0.5)], **SOFT)], 0.0),
        ([Stage("b", sequence(node("x", 0.05, **SOFT), node("b", 0.02)))], 0.07),
        ([Stage("b", sequence(node("b", 0.02), node("x", 0.05, **SOFT))), "c"], 0.10),
        ([Stage("b", [node("b", 0.02), node("x", 0.05, **SOFT)]), "c"], 0.08),
        ([Stage("b", [node("b", 0.02)], critical=False), "c"], 0.05),
    ],
    ids=[
        "a node at the end", "a node beside the end", "a stage at the end", "two at the end",
        "a node before another", "at the end of a stage that is not the last",
        "beside the end of a stage that is not the last", "a stage that is not the last",
    ],
)  # fmt: skip
async def test_no_time_is_kept_for_extras_at_the_end(autojump_clock, engine, stages, kept):
    """Non-critical parts count where others wait for them, and not at the very end."""
    stages = [Stage("c", [node("c", 0.03)]) if stage == "c" else stage for stage in stages]
    durations = {
        f"{stage.name}.{one.name}": one.function.seconds[0]
        for stage in stages
        for one in stage.nodes
    }
    teach(engine, durations)
    first = Stage("a", [node("a", 0.01)])
    pipeline = Pipeline("p", [first, *stages], timeout=0.25, budget="reserve")
    limit = (await engine.run(pipeline)).node("a").limit
    assert limit == (pytest.approx(0.25 - 0.8 * kept) if kept else None)


@pytest.mark.parametrize(
    ("stated", "limit", "source"),
    [
        ({"timeout": 0.1}, 0.1, "node"),
        ({"timeout": 0.2}, 0.17, "adaptive"),
        ({"timeout": 0.2, "reserve": 0.05}, 0.2, "node"),
        ({"timeout": 0.24, "reserve": 0.05}, 0.17, "adaptive"),
    ],
)
async def test_the_shorter_one_of_limit_and_share_counts(
    autojump_clock, engine, stated, limit, source
):
    """A part with a fallback has its own limit or its share, whichever cancels it earlier."""
    teach(engine, {"a": 0.02, "b": 0.1})
    quicken(engine, "b")
    extra = node("a", 9, critical=False, **stated)
    result = await engine.run(chain("reserve", extra, node("b", 0.01)))
    outcome = result.node("a")
    assert (outcome.limit, outcome.source) == (pytest.approx(limit), source)
    assert outcome.elapsed == pytest.approx(min(stated["timeout"] - stated.get("reserve", 0), 0.17))
    assert result.status == "ok"


async def test_a_part_is_late_at_its_proportional_share(autojump_clock, engine, late):
    """Without a limit of its own a node is late when it has used its share of what is left."""
    teach(engine, {"a": 0.02, "b": 0.08})
    await engine.run(chain("reserve", node("a", 0.06), node("b", 0.15)))
    assert late == [("a", "a", 0.05)]


async def test_a_stated_limit_is_when_it_is_late(autojump_clock, engine, late):
    """A soft limit that is stated counts, and not the proportional share."""
    teach(engine, {"a": 0.02, "b": 0.08})
    await engine.run(chain("reserve", node("a", 0.06, timeout=0.03), node("b", 0.01)))
    assert late == [("a", "a", 0.03)]


async def test_what_usually_hangs_has_no_share(autojump_clock, engine, late):
    """Where the p50 is not known, though some calls completed, nobody is late at once."""
    for _ in range(60):
        recorder_of(engine, "a", "a").add(1.0, censored=True)
    teach(engine, {"a": 0.02, "b": 0.08})
    await engine.run(chain("reserve", node("a", 0.06), node("b", 0.01)))
    assert late == []


# -- what the time that is left is ----------------------------------------------------------------


async def with_timeout(engine, pipeline):
    return await engine.run(pipeline, timeout=0.15)


async def with_budget(engine, pipeline):
    return await engine.run(pipeline, budget=0.15)


async def with_a_caller(engine, pipeline):
    with trio.move_on_after(0.15):
        return await engine.run(pipeline)


async def nested(engine, pipeline):
    results = []

    async def outer(_):
        results.append(await engine.run(pipeline))

    await engine.run(Pipeline("outer", [Node(outer, timeout=0.15)]))
    return results[0]


@pytest.mark.parametrize("run", [with_timeout, with_budget, with_a_caller, nested])
async def test_whatever_ends_the_run_earlier_shortens_the_shares(autojump_clock, engine, run):
    """A limit or budget given with the call, the caller's deadline and an outer run all count."""
    teach(engine, {"a": 0.02, "b": 0.05})
    result = await run(engine, chain("reserve", node("a", 0.02), node("b", 0.01)))
    assert result.node("a").limit == pytest.approx(0.15 - 0.8 * 0.05)


async def test_the_reserve_for_cleanup_is_not_shared(autojump_clock, engine):
    """`reserve=` of the pipeline is for cleanup: what is left ends before it."""
    teach(engine, {"a": 0.02, "b": 0.05})
    pipeline = chain("reserve", node("a", 0.02), node("b", 0.01), reserve=0.1)
    assert (await engine.run(pipeline)).node("a").limit == pytest.approx(0.15 - 0.8 * 0.05)


# -- what learns ----------------------------------------------------------------------------------

LEARNED = Adaptive(initial=0.05, ceiling=0.25)


async def test_a_learned_limit_is_soft_and_learns(autojump_clock, engine, late):
    """Nothing is cut at a learned limit that nothing stands in for; it learns true durations."""
    pipeline = chain("remaining", node("a", 0.1, timeout=LEARNED))
    result = await engine.run(pipeline)
    assert (result.status, limits_of(result)["a"]) == ("ok", (None, None))
    assert late == [("a", "a", 0.05)]
    await engine.run(chain("remaining", node("a", 9, timeout=LEARNED)))
    assert samples_of(engine, "a", "a") == [(0.1, False), (0.25, True)]


async def test_a_learned_limit_of_a_stage_is_soft_too(autojump_clock, engine, late):
    """The same for a stage, under a key of its own."""
    stage = Stage("s", [node("a", 0.1)], timeout=LEARNED)
    result = await engine.run(Pipeline("p", [stage], timeout=0.25, budget="remaining"))
    assert (result.status, result.stages["s"].limit, late) == ("ok", None, [("s", "", 0.05)])
    assert samples_of(engine, "s", "", "stage") == [(0.1, False)]


async def test_the_learned_limit_of_an_extra_is_hard(autojump_clock, engine, late):
    """Where something stands in, the learned limit cuts, and learns that it did."""
    extra = node("a", 9, timeout=LEARNED, critical=False)
    result = await engine.run(chain("remaining", extra, node("b", 0.01)))
    assert limits_of(result)["a"] == (0.05, "adaptive")
    assert (samples_of(engine, "a", "a"), late) == ([(0.05, True)], [])


async def test_a_share_below_the_learned_limit_is_no_verdict_on_it(autojump_clock, engine):
    """What the share of a budget cuts is a call from outside: no miss, and no margin moves."""
    extra = node("a", 9, timeout=Adaptive(initial=0.2, ceiling=0.25), critical=False)
    pipeline = chain("reserve", extra, node("b", 0.1))
    teach(engine, {"b": 0.1})
    result = await engine.run(pipeline)
    assert limits_of(result)["a"] == (pytest.approx(0.17), "adaptive")
    learner = engine._learning._learners._entries[Key("default", "p", "a", "a")]
    assert (samples_of(engine, "a", "a"), learner._alarm) == ([(0.17, True)], 0.0)


# -- refusals -------------------------------------------------------------------------------------


async def test_what_cannot_work_is_not_begun(autojump_clock, engine):
    """A node is rejected where even the p5 of it and the rest is more than is left."""
    teach(engine, {"a": 0.02, "b": 0.1})
    result = await engine.run(chain("reserve", node("a", 0.02), node("b", 0.1), timeout=0.11))
    outcome = result.node("a")
    assert (result.status, outcome.status, outcome.attempts) == ("rejected", "rejected", 0)
    assert result.blame.message == (
        "node 'a' was not started: 110ms are left, and with what follows it takes more than 120ms "
        "in 95 % of the runs"
    )
    assert (result.node("b").status, result.elapsed) == ("skipped", 0.0)
    assert len(samples_of(engine, "a", "a")) == 20


async def test_what_just_fits_is_begun(autojump_clock, engine):
    """A node that needs exactly what is left, in halves and quarters of a second, is not refused."""
    teach(engine, {"a": 0.25, "b": 0.5})
    result = await engine.run(chain("reserve", node("a", 0.2), node("b", 0.5), timeout=0.75))
    assert result.status == "ok"


async def test_one_of_sixteen_is_let_through(autojump_clock, engine):
    """Of 64 hopeless runs four are tried, so that a service which got faster is noticed."""
    teach(engine, {"a": 0.02, "b": 0.1}, count=256)
    pipeline = chain("reserve", node("a", 0.02), node("b", 0.1), timeout=0.11)
    statuses = [(await engine.run(pipeline)).status for _ in range(64)]
    assert statuses == (["rejected"] * 15 + ["timed_out"]) * 4


async def test_a_gate_opens_when_the_service_gets_faster(autojump_clock, engine):
    """After enough runs that were let through, nothing is refused any more."""
    teach(engine, {"a": 0.2})
    pipeline = chain("reserve", node("a", 0.01), timeout=0.1)
    statuses = [(await engine.run(pipeline)).status for _ in range(200)]
    assert "rejected" in statuses[:30]
    assert set(statuses[-100:]) == {"ok"}


async def test_an_extra_that_is_refused_leaves_its_fallback(autojump_clock, engine):
    """A rejected non-critical node costs no time, and the run goes on degraded."""
    teach(engine, {"x": 0.21, "b": 0.05})
    extra = node("x", 0.21, critical=False, fallback="instead")
    result = await engine.run(chain("reserve", extra, node("b", 0.05)))
    assert (result.status, result.value, result.degraded) == ("ok", "instead", ("x",))
    assert (result.node("x").status, result.node("b").started) == ("rejected", 0.0)


async def test_what_is_not_known_refuses_nobody(autojump_clock, engine):
    """If a node or one that follows it is unknown, everything is tried."""
    teach(engine, {"a": 0.2})
    result = await engine.run(chain("reserve", node("a", 0.01), node("b", 0.01), timeout=0.1))
    assert result.status == "ok"


# -- modes ----------------------------------------------------------------------------------------


async def test_observe_shows_the_shares_and_applies_none(autojump_clock):
    """In `observe` outcomes show the share, `would_time_out` what it would cut; all of it runs."""
    heard = []
    async with open_engine(mode="observe") as engine:
        engine.subscribe(heard.append, inline=True)
        teach(engine, {"a": 0.02, "b": 0.08})
        result = await engine.run(chain("reserve", node("a", 0.2), node("b", 0.01), node("c", 0.1)))
        assert (result.status, result.elapsed) == ("ok", pytest.approx(0.31))
        assert limits_of(result)["a"] == (round(0.25 - 0.8 * 0.08, 9), "adaptive")
        assert (result.would_time_out.level, result.would_time_out.name) == ("node", "a")
        refused = await engine.run(chain("reserve", node("a", 0.02), node("b", 0.1), timeout=0.01))
        assert refused.status == "ok"
    told = [(e.node, round(e.late_after, 9)) for e in heard if isinstance(e, events.RunningLate)]
    assert told == [("a", 0.05), ("a", 0.002)]


@pytest.mark.parametrize("limit", [0.05, LEARNED])
async def test_observe_tells_no_lateness_where_limits_are_hard(autojump_clock, limit):
    """In `observe` an extra past its limit would be cut; that it is late is not told."""
    heard = []
    async with open_engine(mode="observe") as engine:
        engine.subscribe(heard.append, inline=True)
        extra = node("a", 0.1, timeout=limit, critical=False)
        result = await engine.run(chain("remaining", extra, node("b", 0.01)))
    assert (result.would_time_out.name, result.would_time_out.limit) == ("a", 0.05)
    assert not any(isinstance(event, events.RunningLate) for event in heard)


async def test_in_observe_the_last_node_has_no_share_of_its_own(autojump_clock):
    """What nobody waits for is late with its pipeline, whose limit is not told as a share."""
    heard = []
    async with open_engine(mode="observe") as engine:
        engine.subscribe(heard.append, inline=True)
        teach(engine, {"a": 0.05})
        result = await engine.run(chain("reserve", node("a", 0.3)))
    assert (result.status, result.would_time_out.level) == ("ok", "pipeline")
    assert not any(isinstance(event, events.RunningLate) for event in heard)


async def test_observe_shares_nothing_after_the_end(autojump_clock):
    """In `observe` a part that would not have started any more has no share, and is not late by it."""
    heard = []
    async with open_engine(mode="observe") as engine:
        engine.subscribe(heard.append, inline=True)
        teach(engine, {"a": 0.02, "b": 0.02, "c": 0.02})
        pipeline = chain("reserve", node("a", 0.3), node("b", 0.05), node("c", 0.01))
        result = await engine.run(pipeline)
    assert limits_of(result)["b"] == (None, None)
    assert [event.node for event in heard if isinstance(event, events.RunningLate)] == ["a"]


async def test_observe_counts_an_outer_run(autojump_clock):
    """In `observe` limits around a nested run count, and so does the reserve for cleanup."""
    async with open_engine(mode="observe") as engine:
        teach(engine, {"a": 0.02, "b": 0.05})
        result = await nested(engine, chain("reserve", node("a", 0.2), node("b", 0.01)))
        shorter = chain("reserve", node("a", 0.2), node("b", 0.01), reserve=0.15)
        exact = await engine.run(shorter)
    assert result.node("a").limit == pytest.approx(0.15 - 0.8 * 0.05)
    assert exact.node("a").limit == pytest.approx(0.10 - 0.8 * 0.05)


async def test_off_shares_nothing_and_learns_nothing(autojump_clock):
    """In `off` no limit, no event and no refusal comes of a shared budget."""
    heard = []
    async with open_engine(mode="off") as engine:
        engine.subscribe(heard.append, inline=True)
        pipeline = chain("reserve", node("a", 0.2, timeout=0.1), node("b", 0.1))
        for _ in range(40):
            result = await engine.run(pipeline)
        assert engine._learning is None
    assert (result.status, limits_of(result)["b"]) == ("ok", (None, None))
    assert not any(isinstance(event, events.RunningLate) for event in heard)
