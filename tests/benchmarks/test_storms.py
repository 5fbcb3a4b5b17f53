"""Storms: no figure without every run's own word about its end."""

import pytest
import trio
from benchmarks.crowd import Gate
from benchmarks.floors import HAND
from benchmarks.groups.storms import (
    CALLER,
    CLEANING,
    DEADLINE,
    WAYS,
    makers,
    open_for_storms,
    storm,
)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("contestant", [HAND, "engine"])
async def test_storm_ends_every_run_as_it_should(autojump_clock, way, contestant):
    """A storm has a figure only after all runs have said what happened to them."""
    gate = Gate()
    async with open_for_storms() as engine:
        make = makers(engine, gate, way)[contestant]
        deadline = trio.current_time() + 5 if way == DEADLINE else None
        figures = await storm(gate, make(), 10, way, deadline)
        assert figures["cpu"] >= 0
        assert figures["stall"] > 0


@pytest.mark.parametrize("contestant", [HAND, "engine"])
async def test_storm_is_none_if_not_all_were_in_flight(autojump_clock, contestant):
    """A deadline that passes while runs still start measures something else."""
    gate = Gate()
    async with open_for_storms() as engine:
        make = makers(engine, gate, DEADLINE)[contestant]
        assert await storm(gate, make(), 10, DEADLINE, trio.current_time() - 1) is None


async def test_storm_notices_a_run_with_another_end(autojump_clock):
    """A run that timed out instead of being cancelled, or that nobody has seen, is no storm's."""
    gate = Gate()
    async with open_for_storms() as engine:
        for way, told in ((CALLER, DEADLINE), (DEADLINE, CALLER)):
            runs = makers(engine, gate, told)["engine"]()
            deadline = trio.current_time() + 5 if way == DEADLINE else None
            with pytest.raises(AssertionError):
                await storm(gate, runs, 3, way, deadline)
        by_hand = makers(engine, gate, CALLER)[HAND]()
        assert await storm(gate, by_hand, 3, CALLER)
        with pytest.raises(AssertionError):
            by_hand.check(4)


async def test_storm_cuts_no_cleanup(autojump_clock):
    """A cleanup block that was cut at its end has not done what the floor does."""
    gate = Gate()
    async with open_for_storms() as engine:
        runs = makers(engine, gate, CLEANING)["engine"]()
        assert await storm(gate, runs, 3, CLEANING)
        engine.stats.pipeline("straight").overruns += 1
        with pytest.raises(AssertionError):
            runs.check(3)
