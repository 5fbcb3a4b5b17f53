"""From the end of a part to its outcome: verdict, handlers, events, and what dependents get.

Nodes and stages share all of it; what differs is the class of the outcome.
"""

from __future__ import annotations

from math import inf
from typing import Any

import attrs
import trio

from graceline.deadlines import Blame, Ending, Kind, Status, Verdict, blame_failure, expired, settle
from graceline.definitions import PASS_INPUT
from graceline.engine.cleanup import run_handlers
from graceline.engine.endings import classify
from graceline.engine.levels import LevelRun
from graceline.engine.outcomes import Outcome, node_outcome, stage_outcome, tell, unstarted
from graceline.engine.plan import NodePlan
from graceline.engine.state import NOTHING, RunState
from graceline.engine.strand import Strand
from graceline.engine.surrounded import StandIn
from graceline.errors import (
    CircuitOpenError,
    GracelineError,
    OverloadedError,
)
from graceline.results import NodeOutcome, timeout_class
from graceline.work import WorkRefusedError

__all__ = [
    "Book",
    "InnerTimeoutError",
    "enter",
    "finish",
    "judge",
    "kept",
    "refusal",
    "route",
    "settle_node",
]

_STOPS_ALL = frozenset({Kind.USER, Kind.SHUTDOWN, Kind.CALLER})
# To look up a member of an enum costs more than what is done with it here.
_OK, _LATE, _FAILED = Status.OK, Status.LATE, Status.FAILED
_SKIPPED, _CANCELLED = Status.SKIPPED, Status.CANCELLED
_CUT, _CALLER = Ending.CANCELLED, Kind.CALLER


class InnerTimeoutError(Exception):
    """An attempt of a node, or one item of a node that runs over a list, exceeded its limit.

    It carries the blame, the error that was raised while it unwound, if there was one, and for how
    many seconds it did.
    """

    def __init__(
        self, blame: Blame, raised: Exception | None = None, grace_used: float = 0.0
    ) -> None:
        super().__init__(blame.message)
        self.blame = blame
        self.raised = raised
        self.grace_used = grace_used


def kept(error: Exception) -> Exception:
    """An error as it is kept among those of a node: a timeout inside it as users know it."""
    if not isinstance(error, InnerTimeoutError):
        return error
    blame = error.blame
    source = None if blame.source is None else str(blame.source)
    public = timeout_class(blame.level)(
        blame.message, name=blame.name, limit=blame.limit, source=source, result=None
    )
    public.__cause__ = error.raised
    return public


def refusal(error: WorkRefusedError, name: str) -> Exception:
    """The refusal of what is called `name`, as users know it."""
    cause = error.__cause__
    if isinstance(cause, Exception):
        return cause
    return OverloadedError(str(error), name=name, result=None)


class Book:
    """What a holder of parts writes down while they run.

    Attributes:
        outcomes: of the parts that have one, by name; a record where all went well.
        values: of the parts that are usable, as their dependents see them.
        failure: the first outcome, in order of finishing, that ends the holder.
        last: when the last critical part returned.
    """

    __slots__ = ("failure", "last", "outcomes", "values")

    def __init__(self, start: float) -> None:
        self.outcomes: dict[str, Any] = {}
        self.values: dict[str, Any] = NOTHING
        self.failure: Outcome | None = None
        self.last: float = start

    def give(self, name: str, value: Any) -> None:
        """Write down what the dependents of a part get."""
        if self.values is NOTHING:
            self.values = {}
        self.values[name] = value


async def enter(run: RunState, strand: Strand, level: LevelRun, book: Book) -> Outcome | None:
    """Look before a part starts; returns its outcome if it does not start at all."""
    plan = level.plan
    now = strand.now
    if run.foreign is not None and run.root.foreign_at < level.fired():
        blame = Blame("caller", "caller", _CALLER, None, None, 0.0, "the caller was cancelled")
        return unstarted(run, level, _CANCELLED, blame)
    verdict = expired(level, now)
    if verdict is not None:
        return await finish(run, strand, level, verdict, book)
    if plan.when is not None:
        try:
            wanted = plan.when(level.input)
        except Exception as error:  # noqa: BLE001 - the part's failure
            told = error.told if isinstance(error, GracelineError) else ""
            blame = blame_failure(
                level, now, Kind.FAILED,
                f"when= of {level.limit.level} {plan.name!r} raised {type(error).__name__}"
                f"{told and ': '}{told}",
            )  # fmt: skip
            return await finish(run, strand, level, Verdict(_FAILED, blame), book, error=error)
        strand.now = run.clock()
        if not wanted:
            # The scope may have the deadline of the very part that is skipped.
            strand.dirty = strand.dirty or strand.now >= strand.deadline
            return unstarted(run, level, _SKIPPED, None)
    if plan.history is not None:
        plan.history.begin(level)
    if plan.share is not None:
        refusal = plan.share.begin(level)
        if refusal is not None:
            return await finish(run, strand, level, refusal, book)
    return None


async def settle_node(
    run: RunState,
    strand: Strand,
    level: LevelRun,
    book: Book,
    *,
    value: Any = None,
    error: BaseException | None = None,
) -> NodeOutcome:
    """Settle a node whose work came back with a value or an exception.

    Raises:
        BaseException: what never becomes a result, such as `KeyboardInterrupt`.
    """
    plan = level.plan
    assert isinstance(plan, NodePlan)  # noqa: S101 - the level is a node's
    now = strand.now
    plan.tempo.slack = 0.0
    failure: Exception | None = None
    several = plan.policies is not None or plan.alternatives
    attempts = level.attempt if several and plan.item is None else 1
    if error is None:
        verdict = settle(level, Ending.VALUE, now, strict=plan.strict)
        if verdict.status not in (_OK, _LATE):
            level.partial, value = value, None  # strict: the value is late, but it is not lost
    elif isinstance(error, InnerTimeoutError):
        verdict = Verdict(Status.TIMED_OUT, error.blame, grace_used=error.grace_used)
        failure = error.raised
    elif isinstance(error, WorkRefusedError):
        failure = error.__cause__ if isinstance(error.__cause__, Exception) else None
        blame = blame_failure(level, now, Kind.REJECTED, str(error))
        if isinstance(failure, CircuitOpenError):
            blame = attrs.evolve(blame, retry_after=failure.retry_after)
        verdict = Verdict(Status.REJECTED, blame)
        attempts = level.attempt
    else:
        # Spelled out for the usual cut: it is in a hurry, and each call comes from cold memory.
        ending = _CUT
        if type(error) is not trio.Cancelled:
            ending, failure = classify(error)
        noticed = None
        if level.notice is None:
            verdict = settle(level, ending, now)
        else:
            verdict, noticed = await judge(strand, level, ending, error)
        if verdict.status is _FAILED:
            message = f"node {plan.name!r} raised {type(failure).__name__}"
            verdict = verdict._replace(blame=blame_failure(level, now, Kind.FAILED, message))
        elif verdict.foreign and verdict.blame is not None:
            if verdict.blame.kind is _CALLER:
                run.caller_cancelled(level, now if noticed is None else noticed, error)
            # The caller's deadline by our books; whether Trio agrees is asked at the end, since
            # a deadline may have been moved meanwhile. An error that the unwinding raised is
            # the node's own, and not what the caller has to see.
            elif ending is _CUT:
                run.original = run.original or error
    if run.shared.watching:
        run.watch(level, now)
    outcome = await finish(
        run, strand, level, verdict, book, value=value, error=failure, attempts=attempts,
        returned=error is None,
    )  # fmt: skip
    assert isinstance(outcome, NodeOutcome)  # noqa: S101 - the plan is a node's
    return outcome


async def judge(
    strand: Strand, level: LevelRun, ending: Ending, error: BaseException
) -> tuple[Verdict, float | None]:
    """The verdict on an exception that left a node or an item, and when its cancel was noticed.

    A cleanup block may have noticed a cancel of the user's own scope, whose exception then went on
    because one of ours fired in the meantime. It was the caller's only if the caller is cancelled.
    """
    noticed = level.noticed(error)
    verdict = settle(level, ending, strand.now, noticed=noticed)
    if (
        verdict.foreign
        and noticed is not None
        and level.fired() <= strand.now
        and await _look_outside(strand) is None
    ):
        return settle(level, ending, strand.now), None
    return verdict, noticed


async def _look_outside(strand: Strand) -> trio.Cancelled | None:
    """Is what stands outside the strand cancelled? Returns the `Cancelled` that says so.

    The own scope is left first. A cut of it that comes meanwhile changes nothing: without a cancel
    outside there is no meanwhile.
    """
    strand.renew(inf)
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
    except trio.Cancelled as error:
        return error
    return None


async def finish(
    run: RunState,
    strand: Strand,
    level: LevelRun,
    verdict: Verdict,
    book: Book,
    *,
    value: Any = None,
    error: Exception | None = None,
    attempts: int = 0,
    nodes: dict[str, Any] | None = None,
    last: float | None = None,
    returned: bool = False,
) -> Outcome:
    """Build the outcome and run the handlers.

    `last` is when the last critical part of a stage returned; for a node that is now. `returned`
    says that the work returned a value, whatever the verdict makes of it.
    """
    plan = level.plan
    level.ended = True
    if plan.history is not None:
        plan.history.settle(level, verdict, strand.now, returned=returned)
    failed = verdict.status is _FAILED
    extra = level.errors if error is None or failed else (*level.errors, error)
    shown = error if failed else None
    outcome: Outcome
    if isinstance(plan, NodePlan):
        outcome = node_outcome(
            run, level, strand.now, verdict, value=value, error=shown, attempts=attempts,
            secondary=extra,
        )  # fmt: skip
    else:
        outcome = stage_outcome(run, level, strand.now, verdict, value, shown, nodes or {}, plan)
    if plan.critical:
        book.last = max(book.last, strand.now if last is None else last)
    started = attempts > 0 or nodes is not None
    if plan.handlers and started:
        errors = await run_handlers(level, plan.handlers, outcome)
        strand.now = run.clock()
        elapsed = strand.now - level.start
        grace_used = outcome.grace_used
        if verdict.blame is not None and verdict.status is not _LATE:
            grace_used = max(grace_used, strand.now - min(level.fired(), level.foreign_at), 0.0)
        outcome = attrs.evolve(
            outcome, elapsed=elapsed, grace_used=grace_used,
            secondary=(*outcome.secondary, *errors),
        )  # fmt: skip
    if verdict.status is not _OK:
        run.plain = False
        strand.dirty = True  # the scope was cancelled, or may have been
    elif strand.now >= strand.deadline:
        strand.dirty = True
    return outcome


def route(
    run: RunState, strand: Strand, level: LevelRun, outcome: Outcome, book: Book
) -> tuple[bool, Any, Outcome]:
    """What do the dependents of a part get? Returns whether it is usable, that value, the outcome.

    A part that is not usable and counts is the holder's failure. A fallback that raises turns its
    part into a failure that counts; so the outcome is final here, and everybody is told.
    """
    plan, status = level.plan, outcome.status
    value, usable = level.input, True
    if status is _OK or status is _LATE:
        value = outcome.value
    elif status is not _SKIPPED:
        blame = outcome.blame
        stops = status is _CANCELLED and blame is not None and blame.kind in _STOPS_ALL
        if plan.critical or stops or (run.foreign or run.original) is not None:
            usable = False
        elif plan.fallback is not PASS_INPUT:
            value = plan.fallback
            if callable(value):
                try:
                    value = value(outcome if isinstance(value, StandIn) else level.input)
                except Exception as error:  # noqa: BLE001 - becomes the part's failure
                    outcome, usable = _fallback_raised(level, outcome, strand.now, error), False
        if usable:
            run.degraded += (plan.label,)
            plan.stats.add_degraded()  # type: ignore[union-attr]
    if usable:
        book.give(plan.name, value)
    else:
        book.failure = book.failure or outcome
    tell(run, level, outcome, strand.now)
    return usable, value, outcome


def _fallback_raised(level: LevelRun, outcome: Outcome, now: float, error: Exception) -> Outcome:
    message = f"fallback= of {level.limit.level} {level.plan.name!r} raised {type(error).__name__}"
    secondary = outcome.secondary
    if outcome.error is not None:
        secondary = (outcome.error, *secondary)
    return attrs.evolve(
        outcome, status=_FAILED, error=error, secondary=secondary,
        blame=blame_failure(level, now, Kind.FAILED, message),
    )  # fmt: skip
