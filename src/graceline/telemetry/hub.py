"""The hub: takes events from the engine to the sinks, and keeps a broken sink from disturbing a run.

Two kinds of interest keep the hot path cheap. Every sink hears of trouble. Only a sink that wants a
*trace* also hears of each node that starts and ends well; while none does, those events are not even
built.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from graceline.telemetry.events import Event

__all__ = ["Hub", "Sink"]

_log = logging.getLogger("graceline.telemetry")


@runtime_checkable
class Sink(Protocol):
    """Something that listens. It is called in the event loop and must not block."""

    def wants_trace(self) -> bool:
        """Whether it wants the events of parts that end well; asked once per run."""
        ...

    def __call__(self, event: Event) -> None:
        """Take one event."""
        ...


class Hub:
    """The sinks of one engine."""

    def __init__(self, sinks: tuple[Sink, ...] = ()) -> None:
        """Start with `sinks`."""
        self._sinks = list(sinks)
        self._broken: set[int] = set()

    def add(self, sink: Sink) -> Callable[[], None]:
        """Add a sink; call what is returned to remove it."""
        self._sinks = [*self._sinks, sink]

        def remove() -> None:
            self._sinks = [other for other in self._sinks if other is not sink]

        return remove

    def traced(self) -> bool:
        """Whether any sink wants a trace."""
        return any(sink.wants_trace() for sink in self._sinks)

    def emit(self, event: Event) -> None:
        """Hand an event to every sink; a sink that raises is logged once."""
        for sink in self._sinks:
            try:
                sink(event)
            except Exception:
                if id(sink) not in self._broken:
                    self._broken.add(id(sink))
                    _log.exception("the sink %r raised; it stays subscribed", type(sink).__name__)
