"""A level of a live run: the pure state machine, and what the engine keeps beside it.

The record of the level that is running is found through a context variable, so that `remaining()`,
`cleanup()` and the like need no argument, and background tasks of a node keep the node's record.
That of a node in a sequence is made when somebody first asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar, Token
from math import inf
from typing import TYPE_CHECKING, Any

from trio.lowlevel import current_trio_token, in_trio_run

from graceline.deadlines import Level, Limit, Source
from graceline.engine.endings import contains
from graceline.errors import GracelineError

if TYPE_CHECKING:
    from graceline.adaptive import Lease
    from graceline.engine.plan import Plan
    from graceline.engine.state import RunState
    from graceline.engine.strand import Strand

__all__ = [
    "CURRENT", "OVER", "SEATED", "UNSET", "AttemptRun", "ItemRun", "LevelRun", "current_level",
    "index_of", "level_of",
]  # fmt: skip

OVER: Any = type("Over", (), {"__repr__": lambda _: "OVER"})()
"""Stands for the level of a node that ended before anybody asked for it."""

UNSET: Any = type("Unset", (), {"__repr__": lambda _: "UNSET"})()
"""Stands for a partial value that was never saved, since None may be one."""


class LevelRun(Level):
    """One level of one run.

    `notice` belongs to a cancel that is not ours and that a cleanup block has seen: when, and in
    which exception. It stays provisional until that exception leaves the node.

    `lease` is that of a learned limit; `applied` is the same if that limit is in force.

    Of a node, `attempt` is how often it was begun, and `errors` are those of the attempts that were
    made again; of an attempt, `attempt` is its number, `hedge` says that it is the second copy, and
    `retried_inside` that a layer inside it has retried. `alternative` is the one that gave the
    value of a choice.
    """

    __slots__ = ("ended", "input", "plan", "run")

    # As in `Level`: what most never change is the class's until one does.
    _grace: float | None = None
    _limit: Limit | None = None
    partial: Any = UNSET
    notice: tuple[float, BaseException | None] | None = None
    lease: Lease | None = None
    applied: Lease | None = None
    attempt: int = 0
    errors: tuple[Exception, ...] = ()
    retried_inside: bool = False
    hedge: bool = False
    alternative: str | None = None

    def __init__(
        self, run: RunState, plan: Plan, parent: Level | None, start: float, value: Any
    ) -> None:
        """Start a level. Spelled out instead of `super().__init__`: once per node, it is hot."""
        self.parent: Level | None = parent
        self.start = start
        self.deadline: float = start + plan.span
        self.cancelled_at = inf
        self.run: RunState = run
        self.plan: Plan = plan
        self.input: Any = value
        self.ended: bool = False

    @property
    def grace(self) -> float:
        """Seconds that cleanup may use; looked for when somebody asks, since few ever do."""
        grace = self._grace
        if grace is None:
            grace = self.plan.limit.grace
        if grace is None:
            grace = self.run.shared.grace if self.parent is None else self.parent.grace
        return grace

    @grace.setter
    def grace(self, seconds: float) -> None:
        self._grace = seconds

    @property
    def limit(self) -> Limit:
        """The limit; a learned one is written out only when somebody looks."""
        limit, lease = self._limit, self.applied
        if limit is None:
            limit = self.plan.limit
            if lease is not None:
                limit = self._limit = Limit(
                    limit.level, limit.name, lease.timeout, 0.0, limit.grace, Source.ADAPTIVE,
                    limit.stated, limit.enforced,
                )  # fmt: skip
        return limit

    @limit.setter
    def limit(self, limit: Limit) -> None:
        self._limit = limit

    def apply(self, lease: Lease) -> None:
        """Limit the level as its lease says."""
        self.applied = lease
        self._limit = None
        if self.run.shared.enforced:
            self.deadline = self.start + lease.timeout

    def restrict(self, limit: Limit) -> None:
        """Limit the level by something else than its lease or its definition."""
        if self.applied is not None:
            self.applied.in_force = False
            self.applied = None
        self._limit = limit
        self.deadline = self.start + limit.span

    def inherit_notice(self, seen: float, error: BaseException) -> None:
        """A cancel that is not ours leaves a part of this level: graces must not stack."""
        if self.notice is None or seen < self.notice[0]:
            self.notice = (seen, error)
            self.foreign_at: float = min(self.foreign_at, seen)

    def noticed(self, error: BaseException) -> float | None:
        """When the cancel that leaves with `error` was first noticed, if a cleanup block saw it."""
        if self.notice is None:
            return None
        at, seen_in = self.notice
        return at if contains(error, seen_in) else None


class ItemRun(LevelRun):
    """The level of one item of a node that runs over a list."""

    __slots__ = ("index",)

    def __init__(
        self, run: RunState, plan: Plan, parent: LevelRun, start: float, value: Any, index: int
    ) -> None:
        super().__init__(run, plan, parent, start, value)
        self.index: int = index


class AttemptRun(LevelRun):
    """The level of one attempt; `index` is that of the item that it is made for."""

    __slots__ = ("index",)

    def __init__(
        self, run: RunState, plan: Plan, parent: LevelRun, start: float, value: Any
    ) -> None:
        super().__init__(run, plan, parent, start, value)
        self.index: int | None = index_of(parent)  # now: one that is superseded leaves its parent


def index_of(level: LevelRun) -> int | None:
    """The index of the item that a level is, or is an alternative for; None if there is none."""
    for here in (level, level.parent):
        if isinstance(here, ItemRun):
            return here.index
    return None


SEATED: ContextVar[Any] = ContextVar("graceline_level", default=None)
"""A level, or the seat of one; only the hot path writes it, everybody else asks `CURRENT`."""


class _Current:
    """The level that is running here: what a context variable would be, if levels cost nothing."""

    def __init__(self) -> None:
        self.set: Callable[[LevelRun | None], Token[Any]] = SEATED.set
        self.reset: Callable[[Token[Any]], None] = SEATED.reset

    @staticmethod
    def get() -> LevelRun | None:
        """The level that is running here; None outside of a run."""
        found = SEATED.get()
        return _asked(found) if type(found) is list else found

    @staticmethod
    def seen() -> LevelRun | None:
        """The same for the engine, which does not go by the deadline of the level."""
        found = SEATED.get()
        return level_of(found) if type(found) is list else found

    @staticmethod
    def of(context: Context) -> LevelRun | None:
        """The level that is running in another task, by its context."""
        found = context.get(SEATED)
        return level_of(found) if type(found) is list else found


CURRENT = _Current()


def level_of(seat: list[Any]) -> LevelRun:
    """The level of a node that sits there; made when somebody asks for it, which few nodes do.

    A seat is `[level, run, plan, stage, start, value, strand]`. Instead of a level it holds None
    until somebody asks, and `OVER` once the node has ended without anybody asking. The strand is
    there if its scope may fire later than the node, and until somebody asks.
    """
    level: LevelRun | None = seat[0]
    if level is None or level is OVER:
        made = LevelRun(*seat[1:6])
        made.ended = level is OVER
        level = seat[0] = made
    return level


def _asked(seat: list[Any]) -> LevelRun:
    """The same for the work of the node: whoever knows its deadline is held to the instant.

    What goes by that instant, such as a run inside the node, would else end before the node is cut.
    """
    level = level_of(seat)
    strand: Strand | None = seat[6]
    # A thread has to leave scopes alone, also one with an event loop of its own.
    if strand is not None and in_trio_run() and current_trio_token() is level.run.shared.token:
        seat[6] = None
        if not level.ended:
            strand.tighten(level.fired())
    return level


def current_level() -> LevelRun:
    """The level that is running here.

    Raises:
        GracelineError: outside of a run.
    """
    level = CURRENT.get()
    if level is None:
        raise GracelineError(
            "this works only inside a run: in a node, or in a handler given as on_cleanup="
        )
    return level
