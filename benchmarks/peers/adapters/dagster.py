"""dagster: ops of a job, in this process. It has no limits there.

https://docs.dagster.io/deployment/execution/job-timeouts. A deployment with a daemon ends runs
by the tag `dagster/max_runtime`; there is none here, and an op has no limit anywhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from dagster import DagsterInstance, In, Out, graph, op

from benchmarks.peers.contract import Adapter, Call, Limits, Part, Plain, Stages, flat

__all__ = ["Peer"]


def _op(part: Part) -> Callable[..., Any]:
    def run(value: Any) -> Any:
        return part.function(value)

    made: Callable[..., Any] = op(name=part.name, ins={"value": In()}, out=Out())(run)
    return made


class Peer(Adapter):
    """A chain of ops."""

    package = "dagster"
    docs = "https://docs.dagster.io/deployment/execution/job-timeouts"
    world = Plain()
    nodes = 10

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        del limits, keep  # it has neither in a process of one's own
        ops = [_op(part) for part in flat(stages)]

        @graph
        def chain(value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            for one in ops:
                value = one(value)
            return value

        job = chain.to_job(name="chain")
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        with DagsterInstance.ephemeral() as instance:

            async def call(value: Any) -> Any:
                ended = job.execute_in_process(
                    run_config=quiet, input_values={"value": value}, instance=instance
                )
                return ended.output_value()

            yield call
