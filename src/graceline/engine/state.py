"""The state of one run: its root level, what is alive in it, and what it has finished."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from graceline.deadlines import (
    Blame,
    Kind,
    Level,
    Limit,
    Source,
    blame_limit,
    overran,
)
from graceline.engine.late import LateWatch
from graceline.engine.levels import LevelRun
from graceline.results import PipelineResult
from graceline.telemetry import events
from graceline.telemetry.hub import NOBODY, Hub, Spared
from graceline.telemetry.stats import Stats
from graceline.work import Workers

if TYPE_CHECKING:
    from graceline.engine.admission import Waiter
    from graceline.engine.cleanup import Cleanup
    from graceline.engine.plan import PipelinePlan, Plan
    from graceline.engine.strand import Strand

__all__ = ["NOTHING", "Pace", "RunState", "Shared"]

NOTHING: Any = MappingProxyType({})
"""Stands for a dict that most runs never need; shared, and never written to."""
EventT = TypeVar("EventT", bound=events.Event)


class Pace:
    """Counts the parts that ran since the last full checkpoint of anybody.

    Attributes:
        ticks: how many; a short run goes on counting where the last one ended.
    """

    __slots__ = ("ticks",)

    def __init__(self) -> None:
        self.ticks: int = 0


@attrs.frozen(eq=False)
class Shared:
    """What all runs of one engine share.

    Attributes:
        hub: takes their events.
        stats: counts what belongs to no run.
        lane: the lane under which telemetry shows them.
        clock: tells the time of the event loop in absolute seconds.
        grace: the engine's default grace period in seconds.
        enforced: False in the modes that cancel nothing.
        watching: True in `observe`: limits that pass are reported.
        drain: set when the engine drains.
        token: that of the event loop in which it runs.
        late: tells of parts that run late.
        forget: called with each run that has ended.
        workers: where work runs that does not run in the event loop.
        pace: when the next full checkpoint is due.
    """

    hub: Hub
    stats: Stats
    lane: str
    clock: Callable[[], float]
    grace: float
    enforced: bool
    watching: bool
    drain: trio.Event
    token: trio.lowlevel.TrioToken
    late: LateWatch
    forget: Callable[[RunState], None]
    workers: Workers
    pace: Pace = attrs.field(factory=Pace)


class RunState:
    """One run. What a cancel has to reach is registered with the outermost run, `top`.

    Attributes:
        root: the pipeline's level; its parents are the caller's deadline and the enclosing node.
        plain: nothing so far ended in any other way than ok.
        original: what left a part when the caller's deadline passed; raised if Trio confirms it.
        excused: one of its nodes was let through although it is hopeless; no other is refused.
        expected: seconds that it is expected to hold its slot, None if nobody can tell.
        counted: admission, which only observes, has counted it as one to be refused.
        foreign: the caller's cancel, to be raised again once everything is settled.
        nursery: where the copies of hedged attempts run, if there may be any.
        copies: how many of these there are.
        stray: what those raised in the end that had been superseded.
        unwound: set when there is none any more.
        unfinished: how many nodes began and did not complete.
        traced: whether the events of what ends well are wanted too.
        spared: the sinks that do not want these.
        heard: whether any sink takes events at all; None until something does not end well.
    """

    __slots__ = (
        "admitted_at",
        "at_end",
        "cleanups",
        "clock",
        "completed",
        "copies",
        "counted",
        "degraded",
        "done",
        "ended",
        "excused",
        "expected",
        "foreign",
        "heard",
        "input",
        "nursery",
        "origin",
        "original",
        "parent",
        "partial",
        "plain",
        "plan",
        "result",
        "root",
        "run_id",
        "shared",
        "slot",
        "spared",
        "strands",
        "stray",
        "traced",
        "unfinished",
        "unwound",
        "waiter",
        "watched",
    )

    def __init__(
        self,
        plan: Plan,
        value: Any,
        shared: Shared,
        run_id: str,
        parent: LevelRun | None,
        caller_deadline: float,
    ) -> None:
        self.clock: Callable[[], float] = shared.clock
        self.plan: PipelinePlan = plan  # type: ignore[assignment]  # that of a scope has no parts
        self.input: Any = value
        self.shared: Shared = shared
        self.run_id: str = run_id
        self.parent: LevelRun | None = parent
        now = self.clock()
        self.origin: float = now
        self.admitted_at: float = now
        above: Level | None = parent
        if caller_deadline != inf:  # most callers have none
            above = _above(plan.limit, parent, caller_deadline, now, shared.grace)
        self.root: LevelRun = LevelRun(self, plan, above, now, value)
        if plan.history is not None:
            plan.history.begin(self.root)
        self.ended: bool = False
        self.excused: bool = False
        self.strands: dict[Strand, None] = {}
        self.cleanups: dict[Cleanup, None] = NOTHING
        self.completed: list[str] = []
        self.unfinished: int = 0
        # Most runs never need these: immutable and shared until they do.
        self.degraded: tuple[str, ...] = ()
        self.partial: dict[str, Any] = NOTHING
        self.watched: tuple[tuple[float, int, Blame], ...] = ()
        self.at_end: tuple[Callable[[], object], ...] = ()
        self.foreign: BaseException | None = None
        self.original: BaseException | None = None
        self.plain: bool = True
        self.traced: bool = False
        self.spared: Spared = NOBODY
        self.heard: bool | None = None
        self.done: trio.Event | None = None
        self.waiter: Waiter | None = None
        self.slot: bool = False
        self.expected: float | None = None
        self.counted: bool = False
        self.result: PipelineResult | None = None
        self.nursery: trio.Nursery | None = None
        self.copies: int = 0
        self.stray: tuple[Exception, ...] = ()
        self.unwound: trio.Event | None = None

    # -- cancelling ---------------------------------------------------------------------------

    @property
    def top(self) -> RunState:
        """The outermost run; it keeps the strands and cleanup blocks of the whole tree of runs."""
        top = self
        while top.parent is not None:
            top = top.parent.run
        return top

    def open_cleanup(self, block: Cleanup) -> None:
        """Register a cleanup block of this tree of runs, so that a cancel above can re-time it."""
        top = self.top
        if top.cleanups is NOTHING:
            top.cleanups = {}
        top.cleanups[block] = None

    def close_cleanup(self, block: Cleanup) -> None:
        """Forget a cleanup block that was left."""
        del self.top.cleanups[block]

    def cut(self, level: Level, now: float, blame: Blame) -> bool:
        """Cancel a level of this run explicitly; returns whether it was the first cancel of it."""
        if not level.cancel(now, blame):
            return False
        for strand in self.top.strands:
            if strand.holder.within(level):
                strand.cut(blame.message)
        self.retime()
        return True

    def retime(self) -> None:
        """Bring forward the ends of open cleanup blocks after a cancel higher up."""
        for block in tuple(self.top.cleanups):
            block.retime()

    def cancel(self, kind: Kind, reason: str, *, force_after: float | None) -> bool:
        """Cancel the whole run; returns whether it was the first cancel."""
        now = self.clock()
        limit = self.root.limit
        blame = Blame(
            "pipeline", limit.name, kind, limit.shown, limit.source, now - self.origin, reason
        )
        first = self.cut(self.root, now, blame)
        if force_after is not None:
            self.root.force(now + force_after)
            self.retime()
        if first:
            self.emit(events.CancelRequested, now, blame=blame)
            if self.waiter is not None:
                self.waiter.scope.cancel(reason)
        return first

    def caller_cancelled(self, level: Level, noticed: float, error: BaseException) -> None:
        """The caller's cancel leaves a part: all levels of this run share the instant.

        For the enclosing node of another run it is provisional: that node may absorb it.
        """
        self.foreign = self.foreign or error
        level.inherit_foreign(noticed, self.root)
        outer = self.parent
        if outer is not None and outer.notice is None:
            outer.notice = (noticed, self.foreign)
            outer.foreign_at = min(outer.foreign_at, noticed)
        self.retime()

    def cleanup_end(self, level: LevelRun, now: float) -> float:
        """When a cleanup block opened now is cut; in a mode that cuts nothing, if it is forced."""
        if self.shared.enforced:
            return level.cleanup_ends(now)
        forced = inf
        above: Level | None = level
        while above is not None:
            forced, above = min(forced, above.forced_at), above.parent
        return forced

    # -- telling ------------------------------------------------------------------------------

    def trouble_heard(self) -> bool:
        """Whether anybody takes the events of what does not end well; asked once per run."""
        if self.heard is None:
            self.heard = self.shared.hub.heard()
        return self.heard

    def follow(self) -> None:
        """Somebody follows this run: from now on there is a trace of it."""
        if not self.traced:
            self.traced = True
            self.spared = self.shared.hub.spared(wanted=True) or NOBODY

    def emit(self, kind: Callable[..., EventT], at: float, **fields: Any) -> None:
        """Build an event of this run and hand it out."""
        self.shared.hub.emit(self._event(kind, at, fields))

    def trace(self, kind: Callable[..., EventT], at: float, **fields: Any) -> None:
        """The same for an event of what starts or ends well, which not every sink wants."""
        self.shared.hub.trace(self._event(kind, at, fields), self.spared)

    def _event(self, kind: Callable[..., EventT], at: float, fields: dict[str, Any]) -> EventT:
        return kind(
            at=at, run_id=self.run_id, pipeline=self.plan.name, lane=self.shared.lane, **fields
        )

    def cleanup_overran(self, level: LevelRun) -> None:
        """A cleanup block was cut at its end."""
        self.plan.stats.overruns += 1
        self.emit(
            events.CleanupOverran, self.clock(), level=level.limit.level, name=level.limit.name
        )

    def watch(self, level: LevelRun, now: float) -> None:
        """In a mode that cancels nothing: remember a limit that passed."""
        over = overran(level, now)
        if over >= 0:
            depth, above = 0, level.parent
            while above is not None:
                depth, above = depth + 1, above.parent
            self.watched += ((now - over, depth, blame_limit(level, now)),)

    def report_watched(self, now: float) -> Blame | None:
        """Report the limits that passed, the earliest (and outermost) as the one that would cut."""
        blames = [entry[2] for entry in sorted(self.watched, key=lambda entry: entry[:2])]
        for index, blame in enumerate(blames):
            self.emit(events.WouldTimeOut, now, blame=blame, follows=index > 0)
        return blames[0] if blames else None

    def copy_ended(self) -> None:
        """A copy of a hedged attempt has unwound."""
        self.copies -= 1
        if not self.copies and self.unwound is not None:
            self.unwound.set()

    async def wait_unwound(self) -> float:
        """Wait for the copies that have lost, as long as their grace period; returns the time."""
        self.unwound = trio.Event()
        with trio.CancelScope(shield=True):
            await self.unwound.wait()
        return self.clock()

    def finish(self, result: PipelineResult | None) -> None:
        """The run has ended; None if it was torn down without a result."""
        self.result = result
        self.ended = True
        self.shared.forget(self)
        del self.root  # it refers to the run: without this cycle no garbage is left to collect
        for close in self.at_end:
            close()
        if self.done is not None:
            self.done.set()

    async def wait(self) -> None:
        """Wait until the run has ended."""
        if not self.ended:
            if self.done is None:
                self.done = trio.Event()
            await self.done.wait()


def _above(
    limit: Limit, parent: LevelRun | None, caller_deadline: float, now: float, grace: float
) -> Level | None:
    """What stands above a pipeline: the enclosing node, or the caller's earlier deadline."""
    if caller_deadline >= (inf if parent is None else parent.fired()):
        return parent
    caller = Limit(
        "caller",
        "caller",
        timeout=caller_deadline - now,
        grace=limit.grace,
        source=Source.INHERITED,
    )
    above = Level(caller, parent, now, grace)
    above.deadline = caller_deadline  # as it is: `now + (deadline - now)` may round
    return above
