"""A deadline for code that is no pipeline: the same levels, as a nested async context manager.

Such a scope is a run without stages. It stands in the same tree as pipelines and nodes, so it is
bounded by what is around it and bounds what is inside: scopes, nodes, runs, cleanup blocks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Token
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any

import trio

from graceline.deadlines import (
    Blame,
    DeadlineStatus,
    Ending,
    Kind,
    Limit,
    Source,
    Status,
    settle,
)
from graceline.definitions.checks import check_callable, check_name
from graceline.durations import Duration, parse_duration
from graceline.engine.cleanup import run_handlers
from graceline.engine.endings import classify
from graceline.engine.levels import CURRENT, LevelRun
from graceline.engine.plan import Plan
from graceline.engine.settling import judge
from graceline.engine.state import RunState
from graceline.engine.strand import Strand
from graceline.errors import GracelineError
from graceline.telemetry import events

if TYPE_CHECKING:
    from typing import Self

    from graceline.engine.core import Engine

__all__ = ["DeadlineScope", "TimeoutHandler"]

TimeoutHandler = Callable[["DeadlineScope"], Awaitable[Any] | None]
"""Called with the scope that timed out; may be async."""

_STATUS = {
    Status.TIMED_OUT: DeadlineStatus.TIMED_OUT,
    Status.CANCELLED: DeadlineStatus.CANCELLED,
}


class DeadlineScope:
    """A block of code with a deadline; made by `engine.deadline`, used once.

    When its own deadline passes, or when it is cancelled, the block unwinds and the program goes on
    behind it, as with `trio.move_on_after`. A cancel of something around it passes through.

    Attributes:
        name: its name.
        secondary: errors of `on_timeout`; they replace nothing.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        timeout: Duration | None,
        grace: Duration | None,
        on_timeout: TimeoutHandler | None,
    ) -> None:
        check_name(name, "deadline()")
        where = f"deadline({name!r}"
        seconds = inf if timeout is None else parse_duration(timeout, f"{where}, timeout=)")
        kept = None if grace is None else parse_duration(grace, f"{where}, grace=)")
        if on_timeout is not None:
            check_callable(on_timeout, f"{where}, on_timeout=)")
        self.name = name
        self.secondary: tuple[Exception, ...] = ()
        self._engine = engine
        self._limit = Limit(
            "deadline",
            name,
            timeout=seconds,
            grace=kept,
            source=None if seconds == inf else Source.CALL,
            stated=timeout is not None,
            enforced=engine.mode == "enforce",
        )
        self._handlers = () if on_timeout is None else (on_timeout,)
        self._status = DeadlineStatus.ACTIVE
        self._blame: Blame | None = None
        self._run: RunState | None = None
        self._level: LevelRun
        self._strand: Strand
        self._token: Token[LevelRun | None]

    # -- what it says -------------------------------------------------------------------------

    @property
    def status(self) -> DeadlineStatus:
        """`active` until the block is left; then `ok`, `timed_out` or `cancelled`."""
        return self._status

    @property
    def blame(self) -> Blame | None:
        """The one level to blame, if it is `timed_out` or `cancelled`."""
        return self._blame

    def remaining(self) -> float:
        """Seconds until the block is cancelled, whoever cancels it; never below 0.

        Raises:
            GracelineError: before the block and behind it.
        """
        run = self._active()
        return max(0.0, self._level.fired() - run.clock())

    def cancel(self, reason: str = "cancelled", *, force_after: Duration | None = None) -> bool:
        """Cancel the block; returns whether this was the first cancel of it.

        Args:
            reason: for the blame.
            force_after: seconds after which cleanup is cut, grace or not.

        Raises:
            GracelineError: before the block and behind it.
        """
        seconds = None
        if force_after is not None:
            seconds = parse_duration(force_after, "cancel(force_after=)")
        return self._active().cancel(Kind.USER, reason, force_after=seconds)

    def _active(self) -> RunState:
        if self._run is None or self._run.ended:
            when = "has not been entered" if self._run is None else "was left"
            raise GracelineError(f"the block of deadline({self.name!r}) {when}")
        return self._run

    # -- the block ----------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Self:
        if self._run is not None:
            raise GracelineError(f"deadline({self.name!r}) was used; make one for each block")
        plan = Plan(
            name=self.name,
            label=self.name,
            limit=self._limit,
            strict=True,
            stop_before=None,
            handlers=self._handlers,
            stats=self._engine.stats.elsewhere,
        )
        run = self._run = await self._engine._enlist(plan)
        self._level = run.root
        now = run.clock()
        self._strand = Strand(run.root, now, run.root.fired())
        run.top.strands[self._strand] = None
        self._token = CURRENT.set(run.root)
        self._strand.open()
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        run, level, strand = self._active(), self._level, self._strand
        strand.now = run.clock()
        passes = True
        try:
            passes = await self._settle(run, level, strand, error)
        finally:
            level.ended = True
            strand.close()
            del run.top.strands[strand]
            CURRENT.reset(self._token)
            run.finish(None)
        return not passes

    async def _settle(
        self, run: RunState, level: LevelRun, strand: Strand, error: BaseException | None
    ) -> bool:
        """Find out what it came to; returns whether the exception, if any, goes on."""
        failure: Exception | None = None
        if error is None:
            verdict = settle(level, Ending.VALUE, strand.now, strict=True)
        else:
            ending, failure = classify(error)
            verdict, noticed = await judge(strand, level, ending, error)
            if verdict.foreign and verdict.blame is not None:
                run.caller_cancelled(level, strand.now if noticed is None else noticed, error)
        self._status = _STATUS.get(verdict.status, DeadlineStatus.OK)
        self._blame = verdict.blame
        if self._status is DeadlineStatus.TIMED_OUT and self._handlers:
            self.secondary = await run_handlers(level, self._handlers, self)
        if self._status is not DeadlineStatus.OK and run.trouble_heard():
            run.emit(
                events.DeadlineEnded,
                run.clock(),
                name=self.name,
                status=self._status,
                elapsed=strand.now - run.origin,
                limit=level.limit.shown,
                blame=self._blame,
            )
        # Ours is a cancel of this very level. What stands above it has to see its own.
        ours = level.cause(strand.now) is level and not verdict.foreign
        return failure is not None or not ours
