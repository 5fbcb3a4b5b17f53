"""The longest stall of a loop, on a clock that is moved by hand."""

import gc
from functools import partial

import trio
from benchmarks.crowd import Gate
from benchmarks.groups.stalls import COLLECTOR, spread
from benchmarks.pauses import Stall


class Clock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


async def test_stall_is_the_longest_time_without_a_look_outside(autojump_clock):
    """A stall is what happens between two looks at the outside world, not the wait itself."""
    clock = Clock()
    with Stall(clock) as stall:
        clock.now += 2
        await trio.lowlevel.checkpoint()
        clock.now += 3
        await trio.sleep(100)
        clock.now += 1
    assert stall.longest == 3
    clock.now += 50
    await trio.lowlevel.checkpoint()
    assert stall.longest == 3


async def test_stall_counts_what_has_not_ended():
    """The tick in which the block ends is counted as far as it got."""
    clock = Clock()
    with Stall(clock) as stall:
        clock.now += 4
    assert stall.longest == 4


async def test_each_contestant_has_a_full_collection():
    """Whose runs meet the collector's walk through everything is not left to chance."""
    gate = Gate()
    gc.disable()
    try:
        figures = await spread(gate, 10, partial(gate.wait, 1))
    finally:
        gc.enable()
    assert figures[COLLECTOR] > 0
