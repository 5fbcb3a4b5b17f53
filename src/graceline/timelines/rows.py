"""The rows of a timeline: plain data, one row for each part of a run.

A row tells of one part when its work went on, when it had unwound, which limit stood over it,
whether it is the one to blame, and what became of each of its attempts.
"""

from __future__ import annotations

from graceline.deadlines import Blame, Source, Status
from graceline.values import frozen

__all__ = ["AttemptRow", "Row", "blames"]


@frozen(kw_only=True)
class AttemptRow:
    """One attempt of a node with policies, which has ended. Times are seconds from the submission.

    Attributes:
        number: which one, from 1; a hedge has that of the attempt it is a copy of.
        started: when it started.
        worked_until: when its work ended, or was cut by its own limit.
        ended: when it had ended, unwinding included.
        status: its status.
        limit: its limit in seconds, None if it has none.
        source: where that limit was stated.
        blame: the level to blame for it, None if there is nothing to blame.
        error_type: the class of what it raised, None if it raised nothing of its own.
        delay: seconds from its end to the next attempt; None if there was to be none.
        stop: why there was to be none, as `AttemptFinished` says it.
        hedge: whether it is a second copy of an attempt.
        unhedged: why no second copy of a slow attempt was sent, as `HedgeSettled` says it.
    """

    number: int
    started: float
    worked_until: float
    ended: float
    status: Status
    limit: float | None = None
    source: Source | None = None
    blame: Blame | None = None
    error_type: str | None = None
    delay: float | None = None
    stop: str | None = None
    hedge: bool = False
    unhedged: str | None = None


@frozen(kw_only=True)
class Row:
    """One part of a run: the pipeline, a stage or a node. Times are seconds from the submission.

    Attributes:
        level: `pipeline`, `stage` or `node`.
        stage: the stage, "" for the pipeline.
        name: the part's name.
        started: when it started; None if it has not, or never had a turn.
        worked_until: when its work ended or was cancelled; None while it goes on. While a part
            unwinds, it is known if the cancel was an explicit one: see `limit_at` for the others.
        ended: when it had ended, unwinding included; None while it goes on.
        limit_at: when its work was to be cancelled, whoever cancels it, as known at its start; None
            if nothing limited it.
        limit: its own limit in seconds, None if it has none.
        source: where that limit was stated.
        status: its status; None while it goes on.
        blame: the level to blame for it, None if there is nothing to blame.
        blamed: whether this is the level that the run's own outcome blames.
        grace_used: seconds of unwinding, between `worked_until` and `ended`: cleanup, handlers, or
            work that was slow to notice its cancel.
        overrun: seconds past the cancel at which it returned a value (`late`).
        partial: whether it saved a partial value.
        abandoned: whether it left a worker thread behind that went on.
        hanging: how many such threads have not ended since.
        attempts: those of a node with policies that have ended, by their numbers. The items of a
            node that runs over a list have attempts, and numbers, of their own.
        tries: how often a node's work was started, as known when it has ended.
        unattempted: whether a node ended without any: refused, or cut while it waited for a slot.
        passed_over: classes of the errors of a choice's alternatives that gave no value, and of
            their attempts after which another one came.
    """

    level: str
    stage: str
    name: str
    started: float | None = None
    worked_until: float | None = None
    ended: float | None = None
    limit_at: float | None = None
    limit: float | None = None
    source: Source | None = None
    status: Status | None = None
    blame: Blame | None = None
    blamed: bool = False
    grace_used: float = 0.0
    overrun: float = 0.0
    partial: bool = False
    abandoned: bool = False
    hanging: int = 0
    attempts: tuple[AttemptRow, ...] = ()
    tries: int = 0
    unattempted: bool = False
    passed_over: tuple[str, ...] = ()


def blames(blame: Blame | None, row: Row) -> bool:
    """Whether the blame of a run means a part, or what this node was doing."""
    if blame is None:
        return False
    if row.level == "node" and blame.level in ("node", "attempt", "alternative", "item"):
        below = (f"{row.name}[", f"{row.name}.")
        ours = blame.name == row.name or blame.name.startswith(below)
        return ours and blame == row.blame
    return blame.level == row.level and blame.name == row.name
