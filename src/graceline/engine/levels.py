"""A level of a live run: the pure state machine, and what the engine keeps beside it.

The record of the level that is running is found through a context variable, so that `remaining()`,
`cleanup()` and the like need no argument, and background tasks of a node keep the node's record.
"""

from __future__ import annotations

from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Any

from graceline.deadlines import Blame, Level, Limit, Source
from graceline.engine.endings import contains
from graceline.errors import GracelineError

if TYPE_CHECKING:
    from graceline.adaptive import Lease
    from graceline.engine.plan import Plan
    from graceline.engine.state import RunState

__all__ = ["CURRENT", "UNSET", "AttemptRun", "ItemRun", "LevelRun", "current_level", "index_of"]

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

    __slots__ = (
        "_limit", "alternative", "applied", "attempt", "ended", "errors", "hedge", "input", "lease",
        "notice", "partial", "plan", "retried_inside", "run",
    )  # fmt: skip

    def __init__(
        self, run: RunState, plan: Plan, parent: Level | None, start: float, value: Any
    ) -> None:
        """Start a level. Spelled out instead of `super().__init__`: once per node, it is hot."""
        limit = plan.limit
        self._limit: Limit | None = limit
        self.parent: Level | None = parent
        self.start = start
        self.deadline: float = start + limit.span
        grace = limit.grace
        if grace is None:
            grace = run.shared.grace if parent is None else parent.grace
        self.grace = grace
        self.cancelled_at = inf
        self.reason: Blame | None = None
        self.foreign_at = inf
        self.forced_at = inf
        self.run: RunState = run
        self.plan: Plan = plan
        self.input: Any = value
        self.partial: Any = UNSET
        self.ended: bool = False
        self.notice: tuple[float, BaseException | None] | None = None
        self.lease: Lease | None = None
        self.applied: Lease | None = None
        self.attempt: int = 0
        self.errors: tuple[Exception, ...] = ()
        self.retried_inside: bool = False
        self.hedge: bool = False
        self.alternative: str | None = None

    @property
    def limit(self) -> Limit:
        """The limit; a learned one is written out only when somebody looks."""
        limit = self._limit
        if limit is None:
            plan, lease = self.plan.limit, self.applied
            assert lease is not None  # noqa: S101 - `apply` was called with it
            limit = self._limit = Limit(
                plan.level, plan.name, lease.timeout, 0.0, plan.grace, Source.ADAPTIVE,
                plan.stated, plan.enforced,
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


CURRENT: ContextVar[LevelRun | None] = ContextVar("graceline_level", default=None)


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
