"""hyx: `timeout()` around a coroutine function, as a decorator.

https://hyx.readthedocs.io/en/latest/components/timeout/. It knows no pipelines: nodes, stages and
the run are functions that call one another, each with a limit. A function that blocks is put into a
thread by hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from hyx.timeout import timeout

from benchmarks.peers.contract import Adapter, Call, Limits, Stages

__all__ = ["Peer"]

Function = Callable[[Any], Awaitable[Any]]


def _limited(function: Function, limit: float | None) -> Function:
    return function if limit is None else timeout(limit)(function)


def _one_by_one(functions: Sequence[Function]) -> Function:
    async def run(value: Any) -> Any:
        for function in functions:
            value = await function(value)
        return value

    return run


class Peer(Adapter):
    """Functions that call functions."""

    package = "hyx"
    node_limit = "timeout()"
    run_limit = "timeout()"
    docs = "https://hyx.readthedocs.io/en/latest/components/timeout/"

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        del keep  # it knows no values
        works = [
            _one_by_one([_limited(part.awaited, limits.node) for part in parts]) for parts in stages
        ]
        yield _limited(_one_by_one([_limited(work, limits.stage) for work in works]), limits.run)
