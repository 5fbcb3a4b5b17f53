"""Semantics 1 and 3: a cancel that is the caller's bounds cleanup once, and passes through."""

import pytest
import trio
import trio.testing

from graceline import (
    Node,
    Pipeline,
    Stage,
    cleanup,
    parallel,
    remaining,
    sequence,
)


async def forever(_):
    await trio.sleep_forever()


async def test_callers_explicit_cancel_passes_through(autojump_clock, engine, cancelled_after):
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
    scope = await cancelled_after(1, engine.run, pipeline)
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

    result = None
    with trio.CancelScope() as scope:
        result = await engine.run(Pipeline("p", [work]))
        await trio.lowlevel.checkpoint()
        pytest.fail("the caller goes on")
    assert scope.cancelled_caught
    assert result.value == "value"


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


async def test_a_users_shield_around_a_block_gives_no_new_grace(
    autojump_clock, engine, cancelled_after
):
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

    scope = await cancelled_after(1, engine.run, Pipeline("p", [work]))
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(2)


async def test_execute_knows_the_callers_deadline(autojump_clock, engine):
    """`execute` runs under the caller's deadline as `run` does, and raises the caller's `Cancelled`."""
    left = []

    async def look(_):
        left.append(remaining())
        await trio.sleep_forever()

    with trio.move_on_after(2) as scope:
        await engine.execute(Pipeline("p", [look], timeout=9))
    assert (scope.cancelled_caught, left) == (True, [pytest.approx(2)])


@pytest.mark.parametrize("by", ["deadline", "cancel"])
@pytest.mark.parametrize("grouped", [False, True])
async def test_the_callers_cancel_comes_out_as_the_exception_it_was(
    autojump_clock, engine, cancelled_after, by, grouped
):
    """The very exception or group that left the node comes out of `run`."""
    left = []

    async def work(_):
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            left.append(BaseExceptionGroup("of the node", [error]) if grouped else error)
            raise left[0] from None

    async def watch():
        try:
            await engine.run(Pipeline("p", [work]))
        except BaseException as error:
            left.append(error)
            raise

    if by == "deadline":
        with trio.move_on_after(1) as scope:
            await watch()
    else:
        scope = await cancelled_after(1, watch)
    assert scope.cancelled_caught
    assert left[0] is left[1]


async def test_the_callers_cancel_stays_the_callers_when_our_limit_passes_meanwhile(
    autojump_clock, engine, cancelled_after
):
    """A limit of ours that passes while the caller's cancel unwinds changes neither blame nor exit."""
    told = []

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(2)

    pipeline = Pipeline("p", [Node(work, timeout=2, on_cleanup=told.append)], grace=5)
    scope = await cancelled_after(1, engine.run, pipeline)
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(3)
    assert (told[0].status, told[0].blame.kind) == ("cancelled", "caller")


async def test_events_of_a_run_whose_caller_was_cancelled_are_told(
    autojump_clock, engine, cancelled_after
):
    """Although no result comes out, the end of every part is told and counted, blamed on the caller."""
    seen = []

    class Sink:
        inline = True

        def wants_trace(self):
            return False

        def __call__(self, event):
            seen.append((type(event).__name__, str(event.status), str(event.blame.kind)))

    engine.subscribe(Sink())
    await cancelled_after(1, engine.run, Pipeline("p", [forever]))
    names = ["NodeFinished", "StageFinished", "RunFinished"]
    assert seen == [(name, "cancelled", "caller") for name in names]
    assert engine.stats.pipeline("p").count("cancelled") == 1


async def test_the_callers_cancel_is_noticed_when_a_block_closes(
    autojump_clock, engine, cancelled_after
):
    """Inside a block Trio hides the caller's cancel: the block has its grace, then the budget begins."""
    times = []

    async def work(_):
        await trio.sleep(0.5)
        try:
            with cleanup():
                await trio.sleep_forever()
            times.append(trio.current_time())
            await trio.sleep_forever()
        finally:
            for _ in range(2):
                with cleanup():
                    await trio.sleep_forever()
            times.append(trio.current_time())

    await cancelled_after(1, engine.run, Pipeline("p", [work], grace=2))
    assert times == pytest.approx([2.5, 4.5])


async def test_an_error_that_leaves_a_block_does_not_start_the_budget_anew(
    autojump_clock, engine, cancelled_after
):
    """The caller's cancel that a closing block notices counts for the cleanup that its error leads to."""

    async def work(_):
        try:
            with cleanup():
                await trio.sleep(1.5)
                raise ValueError
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            with cleanup():
                await trio.sleep_forever()

    await cancelled_after(1, engine.run, Pipeline("p", [work], grace=2))
    assert trio.current_time() == pytest.approx(3.5)


async def test_a_cancel_of_the_callers_that_leaves_one_branch_bounds_the_others(
    autojump_clock, engine, cancelled_after
):
    """A block that is open in one branch is re-timed when the caller's cancel leaves another one."""

    async def write(_):
        with cleanup():
            await trio.sleep_forever()

    nodes = parallel(forever, Node(write, grace=50))
    await cancelled_after(1, engine.run, Pipeline("p", nodes, grace=2, fail_fast=False))
    assert trio.current_time() == pytest.approx(3)


ENDS = {
    "failed": {},
    "timed_out": {"timeout": 1},
    "late": {"timeout": 1},
    "cancelled": {},
    "degraded": {"critical": False},
}


@pytest.mark.parametrize("end", ENDS)
async def test_the_callers_cancel_comes_out_of_whatever_is_not_plainly_ok(
    autojump_clock, engine, end
):
    """Failed, timed out, late, cancelled by a user or degraded: a caller that was cancelled hears of it."""
    told = []

    async def work(_):
        scope.cancel()
        if end in ("failed", "degraded"):
            raise ValueError
        if end == "cancelled":
            engine.runs()[0].cancel("stop")
        else:
            autojump_clock.jump(2)
        if end != "late":
            await trio.sleep_forever()

    node = Node(work, on_cleanup=told.append, **ENDS[end])
    with trio.CancelScope() as scope:
        await engine.run(Pipeline("p", [node]))
        pytest.fail("the caller was not told")
    assert scope.cancelled_caught
    assert told[0].status == ("failed" if end == "degraded" else end)


async def test_a_cancel_of_the_callers_never_moves_a_limit(autojump_clock, engine, cancelled_after):
    """A node that swallows the caller's cancel keeps its time, and its value is neither late nor lost."""
    left, told = [], []

    async def hide(_):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            with cleanup():
                await trio.sleep(0)
            left.append(remaining())
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        return "hidden"

    node = Node(hide, timeout=10, on_cleanup=told.append)
    await cancelled_after(1, engine.run, Pipeline("p", [node]))
    assert left == [pytest.approx(9)]
    assert (told[0].status, told[0].value) == ("ok", "hidden")
