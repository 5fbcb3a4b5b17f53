"""llama-index-workflows: `Workflow(timeout=)` for a run; nothing for a step.

https://developers.llamaindex.ai/python/workflows-api-reference. Steps find one another by the types
of events, so each has one of its own. What steps want to outlast the run they put into the store of
its context.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent

from benchmarks.peers.contract import Adapter, Call, Limits, Part, Stages, flat

__all__ = ["Peer"]


def _step(part: Part, takes: type[Event], gives: type[Event], *, keep: bool) -> Callable[..., Any]:
    field = "result" if gives is StopEvent else "value"

    def blocking(_: Any, ev: Any) -> Any:
        return gives(**{field: part.function(ev.value)})

    async def waiting(_: Any, ev: Any) -> Any:
        return gives(**{field: await part.function(ev.value)})

    async def keeping(_: Any, ctx: Any, ev: Any) -> Any:
        value = await part.function(ev.value)
        await ctx.store.set(part.name, value)
        return gives(**{field: value})

    run: Any = blocking if part.blocks else keeping if keep else waiting
    run.__annotations__ = {"ctx": Context} if run is keeping else {}
    run.__annotations__ |= {"ev": takes, "return": gives}
    run.__name__ = part.name
    run.__qualname__ = f"Chain.{part.name}"
    made: Callable[..., Any] = step(run)
    return made


class Peer(Adapter):
    """A chain of steps."""

    package = "llama-index-workflows"
    run_limit = "Workflow(timeout=)"
    docs = "https://developers.llamaindex.ai/python/workflows-api-reference"

    def __init__(self) -> None:
        self.handler: Any = None
        self.names: list[str] = []

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        parts = flat(stages)
        self.names = [part.name for part in parts]
        between = [
            type(f"After{part.name}", (Event,), {"__annotations__": {"value": Any}})
            for part in parts[:-1]
        ]
        events = [StartEvent, *between, StopEvent]
        steps = {
            part.name: _step(part, takes, gives, keep=keep)
            for part, takes, gives in zip(parts, events, events[1:], strict=False)
        }
        chain = type("Chain", (Workflow,), steps)(timeout=limits.run)

        async def call(value: Any) -> Any:
            self.handler = chain.run(value=value)
            return await self.handler

        yield call

    async def kept(self) -> dict[str, Any]:
        store = self.handler.ctx.store
        missing = object()
        found = {name: await store.get(name, missing) for name in self.names}
        return {name: value for name, value in found.items() if value is not missing}
