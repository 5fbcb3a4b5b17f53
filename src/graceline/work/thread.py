"""Work that runs in a worker thread: a plain function, abandoned when its node is cancelled.

Nothing can stop a thread from outside. So the run goes on without it: the thread keeps its token,
and the pool grows by one until it ends, so that hung functions do not take the threads of healthy
ones. At `max_abandoned` hung threads new work is refused. A function that polls
`trio.from_thread.check_cancelled()` ends soon after the cancel.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from graceline.values import frozen
from graceline.work.base import Bound, WorkContext, WorkRefusedError

__all__ = ["Hung", "ThreadPool"]


@frozen(kw_only=True)
class Hung:
    """An abandoned thread: for whom it worked, how long ago that ended, and its identity."""

    run_id: str
    node: str
    seconds: float
    ident: int | None


class _Job:
    """One call in a thread: who is first, the end of the thread or the end of the node?"""

    __slots__ = (
        "_abandoned", "_ended", "_lock", "_started", "abandoned_at", "context", "ident", "pool",
        "token",
    )  # fmt: skip

    def __init__(self, pool: ThreadPool, context: WorkContext) -> None:
        self.pool: ThreadPool = pool
        self.context: WorkContext = context
        self.token: trio.lowlevel.TrioToken = trio.lowlevel.current_trio_token()
        self._lock = threading.Lock()
        self._started = self._ended = self._abandoned = False
        self.ident: int | None = None
        self.abandoned_at: float = 0.0

    def call(self, function: Callable[[Any], Any], value: Any) -> Any:
        """Run in the thread, unless the node was cancelled before the thread got here."""
        with self._lock:
            if self._abandoned:
                return None
            self._started = True
            self.ident = threading.get_ident()
        try:
            return function(value)
        finally:
            with self._lock:
                self._ended = True
                abandoned = self._abandoned
            if abandoned:
                # If the loop is gone, so is whoever would count.
                with contextlib.suppress(trio.RunFinishedError):
                    self.token.run_sync_soon(self.pool.ended, self)

    def abandon(self) -> bool:
        """Give the thread up; returns whether it is really still running."""
        with self._lock:
            self._abandoned = not self._ended
            self.abandoned_at = time.monotonic()
            return self._started and not self._ended


class ThreadPool:
    """The worker threads of one engine.

    Args:
        threads: how many functions run at once, abandoned ones not counted.
        max_abandoned: abandoned threads at which new work is refused.
    """

    def __init__(self, threads: int, max_abandoned: int) -> None:
        self._limiter = trio.CapacityLimiter(threads)
        self._max_abandoned = max_abandoned
        self._hung: dict[_Job, None] = {}

    @property
    def abandoned(self) -> int:
        """How many abandoned threads still run."""
        return len(self._hung)

    def hung(self) -> tuple[Hung, ...]:
        """The abandoned threads that still run; from any thread."""
        now = time.monotonic()
        return tuple(
            Hung(
                run_id=job.context.run_id,
                node=job.context.node,
                seconds=now - job.abandoned_at,
                ident=job.ident,
            )
            for job in tuple(self._hung)
        )

    def bind(self, function: Callable[[Any], Any], context: Callable[[], WorkContext]) -> Bound:
        """Bind a plain function; `context` finds the node that is running."""
        return partial(self._run, function, context)

    async def _run(
        self, function: Callable[[Any], Any], context: Callable[[], WorkContext], value: Any
    ) -> Any:
        if self.abandoned >= self._max_abandoned:
            raise WorkRefusedError(f"thread limit: {self.abandoned} abandoned threads still run")
        job = _Job(self, context())
        try:
            return await trio.to_thread.run_sync(
                job.call, function, value, abandon_on_cancel=True, limiter=self._limiter
            )
        except trio.Cancelled:
            if job.abandon():
                self._hung[job] = None
                self._limiter.total_tokens += 1
                job.context.thread_abandoned(self.abandoned)
            raise

    def ended(self, job: _Job) -> None:
        """An abandoned thread has ended; runs in the event loop."""
        del self._hung[job]
        self._limiter.total_tokens -= 1
        job.context.thread_ended(self.abandoned)
