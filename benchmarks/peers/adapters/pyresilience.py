"""pyresilience: `@resilient(timeout=TimeoutConfig(seconds=))` around a function.

https://pyresilience.readthedocs.io/. It knows no pipelines: nodes, stages and the run are
functions that call one another, each with a limit. It limits plain functions too, in threads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any

from pyresilience import TimeoutConfig, resilient

from benchmarks.peers.contract import Adapter, Call, Limits, Stages

__all__ = ["Peer"]

Function = Callable[[Any], Any]


def _limited(function: Function, limit: float | None) -> Function:
    if limit is None:
        return function
    made: Function = resilient(timeout=TimeoutConfig(seconds=limit))(function)
    return made


def _one_by_one(functions: Sequence[Function]) -> Callable[[Any], Awaitable[Any]]:
    async def run(value: Any) -> Any:
        for function in functions:
            given = function(value)
            value = await given if isawaitable(given) else given
        return value

    return run


class Peer(Adapter):
    """Functions that call functions."""

    package = "pyresilience"
    node_limit = "@resilient(timeout=)"
    run_limit = "@resilient(timeout=)"
    docs = "https://pyresilience.readthedocs.io/"

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        del keep  # it knows no values
        works = [
            _one_by_one([_limited(part.function, limits.node) for part in parts])
            for parts in stages
        ]
        yield _limited(_one_by_one([_limited(work, limits.stage) for work in works]), limits.run)
