"""Deadlines that a crowd shares: what counts as being there before it."""

from functools import partial

import pytest
import trio
from benchmarks.crowd import Gate, HeadStart, crowd
from benchmarks.groups.lateness import in_blocks


async def test_gate_is_not_full_with_one_too_few(autojump_clock):
    """A crowd that has not gathered before its deadline is no crowd."""
    gate = Gate()
    gate.shut(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crowd, 2, partial(gate.wait, 1))
        assert not await gate.full_by(trio.current_time() + 1)
        nursery.start_soon(gate.wait, 1)
        assert await gate.full_by(trio.current_time() + 1)
        gate.open()


async def test_gate_tells_of_a_run_that_was_cut(autojump_clock):
    """A crowd that can never be full is an error, and nothing to wait for."""
    gate = Gate()
    gate.shut(2)

    async def cut(value):
        with trio.move_on_after(1):
            await gate.wait(value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut, 1)
        with trio.fail_after(5), pytest.raises(AssertionError, match="cut before all were"):
            await gate.full()


async def test_head_start_doubles_until_all_are_there(autojump_clock):
    """What was measured of a crowd that came too late is thrown away and measured again."""
    given = []

    async def attempt(deadline):
        given.append(deadline - trio.current_time())
        return 7.0 if given[-1] > 1.0 else None

    early = HeadStart(1_000)
    assert await early.give(attempt) == 7.0
    assert given == pytest.approx([0.4, 0.8, 1.6])
    await early.give(attempt)
    assert given[3:] == pytest.approx([1.6])


async def test_head_start_has_an_end(autojump_clock):
    """A crowd that never gathers is an error instead of a loop."""

    async def attempt(deadline):
        return None

    with pytest.raises(AssertionError, match="not all runs are in flight"):
        await HeadStart(1).give(attempt)


def test_medians_of_blocks_stand_for_rounds():
    """A median of many rounds is compared with a median of as many, in the same rounds."""
    samples = {"a": [*range(15), *[20.0] * 15, 99.0], "b": [2.0] * 31}
    assert in_blocks(samples) == {"a": [7, 20.0], "b": [2.0, 2.0]}
