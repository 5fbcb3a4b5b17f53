"""langgraph: `add_node(timeout=)` for a node, `step_timeout` for a step; nothing for a run.

https://docs.langchain.com/oss/python/langgraph/graph-api-nodes. Limits are for async nodes alone,
so a function that blocks is put into a thread by hand. Each node of a chain is a step of its own.
Finished nodes are kept by a checkpointer, which is there for the probes and not for the timing.
"""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from benchmarks.peers.contract import Adapter, Call, Limits, Part, Stages, flat

__all__ = ["Peer", "State"]


class State(TypedDict):
    """What nodes hand on."""

    value: Any
    done: Annotated[dict[str, Any], operator.or_]


def _node(part: Part, *, keep: bool) -> Callable[[State], Any]:
    async def node(state: State) -> dict[str, Any]:
        value = await part.awaited(state["value"])
        return {"value": value, "done": {part.name: value}} if keep else {"value": value}

    return node


class Peer(Adapter):
    """A chain of nodes."""

    package = "langgraph"
    node_limit = "add_node(timeout=), step_timeout"
    docs = "https://docs.langchain.com/oss/python/langgraph/graph-api-nodes"

    def __init__(self) -> None:
        self.graph: Any = None
        self.config: dict[str, Any] = {"configurable": {"thread_id": "1"}, "recursion_limit": 1000}

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        builder = StateGraph(State)
        parts = flat(stages)
        for part in parts:
            builder.add_node(part.name, _node(part, keep=keep), timeout=limits.node)
        names = [START, *(part.name for part in parts), END]
        for above, below in pairwise(names):
            builder.add_edge(above, below)
        self.graph = graph = builder.compile(checkpointer=InMemorySaver() if keep else None)
        graph.step_timeout = limits.stage

        async def call(value: Any) -> Any:
            return (await graph.ainvoke({"value": value, "done": {}}, self.config))["value"]

        yield call

    async def kept(self) -> dict[str, Any]:
        done: dict[str, Any] = self.graph.get_state(self.config).values.get("done", {})
        return done
