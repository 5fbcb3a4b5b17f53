"""An error raised while the caller's cancel unwinds stays with its node."""

import pytest
import trio

from graceline import Node, Pipeline, cleanup


@pytest.mark.parametrize("how", ["deadline", "cancel"])
@pytest.mark.parametrize("before", [0, 1])
async def test_error_in_the_unwinding_is_not_raised_to_the_caller(
    autojump_clock, engine, how, before
):
    """Whoever cancels the caller, and whatever a node raises meanwhile: the caller sees `Cancelled`."""

    async def breaks(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(before)
            raise ValueError

    pipeline = Pipeline("p", [Node(breaks, name="n")], timeout=9, grace=3)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            if how == "deadline":
                scope.deadline = trio.current_time() + 2
            else:
                nursery.start_soon(_cancel, scope)
            await engine.run(pipeline)
    assert scope.cancelled_caught


async def _cancel(scope):
    await trio.sleep(2)
    scope.cancel()
