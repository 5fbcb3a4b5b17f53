"""Semantics 1: a run inside a node is a child level of that node."""

import pytest
import trio
import trio.testing

from graceline import (
    Node,
    Pipeline,
    cleanup,
    remaining,
    stopping,
)


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


def gives(value, after=0.0):
    async def give(_):
        await trio.sleep(after)
        return value

    return give


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
    autojump_clock, engine, cancelled_after
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
    scope = await cancelled_after(1, engine.run, Pipeline("p", [outer], grace=2))
    assert scope.cancelled_caught
    assert trio.current_time() - began == pytest.approx(3)


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


@pytest.mark.parametrize(("own", "left", "blamed"), [(3, 3, "caller"), (20, 10, "node")])
async def test_a_scope_of_the_nodes_own_counts_if_it_is_earlier_than_the_node(
    autojump_clock, engine, own, left, blamed
):
    """A nested run stands below its node, and below a scope around it only if that ends earlier."""
    seen = []

    class Sink:
        inline = True

        def wants_trace(self):
            return False

        def __call__(self, event):
            if event.pipeline == "inner":
                seen.append(event.blame)

    async def look(_):
        seen.append(remaining())
        await trio.sleep_forever()

    async def outer(_):
        with trio.move_on_after(own):
            await engine.run(Pipeline("inner", [look]))

    engine.subscribe(Sink())
    result = await engine.run(Pipeline("p", [Node(outer, timeout=10)]))
    assert seen[0] == pytest.approx(left)
    assert (seen[-1].level, result.status) == (blamed, "ok" if own < 10 else "timed_out")


async def test_a_run_that_a_node_starts_is_no_child_of_it(autojump_clock, engine):
    """`start()` inside a node starts a run of its own, which the node's limit does not reach."""
    runs = []

    async def work(_):
        runs.append(engine.start(Pipeline("own", [trio.sleep]), 3))
        await trio.sleep_forever()

    result = await engine.run(Pipeline("p", [Node(work, timeout=1)]))
    assert (result.status, (await runs[0].wait()).status) == ("timed_out", "ok")
    assert trio.current_time() == pytest.approx(3)


async def test_no_depth_of_runs_adds_graces_up(autojump_clock, engine):
    """Three runs inside each other, each with hung cleanup, end by `hard` of the outermost."""

    async def stubborn(value):
        try:
            if value:
                await engine.run(Pipeline(f"p{value}", [stubborn], grace=2), value - 1)
            else:
                await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    result = await engine.run(Pipeline("p", [stubborn], timeout=1, grace=2), 3)
    assert result.elapsed == pytest.approx(3)
