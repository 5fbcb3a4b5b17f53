"""pydantic-graph: steps and edges of a `GraphBuilder`. It has no limits.

https://pydantic.dev/docs/ai/graph/graph/. Whoever wants one puts `asyncio.timeout` around it, which
is asyncio's and not probed here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from pydantic_graph import GraphBuilder, StepContext

from benchmarks.peers.contract import Adapter, Call, Limits, Part, Stages, flat

__all__ = ["Peer"]


def _step(builder: Any, part: Part) -> Any:
    async def step(context: StepContext[None, None, Any]) -> Any:
        return await part.function(context.inputs)

    return builder.step(step, node_id=part.name)


class Peer(Adapter):
    """A chain of steps."""

    package = "pydantic-graph"
    docs = "https://pydantic.dev/docs/ai/graph/graph/"

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        del limits, keep  # it has neither
        builder: Any = GraphBuilder(input_type=int, output_type=int)
        steps = [_step(builder, part) for part in flat(stages)]
        places = [builder.start_node, *steps, builder.end_node]
        builder.add(*(builder.edge_from(above).to(below) for above, below in pairwise(places)))
        graph = builder.build()

        async def call(value: Any) -> Any:
            return await graph.run(inputs=value)

        yield call
