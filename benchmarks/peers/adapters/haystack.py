"""haystack: components of a `Pipeline`. It has no limits.

https://docs.haystack.deepset.ai/docs/pipelines. Components are classes with a plain `run`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from haystack import Pipeline, component

from benchmarks.peers.contract import Adapter, Call, Limits, Part, Plain, Stages, flat

__all__ = ["Node", "Peer"]


@component
class Node:
    """A component around a function."""

    def __init__(self, part: Part) -> None:
        self.function = part.function

    @component.output_types(value=int)
    def run(self, value: int) -> dict[str, Any]:
        """Call it."""
        return {"value": self.function(value)}


class Peer(Adapter):
    """A chain of components."""

    package = "haystack-ai"
    docs = "https://docs.haystack.deepset.ai/docs/pipelines"
    world = Plain()

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        del limits, keep  # it has neither
        pipeline = Pipeline(max_runs_per_component=1_000_000)
        parts = flat(stages)
        for part in parts:
            pipeline.add_component(part.name, Node(part))
        for above, below in pairwise(parts):
            pipeline.connect(f"{above.name}.value", f"{below.name}.value")
        first, last = parts[0].name, parts[-1].name

        async def call(value: Any) -> Any:
            return pipeline.run({first: {"value": value}})[last]["value"]

        yield call
