"""Admission: slots, a bounded queue, waiters that leave at their deadline, full capacity afterwards."""

import math

import pytest
import trio
import trio.testing

from graceline import DefinitionError, Pipeline, Timeouts, open_engine

NO_LIMITS = Timeouts(node=None, pipeline=None)


async def test_slots_bound_what_runs_at_once(autojump_clock):
    """No more runs are active than there are slots, and all of them get their turn."""
    active = []
    peak = []

    async def work(_):
        active.append(1)
        peak.append(len(active))
        await trio.sleep(1)
        active.pop()

    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=3) as engine:
        runs = [engine.start(Pipeline("p", [work])) for _ in range(10)]
    assert max(peak) == 3
    assert {run.result.status for run in runs} == {"ok"}
    assert trio.current_time() == pytest.approx(4)


async def test_runs_start_in_order_of_submission(autojump_clock):
    """The queue is first in, first out by the order of `start`, whatever order tasks run in."""
    order = []

    async def work(number):
        await trio.sleep(1)
        order.append(number)

    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=1) as engine:
        for number in range(20):
            engine.start(Pipeline("p", [work]), number)
    assert order == list(range(20))


async def test_slot_that_comes_at_the_deadline_is_not_used(autojump_clock):
    """A run whose slot comes in the tick in which it expires is not started late."""
    started = []
    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=1) as engine:
        engine.start(Pipeline("long", [trio.sleep]), 2)
        result = await engine.run(Pipeline("p", [started.append], timeout=2))
    assert (result.status, result.blame.kind, started) == ("timed_out", "queue", [])


async def test_waiter_leaves_the_queue_at_its_deadline(autojump_clock):
    """A queued run is timed out at its limit, kind `queue`, and is never started late."""
    started = []
    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=1) as engine:
        engine.start(Pipeline("long", [trio.sleep]), 5)
        await trio.testing.wait_all_tasks_blocked()
        result = await engine.run(Pipeline("p", [started.append], timeout=2))
    assert (result.status, result.blame.kind) == ("timed_out", "queue")
    assert (result.elapsed, result.queued) == (pytest.approx(2), pytest.approx(2))
    assert (result.node("append").status, started) == ("skipped", [])


async def test_cancel_in_the_queue(autojump_clock):
    """A run that is cancelled while it is queued ends at once, with every node skipped."""
    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=1) as engine:
        engine.start(Pipeline("long", [trio.sleep]), 5)
        await trio.testing.wait_all_tasks_blocked()
        run = engine.start(Pipeline("p", [trio.sleep]), 1)
        await trio.sleep(1)
        await engine.cancel(run.run_id, "changed my mind")
        assert trio.current_time() == pytest.approx(1)
    assert (run.result.status, run.result.blame.kind) == ("cancelled", "user")


async def test_caller_cancelled_in_the_queue(autojump_clock, cancelled_after):
    """A caller that is cancelled while its run is queued gets its `Cancelled`, and no slot is lost."""
    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=1) as engine:
        engine.start(Pipeline("long", [trio.sleep]), 5)
        await trio.testing.wait_all_tasks_blocked()
        scope = await cancelled_after(1, engine.run, Pipeline("p", [trio.sleep]), 1)
        assert scope.cancelled_caught
        assert (await engine.run(Pipeline("p", [trio.sleep]), 1)).status == "ok"


async def test_a_thousand_cancelled_waiters_leave_full_capacity(autojump_clock):
    """After 1,000 waiters were cancelled in every way, all slots are there and nobody waits."""
    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=4) as engine:
        holders = [engine.start(Pipeline("hold", [trio.sleep]), 10) for _ in range(4)]
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(3):
            async with trio.open_nursery() as nursery:
                for number in range(1000):
                    if number % 3 == 0:
                        nursery.start_soon(engine.run, Pipeline("p", [trio.sleep]), 1)
                    else:
                        limit = 2 if number % 3 == 1 else math.inf
                        run = engine.start(Pipeline("p", [trio.sleep], timeout=limit), 1)
                        if limit == math.inf:
                            nursery.start_soon(engine.cancel, run.run_id)
        assert {run.run_id for run in engine.runs()} == {run.run_id for run in holders}
        await trio.sleep(10)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(engine.run, Pipeline("p", [trio.sleep]), 1)
        assert trio.current_time() - began == pytest.approx(2)


@pytest.mark.parametrize("admission", ["off", "observe"])
async def test_a_waiter_that_leaves_makes_room(autojump_clock, admission):
    """Whether runs are predicted or not, a place in the queue is free again when its waiter leaves."""
    async with open_engine(
        timeouts=NO_LIMITS, max_concurrent_pipelines=1, max_queue=1, admission=admission
    ) as engine:
        engine.start(Pipeline("long", [trio.sleep]), 5)
        left = await engine.run(Pipeline("p", [trio.sleep], timeout=1), 1)
        came = await engine.run(Pipeline("p", [trio.sleep]), 1)
    assert (left.status, left.blame.kind, came.status) == ("timed_out", "queue", "ok")


async def test_slot_granted_to_a_cancelled_waiter_goes_on(autojump_clock):
    """A slot that comes after its waiter's cancel, and before the waiter ran, is passed on."""

    async def hold(_):
        await trio.sleep(1)
        scope.cancel()  # the waiter has its Cancelled, and is still the first in the queue

    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=1) as engine:
        engine.start(Pipeline("hold", [hold]))
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            await engine.run(Pipeline("p", [trio.sleep]), 1)
        assert scope.cancelled_caught
        assert (await engine.run(Pipeline("p", [trio.sleep], timeout=5), 1)).status == "ok"


async def test_nested_run_takes_no_slot(autojump_clock):
    """A run inside a node needs no slot, so that one slot is enough for any depth."""
    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=1) as engine:

        async def inner(_):
            return (await engine.run(Pipeline("q", [trio.sleep]), 1)).status

        assert (await engine.run(Pipeline("p", [inner]))).value == "ok"


async def test_full_queue_rejects(autojump_clock):
    """A run that finds the queue full is rejected at once, with every node skipped."""
    options = {"max_concurrent_pipelines": 1, "max_queue": 1}
    async with open_engine(timeouts=NO_LIMITS, **options) as engine:
        engine.start(Pipeline("a", [trio.sleep]), 5)
        await trio.testing.wait_all_tasks_blocked()
        engine.start(Pipeline("b", [trio.sleep]), 5)
        await trio.testing.wait_all_tasks_blocked()
        result = await engine.run(Pipeline("c", [trio.sleep]), 5)
        assert trio.current_time() == 0
    assert (result.status, result.blame.message) == ("rejected", "queue full")


@pytest.mark.parametrize(
    "options",
    [
        {"max_concurrent_pipelines": 0},
        {"max_concurrent_pipelines": 1.5},
        {"max_queue": -1},
        {"max_threads": True},
        {"max_threads": math.nan},
        {"max_abandoned_threads": "many"},
        {"mode": "dry"},
        {"timeouts": 5},
        {"lane": ""},
    ],
)
async def test_bad_options_of_the_engine(autojump_clock, options):
    """A bad option of `open_engine` is an error that names it."""
    with pytest.raises(DefinitionError, match=next(iter(options))):
        async with open_engine(**options):
            pass
