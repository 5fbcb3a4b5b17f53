"""A bulkhead at work: how many attempts run at once, and who waits for a slot."""

from __future__ import annotations

from math import inf

import trio

from graceline.definitions import Bulkhead
from graceline.values import frozen

__all__ = ["BulkheadHealth", "Slots"]


@frozen
class BulkheadHealth:
    """A bulkhead at one moment.

    Attributes:
        name: its name.
        slots: how many attempts may run at once.
        active: how many do.
        queued: how many wait for a slot.
    """

    name: str
    slots: int
    active: int
    queued: int


class Slots:
    """A bulkhead at work: slots, and a queue in front of them, first in first out."""

    def __init__(self, policy: Bulkhead, name: str) -> None:
        self.policy: Bulkhead = policy
        self.name: str = name
        self._semaphore = trio.Semaphore(policy.slots, max_value=policy.slots)

    def is_saturated(self) -> bool:
        """Whether all slots are taken."""
        return self._semaphore.value == 0

    def is_full(self) -> bool:
        """Whether there is neither a slot nor a place in the queue."""
        most = inf if self.policy.max_queue is None else self.policy.max_queue
        return self.is_saturated() and self._semaphore.statistics().tasks_waiting >= most

    def try_take(self) -> bool:
        """Take a slot if one is free; nobody can be waiting then."""
        try:
            self._semaphore.acquire_nowait()
        except trio.WouldBlock:
            return False
        return True

    async def take(self) -> None:
        """Wait for a slot.

        Raises:
            Cancelled: if the node is cancelled meanwhile; no slot is taken then.
        """
        await self._semaphore.acquire()

    def give_back(self) -> None:
        """Give a slot back: the first in the queue gets it."""
        self._semaphore.release()

    def health(self) -> BulkheadHealth:
        """How many have a slot and how many wait."""
        queued = self._semaphore.statistics().tasks_waiting
        slots = self.policy.slots
        return BulkheadHealth(self.name, slots, slots - self._semaphore.value, queued)
