"""Semantics 1: the engine's defaults apply where nobody states a limit."""

import math

import pytest
import trio

from graceline import Node, Pipeline, Stage, Timeouts, open_engine, sequence


async def forever(_):
    await trio.sleep_forever()


def sleeper(seconds, value="done"):
    async def sleep(_):
        await trio.sleep(seconds)
        return value

    return sleep


async def test_defaults_do_not_cut_what_a_level_above_states(autojump_clock):
    """A pipeline that states a limit is not cut into nodes of the default limit."""
    async with open_engine() as engine:
        result = await engine.run(Pipeline("p", [sleeper(5)], timeout=30))
    assert result.status == "ok"
    assert result.node("sleep").limit is None


async def test_stated_infinity_is_a_stated_limit(autojump_clock):
    """`math.inf` on the pipeline switches the defaults off below it."""
    async with open_engine() as engine:
        result = await engine.run(Pipeline("p", [sleeper(5)], timeout=math.inf))
    assert result.status == "ok"
    assert result.limit is None


async def test_blame_on_a_default_says_so_and_how_to_change_it(autojump_clock):
    """An outcome that a default has cut names the default and the way to change it."""
    async with open_engine() as engine:
        result = await engine.run(Pipeline("p", [forever]))
    assert result.blame.source == "default"
    assert "Timeouts(node=...)" in result.blame.message


async def test_default_of_the_pipeline_bounds_the_sum(autojump_clock):
    """Nodes that each keep the default node limit still share the default pipeline limit."""
    async with open_engine() as engine:
        nodes = [Node(sleeper(0.15), name=f"n{i}") for i in range(5)]
        result = await engine.run(Pipeline("p", sequence(*nodes)))
    assert (result.blame.level, result.blame.limit) == ("pipeline", 0.5)
    assert result.completed == ("n0", "n1", "n2")


async def test_default_stage_limit(autojump_clock):
    """The batch preset limits a stage where the pipeline states nothing, and no node."""
    async with open_engine(timeouts=Timeouts.batch()) as engine:
        result = await engine.run(Pipeline("p", [Stage("s", [forever])]))
    assert (result.blame.level, result.blame.limit) == ("stage", 3600.0)
    assert result.node("forever").limit is None


async def test_limit_of_the_call_switches_the_defaults_off(autojump_clock):
    """A limit that the call states is a stated limit: the nodes get no default limit."""
    async with open_engine() as engine:
        result = await engine.run(Pipeline("p", [Node(trio.sleep, name="n")]), 5, timeout=30)
    assert (result.status, result.node("n").limit) == ("ok", None)


@pytest.mark.parametrize("timeout", [5, math.inf])
async def test_a_stage_that_states_a_limit_has_no_default_in_its_nodes(autojump_clock, timeout):
    """A limit that a stage states, `math.inf` included, switches the defaults of its nodes off."""
    async with open_engine(timeouts=Timeouts(pipeline=None)) as engine:
        result = await engine.run(Pipeline("p", [Stage("s", [sleeper(3)], timeout=timeout)]))
        stage = Stage("s", [sleeper(3)])
        assert (await engine.run(Pipeline("p", [stage]))).blame.source == "default"
    assert (result.status, result.node("sleep").limit) == ("ok", None)


async def test_a_node_may_state_that_it_is_unlimited(autojump_clock):
    """`math.inf` on a node switches its own default off, and not the pipeline's."""
    async with open_engine() as engine:
        result = await engine.run(Pipeline("p", [Node(sleeper(0.4), timeout=math.inf)]))
        longer = await engine.run(Pipeline("p", [Node(sleeper(0.6), timeout=math.inf)]))
    assert (result.status, longer.blame.level) == ("ok", "pipeline")


async def test_the_callers_deadline_is_no_stated_limit(autojump_clock):
    """A deadline of the caller's own does not switch the defaults off."""
    async with open_engine() as engine:
        with trio.move_on_after(30):
            result = await engine.run(Pipeline("p", [forever]))
    assert (result.blame.source, result.elapsed) == ("default", pytest.approx(0.2))


async def test_a_limit_above_a_nested_run_switches_its_defaults_off(autojump_clock):
    """A nested run has the defaults only if no level above it states a limit, in any run."""

    async def outer(seconds):
        return (await engine.run(Pipeline("inner", [sleeper(seconds)]))).limit

    async with open_engine() as engine:
        unstated = await engine.run(Pipeline("p", [outer]), 0.1)
        stated = await engine.run(Pipeline("p", [outer], timeout=30), 3)
    assert (unstated.value, stated.value) == (0.5, None)
    assert (unstated.status, stated.status) == ("ok", "ok")
