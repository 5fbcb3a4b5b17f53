"""Sharing the time of a pipeline: which runs end within it, and how much work is wasted on others.

Real pipelines in the real engine, in virtual time. Five stages usually take 10, 20, 60, 30 and
15 ms, lognormal with a sigma of 0.5 as elsewhere here; the whole has 250 ms. In 2 % of the runs one
stage, any of them, hangs; in another 10 % one stage takes five times as long. Every way of sharing
meets the same durations.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any, Literal

import attrs
import trio

from graceline import Pipeline, PipelineResult, Stage, open_engine
from graceline.virtual import run_virtual

__all__ = ["WAYS", "SharedRuns", "render_budgets", "share"]

RUNS = 500
"""Runs per seed, the cold start included."""

_MEDIANS = (0.010, 0.020, 0.060, 0.030, 0.015)
_SIGMA = 0.5
_TOTAL = 0.25
_HANGS = 0.02
_MISSES = 0.10


@attrs.frozen
class _Way:
    """How the time is shared: `budget=`, and the limit of each stage if they have one."""

    budget: Literal["fixed", "remaining", "reserve"]
    each: float | None = None


WAYS: Mapping[str, _Way] = {
    "equal split": _Way("fixed", _TOTAL / len(_MEDIANS)),
    "remaining": _Way("remaining"),
    "reserve": _Way("reserve"),
}


@attrs.frozen
class SharedRuns:
    """What became of the runs of one way.

    Attributes:
        completed: the share of runs that ended well within the total, in percent.
        wasted: milliseconds of work per run, all runs counted, that came to nothing.
    """

    completed: float
    wasted: float


def durations(seed: int, runs: int) -> list[list[float]]:
    """What the stages of each run take, in seconds; `inf` hangs."""
    chance = random.Random(seed)  # noqa: S311 - latencies
    drawn = []
    for _ in range(runs):
        run = [median * chance.lognormvariate(0.0, _SIGMA) for median in _MEDIANS]
        fate, stage = chance.random(), chance.randrange(len(_MEDIANS))
        if fate < _HANGS:
            run[stage] = inf
        elif fate < _HANGS + _MISSES:
            run[stage] *= 5.0
        drawn.append(run)
    return drawn


def share(seeds: Sequence[int], runs: int = RUNS) -> dict[str, SharedRuns]:
    """Simulate every way, with an engine of its own per seed."""
    drawn = [durations(seed, runs) for seed in seeds]
    return {name: _summary(_results(way, drawn)) for name, way in WAYS.items()}


def _results(way: _Way, drawn: Sequence[Sequence[Sequence[float]]]) -> Iterator[PipelineResult]:
    for one in drawn:
        yield from run_virtual(_run_all, way, one)


async def _run_all(way: _Way, drawn: Sequence[Sequence[float]]) -> list[PipelineResult]:
    stages = [Stage(f"s{at}", [_work_of(at)], timeout=way.each) for at in range(len(_MEDIANS))]
    pipeline = Pipeline("p", stages, timeout=_TOTAL, budget=way.budget)
    async with open_engine(mode="enforce") as engine:
        return [await engine.run(pipeline, one) for one in drawn]


def _work_of(at: int) -> Any:
    async def work(one: Sequence[float]) -> Sequence[float]:
        await trio.sleep(one[at])
        return one

    return work


def _summary(results: Iterator[PipelineResult]) -> SharedRuns:
    count = completed = 0
    wasted = 0.0
    for result in results:
        count += 1
        if result.ok:
            completed += 1
        else:
            parts = (part for stage in result.stages.values() for part in stage.nodes.values())
            wasted += sum(part.elapsed for part in parts)
    return SharedRuns(100.0 * completed / count, 1000.0 * wasted / count)


def render_budgets(found: Mapping[str, SharedRuns]) -> str:
    """The table as text."""
    rows = [
        ("sharing a budget of 250 ms", "completed", "wasted per run"),
        *((name, f"{one.completed:.1f} %", f"{one.wasted:.1f} ms") for name, one in found.items()),
    ]
    return "\n".join(f"{what:<26}  {done:>9}  {lost:>14}" for what, done, lost in rows)
