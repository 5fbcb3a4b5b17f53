"""Where the work of one engine runs that does not run in its event loop.

What worker processes and child programs need is imported with the first node that is one: most
programs have none, and their import must not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from graceline.definitions import Command
from graceline.work.thread import ThreadPool

if TYPE_CHECKING:
    from graceline.work.base import Bound, WorkContext
    from graceline.work.guard import Guard
    from graceline.work.process import ProcessPool

__all__ = ["Workers"]


class Workers:
    """The worker threads, worker processes and child programs of one engine.

    Args:
        max_threads: functions that run in threads at once, abandoned ones not counted.
        max_abandoned: abandoned threads at which thread nodes are refused.
        max_processes: functions that run in worker processes at once.
    """

    def __init__(self, max_threads: int, max_abandoned: int, max_processes: int) -> None:
        self.threads: ThreadPool = ThreadPool(max_threads, max_abandoned)
        self._max_processes = max_processes
        self._draining = False

    @cached_property
    def guard(self) -> Guard:
        """What kills programs and worker processes if this process dies."""
        from graceline.work.guard import Guard  # noqa: PLC0415 - see above

        return Guard()

    @cached_property
    def processes(self) -> ProcessPool:
        """The worker processes."""
        from graceline.work.process import ProcessPool  # noqa: PLC0415

        pool = ProcessPool(self._max_processes, self.guard)
        if self._draining:
            pool.drain()
        return pool

    @property
    def busy_processes(self) -> int:
        """How many functions run in worker processes, or wait for theirs to start."""
        return self.processes.busy if "processes" in vars(self) else 0

    def bind(
        self,
        function: Callable[[Any], Any] | Command,
        runs_on: str,
        context: Callable[[], WorkContext],
    ) -> Bound:
        """Bind what a node runs; `context` finds the node that is running."""
        if isinstance(function, Command):
            from graceline.work.program import bind_command  # noqa: PLC0415

            return bind_command(function, context, self.guard)
        if runs_on == "process":
            return self.processes.bind(function, context)
        return self.threads.bind(function, context)

    def drain(self) -> None:
        """Tell the jobs in worker processes that polite work should end."""
        self._draining = True
        if "processes" in vars(self):
            self.processes.drain()

    async def aclose(self) -> None:
        """End the worker processes and the guard; nothing that they run survives it."""
        if "processes" in vars(self):
            await self.processes.aclose()
        if "guard" in vars(self):
            await self.guard.aclose()
