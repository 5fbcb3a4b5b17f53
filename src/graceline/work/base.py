"""The protocol of work: bound once per plan, then awaited with an input, and cancelled by Trio.

A kind of work is a function `bind(function, ...) -> Bound`. The engine awaits `bound(value)` inside
a cancel scope that it owns. What the work raises is the node's failure; a `WorkRefusedError` raised
before anything was started makes the node `rejected`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from graceline.errors import GracelineError

if TYPE_CHECKING:
    from graceline.work.luggage import Luggage

__all__ = ["Bound", "Facts", "WorkContext", "WorkRefusedError"]

Facts: TypeAlias = tuple[str, str, str, str, str, bool, float, float, float, int, bool]
"""Run id, pipeline, stage, node and lane; whether it keeps a partial value (an item of a list does
not); seconds until it is cancelled, until `stop_before` asks it to stop, and of its grace period,
`inf` where there is no such bound; its attempt from 1; whether that is the second copy of a hedge.
"""
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
        """Its name; an item of a list has its index behind it."""

    def remaining(self) -> float:
        """Seconds until it is cancelled, as known now; `inf` if nothing limits it."""

    def facts(self) -> Facts:
        """All that work elsewhere has to know of it, as it is now."""

    def carrier(self) -> dict[str, str]:
        """Headers for a call that it makes, of what sinks know; most often none."""

    def luggage(self) -> Luggage:
        """The same for a worker process."""

    def cleanup(self) -> AbstractContextManager[Any]:
        """A shielded scope that ends when the node's cleanup is cut."""

    def save_partial(self, value: Any) -> None:
        """Keep a value as the node's partial value."""

    def cleanup_overran(self) -> None:
        """A cleanup block that the event loop does not know was cut at its end."""

    def thread_abandoned(self, abandoned: int) -> None:
        """The worker thread of this node goes on although the node was cancelled."""

    def thread_ended(self, abandoned: int) -> None:
        """The abandoned worker thread of this node has ended."""

    def signal_sent(self, signal: int, pid: int) -> None:
        """A process of this node, or the group that it leads, was sent a signal."""

    def output_received(self, stream: str, text: str) -> None:
        """The child program of this node wrote something."""
