"""Semantics 2: the polite stop, draining, and leaving the engine."""

import pytest
import trio
import trio.testing

from graceline import (
    GracelineError,
    Node,
    Pipeline,
    Stage,
    Timeouts,
    cleanup,
    each,
    open_engine,
    parallel,
    remaining,
    stopping,
)

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=1.0)


def stubborn(*cleanups, before=None):
    """A node that hangs, then cleans up in blocks of the given lengths."""

    async def work(_):
        ends = []
        try:
            await trio.sleep_forever()
        finally:
            for seconds in cleanups:
                with cleanup():
                    await trio.sleep(seconds)
                ends.append(trio.current_time())
            work.ends = ends

    return work


async def forever(_):
    await trio.sleep_forever()


async def test_stopping_is_set_before_the_deadline(autojump_clock, engine):
    """`stop_before=` sets `stopping()` that long before the deadline, and the loop ends politely."""

    async def polite(_):
        await stopping().wait()
        assert stopping().is_set()
        return remaining()

    result = await engine.run(Pipeline("p", [Node(polite, timeout=5, stop_before=2)]))
    assert (result.status, result.value) == ("ok", pytest.approx(2))


async def test_stopping_is_not_set_without_a_reason(autojump_clock, engine):
    """Without a drain and without `stop_before`, `stopping()` stays unset."""

    async def look(_):
        return stopping().is_set()

    result = await engine.run(Pipeline("p", [Node(look, timeout=5)]))
    assert result.value is False


async def test_drain_refuses_waits_and_cancels_the_rest(autojump_clock, engine):
    """`drain` refuses new runs, waits, then cancels what is left as `shutdown`, with its grace."""

    async def polite(_):
        await stopping().wait()
        return "stopped"

    good = engine.start(Pipeline("polite", [polite]))
    bad = engine.start(Pipeline("bad", [Node(stubborn(0.5), name="n")]))
    await trio.sleep(1)
    async with trio.open_nursery() as nursery:

        async def drain():
            drained.append(await engine.drain(2))

        drained = []
        nursery.start_soon(drain)
        await trio.sleep(0.1)
        refused = await engine.run(Pipeline("late", [trio.sleep]), 1)
    assert drained == [1]
    assert (refused.status, refused.blame.message) == ("rejected", "draining")
    assert (good.result.status, good.result.value) == ("ok", "stopped")
    assert (bad.result.status, bad.result.blame.kind) == ("cancelled", "shutdown")
    assert bad.result.elapsed == pytest.approx(3.5)


async def test_drain_of_an_idle_engine_returns(autojump_clock, engine):
    """Draining an engine without runs ends at once and cancels nothing."""
    assert await engine.drain() == 0


async def test_nested_run_goes_on_while_draining(autojump_clock, engine):
    """A run that goes on may still start the runs inside it."""
    inner = Pipeline("inner", [trio.sleep])

    async def outer(_):
        await trio.sleep(1)
        return (await engine.run(inner, 1)).status

    run = engine.start(Pipeline("outer", [outer]))
    await trio.testing.wait_all_tasks_blocked()
    await engine.drain(10)
    assert run.result.value == "ok"


async def test_leaving_the_engine_waits_for_started_runs(autojump_clock):
    """Leaving `open_engine()` normally waits for the runs that were started."""
    async with open_engine() as engine:
        run = engine.start(Pipeline("p", [Node(trio.sleep, name="n")], timeout=5), 3)
    assert run.result.status == "ok"


async def test_leaving_by_an_exception_cancels_started_runs_with_grace(autojump_clock):
    """An exception that leaves `open_engine()` cancels the runs as `shutdown` and comes out bare."""
    work = stubborn(0.05)
    with pytest.raises(KeyError):
        async with open_engine() as engine:
            run = engine.start(Pipeline("p", [work], timeout=9))
            await trio.testing.wait_all_tasks_blocked()
            raise KeyError
    assert (run.result.status, run.result.blame.kind) == ("cancelled", "shutdown")
    assert len(work.ends) == 1


async def test_a_closed_engine_says_so(autojump_clock):
    """An engine that is used after its block has ended raises a clear error."""
    async with open_engine() as engine:
        pass
    with pytest.raises(GracelineError, match="closed"):
        await engine.run(Pipeline("p", [trio.sleep]), 1)


async def test_stop_before_of_a_level_above_counts_back_from_fired(autojump_clock, engine):
    """`stop_before=` of the pipeline reaches its nodes, and knows the caller's deadline."""

    async def polite(_):
        began = trio.current_time()
        await stopping().wait()
        return trio.current_time() - began

    pipeline = Pipeline("p", [polite], timeout=9, stop_before=2)
    assert (await engine.run(pipeline)).value == pytest.approx(7)
    with trio.move_on_after(5):
        assert (await engine.run(pipeline)).value == pytest.approx(3)
        return
    pytest.fail("the caller's deadline was not counted")


async def test_drain_sets_stopping_for_those_who_poll(autojump_clock, engine):
    """`stopping().is_set()` turns true as soon as the engine drains."""

    async def poll(_):
        while not stopping().is_set():
            await trio.sleep(0.1)
        return "stopped"

    run = engine.start(Pipeline("p", [poll]))
    await trio.sleep(1)
    assert await engine.drain(5) == 0
    assert run.result.value == "stopped"


async def test_drain_of_a_run_that_was_just_started_waits_for_it(autojump_clock, engine):
    """A run that was accepted before the drain is not refused, although its task had no turn yet."""
    run = engine.start(Pipeline("p", [trio.sleep]), 1)
    assert await engine.drain(5) == 0
    assert run.result.status == "ok"


async def test_two_drains_at_once(autojump_clock, engine):
    """Two tasks may drain the engine at the same time; both return."""
    engine.start(Pipeline("p", [trio.sleep]), 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.drain)
        nursery.start_soon(engine.drain)
    assert trio.current_time() == pytest.approx(2)


async def test_shutdown_stops_soft_parts_too(autojump_clock, engine):
    """A shutdown is no failure that a non-critical part may absorb."""

    async def forever(_):
        await trio.sleep_forever()

    run = engine.start(Pipeline("p", [Stage("soft", [forever], critical=False)]))
    await trio.sleep(1)
    await engine.drain(1)
    assert (run.result.status, run.result.degraded) == ("cancelled", ())


@pytest.mark.parametrize("grouped", [False, True])
async def test_an_engine_whose_block_was_cancelled_is_closed(autojump_clock, grouped):
    """A cancel that leaves `open_engine()`, bare or in a group, closes the engine too."""
    with trio.move_on_after(1):
        async with open_engine(timeouts=Timeouts.none()) as engine:
            run = engine.start(Pipeline("p", [Node(trio.sleep, name="n")]), 50)
            if grouped:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
            else:
                await trio.sleep_forever()
    assert run.result.status == "cancelled"
    with pytest.raises(GracelineError, match="closed"):
        await engine.run(Pipeline("p", [trio.sleep]), 1)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
async def test_an_exception_that_leaves_during_a_cancel_is_not_lost(autojump_clock, kind):
    """An exception of the block comes out although an outer scope was cancelled as well."""
    with pytest.raises(kind), trio.move_on_after(1):
        async with open_engine():
            try:
                await trio.sleep_forever()
            finally:
                raise kind


async def test_cancelled_program_leaves_the_engine(autojump_clock):
    """When the task that holds the engine is cancelled, its started runs end, with their grace."""
    ends = []

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.5)
            ends.append(trio.current_time())

    with trio.move_on_after(2) as scope:
        async with open_engine(timeouts=NO_LIMITS) as engine:
            run = engine.start(Pipeline("p", [work]))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert ends == [pytest.approx(2.5)]
    assert run.result.status == "cancelled"


async def test_exceptions_of_the_block_and_of_a_run_come_together(autojump_clock):
    """Where both the block and a started run raise, neither is lost."""

    async def stop(_):
        try:
            await trio.sleep_forever()
        finally:
            raise KeyboardInterrupt

    with pytest.RaisesGroup(ValueError, KeyboardInterrupt, flatten_subgroups=True):
        async with open_engine(timeouts=NO_LIMITS) as engine:
            engine.start(Pipeline("p", [stop]))
            await trio.testing.wait_all_tasks_blocked()
            raise ValueError


async def test_a_drain_cancels_queued_runs_too(autojump_clock):
    """What waits for a slot is waited for as well, and then cancelled as `shutdown` without a start."""
    async with open_engine(timeouts=Timeouts.none(), max_concurrent_pipelines=1) as engine:
        runs = [engine.start(Pipeline("p", [Node(trio.sleep, name="n")]), 3) for _ in range(3)]
        assert await engine.drain(4) == 2
    kinds = [run.result.blame and run.result.blame.kind for run in runs]
    assert kinds == [None, "shutdown", "shutdown"]
    assert [run.result.node("n").status for run in runs] == ["ok", "cancelled", "skipped"]
    assert runs[2].result.status == "cancelled"


async def test_stopping_is_no_cancel(autojump_clock, engine):
    """Who does not watch `stopping()` is not disturbed by it: by a drain or shortly before a limit."""

    async def work(_):
        await trio.sleep(3)
        return stopping().is_set()

    run = engine.start(Pipeline("p", [Node(work, timeout=4, stop_before=2)]))
    await trio.sleep(1)
    assert await engine.drain() == 0
    assert (run.result.status, run.result.value) == ("ok", True)


async def test_drain_sets_stopping_at_any_depth(autojump_clock, engine):
    """A drain is heard in branches, in items, and in runs inside runs."""

    async def polite(_):
        await stopping().wait()
        return trio.current_time()

    async def outer(_):
        return (await engine.run(Pipeline("inner", [polite]))).value

    nodes = parallel(outer, each(polite, name="items"))
    run = engine.start(Pipeline("p", nodes), [1, 2])
    await trio.sleep(1)
    assert await engine.drain() == 0
    assert run.result.value == {"outer": 1, "items": [1, 1]}
