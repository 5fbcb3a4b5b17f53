"""Ladders of what a node or a run consists of, without counting."""

import pytest
import trio
from benchmarks.groups.shares import shares_of
from benchmarks.instructions.ladders import LADDERS
from benchmarks.instructions.scenarios import Steps

from graceline import Status, Watchdog, open_engine


def test_shares_are_what_each_rung_adds():
    """The shares of a ladder are the differences of its rungs, and add up to the whole."""
    made = shares_of({"run": {"bare": 10.0, "scope": 40.0, "engine": 100.0}})
    assert [row.figure.median for row in made] == [10.0, 30.0, 60.0]
    assert [row.ratio.median for row in made] == [0.1, 0.3, 0.6]
    assert [row.what.rpartition(": ")[2] for row in made] == ["bare", "scope", "engine"]


@pytest.mark.parametrize("name", LADDERS)
def test_ladders_end_with_the_engine(name):
    """The last rung is a run of the engine, and each rung can be climbed."""

    async def climb():
        async with open_engine(watchdog=Watchdog(blocked_after=None)) as engine:
            return [await work() for work in LADDERS[name].contestants(engine).values()]

    *_, result = trio.run(climb, clock=Steps())
    assert result.status is (Status.TIMED_OUT if name == "timeout" else Status.OK)
