"""A copy of an attempt: one call of a node's work, with a level of its own, settled where it ends.

An attempt has one, or two if it is hedged: then each runs in a task of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs

from graceline.deadlines import Blame, Ending, Kind, Status, Verdict, settle
from graceline.engine.endings import classify
from graceline.engine.levels import CURRENT, UNSET, AttemptRun, LevelRun
from graceline.engine.plan import NodePlan
from graceline.engine.policies import Policies
from graceline.engine.settling import InnerTimeoutError, judge
from graceline.engine.strand import Strand
from graceline.resilience import Attempt, Counted, has_started
from graceline.telemetry import events
from graceline.values import frozen
from graceline.work import WorkRefusedError

__all__ = ["Copy", "Failed", "Work", "tell_attempt"]

Work: TypeAlias = Callable[[Any], Awaitable[Any]]


@frozen
class Failed:
    """An attempt that may be made again: its level, what is known of it, what it raised."""

    level: AttemptRun
    attempt: Attempt
    error: Exception
    blame: Blame | None = None


class Copy:
    """One call of the work. Once it `is_done`, it has a value, has `failed`, or has an `error`.

    Attributes:
        level: its own level, below that of the node.
        hedge: whether it is the second copy of an attempt.
        superseded: whether the other copy was faster: nothing that becomes of it counts.
        is_done: whether it has ended.
        value: what it returned, `UNSET` if it did not.
        failed: how it failed, if that is its own affair.
        error: what it raised otherwise, such as a cancel of the node, or a refusal to start.
        stray: an error that it raised while it unwound.
        counted: how a breaker counts it.
        raised: what it raised, for the breaker to show.
        ended_at: when it ended.
    """

    __slots__ = (
        "_policies", "_strand", "counted", "ended_at", "error", "failed", "hedge", "is_done",
        "level", "raised", "stray", "superseded", "value",
    )  # fmt: skip

    def __init__(
        self, node: LevelRun, policies: Policies, start: float, *, hedge: bool = False
    ) -> None:
        self._policies = policies
        self._strand: Strand
        plan = node.plan
        assert isinstance(plan, NodePlan)  # noqa: S101 - the level is a node's, or an item's
        self.level: AttemptRun = AttemptRun(node.run, plan, node, start, node.input)
        level = self.level
        level.attempt = node.attempt
        level.hedge = hedge
        limit = policies.limit
        if plan.item is not None:
            limit = attrs.evolve(limit, name=node.limit.name)
        level.limit = limit
        level.deadline = start + limit.span
        if policies.durations is not None:
            policies.durations.begin(level)
            if level.lease is not None:
                level.limit = attrs.evolve(limit, timeout=level.lease.timeout)
        self.hedge: bool = hedge
        self.superseded: bool = False
        self.is_done: bool = False
        self.value: Any = UNSET
        self.failed: Failed | None = None
        self.error: BaseException | None = None
        self.stray: Exception | None = None
        self.counted: Counted = Counted.NOTHING
        self.raised: Exception | None = None
        self.ended_at: float = start

    async def run(self, strand: Strand, fires: float, node: LevelRun, work: Work) -> None:
        """Await the work and settle what comes of it; raises nothing.

        Args:
            strand: the line of work of the calling task.
            fires: when to cancel it.
            node: the level of the node.
            work: called with the input.
        """
        self._strand = strand
        level = self.level
        strand.aim(fires)
        CURRENT.set(level)
        if level.run.traced:
            _tell(
                level.run.trace, events.AttemptStarted, level, level.start,
                fires_at=level.fired(), **_limit(level),
            )  # fmt: skip
        try:
            value = await work(level.input)
        except BaseException as error:  # noqa: BLE001 - kept for whoever waits for the copy
            strand.now = level.run.clock()
            try:
                await self._fails(node, error)
            except BaseException as raised:  # noqa: BLE001 - what is for the program
                self.error = raised
        else:
            strand.now = level.run.clock()
            self.value = value
            self.counted = Counted.OK
            self._write_down(settle(level, Ending.VALUE, strand.now), returned=True)
        finally:
            level.ended = self.is_done = True
            self.ended_at = strand.now
            if level.partial is not UNSET:
                node.partial = level.partial
            if level.run.shared.watching:
                level.run.watch(level, strand.now)

    def supersede(self, grace: float) -> None:
        """The other copy has won: cut this one, and let it unwind below the run, not the node."""
        level, run = self.level, self.level.run
        now = run.clock()
        self.superseded = True
        level.grace = min(level.grace, grace)  # while its parents are those it began with
        level.parent = run.root
        limit = level.limit
        run.cut(
            level,
            now,
            Blame(
                limit.level, limit.name, Kind.SUPERSEDED, limit.shown, limit.source,
                now - level.start, "the other copy of the attempt was faster",
            ),
        )  # fmt: skip

    async def _fails(self, node: LevelRun, error: BaseException) -> None:
        """Note what became of a copy that raised."""
        strand, level = self._strand, self.level
        if isinstance(error, WorkRefusedError):
            self.counted, self.error = Counted.REJECTED, error
            self._write_down(Verdict(Status.REJECTED), returned=False)
            if level.run.traced:
                _tell(level.run.trace, events.AttemptRefused, level, strand.now)
            return
        ending, failure = classify(error)
        verdict, noticed = await judge(strand, level, ending, error)
        self._write_down(verdict, returned=False)
        if self.superseded:
            self.stray = failure
            return
        seen = strand.now if noticed is None else noticed
        if verdict.status is Status.FAILED and failure is not None:
            self._failed(failure)
            return
        blame = verdict.blame
        cause = level.cause(seen)
        if verdict.status is Status.TIMED_OUT:
            item = level.plan.item is not None  # type: ignore[attr-defined]
            own = cause is level or cause is node or (item and cause is node.parent)
            self.counted = Counted.OWN_TIMEOUT if own else Counted.ANCESTORS_TIMEOUT
        if blame is not None and cause is level:
            attempt = Attempt(number=level.attempt, status=Status.TIMED_OUT, own_timeout=True)
            inner = InnerTimeoutError(blame, failure, verdict.grace_used)
            self.failed = Failed(level, attempt, inner, blame)
            return
        if verdict.foreign:
            node.inherit_notice(seen, error)
        self.error, self.stray = error, failure
        tell_attempt(level, strand.now, verdict.status, blame=blame)

    def _failed(self, failure: Exception) -> None:
        level, breaker = self.level, self._policies.breaker
        attempt = Attempt(
            number=level.attempt,
            status=Status.FAILED,
            error=failure,
            started=has_started(failure),
            retried_inside=level.retried_inside,
        )
        self.failed = Failed(level, attempt, failure)
        try:
            ignored = breaker is not None and breaker.policy.ignores(failure)
        except Exception as error:  # noqa: BLE001 - a function of the user's
            self.error = error
            return
        self.counted = Counted.IGNORED_ERROR if ignored else Counted.ERROR
        self.raised = failure

    def _write_down(self, verdict: Verdict, *, returned: bool) -> None:
        durations = self._policies.durations
        if durations is not None:
            durations.settle(self.level, verdict, self._strand.now, returned=returned)


def tell_attempt(
    level: AttemptRun,
    now: float,
    status: Status,
    *,
    blame: Blame | None = None,
    error_type: str | None = None,
    delay: float | None = None,
    stop: str | None = None,
) -> None:
    """Hand out the event of an attempt, if anybody may want it."""
    run = level.run
    trouble = status is not Status.OK or stop is not None or level.hedge
    if not (run.traced or (trouble and run.trouble_heard())):
        return
    _tell(
        run.emit if trouble else run.trace,
        events.AttemptFinished,
        level,
        now,
        status=status,
        started=level.start,
        elapsed=now - level.start,
        blame=blame,
        error_type=error_type,
        delay=delay,
        stop=stop,
        **_limit(level),
    )


def _limit(level: AttemptRun) -> dict[str, Any]:
    limit = level.limit
    return {"limit": limit.shown, "source": limit.source}


def _tell(
    hand_out: Callable[..., None],
    kind: type[events.Event],
    level: AttemptRun,
    now: float,
    **fields: Any,
) -> None:
    plan = level.plan
    assert isinstance(plan, NodePlan)  # noqa: S101 - only nodes have attempts
    hand_out(
        kind,
        now,
        stage=plan.stage,
        node=plan.name,
        attempt=level.attempt,
        hedge=level.hedge,
        index=level.index,
        **fields,
    )
