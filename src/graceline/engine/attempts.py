"""A node with policies: attempts, each with a limit of its own, until one succeeds or it is no use.

What is decided is decided in `resilience`; here are the awaits, and the level of each attempt.
"""

from __future__ import annotations

from math import inf
from typing import Any, NoReturn

import attrs
import trio

from graceline.deadlines import Blame, Ending, Status, Verdict, settle
from graceline.engine.endings import classify
from graceline.engine.levels import CURRENT, UNSET, LevelRun
from graceline.engine.plan import NodePlan
from graceline.engine.policies import Policies
from graceline.engine.settling import InnerTimeoutError, judge
from graceline.engine.state import RunState
from graceline.engine.strand import Strand
from graceline.errors import CircuitOpenError
from graceline.resilience import (
    Attempt,
    BreakerRefusal,
    Counted,
    Go,
    Stop,
    StopReason,
    decide_retry,
)
from graceline.telemetry import events
from graceline.work import WorkRefusedError

__all__ = ["run_attempts"]


@attrs.frozen
class _Failed:
    """An attempt that may be made again: its level, what is known of it, what it raised."""

    level: LevelRun
    attempt: Attempt
    error: Exception
    blame: Blame | None = None


@trio.lowlevel.enable_ki_protection
async def run_attempts(
    run: RunState, level: LevelRun, plan: NodePlan, policies: Policies, value: Any
) -> Any:
    """Run a node, or an item of one, by its policies; returns the value of the first success.

    Raises:
        InnerTimeoutError: if the last attempt exceeded its own limit.
        BaseException: what the last attempt raised.
    """
    strand = Strand(level, run.clock())
    strand.open()
    line = _Line(run, strand, level, plan, policies, value)
    try:
        while True:
            ended = await line.attempt()
            if not isinstance(ended, _Failed):
                return ended
            await line.go_on(ended)
    except BaseException as error:
        line.lost(error)
        raise
    finally:
        strand.close()
        CURRENT.set(level)


@trio.lowlevel.disable_ki_protection
async def _call(plan: NodePlan, value: Any) -> Any:
    """The user's code, which an interrupt may hit."""
    await trio.lowlevel.checkpoint_if_cancelled()
    return await plan.call(value)


@attrs.define(eq=False)
class _Line:
    """The attempts of one node, one after the other."""

    run: RunState
    strand: Strand
    node: LevelRun
    plan: NodePlan
    policies: Policies
    value: Any
    counted: Counted = Counted.NOTHING
    """How the breaker counts the attempt."""
    raised: Exception | None = None
    """What the attempt raised, for the breaker to show."""
    token: float | None = None
    """When the retry budget was asked for an attempt that has not started yet."""

    async def attempt(self) -> Any:
        """Make the next attempt; returns its value, or what became of it.

        Raises:
            WorkRefusedError: if a protection refuses it.
            BaseException: what is not the attempt's own affair, such as a cancel of the node.
        """
        slots = self.policies.slots
        if slots is None:
            return await self._permitted()
        if slots.is_full():
            self._refuse(WorkRefusedError(f"bulkhead {slots.name!r}: queue full"))
        await slots.take()
        try:
            self.strand.now = self.run.clock()
            return await self._permitted()
        finally:
            slots.give_back()

    async def _permitted(self) -> Any:
        """Make an attempt if the breaker lets it."""
        breaker = self.policies.breaker
        if breaker is None:
            return await self._made()
        start = self.strand.now
        permit = breaker.admit(start)
        if isinstance(permit, BreakerRefusal):
            error = CircuitOpenError(permit.retry_after, breaker.name, permit.last_error)
            self._refuse(WorkRefusedError(str(error)), error)
        self.counted, self.raised = Counted.NOTHING, None
        try:
            return await self._made()
        finally:
            now = self.strand.now
            permit.settle(now, self.counted, now - start, self.raised)

    def _refuse(self, refusal: WorkRefusedError, cause: Exception | None = None) -> NoReturn:
        """The node is refused; if it was tried before, the last real error stands."""
        errors = self.node.errors
        if not errors:
            raise refusal from cause
        self.node.errors = errors[:-1]
        raise _noted(errors[-1], f"retry stopped: {refusal}")

    async def _made(self) -> Any:
        strand, node = self.strand, self.node
        node.attempt += 1
        level = LevelRun(self.run, self.plan, node, strand.now, self.value)
        level.attempt = node.attempt
        limit = self.policies.limit
        if self.plan.item is not None:
            limit = attrs.evolve(limit, name=node.limit.name)
        level.limit = limit
        level.deadline = level.start + level.limit.span
        if self.policies.history is not None:
            self.policies.history.begin(level)
            if level.lease is not None:
                level.limit = attrs.evolve(limit, timeout=level.lease.timeout)
        # The node's own scope is around this one.
        strand.aim(level.deadline if level.deadline < node.fired() else inf)
        CURRENT.set(level)
        try:
            value = await _call(self.plan, self.value)
        except BaseException as error:
            strand.now = self.run.clock()
            failed = await self._fails(level, error)
            if failed is None:
                raise
            return failed
        else:
            strand.now = self.run.clock()
            self._succeeded(level)
            return value
        finally:
            level.ended = True
            if level.partial is not UNSET:
                node.partial = level.partial
            if self.run.shared.watching:
                self.run.watch(level, strand.now)

    def _succeeded(self, level: LevelRun) -> None:
        now = self.strand.now
        verdict = settle(level, Ending.VALUE, now)
        self.counted, self.token = Counted.OK, None
        self._write_down(level, verdict, returned=True)
        self.policies.budget.deposit(now)
        stop = "ok" if level.attempt > 1 else None
        self._tell(level, verdict.status, blame=verdict.blame, stop=stop)

    async def _fails(self, level: LevelRun, error: BaseException) -> _Failed | None:
        """What became of an attempt that raised; None if that is not its own affair."""
        strand, node = self.strand, self.node
        if isinstance(error, WorkRefusedError):
            node.attempt -= 1  # it never started
            self.counted = Counted.REJECTED
            self._write_down(level, Verdict(Status.REJECTED), returned=False)
            self._refuse(error)
        self.token = None
        ending, failure = classify(error)
        verdict, noticed = await judge(strand, level, ending, error)
        self._write_down(level, verdict, returned=False)
        seen = strand.now if noticed is None else noticed
        if verdict.status is Status.FAILED and failure is not None:
            attempt = Attempt(
                number=level.attempt,
                status=Status.FAILED,
                error=failure,
                retried_inside=level.retried_inside,
            )
            failed = _Failed(level, attempt, failure)
            breaker = self.policies.breaker
            try:
                ignored = breaker is not None and breaker.policy.ignores(failure)
            except Exception:
                self._stray(failed)
                raise
            self.counted = Counted.IGNORED_ERROR if ignored else Counted.ERROR
            self.raised = failure
            return failed
        blame = verdict.blame
        cause = level.cause(seen)
        if verdict.status is Status.TIMED_OUT:
            own = cause is level or cause is node or (self.plan.item and cause is node.parent)
            self.counted = Counted.OWN_TIMEOUT if own else Counted.ANCESTORS_TIMEOUT
        if blame is not None and cause is level:
            attempt = Attempt(number=level.attempt, status=Status.TIMED_OUT, own_timeout=True)
            inner = InnerTimeoutError(blame, failure, verdict.grace_used)
            return _Failed(level, attempt, inner, blame)
        if verdict.foreign and (node.notice is None or seen < node.notice[0]):
            # The node inherits the instant, so that graces do not stack.
            node.notice = (seen, error)
            node.foreign_at = min(node.foreign_at, seen)
        self._tell(level, verdict.status, blame=blame)
        return None

    def _write_down(self, level: LevelRun, verdict: Verdict, *, returned: bool) -> None:
        if self.policies.history is not None:
            self.policies.history.settle(level, verdict, self.strand.now, returned=returned)

    async def go_on(self, failed: _Failed) -> None:
        """Wait for the next attempt, or raise what the last one raised.

        Raises:
            Exception: that, with a note that says why there is no further attempt.
        """
        strand = self.strand
        try:
            step = self._decide(failed)
        except Exception:
            self._stray(failed)
            raise
        delay = step.delay if isinstance(step, Go) else None
        self._tell_failed(failed, delay, str(step.reason) if isinstance(step, Stop) else None)
        if isinstance(step, Stop):
            self._give_up(failed, step)
        self.node.errors += (failed.error,)
        self.token = strand.now
        strand.aim(inf)  # there is time for it, as was just decided; the node's scope is around it
        CURRENT.set(self.node)
        await trio.sleep(step.delay)
        strand.now = self.run.clock()

    def _decide(self, failed: _Failed) -> Go | Stop:
        policies, now = self.policies, self.strand.now
        p50, successes = policies.known()
        step = decide_retry(
            policies.retry,
            failed.attempt,
            idempotent=policies.idempotent,
            remaining=self.node.fired() - now,
            attempt_timeout=failed.level.limit.timeout,
            p50=p50,
            successes=successes,
            budget=policies.budget,
            now=now,
            random=policies.random,
        )
        breaker = policies.breaker
        if isinstance(step, Go) and breaker is not None:
            wait = breaker.refused_for(now)
            if wait > step.delay:
                policies.budget.give_back(now)
                note = f"retry stopped: breaker {breaker.name!r} is open"
                return Stop(StopReason.NOT_RETRYABLE, note)
        return step

    def _give_up(self, failed: _Failed, step: Stop) -> NoReturn:
        if self.policies.retry.attempts > 1:
            _noted(failed.error, step.note)
        raise failed.error

    def lost(self, error: BaseException) -> None:
        """There will be no value: a retry that never started is not paid for."""
        if self.token is not None:
            self.policies.budget.give_back(self.token)
        failed = isinstance(error, Exception) and self.policies.retry.attempts > 1
        outer = self.run.parent if failed or self.node.attempt > 1 else None
        while outer is not None:  # only the innermost layer retries
            outer.retried_inside = True
            outer = outer.run.parent

    def _stray(self, failed: _Failed) -> None:
        """A function of a policy raised, which is the node's failure: what it was asked is kept."""
        self._tell_failed(failed, None, str(StopReason.NOT_RETRYABLE))
        self.node.errors += (failed.error,)

    def _tell_failed(self, failed: _Failed, delay: float | None, stop: str | None) -> None:
        blame = failed.blame
        error_type = None if blame is not None else type(failed.error).__name__
        status = failed.attempt.status
        self._tell(failed.level, status, blame=blame, error_type=error_type, delay=delay, stop=stop)

    def _tell(
        self,
        level: LevelRun,
        status: Status,
        *,
        blame: Blame | None = None,
        error_type: str | None = None,
        delay: float | None = None,
        stop: str | None = None,
    ) -> None:
        """Hand out the event of an attempt, if anybody may want it."""
        run, now = self.run, self.strand.now
        trouble = status is not Status.OK or stop is not None
        if not (run.traced or (trouble and run.trouble_heard())):
            return
        run.emit(
            events.AttemptFinished,
            now,
            stage=self.plan.stage,
            node=self.plan.name,
            attempt=level.attempt,
            status=status,
            started=level.start,
            elapsed=now - level.start,
            limit=level.limit.shown,
            source=level.limit.source,
            blame=blame,
            error_type=error_type,
            delay=delay,
            stop=stop,
        )


def _noted(error: Exception, note: str) -> Exception:
    """The error with a note; that of an attempt's own timeout is in its blame too."""
    error.add_note(note)
    if isinstance(error, InnerTimeoutError):
        error.blame = attrs.evolve(error.blame, message=f"{error.blame.message}; {note}")
    return error
