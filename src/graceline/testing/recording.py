"""A timeline that also saw every step: when a task worked, for which part, cleanup or not.

The events of a run say what the engine believes. What really happened is what Trio's tasks did, and
Trio tells that to an instrument. The instants that a step is held against are computed here from
the raw facts of the levels (start, timeout, reserve, grace, stamps of cancels), not by the engine's
own arithmetic, so that an engine that counts wrongly is found.

A *tick* is what the loop does without a pause. In virtual time it takes no time, except where code
blocks the loop; then every task gets its cancel late, and none of them is to blame for that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any

import attrs
import trio
from trio.testing import MockClock

from graceline.engine.cleanup import OPEN_CLEANUP, Cleanup
from graceline.engine.levels import CURRENT, LevelRun
from graceline.telemetry import events
from graceline.telemetry.timeline import Timeline

if TYPE_CHECKING:
    from graceline.deadlines import Level
    from graceline.engine import Engine
    from graceline.telemetry.events import Event

__all__ = ["Cut", "RecordedTimeline", "Return", "Step", "record"]

_REAL = 0.05  # seconds that a busy machine may take for one tick of the real clock
_SAME = 1e-9  # seconds; instants were moved to the submission and back
_WAITING = (
    "attempts", "bulkhead", "choosing", "graphs", "items", "runner", "running", "settling",
)  # fmt: skip
_ENGINE = {f"graceline.engine.{name}" for name in _WAITING}
_WITHIN = ("alternative", "item", "attempt")
_WORK = ("node", *_WITHIN)


@attrs.frozen(kw_only=True)
class Step:
    """What one task did between two checkpoints. Times are seconds from the submission.

    Attributes:
        at: when the step began.
        until: when it ended; later than `at` only where it blocked the loop.
        level: `pipeline`, `stage`, `node`, `alternative`, `item` or `attempt`: what the task worked
            for.
        pipeline: the pipeline; another one than the run's in a run inside a node.
        stage: the stage, "" for the pipeline.
        name: the name of the level.
        task: the name of the task.
        background: whether the task was started by the level's own work.
        cleanup: whether it was in a `cleanup()` block or in a handler.
        over: whether the step was the engine's own, or the level had its outcome already.
        fires_at: when the work of the level is cancelled, as known at `at`; `inf` if never.
        cut_at: when its cleanup is cut, or the block that it is in; `inf` if never.
        run_cut_at: when the cleanup of the whole run is cut; `inf` if never.
    """

    at: float
    until: float
    level: str
    pipeline: str
    stage: str
    name: str
    task: str
    background: bool
    cleanup: bool
    over: bool
    fires_at: float
    cut_at: float
    run_cut_at: float

    @property
    def work(self) -> bool:
        """Whether it was work of a node: neither cleanup nor the engine's own."""
        return self.level in _WORK and not self.cleanup and not self.over


@attrs.frozen(kw_only=True)
class Cut:
    """A level of the run when a part below it ended, or the part itself.

    Attributes:
        level: `caller`, `pipeline`, `stage` or `node`.
        name: its name.
        own_at: when it cancels its work by itself, in seconds from the submission; `inf` if never.
        by_limit: whether its limit does that, and not somebody's cancel.
    """

    level: str
    name: str
    own_at: float
    by_limit: bool


@attrs.frozen(kw_only=True)
class Return:
    """The body of a node returned a value at `at`, seconds from the submission.

    `item` says that it was one item of a node that runs over a list.
    """

    stage: str
    node: str
    value: Any
    at: float
    item: bool = False


class RecordedTimeline(Timeline, trio.abc.Instrument):
    """A `Timeline` that also keeps the steps of the tasks, as a Trio instrument; see `record`.

    Args:
        run_id: the run to keep; by default the first one that is heard of.
        slack: seconds that a tick may take; by default 0 in virtual time, else 0.05.
    """

    def __init__(self, run_id: str | None = None, *, slack: float | None = None) -> None:
        super().__init__(run_id)
        self.finished: list[tuple[str, str]] = []
        """Stage and node of every part that has ended, in that order; `("", "")` is the run."""
        self.attempts: list[events.AttemptFinished] = []
        """The attempts of nodes with policies, in the order of their ends."""
        self.returns: list[Return] = []
        """What the bodies of the nodes returned, where somebody watched them (`simulate` does)."""
        self.survivors: tuple[str, ...] = ()
        """Names of the tasks of the run that were alive when it had its result."""
        self.cuts: dict[tuple[str, str], tuple[Cut, ...]] = {}
        """For each part that ended, itself and the levels above it, the outermost first."""
        self.handled: set[tuple[str, str]] = set()
        """The parts that have handlers, whose end is later than that of their work."""
        self._slack = slack
        self._steps: list[Step] = []
        self._begins: list[float] = []
        self._ends: list[float] = []
        self._alive: dict[trio.lowlevel.Task, LevelRun | None] = {}
        self._levels: dict[tuple[str, str], LevelRun] = {}
        self._ends_by: dict[Cleanup | None, float] = {}
        self._step: Step | None = None

    # -- what was seen ------------------------------------------------------------------------

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the run's tasks, and of the runs inside its nodes, in order."""
        origin = self._origin or 0.0
        return tuple(
            attrs.evolve(
                step,
                at=step.at - origin,
                until=step.until - origin,
                fires_at=step.fires_at - origin,
                cut_at=step.cut_at - origin,
                run_cut_at=step.run_cut_at - origin,
            )
            for step in self._steps
        )

    def beyond(self, at: float, instant: float) -> bool:
        """Whether `at` lies more than one tick after `instant`, both seconds from the submission.

        The tick of an instant is that in which it came. Between two ticks the loop was free to act
        at the very instant.
        """
        origin = self._origin or 0.0
        absolute = last = instant + origin
        tick = bisect_left(self._ends, absolute - _SAME)
        if tick < len(self._ends) and self._begins[tick] <= absolute + _SAME:
            last = self._ends[tick]
        return at + origin > last + _SAME + (self._slack or 0.0)

    def attempts_of(self, key: tuple[str, str]) -> list[tuple[int, float, float]]:
        """Number, start and end of the attempts of a node, in seconds from the submission."""
        return [
            (made.attempt, made.started - origin, made.started - origin + made.elapsed)
            for origin in [self._origin or 0.0]
            for made in self.attempts
            if (made.stage, made.node) == key
        ]

    def note_return(self, stage: str, node: str, value: Any, *, item: bool = False) -> None:
        """Note that the body of a node returns a value now."""
        at = trio.current_time() - (self._origin or 0.0)
        self.returns.append(Return(stage=stage, node=node, value=value, at=at, item=item))

    # -- as a sink ----------------------------------------------------------------------------

    def __call__(self, event: Event) -> None:
        """Keep what an event says, and what the levels look like at that moment."""
        super().__call__(event)
        self._catch_up()  # cuts are counted from the submission, which the first event tells
        if event.run_id != self.run_id:
            return
        level = CURRENT.get()
        ours = level is not None and level.run.run_id == self.run_id
        if isinstance(event, events.RunStarted) and ours and level is not None:
            self._levels["", ""] = level
        if not self._ends:  # recording began within this step, and no work did so far
            self._begins.append(event.at)
            self._ends.append(event.at)
        if isinstance(event, events.AttemptFinished):
            self.attempts.append(event)
        if not isinstance(event, events.NodeFinished | events.StageFinished | events.RunFinished):
            return
        key = (getattr(event, "stage", ""), getattr(event, "node", ""))
        if ours and level is not None:
            self._meet(level)
        self.finished.append(key)
        if key in self._levels:
            found = self._levels[key]
            self.cuts[key] = tuple(self._cuts(found))
            if found.plan.handlers:
                self.handled.add(key)
        if isinstance(event, events.RunFinished):
            self.survivors = tuple(self._left())
            self._levels.clear()

    def _left(self) -> Iterator[str]:
        for task in self._alive:
            level = self._of_run(CURRENT.of(task.context))
            # A run that `engine.start` has just started is a run of its own.
            started = getattr(task.coro, "__qualname__", "") == "Engine._carry"
            if level is not None and task is not trio.lowlevel.current_task() and not started:
                yield f"{task.name} (of {level.limit.level} {level.limit.name!r})"

    def _cuts(self, level: Level) -> Iterator[Cut]:
        if level.parent is not None:
            yield from self._cuts(level.parent)
        at, limit = _deadline(level), level.limit
        yield Cut(
            level=limit.level,
            name=limit.name,
            own_at=min(at, level.cancelled_at) - (self._origin or 0.0),
            by_limit=at <= level.cancelled_at,
        )

    # -- as an instrument ---------------------------------------------------------------------

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """Remember what the task was started for."""
        level = CURRENT.of(task.context)
        self._alive[task] = None if level is None or level.ended else level

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """Forget the task."""
        self._alive.pop(task, None)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note when a step begins, and for which level."""
        now = trio.current_time()
        if self._slack is None:
            clock = trio.lowlevel.current_clock()
            self._slack = 0.0 if isinstance(clock, MockClock) and clock.rate == 0 else _REAL
        if not self._ends or now > self._ends[-1]:
            self._begins.append(now)
            self._ends.append(now)
        spawned_for = self._alive.setdefault(task, None)
        self._step = None
        level = self._of_run(CURRENT.of(task.context))
        if level is None:
            return
        self._meet(level)
        block = task.context.get(OPEN_CLEANUP)
        cleanup = block is not None and block in level.run.top.cleanups
        stage, _ = _key(level)
        self._step = Step(
            at=now,
            until=now,
            level=level.limit.level,
            pipeline=level.run.plan.name,
            stage=stage,
            name=level.limit.name,
            task=task.name,
            background=level is spawned_for and level.limit.level in _WORK,
            cleanup=cleanup,
            over=level.ended or _in_engine(task),
            fires_at=_fired(level),
            cut_at=self._ends_by.get(block, inf) if cleanup else _hard(level),
            run_cut_at=self._ends_by.get(None, inf),
        )
        self._steps.append(self._step)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note when the step ended, and whether it opened a cleanup block."""
        now = trio.current_time()
        if not self._ends:  # recording began within this step
            self._begins.append(now)
        self._ends[-1:] = [now]
        self._meet(self._of_run(CURRENT.of(task.context)))
        self._bound(now)
        if self._step is not None and now > self._step.at:
            self._steps[-1] = attrs.evolve(self._step, until=now)

    # -- inside -------------------------------------------------------------------------------

    def _of_run(self, level: LevelRun | None) -> LevelRun | None:
        """The level as it is, if it belongs to the run, or to a run inside it."""
        if self._run_id is None or level is None:
            return None
        run = level.run
        while run.run_id != self._run_id:
            if run.parent is None:
                return None
            run = run.parent.run
        return level

    def _meet(self, level: LevelRun | None) -> None:
        """Keep a level of the run and those above it, to look at them when they end."""
        above: Level | None = level
        while above is not None:
            if (
                isinstance(above, LevelRun)
                and above.run.run_id == self._run_id
                and above.limit.level not in _WITHIN
            ):
                self._levels[_key(above)] = above
            above = above.parent

    def _bound(self, now: float) -> None:
        """Note by when cleanup has to end, for the run and for each block that is open.

        Nothing changes between two steps. A cancel that becomes known late, such as that of a
        caller, may put an end into the past; then it is now.
        """
        root = self._levels.get(("", ""))
        if root is None:
            return
        self._ends_by[None] = min(self._ends_by.get(None, inf), max(_hard(root), now))
        for block in root.run.top.cleanups:
            level = block._level or root  # noqa: SLF001 - nobody else tells whose block it is
            before = self._ends_by.get(block, now + _grace(level))
            self._ends_by[block] = min(before, max(_hard(level), now))


def _key(level: LevelRun) -> tuple[str, str]:
    if level.limit.level == "pipeline":
        return ("", "")
    if level.limit.level == "stage":
        return (level.limit.name, "")
    return (level.plan.stage, level.plan.name)  # type: ignore[attr-defined]


def _in_engine(task: trio.lowlevel.Task) -> bool:
    """Whether the engine itself waits here, such as a look at the caller after a node's work."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in task.iter_await_frames()]
    waits = [name for name in modules if name.partition(".")[0] != "trio"]
    return bool(waits) and waits[-1] in _ENGINE


# The equations of the contract once more, from the facts that a level was made of.


def _deadline(level: Level) -> float:
    limit = level.limit
    if limit.level == "caller":
        return level.deadline  # a fact: the deadline of the caller's scope
    return level.start + limit.timeout - limit.reserve if limit.enforced else inf


def _fired(level: Level) -> float:
    above = inf if level.parent is None else _fired(level.parent)
    return min(_deadline(level), level.cancelled_at, above)


def _grace(level: Level) -> float:
    if isinstance(level, LevelRun) and not level.run.shared.enforced:
        return inf
    if level.limit.grace is not None:
        return level.limit.grace
    if level.parent is not None:
        return _grace(level.parent)
    return level.run.shared.grace if isinstance(level, LevelRun) else level.grace


def _hard(level: Level) -> float:
    if isinstance(level, LevelRun) and not level.run.shared.enforced:
        forced, above = level.forced_at, level.parent  # nothing but force cuts cleanup there
        while above is not None:
            forced, above = min(forced, above.forced_at), above.parent
        return forced
    outer = inf if level.parent is None else _hard(level.parent)
    cut = min(_fired(level), level.foreign_at) + _grace(level)
    return min(cut, level.forced_at, outer)


@contextmanager
def record(
    engine: Engine, run_id: str | None = None, *, slack: float | None = None
) -> Iterator[RecordedTimeline]:
    """Record a run in your own test: `with record(engine) as timeline: await engine.run(...)`.

    Args:
        engine: the engine; the block must stand in its event loop.
        run_id: the run to keep; by default the first one that is heard of.
        slack: seconds that a tick may take; by default 0 in virtual time, else 0.05.
    """
    timeline = RecordedTimeline(run_id, slack=slack)
    remove = engine.subscribe(timeline)
    trio.lowlevel.add_instrument(timeline)
    try:
        yield timeline
    finally:
        trio.lowlevel.remove_instrument(timeline)
        remove()
