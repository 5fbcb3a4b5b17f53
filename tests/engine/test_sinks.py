"""Sinks and the engine: one that raises, blocks or is slow changes no result and no deadline."""

import os
import re
import signal
import threading
from contextlib import nullcontext
from functools import partial
from itertools import count

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.to_thread import current_default_thread_limiter

from graceline import (
    BlockingEngine,
    Breaker,
    DefinitionError,
    Hedge,
    Node,
    Pipeline,
    Retry,
    Stage,
    Timeouts,
    open_engine,
    parallel,
    sequence,
)
from graceline.telemetry.events import RunFinished
from graceline.telemetry.hub import Hub
from graceline.testing.chaos import chaos
from graceline.virtual import order_within_an_instant, run_virtual

AGES = 60.0  # seconds of patience that no passing test uses up
NO_LIMITS = Timeouts(node=None, pipeline=None, grace=AGES)


class Sink:
    """Wants everything; what it does with an event is up to its kind."""

    def __init__(self):
        self.heard = []
        self.opened = threading.Event()

    def wants_trace(self):
        return True

    def wants_output(self):
        return True

    def __call__(self, event):
        self.heard.append(event)
        self.act()

    def act(self):
        """Nothing."""


class Raises(Sink):
    def act(self):
        raise ValueError("sink")


class Exits(Sink):
    def act(self):
        raise SystemExit


class Interrupts(Sink):
    def act(self):
        raise KeyboardInterrupt


class Blocks(Sink):
    def act(self):
        assert self.opened.wait(AGES)


class Spins(Sink):
    def act(self):
        sum(range(20_000))


class AsksOtherwise(Sink):
    """Raises when it is asked, too."""

    def wants_trace(self):
        raise ValueError("asked")

    def wants_output(self):
        raise SystemError

    def act(self):
        raise GeneratorExit


KINDS = [Raises, Exits, Interrupts, Blocks, Spins, AsksOtherwise]


class Work:
    """Sleeps for so long, or raises; `fails` says which calls do."""

    def __init__(self, seconds, fails):
        self.seconds, self.fails, self.calls = seconds, fails, count()

    async def __call__(self, value):
        await trio.sleep(self.seconds)
        if next(self.calls) in self.fails:
            raise ValueError("work")
        return value


@st.composite
def pipelines(draw):
    """Makers of pipelines: each call gives a fresh copy of one."""
    shapes = draw(
        st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), min_size=1, max_size=3)
    )
    fails = draw(st.sets(st.integers(0, 2)))
    limit = draw(st.sampled_from([None, 2.5, 5.5]))
    policies = draw(
        st.sampled_from(
            [
                {},
                {"retry": Retry(attempts=3, backoff=1)},
                {"breaker": Breaker(consecutive=1, name="b")},
                {"hedge": Hedge(delay=1), "idempotent": True},
                {"timeout": 1.5, "critical": False},
            ]
        )
    )
    wide = draw(st.booleans())

    def make():
        stages = []
        for index, shape in enumerate(shapes):
            nodes = [
                Node(Work(seconds, fails), name=f"n{place}", **policies)
                for place, seconds in enumerate(shape)
            ]
            stages.append(Stage(f"s{index}", parallel(*nodes) if wide else sequence(*nodes)))
        return Pipeline("p", stages, timeout=limit)

    return make


def story(make, sinks, seed, faults):
    """Everything that a caller sees of three runs, and when."""

    async def play():
        seen = []
        # A watchdog would wake the loop at instants of real time, which changes the order of tasks.
        async with open_engine(timeouts=NO_LIMITS, sinks=sinks, watchdog=None) as engine:
            pipeline = make()
            with chaos(engine, 0.3, seed=seed) if faults else nullcontext():
                for _ in range(3):
                    result = await engine.run(pipeline, 1, run_id="r")
                    document = result.to_dict()
                    seen.append((trio.current_time(), document))
            seen.append(engine.health().dropped_events)
            for sink in sinks:
                sink.opened.set()
        seen.append(trio.current_time())
        return seen

    with order_within_an_instant(seed):
        return run_virtual(play)


@settings(max_examples=60, deadline=None)
@given(
    make=pipelines(),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
    seed=st.integers(0, 99),
    faults=st.booleans(),
)
def test_sinks_change_nothing(make, kinds, seed, faults):
    """Statuses, values, blames, elapsed times and the end of the engine are those without sinks."""
    calm = story(make, [], seed, faults)
    sinks = [kind() for kind in kinds]
    assert story(make, sinks, seed, faults) == calm
    assert all(sink.heard for sink in sinks if type(sink) is not AsksOtherwise)


# -- the real clock -------------------------------------------------------------------------------


async def nothing(value):
    await trio.lowlevel.checkpoint()
    return value


async def fail(_):
    raise ValueError


class UntilTheEnd(Sink):
    """Blocks at its first event until the test has its result."""

    def act(self):
        assert self.opened.wait(AGES)


LIMITED = Pipeline("p", [Stage("s", sequence(nothing, Node(nothing, name="b")))], timeout=AGES / 2)


async def test_a_run_ends_in_time_while_its_sink_is_blocked():
    """The sink waits for the end of the run: called in the loop, it would have made it time out."""
    sink = UntilTheEnd()
    async with open_engine(timeouts=NO_LIMITS, sinks=[sink]) as engine:
        result = await engine.run(LIMITED, 1)
        sink.opened.set()
    assert (result.status, result.value) == ("ok", 1)
    assert isinstance(sink.heard[-1], RunFinished)


def test_a_blocking_engine_is_not_held_up_either():
    """A sink that is subscribed from outside of the loop has a thread of its own as well."""
    sink = UntilTheEnd()
    with BlockingEngine(timeouts=NO_LIMITS) as engine:
        engine.subscribe(sink)
        result = engine.run(LIMITED, 1)
        assert sink.heard in ([], sink.heard[:1])
        sink.opened.set()
    assert result.status == "ok"
    assert isinstance(sink.heard[-1], RunFinished)


def test_a_sink_in_the_loop_hears_at_once():
    """With `inline=True` the events are there when `run` returns."""
    heard = []
    with BlockingEngine(timeouts=NO_LIMITS) as engine:
        remove = engine.subscribe(heard.append, inline=True)
        engine.run(Pipeline("p", [fail]))
        assert isinstance(heard[-1], RunFinished)
        remove()


@pytest.fixture
def impatient(monkeypatch):
    """Engines that give up a sink after the grace period, however short that is."""
    monkeypatch.setattr("graceline.engine.opening._LEAST_PATIENCE", 0.01)


@pytest.mark.parametrize("grace", [0, 0.05])
async def test_the_engine_ends_although_a_sink_does_not(grace, impatient, caplog):
    """Its grace period bounds the wait; the log says how much was not delivered."""
    sink = UntilTheEnd()
    async with open_engine(timeouts=Timeouts(grace=grace), sinks=[sink]) as engine:
        await engine.run(LIMITED, 1)
    (record,) = [r for r in caplog.records if r.name == "graceline.telemetry"]
    assert (record.event_type, record.events) == ("events_undelivered", 8)
    sink.opened.set()


async def test_what_is_due_is_delivered_before_the_engine_has_ended():
    """A fast sink has everything when the block is left, also if an exception leaves it."""
    heard = []
    with pytest.raises(LookupError):
        async with open_engine(timeouts=NO_LIMITS, sinks=[heard.append]) as engine:
            for _ in range(50):
                await engine.run(Pipeline("p", [fail]))
            raise LookupError
    assert [type(event) for event in heard].count(RunFinished) == 50


async def test_a_slow_sink_has_a_moment_at_the_end(monkeypatch):
    """However short the grace period is: what a run ends with is not lost for nothing."""
    monkeypatch.setattr("graceline.engine.opening._LEAST_PATIENCE", AGES)

    class Slow(Sink):
        def act(self):
            self.opened.wait(0.01)

    sink = Slow()
    async with open_engine(timeouts=Timeouts(grace=0), sinks=[sink]) as engine:
        await engine.run(LIMITED, 1)
    assert isinstance(sink.heard[-1], RunFinished)


async def test_the_end_needs_no_thread_of_trios_own(impatient):
    """Threads of the program that hang and hold the whole default limiter hold up no end."""
    hang, limiter, ended_first = threading.Event(), current_default_thread_limiter(), []
    tokens, limiter.total_tokens = limiter.total_tokens, 1
    sink = UntilTheEnd()

    async def end():
        async with open_engine(timeouts=Timeouts(grace=0.05), sinks=[sink]) as engine:
            await engine.run(LIMITED, 1)
        hang.set()

    async def hold():
        ended_first.append(await trio.to_thread.run_sync(hang.wait, AGES))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold)
            await trio.testing.wait_all_tasks_blocked()
            assert not limiter.available_tokens
            nursery.start_soon(end)
    finally:
        limiter.total_tokens = tokens
        sink.opened.set()
    assert ended_first == [True]


def test_ctrl_c_ends_the_wait_for_a_sink(monkeypatch, caplog):
    """While the engine waits for a sink that hangs, an interrupt gets through at once."""
    waiting = threading.Event()
    wait = Hub.wait

    def noted(hub, seconds):
        waiting.set()
        wait(hub, seconds)

    class Impatient(UntilTheEnd):
        def act(self):
            if isinstance(self.heard[-1], RunFinished):
                assert waiting.wait(AGES)
                os.kill(os.getpid(), signal.SIGINT)
                super().act()

    sink = Impatient()

    async def main():
        async with open_engine(timeouts=Timeouts(grace=3600), sinks=[sink]) as engine:
            await engine.run(LIMITED, 1)

    monkeypatch.setattr(Hub, "wait", noted)
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # in the background it is ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            trio.run(main)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "events_undelivered" not in [getattr(r, "event_type", None) for r in caplog.records]
    sink.opened.set()


async def test_a_cancel_does_not_end_the_wait(autojump_clock):
    """A program that is cancelled still has what its sinks are due."""
    heard = []
    with trio.move_on_after(1) as scope:
        async with open_engine(timeouts=NO_LIMITS, sinks=[heard.append]) as engine:
            await engine.run(Pipeline("p", [trio.sleep]), 9)
    assert scope.cancelled_caught
    assert isinstance(heard[-1], RunFinished)


async def test_virtual_time_stands_still_while_the_engine_waits_for_a_sink(autojump_clock):
    """A sink that takes real time at the end costs no virtual time, whoever waits outside."""

    class Slow(Sink):
        def act(self):
            self.opened.wait(0.01)

    sink = Slow()
    with trio.fail_after(5):
        async with open_engine(timeouts=NO_LIMITS, sinks=[sink]) as engine:
            await engine.run(LIMITED, 1)
        assert trio.current_time() == autojump_clock.current_time() < 1
    assert isinstance(sink.heard[-1], RunFinished)


async def test_health_counts_what_a_slow_sink_lost(autojump_clock, monkeypatch):
    """`dropped_events` is the number of events for which its queue had no room."""
    monkeypatch.setattr("graceline.telemetry.courier.QUEUE_SIZE", 5)
    sink = UntilTheEnd()
    async with open_engine(timeouts=NO_LIMITS, sinks=[sink]) as engine:
        assert engine.health().dropped_events == 0
        await engine.run(LIMITED, 1)
        assert engine.health().dropped_events in (2, 3)  # whether the thread had taken one
        sink.opened.set()


async def hears_too_late(event):
    await trio.lowlevel.checkpoint()


class HearsTooLate:
    async def __call__(self, event):
        await trio.lowlevel.checkpoint()


NO_SINKS = [
    (None, "not None"),
    ("print", "not 'print'"),
    (object(), "can be called"),
    (Sink, "Sink is a class; a sink is an object of it: Sink(...)"),
    (hears_too_late, "is async, and nobody would await it"),
    (partial(hears_too_late), "is async"),
    (HearsTooLate(), "is async"),
    (HearsTooLate().__call__, "is async"),
]


@pytest.mark.parametrize(("sink", "says"), NO_SINKS)
async def test_what_can_be_no_sink_is_refused(sink, says):
    """Where it is given, with what would be right: it would never have heard anything."""
    says = re.escape(says)
    with pytest.raises(DefinitionError, match=f"sinks=: .*{says}"):
        async with open_engine(sinks=[print, sink]):
            pass
    async with open_engine() as engine:
        with pytest.raises(DefinitionError, match=rf"engine.subscribe\(\): .*{says}"):
            engine.subscribe(sink)


@pytest.mark.parametrize("sinks", [print, None, "print", "", 7, Raises()])
async def test_what_is_no_list_of_sinks_is_refused(sinks):
    """A single sink, too, which is easily given without the brackets."""
    with pytest.raises(DefinitionError, match=r"sinks= takes a list of sinks, such as \[Timel"):
        async with open_engine(sinks=sinks):
            pass


def test_a_blocking_engine_refuses_them_too():
    """When it is opened, and when one is subscribed."""
    with pytest.raises(DefinitionError, match="sinks= takes"), BlockingEngine(sinks=print):
        pass
    with BlockingEngine() as engine, pytest.raises(DefinitionError, match="not None"):
        engine.subscribe(None)
