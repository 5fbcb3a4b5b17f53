"""The attributes of spans: what a span says of a part, taken from the events of its start and end.

Names, times, statuses and class names only. What is unknown, or is nothing, is left out.
"""

from __future__ import annotations

from functools import cache
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from graceline.deadlines import Status
from graceline.results import timeout_class
from graceline.telemetry import events

if TYPE_CHECKING:
    from graceline.deadlines import Blame

__all__ = ["Finished", "Started", "at_end", "at_start", "error_type"]

Started: TypeAlias = (
    events.RunStarted
    | events.StageStarted
    | events.NodeStarted
    | events.AlternativeStarted
    | events.AttemptStarted
)
Finished: TypeAlias = (
    events.RunFinished
    | events.StageFinished
    | events.NodeFinished
    | events.AlternativeFinished
    | events.AttemptFinished
)

_WHERE = {
    "run_id": "graceline.run_id",
    "lane": "graceline.lane",
    "pipeline": "graceline.pipeline",
    "stage": "graceline.stage",
    "node": "graceline.node",
    "alternative": "graceline.alternative",
    "index": "graceline.item_index",
    "attempt": "graceline.attempt",
    "hedge": "graceline.hedge",
    "critical": "graceline.critical",
    "queued": "graceline.queued_seconds",
    "slo": "graceline.slo_seconds",
}
_WHAT = {
    "attempts": "graceline.attempts",
    "delay": "graceline.retry_delay_seconds",
    "stop": "graceline.retry_stop",
    "health": "graceline.health",
    "degraded": "graceline.degraded",
    "completed": "graceline.completed",
}
_TABLES = {"where": _WHERE, "what": _WHAT}
_ERRORS = {Status.FAILED: "NodeFailedError", Status.REJECTED: "OverloadedError"}


def at_start(event: Started | events.RunFinished, level: str) -> dict[str, Any]:
    """What is known of a part when it starts; of a run that never did, when it ends."""
    found = {"graceline.level": level} | _taken(event, "where") | _limit(event)
    fires_at = getattr(event, "fires_at", inf)
    if fires_at < inf:
        found["graceline.remaining_seconds"] = fires_at - event.at
    return found


def at_end(event: Finished) -> dict[str, Any]:
    """What is known of a part when it has ended; a learned limit is known only then."""
    found = {"graceline.status": str(event.status)} | _taken(event, "what") | _limit(event)
    for name in ("grace_used", "overrun"):
        seconds = getattr(event, name, 0.0)
        if seconds > 0.0:
            found[f"graceline.{name}_seconds"] = seconds
    blame = event.blame
    if blame is not None:
        found["graceline.blamed_level"] = blame.level
        found["graceline.blamed_name"] = blame.name
        found["graceline.blamed_kind"] = str(blame.kind)
    return found


def error_type(status: Status, blame: Blame | None, raised: str | None) -> str | None:
    """The class of the error that an end is: of a timeout, a failure, a refusal; None for others.

    `raised` is the class of what was raised. A cancel is no error, whoever asked for it.
    """
    if status is Status.TIMED_OUT:
        return timeout_class(None if blame is None else blame.level).__name__
    return raised or _ERRORS[status] if status in _ERRORS else None


def _taken(event: events.Event, table: str) -> dict[str, Any]:
    kind: Any = type(event)
    given = [(attribute, getattr(event, name)) for name, attribute in _fields(kind, table)]
    return {attribute: value for attribute, value in given if value is not None and value != ()}


@cache
def _fields(kind: Any, table: str) -> list[tuple[str, str]]:
    """Which fields of a kind of event become attributes, and their names."""
    names = _TABLES[table]
    return [(field.name, names[field.name]) for field in attrs.fields(kind) if field.name in names]


def _limit(event: Started | Finished) -> dict[str, Any]:
    if event.limit is None:
        return {}
    source = {} if event.source is None else {"graceline.limit_source": str(event.source)}
    return {"graceline.limit_seconds": event.limit} | source
