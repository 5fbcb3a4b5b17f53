"""Where the work of one engine runs that does not run in its event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graceline.definitions import Command
from graceline.work.base import Bound, WorkContext
from graceline.work.guard import Guard
from graceline.work.process import ProcessPool
from graceline.work.program import bind_command
from graceline.work.thread import ThreadPool

__all__ = ["Workers"]


class Workers:
    """The worker threads, worker processes and child programs of one engine.

    Args:
        max_threads: functions that run in threads at once, abandoned ones not counted.
        max_abandoned: abandoned threads at which thread nodes are refused.
        max_processes: functions that run in worker processes at once.
    """

    def __init__(self, max_threads: int, max_abandoned: int, max_processes: int) -> None:
        self.guard: Guard = Guard()
        self.threads: ThreadPool = ThreadPool(max_threads, max_abandoned)
        self.processes: ProcessPool = ProcessPool(max_processes, self.guard)

    def bind(
        self,
        function: Callable[[Any], Any] | Command,
        runs_on: str,
        context: Callable[[], WorkContext],
    ) -> Bound:
        """Bind what a node runs; `context` finds the node that is running."""
        if isinstance(function, Command):
            return bind_command(function, context, self.guard)
        if runs_on == "process":
            return self.processes.bind(function, context)
        return self.threads.bind(function, context)

    def drain(self) -> None:
        """Tell the jobs in worker processes that polite work should end."""
        self.processes.drain()

    async def aclose(self) -> None:
        """End the worker processes and the guard; nothing that they run survives it."""
        await self.processes.aclose()
        await self.guard.aclose()
