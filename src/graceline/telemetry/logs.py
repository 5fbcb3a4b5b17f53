"""The logging sink: events as records of standard `logging`, with structured fields and no payload.

Loggers are named `graceline.*`. Fields travel through `extra=`, with an `event_type`, so JSON
formatters and structlog take them as they are: no name of a field means anything to `logging` or to
structlog, and values are numbers, words, lists of these, or None. docs/logging.md lists them all.
"""

from __future__ import annotations

import logging
import math
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import attrs

from graceline.deadlines import Status
from graceline.durations import format_duration
from graceline.saying import say
from graceline.telemetry import events
from graceline.telemetry.payloads import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from graceline.telemetry.events import Event

__all__ = ["LoggingSink", "log_mode", "log_sub_second"]

logging.getLogger("graceline").addHandler(logging.NullHandler())
_log = logging.getLogger("graceline.run")

_SUFFIX = {
    Status.OK: "finished",
    Status.LATE: "late",
    Status.TIMED_OUT: "timeout",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    Status.SKIPPED: "skipped",
    Status.REJECTED: "rejected",
}
_NAMES: dict[type[Event], str] = {
    events.RunStarted: "pipeline_started",
    events.StageStarted: "stage_started",
    events.NodeStarted: "node_started",
    events.AttemptStarted: "attempt_started",
    events.AttemptRefused: "attempt_refused",
    events.AlternativeStarted: "alternative_started",
    events.RunAborted: "pipeline_aborted",
    events.CancelRequested: "cancel_requested",
    events.CleanupOverran: "cleanup_overran",
    events.FaultInjected: "fault_injected",
    events.WouldReject: "would_reject",
    events.WouldTimeOut: "would_time_out",
    events.ThreadAbandoned: "thread_abandoned",
    events.ThreadEnded: "thread_ended",
    events.NodeStuck: "node_stuck",
    events.DeadlineEnded: "deadline_ended",
    events.LoopBlocked: "loop_blocked",
    events.SignalSent: "signal_sent",
    events.BreakerChanged: "breaker_changed",
    events.HedgeSettled: "hedge_settled",
    events.RunningLate: "running_late",
}
_WARNINGS = frozenset(
    {
        "breaker_changed",
        "cleanup_overran",
        "fault_injected",
        "node_stuck",
        "would_reject",
        "would_time_out",
        "thread_abandoned",
    }
)
_INFOS = frozenset(
    {
        "cancel_requested",
        "deadline_ended",
        "hedge_settled",
        "loop_blocked",
        "running_late",
        "signal_sent",
    }
)  # the watchdog's thread has warned before
_OF_PARTS = frozenset(
    {events.NodeStarted, events.NodeFinished, events.StageStarted, events.StageFinished}
)
"""Events of which none makes a record above INFO."""

_RENAMED: Final = {"name": "part_name", "level": "part_level", "stack": "frames"}
"""`logging` has a meaning for the first, structlog for the others."""


class LoggingSink:
    """Writes events to the logger `graceline.run`.

    DEBUG: everything, with the limit that was applied to each part and where it came from. INFO:
    parts that did not end well. WARNING: runs that did not end well, and what somebody should look
    into.

    Args:
        payloads: whether it writes inputs, values and the texts of errors as well.
    """

    inline = True

    def __init__(self, *, payloads: bool = False) -> None:
        self._payloads = payloads

    def wants_payloads(self) -> bool:
        """If it was told so."""
        return self._payloads

    def deaf(self) -> bool:
        """Whether no handler but the library's own would see a record: then none is built."""
        logger: logging.Logger | None = _log
        while logger is not None:
            for handler in logger.handlers:
                if not isinstance(handler, logging.NullHandler):
                    return False
            logger = logger.parent if logger.propagate else None
        return True

    def wants_trace(self) -> bool:
        """Only while DEBUG is on."""
        return _log.isEnabledFor(logging.DEBUG) and not self.deaf()

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if type(event) in _OF_PARTS and not _log.isEnabledFor(logging.INFO):
            return  # a trace for somebody else: there are two for each node
        level, event_type = _classify(event)
        if _log.isEnabledFor(level):
            text = one_line(_describe(event))
            say(_log, level, event_type, "%s %s", event_type, text, **_fields(event))


def _classify(event: Event) -> tuple[int, str]:
    if isinstance(event, events.RunFinished):
        calm = event.status is Status.OK and not event.degraded
        return logging.DEBUG if calm else logging.WARNING, f"pipeline_{_SUFFIX[event.status]}"
    if isinstance(event, events.PayloadsSeen):
        part = "node" if event.node else "stage" if event.stage else "pipeline"
        loud = logging.INFO if event.stage else logging.WARNING
        return logging.DEBUG if event.status is Status.OK else loud, f"{part}_payload"
    if isinstance(event, events.NodeFinished | events.StageFinished):
        part = "node" if isinstance(event, events.NodeFinished) else "stage"
        calm = event.status in (Status.OK, Status.SKIPPED)
        return logging.DEBUG if calm else logging.INFO, f"{part}_{_SUFFIX[event.status]}"
    if isinstance(event, events.AttemptFinished):
        calm = event.status is Status.OK and event.stop is None
        return logging.DEBUG if calm else logging.INFO, f"attempt_{_SUFFIX[event.status]}"
    if isinstance(event, events.AlternativeFinished):
        calm = event.status is Status.OK
        return logging.DEBUG if calm else logging.INFO, f"alternative_{_SUFFIX[event.status]}"
    name = _NAMES[type(event)]
    if name in _WARNINGS:
        return logging.WARNING, name
    return (logging.INFO if name in _INFOS else logging.DEBUG), name


def _fields(event: Event) -> dict[str, Any]:
    fields = attrs.asdict(event, recurse=False)
    if "blame" in fields:
        blame = fields.pop("blame")
        for name in ("level", "name", "kind"):
            fields[f"blamed_{name}"] = getattr(blame, name, None)
    return {_RENAMED.get(key, key): _plain(value) for key, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no infinity
    return value


def _describe(event: Event) -> str:
    stage = getattr(event, "stage", "")
    node = getattr(event, "node", "")
    where = ".".join(part for part in (event.pipeline, stage, node) if part)
    limit, source = getattr(event, "limit", None), getattr(event, "source", None)
    said = [where]
    if hasattr(event, "limit"):
        said.append("no limit" if limit is None else f"limit {format_duration(limit)} ({source})")
    if isinstance(event, events.AttemptStarted | events.AttemptRefused | events.AttemptFinished):
        said.append(f"attempt {event.attempt}" + (", second copy" if event.hedge else ""))
    if isinstance(event, events.HedgeSettled):
        why = "" if event.reason is None else f": {event.reason}"
        said.append(f"hedge of attempt {event.attempt} {event.result}{why}")
    if isinstance(event, events.AlternativeFinished):
        said.append(f"alternative {event.alternative!r}, health {event.health:.2f}")
    if isinstance(event, events.AlternativeStarted):
        said.append(f"alternative {event.alternative!r}")
    if isinstance(event, events.CleanupOverran):
        said.append(f"{event.level} {event.name!r}")
    if isinstance(event, events.BreakerChanged):
        said = [f"breaker {event.breaker}: {event.old} -> {event.new}"]
    if isinstance(event, events.WouldReject):
        said.append(f"{event.reason}, {format_duration(event.remaining)} left")
    if isinstance(event, events.PayloadsSeen):
        return ", ".join([where, *_payloads(event)])
    late_after = getattr(event, "late_after", None)
    if late_after is not None:
        said.append(f"past its soft deadline of {format_duration(late_after)}")
    elapsed = getattr(event, "elapsed", None)
    if elapsed is not None:
        said.append(f"took {format_duration(elapsed)}")
    if isinstance(event, events.AttemptFinished) and event.delay is not None:
        said.append(f"the next one in {format_duration(event.delay)}")
    elif isinstance(event, events.AttemptFinished) and event.stop is not None:
        said.append(f"the last one ({event.stop})")
    blame = getattr(event, "blame", None)
    if blame is not None:
        said.append(f"blamed: {blame.level} {blame.name!r} ({blame.kind})")
    return ", ".join(said)


def _payloads(event: events.PayloadsSeen) -> Iterator[str]:
    yield f"input={event.input}"
    if event.value is not None:
        yield f"value={event.value}"
    if event.partial_value is not None:
        yield f"partial_value={event.partial_value}"
    if event.error is not None:
        yield f"error={event.error}"
    for error in event.secondary:
        yield f"secondary={error}"


def log_sub_second(pipeline: str, limits: Iterable[tuple[str, float]]) -> None:
    """Say once per definition which limits it states below one second.

    Where seconds were meant as milliseconds, or the other way round, this shows it; in a pipeline
    that has to answer at once it is nothing to look into, so it is DEBUG.
    """
    said = tuple(f"{name} {format_duration(limit)}" for name, limit in limits)
    if said:
        say(
            logging.getLogger("graceline.engine"), logging.DEBUG, "sub_second_timeout",
            "sub_second_timeout %s", one_line(f"{pipeline}: {', '.join(said)}"),
            pipeline=pipeline, limits=said,
        )  # fmt: skip


def log_mode(mode: str) -> None:
    """Say once at the start that limits do not cut."""
    say(
        logging.getLogger("graceline.engine"), logging.WARNING, "mode",
        "graceline runs in mode %r: no limit cancels anything", mode, mode=mode,
    )  # fmt: skip
