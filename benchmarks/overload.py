"""Traffic beyond what an engine can do: one run of the load test, and what became of it."""

from __future__ import annotations

import math
import random
from typing import Literal

import attrs
import trio

from graceline import Pipeline, PipelineResult, Timeouts, open_engine

__all__ = ["Ended", "Traffic", "play"]

MEDIAN = 0.1
WARM_UP = 300
"""Runs at the start that count for nothing: durations are learned, and the queue has filled."""
NO_LIMITS = Timeouts(node=None, pipeline=None)


@attrs.frozen
class Traffic:
    """Poisson arrivals of runs with lognormal durations of a median of 100 ms.

    Attributes:
        load: arriving work as a share of what the slots can do.
        sigma: of the durations.
        hanging: the share of runs that never end by themselves.
        budget: seconds that each run has.
        slots: runs that are active at once.
    """

    load: float
    sigma: float = 0.5
    hanging: float = 0.0
    budget: float = 4 * MEDIAN
    slots: int = 10

    @property
    def interval(self) -> float:
        """Seconds between two arrivals, on average."""
        work = MEDIAN * math.exp(self.sigma**2 / 2) * (1 - self.hanging)
        return (work + self.budget * self.hanging) / self.slots / self.load


@attrs.frozen
class Ended:
    """What became of the runs, in order of arrival, without the warm-up."""

    results: tuple[PipelineResult, ...]

    @property
    def done(self) -> float:
        """The percentage of runs that completed within their budget."""
        return 100 * sum(result.ok for result in self.results) / len(self.results)

    @property
    def refused(self) -> float:
        """The percentage of runs that were refused."""
        return 100 * sum(result.status == "rejected" for result in self.results) / len(self.results)

    @property
    def wasted(self) -> float:
        """The percentage of slot time that went into runs which did not complete."""
        held = [(result.elapsed - result.queued, result.ok) for result in self.results]
        return 100 * sum(time for time, ok in held if not ok) / sum(time for time, _ in held)

    @property
    def until_no(self) -> float:
        """The median of the milliseconds after which a run had an answer that is a no."""
        times = sorted(result.elapsed for result in self.results if not result.ok)
        return 1000 * times[len(times) // 2] if times else 0.0

    def refused_wrongly(self, plain: Ended) -> float:
        """The percentage of runs that were refused, and complete where nobody is refused."""
        pairs = zip(self.results, plain.results, strict=True)
        wrong = sum(one.status == "rejected" and other.ok for one, other in pairs)
        return 100 * wrong / len(self.results)


async def play(
    traffic: Traffic, admission: Literal["enforce", "off"], seed: int, runs: int
) -> Ended:
    """Send so many runs through an engine; the same seed makes the same arrivals and durations."""
    rng = random.Random(seed)  # noqa: S311 - traffic from a seed
    pipeline = Pipeline("work", [trio.sleep], timeout=traffic.budget)
    started = []
    async with open_engine(
        timeouts=NO_LIMITS, max_concurrent_pipelines=traffic.slots, max_queue=None,
        admission=admission, watchdog=None,
    ) as engine:  # fmt: skip
        at = trio.current_time()
        for _ in range(WARM_UP + runs):
            at += rng.expovariate(1 / traffic.interval)
            takes = rng.lognormvariate(math.log(MEDIAN), traffic.sigma)
            hangs = rng.random() < traffic.hanging
            await trio.sleep_until(at)
            started.append(engine.start(pipeline, math.inf if hangs else takes))
        await engine.wait_idle()
    results = [run.result for run in started[WARM_UP:]]
    return Ended(tuple(result for result in results if result is not None))
