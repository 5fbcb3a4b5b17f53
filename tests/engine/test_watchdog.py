"""Stuck nodes and a blocked event loop: what nobody can stop is at least reported."""

import gc
import logging
import math
import sys
import threading
import weakref
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from graceline import DefinitionError, Node, Pipeline, Watchdog, open_engine
from graceline.engine import watchdog
from graceline.engine.stacks import thread_stack
from graceline.engine.watchdog import Blocked
from graceline.telemetry import events


def stubborn(seconds):
    async def shielded_work(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)

    return shielded_work


class Heard(list):
    """A sink that keeps the events of one kind, and says when one came."""

    inline = True

    def __init__(self, kind):
        self.kind = kind
        self.came = trio.Event()

    def wants_trace(self):
        return False

    def __call__(self, event):
        if isinstance(event, self.kind):
            self.append(event)
            self.came.set()


def one(function, name="n", **options):
    return Pipeline("p", [Node(function, name=name, **options)], timeout=math.inf)


async def test_a_stuck_node_is_reported_once_with_its_stack(autojump_clock):
    """A node that goes on after its grace is reported at `hard` + margin, with the place where it waits."""
    stuck = Heard(events.NodeStuck)
    async with open_engine(sinks=[stuck], watchdog=Watchdog(stuck_after=1)) as engine:
        run = engine.start(one(stubborn(20), timeout=2, grace=0.5))
        await trio.sleep(3.4)
        assert stuck == []
        await trio.sleep(0.7)
        (event,) = stuck
        assert event.at == 4  # 1, 2, 3, 4: each second it looks, and the margin passed at 3.5
        assert (event.stage, event.node, event.hard_at) == ("p", "n", 2.5)
        assert "shielded_work" in event.stack[0]
        assert "await trio.sleep(seconds)" in event.stack[0]
        (found,) = engine.health().stuck_nodes
        assert (found.run_id, found.node, found.stack) == (run.run_id, "n", event.stack)
        assert not engine.health().ok
        result = await run.wait()
        assert result.elapsed == 20
        assert engine.health().stuck_nodes == ()
        assert engine.health().ok
    assert len(stuck) == 1


async def test_several_tasks_of_a_stuck_node_are_all_shown(autojump_clock):
    """If a stuck node has tasks of its own, the report shows where each of them waits."""

    async def crowd(_):
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 20, name="one")
                nursery.start_soon(trio.sleep, 20, name="two")

    stuck = Heard(events.NodeStuck)
    async with open_engine(sinks=[stuck]) as engine:
        await engine.run(one(crowd, timeout=1))
    (event,) = stuck
    headers = [line for line in event.stack if line.startswith("task ")]
    assert len(headers) == 3
    assert {"task one:", "task two:"} <= set(headers)


@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_what_ends_in_time_is_not_stuck(autojump_clock, mode):
    """Long work within its limit, cleanup within its grace, and modes that cut nothing: no report."""
    stuck = Heard(events.NodeStuck)
    async with open_engine(sinks=[stuck], mode=mode) as engine:
        await engine.run(one(trio.sleep, timeout=3600), 3000)
        await engine.run(one(trio.sleep, timeout=1), 20)
    assert stuck == []


async def test_the_watchdog_does_not_keep_virtual_time_busy(autojump_clock):
    """A run of ten days is looked at a few hundred times, not every second."""
    looks = 0

    class Count(trio.abc.Instrument):
        def before_task_step(self, task):
            nonlocal looks
            looks += task.name == "graceline watchdog"

    trio.lowlevel.add_instrument(Count())
    async with open_engine() as engine:
        await engine.run(one(trio.sleep, timeout=1e9), 864e3)
    assert 100 < looks < 500


async def test_a_long_run_does_not_hide_a_stuck_node(autojump_clock):
    """Beside a run that is days old, a stuck node is still reported within seconds."""
    stuck = Heard(events.NodeStuck)
    async with open_engine(sinks=[stuck], watchdog=Watchdog(stuck_after=1)) as engine:
        async with engine.deadline("service", None):
            await trio.sleep(864e3)
            start = trio.current_time()
            run = engine.start(one(stubborn(60), timeout=1, grace=1))
            await run.wait()
    (event,) = stuck
    assert event.at - start <= 4


class Input:
    """What a run is given; it can be seen to be gone."""


async def _sleep_forever(_):
    await trio.sleep_forever()


async def test_a_run_that_has_ended_is_let_go(autojump_clock):
    """An idle engine keeps nothing of the run at which its watchdog has looked last."""
    given = Input()
    alive = weakref.ref(given)
    async with open_engine(watchdog=Watchdog(stuck_after=1)) as engine:
        result = await engine.run(one(_sleep_forever), given, timeout=1.5)
        assert result.status == "timed_out"
        del given, result
        await trio.lowlevel.checkpoint()  # until then Trio has the cancel at hand, with its frames
        gc.collect()
        assert alive() is None


async def test_two_engines_report_their_own_nodes(autojump_clock):
    """Of two engines in one loop each reports the stuck nodes of its own runs, and only those."""
    first, second = Heard(events.NodeStuck), Heard(events.NodeStuck)
    async with open_engine(sinks=[first]) as one_engine, open_engine(sinks=[second]) as other:
        one_engine.start(one(stubborn(20), name="a", timeout=1))
        other.start(one(stubborn(20), name="b", timeout=1))
    assert [[event.node for event in heard] for heard in (first, second)] == [["a"], ["b"]]


async def test_it_can_be_switched_off(autojump_clock):
    """Without a watchdog there is no report, no thread and no task."""
    stuck = Heard(events.NodeStuck)
    async with open_engine(sinks=[stuck], watchdog=None) as engine:
        assert "graceline watchdog" not in [thread.name for thread in threading.enumerate()]
        await engine.run(one(stubborn(20), timeout=1))
    assert stuck == []


async def test_nothing_of_it_survives_the_engine():
    """When the engine's block is left, the watchdog's thread has ended."""
    await trio.testing.wait_all_tasks_blocked()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_engine():
        assert "graceline watchdog" in [thread.name for thread in threading.enumerate()]
    assert "graceline watchdog" not in [thread.name for thread in threading.enumerate()]
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks


class Witness(logging.Handler):
    """Runs in the watchdog's thread, while the loop is blocked."""

    def __init__(self, engine):
        super().__init__()
        self.engine = engine
        self.released = threading.Event()
        self.seen = []

    def emit(self, record):
        if any("blocks_the_loop" in line for line in record.frames):
            self.seen.append((record, self.engine.health()))
            self.released.set()


async def test_a_blocked_loop_is_reported_while_it_is_blocked():
    """A thread logs where the loop is blocked while it is; health shows it; the event comes afterwards."""
    blocked = Heard(events.LoopBlocked)
    log = logging.getLogger("graceline.watchdog")
    async with open_engine(sinks=[blocked], watchdog=Watchdog(blocked_after=0.25)) as engine:
        witness = Witness(engine)

        async def blocks_the_loop(_):
            while engine._loop._asked is not None:  # a report of what was before is no use here
                await trio.lowlevel.checkpoint()
            witness.released.wait(30)

        log.addHandler(witness)
        try:
            await engine.run(one(blocks_the_loop, timeout=100))
            with trio.fail_after(30):
                while not any(
                    "blocks_the_loop" in line for event in blocked for line in event.stack
                ):
                    await trio.lowlevel.checkpoint()
        finally:
            log.removeHandler(witness)
        assert engine.health().blocked is None
    record, health = witness.seen[0]
    assert record.event_type == "loop_blocked"
    assert any("blocks_the_loop" in line for line in record.frames)
    assert health.blocked.seconds >= 0.25
    assert any("witness.released.wait" in line for line in health.blocked.stack)
    assert not health.ok
    (event,) = [one for one in blocked if any("blocks_the_loop" in line for line in one.stack)]
    assert event.seconds >= 0.25


@pytest.mark.parametrize(
    "options", [{"stuck_after": 0}, {"blocked_after": -1}, {"stuck_after": "5"}]
)
def test_bad_settings_are_refused(options):
    """A margin of 0, a negative one, or a string without a unit is an error that names the option."""
    with pytest.raises(DefinitionError, match=next(iter(options))):
        Watchdog(**options)


async def test_only_a_watchdog_is_one(autojump_clock):
    """Anything else as `watchdog=` is refused, with an example."""
    with pytest.raises(DefinitionError, match="Watchdog\\(stuck_after=5\\)"):
        async with open_engine(watchdog=5):
            pass


async def test_a_loop_that_goes_on_while_it_is_looked_at_is_not_blocked(caplog):
    """If the sign of life comes while the thread takes the stack, nothing is reported."""
    async with open_engine(watchdog=Watchdog(blocked_after=1000)) as engine:
        engine._loop._report(2000.0)
        assert engine.health().blocked is None
    assert caplog.records == []


def test_a_thread_may_be_between_two_lines(monkeypatch):
    """A frame that has no line at this moment is shown with the first line of its function."""
    code = stubborn.__code__
    frame = SimpleNamespace(f_code=code, f_lineno=None, f_globals={}, f_back=None)
    monkeypatch.setattr(sys, "_current_frames", lambda: {7: frame})
    (line,) = thread_stack(7)
    assert line.startswith(f"{__file__}:{code.co_firstlineno} in stubborn")


async def test_a_report_that_the_loop_overtakes_is_not_kept(monkeypatch):
    """If the sign of life comes while the thread writes its report, the next question is not blocked."""
    blocked = Heard(events.LoopBlocked)
    async with open_engine(sinks=[blocked], watchdog=Watchdog(blocked_after=1000)) as engine:
        watch = engine._loop

        def overtaken(**fields):
            watch._answer()
            return Blocked(**fields)

        monkeypatch.setattr(watchdog, "Blocked", overtaken)
        watch._asked = 1.0
        watch._report(2000.0)
        watch._asked = 2.0
        assert engine.health().blocked is None
        watch._answer()
    assert blocked == []
