"""burr: actions of an application, a state machine. It has no limits.

https://burr.apache.org/concepts/actions/. An application is made for each run, since a run
leaves it in its last state; the graph is built once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from burr.core import ApplicationBuilder, State, action
from burr.core.graph import GraphBuilder

from benchmarks.peers.contract import Adapter, Call, Limits, Part, Stages, flat

__all__ = ["Peer"]


def _action(part: Part) -> Any:
    @action(reads=["value"], writes=["value"])
    async def run(state: State) -> State:
        return state.update(value=await part.function(state["value"]))

    return run


class Peer(Adapter):
    """A chain of actions."""

    package = "apache-burr"
    docs = "https://burr.apache.org/concepts/actions/"

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        del limits, keep  # it has neither
        parts = flat(stages)
        names = [part.name for part in parts]
        graph = (
            GraphBuilder()
            .with_actions(**{part.name: _action(part) for part in parts})
            .with_transitions(*pairwise(names))
            .build()
        )

        async def call(value: Any) -> Any:
            application = (
                ApplicationBuilder()
                .with_graph(graph)
                .with_state(value=value)
                .with_entrypoint(names[0])
                .build()
            )
            _, _, state = await application.arun(halt_after=[names[-1]])
            return state["value"]

        yield call
