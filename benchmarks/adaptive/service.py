"""A service behind a learned limit, in the real engine: does it hold what the simulator promises?

Three services at once, each a pipeline of one node that is called again and again: one slows down
to four times its latency, one begins to hang in a tenth of the calls, one stays as it is. Latencies
are lognormal with a median of 50 ms. In virtual time it takes a second, on the real clock two to
three minutes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf

import trio

from benchmarks.adaptive.table import OURS, Line
from graceline import Adaptive, Node, Pipeline, PipelineResult, open_engine
from graceline.virtual import run_virtual

__all__ = ["serve"]

_LEARNED = Adaptive(initial=1.0, ceiling=3.0)
_BEFORE = 400
_AFTER = 300
_STEADY = 1500
_IN_A_ROW = 20


class _Service:
    """A service whose latency may change while it is called."""

    __name__ = "service"

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - latencies
        self.factor = 1.0
        self.hangs = 0.0

    def latency(self) -> float:
        """The next one, in seconds."""
        hung = self.random.random() < self.hangs
        return inf if hung else self.factor * 0.05 * self.random.lognormvariate(0.0, 0.5)

    async def __call__(self, value: object) -> object:
        """Take as long as it takes."""
        await trio.sleep(self.latency())
        return value


def serve(seed: int, *, real: bool) -> list[Line]:
    """Call the three services, on the real clock or in virtual time; each figure with its bar."""
    if real:
        return trio.run(_serve, seed, "real clock")
    return run_virtual(_serve, seed, "virtual time")


async def _serve(seed: int, where: str) -> list[Line]:
    found: dict[str, list[PipelineResult]] = {}
    # Three services share one loop, so their calls may be late by a tick: no slots to wait for.
    async with open_engine(max_concurrent_pipelines=None) as engine:

        async def call(name: str, change: Callable[[_Service], None], count: int) -> None:
            service = _Service(seed)
            pipeline = Pipeline(name, [Node(service, timeout=_LEARNED)], timeout=inf)
            for _ in range(_BEFORE):
                await engine.run(pipeline)
            change(service)
            found[name] = [await engine.run(pipeline) for _ in range(count)]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "step", _slow_down, _AFTER)
            nursery.start_soon(call, "hangs", _begin_to_hang, _AFTER)
            nursery.start_soon(call, "steady", lambda _: None, _STEADY)
    cuts = [index for index, result in enumerate(found["step"]) if not result.ok]
    gaps = zip([-1, *cuts], [*cuts, _AFTER], strict=True)
    calm = next((last + 1 for last, following in gaps if following - last > _IN_A_ROW), inf)
    waste = sorted(0.0 if result.ok else result.elapsed * 1000 for result in found["hangs"])
    steady = sum(not result.ok for result in found["steady"]) / _STEADY * 100
    return [
        Line(f"x4 step: calls until 20 are ok, {where}", "calls", {OURS: calm}, 40.0),
        Line(f"x4 step: cuts in the next {_AFTER}, {where}", "", {OURS: len(cuts)}, 10.0),
        Line(f"10 % hang: p99 waste, {where}", "ms", {OURS: waste[int(0.99 * len(waste))]}, 300.0),
        Line(f"cut where 1 s cuts none, {where}", "%", {OURS: steady}, 1.5),
    ]


def _slow_down(service: _Service) -> None:
    service.factor = 4.0


def _begin_to_hang(service: _Service) -> None:
    service.hangs = 0.1
