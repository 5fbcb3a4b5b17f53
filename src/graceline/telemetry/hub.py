"""The hub: takes events from the engine to the sinks; a broken sink cannot disturb a run.

Kinds of interest keep the hot path cheap. Every sink hears of trouble. Only a sink that wants a
*trace* also hears of each node that starts and ends well; while none does, those events are not
even built. Only a sink that wants *output* gets what child programs write: a method `wants_output`
says so, as `wants_trace` does. A sink with a method `keep_exemplars` gets the store for them; one
with a method `carrier` is asked for headers wherever a run makes a call to another process.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from graceline.telemetry.events import Event
    from graceline.telemetry.exemplars import Exemplars

__all__ = ["Hub", "Resume", "Sink"]

Resume: TypeAlias = "Callable[[Mapping[str, str]], Callable[[], Mapping[str, str]]]"

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

    def __init__(self, sinks: tuple[Sink, ...] = (), exemplars: Exemplars | None = None) -> None:
        """Start with `sinks`; `exemplars` is for those that note some."""
        self._sinks: tuple[Sink, ...] = ()
        self._tracers: tuple[tuple[Sink, Callable[[], bool]], ...] = ()
        self._readers: tuple[tuple[Sink, Callable[[], bool]], ...] = ()
        self._carriers: tuple[tuple[Sink, Callable[[], Mapping[str, str]]], ...] = ()
        self._broken: set[int] = set()
        self._exemplars = exemplars
        self._set(sinks)
        for sink in sinks:
            self._share(sink)

    def add(self, sink: Sink) -> Callable[[], None]:
        """Add a sink; call what is returned to remove it."""
        self._set((*self._sinks, sink))
        self._share(sink)

        def remove() -> None:
            self._set(tuple(other for other in self._sinks if other is not sink))
            self._broken.discard(id(sink))

        return remove

    def heard(self) -> bool:
        """Whether any sink would take an event now; a sink may say otherwise by a method `deaf`."""
        return any(not self._deaf(sink) for sink in self._sinks)

    def traced(self) -> bool:
        """Whether any sink wants a trace."""
        for sink, wants_trace in self._tracers:  # spelled out: it is asked for every run
            try:
                if wants_trace():
                    return True
            except Exception:  # noqa: BLE001 - whatever a sink raises, the run goes on
                self._report(sink)
        return False

    def carrier(self) -> dict[str, str]:
        """Headers that hand on what sinks know of the calling task, such as a trace."""
        headers: dict[str, str] = {}
        for sink, carrier in self._carriers:
            try:
                headers.update(carrier())
            except Exception:  # noqa: BLE001 - whatever a sink raises, the run goes on
                self._report(sink)
        return headers

    def luggage(self) -> list[tuple[Resume, Mapping[str, str]]]:
        """The same for a worker process, each with the function that takes it up there.

        That is the sink's attribute `resume`, which pickle has to be able to write; a sink without
        it sends nothing along.
        """
        found: list[tuple[Resume, Mapping[str, str]]] = []
        for sink, carrier in self._carriers:
            try:
                resume = getattr(sink, "resume", None)
                if resume is not None:
                    found.append((resume, carrier()))
            except Exception:  # noqa: BLE001 - whatever a sink raises, the run goes on
                self._report(sink)
        return found

    def emit(self, event: Event) -> None:
        """Hand an event to every sink; a sink that raises is logged once."""
        for sink in self._sinks:
            self._hand(event, sink)

    def emit_output(self, build: Callable[[], Event]) -> None:
        """Hand what a child program wrote to the sinks that want output; built if any does."""
        event: Event | None = None
        for sink, wants_output in self._readers:
            try:
                wanted = wants_output()
            except Exception:  # noqa: BLE001 - whatever a sink raises, the run goes on
                self._report(sink)
                continue
            if wanted:
                event = event or build()
                self._hand(event, sink)

    def _hand(self, event: Event, sink: Sink) -> None:
        try:
            sink(event)
        except Exception:  # noqa: BLE001 - whatever a sink raises, the run goes on
            self._report(sink)

    def _share(self, sink: Sink) -> None:
        """Give a sink that notes exemplars the store for them."""
        method = getattr(sink, "keep_exemplars", None)
        if method is None or self._exemplars is None:
            return
        try:
            method(self._exemplars)
        except Exception:  # noqa: BLE001 - whatever a sink raises, the engine goes on
            self._report(sink)

    def _set(self, sinks: tuple[Sink, ...]) -> None:
        """Have these sinks from now on; one without `wants_trace` wants none."""
        self._sinks = sinks
        self._tracers = _asking(sinks, "wants_trace")
        self._readers = _asking(sinks, "wants_output")
        self._carriers = _asking(sinks, "carrier")

    def _deaf(self, sink: Sink) -> bool:
        """Whether a sink says that it is deaf; one without the method, or that raises, is not."""
        method = getattr(sink, "deaf", None)
        try:
            return method is not None and bool(method())
        except Exception:  # noqa: BLE001 - whatever a sink raises, the run goes on
            self._report(sink)
            return False

    def _report(self, sink: Sink) -> None:
        """Log the exception that is being handled, once per sink."""
        if id(sink) not in self._broken:
            self._broken.add(id(sink))
            name = type(sink).__name__
            _log.error("the sink %r raised; it stays subscribed", name, exc_info=True)


def _asking(sinks: tuple[Sink, ...], name: str) -> tuple[tuple[Sink, Callable[[], Any]], ...]:
    """The sinks that have a method of this name, with it."""
    asked = ((sink, getattr(sink, name, None)) for sink in sinks)
    return tuple((sink, method) for sink, method in asked if method is not None)
