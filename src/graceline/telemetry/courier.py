"""The courier: hands events to one sink in a thread of its own, so that it may block or be slow.

The event loop only puts an event into a queue, which takes no lock and never waits. A thread takes
them out one by one. Each sink has its own, so a slow one holds up nobody else. The thread starts
with the first event; it is a daemon, so that a sink that never returns does not keep the program.
"""

from __future__ import annotations

import inspect
import logging
import sys
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from graceline.saying import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from graceline.telemetry.events import Event

__all__ = ["QUEUE_SIZE", "Complaint", "Courier", "name_of"]

_log = logging.getLogger("graceline.telemetry")

QUEUE_SIZE = 10_000
"""How many events wait for a slow sink; what comes then is dropped and counted."""


def name_of(sink: object) -> str:
    """What the log calls a sink: where a function is defined, else the name of its class."""
    if not inspect.isroutine(sink):
        return type(sink).__name__
    module = getattr(sink, "__module__", None)
    return f"{module}.{sink.__qualname__}" if module else sink.__qualname__


class Complaint:
    """Logs the first exception of one sink, and none of those after it."""

    __slots__ = ("_name", "_said")

    def __init__(self, sink: object) -> None:
        self._name = name_of(sink)
        self._said = False

    def make(self) -> None:
        """Log the exception that is being handled, if it is the first one."""
        if not self._said:
            self._said = True
            say(
                _log, logging.ERROR, "sink_raised",
                "the sink %r raised; it stays subscribed", self._name,
                exc_info=sys.exception(), sink=self._name,
            )  # fmt: skip


class Courier:
    """A sink that hands what it takes to another sink, in a thread.

    Args:
        sink: gets the events, in order. It is asked now, once, whether it wants a trace, output
            and payloads: asking later, in the loop, could block it.
        count_drop: called in the loop for each event that is dropped.
    """

    def __init__(self, sink: Callable[[Event], object], count_drop: Callable[[], object]) -> None:
        self._sink = sink
        self._name = name_of(sink)
        self._count_drop = count_drop
        self._box: SimpleQueue[Event | None] = SimpleQueue()
        self._complaint = Complaint(sink)
        self._begun = False
        self._turn = threading.Lock()
        self._closed = False
        self._given_up = False
        self._done = threading.Event()
        self._full = False
        self._trace = self._ask("wants_trace")
        self._output = self._ask("wants_output")
        self._payloads = self._ask("wants_payloads")

    def wants_trace(self) -> bool:
        """As the sink said."""
        return self._trace

    def wants_output(self) -> bool:
        """As the sink said."""
        return self._output

    def wants_payloads(self) -> bool:
        """As the sink said."""
        return self._payloads

    def __call__(self, event: Event) -> None:
        """In the loop: have the event delivered; a full queue drops it."""
        if self._closed:
            return
        if self._box.qsize() >= QUEUE_SIZE:
            self._drop()
            return
        self._box.put(event)
        self._begin()

    def close(self) -> None:
        """In the loop: deliver what has been taken so far, and then end."""
        if self._closed:
            return
        self._closed = True
        if self._begun or self._box.qsize():
            self._box.put(None)
            self._begin()
        else:
            self._done.set()

    @property
    def done(self) -> bool:
        """Whether the last event has been delivered; only after `close`."""
        return self._done.is_set()

    def wait(self, until: float) -> None:
        """Block until `done`, or until an instant of `time.monotonic`; then give up, and say so.

        The event that the sink has in its hands goes on; those behind it are lost.
        """
        if self._done.wait(max(0.0, until - time.monotonic())):
            return
        self._given_up = True
        # The sink may come back at this moment: a count that is one too high harms nobody.
        left = self._box.qsize()  # the mark at the end of the queue stands for the event in hand
        say(
            _log, logging.WARNING, "events_undelivered",
            "the sink %r did not come to an end: %d events were not delivered", self._name, left,
            sink=self._name, events=left,
        )  # fmt: skip

    # -- inside -------------------------------------------------------------------------------

    def _ask(self, name: str) -> bool:
        method = getattr(self._sink, name, None)
        if method is None:
            return False
        try:
            return bool(method())
        except Exception:  # noqa: BLE001 - whatever a sink raises, it may still listen
            self._complaint.make()
            return False

    def _drop(self) -> None:
        self._count_drop()
        if not self._full:
            self._full = True
            say(
                _log, logging.WARNING, "events_dropped",
                "the sink %r is too slow: %d events wait for it, and more are dropped; "
                "health().dropped_events counts them", self._name, QUEUE_SIZE, sink=self._name,
            )  # fmt: skip

    def _begin(self) -> None:
        if self._begun:
            return
        name = f"graceline sink {self._name}"
        try:
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        except RuntimeError:  # no thread to be had: the next event tries again
            self._complaint.make()
        else:
            self._begun = True  # only now: after an interrupt, too, the next event tries again

    def _serve(self) -> None:
        """In the thread: deliver until the end."""
        if not self._turn.acquire(blocking=False):
            return  # a start that was interrupted had succeeded
        try:
            while not self._given_up and (event := self._box.get()) is not None:
                try:
                    self._sink(event)
                except BaseException:  # noqa: BLE001 - even SystemExit: this thread is the sink's
                    self._complaint.make()
        finally:
            self._done.set()
