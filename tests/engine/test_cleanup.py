"""Semantics 2: cleanup scopes, handlers, graceful stop, drain."""

import pytest
import trio
import trio.testing

from graceline import (
    GracelineError,
    Node,
    Pipeline,
    Stage,
    cleanup,
    parallel,
    remaining,
    save_partial,
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


async def add(value):
    await trio.lowlevel.checkpoint()
    return value + 1


async def fail(_):
    raise ValueError("broken")


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
        inline = True

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


async def test_cleanup_that_ends_in_time_is_not_reported(autojump_clock, engine):
    """Only a block that was cut at its end is reported as such."""
    seen = []

    class Sink:
        inline = True

        def wants_trace(self):
            return True

        def __call__(self, event):
            seen.append(type(event))

    engine.subscribe(Sink())
    result = await engine.run(Pipeline("p", [Node(stubborn(0.5), timeout=1, grace=1)]))
    assert (result.elapsed, CleanupOverran in seen) == (pytest.approx(1.5), False)


async def test_force_after_reaches_a_block_that_is_open_already(autojump_clock, engine):
    """A forced end re-times blocks that were opened before anybody asked for it."""
    run = engine.start(Pipeline("p", [Node(stubborn(50), timeout=1)], grace=50))
    await trio.sleep(2)
    run.cancel("now", force_after=1)
    result = await run.wait()
    assert (result.status, result.elapsed) == ("timed_out", pytest.approx(3))


async def test_a_block_after_an_absorbed_cancel_has_a_grace_of_its_own(autojump_clock, engine):
    """What a scope inside the node absorbed bounds no later block on the normal path."""

    async def work(_):
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep(0.5)
        await trio.sleep(9)
        with cleanup() as block:
            return block.deadline - trio.current_time()

    result = await engine.run(Pipeline("p", [Node(work, grace=2)]))
    assert result.value == pytest.approx(2)
