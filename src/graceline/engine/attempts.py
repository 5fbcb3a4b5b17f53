"""A node with policies: attempts, each with a limit of its own, until one succeeds or it is no use.

What is decided is decided in `resilience`; here are the awaits. A first attempt that needs nothing
of its own, neither a limit nor a slot nor a copy, is the node's work itself: what remains to be
done is one look at the breaker before and one afterwards. Only if it fails, a level for it is made
up, and the others follow.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import Any, NoReturn

import attrs
import trio

from graceline.deadlines import Ending, Status, expired, settle
from graceline.engine.copies import Copy, Failed, tell_attempt
from graceline.engine.hedging import hedge_after, race
from graceline.engine.levels import CURRENT, LevelRun, current_level
from graceline.engine.plan import NodePlan
from graceline.engine.policies import Policies
from graceline.engine.settling import InnerTimeoutError, kept
from graceline.engine.strand import Strand
from graceline.errors import CircuitOpenError
from graceline.resilience import (
    BreakerRefusal,
    CircuitBreaker,
    Counted,
    Go,
    Permit,
    Stop,
    StopReason,
    decide_retry,
)
from graceline.telemetry.stats import count
from graceline.work import Bound, WorkRefusedError

__all__ = ["attempted"]


def attempted(policies: Policies) -> Bound:
    """A node's work with its policies around it: to be awaited with the input, as a node.

    Raises:
        InnerTimeoutError: if the last attempt exceeded its own limit.
        WorkRefusedError: if a protection refused the only attempt.
        BaseException: what the last attempt raised.
    """
    if policies.simple:
        return _simple(policies)

    async def attempts(_: Any) -> Any:
        return await _Attempts(current_level(), policies).run()

    return attempts


def _simple(policies: Policies) -> Bound:
    """As `attempted`, for a first attempt that needs nothing of its own; it is on the hot path."""
    call, breaker = policies.call, policies.breaker
    successes, budget = policies.successes, policies.retry_budget

    async def attempt(value: Any) -> Any:
        level = CURRENT.seen()
        assert level is not None  # noqa: S101 - a node's work is called in it
        run = level.run
        generation = None
        if breaker is not None:
            generation = breaker.passing
            if generation is None:
                return await _Attempts(level, policies).run()
        if run.traced:
            return await _Attempts(level, policies).run()
        level.attempt = 1
        try:
            value = await call(value)
        except BaseException as error:  # noqa: BLE001 - raised there, unless a later one succeeds
            permit = None if breaker is None else Permit(breaker, generation)
            return await _Attempts(level, policies).run(permit, error)
        now = run.clock()
        elapsed = now - level.start
        if breaker is not None:
            breaker.count_ok(generation, now, elapsed)
        if successes is not None:  # `policies.succeeded`, without the call
            successes.append(elapsed)
            budget.deposit(now)
        return value

    return attempt


class _Attempts:
    """The attempts of one node, or of an item of one, one after the other."""

    def __init__(self, node: LevelRun, policies: Policies) -> None:
        self._node = node
        self._policies = policies
        self._strand = Strand(node, node.run.clock())
        self._token: float | None = None
        """When the retry budget was asked for an attempt that has not started yet."""
        self._last: Failed | None = None
        """The attempt after which another one was to be made."""
        self._stop: str | None = None
        """Why there was no further attempt, once that is known."""

    @trio.lowlevel.enable_ki_protection
    async def run(self, permit: Permit | None = None, error: BaseException | None = None) -> Any:
        """Make attempts until one succeeds; returns its value.

        Args:
            permit: that of a first attempt which was made already.
            error: what it raised; None if none was made.
        """
        strand, node = self._strand, self._node
        CURRENT.get()  # attempts go by the deadline of their node
        strand.open()
        try:
            if error is None:
                copy = await self._attempt()
            else:
                copy = await self._made_up(permit, error)
            while copy.failed is not None:
                await self._go_on(copy.failed)
                copy = await self._attempt()
        except BaseException as raised:
            self._lost(raised)
            raise
        else:
            if node.attempt > 1:
                self._count("ok")
        finally:
            strand.close()
            CURRENT.set(node)
        return copy.value

    async def _attempt(self) -> Copy:
        """Make the next attempt; it has a value or has failed.

        Raises:
            WorkRefusedError: if a protection refuses it.
            BaseException: what is not the attempt's own affair, such as a cancel of the node.
        """
        node, policies, strand = self._node, self._policies, self._strand
        slots = policies.slots
        if slots is not None:
            if slots.is_full():
                self._refuse(WorkRefusedError(f"bulkhead {slots.name!r}: queue full"))
            await slots.take()
            strand.now = node.run.clock()
        taken = slots is not None
        permit: Permit | None = None
        start = strand.now
        copy: Copy | None = None
        try:
            if taken:  # which takes a tick: whoever was cancelled in it has not started
                await trio.lowlevel.checkpoint_if_cancelled()
            permit = self._permit(start)
            node.attempt += 1
            delay = hedge_after(node, policies, start)
            if delay is None:
                copy = Copy(node, policies, start)
                own = copy.level.deadline
                # The node's own scope is around this one.
                await copy.run(strand, own if own < node.fired() else inf, node, policies.work)
            else:
                taken = False  # by the copies
                copy = await race(strand, node, policies, start, delay)
        finally:
            self._settle(permit, copy, start)
            if taken and slots is not None:
                slots.give_back()
        return self._looked_at(copy)

    async def _made_up(self, permit: Permit | None, error: BaseException) -> Copy:
        """A first attempt that was the node's work itself, and raised."""
        node = self._node
        copy = Copy(node, self._policies, node.start)
        level = copy.level
        level.notice, level.foreign_at = node.notice, node.foreign_at
        level.retried_inside = node.retried_inside
        node.notice, node.foreign_at = None, inf

        async def raised(_: Any) -> None:
            raise error

        try:
            await copy.run(self._strand, inf, node, raised)
        finally:
            self._settle(permit, copy, node.start)
        return self._looked_at(copy)

    def _permit(self, now: float) -> Permit | None:
        """Ask the breaker, if there is one."""
        breaker = self._policies.breaker
        if breaker is None:
            return None
        try:
            return _admitted(breaker, now)
        except WorkRefusedError as refusal:
            self._refuse(refusal)

    def _settle(self, permit: Permit | None, copy: Copy | None, start: float) -> None:
        """Tell the breaker how the attempt ended."""
        if permit is not None:
            now, counted, raised = self._strand.now, Counted.NOTHING, None
            if copy is not None:
                counted, raised = copy.counted, copy.raised
            permit.settle(now, counted, now - start, raised)

    def _looked_at(self, copy: Copy) -> Copy:
        """An attempt that has ended: with a value, or with a failure of its own."""
        node, error = self._node, copy.error
        if isinstance(error, WorkRefusedError):
            node.attempt -= 1  # it never started
            self._refuse(error)
        self._token = None
        if error is not None:
            if copy.failed is not None:  # a function of the policy raised; keep what it was asked
                self._stray(copy.failed)
            raise error
        if copy.failed is None:
            now = self._strand.now
            self._policies.succeeded(now, now - copy.level.start)
            verdict = settle(copy.level, Ending.VALUE, now)
            stop = "ok" if node.attempt > 1 else None
            tell_attempt(copy.level, now, verdict.status, blame=verdict.blame, stop=stop)
        return copy

    def _refuse(self, refusal: WorkRefusedError) -> NoReturn:
        """The node is refused; if it was tried before, the last real error stands."""
        if self._last is None:
            raise refusal
        self._node.errors = self._node.errors[:-1]
        raise _noted(self._last.error, f"retry stopped: {refusal}")

    async def _go_on(self, failed: Failed) -> None:
        """Wait for the next attempt, or raise what the last one raised.

        Raises:
            Exception: that, with a note that says why there is no further attempt.
        """
        node, strand = self._node, self._strand
        try:
            step = self._decide(failed)
        except Exception as error:
            self._stray(failed)
            _noted(error, "raised by a function of the node's Retry")
            error.__context__ = error.__context__ or failed.error
            raise
        if isinstance(step, Stop):
            self._stop = str(step.reason)
            self._tell(failed, stop=str(step.reason))
            if self._policies.retry.attempts > 1:
                _noted(failed.error, step.note)
            raise failed.error
        self._tell(failed, delay=step.delay)
        node.errors += (kept(failed.error),)
        self._last = failed
        self._token = strand.now
        strand.aim(inf)  # there is time for it, as was just decided; the node's scope is around it
        CURRENT.set(node)
        await trio.sleep(step.delay)
        strand.now = node.run.clock()

    def _decide(self, failed: Failed) -> Go | Stop:
        policies, now = self._policies, self._strand.now
        p50, successes = policies.known()
        breaker = policies.breaker
        return decide_retry(
            policies.retry,
            failed.attempt,
            idempotent=policies.idempotent,
            remaining=self._node.fired() - now,
            attempt_timeout=failed.level.limit.timeout,
            p50=p50,
            successes=successes,
            budget=policies.retry_budget,
            now=now,
            random=policies.random,
            refused_for=0.0 if breaker is None else breaker.refused_for(now),
            refused_by="" if breaker is None else breaker.name,
        )

    def _lost(self, error: BaseException) -> None:
        """There will be no value: a retry that never started is not paid for."""
        node = self._node
        if self._token is not None:
            self._policies.retry_budget.give_back(self._token)
        failed = isinstance(error, Exception) and self._policies.retry.attempts > 1
        outer = node.run.parent if failed or node.attempt > 1 else None
        while outer is not None:  # only the innermost layer retries
            outer.retried_inside = True
            outer = outer.run.parent
        if self._stop is not None:
            self._count(self._stop)
        elif self._last is not None:  # the node was cut, or a protection refused the next one
            cut = expired(node, node.run.clock())
            late = cut is not None and cut.status is Status.TIMED_OUT
            self._count("deadline" if late else "not_retryable")

    def _count(self, stop: str) -> None:
        plan = self._node.plan
        assert isinstance(plan, NodePlan)  # noqa: S101 - only nodes have attempts
        if self._policies.retry.attempts > 1:
            count(plan.stats.retries, stop)

    def _stray(self, failed: Failed) -> None:
        """A function of a policy raised, which is the node's failure: what it was asked is kept."""
        self._stop = "not_retryable"
        self._tell(failed, stop=str(StopReason.NOT_RETRYABLE))
        self._node.errors += (kept(failed.error),)

    def _tell(self, failed: Failed, *, delay: float | None = None, stop: str | None = None) -> None:
        blame = failed.blame
        tell_attempt(
            failed.level, self._strand.now, failed.attempt.status, blame=blame,
            error_type=None if blame is not None else type(failed.error).__name__,
            delay=delay, stop=stop,
        )  # fmt: skip


def _admitted(breaker: CircuitBreaker, now: float) -> Permit:
    """The permit of a breaker.

    Raises:
        WorkRefusedError: if it gives none.
    """
    permit = breaker.admit(now)
    if isinstance(permit, BreakerRefusal):
        error = CircuitOpenError(permit.retry_after, breaker.name, permit.last_error)
        raise WorkRefusedError(str(error)) from error
    return permit


def _noted(error: Exception, note: str) -> Exception:
    """The error with a note; that of an attempt's own timeout is in its blame too."""
    if note not in getattr(error, "__notes__", ()):
        with suppress(Exception):  # one that takes no note, such as a frozen dataclass
            error.add_note(note)
    if isinstance(error, InnerTimeoutError):
        error.blame = attrs.evolve(error.blame, message=f"{error.blame.message}; {note}")
    return error
