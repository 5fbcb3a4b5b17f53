"""What an adapter is: it puts functions into a peer with limits around them, and runs them.

Nothing but the standard library is imported here: it is all that the environments of the peers have
in common.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from itertools import chain
from typing import Any

__all__ = ["Adapter", "Call", "Ended", "Limits", "Part", "Plain", "Stages", "World", "flat"]

Call = Callable[[Any], Awaitable[Any]]
"""Runs what was built once, as a user of the peer would."""


@dataclass(frozen=True)
class Part:
    """A node: a coroutine function of one value, or a plain one."""

    name: str
    function: Callable[[Any], Any]

    @property
    def blocks(self) -> bool:
        """Whether it is a plain function, for a peer that wants to know."""
        return not iscoroutinefunction(self.function)

    async def awaited(self, value: Any) -> Any:
        """Run it in asyncio: in a thread if it blocks, for a peer that takes coroutines alone."""
        if self.blocks:
            return await asyncio.to_thread(self.function, value)
        return await self.function(value)


Stages = Sequence[Sequence[Part]]


def flat(stages: Stages) -> list[Part]:
    """The nodes of all stages, for a peer that knows no stages."""
    return list(chain.from_iterable(stages))


@dataclass(frozen=True)
class Limits:
    """Seconds for each node, each stage and the run; None where nothing is limited."""

    node: float | None = None
    stage: float | None = None
    run: float | None = None


@dataclass
class Ended:
    """What the caller of a run holds when it is over.

    Attributes:
        status: the peer's own word where its result has one, else `ok` or `raised`.
        value: what was given back.
        said: the error or the blame as text.
        kept: values of nodes that had ended, by the name of the node, as the peer hands them out.
        known: what the peer itself says of threads that it left behind.
    """

    status: str
    value: Any = None
    said: str = ""
    kept: dict[str, Any] = field(default_factory=dict)
    known: str = ""


class World:
    """How one waits and cleans up in nodes of a peer; this is asyncio's way."""

    plain = False

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def cleanup(self) -> AbstractContextManager[Any]:
        """What a library wants to have around an await in a `finally`."""
        return nullcontext()

    def start(self, function: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a coroutine function to its end."""
        return asyncio.run(function())


class Plain(World):
    """The way of plain functions: nothing is awaited, so no event loop is needed."""

    plain = True

    async def sleep(self, seconds: float) -> None:
        """Block the thread."""
        time.sleep(seconds)  # noqa: ASYNC251 - driven by hand, without an event loop

    def start(self, function: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Drive a coroutine function that never waits."""
        coroutine = function()
        try:
            coroutine.send(None)
        except StopIteration as ended:
            return ended.value
        coroutine.close()
        raise RuntimeError("a plain function waited for something")


class Adapter(ABC):
    """A peer. The limits are said in its own words; an empty string means that it has none.

    Attributes:
        package: the distribution whose version is written down.
        node_limit: how the limit of a node is stated.
        run_limit: how the limit of a run is stated.
        docs: the page of its documentation that says so, or where it would be.
        world: what its nodes are written for.
        nodes: how many make a run that is timed; fewer where a run takes seconds.
    """

    package = ""
    node_limit = ""
    run_limit = ""
    docs = ""
    world: World = World()
    nodes = 50

    @abstractmethod
    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        """Build a run of nodes, one after the other, and hand out what runs it.

        Args:
            stages: the nodes.
            limits: for each level that the peer knows; the others are ignored.
            keep: whether values of finished nodes are asked for, where that is an option.
        """
        raise NotImplementedError
        yield

    async def read(self, returned: Any) -> Ended:
        """What the caller holds after a run that gave something back."""
        return Ended("ok", value=returned, kept=await self.kept())

    async def raised(self, error: BaseException) -> Ended:
        """What the caller holds after a run that raised."""
        said = f"{type(error).__name__}: {error}"
        return Ended("raised", said=said, kept=await self.kept())

    async def kept(self) -> dict[str, Any]:
        """Values of finished nodes that the caller can still get at."""
        return {}
