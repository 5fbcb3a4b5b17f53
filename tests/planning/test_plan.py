import itertools
import math
from random import Random

import pytest

from graceline import (
    Adaptive,
    Command,
    DefinitionError,
    GracelineError,
    Node,
    Pipeline,
    PipelineResult,
    Stage,
    choose,
    each,
    sequence,
)
from graceline.adaptive import Key, MemoryStore
from graceline.definitions import Breaker, Retry
from graceline.planning import make_plan
from graceline.planning.limits import Limits
from graceline.planning.projection import projection_of
from graceline.planning.recorded import read_durations
from graceline.planning.replay import World, replay

NOTHING = MemoryStore()


async def work(value):
    raise AssertionError("a plan calls nothing of the user's")


def node(name, **options):
    return Node(work, name=name, **options)


def chain(*names, **options):
    return Pipeline("p", [Stage("s", sequence(*map(node, names)))], **options)


THREE = {"a": "20ms", "b": "20ms", "c": "20ms"}


@pytest.mark.parametrize(("timeout", "completion"), [("61ms", 1), ("60ms", 0), ("59ms", 0)])
def test_constant_durations_are_arithmetic(timeout, completion):
    """What takes 60 ms is answered within 61 ms and never within 60: a tie goes to the limit."""
    plan = make_plan(chain("a", "b", "c"), NOTHING, timeout=timeout, assume=THREE, runs=150)
    assert plan.now.completion == completion
    assert plan.now.statuses == {"ok" if completion else "timed_out": 150}


RUNS = 2000


def foresee(pipeline, store, timeout=None):
    """The projection alone, for many runs, without a search for better limits."""
    world = World.of(
        pipeline, read_durations(pipeline, store), store, runs=RUNS, seed=0, lane="default"
    )
    limits = Limits(timeout)
    return projection_of(pipeline, limits, replay(world, limits, RUNS))


def outcomes(samples):
    """Every duration with its share, by the product limit written out; the rest is infinite."""
    left, at_risk, shares = 1.0, len(samples), {}
    for seconds in sorted(samples, key=lambda one: (abs(one), one < 0)):
        if seconds > 0:
            shares[seconds] = shares.get(seconds, 0.0) + left / at_risk
            left -= left / at_risk
        at_risk -= 1
    return {**shares, math.inf: left}


CHANCE = Random(5)  # noqa: S311 - no secret
SAMPLES = {
    name: [
        round(CHANCE.lognormvariate(math.log(median), 0.5), 3) * CHANCE.choice((1, 1, 1, -1))
        for _ in range(40)
    ]
    for name, median in (("a", 0.02), ("b", 0.05), ("c", 0.03))
}


@pytest.mark.parametrize("timeout", [0.0805, 0.1305, 0.2005])
def test_a_chain_agrees_with_convolution(recorded, timeout):
    """With the pipeline's limit alone, the completion is that of the sum of the durations."""
    pipeline = chain("a", "b", "c", timeout=timeout)
    now = foresee(pipeline, recorded(pipeline, SAMPLES))
    expected = sum(
        math.prod(share for _, share in combination)
        for combination in itertools.product(*(outcomes(one).items() for one in SAMPLES.values()))
        if sum(seconds for seconds, _ in combination) < timeout
    )
    assert 0.02 < expected < 0.98
    assert now.completion == pytest.approx(expected, abs=4 * math.sqrt(0.25 / RUNS))
    assert now.low < now.completion < now.high


def test_parallel_nodes_agree_with_the_longest(recorded):
    """With nodes side by side, the completion is that of the longest."""
    pipeline = Pipeline("p", [Stage("s", [node("a"), node("b")])], timeout=0.0605)
    now = foresee(pipeline, recorded(pipeline, SAMPLES))
    a, b = (
        sum(share for seconds, share in outcomes(SAMPLES[name]).items() if seconds < 0.0605)
        for name in "ab"
    )
    assert now.completion == pytest.approx(a * b, abs=4 * math.sqrt(0.25 / RUNS))


def test_the_seed_decides(recorded):
    """The same seed gives the same plan to the last digit, another seed another one."""
    pipeline = Pipeline(
        "p",
        [Stage("s", [node("a", timeout=Adaptive(initial=0.1, ceiling=0.5)), node("b")])],
        timeout="0.5s",
    )
    store = recorded(pipeline, SAMPLES)
    first, again, other = (make_plan(pipeline, store, runs=300, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.now.p95 != other.now.p95


def test_what_never_finished_hangs(recorded):
    """Calls cut beyond the longest that finished never end: they count, and a note says so."""
    pipeline = chain("a", timeout="10s")
    plan = make_plan(pipeline, recorded(pipeline, {"a": [0.01] * 15 + [-0.02] * 5}), runs=500)
    assert plan.nodes[0].hangs == pytest.approx(0.25)
    assert plan.now.completion == pytest.approx(0.75, abs=0.08)
    assert (plan.now.p50, plan.now.p95) == pytest.approx((0.01, 10.0))
    assert "s.a: 25.0% of its calls were cut at up to 20ms and are longer" in plan.notes[0]


def test_nothing_of_the_user_is_called():
    """Functions, conditions, fallbacks, handlers, threads and programs: nothing is touched."""
    called = []

    def plain(value):
        called.append(value)

    noisy = {"when": plain, "on_cleanup": plain}
    pipeline = Pipeline(
        "p",
        [
            Stage("first", [Node(plain, name="thread", **noisy)], **noisy),
            Stage("second", [Node(plain, name="process", runs_on="process")]),
            Stage("third", [Node(Command(["false"]), name="program")]),
            Stage("fourth", [each(Node(work, name="loop"), item_timeout="1ms")]),
            Stage("fifth", [node("soft")], critical=False, fallback=plain),
            Stage("sixth", [node("last", critical=False, fallback=plain)]),
        ],
        timeout="55ms",
        on_cleanup=plain,
    )
    names = ("thread", "process", "program", "loop", "soft", "last")
    plan = make_plan(pipeline, NOTHING, assume=dict.fromkeys(names, "10ms"), runs=50)
    assert called == []
    assert (plan.now.completion, plan.now.degraded) == (1.0, 1.0)
    assert "taken as true: when= of first, thread" in plan.notes
    assert "limits of single items are not replayed: loop" in plan.notes


def test_blame_is_for_all_that_is_not_answered(recorded):
    """The shares of blame add up to the runs without an answer, and name the level."""
    pipeline = Pipeline(
        "p",
        [
            Stage("s", [node("a", timeout="30ms"), node("b")]),
            Stage("t", [node("c")], timeout="50ms"),
        ],
        timeout="90ms",
    )
    now = make_plan(pipeline, recorded(pipeline, SAMPLES), runs=400).now
    assert sum(blame.share for blame in now.blames) == pytest.approx(1 - now.completion)
    assert sum(blame.count for blame in now.blames) == now.statuses["timed_out"]
    assert {(one.level, one.name) for one in now.blames} == {
        ("node", "a"),
        ("stage", "t"),
        ("pipeline", "p"),
    }
    assert {one.kind for one in now.blames} == {"timeout"}


def test_a_name_that_two_nodes_have_is_told_with_its_stage():
    """The blame of a node whose name is not unique says in which stage it is."""
    pipeline = Pipeline(
        "p", [Stage("s", [node("a", timeout="50ms")]), Stage("t", [node("a", timeout="15ms")])]
    )
    (blame,) = make_plan(pipeline, NOTHING, assume={"a": "20ms"}, runs=10).now.blames
    assert (blame.level, blame.name, blame.share) == ("node", "t.a", 1.0)


def test_waste_of_a_lost_run_is_all_its_work():
    """A run without an answer has wasted what all its nodes worked."""
    plan = make_plan(chain("a", "b"), NOTHING, timeout="50ms", assume={"a": 0.02, "b": 9}, runs=20)
    assert plan.now.waste == pytest.approx(0.05)
    assert plan.now.waste_share == 1.0
    assert {part.node: part.cut for part in plan.now.parts} == {"": 1.0, "a": 0.0, "b": 1.0}


def test_waste_of_an_answered_run_is_what_was_cut():
    """In a run with an answer only the work of nodes that were cut is waste."""
    pipeline = Pipeline(
        "p", [Stage("s", [node("a")]), Stage("t", [node("b")], critical=False)], timeout="50ms"
    )
    now = make_plan(pipeline, NOTHING, assume={"a": 0.02, "b": 9}, runs=20).now
    assert (now.completion, now.degraded) == (1.0, 1.0)
    assert (now.waste, now.waste_share) == pytest.approx((0.03, 0.6))


def test_limits_can_be_tried():
    """Limits of the call, of stages and of nodes take the place of those in the definition."""
    pipeline = Pipeline("p", [Stage("s", [node("a", timeout="5ms")], timeout="6ms")], timeout="7ms")

    def tried(**limits):
        now = make_plan(pipeline, NOTHING, assume={"a": "10ms"}, runs=5, **limits).now
        return [blame.level for blame in now.blames], [part.limit for part in now.parts], now.limit

    assert tried() == (["node"], [0.006, 0.005], 0.007)
    assert tried(nodes={"a": "20ms"}) == (["stage"], [0.006, 0.02], 0.007)
    raised = {"nodes": {"s.a": "20ms"}, "stages": {"s": "20ms"}}
    assert tried(**raised) == (["pipeline"], [0.02, 0.02], 0.007)
    assert tried(**raised, timeout="20ms") == ([], [0.02, 0.02], 0.02)
    assert tried(timeout=0) == (["pipeline"], [0.006, 0.005], 0.0)


def test_a_run_without_limits_may_never_end(recorded):
    """Where nothing limits a call that hangs, the run never ends, and its waste is not counted."""
    pipeline = chain("a", "b")
    store = recorded(pipeline, {"a": [0.01] * 9 + [-0.02], "b": [0.01] * 20})
    plan = make_plan(pipeline, store, runs=500)
    never = plan.now.statuses["never_ends"]
    assert never == pytest.approx(50, abs=20)
    assert plan.now.completion == (500 - never) / 500
    assert (plan.now.p50, plan.now.p99, plan.now.waste) == (pytest.approx(0.02), None, 0.0)
    assert plan.now.blames == ()
    assert "the pipeline has no limit: a run with a call that hangs never ends" in plan.notes
    assert plan.recommended.projection.limit < 0.1


def test_a_limit_of_nothing_is_one():
    """A pipeline whose own limit is 0 has no time, and is not one without a limit."""
    now = make_plan(chain("a", timeout=0), NOTHING, assume={"a": 0.01}, runs=5).now
    assert (now.limit, now.completion, now.statuses) == (0.0, 0.0, {"timed_out": 5})


def test_a_soft_part_that_hangs_without_limits_never_ends():
    """An answer that has to wait for ever for what it could do without is none."""
    pipeline = Pipeline("p", [Stage("s", [node("a")]), Stage("t", [node("b")], critical=False)])
    now = make_plan(pipeline, NOTHING, assume={"a": 0.01, "b": math.inf}, runs=5).now
    assert (now.completion, now.degraded, now.statuses) == (0.0, 0.0, {"never_ends": 5})


def test_a_long_limit_is_no_end_of_time():
    """A run that a limit far beyond all durations cuts has timed out."""
    now = make_plan(chain("a"), NOTHING, timeout="1h", assume={"a": math.inf}, runs=5).now
    assert (now.statuses, now.p50) == ({"timed_out": 5}, 3600.0)


def limits_of(projection):
    """The limits of a projection as arguments of `make_plan`."""
    fixed = [part for part in projection.parts if part.limit is not None]
    return {
        "timeout": projection.limit,
        "stages": {part.stage: part.limit for part in fixed if not part.node},
        "nodes": {f"{part.stage}.{part.node}": part.limit for part in fixed if part.node},
    }


SLOW_AND_SOFT = {
    "a": SAMPLES["c"],
    "soft": [0.02, 0.03, 0.04] * 6 + [-0.5] * 2,
    "last": [0.01, 0.02, 0.02, 0.03] * 5,
}


def soft_in_between(**options):
    return Pipeline(
        "p",
        [
            Stage("s", [node("a")]),
            Stage("t", [node("soft")], critical=False),
            Stage("u", [node("last")]),
        ],
        **options,
    )


def test_what_is_recommended_is_measured(recorded):
    """Replayed as limits of one's own, the recommended ones come to just what was said of them."""
    pipeline = soft_in_between(timeout="100ms")
    store = recorded(pipeline, SLOW_AND_SOFT)
    said = make_plan(pipeline, store, runs=300, target=0.85).recommended.projection
    assert make_plan(pipeline, store, runs=300, **limits_of(said)).now == said


def test_the_target_is_reached_with_a_shortest_limit(recorded):
    """The recommended limit reaches the target, and one that is 3 % shorter does not."""
    pipeline = chain("a", "b", timeout="1s")
    durations = {name: [abs(one) for one in SAMPLES[name]] for name in "ab"}
    store = recorded(pipeline, durations)
    wanted = make_plan(pipeline, store, runs=RUNS, target=0.9).recommended
    assert wanted.reached
    assert 0.9 <= wanted.projection.completion < 0.905
    shorter = foresee(pipeline, store, timeout=0.97 * wanted.projection.limit)
    assert shorter.completion < 0.9


def test_a_target_out_of_reach_is_said(recorded):
    """Where critical calls hang more often, no limit reaches the target: by whom, and how far."""
    pipeline = chain("a", "b", timeout="1s")
    store = recorded(pipeline, {"a": [0.01] * 18 + [-0.1] * 2, "b": [0.01] * 20})
    wanted = make_plan(pipeline, store, runs=1000).recommended
    assert (wanted.reached, wanted.stopped_by) == (False, ("s.a",))
    assert wanted.reachable == pytest.approx(0.9, abs=0.03)
    assert wanted.projection.completion == pytest.approx(wanted.reachable, abs=0.002)


@pytest.mark.parametrize("limit", ["1s", None])
def test_nothing_reaches_what_always_hangs(limit):
    """Where no run can have an answer the limits stay as they are, and what hangs is named."""
    pipeline = chain("a", "b", timeout=limit)
    plan = make_plan(pipeline, NOTHING, assume={"a": 0.01, "b": math.inf}, runs=5)
    wanted = plan.recommended
    assert (wanted.reached, wanted.reachable, wanted.kept) == (False, 0.0, True)
    assert wanted.stopped_by == ("s.b",)
    assert wanted.projection == plan.now


def test_where_most_calls_hang_the_limit_is_that_of_the_others(recorded):
    """Out of reach is no reason to wait: the limit is the shortest that reaches what can be."""
    pipeline = chain("a", "b", timeout="60s")
    store = recorded(pipeline, {"a": [0.1] + [-4.0] * 19, "b": [0.01] * 20})
    plan = make_plan(pipeline, store, runs=1000)
    wanted = plan.recommended
    assert (wanted.reached, wanted.kept, wanted.stopped_by) == (False, False, ("s.a",))
    assert wanted.projection.limit == pytest.approx(0.111)
    assert wanted.projection.completion == wanted.reachable == plan.now.completion > 0


@pytest.mark.parametrize(("usual", "limit"), [(0.01, 0.0101), (0.0, 0.101)])
@pytest.mark.parametrize("inside", [True, False])
def test_a_soft_part_that_always_hangs_is_limited(inside, usual, limit):
    """What others could do without holds none of them for ever, limited before or not."""
    soft = node("soft", critical=not inside)
    pipeline = Pipeline(
        "p", [Stage("s", [node("a")]), Stage("t", [soft], critical=inside), Stage("u", [node("c")])]
    )
    assume = {"a": usual, "soft": math.inf, "c": usual}
    wanted = make_plan(pipeline, NOTHING, assume=assume, runs=5).recommended
    assert (wanted.reached, wanted.stopped_by) == (True, ())
    assert wanted.projection.completion == 1.0
    assert [part.limit for part in wanted.projection.parts if part.limit] == [limit]


def test_a_limit_that_answers_need_is_not_left_out(recorded):
    """Where a set of limits leads to fewer answers than those as they are, it starts with these."""
    pipeline = Pipeline(
        "p",
        [
            Stage("a", [node("a")]),
            Stage("soft", [node("soft", timeout="50ms")], critical=False),
            Stage("c", [node("c")]),
        ],
        timeout="1s",
    )
    durations = {"a": [0.01] + [-4.0] * 9, "soft": [0.02] * 255 + [-2.0], "c": [0.01]}
    # With this seed the rare call that hangs meets one of the few runs that go so far.
    plan = make_plan(pipeline, recorded(pipeline, durations), runs=1000, seed=1)
    wanted = plan.recommended
    assert (wanted.reached, wanted.kept) == (False, False)
    assert wanted.projection.completion == plan.now.completion > 0
    assert limits_of(wanted.projection)["nodes"]["soft.soft"] == 0.05
    assert wanted.projection.limit < 0.05


def test_a_recommended_limit_is_longer_than_what_takes_so_long(recorded):
    """Durations of three digits or less are not cut by the limits that are made of them."""
    pipeline = chain("a", "b", timeout="60s")
    store = recorded(pipeline, {"a": [3.0] * 45 + [-4.0] * 5, "b": [1.0] * 50})
    wanted = make_plan(pipeline, store, runs=500).recommended
    assert limits_of(wanted.projection) == {"timeout": 4.01, "stages": {}, "nodes": {"s.a": 3.01}}
    assert wanted.projection.completion == wanted.reachable


def test_a_soft_part_is_limited_though_another_never_ends(recorded):
    """What hangs at the end, where nobody waits for it, hides nothing of what hangs before."""
    pipeline = Pipeline(
        "p",
        [
            Stage("s", [node("soft")], critical=False),
            Stage("t", [node("a")]),
            Stage("u", [node("last")], critical=False),
        ],
    )
    store = recorded(pipeline, {"soft": [0.02] * 20 + [-2.0] * 10, "a": [0.01], "last": [-1.0]})
    wanted = make_plan(pipeline, store, runs=300).recommended
    assert wanted.reached
    assert limits_of(wanted.projection)["stages"] == {"s": pytest.approx(0.0201)}


@pytest.mark.parametrize("limit", [None, "90ms"])
@pytest.mark.parametrize("inner", [None, "30ms"])
def test_blame_and_no_end_are_all_runs_without_an_answer(recorded, limit, inner):
    """With any limits, the shares of blame and of runs that never end add up to what is missing."""
    pipeline = chain("a", "b", "c", timeout=limit)
    tried = {} if inner is None else {"nodes": {"a": inner}}
    plan = make_plan(pipeline, recorded(pipeline, SAMPLES), runs=200, **tried)
    for one in (plan.now, plan.recommended.projection):
        endless = one.statuses.get("never_ends", 0)
        assert sum(blame.count for blame in one.blames) + endless == round(
            (1 - one.completion) * 200
        )
    assert "never_ends" not in plan.recommended.projection.statuses


def test_a_soft_part_in_the_way_is_limited(recorded):
    """A non-critical part that hangs before others is limited: more runs are answered."""
    pipeline = soft_in_between(timeout="200ms")
    store = recorded(pipeline, {**SLOW_AND_SOFT, "a": [0.02, 0.03] * 10})
    plan = make_plan(pipeline, store, runs=400)
    limits = {part.stage: part.limit for part in plan.recommended.projection.parts if not part.node}
    assert limits["s"] is limits["u"] is None
    assert 0.04 <= limits["t"] < 0.05
    assert plan.now.completion == pytest.approx(0.9, abs=0.03)
    assert plan.recommended.reached
    assert plan.recommended.projection.completion >= 0.99


def test_a_soft_node_in_the_way_is_limited(recorded):
    """A single non-critical node is limited by itself, and its siblings are not."""
    pipeline = Pipeline(
        "p", [Stage("s", [node("a"), node("soft", critical=False)]), Stage("t", [node("last")])]
    )
    store = recorded(pipeline, {**SLOW_AND_SOFT, "a": [0.02, 0.03] * 10})
    wanted = make_plan(pipeline, store, runs=400).recommended
    assert list(limits_of(wanted.projection)["nodes"]) == ["s.soft"]
    assert wanted.reached


def test_a_soft_part_at_the_end_needs_no_limit(recorded):
    """What nobody waits for is left to the pipeline's limit."""
    pipeline = Pipeline(
        "p", [Stage("s", [node("a")]), Stage("t", [node("soft")], critical=False)], timeout="1s"
    )
    store = recorded(pipeline, {**SLOW_AND_SOFT, "a": [0.02, 0.03] * 10})
    said = make_plan(pipeline, store, runs=500).recommended.projection
    assert limits_of(said) == {"timeout": said.limit, "stages": {}, "nodes": {}}


def test_lost_runs_stop_sooner(recorded):
    """A critical node that hangs early is limited: hardly an answer less, and much less waste."""
    pipeline = chain("a", "b", timeout="1s")
    store = recorded(
        pipeline, {"a": [0.02] * 45 + [-0.1] * 5, "b": [0.1, 0.11, 0.12, 0.13, 0.14] * 10}
    )
    said = make_plan(pipeline, store, runs=RUNS).recommended.projection
    alone = foresee(pipeline, store, timeout=said.limit)
    assert limits_of(said)["nodes"] == {"s.a": pytest.approx(0.02, abs=0.0002)}
    assert said.completion >= alone.completion - 0.001
    assert said.waste < 0.3 * alone.waste


def test_a_stage_that_must_begin_gets_to_begin():
    """A critical stage of non-critical nodes needs no end, and the limit is one at which it begins."""
    pipeline = Pipeline(
        "p",
        [
            Stage("s", [node("a")]),
            Stage("t", [node("b")], critical=False),
            Stage("u", [node("c", critical=False)]),
        ],
    )
    assume = {"a": 0.02, "b": 0.01, "c": math.inf}
    wanted = make_plan(pipeline, NOTHING, assume=assume, runs=5).recommended
    assert wanted.reached
    assert wanted.projection.completion == 1.0
    assert 0.03 < wanted.projection.limit < 0.031


def test_a_run_that_is_freed_of_its_limit_has_no_end():
    """Tried without the limit that it has, with a reserve, a run whose call hangs never ends."""
    pipeline = chain("a", timeout="5s", reserve="3s")
    now = make_plan(pipeline, NOTHING, timeout=math.inf, assume={"a": math.inf}, runs=5).now
    assert now.statuses == {"never_ends": 5}


def test_a_reserve_is_added_to_the_limit(recorded):
    """Where the pipeline keeps a reserve for cleanup, the limit leaves room for it."""
    durations = {"a": [abs(one) for one in SAMPLES["a"]]}
    plain, kept = chain("a", timeout="1s"), chain("a", timeout="1s", reserve="100ms")
    one, other = (
        make_plan(pipeline, recorded(pipeline, durations), runs=500, target=0.9).recommended
        for pipeline in (plain, kept)
    )
    assert other.reached
    assert other.projection.limit == pytest.approx(one.projection.limit + 0.1, abs=0.001)
    assert other.projection.completion >= 0.9


@pytest.mark.parametrize("budget", ["remaining", "reserve"])
def test_shared_time_is_shared_in_a_replay(recorded, budget):
    """Where a pipeline shares its time, limits of critical nodes cut nothing and stay as they are."""
    pipeline = Pipeline(
        "p",
        [
            Stage("s", [node("a", timeout="10ms")]),
            Stage("t", [node("soft", timeout="15ms")], critical=False),
            Stage("u", [node("last")]),
        ],
        timeout="200ms",
        budget=budget,
    )
    a = [0.02, 0.03] * 27 + [-0.3] * 6
    plan = make_plan(pipeline, recorded(pipeline, {**SLOW_AND_SOFT, "a": a}), runs=300, target=0.8)
    assert {blame.name for blame in plan.now.blames} == {"p" if budget == "remaining" else "a"}
    assert 0.8 < plan.now.completion < 1.0
    now, then = (
        {part.node: part.limit for part in one.parts}
        for one in (plan.now, plan.recommended.projection)
    )
    assert now["soft"] == 0.015
    assert then["a"] == 0.01
    assert then["last"] is None
    assert plan.recommended.reached
    assert plan.recommended.projection.completion >= 0.8


def test_learned_limits_learn_on_and_write_nothing(recorded):
    """A learned limit starts with what is known and goes on by itself; the store stays as it was."""
    learned = Adaptive(initial=1.0, ceiling=2.0)
    pipeline = Pipeline("p", [Stage("s", [node("a", timeout=learned)])])
    store = recorded(pipeline, {"a": [0.02, 0.03, 0.04] * 20 + [-1.0]})
    key = Key("default", "p", "s", "a", "node")
    before = store.load(key)
    now = make_plan(pipeline, store, runs=300).now
    part = now.parts[1]
    assert (part.learned, part.limit) == (True, 2.0)
    assert 0 < part.cut < 0.1
    assert now.p99 < 1.0
    assert store.load(key) == before
    assert store.keys() == [key]


def test_few_samples_and_assumptions_are_told(recorded):
    """What the numbers rest on is said where that is little."""
    pipeline = chain("a", "b", "c", timeout="1s")
    store = recorded(pipeline, {"a": [0.01] * 19, "b": [0.01] * 20})
    plan = make_plan(pipeline, store, assume={"c": "1ms"}, runs=5)
    assert plan.notes == (
        "fewer than 20 samples: s.a (19); take the numbers for a hint",
        "assumed, not recorded: s.c",
    )


def test_the_lane_decides_whose_durations_count(recorded):
    """Durations are those of the lane that is asked for."""
    pipeline = chain("a", timeout="50ms")
    store = recorded(pipeline, {"a": [0.01]}, lane="fast")
    assert make_plan(pipeline, store, lane="fast", runs=5).now.completion == 1.0


def test_the_lane_is_by_default_that_of_an_engine(recorded, monkeypatch):
    """What an engine recorded that names no lane is found without naming one."""
    pipeline = chain("a", timeout="50ms")
    store = recorded(pipeline, {"a": [0.01]}, lane="blue")
    monkeypatch.setenv("GRACELINE_LANE", "blue")
    plan = make_plan(pipeline, store, runs=5)
    assert (plan.lane, plan.now.completion) == ("blue", 1.0)
    assert read_durations(pipeline, store)["s", "a"].samples == 1


def test_progress_is_told():
    """Whoever watches hears of each replay from 0 to its number of runs."""
    heard = []
    make_plan(
        chain("a", timeout="1s"),
        NOTHING,
        assume={"a": 0.01},
        runs=150,
        watch=lambda *said: heard.append(said),
    )
    assert heard[:3] == [("as it is", 0, 150), ("as it is", 100, 150), ("as it is", 150, 150)]
    assert heard[-1][1:] == (150, 150)


def test_a_plan_is_plain_json():
    """The document of a plan has the names of its attributes, and no infinity."""
    document = make_plan(chain("a"), NOTHING, assume={"a": 0.01}, runs=5).to_dict()
    assert document["now"]["limit"] is None
    assert document["nodes"][0]["node"] == "a"
    assert document["recommended"]["projection"]["statuses"] == {"ok": 5}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"runs": 0}, "runs: 0 is no whole number of at least 1"),
        ({"runs": 1.5}, "runs: 1.5 is no whole number"),
        ({"target": 0}, "target: 0 is no share above 0 and at most 1"),
        ({"target": 99}, "target: 99 is no share"),
        ({"stages": {"t": 1}}, "stages: no stage is called 't'"),
        ({"nodes": {"x": 1}}, "nodes: no node is called 'x'"),
        ({"nodes": {"a": "x"}}, "nodes a: 'x' is not a duration"),
        ({"timeout": "x"}, "timeout: 'x' is not a duration"),
    ],
)
def test_bad_arguments(wrong, message):
    """What is wrong is named before anything is replayed."""
    with pytest.raises(DefinitionError, match=message):
        make_plan(chain("a"), NOTHING, assume={"a": 0.01}, **wrong)


def test_only_a_pipeline_is_planned():
    """Anything but a pipeline is refused by name."""
    with pytest.raises(DefinitionError, match=r"make_plan\(\): "):
        make_plan(PipelineResult, NOTHING)


def test_only_a_store_has_durations():
    """The path of a file is no store; what would be right is said."""
    with pytest.raises(DefinitionError, match=r"make_plan\(\): .* SqliteStore\(.*, not 'own\.db'"):
        make_plan(chain("a"), "own.db")


async def test_a_plan_is_made_outside_of_the_event_loop(autojump_clock):
    """Called under Trio, it says where it can be called."""
    with pytest.raises(GracelineError, match=r"does not work within trio\.run\(\)"):
        make_plan(chain("a"), NOTHING, assume={"a": 0.01})


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"retry": Retry()}, "pipeline 'p' states retry="),
        ({"attempt_timeout": 1}, "pipeline 'p' states attempt_timeout="),
        ({"breaker": Breaker()}, "pipeline 'p' states breaker="),
        ({"limit": 5}, "pipeline 'p' states limit="),
    ],
)
def test_policies_are_not_replayed(options, place):
    """What a replay would apply to the sum of all attempts is refused by name."""
    inner = [Node(abs, name="a")]
    with pytest.raises(DefinitionError, match=f"{place}, which cannot be replayed: durations"):
        make_plan(Pipeline("p", inner, **options), NOTHING, assume={"a": 0.01})
    with pytest.raises(DefinitionError, match="stage 's' states"):
        make_plan(Pipeline("p", [Stage("s", inner, **options)]), NOTHING, assume={"a": 0.01})


def test_choices_are_not_replayed():
    """What is recorded of a choice is the sum of what was tried, so it is refused by name."""
    pipeline = Pipeline("p", [choose(abs, str, name="pick")])
    with pytest.raises(DefinitionError, match="node 'pick' is a choice, which cannot be replayed"):
        make_plan(pipeline, NOTHING, assume={"pick": 0.01})
