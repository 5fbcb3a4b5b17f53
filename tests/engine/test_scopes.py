"""`engine.deadline()`: the same levels for code that is no pipeline."""

from math import inf

import pytest
import trio

from graceline import (
    DeadlineStatus,
    DefinitionError,
    GracelineError,
    Node,
    Pipeline,
    cleanup,
    current,
    open_engine,
    remaining,
)
from graceline.telemetry import events


async def test_a_block_that_ends_in_time_is_ok(autojump_clock, engine):
    """A block is `active` while it runs and `ok` when it ends in time, with nothing to blame."""
    async with engine.deadline("phase", "30s") as scope:
        assert scope.status is DeadlineStatus.ACTIVE
        await trio.sleep(10)
        assert (scope.remaining(), remaining()) == (20, 20)
        assert [run.pipeline for run in engine.runs()] == ["phase"]
    assert (scope.status, scope.blame) == ("ok", None)
    assert engine.runs() == ()


async def test_a_block_that_takes_too_long_is_cut(autojump_clock, engine):
    """When the deadline passes the block unwinds, the program goes on behind it, and the scope says why."""
    async with engine.deadline("phase", 2) as scope:
        await trio.sleep(10)
    assert trio.current_time() == 2
    assert scope.status == "timed_out"
    assert (scope.blame.level, scope.blame.name, scope.blame.kind) == (
        "deadline",
        "phase",
        "timeout",
    )
    assert scope.blame.message == "deadline 'phase' exceeded its limit of 2s, given with the call"


async def test_a_block_that_overran_is_never_ok(autojump_clock, engine):
    """A block that hid its cancel and returned after its deadline is `timed_out`."""
    async with engine.deadline("phase", 2) as scope:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
    assert scope.status == "timed_out"


async def test_scopes_nest(autojump_clock, engine):
    """An inner scope never outlives an outer one; each says which level is to blame."""
    async with engine.deadline("outer", 3) as outer:
        async with engine.deadline("first", 1) as first:
            await trio.sleep(5)
        async with engine.deadline("second", 10) as second:
            assert second.remaining() == 2
            await trio.sleep(5)
        raise AssertionError
    assert trio.current_time() == 3
    assert (first.status, first.blame.name) == ("timed_out", "first")
    assert (second.status, second.blame.name) == ("timed_out", "outer")
    assert (outer.status, outer.blame.name) == ("timed_out", "outer")


async def test_equal_deadlines_blame_the_outermost(autojump_clock, engine):
    """Of two scopes that fire at one instant the outer one is to blame, and both are left."""
    async with engine.deadline("outer", 2) as outer, engine.deadline("inner", 2) as inner:
        await trio.sleep(5)
    assert (inner.blame.name, outer.blame.name) == ("outer", "outer")


async def test_runs_and_nodes_stand_in_the_same_tree(autojump_clock, engine):
    """A run inside a scope ends with it, and so does a scope inside a node with the node."""

    async def node(_):
        async with engine.deadline("inner", 10) as scopes["inner"]:
            await trio.sleep(9)

    scopes = {}
    pipeline = Pipeline("p", [Node(node, name="n", timeout=3)], timeout=5)
    result = await engine.run(pipeline)
    assert (result.status, result.blame.name) == ("timed_out", "n")
    assert scopes["inner"].blame.name == "n"
    async with engine.deadline("outer", 1) as outer:
        await engine.run(pipeline)
        raise AssertionError
    assert outer.blame.name == "outer"
    assert scopes["inner"].blame.name == "outer"


async def test_a_scope_can_be_cancelled(autojump_clock, engine):
    """`cancel` ends the block from anywhere; the reason is in the blame, and the first cancel wins."""
    async with trio.open_nursery() as nursery, engine.deadline("phase", 30) as scope:

        @nursery.start_soon
        async def soon():
            await trio.sleep(1)
            assert scope.cancel("the user left")
            assert not scope.cancel("again")

        await trio.sleep(9)
    assert trio.current_time() == 1
    assert (scope.status, scope.blame.kind, scope.blame.message) == (
        "cancelled",
        "user",
        "the user left",
    )


async def test_a_scope_can_be_cancelled_by_its_id_and_by_a_drain(autojump_clock, engine):
    """A scope is a run of the engine: it has an id, and a drain ends it as `shutdown`."""
    async with engine.deadline("phase", 30) as scope:
        await engine.cancel(current().run_id, wait=False)
        await trio.sleep(9)
    assert scope.blame.kind == "user"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.drain, 2)
        async with engine.deadline("phase", None) as scope:
            assert scope.remaining() == inf
            await trio.sleep(9)
    assert (trio.current_time(), scope.status, scope.blame.kind) == (2, "cancelled", "shutdown")


async def test_a_drain_does_not_wait_for_the_scope_it_stands_in(autojump_clock, engine):
    """A drain may itself have a deadline: it waits for the other runs, and cancels only those."""
    async with engine.deadline("shutdown", 30) as scope:
        assert await engine.drain() == 0
        assert trio.current_time() == 0
    assert scope.status == "ok"


async def test_a_drain_inside_a_scope_cancels_the_others(autojump_clock, engine):
    """What is not around the drain is waited for, then cancelled."""
    pipeline = Pipeline("p", [Node(trio.sleep, name="n", timeout=inf)], timeout=inf)
    run = engine.start(pipeline, 60)
    async with engine.deadline("shutdown", 30) as scope:
        assert await engine.drain(5) == 1
    assert (trio.current_time(), scope.status) == (5, "ok")
    assert (await run.wait()).blame.kind == "shutdown"


async def test_a_scope_does_not_take_the_id_of_a_run(autojump_clock, engine):
    """A run whose own id is the one that a scope would get keeps its entry, and the scope has another."""
    pipeline = Pipeline("p", [Node(trio.sleep, name="n", timeout=inf)], timeout=inf)
    async with engine.deadline("first", 9):
        prefix, _, number = current().run_id.rpartition("-")
    run = engine.start(pipeline, 1, run_id=f"{prefix}-{int(number) + 1}")
    async with engine.deadline("second", 9):
        assert len(engine.runs()) == 2
    assert (await run.wait()).status == "ok"


async def test_cleanup_blocks_share_the_grace_of_the_scope(autojump_clock, engine):
    """Cleanup inside a scope has the scope's grace, all blocks together."""
    async with engine.deadline("phase", 2, grace=1) as scope:
        try:
            await trio.sleep(9)
        finally:
            with cleanup():
                await trio.sleep(0.75)
            with cleanup():
                await trio.sleep(9)
    assert trio.current_time() == 3
    assert scope.status == "timed_out"


async def test_the_callers_cancel_passes_through(autojump_clock, engine):
    """A cancel from around the engine ends the scope as `cancelled` and goes on to the caller."""
    with trio.move_on_after(1) as outer:
        async with engine.deadline("phase", 30) as deadline:
            await trio.sleep(9)
        raise AssertionError
    assert outer.cancelled_caught
    assert deadline.status == "timed_out"
    assert deadline.blame.level == "caller"
    with trio.CancelScope() as outer:
        async with engine.deadline("phase", 30) as explicit:
            outer.cancel()
            await trio.sleep(9)
        raise AssertionError
    assert outer.cancelled_caught
    assert (explicit.status, explicit.blame.kind) == ("cancelled", "caller")


async def test_a_cancelled_caller_opens_no_scope(autojump_clock, engine):
    """In a task that is cancelled already the block does not begin."""
    with trio.CancelScope() as outer:
        outer.cancel()
        async with engine.deadline("phase", 30):
            raise AssertionError
    assert outer.cancelled_caught
    assert engine.runs() == ()


async def test_errors_pass(autojump_clock, engine):
    """An exception of the block goes on; the scope was left in time and is `ok`."""
    with pytest.raises(ValueError, match="broken"):
        async with engine.deadline("phase", 30) as scope:
            raise ValueError("broken")
    assert scope.status == "ok"
    with pytest.raises(KeyboardInterrupt):
        async with engine.deadline("phase", 30) as scope:
            raise KeyboardInterrupt
    assert engine.runs() == ()


async def test_an_error_while_it_unwinds_is_not_lost(autojump_clock, engine):
    """What the block raises while its own cancel unwinds goes on, and the scope is `timed_out`."""
    with pytest.raises(ValueError, match="broken"):
        async with engine.deadline("phase", 1) as scope:
            try:
                await trio.sleep(9)
            finally:
                raise ValueError("broken")
    assert scope.status == "timed_out"


async def test_on_timeout(autojump_clock, engine):
    """The handler is called once with the scope, after the unwinding, only if it timed out."""

    async def handler(scope):
        called.append((scope.name, scope.status, trio.current_time()))
        await trio.sleep(9)

    called = []
    async with engine.deadline("quick", 5, on_timeout=handler):
        pass
    async with engine.deadline("gone", 5, on_timeout=handler) as scope:
        scope.cancel()
        await trio.sleep(9)
    assert called == []
    async with engine.deadline("slow", 1, grace=0.5, on_timeout=handler) as scope:
        await trio.sleep(9)
    assert called == [("slow", "timed_out", 1)]
    assert trio.current_time() == 1.5

    def broken(_):
        raise ValueError

    async with engine.deadline("slow", 1, on_timeout=broken) as scope:
        await trio.sleep(9)
    assert [type(error) for error in scope.secondary] == [ValueError]


async def test_a_scope_is_told_of(autojump_clock):
    """A scope that is cut leaves an event with its name, its status and its blame."""
    heard = []
    async with open_engine(sinks=[Sink(heard)]) as engine:
        async with engine.deadline("fine", 1):
            pass
        async with engine.deadline("phase", 1):
            await trio.sleep(9)
    (event,) = heard
    assert (event.pipeline, event.name, event.status, event.elapsed, event.limit) == (
        "phase", "phase", "timed_out", 1, 1,
    )  # fmt: skip


class Sink:
    """Keeps what it is told of scopes that ended."""

    inline = True

    def __init__(self, heard):
        self.heard = heard

    def wants_trace(self):
        return True

    def __call__(self, event):
        if isinstance(event, events.DeadlineEnded):
            self.heard.append(event)


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_modes_that_cut_nothing_cut_no_scope(autojump_clock, mode):
    """In `observe` and `off` no deadline of a scope cuts anything; a cancel does."""
    async with open_engine(mode=mode) as engine:
        async with engine.deadline("phase", 1) as scope:
            await trio.sleep(9)
        assert (trio.current_time(), scope.status) == (9, "ok")
        async with engine.deadline("phase", 1) as scope:
            scope.cancel()
            await trio.sleep(9)
        assert scope.status == "cancelled"


async def test_misuse(autojump_clock):
    """Bad names, limits and handlers, a second use, questions outside of the block, a closed engine."""
    async with open_engine() as engine:
        with pytest.raises(DefinitionError):
            engine.deadline("", 1)
        with pytest.raises(DefinitionError, match=r"deadline\('x', timeout=\)"):
            engine.deadline("x", "5")
        with pytest.raises(DefinitionError, match=r"deadline\('x', grace=\)"):
            engine.deadline("x", 5, grace=-1)
        with pytest.raises(DefinitionError, match=r"deadline\('x', on_timeout=\)"):
            engine.deadline("x", 5, on_timeout=3)
        scope = engine.deadline("x", 5)
        with pytest.raises(GracelineError, match="has not been entered"):
            scope.remaining()
        async with scope:
            pass
        with pytest.raises(GracelineError, match="was left"):
            scope.cancel()
        with pytest.raises(GracelineError, match="was used"):
            async with scope:
                pass
    with pytest.raises(GracelineError, match="closed"):
        async with engine.deadline("x", 5):
            pass


async def test_a_cancel_may_cut_the_cleanup(autojump_clock, engine):
    """`force_after` bounds the cleanup of a scope whatever its grace is."""
    async with trio.open_nursery() as nursery, engine.deadline("phase", None, grace=60) as scope:

        @nursery.start_soon
        async def soon():
            scope.cancel(force_after="2s")

        try:
            await trio.sleep(99)
        finally:
            with cleanup():
                await trio.sleep(30)
    assert trio.current_time() == 2


async def test_scopes_need_no_watchdog(autojump_clock):
    """A scope works in an engine without a watchdog."""
    async with open_engine(watchdog=None) as engine:
        async with engine.deadline("phase", 1) as scope:
            await trio.sleep(9)
    assert scope.status == "timed_out"
