"""Learned limits in the engine: leases are taken at starts and settled by outcomes."""

import logging
import math
import random

import pytest
import trio
from trio.testing import MockClock

from graceline import Adaptive, DefinitionError, Node, Pipeline, Stage, open_engine, sequence
from graceline.adaptive import Key, MemoryStore, SqliteStore
from graceline.deadlines import Source
from graceline.telemetry import events

LEARNED = Adaptive(initial=1.0, ceiling=3.0)
KEY = Key("default", "p", "p", "work", "node")


class Service:
    """A node whose latency the test decides."""

    __name__ = "service"

    def __init__(self, seconds=0.05):
        self.seconds = seconds

    async def __call__(self, value):
        await trio.sleep(self.seconds() if callable(self.seconds) else self.seconds)
        return value


def pipeline_of(work, timeout=LEARNED, **options):
    return Pipeline("p", [Node(work, name="work", timeout=timeout)], **options)


def learner_of(engine, key=KEY):
    return engine._learning._learners._entries[key]


def samples_of(engine, key=KEY):
    """What was learned: durations, and whether they are censored."""
    history = learner_of(engine, key).history
    return [(round(duration, 6), censored) for _, duration, censored in history.samples()]


async def test_a_limit_follows_the_durations(autojump_clock, engine):
    """Calls of 50 ms bring a limit of a second down to a small multiple, and outcomes say so."""
    pipeline = pipeline_of(Service())
    for _ in range(60):
        result = await engine.run(pipeline)
    assert result.node("work").limit < 0.2
    assert result.node("work").source == "adaptive"


async def test_a_service_that_slows_down_recovers(autojump_clock, engine):
    """After a step to four times the latency at most ten calls are cut, the last within forty."""
    rng = random.Random(10007)  # noqa: S311 - latencies
    service = Service(lambda: 0.05 * rng.lognormvariate(0, 0.5))
    pipeline = pipeline_of(service)
    for _ in range(500):
        await engine.run(pipeline)
    service.seconds = lambda: 0.2 * rng.lognormvariate(0, 0.5)
    cuts = [(await engine.run(pipeline)).status != "ok" for _ in range(40)]
    assert 1 <= sum(cuts) <= 10
    assert not any(cuts[-20:])


async def test_hangs_stay_cheap(autojump_clock, engine):
    """With a tenth of the calls hanging, 99 of 100 calls waste less than 300 ms on a limit."""
    rng = random.Random(10003)  # noqa: S311 - latencies

    def latency():
        return math.inf if rng.random() < 0.1 else 0.05 * rng.lognormvariate(0, 0.5)

    service = Service(lambda: 0.05 * rng.lognormvariate(0, 0.5))
    pipeline = pipeline_of(service)
    for _ in range(500):
        await engine.run(pipeline)
    service.seconds = latency
    results = [await engine.run(pipeline) for _ in range(300)]
    wasted = sorted(0.0 if result.ok else result.elapsed for result in results)
    assert sum(not result.ok for result in results) > 15
    assert wasted[int(0.99 * len(wasted))] <= 0.3


async def test_little_more_is_cut_than_by_a_fitting_static_limit(autojump_clock, engine):
    """Where a static limit cuts nothing, the learned one cuts at most alpha and half a point."""
    rng = random.Random(10011)  # noqa: S311 - latencies
    service = Service(lambda: 0.05 * rng.lognormvariate(0, 0.5))
    pipeline, static = pipeline_of(service), Pipeline("q", [Node(service, name="n", timeout=1)])
    assert all([(await engine.run(static)).ok for _ in range(1500)])
    cut = sum([not (await engine.run(pipeline)).ok for _ in range(1500)])
    assert cut <= 0.015 * 1500


async def test_the_own_limit_teaches_a_cut(autojump_clock, engine):
    """A node that its learned limit cuts is censored at that limit, and blamed with its source."""
    heard = []
    engine.subscribe(heard.append, inline=True)
    result = await engine.run(pipeline_of(Service(9)))
    assert result.status == "timed_out"
    assert (result.blame.level, result.blame.limit, result.blame.source) == (
        "node", 1.0, Source.ADAPTIVE,
    )  # fmt: skip
    assert "exceeded its limit of 1s" in result.blame.message
    assert samples_of(engine) == [(1.0, True)]
    [ended] = [event for event in heard if isinstance(event, events.NodeFinished)]
    assert (ended.limit, ended.source) == (1.0, "adaptive")


@pytest.mark.parametrize(
    ("limit", "seconds"), [(0.5, 0.5), (1.0, 1.0)], ids=["below the learned one", "equal to it"]
)
async def test_a_limit_above_teaches_at_least_so_long(autojump_clock, engine, limit, seconds):
    """A node that its pipeline's limit ends is censored where that limit ended it."""
    result = await engine.run(pipeline_of(Service(9), timeout=LEARNED), timeout=limit)
    assert result.blame.level == "pipeline"
    assert samples_of(engine) == [(seconds, True)]


async def test_whoever_ends_a_call_teaches_no_more_than_how_long_it_took(autojump_clock, engine):
    """A user's cancel and an error say that a call would have taken longer; neither is a duration."""

    async def fails(_):
        await trio.sleep(0.3)
        raise ValueError

    run = engine.start(pipeline_of(Service(9)))
    await trio.sleep(0.25)
    run.cancel("enough")
    await run.wait()
    await engine.run(pipeline_of(fails))
    await engine.run(pipeline_of(Service(0.2)))
    assert samples_of(engine) == [(0.25, True), (0.3, True), (0.2, False)]


async def test_time_to_clean_up_is_not_learned(autojump_clock, engine):
    """A cancelled call is known up to its cancel: its cleanup is no part of the duration."""

    async def cleans(_):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)

    await engine.run(pipeline_of(cleans))
    assert samples_of(engine) == [(1.0, True)]


@pytest.mark.parametrize("strict", [False, True])
async def test_a_late_value_is_a_duration(autojump_clock, engine, strict):
    """A value that came after the limit teaches how long it really took, also with `strict`."""

    async def late(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(1.5)

    result = await engine.run(pipeline_of(late, strict=strict))
    assert result.node("work").status == ("timed_out" if strict else "late")
    assert samples_of(engine) == [(1.5, False)]


async def test_what_never_starts_teaches_nothing(autojump_clock, engine):
    """A node that is skipped or due after its pipeline's limit takes no lease."""
    node = Node(Service(), name="work", timeout=LEARNED, when=lambda _: False)
    assert (await engine.run(Pipeline("p", [node]))).node("work").status == "skipped"
    await engine.run(pipeline_of(Service()), timeout=0)
    assert KEY not in engine._learning._learners.keys()  # noqa: SIM118 - no mapping


async def test_stages_and_pipelines_learn_too(autojump_clock, engine):
    """Each level has a limit of its own under a key of its own."""
    pipeline = Pipeline(
        "p",
        [Stage("s", sequence(Service(0.1), Node(Service(0.2), name="b")), timeout=LEARNED)],
        timeout=Adaptive(initial=2.0, ceiling=5.0),
    )
    for _ in range(3):
        result = await engine.run(pipeline)
    assert (result.source, result.stages["s"].source) == ("adaptive", "adaptive")
    assert samples_of(engine, Key("default", "p", "s", "", "stage")) == [(0.3, False)] * 3
    assert samples_of(engine, Key("default", "p", "", "", "pipeline")) == [(0.3, False)] * 3


async def test_a_stage_is_cut_by_its_own_learned_limit(autojump_clock, engine):
    """A stage whose learned limit passes is to blame, and learns that it was cut."""
    pipeline = Pipeline("p", [Stage("s", [Service(9)], timeout=LEARNED)])
    result = await engine.run(pipeline)
    assert (result.blame.level, result.blame.source) == ("stage", "adaptive")
    assert samples_of(engine, Key("default", "p", "s", "", "stage")) == [(1.0, True)]


async def test_a_pipeline_is_cut_by_its_own_learned_limit(autojump_clock, engine):
    """A pipeline whose learned limit passes is to blame, and learns that it was cut."""
    pipeline = Pipeline("p", [Service(9)], timeout=LEARNED)
    result = await engine.run(pipeline)
    assert (result.status, result.blame.level) == ("timed_out", "pipeline")
    assert samples_of(engine, Key("default", "p", "", "", "pipeline")) == [(1.0, True)]


async def test_a_budget_shortens_a_learned_limit_and_is_not_learned(autojump_clock, engine):
    """What the requester has left counts if it is less; the cut it makes is not the learner's."""
    pipeline = Pipeline("p", [Service(9)], timeout=LEARNED)
    result = await engine.run(pipeline, budget=0.4)
    assert (result.blame.limit, result.blame.source) == (0.4, "header")
    result = await engine.run(pipeline, budget=2)
    assert (result.blame.limit, result.blame.source) == (1.0, "adaptive")
    key = Key("default", "p", "", "", "pipeline")
    assert samples_of(engine, key) == [(0.4, True), (1.0, True)]


async def test_a_call_limit_replaces_a_learned_one(autojump_clock, engine):
    """`timeout=` with the call counts alone."""
    result = await engine.run(Pipeline("p", [Service(9)], timeout=LEARNED), timeout=2)
    assert (result.blame.limit, result.blame.source) == (2, "call")


async def test_branches_learn(autojump_clock, engine):
    """Nodes that run at once have a lease each."""
    nodes = [Node(Service(0.1 * n), name=f"n{n}", timeout=LEARNED) for n in (1, 2)]
    await engine.run(Pipeline("p", [Stage("p", nodes)]))
    assert samples_of(engine, Key("default", "p", "p", "n1", "node")) == [(0.1, False)]
    assert samples_of(engine, Key("default", "p", "p", "n2", "node")) == [(0.2, False)]


async def test_observe_learns_and_publishes_without_applying(autojump_clock):
    """In `observe` outcomes show the limit that would apply, and what it would have cut."""
    service = Service()
    async with open_engine(mode="observe") as engine:
        pipeline = pipeline_of(service, fail_fast=True)
        for _ in range(60):
            result = await engine.run(pipeline)
        assert result.node("work").limit < 0.2
        service.seconds = 0.5
        result = await engine.run(pipeline)
    assert result.status == "ok"
    assert (result.would_time_out.level, result.would_time_out.source) == ("node", "adaptive")


async def test_off_does_not_learn(autojump_clock):
    """In `off` nothing is learned, and nothing is shown as learned."""
    async with open_engine(mode="off") as engine:
        for _ in range(60):
            result = await engine.run(pipeline_of(Service()))
        assert result.node("work").limit == 1.0
        assert engine._learning is None


async def test_lanes_learn_apart(autojump_clock):
    """The lane is part of the key, also in a store that several engines share."""
    store = MemoryStore()
    for lane in ("a", "b"):
        async with open_engine(lane=lane, history=store) as engine:
            await engine.run(pipeline_of(Service()))
    assert {key.lane for key in store.keys()} == {"a", "b"}  # noqa: SIM118


async def test_what_was_learned_outlives_the_engine(tmp_path):
    """An engine starts with what an earlier one has written into its store."""
    pipeline = pipeline_of(Service())

    async def session(calls):
        async with open_engine(history=store) as engine:
            for _ in range(calls):
                result = await engine.run(pipeline)
        return result.node("work").limit

    for calls, low, high in ((60, 0.05, 0.2), (1, 0.05, 0.2)):
        with SqliteStore(tmp_path / "history.db") as store:
            limit = await _in_virtual_time(session, calls)
        assert low < limit < high


async def test_more_keys_than_an_engine_holds_come_back(autojump_clock):
    """An engine that began with a store goes on with what it learned itself, though its learners left."""
    store = MemoryStore()
    pipelines = [pipeline_of(Service()), Pipeline("q", [Node(Service(), timeout=LEARNED)])]
    for _ in range(2):  # the second engine finds what the first one left
        async with open_engine(history=store) as engine:
            engine._learning._learners._most = 1
            for _ in range(20):
                results = [await engine.run(pipeline) for pipeline in pipelines]
            assert len(engine._learning._learners) == 1
    assert [len(store.load(key).history) for key in store.keys()] == [40, 40]  # noqa: SIM118
    assert results[0].node("work").limit < 0.2


async def test_logs_say_that_a_limit_was_learned(autojump_clock, engine, caplog):
    """The records of a run have the learned limit of each part, and its source."""
    caplog.set_level(logging.DEBUG, "graceline")
    await engine.run(pipeline_of(Service(9)))
    said = {record.event_type: record for record in caplog.records if hasattr(record, "source")}
    assert (said["node_timeout"].limit, said["node_timeout"].source) == (1.0, "adaptive")
    assert "node_timeout p.p.work, limit 1s (adaptive)" in caplog.text


async def _in_virtual_time(function, *args):
    """Run in a loop of its own: the store's threads need real time between the sessions."""
    return await trio.to_thread.run_sync(
        lambda: trio.run(function, *args, clock=MockClock(autojump_threshold=0.01))
    )


async def test_learned_in_real_time():
    """The same on the real clock, with bars that a busy machine only makes easier: few cuts where latencies fit, hangs far below the ceiling, an end of cuts after a step."""
    # What delays a call here raises the limits: it takes a stall in many calls to cut many.
    bounds = Adaptive(initial=0.5, ceiling=0.5)
    found = {}

    async def call(name, seconds, then):
        service = Service(seconds)
        pipeline = Pipeline(name, [Node(service, name="work", timeout=bounds)])
        before = [await engine.run(pipeline) for _ in range(60)]
        service.seconds = then
        found[name] = (before, [await engine.run(pipeline) for _ in range(40)])

    calls = iter(range(1000))
    async with open_engine() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(call, "slower", 0.005, 0.02)
        nursery.start_soon(call, "hangs", 0.005, lambda: 9 if next(calls) % 10 == 0 else 0.005)
    for before, _ in found.values():
        assert sum(not result.ok for result in before) <= 15
    assert found["slower"][0][-1].node("work").limit < 0.25
    assert any(result.ok for result in found["slower"][1][-20:])
    cut = sorted(result.node("work").limit for result in found["hangs"][1] if not result.ok)
    assert len(cut) >= 4
    assert cut[len(cut) // 2] < 0.25


async def test_a_pipeline_that_never_starts_teaches_no_duration(autojump_clock, engine):
    """A pipeline that is due before it starts has no duration: it would have taken longer."""
    pipeline = Pipeline("p", [Service()], timeout=LEARNED)
    result = await engine.run(pipeline, timeout=0)
    assert result.status == "timed_out"
    assert all(
        censored for _, censored in samples_of(engine, Key("default", "p", "", "", "pipeline"))
    )


async def test_a_when_that_raises_takes_no_lease(autojump_clock, engine):
    """A node that fails before its work began teaches nothing."""
    node = Node(Service(), name="work", timeout=LEARNED, when=lambda _: 1 / 0)
    assert (await engine.run(Pipeline("p", [node]))).status == "failed"
    assert KEY not in engine._learning._learners.keys()  # noqa: SIM118


async def test_a_history_must_be_a_store():
    """Anything else as `history=` is refused, with what would be right."""
    with pytest.raises(DefinitionError, match="history= takes a store such as SqliteStore"):
        async with open_engine(history="history.db"):
            pass
