"""The protocol of work: bound once per plan, then awaited with an input, and cancelled by Trio.

A kind of work is a function `bind(function, ...) -> Bound`. The engine awaits `bound(value)` inside
a cancel scope that it owns. What the work raises is the node's failure; a `WorkRefusedError` raised
before anything was started makes the node `rejected`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from graceline.errors import GracelineError

__all__ = ["Bound", "WorkContext", "WorkRefusedError"]

Bound: TypeAlias = Callable[[Any], Awaitable[Any]]
"""Work that is ready to run: called with an input, awaited for a value."""


class WorkRefusedError(GracelineError):
    """The work was refused before it started, for instance because too many threads hang."""


class WorkContext(Protocol):
    """The node that work runs for, and what work may tell the engine about it."""

    @property
    def run_id(self) -> str:
        """The id of its run."""

    @property
    def node(self) -> str:
        """Its name."""

    def thread_abandoned(self, abandoned: int) -> None:
        """The worker thread of this node goes on although the node was cancelled."""

    def thread_ended(self, abandoned: int) -> None:
        """The abandoned worker thread of this node has ended."""
