"""Stalls: how long the loop keeps everybody else waiting while many runs start, live and end.

Whoever starts 100,000 runs in one tick has a tick of 100,000 starts, with any library: a stall is
what one run costs, times how many have something to do at the same moment. Arrivals that are spread
have no such tick; what is left then is the garbage collector, which stops everything while it looks
at all objects that are alive. When it does so by itself is chance, which may fall to one contestant
and not to the other. So each has one full collection when all of its runs are in flight.
"""

from __future__ import annotations

import gc
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from benchmarks.crowd import PLAIN, Gate, contestants, crowd, readings
from benchmarks.floors import HAND
from benchmarks.pauses import Collector, Stall
from benchmarks.rows import MILLI, Row, compare
from benchmarks.shapes import Function, plain
from graceline import open_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.effort import Effort

__all__ = ["COLLECTOR", "spread", "stalls"]

PER_TICK = 100
START, END = "all start in one tick", "all end in one tick"
SPREAD, COLLECTOR = f"{PER_TICK} start per tick", f"{PER_TICK} start per tick: longest collection"


async def stalls(effort: Effort) -> list[Row]:
    """A sequence of 5 nodes that waits in its last."""
    gate = Gate()
    work: list[list[Function]] = [[*[plain] * 4, gate.wait]]
    rows = []
    async with open_engine(max_concurrent_pipelines=None) as engine:
        runs = contestants(engine, work)
        for n, rounds, wanted in _QUICK if effort.quick else _FULL:
            figures: dict[str, dict[str, list[float]]] = {}
            for reading in wanted:
                figures |= await readings(
                    {name: partial(reading, gate, n, run) for name, run in runs.items()}, rounds
                )
            rows += [
                compare(
                    samples, "stalls", f"longest stall, {n:,} runs, {what}", figure="engine",
                    floor=floor, unit="ms", scale=MILLI,
                )
                for what, samples in figures.items() for floor in (HAND, PLAIN)
            ]  # fmt: skip
    return rows


async def _burst(gate: Gate, n: int, run: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    gate.shut(n)
    async with trio.open_nursery() as nursery:
        with Stall() as start:
            nursery.start_soon(crowd, n, run)
            await gate.full()
        with Stall() as end:
            gate.open()
            while nursery.child_tasks:
                await trio.lowlevel.checkpoint()
    return {START: start.longest, END: end.longest}


async def spread(gate: Gate, n: int, run: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    """So many runs start few by few; the longest stall until all are there, and have been seen."""
    gate.shut(n)
    async with trio.open_nursery() as nursery:
        with Stall() as stall, Collector(time.perf_counter) as collector:
            for started in range(n):
                nursery.start_soon(run)
                if started % PER_TICK == 0:
                    await trio.lowlevel.checkpoint()
            await gate.full()
            gc.collect()
        gate.open()
    return {SPREAD: stall.longest, COLLECTOR: collector.longest}


_QUICK = ((2_000, 2, (_burst, spread)),)
_FULL = ((10_000, 2, (_burst, spread)), (100_000, 1, (spread,)))
"""How many runs, in how many rounds, measured how: 100,000 in one tick stall ten times as long."""
