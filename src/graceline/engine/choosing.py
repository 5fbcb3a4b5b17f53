"""A choice: its alternatives by health, one after the other, until one gives a value.

The order is decided in `resilience.health`; here are the awaits, and the level of each alternative.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import trio

from graceline.deadlines import Ending, Status, Verdict, settle
from graceline.engine.endings import classify
from graceline.engine.levels import CURRENT, UNSET, LevelRun, current_level, index_of
from graceline.engine.plan import Alternative, NodePlan
from graceline.engine.settling import InnerTimeoutError, judge, kept, refusal
from graceline.engine.state import RunState
from graceline.engine.strand import Strand
from graceline.resilience import Counted, rank
from graceline.telemetry import events
from graceline.values import define, frozen
from graceline.work import Bound, WorkRefusedError

__all__ = ["bind_choice"]


def bind_choice(alternatives: Sequence[Alternative]) -> Bound:
    """The work of a node that is a choice; it belongs to the level that awaits it."""
    healths = [one.health for one in alternatives]

    @trio.lowlevel.enable_ki_protection
    async def choose(value: Any) -> Any:
        level = current_level()
        run = level.run
        strand = Strand(level, run.clock())
        strand.open()
        try:
            ordered = alternatives
            if run.shared.enforced:
                ordered = [alternatives[number] for number in rank(healths, strand.now)]
            return await _Turn(run, strand, level, value).take(ordered)
        finally:
            strand.close()
            CURRENT.set(level)

    return choose


@frozen
class _Failed:
    """An alternative that gave no value.

    Attributes:
        error: what counts if no other alternative does better.
        kept: the same, as it is kept beside another outcome.
        final: no other alternative may be tried.
    """

    error: Exception
    kept: Exception
    final: bool = False

    @property
    def refused(self) -> bool:
        """Whether it never started."""
        return isinstance(self.error, WorkRefusedError)


@trio.lowlevel.disable_ki_protection
async def _call(plan: NodePlan, value: Any) -> Any:
    """The user's code, which an interrupt may hit."""
    return await plan.call(value)


@define(eq=False)
class _Turn:
    """One turn through the alternatives of a choice."""

    run: RunState
    strand: Strand
    node: LevelRun
    value: Any

    async def take(self, alternatives: Sequence[Alternative]) -> Any:
        """Try the alternatives in this order; returns the first value.

        Raises:
            Exception: what the last one that started raised, if none gives a value.
            BaseException: what is not an alternative's own affair, such as a cancel of the node.
        """
        strand, node = self.strand, self.node
        counts: _Failed | None = None
        for number, one in enumerate(alternatives):
            if number:
                strand.aim(inf)
                # If no time was left when the last one ended, this very tick says so.
                await trio.lowlevel.checkpoint()
            ended = await self._try(one, number)
            if not isinstance(ended, _Failed):
                return ended
            node.errors += (ended.kept,)
            if counts is None or counts.refused or not ended.refused:
                counts = ended
            if ended.final:
                break
        assert counts is not None  # noqa: S101 - there is at least one alternative
        node.errors = tuple(error for error in node.errors if error is not counts.kept)
        raise counts.error

    async def _try(self, one: Alternative, number: int) -> Any:
        """Try an alternative; returns its value, or what became of it."""
        strand, node, plan = self.strand, self.node, one.plan
        level = LevelRun(self.run, plan, node, strand.now, self.value)
        if plan.policies is None:
            level.attempt = 1
        if plan.history is not None:
            plan.history.begin(level)
        # The node's own scope is around this one.
        strand.aim(level.deadline if level.deadline < node.fired() else inf)
        CURRENT.set(level)
        if self.run.traced:
            self._tell_started(one, level)
        try:
            value = await _call(plan, self.value)
        except BaseException as error:
            strand.now = self.run.clock()
            failed = await self._fails(one, level, error)
            if failed is None:
                raise
            return failed
        else:
            strand.now = self.run.clock()
            verdict = settle(level, Ending.VALUE, strand.now)
            node.alternative = one.name
            told = number > 0 or verdict.status is not Status.OK
            self._settle(one, level, verdict, Counted.OK, told=told)
            return value
        finally:
            level.ended = True
            node.attempt += level.attempt
            node.errors += level.errors
            if level.partial is not UNSET:
                node.partial = level.partial
            if self.run.shared.watching:
                self.run.watch(level, strand.now)

    def _tell_started(self, one: Alternative, level: LevelRun) -> None:
        limit = level.limit
        self.run.trace(
            events.AlternativeStarted,
            level.start,
            stage=one.plan.stage,
            node=self.node.plan.name,
            alternative=one.name,
            limit=limit.shown,
            source=limit.source,
            fires_at=level.fired(),
            index=index_of(self.node),
        )

    async def _fails(
        self, one: Alternative, level: LevelRun, error: BaseException
    ) -> _Failed | None:
        """What became of an alternative that raised; None if that is not its own affair."""
        strand, node = self.strand, self.node
        if isinstance(error, WorkRefusedError):
            level.attempt = 0  # it never started
            public = refusal(error, level.limit.name)
            self._settle(one, level, Verdict(Status.REJECTED), Counted.REJECTED, error=public)
            return _Failed(error, public)
        if isinstance(error, InnerTimeoutError):
            verdict = Verdict(Status.TIMED_OUT, error.blame, grace_used=error.grace_used)
            return self._timed_out(one, level, verdict, error)
        ending, failure = classify(error)
        verdict, noticed = await judge(strand, level, ending, error)
        seen = strand.now if noticed is None else noticed
        if verdict.status is Status.FAILED and failure is not None:
            ignored = _ignores(one.plan, failure)
            counted = Counted.IGNORED_ERROR if ignored else Counted.ERROR
            self._settle(one, level, verdict, counted, error=failure)
            return _Failed(failure, failure, one.once)
        blame = verdict.blame
        if blame is not None and level.cause(seen) is level:
            inner = InnerTimeoutError(blame, failure, verdict.grace_used)
            return self._timed_out(one, level, verdict, inner)
        if verdict.foreign:
            node.inherit_notice(seen, error)
        late = verdict.status is Status.TIMED_OUT
        self._settle(one, level, verdict, Counted.ANCESTORS_TIMEOUT if late else Counted.NOTHING)
        return None

    def _timed_out(
        self, one: Alternative, level: LevelRun, verdict: Verdict, error: InnerTimeoutError
    ) -> _Failed:
        self._settle(one, level, verdict, Counted.OWN_TIMEOUT)
        return _Failed(error, kept(error), one.once)

    def _settle(
        self,
        one: Alternative,
        level: LevelRun,
        verdict: Verdict,
        counted: Counted,
        *,
        error: Exception | None = None,
        told: bool = True,
    ) -> None:
        """Count the end of an alternative, and hand out its event if anybody may want it."""
        run, now, plan, limit = self.run, self.strand.now, one.plan, level.limit
        elapsed = now - level.start
        worked = min(now, level.fired()) - level.start
        one.health.settle(now, counted, worked, one.limit)
        plan.stats.add(verdict.status, elapsed, verdict.blame, error)
        if plan.history is not None:
            plan.history.settle(level, verdict, now, returned=counted is Counted.OK)
        if not (run.traced or (told and run.trouble_heard())):
            return
        hand_out = run.emit if told else run.trace
        hand_out(
            events.AlternativeFinished,
            now,
            stage=plan.stage,
            node=self.node.plan.name,
            alternative=one.name,
            status=verdict.status,
            started=level.start,
            elapsed=elapsed,
            limit=limit.shown,
            source=limit.source,
            blame=verdict.blame,
            error_type=None if error is None else type(error).__name__,
            health=one.health.value(now),
            index=index_of(self.node),
        )


def _ignores(plan: NodePlan, error: Exception) -> bool:
    """Whether the breaker of an alternative ignores an error."""
    breaker = None if plan.policies is None else plan.policies.breaker
    try:
        return breaker is not None and breaker.policy.ignores(error)
    except Exception:  # noqa: BLE001 - it was asked by the attempt, whose failure that is
        return False
