"""The tree of deadlines: when is a level cancelled, and when is its cleanup cut?

The problem
===========

A pipeline holds stages, a stage holds nodes, and each of them may have a limit. Three questions
must have one answer each, at any instant and for any tree: *when* does the work of a level stop,
*how long* may its cleanup take, and *whose* limit was it?

The equations
=============

On absolute times of one clock, for a level x:

    deadline(x) = start + timeout              (or start + timeout - reserve)
    own(x)      = min(deadline(x), cancelled_at(x))
    fired(x)    = min(own(x), fired(parent(x)))
    hard(x)     = min(min(fired(x), foreign_at(x)) + grace(x), forced_at(x), hard(parent(x)))

Work of x is cancelled at fired(x); cleanup of x is cut at hard(x). A child never outlives its
parent, because `fired` and `hard` take the minimum with the parent's. A limit longer than the
parent's is therefore clamped, not refused.

`grace` is a *point in time*: three cleanup blocks in a row share one budget that ends at hard(x).
The obvious thing, a relative shield per block, adds up: three nested five-second shields after a
ten-second deadline end at 25 s.

`foreign_at` is the instant at which a cancel that is not ours (the caller's scope, or a scope of
the user's own inside the node) was first noticed. It bounds cleanup and never changes `fired`. It
is provisional: if the user's scope absorbs the cancel inside the node, it is forgotten.

Whose limit was it?
===================

Trio cannot be asked. `cancelled_caught` names the outermost of two equal deadlines, becomes False
for the real cause when an outer deadline passes during the inner one's grace, and is True for
explicit cancels too. So the cause follows from time alone: it is the level with the earliest `own`
that is not after the instant of the question, and ties go to the outermost.

Why no Trio here
================

Everything that decides *when* and *whose* is arithmetic on floats. Kept apart from the waiting, it
can be read in one sitting and compared with an independent oracle. (h11 keeps HTTP apart from
sockets for the same reason.)
"""

from __future__ import annotations

from functools import cached_property
from math import inf

import attrs

from graceline.deadlines.vocabulary import Blame, Source
from graceline.durations import format_duration
from graceline.values import frozen

__all__ = ["Level", "Limit"]


@frozen
class Limit:
    """The fixed part of a level: what its definition says, resolved once per pipeline.

    Attributes:
        level: `pipeline`, `stage`, `node`, `alternative`, `attempt`, `item` or `caller`.
        name: the level's name.
        timeout: seconds from the level's start, `inf` if unlimited.
        reserve: seconds of `timeout` that are kept for cleanup.
        grace: seconds that cleanup may use after a cancel; None takes the parent's.
        source: where the timeout was stated; None if there is none.
        stated: whether the definition states a limit here or above (a default does not count).
        enforced: False in the modes that cancel nothing.
    """

    level: str
    name: str
    timeout: float = inf
    reserve: float = 0.0
    grace: float | None = None
    source: Source | None = None
    stated: bool = False
    enforced: bool = True
    span: float = attrs.field(init=False)
    """Seconds from the start to the level's own deadline."""
    shown: float | None = attrs.field(init=False)
    """The timeout as results show it: None where there is no limit."""

    def __attrs_post_init__(self) -> None:
        # Not `- 0.0`: nodes with the same limit then share one number.
        left = self.timeout - self.reserve if self.reserve else self.timeout
        object.__setattr__(self, "span", left if self.enforced else inf)
        object.__setattr__(self, "shown", None if self.timeout == inf else self.timeout)

    @cached_property
    def exceeded(self) -> str:
        """What to tell people when it passed; put together once, since timeouts are in a hurry."""
        if self.source is Source.INHERITED:
            return "the caller's own deadline passed"
        message = (
            f"{self.level} {self.name!r} exceeded its limit of {format_duration(self.timeout)}"
        )
        if self.source is Source.DEFAULT and self.level == "attempt":
            message += (
                ", the engine's default for an attempt: state attempt_timeout= on its node, or on "
                "a level above, or change open_engine(attempt_timeout=...)"
            )
        elif self.source is Source.DEFAULT:
            message += (
                f", the engine's default for a {self.level}: state timeout= on it or on a level "
                f"above, or change open_engine(timeouts=Timeouts({self.level}=...))"
            )
        elif self.source is Source.CALL:
            message += ", given with the call"
        elif self.source is Source.ADAPTIVE:
            message += ", learned from the durations of calls"
        return message


class Level:
    """One level of one run: the state of the equations above. All times are absolute seconds."""

    __slots__ = ("__dict__", "cancelled_at", "deadline", "grace", "limit", "parent", "start")

    # Most levels never change these. The class holds them until one does, and then its `__dict__`:
    # to write them down for each level would cost as much as all the rest of it.
    reason: Blame | None = None
    foreign_at: float = inf
    forced_at: float = inf

    def __init__(
        self, limit: Limit, parent: Level | None, start: float, grace: float = inf
    ) -> None:
        """Start a level at `start`; `grace` (seconds) is for a root whose limit has none."""
        self.limit: Limit = limit
        self.parent: Level | None = parent
        self.start: float = start
        self.deadline: float = start + limit.span
        if limit.grace is not None:
            grace = limit.grace
        elif parent is not None:
            grace = parent.grace
        self.grace: float = grace
        self.cancelled_at: float = inf

    def __repr__(self) -> str:
        return f"<{self.limit.level} {self.limit.name!r} fires at {self.fired():g}>"

    def own(self) -> float:
        """When this level by itself cancels its work: its deadline, or an earlier cancel."""
        return min(self.deadline, self.cancelled_at)

    def fired(self) -> float:
        """When the work of this level is cancelled, whoever cancels it."""
        level: Level | None = self
        earliest = inf
        while level is not None:
            # Comparisons instead of `min`: this is asked several times per part of a run.
            if level.deadline < earliest:
                earliest = level.deadline
            if level.cancelled_at < earliest:
                earliest = level.cancelled_at
            level = level.parent
        return earliest

    def hard(self) -> float:
        """When the cleanup of this level is cut."""
        above = inf if self.parent is None else self.parent.hard()
        return min(min(self.fired(), self.foreign_at) + self.grace, self.forced_at, above)

    def cause(self, at: float) -> Level | None:
        """The level to blame at `at`: earliest `own`, ties to the outermost; None if none."""
        level: Level | None = self
        found, earliest = None, inf
        while level is not None:
            own = level.deadline
            if level.cancelled_at < own:  # `own()`, without the call
                own = level.cancelled_at
            if own <= at and own <= earliest:
                found, earliest = level, own
            level = level.parent
        return found

    def within(self, other: Level) -> bool:
        """Whether this level is `other` or lies below it."""
        level: Level | None = self
        while level is not None:
            if level is other:
                return True
            level = level.parent
        return False

    def cancel(self, now: float, reason: Blame) -> bool:
        """Cancel this level explicitly; the first one wins. Returns whether this was it."""
        if self.reason is not None:
            return False
        self.cancelled_at = now
        self.reason = reason
        return True

    def force(self, at: float) -> None:
        """Ask that everything here ends by `at`, grace or not; the earliest such wish wins."""
        self.forced_at = min(self.forced_at, at)

    def inherit_foreign(self, noticed: float, upto: Level | None = None) -> None:
        """A cancel that is not ours leaves this level: it and the levels above share the instant.

        Args:
            noticed: when the cancel was first noticed.
            upto: the last level that it leaves, such as the root of the run; None for all.
        """
        level: Level | None = self
        while level is not None:
            level.foreign_at = min(level.foreign_at, noticed)
            level = None if level is upto else level.parent

    def cleanup_ends(self, now: float) -> float:
        """When a cleanup block of this level that is opened at `now` is cut.

        Before any cancel a block has `grace` from its start. After it `hard` alone decides, so that
        all blocks share one budget.
        """
        return min(now + self.grace, self.hard())
