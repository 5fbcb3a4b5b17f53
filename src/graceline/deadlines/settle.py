"""From times to outcomes: a level ended like this at that instant, so what is its status?

Pure functions on a `Level`: nothing here waits, and nothing here knows Trio.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import Any, NamedTuple

from graceline.deadlines.level import Level
from graceline.deadlines.vocabulary import Blame, Kind, Status
from graceline.values import draft_of

__all__ = [
    "Ending",
    "Verdict",
    "blame_failure",
    "blame_level",
    "blame_limit",
    "expired",
    "overran",
    "settle",
]


class Ending(Enum):
    """How the work of a level came back to the engine."""

    VALUE = "returned a value"
    ERROR = "raised an error, and no cancel was in sight"
    CANCELLED = "a cancel left the work"
    ERROR_IN_CANCEL = "raised an error while a cancel was unwinding"


class Verdict(NamedTuple):
    """What an ending means.

    Attributes:
        status: the status of the level.
        blame: the one level to blame, None where there is nothing to blame.
        overrun: seconds past `fired` at which a value came back.
        grace_used: seconds between the cancel and the end of the unwinding.
        foreign: the cancel belongs to the caller and must reach the caller.
    """

    status: Status
    blame: Blame | None = None
    overrun: float = 0.0
    grace_used: float = 0.0
    foreign: bool = False


_WELL = Verdict(Status.OK)
# A frozen class is filled in by a call for each of its fields; what timed out is late already.
_BlameDraft: Any = draft_of(Blame)
# To look up a member of an enum costs more than what is done with it here.
_VALUE, _ERROR, _ERROR_IN_CANCEL = Ending.VALUE, Ending.ERROR, Ending.ERROR_IN_CANCEL
_TIMED_OUT, _CANCELLED, _LATE = Status.TIMED_OUT, Status.CANCELLED, Status.LATE
_TIMEOUT = Kind.TIMEOUT


def settle(
    level: Level, ending: Ending, at: float, *, noticed: float | None = None, strict: bool = False
) -> Verdict:
    """Decide the outcome of a level whose work ended at `at`, but for an error of its own.

    Args:
        level: the level whose work ended.
        ending: how it came back. `ERROR` is `failed` and needs no times; see `blame_failure`.
        at: when it came back, absolute seconds.
        noticed: when the cancel was first seen, if it was seen earlier than `at`.
        strict: whether a late value counts as timed out or cancelled.
    """
    if ending is _VALUE:
        fired = level.fired()
        if at < fired:
            return _WELL
        cause = level.cause(at)
        assert cause is not None  # noqa: S101 - fired(x) <= at means that some level's own is
        cut = _cut_by(cause, at, 0.0)
        return Verdict(cut.status if strict else _LATE, cut.blame, overrun=at - fired)
    seen = at if noticed is None else noticed
    cause = level.cause(seen)
    if ending is _ERROR or (cause is None and ending is _ERROR_IN_CANCEL):
        return Verdict(Status.FAILED)
    if cause is None:
        blame = Blame(
            "caller", "caller", Kind.CALLER, None, None, at - level.start,
            "cancelled by a scope of the caller's",
        )  # fmt: skip
        return Verdict(Status.CANCELLED, blame, grace_used=at - seen, foreign=True)
    return _cut_by(cause, at, at - cause.own())  # which is when the level fired


def expired(level: Level, at: float) -> Verdict | None:
    """The verdict on a level that was to start at `at`, if it is cancelled already; else None."""
    cause = None if at < level.fired() else level.cause(at)
    if cause is None:
        return None
    return _cut_by(cause, at, 0.0)


def _cut_by(cause: Level, at: float, grace_used: float) -> Verdict:
    """The verdict on work that a level cut, and that ended at `at`."""
    foreign = cause.limit.level == "caller"
    if cause.reason is None or cause.deadline <= cause.cancelled_at:
        return Verdict(_TIMED_OUT, blame_limit(cause, at), 0.0, grace_used, foreign)
    return Verdict(_CANCELLED, blame_level(cause, at), 0.0, grace_used, foreign)


def blame_level(cause: Level, at: float) -> Blame:
    """The blame for a level that cut work which ended at `at`."""
    asked = cause.reason
    if asked is not None and cause.cancelled_at < cause.deadline:
        # `attrs.evolve` takes three times as long, and each part of a cancelled run has a blame.
        return Blame(
            asked.level, asked.name, asked.kind, asked.limit, asked.source, at - cause.start,
            asked.message, asked.by, asked.retry_after,
        )  # fmt: skip
    return blame_limit(cause, at)


def blame_limit(cause: Level, at: float) -> Blame:
    """The blame for a level whose limit passed before `at`, whether it cut anything or not."""
    limit = cause.limit
    draft = _BlameDraft(
        limit.level, limit.name, _TIMEOUT, limit.shown, limit.source, at - cause.start,
        limit.exceeded, None, None,
    )  # fmt: skip
    draft.__class__ = Blame
    blame: Blame = draft
    return blame


def blame_failure(level: Level, at: float, kind: Kind, message: str) -> Blame:
    """The blame for a level that failed by itself or was refused."""
    limit = level.limit
    return Blame(
        limit.level, limit.name, kind, limit.shown, limit.source, at - level.start, message
    )


def overran(level: Level, at: float) -> float:
    """How far `at` lies past a limit that is watched but not enforced; else negative."""
    limit = level.limit
    return at - (level.start + limit.timeout - limit.reserve) if limit.timeout != inf else -inf
