import attrs
import pytest
import trio
from trio.testing import MockClock

from graceline import (
    Node,
    Pipeline,
    Source,
    Stage,
    Status,
    Timeouts,
    choose,
    cleanup,
    each,
    open_engine,
    parallel,
    save_partial,
)
from graceline.deadlines import Blame, Kind
from graceline.telemetry import events
from graceline.telemetry.hub import Sink
from graceline.telemetry.timeline import Timeline


def sleeper(name, seconds, cleaning=0.0, **options):
    async def work(value):
        save_partial(name)
        try:
            await trio.sleep(seconds)
        finally:
            with cleanup():
                await trio.sleep(cleaning)
        return name

    return Node(work, name=name, **options)


def observe(pipeline, **call):
    timeline = Timeline()

    async def main():
        async with open_engine(sinks=[timeline]) as engine:
            return await engine.run(pipeline, **call)

    return timeline, trio.run(main, clock=MockClock(autojump_threshold=0))


def by_name(timeline):
    return {(row.level, row.name): row for row in timeline.rows()}


def test_protocol():
    """A timeline is a sink that wants the trace."""
    assert isinstance(Timeline(), Sink)
    assert Timeline().wants_trace()


def test_good_run():
    """A good run has one row per stage and node, in the order of definition, with its times."""
    timeline, _ = observe(
        Pipeline("p", [Stage("s", [sleeper("a", 1)]), Stage("t", [sleeper("b", 2)])], timeout=10)
    )
    rows = timeline.rows()
    assert [(row.level, row.stage, row.name) for row in rows] == [
        ("stage", "s", "s"), ("node", "s", "a"), ("stage", "t", "t"), ("node", "t", "b"),
    ]  # fmt: skip
    last = rows[-1]
    assert (last.started, last.worked_until, last.ended) == pytest.approx((1, 3, 3))
    assert last.limit_at == pytest.approx(10)
    assert (last.status, last.blame, last.blamed, last.partial) == (Status.OK, None, False, False)
    assert timeline.pipeline.ended == pytest.approx(3)
    assert (timeline.pipeline.limit, timeline.pipeline.source) == (10, Source.PIPELINE)


def test_cleanup_part():
    """Work ends where it was cancelled, and what comes after it is the cleanup part."""
    timeline, _ = observe(Pipeline("p", [Stage("s", [sleeper("a", 9, 0.5)])], timeout=2, grace=1))
    row = by_name(timeline)["node", "a"]
    assert (row.started, row.worked_until, row.ended) == pytest.approx((0, 2, 2.5))
    assert row.grace_used == pytest.approx(0.5)
    assert row.partial


def test_reserve_moves_the_limit():
    """With a reserve, the limit instant is where the work is cancelled."""
    node = sleeper("a", 9, 0.5, timeout=2, reserve=0.5)
    timeline, _ = observe(Pipeline("p", [Stage("s", [node])], timeout=9))
    row = by_name(timeline)["node", "a"]
    assert row.limit_at == pytest.approx(1.5)
    assert row.limit == 2


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"node": 1}, ("node", "a")),
        ({"stage": 1}, ("stage", "s")),
        ({"pipeline": 1}, ("pipeline", "p")),
    ],
)
def test_blamed_level(limits, expected):
    """Exactly one row is the blamed level, the one that the result blames."""
    node = sleeper("a", 9, timeout=limits.get("node"))
    timeline, result = observe(
        Pipeline(
            "p",
            [Stage("s", [node], timeout=limits.get("stage"))],
            timeout=limits.get("pipeline", 8),
        )
    )
    blamed = [(row.level, row.name) for row in (timeline.pipeline, *timeline.rows()) if row.blamed]
    assert blamed == [expected] == [(result.blame.level, result.blame.name)]


def test_blamed_namesake():
    """Of two nodes of one name in different stages, only the one that is to blame is marked."""
    pipeline = Pipeline(
        "p",
        [
            Stage("s", [sleeper("a", 9, timeout=1)], critical=False),
            Stage("t", [sleeper("a", 9, timeout=2)]),
        ],
        timeout=20,
    )
    timeline, _ = observe(pipeline)
    assert [row.stage for row in timeline.rows() if row.blamed] == ["t"]


def test_blamed_item():
    """An item that is to blame marks the node that it belongs to."""

    async def work(seconds):
        await trio.sleep(seconds)

    loop = each(work, item_timeout=1, name="loop")
    timeline, result = observe(Pipeline("p", [Stage("s", [loop])], timeout=20), input=[0.5, 3])
    assert result.blame.level == "item"
    assert [row.name for row in timeline.rows() if row.blamed] == ["loop"]


@pytest.mark.parametrize("options", [{"timeout": 1}, {"attempt_timeout": 1}])
def test_blamed_alternative(options):
    """So does an alternative of a choice, and an attempt."""
    pick = choose(sleeper("a", 9, **options), sleeper("b", 9, **options), name="pick")
    timeline, result = observe(Pipeline("p", [Stage("s", [pick])], timeout=20))
    assert (result.blame.level, result.blame.name) == (
        "alternative" if "timeout" in options else "attempt",
        "pick.b",
    )
    assert [row.name for row in timeline.rows() if row.blamed] == ["pick"]


def test_never_started():
    """A part that never had a turn has a status and no times."""
    timeline, _ = observe(
        Pipeline("p", [Stage("s", [sleeper("a", 9)]), Stage("t", [sleeper("b", 1)])], timeout=2)
    )
    row = by_name(timeline)["node", "b"]
    assert row.status is Status.SKIPPED
    assert row.started is row.worked_until is row.ended is None


def test_rejected_run():
    """A run that never started has a pipeline row, and no parts were heard of."""
    timeline, _ = observe(Pipeline("p", [Stage("s", [sleeper("a", 1)])]), timeout=0)
    assert timeline.pipeline.status is Status.TIMED_OUT
    assert timeline.pipeline.blamed
    assert timeline.queued == 0


def test_degraded():
    """The degraded parts are those of the result."""
    soft = sleeper("a", 9, timeout=1, critical=False)
    timeline, result = observe(Pipeline("p", [Stage("s", [soft])], timeout=5))
    assert timeline.degraded == result.degraded == ("a",)
    assert not any(row.blamed for row in timeline.rows())


def test_late():
    """A late part keeps its whole time as work, and says by how much it overran."""

    async def stubborn(value):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    timeline, _ = observe(Pipeline("p", [Stage("s", [Node(stubborn, name="a")])], timeout=2))
    row = by_name(timeline)["node", "a"]
    assert row.status is Status.LATE
    assert row.worked_until == row.ended == pytest.approx(3)
    assert row.overrun == pytest.approx(1)


async def test_one_run_only(autojump_clock):
    """Without a run id the first run is kept; with one, that run."""
    first, second = Timeline(), Timeline("two")
    async with open_engine(sinks=[first, second]) as engine:
        pipeline = Pipeline("p", [Stage("s", [sleeper("a", 0.1)])], timeout=5)
        await engine.run(pipeline, run_id="one")
        await engine.run(pipeline, run_id="two")
    assert (first.run_id, second.run_id) == ("one", "two")
    assert first.pipeline.started == second.pipeline.started == 0
    assert second.rows()[0].started == pytest.approx(0)


async def test_one_that_comes_midway(autojump_clock):
    """A timeline that is subscribed midway has rows, once the run has ended, and times of what it heard start."""
    timeline = Timeline()
    nodes = parallel(sleeper("a", 3), sleeper("b", 1), sleeper("c", 2))
    async with open_engine(timeouts=Timeouts.none(), sinks=[Timeline()]) as engine:
        run = engine.start(Pipeline("p", [Stage("s", nodes), Stage("t", [sleeper("d", 1)])]))
        await trio.sleep(0.5)
        engine.subscribe(timeline)
        await trio.sleep(1)
        assert timeline.pipeline is None
        await run.wait()
    assert [row.name for row in timeline.rows()] == ["t", "d", "b", "c", "a", "s"]
    assert timeline.pipeline.ended == pytest.approx(4)
    rows = by_name(timeline)
    assert (rows["node", "a"].status, rows["node", "a"].started) == (Status.OK, None)
    assert rows["node", "d"].started == pytest.approx(3)


async def test_queued(autojump_clock):
    """Times count from the submission, so a queued run starts later than at 0."""
    timeline = Timeline("waits")
    pipeline = Pipeline("p", [Stage("s", [sleeper("a", 1)])], timeout=5)
    async with open_engine(max_concurrent_pipelines=1, sinks=[timeline]) as engine:
        engine.start(pipeline)
        await trio.sleep(0.25)
        engine.start(pipeline, run_id="waits")
    assert timeline.queued == pytest.approx(0.75)
    assert by_name(timeline)["node", "a"].started == pytest.approx(0.75)


async def test_cancelled_while_it_runs(autojump_clock):
    """After an explicit cancel, a part that goes on says when its work was cancelled."""
    timeline = Timeline()
    pipeline = Pipeline(
        "p", [Stage("s", [sleeper("a", 9, 1), sleeper("b", 1)])], timeout=20, grace=2
    )
    async with open_engine(sinks=[timeline]) as engine:
        run = engine.start(pipeline)
        await trio.sleep(2)
        assert by_name(timeline)["node", "a"].worked_until is None
        run.cancel("enough")
        await trio.sleep(0.25)
        rows = by_name(timeline)
        assert rows["node", "a"].worked_until == pytest.approx(2)
        assert rows["node", "b"].worked_until == pytest.approx(1)
        assert timeline.pipeline.worked_until == pytest.approx(2)
        assert timeline.pipeline.status is None


async def test_elapsed(autojump_clock):
    """An instant of the run's clock is turned into seconds since the submission."""
    timeline = Timeline()
    assert timeline.elapsed(trio.current_time()) == 0
    async with open_engine(sinks=[timeline]) as engine:
        begun = trio.current_time()
        engine.start(Pipeline("p", [Stage("s", [sleeper("a", 2)])], timeout=9))
        await trio.sleep(1)
        assert timeline.elapsed(trio.current_time()) == pytest.approx(1)
        assert timeline.elapsed(begun - 5) == 0


async def test_while_it_runs(autojump_clock):
    """Of a run that goes on, the rows say what has started and what has not."""
    timeline = Timeline()
    assert timeline.pipeline is None
    assert timeline.rows() == ()
    assert timeline.degraded == ()
    async with open_engine(sinks=[timeline]) as engine:
        engine.start(
            Pipeline("p", [Stage("s", [sleeper("a", 2)]), Stage("t", [sleeper("b", 1)])], timeout=9)
        )
        await trio.sleep(1)
        rows = by_name(timeline)
        assert rows["node", "a"].started == pytest.approx(0)
        assert rows["node", "a"].status is rows["node", "a"].ended is None
        assert rows["node", "b"].started is None
        assert timeline.pipeline.status is None


def test_abandoned_thread():
    """A node that left its worker thread behind says so, and no blame is invented for a run."""
    where = {"run_id": "r", "pipeline": "p", "lane": "default"}
    timeline = Timeline()
    timeline(
        events.RunStarted(
            at=1.0,
            queued=0.0,
            limit=None,
            source=None,
            fires_at=9.0,
            nodes=(("s", ("a",)),),
            **where,
        )
    )
    timeline(events.ThreadAbandoned(at=2.0, stage="s", node="a", abandoned=1, **where))
    timeline(
        events.CancelRequested(
            at=2.0, blame=Blame("pipeline", "p", Kind.USER, None, None, 1.0, "why"), **where
        )
    )
    row = by_name(timeline)["node", "a"]
    assert row.abandoned
    assert not row.blamed


def test_threads_that_end():
    """A row counts the threads of its node that were left behind and have not ended since."""
    run = {"run_id": "r", "pipeline": "p", "lane": "default"}
    timeline = Timeline()
    timeline(
        events.RunStarted(
            at=1.0, queued=0.0, limit=None, source=None, fires_at=9.0, nodes=(("s", ("a",)),), **run
        )
    )
    counts = []
    for event in (events.ThreadAbandoned, events.ThreadAbandoned, *[events.ThreadEnded] * 3):
        timeline(event(at=2.0, stage="s", node="a", abandoned=1, **run))
        row = by_name(timeline)["node", "a"]
        counts.append((row.abandoned, row.hanging))
    assert counts == [(True, 1), (True, 2), (True, 1), (True, 0), (True, 0)]


def test_rows_are_frozen():
    """Rows are data: they cannot be changed."""
    timeline, _ = observe(Pipeline("p", [Stage("s", [sleeper("a", 1)])], timeout=5))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        timeline.rows()[0].name = "other"
