"""`engine.health()`: what an engine is doing, for any thread."""

import threading
from math import inf

import attrs
import pytest
import trio

from graceline import Node, Pipeline, Stage, open_engine, sequence


async def quick(value):
    return value


async def forever(_):
    await trio.sleep_forever()


WAITS = Pipeline(
    "waits",
    [Stage("s", sequence(Node(quick, name="quick"), Node(forever, name="forever")))],
    timeout=4,
)


async def test_runs_with_their_budgets(autojump_clock):
    """Health shows every run with what is left of its budget, and whether it still waits for a slot."""
    async with open_engine(max_concurrent_pipelines=1, lane="blue") as engine:
        for name in ("first", "second"):
            engine.start(WAITS, run_id=name)
        await trio.sleep(1)
        health = engine.health()
        assert (health.mode, health.lane, health.draining) == ("enforce", "blue", False)
        assert (health.active, health.slots, health.queued) == (1, 1, 1)
        first, second = health.runs
        assert (first.run_id, first.pipeline, first.elapsed, first.remaining) == (
            "first",
            "waits",
            1,
            3,
        )
        assert (first.queued, first.completed) == (False, 1)
        assert (second.run_id, second.queued, second.completed) == ("second", True, 0)
        assert health.ok
        await trio.sleep(2.9)
        await engine.drain(0)
        assert engine.health().draining
        assert engine.health().runs == ()


async def test_a_run_without_a_limit_has_no_end(autojump_clock, engine):
    """Where nothing limits a run, what remains is infinite."""
    run = engine.start(Pipeline("p", [Node(forever, name="n")], timeout=inf))
    await trio.sleep(1)
    (shown,) = engine.health().runs
    assert shown.remaining == inf
    run.cancel()


async def test_a_snapshot_cannot_be_changed(autojump_clock, engine):
    """Health is immutable, and stays as it was when it was taken."""
    before = engine.health()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        before.mode = "off"
    run = engine.start(WAITS)
    assert before.runs == ()
    run.cancel()


async def test_abandoned_threads_with_their_stack():
    """An abandoned thread is shown with its run, its node and where it is, until it ends."""
    release, started = threading.Event(), threading.Event()

    def hangs_in_a_thread(_):
        started.set()
        release.wait(30)

    async with open_engine() as engine:
        pipeline = Pipeline("p", [Node(hangs_in_a_thread, name="hangs")], timeout=30)
        run = engine.start(pipeline, run_id="r")
        await trio.to_thread.run_sync(started.wait, 30)
        run.cancel()
        await run.wait()
        health = await trio.to_thread.run_sync(engine.health)
        (thread,) = health.abandoned_threads
        assert (thread.run_id, thread.node) == ("r", "hangs")
        assert thread.seconds >= 0
        assert any("hangs_in_a_thread" in line for line in thread.stack)
        assert not health.ok
        release.set()
        with trio.fail_after(30):
            while engine.health().abandoned_threads:
                await trio.lowlevel.checkpoint()
        assert engine.abandoned_threads == 0
