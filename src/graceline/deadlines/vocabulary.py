"""The words for what happened: one status, one kind of blame, one source of a limit.

The same words stand in Python, logs, metrics, documents and on screen.
"""

from __future__ import annotations

from enum import StrEnum

from graceline.values import frozen

__all__ = ["Blame", "DeadlineStatus", "Kind", "Source", "Status"]


class Status(StrEnum):
    """How a pipeline, stage or node ended; every one of them has exactly one status."""

    OK = "ok"
    """Returned before anything fired."""
    LATE = "late"
    """Returned a value at or after the instant of its cancel; the value is kept."""
    TIMED_OUT = "timed_out"
    """Cancelled because a limit in the tree passed, or expired before it could start."""
    FAILED = "failed"
    """Raised an exception."""
    CANCELLED = "cancelled"
    """Cancelled by a user, a shutdown, the caller, or because a sibling failed."""
    SKIPPED = "skipped"
    """Its condition was false, or what it depends on is not usable."""
    REJECTED = "rejected"
    """Refused by a protection; never started."""


class DeadlineStatus(StrEnum):
    """What a scope with a deadline came to; but for `active` the words are those of `Status`."""

    ACTIVE = "active"
    """Open, and no deadline of its own or above it has passed."""
    OK = "ok"
    """Left in time. An exception that left it is its caller's business and not the clock's."""
    TIMED_OUT = "timed_out"
    """A deadline passed, its own or one above it, before the scope was left."""
    CANCELLED = "cancelled"
    """Cancelled, or, in a `TimerTree`, open when a scope above it was left."""


class Kind(StrEnum):
    """Why a level was cut."""

    TIMEOUT = "timeout"
    QUEUE = "queue"
    USER = "user"
    SHUTDOWN = "shutdown"
    CALLER = "caller"
    SUPERSEDED = "superseded"
    SIBLING_FAILED = "sibling_failed"
    FAILED = "failed"
    REJECTED = "rejected"


class Source(StrEnum):
    """Where a limit was stated."""

    NODE = "node"
    METADATA = "metadata"
    STAGE = "stage"
    PIPELINE = "pipeline"
    DEFAULT = "default"
    CALL = "call"
    HEADER = "header"
    INHERITED = "inherited"
    ADAPTIVE = "adaptive"


@frozen(weakref_slot=False)
class Blame:
    """The one level that is to blame for an outcome that is not ok.

    Attributes:
        level: `pipeline`, `stage`, `node`, `alternative`, `attempt`, `item`, `deadline`, `timer`;
            `caller` for a limit of the caller's own.
        name: that level's name.
        kind: why it was cut.
        limit: the level's limit in seconds, None if it has none.
        source: where that limit was stated, None if there is no limit.
        elapsed: seconds that the level had run when the outcome was settled.
        message: one sentence for people; never contains a payload.
        by: who asked for the cancel, such as the sibling that failed; None if nobody did.
        retry_after: of what was refused, seconds after which a new try makes sense; None if nobody
            can tell, or if it never does.
    """

    level: str
    name: str
    kind: Kind
    limit: float | None
    source: Source | None
    elapsed: float
    message: str
    by: str | None = None
    retry_after: float | None = None
