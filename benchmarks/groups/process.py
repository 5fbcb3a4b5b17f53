"""Worker processes: the cost of a warm one, and what two processors are worth.

trio-parallel's own call cannot be cancelled without a SIGKILL. A "guarded" one is the least that
leaves room for more: the call in a task of its own, and beside it the task that a cancel wakes.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

import trio
import trio_parallel  # type: ignore[import-untyped]

from benchmarks import census
from benchmarks.measure import interleave, timed
from benchmarks.rows import MILLI, Row, compare
from graceline import Node, Pipeline, Stage, open_engine, sequence

if TYPE_CHECKING:
    from benchmarks.effort import Effort

__all__ = ["process"]

NODES = 20
FILES = 300
CORES = 2
NAKED = "trio-parallel"
GUARDED = "trio-parallel, guarded"
FASTER = 1.5  # what two processors have to be worth at least


async def process(effort: Effort) -> list[Row]:
    """A sequence of warm process nodes, and the census; wall time, since the work is elsewhere."""
    return [*await _warm(effort), await _census(effort)]


async def _warm(effort: Effort) -> list[Row]:
    nodes = (Node(abs, name=f"n{index}", runs_on="process") for index in range(NODES))
    pipeline = Pipeline("warm", [Stage("s", sequence(*nodes))], timeout=300)
    async with (
        open_engine(max_processes=1) as engine,
        trio_parallel.open_worker_context(idle_timeout=inf) as bare,
    ):

        async def by_engine() -> None:
            result = await engine.run(pipeline, -1)
            assert result.value == 1

        async def call(done: trio.Event | None = None) -> None:
            assert await bare.run_sync(abs, -1) == 1
            if done is not None:
                done.set()

        async def naked() -> None:
            for _ in range(NODES):
                await call()

        async def guarded() -> None:
            for _ in range(NODES):
                done = trio.Event()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call, done)
                    await done.wait()

        samples = await interleave(
            {
                NAKED: timed(naked, units=NODES, clock=time.perf_counter),
                GUARDED: timed(guarded, units=NODES, clock=time.perf_counter),
                "engine": timed(by_engine, units=NODES, clock=time.perf_counter),
            },
            effort.rounds(150),
        )
    return [
        compare(
            samples, "process", "node in a warm worker process", figure="engine", floor=floor,
            bar=bar,
        )
        for floor, bar in ((GUARDED, 1.3), (NAKED, None))
    ]  # fmt: skip


async def _census(effort: Effort) -> Row:
    files = FILES // 6 if effort.quick else FILES
    threads, processes = census.pipeline("thread"), census.pipeline("process")
    async with open_engine(max_processes=CORES) as engine:

        async def run(pipeline: Pipeline) -> None:
            result = await engine.run(pipeline, {"limit": files})
            assert result.value["files"] == files

        samples = await interleave(
            {
                "threads": timed(lambda: run(threads), clock=time.perf_counter),
                "processes": timed(lambda: run(processes), clock=time.perf_counter),
            },
            effort.rounds(5),
        )
    return compare(
        samples, "process", f"census of {files} files in {CORES} processes", figure="processes",
        floor="threads", bar=1 / FASTER, unit="ms", scale=MILLI,
    )  # fmt: skip
