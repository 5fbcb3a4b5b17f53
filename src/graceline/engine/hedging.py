"""Hedging: an attempt in two copies, of which the first success wins.

Whoever waits gets the value at once. The copy that lost cannot be waited for there, since cutting
it may take as long as its cleanup; so the copies run in a nursery of the run from the start, and
the one that lost unwinds below the run, which waits for it at its very end.
"""

from __future__ import annotations

from math import inf

import trio

from graceline.deadlines import Status
from graceline.engine.copies import Copy, tell_attempt
from graceline.engine.endings import split_cancelled
from graceline.engine.levels import CURRENT, UNSET, LevelRun
from graceline.engine.plan import NodePlan
from graceline.engine.policies import Policies
from graceline.engine.settling import kept
from graceline.engine.strand import Strand
from graceline.resilience import NoHedge, hedge_delay, why_not_hedge
from graceline.telemetry import events
from graceline.telemetry.stats import count
from graceline.work import WorkRefusedError

__all__ = ["hedge_after", "race"]


def hedge_after(node: LevelRun, policies: Policies, now: float) -> float | None:
    """Seconds after which a second copy of an attempt may be sent; None if there will be none."""
    hedge, budget = policies.hedge, policies.hedge_budget
    if hedge is None or budget is None or not node.run.shared.enforced:
        return None
    budget.called()
    assert policies.durations is not None  # noqa: S101 - only the mode `off` records none
    history = policies.durations.history
    delay = hedge_delay(
        hedge,
        samples=history.completions,
        p95=history.quantile(0.95),
        p50=history.quantile(0.5),
        remaining=node.fired() - now,
    )
    return None if isinstance(delay, NoHedge) else delay


async def race(
    strand: Strand, node: LevelRun, policies: Policies, start: float, delay: float
) -> Copy:
    """Make an attempt, in two copies if the first takes longer than `delay` seconds.

    The slot of a bulkhead that the attempt has taken is given back here.

    Returns:
        The copy that counts: the first to succeed, else the first to have started. What the other
        one raised is among the errors of the node.

    Raises:
        BaseException: what is for the program, such as an interrupt.
    """
    CURRENT.set(node)
    copies = _Copies(node, policies)
    first = copies.send(start)
    try:
        with trio.CancelScope(deadline=start + delay):
            await copies.turn.wait()
        now = node.run.clock()
        if not first.is_done and now < first.level.fired():  # else it is being cut already
            copies.hedge(now)
        while not copies.are_decided():
            await copies.ended()
    except trio.Cancelled:
        await copies.unwind()  # they know better what it was
    if not copies.have_succeeded():
        await copies.unwind()
    copy = copies.decide()
    strand.now = copy.ended_at
    return copy


class _Copies:
    """The copies of one attempt."""

    def __init__(self, node: LevelRun, policies: Policies) -> None:
        self.sent: list[Copy] = []
        self.turn: trio.Event = trio.Event()
        """Set when one of them has ended."""
        self._node = node
        self._policies = policies
        self._strands: list[Strand] = []

    def send(self, now: float, *, hedge: bool = False) -> Copy:
        """Start a copy in the run's own nursery."""
        node, run = self._node, self._node.run
        copy = Copy(node, self._policies, now, hedge=hedge)
        strand = Strand(copy.level, now)
        self.sent.append(copy)
        self._strands.append(strand)
        run.top.strands[strand] = None
        run.copies += 1
        assert run.nursery is not None  # noqa: S101 - a run that may hedge has one
        run.nursery.start_soon(self._carry, copy, strand, name=node.plan.name)
        return copy

    @trio.lowlevel.enable_ki_protection
    async def _carry(self, copy: Copy, strand: Strand) -> None:
        run, slots = self._node.run, self._policies.slots
        strand.open()
        try:
            # Cut before its first turn, the scope that it opens is cancelled from the start.
            fires = -inf if strand.dirty else copy.level.fired()
            await copy.run(strand, fires, self._node, self._policies.work)
        finally:
            strand.close()
            del run.top.strands[strand]
            if slots is not None:
                slots.give_back()
            self.turn.set()
            run.copy_ended()
        if copy.superseded:
            self._settle_loser(copy)

    def _settle_loser(self, copy: Copy) -> None:
        """What became of a copy after the attempt had been settled without it."""
        run, level = self._node.run, copy.level
        error = copy.error or copy.stray
        if isinstance(error, Exception):
            run.stray += (error,)
        tell_attempt(
            level, copy.ended_at, Status.CANCELLED, blame=level.reason,
            error_type=None if error is None else type(error).__name__,
        )  # fmt: skip
        if error is not None and _is_for_the_program(copy):
            raise error

    async def ended(self) -> None:
        """Wait until one of the copies ends."""
        self.turn = trio.Event()
        await self.turn.wait()

    async def unwind(self) -> None:
        """Cut the copies that run, and wait for their end."""
        for copy, strand in zip(self.sent, self._strands, strict=True):
            if not copy.is_done:
                strand.cut("the node ends")
        with trio.CancelScope(shield=True):  # bounded as all cleanup is
            while not all(copy.is_done for copy in self.sent):
                await self.ended()

    def hedge(self, now: float) -> None:
        """Send the second copy, unless something speaks against it."""
        node, policies = self._node, self._policies
        slots, breaker, budget = policies.slots, policies.breaker, policies.hedge_budget
        assert budget is not None  # noqa: S101 - there is a hedge
        crowded = policies.crowded()
        taken = not crowded and (slots is None or slots.try_take())
        why = why_not_hedge(
            now,
            p50=policies.known()[0],
            remaining=node.fired() - now,
            breaker_closed=breaker is None or breaker.is_closed,
            saturated=not taken,
            budget=budget,
        )
        if why is None:
            self.send(now, hedge=True)
            return
        if taken and slots is not None:
            slots.give_back()
        self._tell("suppressed", now, str(why))

    def are_decided(self) -> bool:
        """Whether waiting any longer changes nothing."""
        done = [copy for copy in self.sent if copy.is_done]
        return len(done) == len(self.sent) or self.have_succeeded() or any(map(_is_final, done))

    def have_succeeded(self) -> bool:
        """Whether one of them has returned a value."""
        return any(copy.value is not UNSET for copy in self.sent)

    def decide(self) -> Copy:
        """The copy that counts; the other one is superseded, or its error is kept."""
        first, second = self.sent[0], self.sent[-1]
        if second is first:
            return first
        winner = self._winner()
        other = second if winner is first else first
        self._tell("won" if winner is second and winner.value is not UNSET else "lost", self._now())
        if not other.is_done and winner.value is not UNSET:
            assert self._policies.hedge is not None  # noqa: S101 - there is a copy
            other.supersede(self._policies.hedge.loser_grace)
        elif other.failed is not None:
            failed = other.failed
            self._node.errors += (kept(failed.error),)
            tell_attempt(
                other.level, other.ended_at, failed.attempt.status, blame=failed.blame,
                error_type=None if failed.blame else type(failed.error).__name__,
            )  # fmt: skip
        elif other.value is not UNSET:  # both have succeeded, in the same tick
            tell_attempt(other.level, other.ended_at, Status.OK)
        elif isinstance(second.error, WorkRefusedError) and self._policies.hedge_budget is not None:
            self._policies.hedge_budget.give_back(second.level.start)
        if not other.superseded and other.stray is not None:
            self._node.errors += (other.stray,)
        return winner

    def _winner(self) -> Copy:
        done = [copy for copy in self.sent if copy.is_done]
        succeeded = [copy for copy in done if copy.value is not UNSET]
        if succeeded:
            return min(succeeded, key=lambda copy: copy.ended_at)
        final = [copy for copy in done if _is_final(copy)]
        return next((copy for copy in final if _is_for_the_program(copy)), [*final, *self.sent][0])

    def _now(self) -> float:
        return self._node.run.clock()

    def _tell(self, result: str, now: float, reason: str | None = None) -> None:
        """Count what became of a hedge, and hand it out if anybody may want it."""
        run, level = self._node.run, self.sent[0].level
        plan = level.plan
        assert isinstance(plan, NodePlan)  # noqa: S101 - only nodes have attempts
        count(plan.stats.hedges, result)
        if run.traced or run.trouble_heard():
            run.emit(
                events.HedgeSettled, now, stage=plan.stage, node=plan.name, attempt=level.attempt,
                result=result, reason=reason,
            )  # fmt: skip


def _is_for_the_program(copy: Copy) -> bool:
    """Whether a copy raised what never becomes a result."""
    rest = None if copy.error is None else split_cancelled(copy.error)[1]
    return rest is not None and not isinstance(rest, Exception)


def _is_final(copy: Copy) -> bool:
    """Whether a copy was cut with its node, or raised what is for the program."""
    return copy.error is not None and not isinstance(copy.error, WorkRefusedError)
