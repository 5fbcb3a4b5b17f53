"""Semantics 3: whose deadline was it? Causes, foreign cancels, errors in a cancel."""

import pytest
import trio
import trio.testing

from graceline import Node, Pipeline, Stage, cleanup, each, parallel, sequence


async def forever(_):
    await trio.sleep_forever()


async def test_outer_limit_that_passes_during_the_grace_takes_no_blame(autojump_clock, engine):
    """A node limit that fired first is blamed, although the pipeline's passes during its grace."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(1)

    node = Node(work, timeout=1, grace=5)
    result = await engine.run(Pipeline("p", [node], timeout=1.5, grace=5))
    assert (result.blame.level, result.elapsed) == ("node", pytest.approx(2))


async def test_user_cancel_is_never_a_timeout(autojump_clock, engine):
    """A cancel through the engine gives `cancelled`, its reason in the blame, and keeps what is done."""
    run = engine.start(Pipeline("p", sequence(Node(trio.sleep, name="a"), forever)), 1)
    await trio.sleep(2)
    assert await engine.cancel(run.run_id, "not needed")
    blame = run.result.blame
    assert (run.result.status, blame.kind, blame.message) == ("cancelled", "user", "not needed")
    assert run.result.completed == ("a",)


async def test_cancel_is_idempotent(autojump_clock, engine):
    """Cancelling twice keeps the first reason; an unknown id is no error."""
    run = engine.start(Pipeline("p", [forever]))
    await trio.sleep(1)
    assert await engine.cancel(run.run_id, "one", wait=False)
    assert await engine.cancel(run.run_id, "two")
    assert run.result.blame.message == "one"
    assert not await engine.cancel(run.run_id, "three")
    assert not run.cancel("four")


async def test_cancel_after_the_limit_is_still_a_timeout(autojump_clock, engine):
    """A cancel during the grace of a timeout does not change whose limit it was."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(1)

    run = engine.start(Pipeline("p", [work], timeout=1, grace=5))
    await trio.sleep(1.5)
    run.cancel("too late")
    result = await run.wait()
    assert (result.status, result.blame.kind) == ("timed_out", "timeout")


async def test_a_run_may_cancel_itself(autojump_clock, engine):
    """A node that cancels its own run is cancelled at its next checkpoint, without a deadlock."""

    async def suicide(_):
        await engine.cancel("me", "enough")
        await trio.sleep_forever()

    result = await engine.run(Pipeline("p", [suicide]), run_id="me")
    assert (result.status, result.blame.message) == ("cancelled", "enough")


async def test_own_timeout_error_is_a_failure(autojump_clock, engine):
    """A node's own `TooSlowError` or `TimeoutError` is `failed`, not a deadline of ours."""

    async def slow(_):
        with trio.fail_after(1):
            await trio.sleep_forever()

    async def plain(_):
        raise TimeoutError("the database")

    for function, kind in ((slow, trio.TooSlowError), (plain, TimeoutError)):
        result = await engine.run(Pipeline("p", [Node(function, timeout=9)], timeout=10))
        assert (result.status, result.blame.kind) == ("failed", "failed")
        assert isinstance(result.error, kind)


async def test_own_fail_after_that_leaves_after_our_limit_is_a_failure(autojump_clock, engine):
    """The error of the user's own limit, which expired before ours, is a failure at any instant."""

    async def slow(_):
        try:
            with trio.fail_after(1):
                try:
                    await trio.sleep_forever()
                finally:
                    with cleanup():
                        await trio.sleep(0.5)
        finally:
            autojump_clock.jump(2)

    result = await engine.run(Pipeline("p", [Node(slow, timeout=2, grace=5)]))
    assert result.status == "failed"
    assert isinstance(result.error, trio.TooSlowError)


async def test_our_limit_that_passes_while_the_users_own_unwinds_is_a_timeout(
    autojump_clock, engine
):
    """When our limit passes during the cleanup of the user's own scope, Trio hands us the cancel."""

    async def slow(_):
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep(2)

    result = await engine.run(Pipeline("p", [Node(slow, timeout=2, grace=5)]))
    assert (result.status, result.blame.level) == ("timed_out", "node")


async def test_stray_item_cancel_is_a_timeout(autojump_clock, engine):
    """The same holds for an item: its own limit is blamed, and no `Cancelled` escapes."""

    async def slow(_):
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep(2)

    result = await engine.run(Pipeline("p", [each(slow, item_timeout=2)], grace=5), [1])
    assert (result.status, result.blame.level) == ("timed_out", "item")


async def test_error_after_a_sync_burst_is_a_failure(autojump_clock, engine):
    """An error past the deadline with no `Cancelled` in sight is `failed`."""

    async def burst(_):
        autojump_clock.jump(5)
        raise ValueError

    result = await engine.run(Pipeline("p", [Node(burst, timeout=1)]))
    assert result.status == "failed"


async def test_group_with_a_cancel_keeps_its_error_as_secondary(autojump_clock, engine):
    """A child task that raises while our cancel unwinds leaves the node timed out."""

    async def work(_):
        async def child():
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("child")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(trio.sleep_forever)

    result = await engine.run(Pipeline("p", [Node(work, timeout=1)]))
    assert result.status == "timed_out"
    assert len(result.node("work").secondary) == 1


async def test_callers_explicit_cancel_passes_through(autojump_clock, engine):
    """When the caller cancels its own scope, `run` raises `Cancelled`, and cleanup had its grace once."""
    ends = []

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            for _ in range(3):
                with cleanup():
                    await trio.sleep_forever()
            ends.append(trio.current_time())

    stage = Stage("s", [Node(work, timeout=20, grace=2)], grace=2, on_cleanup=forever)
    pipeline = Pipeline("p", [stage], grace=2, on_cleanup=forever)
    began = trio.current_time()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def cancel():
                await trio.sleep(1)
                scope.cancel()

            await engine.run(pipeline)
    assert scope.cancelled_caught
    assert ends[0] - began == pytest.approx(3)
    assert trio.current_time() - began == pytest.approx(3)
    assert engine.runs() == ()


async def test_callers_deadline_bounds_cleanup_by_one_grace(autojump_clock, engine):
    """Cleanup may outlast the caller's own deadline by the pipeline's grace, and no longer."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    began = trio.current_time()
    with trio.move_on_after(1) as scope:
        await engine.run(Pipeline("p", [Node(work, grace=9)], grace=2))
    assert scope.cancelled_caught
    assert trio.current_time() - began == pytest.approx(3)


async def test_callers_cancel_in_branches_passes_through(autojump_clock, engine):
    """A parallel stage under a cancelled caller ends, and the caller's `Cancelled` comes out."""
    with trio.move_on_after(1) as scope:
        await engine.run(Pipeline("p", parallel(Node(forever, name="a"), Node(forever, name="b"))))
    assert scope.cancelled_caught


async def test_callers_cancel_while_a_timeout_unwinds_passes_through(autojump_clock, engine):
    """A caller that is cancelled during our grace hears of it, whatever the outcome was."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(2)

    with trio.move_on_after(2) as scope:
        await engine.run(Pipeline("p", [Node(work, timeout=1, grace=5)]))
    assert scope.cancelled_caught


async def test_a_value_is_not_lost_to_a_caller_that_is_cancelled_later(autojump_clock, engine):
    """A run that is plainly ok returns its result; the caller is cancelled at its next checkpoint."""

    async def work(_):
        scope.cancel()
        return "value"

    with trio.CancelScope() as scope:
        result = await engine.run(Pipeline("p", [work]))
        assert result.value == "value"
        await trio.lowlevel.checkpoint()
        pytest.fail("the caller goes on")
    assert scope.cancelled_caught


async def test_callers_cancel_stops_a_chain_of_plain_nodes(autojump_clock, engine):
    """No node starts after the caller's scope was cancelled."""
    ran = []

    async def first(_):
        scope.cancel()

    async def second(_):
        ran.append(2)

    with trio.CancelScope() as scope:
        await engine.run(Pipeline("p", sequence(first, second)))
    assert scope.cancelled_caught
    assert ran == []


async def test_swallowed_cancel_is_late_and_harms_nobody(autojump_clock, engine):
    """A node that hides a `Cancelled` and returns is `late`, and the next node runs unharmed."""

    async def hide(_):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return "hidden"

    async def after(value):
        await trio.sleep(1)
        return value + "!"

    result = await engine.run(Pipeline("p", sequence(Node(hide, timeout=1), after)))
    assert (result.node("hide").status, result.status) == ("late", "ok")
    assert result.value == "hidden!"


async def test_return_in_the_tick_of_the_deadline_harms_nobody(autojump_clock, engine):
    """A node that returns at its very deadline is `late`, and its cancelled scope hits nobody else."""
    event = trio.Event()

    async def waits(_):
        await event.wait()

    async def after(_):
        await trio.sleep(1)
        return "fine"

    run = engine.start(Pipeline("p", sequence(Node(waits, timeout=1), after)))
    await trio.testing.wait_all_tasks_blocked()
    event.set()  # the node is rescheduled; its deadline passes before it runs
    autojump_clock.jump(1)
    result = await run.wait()
    assert (result.node("waits").status, result.value) == ("late", "fine")


async def test_own_shield_is_late(autojump_clock, engine):
    """A node that shields itself past its deadline is `late`, with its overrun."""

    async def shielded(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        return 1

    result = await engine.run(Pipeline("p", [Node(shielded, timeout=1)], timeout=9))
    outcome = result.node("shielded")
    assert (outcome.status, outcome.overrun) == ("late", pytest.approx(2))


async def test_sync_burst_is_late(autojump_clock, engine):
    """A node that blocks past its deadline without a checkpoint is `late`, and the value is kept."""

    async def burst(_):
        autojump_clock.jump(3)
        return 7

    result = await engine.run(Pipeline("p", [burst], timeout=1))
    assert (result.status, result.value) == ("late", 7)
    assert result.overrun == pytest.approx(2)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_program_exceptions_are_never_results(autojump_clock, engine, kind):
    """`KeyboardInterrupt` and `SystemExit` come bare out of a sequence, and the engine stays usable."""

    async def stop(_):
        raise kind

    with pytest.raises(kind):
        await engine.run(Pipeline("p", [stop]))
    assert engine.runs() == ()
    assert (await engine.run(Pipeline("p", [trio.sleep]), 1)).status == "ok"


async def test_program_exceptions_come_in_a_group_out_of_branches(autojump_clock, engine):
    """Out of a parallel stage they come in a group, as from any nursery; the siblings are cancelled."""

    async def stop(_):
        raise KeyboardInterrupt

    with pytest.RaisesGroup(KeyboardInterrupt):
        await engine.run(Pipeline("p", parallel(stop, forever)))
    assert engine.runs() == ()


async def test_sibling_failure_is_blamed_on_the_sibling(autojump_clock, engine):
    """Siblings of a failed node are `cancelled`, with a blame that names who failed."""

    async def fail(_):
        await trio.sleep(1)
        raise ValueError

    result = await engine.run(Pipeline("p", parallel(fail, forever)))
    blame = result.node("forever").blame
    assert (result.status, result.blame.name) == ("failed", "fail")
    assert (blame.kind, blame.by) == ("sibling_failed", "node 'fail'")


async def test_siblings_are_cancelled_after_the_failing_parts_cleanup(autojump_clock, engine):
    """As in a nursery, siblings go on until the failing part has cleaned up."""

    async def fail(_):
        try:
            raise ValueError
        finally:
            with cleanup():
                await trio.sleep(0.5)

    async def sibling(_):
        await trio.sleep(0.4)
        return "in time"

    result = await engine.run(Pipeline("p", parallel(fail, sibling)))
    assert result.node("sibling").value == "in time"


async def test_failing_stage_cancels_its_sibling_stages(autojump_clock, engine):
    """Among parallel stages, a failed stage cancels the others, nodes included."""

    async def fail(_):
        await trio.sleep(1)
        raise ValueError

    stages = parallel(Stage("a", [fail]), Stage("b", [forever]))
    result = await engine.run(Pipeline("p", stages))
    assert result.stages["b"].status == "cancelled"
    assert result.node("forever").blame.by == "stage 'a'"


async def test_item_limit_blames_the_item(autojump_clock, engine):
    """An item that exceeds `item_timeout` is blamed by its index; finished items are kept."""

    async def work(seconds):
        await trio.sleep(seconds)
        return seconds

    node = each(work, item_timeout=2, max_parallel=2)
    result = await engine.run(Pipeline("p", [node]), [1, 1.5, 9, 0.5])
    assert (result.status, result.blame.level, result.blame.name) == (
        "timed_out",
        "item",
        "work[2]",
    )
    assert result.partial["work"] == [1, 1.5, 0.5]


async def test_nested_run_is_bounded_by_its_node(autojump_clock, engine):
    """A run inside a node ends with that node, and the outer level is blamed in the outer result."""
    inner = Pipeline("inner", [forever], timeout=50)

    async def outer(_):
        await engine.run(inner)

    result = await engine.run(Pipeline("outer", [Node(outer, timeout=1)]))
    assert (result.blame.name, result.elapsed) == ("outer", pytest.approx(1))


async def test_nested_cleanup_ends_by_the_outer_hard(autojump_clock, engine):
    """Cleanup inside a nested run is cut at `hard` of the enclosing node."""

    async def stubborn(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    inner = Pipeline("inner", [Node(stubborn, grace=50)], grace=50)

    async def outer(_):
        await engine.run(inner)

    result = await engine.run(Pipeline("p", [Node(outer, timeout=1, grace=2)]))
    assert result.elapsed == pytest.approx(3)


async def test_cancel_of_the_outer_run_reaches_nested_cleanup(autojump_clock, engine):
    """A user cancel of the outer run re-times cleanup blocks of a run inside it."""

    async def work(_):
        with cleanup():
            await trio.sleep_forever()

    inner = Pipeline("inner", [Node(work, grace=50)], grace=50)

    async def outer(_):
        await engine.run(inner)

    run = engine.start(Pipeline("p", [outer], grace=2))
    await trio.sleep(1)
    run.cancel("stop")
    result = await run.wait()
    assert (result.status, result.elapsed) == ("cancelled", pytest.approx(3))


async def test_nested_run_that_times_out_is_a_result_for_the_node(autojump_clock, engine):
    """A nested run that exceeds its own limit returns a result, and the outer node goes on."""

    async def outer(_):
        return (await engine.run(Pipeline("inner", [forever], timeout=1))).status

    result = await engine.run(Pipeline("p", [outer], timeout=5))
    assert (result.status, result.value) == ("ok", "timed_out")


async def test_background_task_of_a_finished_node_runs_on_its_own(autojump_clock, engine):
    """A run that a leftover task of a finished node starts is no child of that node."""
    statuses = []

    async def later():
        await trio.sleep(2)
        statuses.append((await engine.run(Pipeline("late", [trio.sleep]), 1)).status)

    async with trio.open_nursery() as nursery:

        async def spawn(_):
            nursery.start_soon(later)

        await engine.run(Pipeline("p", [Node(spawn, timeout=1)]))
    assert statuses == ["ok"]


async def test_nested_run_and_its_node_share_one_grace_after_a_callers_cancel(
    autojump_clock, engine
):
    """A caller's cancel that a nested run noticed first gives the node around it no second grace."""

    async def stubborn(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    async def outer(_):
        try:
            await engine.run(Pipeline("inner", [stubborn]))
        finally:
            with cleanup():
                await trio.sleep_forever()

    began = trio.current_time()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def cancel():
                await trio.sleep(1)
                scope.cancel()

            await engine.run(Pipeline("p", [outer], grace=2))
    assert scope.cancelled_caught
    assert trio.current_time() - began == pytest.approx(3)


async def test_failure_in_a_burst_past_the_callers_deadline_is_the_callers(autojump_clock, engine):
    """A run that fails past the caller's deadline raises `Cancelled`, seen by Trio or not."""

    async def burst(_):
        autojump_clock.jump(5)
        raise ValueError

    with trio.move_on_after(1) as scope:
        await engine.run(Pipeline("p", [burst]))
        pytest.fail("the caller's deadline was missed")
    assert scope.cancelled_caught


async def test_a_callers_deadline_that_passed_before_submission_is_the_callers(
    autojump_clock, engine
):
    """A caller whose deadline has passed by the clock gets its `Cancelled`, and no error of ours."""
    with trio.move_on_after(1) as scope:
        autojump_clock.jump(2)
        await engine.execute(Pipeline("p", [forever]))
        pytest.fail("the caller's deadline was missed")
    assert scope.cancelled_caught


async def test_a_caller_that_extends_its_deadline_gets_a_result(autojump_clock, engine):
    """No stray `Cancelled` comes out if the caller's scope is not cancelled after all."""

    async def extend(_):
        scope.deadline += 100
        await trio.sleep(3)

    with trio.move_on_after(2) as scope:
        result = await engine.run(Pipeline("p", [extend]))
        assert (result.status, result.blame.source) == ("timed_out", "inherited")
        return
    pytest.fail("the caller was not cancelled")


async def test_items_and_their_node_share_one_grace_after_a_callers_cancel(autojump_clock, engine):
    """What an item noticed of the caller's cancel counts for the node and its handlers."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.5)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def cancel():
                await trio.sleep(1)
                scope.cancel()

            await engine.run(Pipeline("p", [each(work, on_cleanup=forever)]), [1, 2])
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(2)


async def test_item_limit_of_zero_starts_nothing(autojump_clock, engine):
    """`item_timeout=0` is expired before the item's function is called."""
    started = []

    async def work(item):
        started.append(item)

    result = await engine.run(Pipeline("p", [each(work, item_timeout=0)]), [1, 2])
    assert (result.status, result.blame.level, started) == ("timed_out", "item", [])
