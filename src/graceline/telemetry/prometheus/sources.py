"""What an engine gives a collector: its aggregates, and what it is doing at this moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graceline.telemetry.stats import Stats
from graceline.values import frozen

__all__ = ["Gauges", "Source"]


@frozen(kw_only=True)
class Gauges:
    """What an engine is doing at one moment.

    Attributes:
        in_flight: how many runs have a slot, or need none, by pipeline.
        queued: how many runs wait for a slot.
        abandoned_threads: worker threads that nobody waits for.
        stuck_nodes: nodes that do not end.
        breakers: the state of each circuit breaker by its name: 0 closed, 1 half open, 2 open.
        health: of each alternative, in [0, 1], by pipeline, stage, and `choice.alternative`.
    """

    in_flight: Mapping[str, int]
    queued: int
    abandoned_threads: int
    stuck_nodes: int
    breakers: Mapping[str, int]
    health: Mapping[tuple[str, str, str], float]


@frozen(kw_only=True, eq=False)
class Source:
    """An engine, as a collector sees it, from any thread.

    Attributes:
        lane: the lane of the engine.
        mode: `enforce`, `observe` or `off`.
        stats: its aggregates.
        gauges: tells what it is doing at this moment.
    """

    lane: str
    mode: str
    stats: Stats
    gauges: Callable[[], Gauges]
