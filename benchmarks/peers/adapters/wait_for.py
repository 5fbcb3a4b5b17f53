"""The executor that asyncio programs tend to grow: a task and a `wait_for` per node.

A flag asks it to stop between nodes, `wait_for` limits stages and the run, and values are written
down as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.peers.contract import Adapter, Call, Limits, Stages

__all__ = ["Peer"]


class Executor:
    """Runs stages of nodes, one after the other."""

    def __init__(self, stages: Stages, limits: Limits) -> None:
        self.stages = stages
        self.limits = limits
        self.values: dict[str, Any] = {}
        self.cancelled = asyncio.Event()

    async def run(self, value: Any) -> Any:
        """All stages, within the limit of the run."""
        self.values.clear()
        return await asyncio.wait_for(self._stages(value), self.limits.run)

    async def _stages(self, value: Any) -> Any:
        for parts in self.stages:
            value = await asyncio.wait_for(self._nodes(parts, value), self.limits.stage)
        return value

    async def _nodes(self, parts: Any, value: Any) -> Any:
        for part in parts:
            if self.cancelled.is_set():
                raise asyncio.CancelledError
            task = asyncio.create_task(part.awaited(value), name=part.name)
            value = await asyncio.wait_for(task, self.limits.node)
            self.values[part.name] = value
        return value


class Peer(Adapter):
    """`asyncio.wait_for` on each level, as the documentation of Python has it."""

    node_limit = "asyncio.wait_for(task, limit)"
    run_limit = "asyncio.wait_for(run, limit)"
    docs = "https://docs.python.org/3/library/asyncio-task.html#timeouts"

    def __init__(self) -> None:
        self.executor: Executor | None = None

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        del keep
        self.executor = Executor(stages, limits)
        yield self.executor.run

    async def kept(self) -> dict[str, Any]:
        return {} if self.executor is None else self.executor.values
