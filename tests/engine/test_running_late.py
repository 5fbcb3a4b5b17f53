"""Soft deadlines: told in the moment, of parts that still run, and of nothing else."""

import gc
import weakref
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from graceline import Node, Pipeline, Stage, cleanup, open_engine, sequence
from graceline.engine.late import LateWatch
from graceline.telemetry import events


def node(name, seconds, timeout=None, **options):
    async def work(value):
        await trio.sleep(seconds)
        return value

    return Node(work, name=name, timeout=timeout, **options)


def pipeline(*nodes, name="p", timeout=10, **options):
    return Pipeline(
        name, [Stage("s", sequence(*nodes))], timeout=timeout, budget="remaining", **options
    )


@pytest.fixture
def told(engine):
    """Each event that something runs late, and when it was handed out."""
    heard = []

    def note(event):
        if isinstance(event, events.RunningLate):
            heard.append((trio.current_time(), event))

    engine.subscribe(note, inline=True)
    return heard


async def test_it_is_told_in_the_moment(autojump_clock, engine, told):
    """The event comes at the soft deadline, while the part runs, with all that one may ask for."""
    run = engine.start(pipeline(node("a", 3, timeout=1), node("b", 1)), run_id="r")
    start = trio.current_time()
    await trio.sleep(1.5)
    [(at, event)] = told
    assert at == event.at == start + 1
    assert (event.run_id, event.pipeline, event.stage, event.node) == ("r", "p", "s", "a")
    assert (event.late_after, event.fires_at, event.lane) == (1, start + 10, "default")
    assert (await run.wait()).status == "ok"
    assert len(told) == 1


async def test_several_are_told_in_order(autojump_clock, engine, told):
    """Of runs that began at once or later, each is told at its own time."""
    start = trio.current_time()
    for name, seconds in (("c", 3), ("a", 1), ("b", 2)):
        engine.start(pipeline(node(name, 5, timeout=seconds), name=name))
    await trio.sleep(0.5)
    await engine.run(pipeline(node("d", 5, timeout=1), name="d"))
    assert [(at - start, event.node) for at, event in told] == [
        (1, "a"), (1.5, "d"), (2, "b"), (3, "c"),
    ]  # fmt: skip


async def test_two_at_the_same_instant_are_both_told(autojump_clock, engine, told):
    """A stage and its node are late at once: both are told, the stage first."""
    stage = Stage("s", [node("a", 3, timeout=1)], timeout=1)
    await engine.run(Pipeline("p", [stage], timeout=10, budget="remaining"))
    assert [event.node for _, event in told] == ["", "a"]


async def test_a_part_that_ended_in_time_is_forgotten(autojump_clock, engine, told):
    """What ended before its soft deadline is not told, however long its run goes on."""
    await engine.run(pipeline(node("a", 1, timeout=2), node("b", 5), node("c", 5, timeout=3)))
    assert [event.node for _, event in told] == ["c"]


async def test_a_soft_deadline_that_its_pipeline_precedes_is_none(autojump_clock, engine, told):
    """A limit that is not reached before the whole is cut is not watched at all."""
    await engine.run(pipeline(node("a", 20, timeout=2)), timeout=2)
    assert told == []


async def test_who_is_cancelled_is_not_late(autojump_clock, engine, told):
    """A part that unwinds after a cancel is past being late."""

    async def slow_to_end(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.8)

    run = engine.start(pipeline(Node(slow_to_end, name="a", timeout=1)))
    await trio.sleep(0.5)
    run.cancel("enough")
    await run.wait()
    await trio.sleep(5)
    assert told == []


async def test_it_is_told_in_observe(autojump_clock):
    """Soft deadlines cut nothing anyway: `observe` tells of them."""
    heard = []
    async with open_engine(mode="observe") as engine:
        engine.subscribe(heard.append, inline=True)
        await engine.run(pipeline(node("a", 2, timeout=1)))
    assert [event.node for event in heard if isinstance(event, events.RunningLate)] == ["a"]


async def test_the_watch_ends_with_the_engine(autojump_clock):
    """After its engine was closed no task is left that waits for soft deadlines."""
    async with open_engine() as engine:
        engine.subscribe(lambda _: None, inline=True)
        await engine.run(pipeline(node("a", 1, timeout=2)))
        assert watches() == 1
    await trio.testing.wait_all_tasks_blocked()
    assert watches() == 0


def watches():
    """How many system tasks wait for soft deadlines."""
    nurseries = trio.lowlevel.current_root_task().child_nurseries
    tasks = [task for nursery in nurseries for task in nursery.child_tasks]
    return sum(task.name == "graceline soft deadlines" for task in tasks)


# -- by itself ------------------------------------------------------------------------------------


def level_of(*, ended=False, run_ended=False, heard=True, fires_at=100.0):
    """As much of a level as the watch looks at; `run.told` are the events."""
    told = []
    run = SimpleNamespace(
        ended=run_ended,
        told=told,
        trouble_heard=lambda: heard,
        emit=lambda kind, at, **fields: told.append((at, fields["late_after"])),
    )
    return SimpleNamespace(ended=ended, run=run, start=0.0, fired=lambda: fires_at)


async def test_nobody_listens(autojump_clock):
    """Where no sink takes events nothing is watched, and no task is started."""
    watch = LateWatch()
    watch.watch(level_of(heard=False), 1.0, "s", "a")
    assert watches() == 0
    watch.close()


async def test_an_earlier_one_comes_first(autojump_clock):
    """The watch sleeps until the earliest soft deadline, whenever it heard of it."""
    watch, late, early = LateWatch(), level_of(), level_of()
    watch.watch(late, 3.0, "s", "a")
    await trio.testing.wait_all_tasks_blocked()
    watch.watch(early, 1.0, "s", "b")
    await trio.sleep(2)
    assert (early.run.told, late.run.told) == ([(1.0, 1.0)], [])
    await trio.sleep(2)
    assert late.run.told == [(3.0, 3.0)]
    watch.close()


async def test_a_later_one_does_not_wait_less(autojump_clock):
    """A soft deadline behind the one that is waited for changes nothing before its time."""
    watch, first, second = LateWatch(), level_of(), level_of()
    watch.watch(first, 1.0, "s", "a")
    await trio.testing.wait_all_tasks_blocked()
    watch.watch(second, 2.0, "s", "b")
    await trio.sleep(1.5)
    assert (len(first.run.told), second.run.told) == (1, [])
    await trio.sleep(1)
    assert second.run.told == [(2.0, 2.0)]
    watch.close()


@pytest.mark.parametrize("gone", [{"ended": True}, {"run_ended": True}, {"fires_at": 1.0}])
async def test_what_is_gone_is_dropped(autojump_clock, gone):
    """A part that ended, whose run was torn down or that is cancelled is not told."""
    watch, level, other = LateWatch(), level_of(**gone), level_of()
    watch.watch(level, 1.0, "s", "a")
    watch.watch(other, 1.0, "s", "b")
    await trio.sleep(2)
    assert (level.run.told, len(other.run.told)) == ([], 1)
    watch.close()


async def test_a_closed_watch_watches_nothing(autojump_clock):
    """After the end nothing is told any more, of old entries or of new ones."""
    watch, level, more = LateWatch(), level_of(), level_of()
    watch.watch(level, 1.0, "s", "a")
    watch.close()
    watch.watch(more, 1.0, "s", "b")
    await trio.sleep(2)
    assert (level.run.told, more.run.told) == ([], [])
    unused = LateWatch()
    unused.close()
    unused.watch(more, trio.current_time() + 1, "s", "b")
    await trio.sleep(2)
    assert (more.run.told, watches()) == ([], 0)


async def test_nothing_is_kept_alive(autojump_clock, engine, told):
    """A run that is over is not held by its soft deadlines once they have passed."""

    class Payload:
        pass

    payload = Payload()
    gone = weakref.ref(payload)
    await engine.run(pipeline(node("a", 1, timeout=2)), payload)
    del payload
    await trio.sleep(5)
    gc.collect()
    assert gone() is None


async def test_a_closed_watch_holds_nothing(autojump_clock):
    """What was watched when the watch ended is not kept alive by it, though somebody keeps the watch."""
    watch, level = LateWatch(), level_of()
    level.input = Service()
    gone = weakref.ref(level.input)
    watch.watch(level, 1.0, "s", "a")
    watch.close()
    await trio.testing.wait_all_tasks_blocked()
    del level
    gc.collect()
    assert gone() is None


class Service:
    """Something whose end can be seen."""
