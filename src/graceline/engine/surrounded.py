"""What a definition may hold that knows more of the engine than a function of an input does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, cast

from graceline.definitions import Command
from graceline.work import Bound

__all__ = ["StandIn", "Surrounded"]


class Surrounded:
    """A node's function that has something done around its work, in the event loop.

    What runs elsewhere, in a worker thread for instance, could do nothing there that a cancel
    reaches. It is asked once, when its pipeline is compiled.
    """

    @property
    def inner(self) -> Callable[[Any], Any] | Command:
        """What the node runs, without what is done around it."""
        return cast("Callable[[Any], Any]", self)

    def around(self, work: Bound) -> Bound:
        """What is awaited in place of `work`, which is this function, bound."""
        return work


class StandIn(ABC):
    """A part's fallback that is called with what became of the part, instead of with its input."""

    @abstractmethod
    def __call__(self, outcome: Any) -> Any:
        """What dependents get."""
