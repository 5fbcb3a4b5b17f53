"""Cleanup scopes: shielded, and bounded by the grace period of their level."""

from __future__ import annotations

import sys
from contextvars import ContextVar, Token
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any

import trio

from graceline.engine.endings import contains
from graceline.engine.levels import CURRENT, LevelRun, current_level
from graceline.errors import GracelineError
from graceline.work.here import current_job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from graceline.work.job import JobCleanup

__all__ = ["OPEN_CLEANUP", "Cleanup", "cleanup", "enclosing_cleanup", "run_handlers"]

OPEN_CLEANUP: ContextVar[Cleanup | None] = ContextVar("graceline_cleanup", default=None)


class Cleanup:
    """A shielded cancel scope that ends at `min(now + grace, hard)` of its level.

    After a cancel `hard` alone decides, so that all blocks of a level share one grace period. A
    block inside a block ends with the outer one at the latest.
    """

    __slots__ = ("_handler", "_level", "_scope", "_token")

    def __init__(self, level: LevelRun | None = None) -> None:
        self._level = level
        self._handler = level is not None  # the engine's own block; it settled the cancel already
        self._scope = trio.CancelScope(shield=True)
        self._token: Token[Cleanup | None] | None = None

    @property
    def deadline(self) -> float:
        """When the block is cut, in absolute seconds; `inf` if it is not bounded."""
        return self._scope.deadline

    def retime(self) -> None:
        """A cancel higher up may have brought the end forward."""
        level = self._level
        assert level is not None  # noqa: S101 - an open block has its level
        run = level.run
        self._scope.deadline = min(self._scope.deadline, run.cleanup_end(level, run.clock()))

    @trio.lowlevel.enable_ki_protection
    def __enter__(self) -> Self:
        level = self._level = self._level or current_level()
        try:
            now = trio.current_time()
        except RuntimeError:
            raise GracelineError(
                "cleanup() works in the event loop; a worker thread cannot be shielded or cut"
            ) from None
        outer = enclosing_cleanup(level)
        if outer is None and not self._handler:
            _notice(level, now)
        end = level.run.cleanup_end(level, now)
        if outer is not None:
            end = min(end, outer.deadline)
        self._scope.deadline = end
        self._scope.__enter__()
        level.run.open_cleanup(self)
        self._token = OPEN_CLEANUP.set(self)
        return self

    @trio.lowlevel.enable_ki_protection
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        level = self._level
        assert level is not None  # noqa: S101 - it was entered
        assert self._token is not None  # noqa: S101
        OPEN_CLEANUP.reset(self._token)
        level.run.close_cleanup(self)
        swallowed = self._scope.__exit__(kind, error, traceback)
        if self._scope.cancelled_caught:
            level.run.cleanup_overran(level)
        if enclosing_cleanup(level) is None and not self._handler:
            _notice(level, trio.current_time(), leaving=None if swallowed else error)
        return swallowed


def enclosing_cleanup(level: LevelRun) -> Cleanup | None:
    """The open block around this point; inside it Trio shows nothing of what is outside."""
    outer = OPEN_CLEANUP.get()
    return outer if outer is not None and outer in level.run.top.cleanups else None


_ENTERING: Any = object()


def _notice(level: LevelRun, now: float, leaving: BaseException | None = _ENTERING) -> None:
    """Notice a cancel that is not ours, or that an earlier one was absorbed.

    Whether two notices belong to one unwinding is told by the exception that is being handled: a
    scope of the user's own may absorb one cancel, and a later one is then a new one. On leaving a
    block, what was noticed before stands.
    """
    seen = level.notice
    if trio.current_effective_deadline() != -inf:
        # Absorbed, unless the same exception still unwinds and a shield of the user's hides it.
        if seen is None or seen[1] is None or not contains(sys.exception(), seen[1]):
            level.notice, level.foreign_at = None, inf
        return
    handled = sys.exception() if leaving is _ENTERING else leaving
    if seen is not None and (leaving is not _ENTERING or contains(handled, seen[1])):
        return
    if level.fired() <= now:
        level.notice, level.foreign_at = None, inf
    else:
        level.notice, level.foreign_at = (now, handled), now


def cleanup() -> Cleanup | JobCleanup:
    """Shield and bound a block of cleanup: `with cleanup(): await ...`.

    Before a cancel the block may take the grace period from its start. After it, all blocks of the
    node share one grace period; a block that is cut at its end is reported, never silent.

    In a worker process the block is plain code: a signal cuts it, wherever it is.

    Raises:
        GracelineError: on entering it outside of a run, or in a worker thread.
    """
    if CURRENT.get() is None and (job := current_job()) is not None:
        return job.cleanup()
    return Cleanup()


@trio.lowlevel.disable_ki_protection
async def run_handlers(
    level: LevelRun, handlers: tuple[Callable[[Any], Awaitable[Any] | None], ...], outcome: Any
) -> tuple[Exception, ...]:
    """Run the `on_cleanup` handlers of a level; the errors they raise are returned, not raised."""
    errors: list[Exception] = []
    token = CURRENT.set(level)
    try:
        for handler in handlers:
            try:
                with Cleanup(level):
                    awaitable = handler(outcome)
                    if awaitable is not None and hasattr(awaitable, "__await__"):
                        await awaitable
            except Exception as error:  # noqa: BLE001 - attached to the outcome
                errors.append(error)
    finally:
        CURRENT.reset(token)
    return tuple(errors)
