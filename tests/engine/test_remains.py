"""Nothing survives a run: no task, no scope, no slot, no entry in the engine's books."""

import pytest
import trio

from graceline import Node, Pipeline, Stage, Timeouts, cleanup, each, open_engine, parallel

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=1.0)


@pytest.mark.parametrize(
    "end", ["ok", "failed", "timed_out", "cancelled", "caller", "shutdown", "interrupt"]
)
async def test_nothing_survives_a_run(autojump_clock, end):
    """Branches, items, nested runs and their cleanup are all gone when `run` returns, however it ends."""

    async def work(value):
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 2)
                await trio.sleep(2)
        finally:
            with cleanup():
                await trio.sleep(5)
        return value

    async def hang(_):
        await trio.sleep_forever()

    async def decide(_):
        await trio.sleep(0.5)
        if end == "failed":
            raise ValueError
        if end == "interrupt":
            raise KeyboardInterrupt

    async def outer(value):
        return (await engine.run(Pipeline("inner", parallel(work, each(work, name="e"))), value)).ok

    async def cut(run_id):
        await trio.sleep(0.5)
        if end == "cancelled":
            await engine.cancel(run_id)
        if end == "shutdown":
            await engine.drain(0)

    limit = 0.5 if end == "timed_out" else None
    nodes = parallel(Node(work, on_cleanup=hang), each(work, name="e"), outer, decide)
    pipeline = Pipeline("p", [Stage("s", nodes)], timeout=limit)
    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=1) as engine:
        before = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut, "r")
            with trio.move_on_after(0.5 if end == "caller" else float("inf")):
                try:
                    await engine.run(pipeline, [1, 2], run_id="r")
                except BaseExceptionGroup as group:
                    if end != "interrupt" or group.subgroup(KeyboardInterrupt) is None:
                        raise
            ended = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert (engine.runs(), engine._admission.active) == ((), 0)
        assert ended == pytest.approx(2 + 1 + 1 if end == "ok" else 0.5 + 1)
