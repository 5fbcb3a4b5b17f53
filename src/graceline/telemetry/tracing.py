"""Spans of OpenTelemetry: a sink that makes one for each pipeline, stage, node and attempt.

While the work of a part runs, its span is the current one in the context of that task, so that the
spans which the work makes belong to it, and what it sends to other processes hands it on. Names,
times, statuses and class names get into a span, and nothing else: no input, value or error text.

Needs `pip install 'graceline[otel]'`; the engine never imports this module.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from graceline.deadlines import Status
from graceline.definitions.checks import brief
from graceline.errors import DefinitionError
from graceline.telemetry import events
from graceline.telemetry.attributes import at_end, at_start, error_type

try:
    from opentelemetry import context, propagate, trace
    from opentelemetry.propagators.textmap import Getter
    from opentelemetry.trace import NoOpTracer, ProxyTracerProvider, StatusCode, TracerProvider
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"graceline.telemetry.tracing needs OpenTelemetry ({_error}); "
        "run: pip install 'graceline[otel]'",
        name=_error.name,
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from graceline.telemetry.attributes import Finished, Started
    from graceline.telemetry.events import Event
    from graceline.telemetry.exemplars import Exemplars

__all__ = ["Tracing", "continue_trace", "outgoing_trace", "resume_trace"]

_RUN = context.create_key("graceline.run")
"""In a context: the innermost run that it belongs to."""
_PIPELINE = ("pipeline",)
_Key: TypeAlias = tuple[object, ...]


class _Part:
    """A part that runs: its span, the context around it, and the one inside it."""

    __slots__ = ("around", "inside", "span")

    def __init__(self, span: Span, around: Context, inside: Context) -> None:
        self.span: Span = span
        self.around: Context = around
        self.inside: Context = trace.set_span_in_context(span, inside)


class _Run:
    """A run that is traced: its parts that run, and how its times are told.

    Events have the time of a clock that may be virtual, and that starts anywhere; but what starts a
    run has just happened. A run inside a run keeps to the other one's reckoning.
    """

    __slots__ = ("around", "begun", "live", "offset", "parts", "thread")

    def __init__(self, begun: Event) -> None:
        self.begun: Event = begun
        self.live: bool = True
        self.thread: int = threading.get_ident()
        self.parts: dict[_Key, _Part] = {}
        self.around: Context = context.get_current()
        outer = context.get_value(_RUN, self.around)
        if isinstance(outer, _Run) and outer.live and outer.thread == self.thread:
            self.offset: int = outer.offset
            if outer.begun is begun:  # the same run, for another `Tracing` of the engine
                self.around = outer.around
        else:
            self.offset = time.time_ns() - round(begun.at * 1e9)

    def time(self, at: float) -> int:
        """An instant of the run's clock, in nanoseconds of the epoch."""
        return self.offset + round(at * 1e9)


class Tracing:
    """A sink that makes spans: `open_engine(sinks=[Tracing()])`; one will do for several engines.

    As long as there is no SDK it costs one look per run. Removed while runs go on, it sees those
    out.

    Args:
        tracer_provider: makes the spans; None for the global one, which may be set later.

    Raises:
        DefinitionError: for what is no provider, such as a tracer.
    """

    inline = True
    """It is called where things happen: the context that it sets is that of the calling task."""

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        if tracer_provider is not None and not isinstance(tracer_provider, TracerProvider):
            raise DefinitionError(
                "Tracing(tracer_provider=) takes a TracerProvider, which makes tracers, not "
                f"{brief(tracer_provider)}"
            )
        self._provider = tracer_provider
        self._found: Tracer | None = None
        self._exemplars: Exemplars | None = None
        self._begin()

    def _begin(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._drop: Callable[[], None] | None = None
        self._heard: dict[type[Event], Callable[[Any], None]] = {
            events.RunStarted: self._run_started,
            events.StageStarted: self._stage_started,
            events.NodeStarted: self._node_started,
            events.AlternativeStarted: self._alternative_started,
            events.AttemptStarted: self._attempt_started,
            events.AttemptRefused: self._attempt_refused,
            events.AttemptFinished: self._attempt_finished,
            events.AlternativeFinished: self._alternative_finished,
            events.NodeFinished: self._node_finished,
            events.StageFinished: self._stage_finished,
            events.RunFinished: self._run_finished,
            events.RunAborted: self._run_aborted,
        }

    def for_engine(self) -> Self:
        """The sink that one engine gets: ids of runs are unique in an engine, and not beyond it."""
        own = copy(self)
        own._begin()  # noqa: SLF001
        return own

    def see_out(self, drop: Callable[[], None]) -> None:
        """Take no more runs, and `drop` out of the hub when those that have spans have ended."""
        self._drop = drop
        if not self._runs:
            drop()

    def wants_trace(self) -> bool:
        """Whether there is anything that makes spans: an SDK that is not switched off."""
        return self._drop is None and self._tracer() is not None

    def deaf(self) -> bool:
        """Without an SDK no event has to be built."""
        return self._tracer() is None

    def keep_exemplars(self, store: Exemplars) -> None:
        """Note the durations of sampled spans here, so that metrics lead to traces."""
        self._exemplars = store

    def carrier(self) -> dict[str, str]:
        """The headers that hand on the trace of the calling task, `traceparent` for instance."""
        return outgoing_trace()

    @property
    def resume(self) -> Callable[[Mapping[str, str]], Callable[[], dict[str, str]]]:
        """What takes these headers up in a worker process."""
        return resume_trace

    def __call__(self, event: Event) -> None:
        """Take one event."""
        heard = self._heard.get(type(event))
        if heard is not None:
            heard(event)

    def _tracer(self) -> Tracer | None:
        """What makes spans; None as long as nothing does."""
        if self._found is None:
            provider = self._provider or trace.get_tracer_provider()
            if not isinstance(provider, ProxyTracerProvider):
                found = provider.get_tracer("graceline")
                self._found = None if isinstance(found, NoOpTracer) else found
        return self._found

    # -- what starts --------------------------------------------------------------------------

    def _run_started(self, event: events.RunStarted) -> None:
        run = self._open(event, event.at - event.queued)
        if run is not None:
            self._runs[event.run_id] = run
            context.attach(run.parts[_PIPELINE].inside)

    def _open(self, event: events.RunStarted | events.RunFinished, start: float) -> _Run | None:
        """A run with the span of its pipeline; None if nothing makes spans."""
        tracer = self._tracer()
        if tracer is None or self._drop is not None:
            return None
        run = _Run(event)
        around = run.around
        span = tracer.start_span(
            f"pipeline {event.pipeline}",
            around,
            attributes=at_start(event, "pipeline"),
            start_time=run.time(start),
        )
        run.parts[_PIPELINE] = _Part(span, around, context.set_value(_RUN, run, around))
        return run

    def _stage_started(self, event: events.StageStarted) -> None:
        self._start(event, ("stage", event.stage), _PIPELINE, event.stage)

    def _node_started(self, event: events.NodeStarted) -> None:
        self._start(event, _node(event), ("stage", event.stage), event.node)

    def _alternative_started(self, event: events.AlternativeStarted) -> None:
        name = f"{event.node}.{event.alternative}"
        self._start(event, _alternative(event, name), _node(event), name)

    def _attempt_started(self, event: events.AttemptStarted) -> None:
        # The attempts of an alternative are those of a node below the choice.
        alternative = _alternative(event, event.node)
        self._start(event, _attempt(event), alternative, event.node)

    def _start(self, event: Started, key: _Key, above: _Key, name: str) -> None:
        """Start the span of a part, and make it the current one."""
        run, tracer = self._runs.get(event.run_id), self._tracer()
        if run is None or tracer is None:
            return  # it began before anybody listened
        parts = run.parts
        outer = parts.get(above) or parts.get(_node(event)) or parts[_PIPELINE]
        level, start = str(key[0]), run.time(event.at)
        # In a trace that is not sampled they would be built for nobody.
        known = at_start(event, level) if outer.span.is_recording() else None
        span = tracer.start_span(
            f"{level} {name}", outer.inside, attributes=known, start_time=start
        )
        part = parts[key] = _Part(span, outer.inside, outer.inside)
        context.attach(part.inside)

    # -- what ends ----------------------------------------------------------------------------

    def _attempt_refused(self, event: events.AttemptRefused) -> None:
        run, part = self._leave(event, _attempt(event))
        if run is not None and part is not None:
            part.span.set_attribute("graceline.status", str(Status.REJECTED))
            _end(part.span, run.time(event.at), error_type(Status.REJECTED, None, None))

    def _attempt_finished(self, event: events.AttemptFinished) -> None:
        self._finish(event, _attempt(event))

    def _alternative_finished(self, event: events.AlternativeFinished) -> None:
        self._finish(event, _alternative(event, f"{event.node}.{event.alternative}"))

    def _node_finished(self, event: events.NodeFinished) -> None:
        self._finish(event, _node(event))

    def _stage_finished(self, event: events.StageFinished) -> None:
        self._finish(event, ("stage", event.stage))

    def _run_finished(self, event: events.RunFinished) -> None:
        if event.run_id not in self._runs:  # it never started, or began before anybody listened
            run = self._open(event, event.started)
            if run is None:
                return
            self._runs[event.run_id] = run
        try:
            self._finish(event, _PIPELINE)
        finally:
            self._forget(event)

    def _run_aborted(self, event: events.RunAborted) -> None:
        run = self._runs.get(event.run_id)
        if run is None:
            return
        context.attach(run.around)
        for part in run.parts.values():
            part.span.set_attribute("graceline.status", "aborted")
        self._forget(event)

    def _forget(self, event: events.RunFinished | events.RunAborted) -> None:
        """The run has ended, and with it whatever is still open."""
        run = self._runs.pop(event.run_id)
        if self._drop is not None and not self._runs:
            self._drop()
        run.live = False
        while run.parts:
            _, part = run.parts.popitem()
            _end(part.span, run.time(event.at))

    def _leave(self, event: Event, key: _Key) -> tuple[_Run | None, _Part | None]:
        """Make the context around a part current again; gives the part, if it has a span."""
        run = self._runs.get(event.run_id)
        part = None if run is None else run.parts.pop(key, None)
        if part is not None:
            context.attach(part.around)
        return run, part

    def _finish(self, event: Finished, key: _Key) -> None:
        """End the span of a part that has one."""
        run, part = self._leave(event, key)
        if run is None or part is None:
            return
        span, end = part.span, run.time(event.at)
        if span.is_recording():
            span.set_attributes(at_end(event))
        self._note(event, span, end)
        _end(span, end, error_type(event.status, event.blame, event.error_type))

    def _note(self, event: Finished, span: Span, end: int) -> None:
        """Note the exemplar of a part whose span is sampled."""
        store, named = self._exemplars, span.get_span_context()
        if store is None or not named.trace_flags.sampled:
            return
        if isinstance(event, events.RunFinished | events.StageFinished | events.NodeFinished):
            store.note(
                event.pipeline, getattr(event, "stage", ""), getattr(event, "node", ""),
                event.status, event.elapsed, trace.format_trace_id(named.trace_id),
                trace.format_span_id(named.span_id), end / 1e9,
            )  # fmt: skip


def _node(event: Any) -> _Key:
    return ("node", event.stage, event.node)


def _alternative(event: Any, name: str) -> _Key:
    return ("alternative", event.stage, name, event.index)


def _attempt(event: Any) -> _Key:
    return ("attempt", event.stage, event.node, event.index, event.attempt, event.hedge)


def _end(span: Span, end: int, error: str | None = None) -> None:
    """End a span; with an error if it is one, else its status stays unset."""
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(StatusCode.ERROR)
    span.end(end)


# -- across processes -----------------------------------------------------------------------------


class _Headers(Getter[Mapping[str, list[str]]]):
    """Finds a header whatever its case."""

    def get(self, carrier: Mapping[str, list[str]], key: str) -> list[str] | None:
        return carrier.get(key.lower())

    def keys(self, carrier: Mapping[str, list[str]]) -> list[str]:
        return list(carrier)


def outgoing_trace() -> dict[str, str]:
    """The headers that hand on the current trace; they are part of `outgoing_headers()`."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def resume_trace(headers: Mapping[str, str]) -> Callable[[], dict[str, str]]:
    """Take up a trace for the rest of this context; returns what hands it on."""
    context.attach(propagate.extract(headers))
    return outgoing_trace


@contextmanager
def continue_trace(
    headers: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]],
) -> Iterator[None]:
    """Continue the trace of a request: `with continue_trace(headers): await engine.run(...)`.

    Runs inside are part of that trace. Without such headers, or with malformed ones, nothing
    changes.

    Args:
        headers: those of the request, a mapping or pairs; case does not matter.

    Raises:
        DefinitionError: for a value in place of the headers, and what is no header.
    """
    if isinstance(headers, str | bytes) or not isinstance(headers, Iterable):
        raise DefinitionError(
            f"continue_trace() takes all headers of a request, not {brief(headers)}; write "
            "continue_trace({'traceparent': ...}) for the value of one"
        )
    found: dict[str, list[str]] = {}
    for pair in headers.items() if isinstance(headers, Mapping) else headers:
        match pair:
            case [str() | bytes() as name, str() | bytes() as value]:
                found.setdefault(_text(name).lower(), []).append(_text(value))
            case _:
                raise DefinitionError(
                    "continue_trace() takes a mapping or pairs of a name and a value, both text or "
                    f"bytes, and {brief(pair)} is none"
                )
    token = context.attach(propagate.extract(found, context.get_current(), _Headers()))
    try:
        yield
    finally:
        context.detach(token)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
