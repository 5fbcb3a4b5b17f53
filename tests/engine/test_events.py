"""The events of a run: complete, in order, and without payload."""

import attrs
import pytest
import trio
import trio.testing

from graceline import Node, Pipeline, Retry, Stage, open_engine, parallel, sequence
from graceline.telemetry import events


class Record:
    """A sink that keeps events."""

    inline = True

    def __init__(self, *, trace=True):
        self.events = []
        self.trace = trace

    def wants_trace(self):
        return self.trace

    def __call__(self, event):
        self.events.append(event)

    def names(self):
        return [type(event).__name__ for event in self.events]


async def add(value):
    await trio.sleep(1)
    return value + 1


async def fail(_):
    raise ValueError("secret")


async def test_trace_of_a_run(autojump_clock, engine):
    """A sink that wants a trace hears of every start and end, in order."""
    record = Record()
    remove = engine.subscribe(record)
    await engine.run(Pipeline("p", [Stage("s", sequence(add, Node(add, name="b")))]), 1)
    remove()
    await engine.run(Pipeline("q", [add]), 1)
    assert record.names() == [
        "RunStarted",
        "StageStarted",
        "NodeStarted",
        "NodeFinished",
        "NodeStarted",
        "NodeFinished",
        "StageFinished",
        "RunFinished",
    ]
    finished = record.events[3]
    assert (finished.node, finished.status, finished.elapsed) == ("add", "ok", pytest.approx(1))


async def test_without_a_trace_only_trouble_is_told(autojump_clock, engine):
    """A sink that wants no trace hears nothing of what ends well, and all of what does not."""
    record = Record(trace=False)
    engine.subscribe(record)
    await engine.run(Pipeline("p", [add]), 1)
    assert record.names() == []
    await engine.run(Pipeline("p", parallel(fail, add)), 1)
    assert record.names() == ["NodeFinished", "NodeFinished", "StageFinished", "RunFinished"]


async def test_values_are_the_same_with_and_without_a_trace(autojump_clock, engine):
    """Watching a run does not change its result."""
    pipeline = Pipeline("p", [Stage("s", sequence(add, parallel(add_named("l"), add_named("r"))))])
    plain = await engine.run(pipeline, 1, run_id="same")
    engine.subscribe(Record())
    traced = await engine.run(pipeline, 1, run_id="same")
    assert traced.value == plain.value
    assert set(traced.completed) == set(plain.completed)
    assert traced.stages.keys() == plain.stages.keys()


def add_named(name):
    return Node(add, name=name)


async def test_events_of_one_run(autojump_clock, engine):
    """`run.events()` gives the events of that run only, and ends with it."""
    run = engine.start(Pipeline("p", [add]), 1)
    other = engine.start(Pipeline("q", [add]), 1)
    names = [type(event).__name__ async for event in run.events()]
    assert names[0] == "RunStarted"
    assert names[-1] == "RunFinished"
    assert len(names) == 6
    await other.wait()
    assert [event async for event in run.events()] == []


async def test_reader_of_events_may_leave(autojump_clock, engine):
    """A reader that stops early does not disturb the run."""
    run = engine.start(Pipeline("p", sequence(add, add_named("b"))), 1)
    async with run.events() as channel:
        async for _ in channel:
            break
    assert (await run.wait()).value == 3


async def test_a_broken_sink_disturbs_nothing(autojump_clock, caplog):
    """A sink that raises is logged once, and the run goes on."""

    class Broken(Record):
        def __call__(self, event):
            raise RuntimeError("sink")

    async with open_engine(sinks=[Broken()]) as engine:
        for _ in range(2):
            result = await engine.run(Pipeline("p", [Stage("s", [fail])]))
            assert result.status == "failed"
    assert [r.name for r in caplog.records].count("graceline.telemetry") == 1


async def test_no_payload_in_events_or_logs(autojump_clock, engine, caplog):
    """Inputs, values and error texts appear in no event and in no log record."""
    caplog.set_level("DEBUG")
    record = Record()
    engine.subscribe(record)
    await engine.run(Pipeline("p", [Stage("s", parallel(fail, add))]), "secret")
    assert "secret" not in repr(record.events)
    assert "secret" not in caplog.text


async def test_cancel_request_is_an_event(autojump_clock, engine):
    """A cancel through the engine is told at once, with its blame."""
    record = Record(trace=False)
    engine.subscribe(record)
    run = engine.start(Pipeline("p", [trio.sleep]), 9)
    await trio.sleep(1)
    run.cancel("why")
    assert [e.blame.message for e in record.events] == ["why"]
    await run.wait()
    assert isinstance(record.events[-1], events.RunFinished)


async def test_stats_count_every_outcome(autojump_clock, engine):
    """The aggregates count each node, stage and run once, whichever path it took."""
    good = Pipeline("p", [Stage("s", [add])])
    for _ in range(3):
        await engine.run(good, 1)
    await engine.run(good, 1, timeout=0.5)
    runs = engine.stats.pipeline("p")
    assert (runs.count("ok"), runs.count("timed_out")) == (3, 1)
    for key in (("p", "s", ""), ("p", "s", "add")):
        part = engine.stats.part(*key)
        assert (part["ok"].count, part["timed_out"].count) == (3, 1), key


async def test_events_that_begin_in_the_middle_of_a_node_hear_of_its_end(autojump_clock, engine):
    """Whoever asks for events while a node runs hears how that node ends."""
    run = engine.start(Pipeline("p", sequence(add, add_named("b"))), 1)
    await trio.sleep(0.5)
    names = [type(event).__name__ async for event in run.events()]
    assert names == ["NodeFinished", "NodeStarted", "NodeFinished", "StageFinished", "RunFinished"]


async def test_short_cuts_tell_the_same(autojump_clock, engine):
    """Parts that take the short way tell of themselves as those do that are looked at closely."""
    told = []
    for when in (None, lambda _: True):  # with a condition a part takes the long way
        nodes = sequence(Node(add, timeout=9, when=when), Node(add, name="b", when=when))
        record = Record()
        remove = engine.subscribe(record)
        await engine.run(Pipeline("p", [Stage("s", nodes, timeout=20, when=when)]), 1, run_id="r")
        remove()
        start = record.events[0].at
        told.append(
            [
                attrs.evolve(event, **{key: getattr(event, key) - start for key in at_of(event)})
                for event in record.events
            ]
        )
    short, long = told
    assert short == long
    assert len(short) == 8


def at_of(event):
    """The fields of an event that are instants of the clock."""
    return [key for key in ("at", "started", "fires_at") if hasattr(event, key)]


LONG = {
    "plain": Node(add, name="n"),
    "when": Node(add, name="n", when=lambda _: True),
    "skipped": Node(add, name="n", when=lambda _: False),
    "retry": Node(add, name="n", retry=Retry(attempts=2)),
    "cleanup": Node(add, name="n", on_cleanup=lambda _: None),
}
OF_PARTS = {"NodeStarted", "NodeFinished", "StageStarted", "StageFinished"}


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("traced", [True, False])
async def test_who_wants_no_trace_is_spared_that_of_others(autojump_clock, engine, kind, traced):
    """Whatever way a part ends well, and whether a sink or a follower wants to know, the rest hears no part of it."""
    wants, refuses = Record(trace=traced), Record(trace=False)
    engine.subscribe(refuses)
    engine.subscribe(wants)
    run = engine.start(Pipeline("p", [Stage("s", sequence(LONG[kind]), when=lambda _: True)]), 1)
    followed = run.events()
    assert (await run.wait()).status == "ok"
    names = [type(event).__name__ async for event in followed]
    assert {"NodeFinished", "StageStarted", "StageFinished"} <= set(names)
    assert names == (wants.names() if traced else names)
    assert refuses.names() == []


async def test_who_wants_no_trace_hears_of_trouble_in_that_of_others(autojump_clock, engine):
    """A part that fails is told to a sink that is spared those that end well."""
    wants, refuses = Record(), Record(trace=False)
    engine.subscribe(refuses)
    engine.subscribe(wants)
    await engine.run(Pipeline("p", sequence(add, fail)), 1)
    told = [event for event in refuses.events if type(event).__name__ in OF_PARTS]
    assert [(event.node, event.status) for event in told[:1]] == [("fail", "failed")]
    assert [type(event).__name__ for event in told] == ["NodeFinished", "StageFinished"]


async def test_a_sink_that_changes_its_mind_is_asked_for_each_run(autojump_clock, engine):
    """One that said no for a run is spared to its end; for the next run its new answer counts."""
    other, fickle = Record(), Record(trace=False)
    engine.subscribe(other)
    engine.subscribe(fickle)

    async def turn(value):
        fickle.trace = True
        return value

    pipeline = Pipeline("p", sequence(turn, Node(add, name="b")))
    await engine.run(pipeline, 1)
    assert OF_PARTS.isdisjoint(fickle.names())
    first, fickle.events = len(other.events), []
    await engine.run(pipeline, 1)
    assert fickle.names() == other.names()[first:]
