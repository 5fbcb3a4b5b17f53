"""The hub: takes events from the engine to the sinks; none of them can disturb a run.

A sink with a true attribute `inline` is called in the event loop, at once; any other gets its
events from a `Courier`, in a thread, and may block.

Kinds of interest keep the hot path cheap. Every sink hears of trouble. Only while one wants a
*trace* are the events of parts that start and end well even built; it gets them, and so does one
that has no opinion, but none that says it wants none. Only a sink that wants *output* gets what
child programs write: a method `wants_output` says so, as `wants_trace` does. Only one whose method
`wants_payloads` says so when it is subscribed gets what parts take and return. A sink with a method
`keep_exemplars` gets the store for them; one with a method `carrier` is asked for headers wherever
a run makes a call to another process.

An inline sink whose class has a method `for_engine` gives each engine a sink of its own. One whose
class has a method `see_out` is told when it is to be removed, and gets what removes it: it may hear
the runs that it has begun with to their ends.
"""

from __future__ import annotations

import time
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from graceline.errors import DefinitionError
from graceline.telemetry.carrying import add_headers
from graceline.telemetry.courier import Complaint, Courier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from graceline.telemetry.events import Event
    from graceline.telemetry.exemplars import Exemplars

__all__ = ["NOBODY", "Hub", "Listener", "Resume", "Sink", "Spared"]

Resume: TypeAlias = "Callable[[Mapping[str, str]], Callable[[], Mapping[str, str]]]"


@runtime_checkable
class Sink(Protocol):
    """Something that listens, in a thread of its own, where it may block.

    With a class attribute `inline = True` it is called in the event loop instead, at once and in
    order with what happens there, and must not block. A plain function can be a sink as well.

    An inline sink may have a method `deaf`, which says whether it would take no event now. Only an
    inline one is asked for headers, by `carrier`.
    """

    def wants_trace(self) -> bool:
        """Whether it wants the events of parts that end well.

        An inline sink is asked for each run, any other one once, when it is subscribed.
        """
        ...

    def __call__(self, event: Event) -> None:
        """Take one event."""
        ...


Listener: TypeAlias = "Sink | Callable[[Event], object]"
Spared: TypeAlias = "Mapping[int, Listener]"
"""Sinks by their `id`, which is theirs as long as they are in here."""
NOBODY: Spared = MappingProxyType({})


class Hub:
    """The sinks of one engine.

    Attributes:
        curious: the sinks that want payloads.
        dropped: how many events found the queue of a slow sink full, in all.
    """

    def __init__(
        self, sinks: tuple[Listener, ...] = (), exemplars: Exemplars | None = None
    ) -> None:
        """Start with `sinks`; `exemplars` is for those that note some."""
        self._sinks: tuple[Listener, ...] = ()
        self._numbered: tuple[tuple[int, Listener], ...] = ()
        self._tracers: tuple[tuple[Listener, Callable[[], bool]], ...] = ()
        self._readers: tuple[tuple[Listener, Callable[[], bool]], ...] = ()
        self.curious: tuple[Listener, ...] = ()
        self._carriers: tuple[tuple[Listener, Callable[[], Mapping[str, str]]], ...] = ()
        self._complaints: dict[int, Complaint] = {}
        self._couriers: tuple[Courier, ...] = ()
        self.dropped: int = 0
        self._exemplars = exemplars
        for sink in sinks:
            self.add(sink)

    def add(self, sink: Listener, *, inline: bool | None = None) -> Callable[[], None]:
        """Add a sink; call what is returned to remove it.

        Args:
            sink: the sink.
            inline: whether it is called in the event loop; by default as its attribute `inline`
                says, else not. A sink in a thread that is removed gets what came before.

        Raises:
            DefinitionError: for `inline=False` against that attribute.
        """
        in_loop = bool(getattr(sink, "inline", False))
        if in_loop and inline is False:
            raise DefinitionError(
                f"inline=False: {type(sink).__name__} has to be called in the event loop, as its "
                "attribute `inline` says; leave the argument out"
            )
        inline = inline or in_loop
        if inline:
            sink = getattr(type(sink), "for_engine", lambda itself: itself)(sink)
        courier = None if inline else Courier(sink, self._count_drop)
        entry: Listener = courier or sink
        if courier is not None:
            self._couriers = (*self._unfinished(), courier)
        self._set((*self._sinks, entry))
        self._tracers += _asking(entry, "wants_trace")
        self._readers += _asking(entry, "wants_output")
        self._carriers += _asking(entry, "carrier")
        if self._ask(entry, "wants_payloads"):
            self.curious = (*self.curious, entry)
        self._share(sink, entry)

        def drop() -> None:
            self._set(tuple([other for other in self._sinks if other is not entry]))
            self.curious = tuple([other for other in self.curious if other is not entry])
            self._tracers = tuple([pair for pair in self._tracers if pair[0] is not entry])
            self._readers = tuple([pair for pair in self._readers if pair[0] is not entry])
            self._carriers = tuple([pair for pair in self._carriers if pair[0] is not entry])
            self._complaints.pop(id(entry), None)
            if courier is not None:
                courier.close()

        see_out = getattr(type(entry), "see_out", None)
        return drop if see_out is None else partial(see_out, entry, drop)

    def close(self) -> bool:
        """Hand nothing more to sinks in threads; returns whether `wait` has to see them out."""
        for courier in self._couriers:
            courier.close()
        return bool(self._unfinished())

    def wait(self, seconds: float) -> None:
        """Block until sinks in threads have what they are due; after `seconds` the rest is lost."""
        until = time.monotonic() + seconds
        for courier in self._unfinished():
            courier.wait(until)

    def heard(self) -> bool:
        """Whether any sink would take an event now; a sink may say otherwise by a method `deaf`."""
        for sink in self._sinks:  # noqa: SIM110 - spelled out: something is late already
            if not self._ask(sink, "deaf"):
                return True
        return False

    def spared(self, *, wanted: bool = False) -> Spared | None:
        """The sinks that want no trace of a run that goes on now; None if nobody wants one.

        Args:
            wanted: whether somebody does in any case.
        """
        refuse: list[Listener] = []
        for sink, wants_trace in self._tracers:  # spelled out: it is asked for every run
            try:
                if wants_trace():
                    wanted = True
                    continue
            except Exception:  # noqa: BLE001 - whatever a sink raises, the run goes on
                self._report(sink)
            refuse.append(sink)
        return {id(sink): sink for sink in refuse} if wanted else None

    def carrier(self) -> dict[str, str]:
        """Headers that hand on what sinks know of the calling task, such as a trace."""
        headers: dict[str, str] = {}
        for sink, carrier in self._carriers:
            try:
                add_headers(headers, carrier())
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
        for sink in self._sinks:  # spelled out: it is called twice for every node of a trace
            try:
                sink(event)
            except Exception:  # noqa: BLE001 - whatever a sink raises, the run goes on
                self._report(sink)

    def trace(self, event: Event, spared: Spared) -> None:
        """The same, but for some sinks."""
        for number, sink in self._numbered:
            if number in spared:  # not by `==`: sinks may be equal at times
                continue
            try:
                sink(event)
            except Exception:  # noqa: BLE001 - whatever a sink raises, the run goes on
                self._report(sink)

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

    def payloads_wanted(self, *, well: bool) -> bool:
        """Whether any sink wants to see payloads now; of what ended `well`, those with a trace."""
        return any(not well or self._ask(sink, "wants_trace") for sink in self.curious)

    def emit_payloads(self, event: Event) -> None:
        """Hand what a part took and returned to the sinks that want it."""
        for sink in self.curious:
            self._hand(event, sink)

    def _hand(self, event: Event, sink: Listener) -> None:
        try:
            sink(event)
        except Exception:  # noqa: BLE001 - whatever a sink raises, the run goes on
            self._report(sink)

    def _share(self, sink: Listener, entry: Listener) -> None:
        """Give a sink that notes exemplars the store for them."""
        method = getattr(sink, "keep_exemplars", None)
        if method is None or self._exemplars is None:
            return
        try:
            method(self._exemplars)
        except Exception:  # noqa: BLE001 - whatever a sink raises, the engine goes on
            self._report(entry)

    def _unfinished(self) -> tuple[Courier, ...]:
        self._couriers = tuple(courier for courier in self._couriers if not courier.done)
        return self._couriers

    def _count_drop(self) -> None:
        self.dropped += 1

    def _set(self, sinks: tuple[Listener, ...]) -> None:
        self._sinks = sinks
        self._numbered = tuple([(id(sink), sink) for sink in sinks])  # a trace asks for it often

    def _ask(self, sink: Listener, name: str) -> bool:
        """What a sink says of itself; one without the method, or that raises, says no."""
        method = getattr(sink, name, None)
        try:
            return method is not None and bool(method())
        except Exception:  # noqa: BLE001 - whatever a sink raises, the run goes on
            self._report(sink)
            return False

    def _report(self, sink: Listener) -> None:
        """Log the exception that is being handled, once per sink."""
        self._complaints.setdefault(id(sink), Complaint(sink)).make()


def _asking(sink: Listener, name: str) -> tuple[tuple[Listener, Callable[[], Any]], ...]:
    """The sink, with its method of this name; nothing if it has none."""
    method = getattr(sink, name, None)
    return () if method is None else ((sink, method),)
