"""Semantics 2: cleanup scopes, handlers, graceful stop, drain."""

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
    open_engine,
    parallel,
    remaining,
    save_partial,
    sequence,
    stopping,
)
from graceline.telemetry.events import CleanupOverran


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


async def test_three_blocks_share_one_grace(autojump_clock, engine):
    """Three cleanup blocks in a row end by `hard`, not by three graces."""
    work = stubborn(10, 10, 10)
    result = await engine.run(Pipeline("p", [Node(work, timeout=1, grace=2)]))
    assert result.elapsed == pytest.approx(3)
    assert len(work.ends) == 3


async def test_nested_blocks_share_one_grace(autojump_clock, engine):
    """A block inside a block ends with the outer one at the latest."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                with cleanup():
                    await trio.sleep_forever()
                await trio.sleep_forever()

    result = await engine.run(Pipeline("p", [Node(work, timeout=1, grace=2)]))
    assert result.elapsed == pytest.approx(3)


async def test_before_a_cancel_a_block_has_grace_from_its_start(autojump_clock, engine):
    """On the normal path each block may take the grace from its own start, past the limit too."""

    async def work(_):
        await trio.sleep(0.9)
        with cleanup() as block:
            assert block.deadline - trio.current_time() == pytest.approx(2)
            await trio.sleep(0.5)
        return "written"

    result = await engine.run(Pipeline("p", [Node(work, timeout=1, grace=2)]))
    outcome = result.node("work")
    assert (outcome.status, outcome.value) == ("late", "written")
    assert outcome.overrun == pytest.approx(0.4)
    assert result.status == "ok"


async def test_nested_block_before_a_cancel_is_bounded_by_the_outer(autojump_clock, engine):
    """Blocks that nest before any cancel do not add up either."""

    async def work(_):
        with cleanup() as outer:
            await trio.sleep(1.5)
            with cleanup() as inner:
                assert inner.deadline == outer.deadline
        return trio.current_time()

    result = await engine.run(Pipeline("p", [Node(work, grace=2)]))
    assert result.status == "ok"


async def test_cut_cleanup_is_reported(autojump_clock, engine):
    """A cleanup that is cut at its end leaves an event, and the run ends on time."""
    seen = []

    class Sink:
        def wants_trace(self):
            return False

        def __call__(self, event):
            seen.append(event)

    engine.subscribe(Sink())
    await engine.run(Pipeline("p", [Node(stubborn(9), name="n", timeout=1, grace=1)]))
    assert [(e.level, e.name) for e in seen if isinstance(e, CleanupOverran)] == [("node", "n")]


async def test_cancel_higher_up_brings_hard_forward(autojump_clock, engine):
    """An explicit cancel re-times the cleanup blocks that are open below it."""

    async def work(_):
        with cleanup():
            await trio.sleep(9)

    run = engine.start(Pipeline("p", [Node(work, grace=9)], grace=1))
    await trio.sleep(2)
    run.cancel("enough")
    result = await run.wait()
    assert result.elapsed == pytest.approx(3)


async def test_force_after_cuts_the_grace(autojump_clock, engine):
    """`cancel(..., force_after=)` ends cleanup after that time, grace or not."""
    run = engine.start(Pipeline("p", [Node(stubborn(50), name="n")], grace=50))
    await trio.sleep(1)
    await engine.cancel(run.run_id, "now", force_after=0.5)
    assert run.result.elapsed == pytest.approx(1.5)


async def test_forcing_a_second_time_shortens_a_cancel(autojump_clock, engine):
    """A later cancel cannot change the blame, and can still force an earlier end."""
    run = engine.start(Pipeline("p", [Node(stubborn(50), name="n")], grace=50))
    await trio.sleep(1)
    assert run.cancel("first")
    await trio.sleep(1)
    assert not run.cancel("second", force_after="1s")
    result = await run.wait()
    assert (result.blame.message, result.elapsed) == ("first", pytest.approx(3))


async def test_handlers_run_innermost_first_and_are_told_the_outcome(autojump_clock, engine):
    """Handlers of node, stage and pipeline run in that order, each with its own level's outcome."""
    told = []

    def tell(outcome):
        told.append((type(outcome).__name__, str(outcome.status)))

    async def tell_later(outcome):
        await trio.sleep(0.1)
        tell(outcome)

    stage = Stage("s", [Node(trio.sleep, name="n", on_cleanup=tell_later)], on_cleanup=tell)
    result = await engine.run(Pipeline("p", [stage], on_cleanup=[tell, tell]), 1)
    assert result.status == "ok"
    assert told == [
        ("NodeOutcome", "ok"),
        ("StageOutcome", "ok"),
        ("PipelineResult", "ok"),
        ("PipelineResult", "ok"),
    ]


async def test_handler_that_raises_replaces_nothing(autojump_clock, engine):
    """The error of a handler is attached to the outcome, and the other handlers still run."""
    ran = []

    def bad(_):
        raise ValueError("handler")

    node = Node(trio.sleep, name="n", on_cleanup=[bad, ran.append])
    result = await engine.run(Pipeline("p", [node], on_cleanup=bad), 1)
    assert result.status == "ok"
    assert [type(e) for e in result.node("n").secondary] == [ValueError]
    assert [type(e) for e in result.secondary] == [ValueError]
    assert len(ran) == 1


async def test_cleanup_that_raises_replaces_nothing(autojump_clock, engine):
    """An error in the cleanup of a timed-out node leaves it timed out, with the error attached."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("cleanup")

    result = await engine.run(Pipeline("p", [Node(work, timeout=1)]))
    assert (result.status, result.blame.level) == ("timed_out", "node")
    assert [str(e) for e in result.node("work").secondary] == ["cleanup"]


async def test_hung_handler_is_cut_at_the_grace(autojump_clock, engine):
    """A handler may take the grace of its level; what hangs longer is cut."""

    async def hang(_):
        await trio.sleep_forever()

    stage = Stage("s", [Node(stubborn(), name="n", timeout=1, on_cleanup=hang)])
    result = await engine.run(Pipeline("p", [stage], grace=2))
    assert (result.status, result.elapsed) == ("timed_out", pytest.approx(3))
    assert result.node("n").grace_used == pytest.approx(2)


async def test_no_handler_for_what_never_started(autojump_clock, engine):
    """A node that never started has nothing to clean up: its handlers do not run."""
    ran = []
    node = Node(trio.sleep, name="n", timeout=0, on_cleanup=ran.append)
    await engine.run(Pipeline("p", [node]), 1)
    assert ran == []


async def test_helpers_work_in_handlers(autojump_clock, engine):
    """In a handler `remaining()` is the time until the handler is cut."""
    seen = []

    async def look(_):
        with cleanup():
            seen.append(remaining())

    node = Node(stubborn(), name="n", timeout=1, on_cleanup=look)
    await engine.run(Pipeline("p", [node], grace=2))
    assert seen == pytest.approx([2])


async def test_users_own_move_on_after_with_cleanup_leaves_the_node_healthy(autojump_clock, engine):
    """A cancel absorbed inside the node costs it nothing: every such round has its full grace."""
    graces = []

    async def work(_):
        for _ in range(3):
            with trio.move_on_after(1):
                try:
                    await trio.sleep_forever()
                finally:
                    with cleanup() as block:
                        graces.append(block.deadline - trio.current_time())
                        await trio.sleep(0.5)
        return "healthy"

    result = await engine.run(Pipeline("p", [Node(work, timeout=10, grace=2)]))
    assert (result.status, result.value) == ("ok", "healthy")
    assert graces == pytest.approx([2, 2, 2])


async def test_grace_after_an_absorbed_cancel_is_whole(autojump_clock, engine):
    """Our own cancel after an absorbed one starts a grace of its own."""

    async def work(_):
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep(0.1)
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    result = await engine.run(Pipeline("p", [Node(work, timeout=5, grace=2)]))
    assert (result.status, result.elapsed) == ("timed_out", pytest.approx(7))


async def test_two_blocks_in_one_absorbed_cancel_share_the_grace(autojump_clock, engine):
    """Within one cancel of the user's own scope, blocks share one grace too."""

    async def work(_):
        began = trio.current_time()
        with trio.move_on_after(1):
            try:
                try:
                    await trio.sleep_forever()
                finally:
                    with cleanup():
                        await trio.sleep(1.5)
            finally:
                with cleanup():
                    await trio.sleep_forever()
        return trio.current_time() - began

    result = await engine.run(Pipeline("p", [Node(work, grace=2)]))
    assert result.value == pytest.approx(3)


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


async def test_cleanup_outside_of_a_run_is_refused(autojump_clock):
    """The helpers of a node say clearly that they need one."""
    for use in (remaining, stopping, lambda: cleanup().__enter__(), lambda: save_partial(1)):
        with pytest.raises(GracelineError, match="inside a run"):
            use()


async def test_cleanup_in_branches_is_bounded_by_the_stage(autojump_clock, engine):
    """After a sibling failed, cleanup of the others ends by that instant plus the stage's grace."""

    async def fail(_):
        await trio.sleep(1)
        raise ValueError

    nodes = parallel(Node(stubborn(9, 9), name="n", grace=5), Node(fail, name="f"))
    result = await engine.run(Pipeline("p", [Stage("s", nodes, grace=2)]))
    assert (result.status, result.blame.name) == ("failed", "f")
    assert result.elapsed == pytest.approx(3)


async def test_handler_that_outlasts_its_nodes_limit_harms_nobody(autojump_clock, engine):
    """A handler of an ok node may pass the node's limit; the next node runs unharmed."""

    async def tidy(_):
        await trio.sleep(2)

    async def after(_):
        await trio.sleep(1)
        return "fine"

    first = Node(trio.sleep, name="first", timeout=1, on_cleanup=tidy)
    nodes = sequence(first, Node(after, timeout=5))
    result = await engine.run(Pipeline("p", nodes, grace=9), 0.5)
    assert (result.status, result.value) == ("ok", "fine")


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


async def test_stop_before_of_an_outer_node_reaches_a_nested_run(autojump_clock, engine):
    """A nested run under a scope of the node's own still hears the outer `stop_before`."""

    async def polite(_):
        await stopping().wait()
        return trio.current_time()

    async def outer(_):
        with trio.move_on_after(8):
            return (await engine.run(Pipeline("inner", [polite]))).value

    node = Node(outer, timeout=10, stop_before=5)
    assert (await engine.run(Pipeline("p", [node]))).value == pytest.approx(5)


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


async def test_a_users_shield_around_a_block_gives_no_new_grace(autojump_clock, engine):
    """Blocks inside and outside of shields of the user's share the grace of one caller's cancel."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            for _ in range(3):
                with cleanup():
                    await trio.sleep(100)
                with trio.CancelScope(shield=True), cleanup():
                    await trio.sleep(100)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def cancel():
                await trio.sleep(1)
                scope.cancel()

            await engine.run(Pipeline("p", [work]))
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(2)


async def test_a_run_in_a_handler_needs_no_slot(autojump_clock):
    """A run that a handler starts belongs to its run: it takes no slot of its own."""

    async def handler(_):
        statuses.append((await engine.run(Pipeline("q", [trio.sleep]), 1)).status)

    statuses = []
    timeouts = Timeouts(node=None, pipeline=None, grace=5)
    async with open_engine(timeouts=timeouts, max_concurrent_pipelines=1) as engine:
        node = Node(trio.sleep, name="n", on_cleanup=handler)
        result = await engine.run(Pipeline("p", [node]), 1)
    assert (statuses, result.elapsed) == (["ok"], pytest.approx(2))
