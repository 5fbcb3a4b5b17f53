"""Memory of many runs in flight, in a process of its own: prints the bytes of RSS per run.

`python -m benchmarks.worker CONTESTANT SHAPE RUNS`. RSS is what the operating system gives, with
the task, its frames and the allocator's waste in it; it is read while every run waits in its last
node. The collector is off until then: all is alive, and looking at it would take half of the time.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from benchmarks.crowd import Gate, crowd
from benchmarks.floors import hand_parallel, hand_written
from benchmarks.shapes import Function, plain, side_by_side, straight
from graceline import Engine, open_engine

__all__ = ["BRANCHES", "CONTESTANTS", "bytes_per_run"]

Runs = dict[str, Callable[[], Awaitable[Any]]]

BRANCHES = 4
CONTESTANTS = ("hand", "engine")


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _run(contestant: str, shape: str, engine: Engine, gate: Gate) -> Callable[[], Awaitable[Any]]:
    if shape == "sequence":
        work: list[list[Function]] = [[plain, plain, plain, plain, gate.wait]]
        pipeline = straight(work)
        sequences: Runs = {
            "hand": partial(hand_written, work, 1),
            "engine": partial(engine.run, pipeline, 1),
        }
        return sequences[contestant]
    branches: list[Function] = [gate.wait] * BRANCHES
    pipeline = side_by_side(branches)
    stages: Runs = {
        "hand": partial(hand_parallel, branches, 1),
        "engine": partial(engine.run, pipeline, 1),
    }
    return stages[contestant]


async def _fill(runs: int, contestant: str, shape: str, engine: Engine) -> int:
    gate = Gate()
    gate.shut(runs * (1 if shape == "sequence" else BRANCHES))
    run = _run(contestant, shape, engine, gate)
    gc.collect()
    gc.disable()
    before = _resident()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crowd, runs, run)
        await gate.full()
        gc.collect()
        after = _resident()
        gate.open()
    return after - before


async def bytes_per_run(contestant: str, shape: str, runs: int) -> float:
    """The growth of RSS per run, with so many in flight."""
    async with open_engine(max_concurrent_pipelines=None) as engine:
        await _fill(20, contestant, shape, engine)
        return await _fill(runs, contestant, shape, engine) / runs


if __name__ == "__main__":
    print(trio.run(bytes_per_run, sys.argv[1], sys.argv[2], int(sys.argv[3])))
