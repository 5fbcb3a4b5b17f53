"""A node's function with something done around its work, such as the disturbances of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from graceline.definitions import Command
from graceline.work import Bound

__all__ = ["Surrounded"]


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
