"""Features: what a node costs more with each of them, switched on alone, if nothing goes wrong.

All are held against the same engine without any of them; `rows.difference` says how.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from benchmarks.floors import yardstick
from benchmarks.measure import Sample, interleave, timed
from benchmarks.rows import difference
from benchmarks.shapes import Function, plain, stages_of, straight
from graceline import (
    Adaptive,
    Breaker,
    Engine,
    Hedge,
    Metrics,
    Pipeline,
    Retry,
    cleanup,
    open_engine,
    save_partial,
)
from graceline.telemetry.timeline import Timeline
from graceline.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from benchmarks.effort import Effort
    from benchmarks.rows import Row

__all__ = ["WITHOUT", "Feature", "contestants", "features"]

GROUP, WITHOUT = "features", "without"
LEARNED = Adaptive(initial=1, ceiling=3)
_LIMIT = 1.0


@attrs.frozen
class Feature:
    """A run with one feature on.

    Attributes:
        run: does it once.
        design: the microseconds per node that the design allows for; None for any.
        warm: runs before anything is measured: a hedge is armed once 50 calls have completed.
        during: what is in force while it is measured.
    """

    run: Callable[[], Awaitable[Any]]
    design: float | None = None
    warm: int = 60
    during: Callable[[], AbstractContextManager[None]] = nullcontext

    def sample(self, nodes: int) -> Sample:
        """Samples of the seconds per node, after a run that fills the caches of the processor."""
        sample = timed(self.run, times=max(1, 100 // nodes), units=nodes)

        async def surrounded() -> float:
            with self.during():
                await self.run()
                return await sample()

        return surrounded


async def features(effort: Effort) -> list[Row]:
    """A stage of 5 and one of 50 plain nodes."""
    rows = []
    for nodes in (5, 50):
        async with contestants(nodes) as known:
            for feature in known.values():
                with feature.during():
                    for _ in range(feature.warm):
                        await feature.run()
            samples = await interleave(
                yardstick() | {name: one.sample(nodes) for name, one in known.items()},
                effort.rounds(80),
            )
        rows += [
            difference(
                samples, GROUP, f"{name}, more per node of {nodes}", figure=name,
                base=WITHOUT, design=feature.design,
            )
            for name, feature in known.items()
            if name != WITHOUT
        ]  # fmt: skip
    return rows


@asynccontextmanager
async def contestants(nodes: int) -> AsyncIterator[dict[str, Feature]]:
    """Every feature by its name, and the same work without any."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with (
        open_engine() as engine,
        open_engine(metrics=Metrics(registry=CollectorRegistry())) as shown,
        open_engine(sinks=[Tracing(provider)]) as traced,
    ):
        work = stages_of(plain, 1, nodes)
        without = straight(work, node_limit=_LIMIT, name="without")
        inner = straight(stages_of(plain, 1, 1), name="inner")

        def doing(function: Function) -> Feature:
            pipeline = straight(stages_of(function, 1, nodes), name=function.__name__)
            return Feature(partial(engine.run, pipeline, 1))

        def policy(name: str, **policies: Any) -> Feature:
            return Feature(partial(engine.run, straight(work, name=name, **policies), 1))

        async def nesting(value: Any) -> Any:
            return await engine.execute(inner, value)

        async def traced_run() -> None:
            await traced.run(without, 1)
            exporter.clear()

        guarded = policy("guarded", retry=Retry(attempts=3), breaker=Breaker())
        learned = straight(work, node_limit=LEARNED, name="learned")
        hedged = _hedged(straight(work, name="hedged"))
        yield {
            WITHOUT: Feature(partial(engine.run, without, 1)),
            "metrics in a registry": Feature(partial(shown.run, without, 1), design=0.5),
            # Warm is a learner whose cold start is over and whose window is full.
            "a learned limit": Feature(partial(engine.run, learned, 1), design=6.0, warm=300),
            "a retry": policy("retried", retry=Retry(attempts=3)),
            "a breaker": policy("broken", breaker=Breaker()),
            "a retry and a breaker": attrs.evolve(guarded, design=3.0),
            "a bulkhead": policy("bulkhead", limit=5),
            "a hedge that is armed and not sent": Feature(partial(engine.run, hedged, 1)),
            "a timeline as a live sink": attrs.evolve(_live(engine, without), design=3.0),
            "a timeline for each run, subscribed and removed": Feature(
                partial(_drawn, engine, without)
            ),
            "rows of a waterfall from the result": Feature(partial(_looked_at, engine, without)),
            "spans of OpenTelemetry in memory": Feature(traced_run),
            "the log at DEBUG": Feature(partial(engine.run, without, 1), during=_logged),
            "save_partial()": doing(saving),
            "a cleanup() block": doing(cleaning),
            "a run of one node in it": doing(nesting),
        }


async def saving(value: Any) -> Any:
    save_partial(value)
    return value


async def cleaning(value: Any) -> Any:
    with cleanup():
        return value


def _hedged(pipeline: Pipeline) -> Pipeline:
    (stage,) = pipeline.stages
    nodes = [attrs.evolve(node, idempotent=True, hedge=Hedge()) for node in stage.nodes]
    return attrs.evolve(pipeline, stages=(attrs.evolve(stage, nodes=nodes),))


def _live(engine: Engine, pipeline: Pipeline) -> Feature:
    """Runs while a timeline listens; one keeps no more than one run, so it begins anew for each."""
    timeline = Timeline()

    async def run() -> None:
        timeline.__init__()  # type: ignore[misc]
        await engine.run(pipeline, 1)

    @contextmanager
    def listening() -> Iterator[None]:
        unsubscribe = engine.subscribe(timeline)
        yield
        unsubscribe()

    return Feature(run, during=listening)


async def _drawn(engine: Engine, pipeline: Pipeline) -> None:
    """A run with a timeline of its own."""
    unsubscribe = engine.subscribe(Timeline())
    await engine.run(pipeline, 1)
    unsubscribe()


async def _looked_at(engine: Engine, pipeline: Pipeline) -> None:
    """A run of which somebody wants the rows."""
    (await engine.run(pipeline, 1)).timeline.rows()


class _Dropping(logging.Handler):
    """Drops each record; a `NullHandler` is known to the engine, which then builds none."""

    def emit(self, record: logging.LogRecord) -> None:
        """Drop it."""


@contextmanager
def _logged() -> Iterator[None]:
    """Switch the log of runs on."""
    log, handler = logging.getLogger("graceline.run"), _Dropping()
    level, propagates = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagates
