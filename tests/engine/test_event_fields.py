"""The events of runs say what their results say."""

import pytest
import trio

from graceline import Node, Pipeline, Stage, Timeouts, open_engine, sequence


async def doze(value):
    await trio.sleep(1)
    raise ValueError(value)


async def test_events_say_what_the_result_says(autojump_clock):
    """Of a run that waited for its slot and failed: when, how long, why, and what its parts were."""
    heard = []
    node = Node(doze, name="n", critical=False, slo=7)
    async with open_engine(timeouts=Timeouts.none(), max_concurrent_pipelines=1) as engine:
        engine.start(Pipeline("q", [doze]), 1)
        stage = Stage("s", sequence(Node(trio.sleep, name="ok"), node), critical=False, slo=8)
        run = engine.start(Pipeline("p", [stage, Stage("t", [doze])], slo=9), 1)
        heard = [event async for event in run.events()]
        result = await run.wait()
    by = {(type(event).__name__, getattr(event, "node", None)): event for event in reversed(heard)}
    started, ended = by["RunStarted", None], by["RunFinished", None]
    assert started.queued == result.queued == ended.queued == 1
    assert started.slo == 9
    assert ended.at == pytest.approx(ended.started + result.elapsed)
    assert (ended.error_type, ended.completed) == ("ValueError", len(result.completed))
    assert (by["NodeStarted", "n"].critical, by["NodeStarted", "n"].slo) == (False, 7)
    began = by["StageStarted", None]
    assert (began.critical, began.slo) == (False, 8)


async def test_the_end_of_a_late_run_says_by_how_much(autojump_clock):
    """Seconds past the limit are no seconds of cleanup."""

    async def late(value):
        autojump_clock.jump(2)
        return value

    async with open_engine(timeouts=Timeouts.none()) as engine:
        run = engine.start(Pipeline("p", [late], timeout=1), 1)
        heard = [event async for event in run.events()]
        result = await run.wait()
    assert (
        (heard[-1].overrun, heard[-1].grace_used) == (result.overrun, result.grace_used) == (1, 0)
    )
