"""Metering: an engine shows a collector what it counts and does, and keeps an endpoint for it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio

from graceline.engine.plan import PipelinePlan
from graceline.resilience import BreakerState
from graceline.telemetry.prometheus import Gauges, Metrics, Source

if TYPE_CHECKING:
    from graceline.engine.admission import Admission
    from graceline.engine.protections import Protections
    from graceline.engine.state import RunState
    from graceline.engine.watchdog import StuckWatch
    from graceline.telemetry.prometheus.collector import Collector
    from graceline.telemetry.prometheus.endpoint import Endpoint
    from graceline.work import Workers

__all__ = ["Metering", "gauges"]

_STATES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


class Metering:
    """The metrics of one engine, from its opening to its end.

    Args:
        metrics: where they are shown; None for nowhere.
        host: where the endpoint listens.
        port: the same; 0 for any free one, None for no endpoint.
    """

    def __init__(self, metrics: Metrics | None, host: str, port: int | None) -> None:
        self._metrics = metrics
        self._host = host
        self._port = port
        self._source: Source | None = None
        self._collector: Collector | None = None
        self._endpoint: Endpoint | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of the endpoint, while there is one."""
        return None if self._endpoint is None else (self._endpoint.host, self._endpoint.port)

    async def begin(self, source: Source) -> None:
        """Show an engine from now on.

        Raises:
            DefinitionError: if the registry has other metrics of these names.
            GracelineError: if the address of the endpoint cannot be had.
        """
        if self._metrics is None:
            return
        # The client of Prometheus is imported by who asks for metrics.
        from graceline.telemetry.prometheus.collector import (  # noqa: PLC0415
            collector_of,
            registry_of,
        )

        collector = collector_of(self._metrics)
        if self._port is not None:
            from graceline.telemetry.prometheus.endpoint import open_endpoint  # noqa: PLC0415

            # In a thread, since a name may have to be looked up.
            registry = registry_of(self._metrics)
            self._endpoint = await trio.to_thread.run_sync(
                open_endpoint, registry, self._host, self._port
            )
        collector.attach(source)
        self._collector, self._source = collector, source

    async def end(self) -> None:
        """Keep what was counted, and close the endpoint."""
        if self._collector is not None and self._source is not None:
            self._collector.detach(self._source)
            self._collector = self._source = None
        if self._endpoint is not None:
            from graceline.telemetry.prometheus.endpoint import close_endpoint  # noqa: PLC0415

            endpoint, self._endpoint = self._endpoint, None
            await trio.to_thread.run_sync(close_endpoint, endpoint)


def gauges(
    live: dict[str, RunState],
    admission: Admission,
    workers: Workers,
    protections: Protections,
    stuck: StuckWatch | None,
    now: float,
) -> Gauges:
    """What an engine is doing; from any thread.

    Args:
        live: its runs by id.
        admission: its queue.
        workers: its threads.
        protections: its breakers, and the health of alternatives.
        stuck: its watchdog.
        now: the time by its clock.
    """
    in_flight = Counter(
        run.plan.name
        for run in live.copy().values()
        if run.waiter is None and isinstance(run.plan, PipelinePlan)
    )
    breakers: dict[str, int] = {}
    for breaker in protections.breakers(now):
        state = _STATES[breaker.state]
        breakers[breaker.name] = max(state, breakers.get(breaker.name, 0))
    return Gauges(
        in_flight=in_flight,
        queued=admission.queued,
        abandoned_threads=workers.threads.abandoned,
        stuck_nodes=0 if stuck is None else len(stuck.found()),
        breakers=breakers,
        health=protections.healths(now),
    )
