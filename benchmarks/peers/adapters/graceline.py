"""graceline itself, through its public names, asked the same as everybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import trio

import graceline
from benchmarks.peers.contract import Adapter, Call, Ended, Limits, Part, Stages, World
from graceline import Node, Pipeline, PipelineResult, Stage, Status, open_engine, sequence

__all__ = ["Peer", "Trio"]


class Trio(World):
    """Trio's way, with the cleanup of graceline."""

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def cleanup(self) -> AbstractContextManager[Any]:
        return graceline.cleanup()

    def start(self, function: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return trio.run(function)


def _node(part: Part, limits: Limits) -> Node:
    return Node(part.function, name=part.name, timeout=limits.node)


class Peer(Adapter):
    """Limits for nodes, stages and the pipeline; 500 ms for cleanup."""

    package = "graceline"
    node_limit = "Node(timeout=), Stage(timeout=)"
    run_limit = "Pipeline(timeout=)"
    docs = "timeouts.md"
    world = Trio()
    engine: graceline.Engine

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        del keep  # a result always has what was finished
        pipeline = Pipeline(
            "run",
            tuple(
                Stage(
                    f"s{number}",
                    sequence(*(_node(one, limits) for one in parts)),
                    timeout=limits.stage,
                )
                for number, parts in enumerate(stages)
            ),
            timeout=limits.run,
            grace=0.5,
        )
        async with open_engine() as self.engine:
            engine = self.engine

            async def call(value: Any) -> PipelineResult:
                return await engine.run(pipeline, value)

            yield call

    async def read(self, returned: PipelineResult) -> Ended:
        outcomes = [node for stage in returned.stages.values() for node in stage.nodes.values()]
        late = [str(one) for one in outcomes if one.status is Status.LATE]
        blame = returned.blame
        hung = self.engine.health().abandoned_threads
        return Ended(
            status=str(returned.status),
            value=returned.value,
            said="; ".join(late) if blame is None else f"{blame.level}: {blame.message}",
            kept={one.name: one.value for one in outcomes if one.completed},
            known=", ".join(f"abandoned: {one.node}" for one in hung),
        )
