"""Hand-written scopes: the floor that every ratio is taken against, see `benchmarks.floors`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from math import inf
from typing import Any

import trio

from benchmarks.floors import hand_written
from benchmarks.peers.adapters.graceline import Trio
from benchmarks.peers.contract import Adapter, Call, Ended, Limits, Part, Stages
from benchmarks.shapes import Function

__all__ = ["Peer"]


class ByHand(Trio):
    """Trio's way of cleaning up: a shield with a limit of its own."""

    def cleanup(self) -> AbstractContextManager[Any]:
        return trio.move_on_after(0.5, shield=True)


class Peer(Adapter):
    """A scope for the run, one for each stage and one for each node."""

    package = "trio"
    node_limit = "move_on_after()"
    run_limit = "fail_after()"
    docs = "https://trio.readthedocs.io/en/stable/reference-core.html#cancellation-and-timeouts"
    world = ByHand()

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        del keep  # hand-written scopes return the last value, or None
        yield partial(
            hand_written,
            [[_awaitable(part) for part in parts] for parts in stages],
            pipeline_limit=inf if limits.run is None else limits.run,
            stage_limit=inf if limits.stage is None else limits.stage,
            node_limit=inf if limits.node is None else limits.node,
        )

    async def read(self, returned: Any) -> Ended:
        return Ended("ok" if returned is not None else "None", value=returned)


def _awaitable(part: Part) -> Function:
    if not part.blocks:
        return part.function

    async def in_thread(value: Any) -> Any:
        return await trio.to_thread.run_sync(part.function, value, abandon_on_cancel=True)

    return in_thread
