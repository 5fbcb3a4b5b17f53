"""prefect: `@task(timeout_seconds=)` and `@flow(timeout_seconds=)`.

https://docs.prefect.io/v3/how-to-guides/workflows/write-and-run. A task that blocks is called
directly, in the main thread, where by that page a limit interrupts it. It runs with the temporary
server that it starts if there is none; values of finished tasks are persisted, and read through it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import MissingResult
from prefect.runtime import flow_run

from benchmarks.peers.contract import Adapter, Call, Limits, Part, Stages, flat

__all__ = ["Peer"]


class Peer(Adapter):
    """A flow that calls tasks, one after the other."""

    package = "prefect"
    node_limit = "@task(timeout_seconds=)"
    run_limit = "@flow(timeout_seconds=)"
    docs = "https://docs.prefect.io/v3/how-to-guides/workflows/write-and-run"
    nodes = 10

    def __init__(self) -> None:
        self.run_id: Any = None

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        def task_of(part: Part) -> Any:
            return task(
                part.function, name=part.name, timeout_seconds=limits.node, persist_result=keep
            )

        tasks = [(part.blocks, task_of(part)) for part in flat(stages)]

        async def chain(value: Any) -> Any:
            self.run_id = flow_run.id
            for blocks, one in tasks:
                value = one(value) if blocks else await one(value)
            return value

        yield flow(chain, name="chain", timeout_seconds=limits.run, persist_result=keep)

    async def kept(self) -> dict[str, Any]:
        async with get_client() as client:
            runs = await client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[self.run_id]))
            )
        values: dict[str, Any] = {}
        for run in runs:
            if run.state is not None and run.state.is_completed():
                with suppress(MissingResult, ValueError):  # completed, and not on the disk
                    values[run.name.rpartition("-")[0]] = await run.state.aresult()
        return values
