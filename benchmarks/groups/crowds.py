"""Runs: the cost of one must not depend on how many there were, or are in flight with it.

With 100,000 in flight half of all CPU is CPython's garbage collector, for the engine and for
hand-written scopes alike, and a third for plain Trio. Ten runs end before it looks twice; with
100,000 alive it looks at everything each time that a quarter has come on top, some 20 times until
all are there, and finds nothing: neither makes cycles. Nobody who keeps objects can meet a bar on
growth that counts this, so there are two: the cost outside the collector may not grow by more than
1.3 x, and all of it not by more than 1.3 x what hand-written scopes grow by in the same rounds.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from benchmarks.crowd import PLAIN, Gate, contestants, crowd, readings
from benchmarks.floors import HAND
from benchmarks.measure import interleave, ratios, timed
from benchmarks.pauses import Collector
from benchmarks.rows import Row, compare, growth
from benchmarks.shapes import Function, checkpointing, stages_of, straight
from graceline import Pipeline, open_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.effort import Effort

__all__ = ["crowds"]

GROUP = "crowds"
BAR = 1.3
ALL, OUTSIDE = "all", "outside the collector"
_ROUNDS = 3
"""Each takes more than a minute; the worst growth of a single one is mostly that of the machine."""
ENOUGH, FEW = 10_000, 1_000
"""Runs in a sample of a small crowd, and in a quick look."""


async def crowds(effort: Effort) -> list[Row]:
    """Runs one after another; runs in flight at once: their cost, and how it grows."""
    sizes = effort.sizes(10, 100, 1_000, 10_000, 100_000)
    return [await _one_after_another(sizes, effort), *await _at_once(sizes, effort)]


async def _one_after_another(sizes: list[int], effort: Effort) -> Row:
    pipeline = straight(stages_of(checkpointing, 1, 5))
    samples = await interleave(
        {
            f"{n:,}": timed(partial(_life, pipeline, n), times=_often(n, effort), units=n)
            for n in sizes
        },
        _ROUNDS,
        warmup=0,
    )
    return growth(samples, GROUP, "per run, one after another", bar=BAR)


async def _life(pipeline: Pipeline, runs: int) -> None:
    """The life of an engine: what a run leaves behind would make the next ones dearer."""
    async with open_engine() as engine:
        for _ in range(runs):
            await engine.run(pipeline, 1)


async def _at_once(sizes: list[int], effort: Effort) -> list[Row]:
    gate = Gate()
    work: list[list[Function]] = [[*[checkpointing] * 4, gate.wait]]
    async with open_engine(max_concurrent_pipelines=None) as engine:
        figures = await readings(
            {
                f"{name} {n:,}": partial(_reading, gate, n, _often(n, effort), run)
                for n in sizes
                for name, run in contestants(engine, work).items()
            },
            _ROUNDS,
        )
    names = [f"{n:,}" for n in sizes]
    everything = {
        name: {n: figures[ALL][f"{name} {n}"] for n in names} for name in ("engine", HAND, PLAIN)
    }
    outside = {name: {n: figures[OUTSIDE][f"{name} {n}"] for n in names} for name in everything}
    largest = {name: samples[names[-1]] for name, samples in everything.items()}
    rows = [
        compare(largest, GROUP, f"CPU per run, {names[-1]} in flight", figure="engine", floor=floor)
        for floor in (HAND, PLAIN)
    ]
    what = "CPU per run in flight"
    for name, samples in everything.items():
        said, bar = ("", BAR) if name == "engine" else (f", {name}", None)
        rows.append(growth(outside[name], GROUP, f"{what} {OUTSIDE}{said}", bar=bar))
        rows.append(growth(samples, GROUP, f"{what}{said}", bar=None))
    for floor, bar in ((HAND, BAR), (PLAIN, None)):
        times = {n: ratios(everything["engine"][n], everything[floor][n]) for n in names}
        rows.append(
            growth(times, GROUP, f"{what}, times that of {floor}", bar=bar, unit="x", scale=1.0)
        )
    return rows


async def _reading(
    gate: Gate, n: int, times: int, run: Callable[[], Awaitable[Any]]
) -> dict[str, float]:
    """CPU seconds per run of so many in flight, who gather so many times."""
    with Collector() as collector:
        start = time.process_time()
        for _ in range(times):
            gate.shut(n)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(crowd, n, run)
                await gate.full()
                gate.open()
        took = time.process_time() - start
    runs = times * n
    return {ALL: took / runs, OUTSIDE: (took - collector.seconds) / runs}


def _often(runs: int, effort: Effort) -> int:
    return max(1, (FEW if effort.quick else ENOUGH) // runs)
