"""What a part was at, from when to when: the pieces of its bar, whatever draws them.

A node with policies shows what it did at each instant: an attempt, a backoff, waiting for a slot of
its bulkhead. Copies of an attempt overlap; the one that succeeded is on top. No event tells of that
waiting: it is what is left between two others, if it is longer than a turn of the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from graceline.deadlines import Status
from graceline.timelines.burning import stopped_of
from graceline.timelines.trying import going_since, has_items, is_refused, last_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.timelines.rows import AttemptRow, Row

__all__ = ["Segment", "segments"]

_TURN = 2e-3  # seconds that a turn of the event loop may take before an attempt starts


@attrs.frozen
class Segment:
    """A piece of a bar. Later ones lie on top of earlier ones.

    Attributes:
        kind: `work`, `unwinding`, `backoff`, `queue`, or `refused`, which is an instant.
        start: seconds from the submission.
        end: seconds from the submission.
        status: of work, the status of the attempt or of the part; None while it goes on.
        brief: whether it is shown even if it took no time.
    """

    kind: str
    start: float
    end: float
    status: Status | None = None
    brief: bool = False


def segments(row: Row, now: float, least: float = 0.0) -> Iterator[Segment]:
    """The pieces of the bar of one part, none for one that has not started.

    Args:
        row: the part.
        now: for a part that goes on, seconds since the submission of the run.
        least: seconds that waiting for a slot must take to be shown.
    """
    if row.started is None:
        return
    if row.unattempted:
        ended = _ended(row, now)
        if row.status is Status.REJECTED:
            yield Segment("refused", ended, ended)
        else:
            yield Segment("queue", row.started, ended)
    elif row.attempts and not has_items(row):
        yield from _attempts(row, now, max(_TURN, least))
    else:
        yield from _plain(row, now)


def _plain(row: Row, now: float) -> Iterator[Segment]:
    """Work, and what unwound after it."""
    ended, worked = _ended(row, now), _worked(row, now)
    started = row.started or 0.0
    brief = worked > started or ended == worked
    yield Segment("work", started, worked, row.status, brief=brief)
    if ended > worked:
        yield Segment("unwinding", worked, ended)


def _attempts(row: Row, now: float, least: float) -> Iterator[Segment]:
    """What a node was at, one attempt after the other."""
    ended, worked = _ended(row, now), _worked(row, now)
    free, delay = row.started or 0.0, 0.0  # since when nothing but a slot was missing
    for one in row.attempts:
        if one.hedge:
            continue
        if delay > 0 or one.started - free > least:
            yield _pause(free, one.started, least)
        else:
            yield Segment("work", free, one.started, one.status)
        delay = one.delay or 0.0
        free = one.ended + delay
        yield Segment("backoff", one.ended, min(free, ended))
    for one in sorted(row.attempts, key=lambda one: one.status is Status.OK):
        yield from _attempt(one, min(one.worked_until, worked), ended)
    last, since = last_of(row), going_since(row)
    if since is not None and since <= ended:
        yield from _plain(attrs.evolve(row, level="attempt", started=since, attempts=()), now)
    elif last is not None and last.delay is not None:
        free = last.ended + last.delay
        if is_refused(row):
            yield Segment("backoff", free, worked)
            yield Segment("refused", worked, worked)
        else:
            yield _pause(free, worked, least)
    if worked < ended:
        yield Segment("unwinding", worked, ended)


def _attempt(one: AttemptRow, worked: float, end: float) -> Iterator[Segment]:
    yield Segment("work", one.started, worked, one.status, brief=True)
    yield Segment("unwinding", worked, min(one.ended, end))


def _pause(free: float, until: float, least: float) -> Segment:
    """What came after a backoff: waiting for a slot, or nothing but its last turn."""
    return Segment("queue" if until - free > least else "backoff", free, until)


def _ended(row: Row, now: float) -> float:
    return now if row.ended is None else row.ended


def _worked(row: Row, now: float) -> float:
    """Until when its work went on, as far as is known now."""
    stopped = stopped_of(row, now) if row.status is None else row.worked_until
    return _ended(row, now) if stopped is None else stopped
