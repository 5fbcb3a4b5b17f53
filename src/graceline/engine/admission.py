"""Admission: slots for runs, and a bounded queue in front of them, first in first out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from graceline.engine.state import RunState

__all__ = ["Admission", "Waiter"]


class Waiter:
    """A place in the queue."""

    __slots__ = ("event", "granted", "scope")

    def __init__(self, deadline: float) -> None:
        self.event: trio.Event = trio.Event()
        self.scope: trio.CancelScope = trio.CancelScope(deadline=deadline)
        self.granted: bool = False


class Admission:
    """Slots and queue of one engine.

    Args:
        slots: how many runs may be active, `inf` for any number.
        max_queue: how many may wait, `inf` for any number.
    """

    def __init__(self, slots: float, max_queue: float) -> None:
        self.slots: float = slots
        self.max_queue: float = max_queue
        self.active: int = 0
        self._queue: dict[RunState, Waiter] = {}

    @property
    def queued(self) -> int:
        """How many runs wait for a slot."""
        return len(self._queue)

    def try_enter(self) -> bool:
        """Take a slot if one is free; nobody can be waiting then."""
        if self.active < self.slots:
            self.active += 1
            return True
        return False

    def join(self, run: RunState) -> bool:
        """Take a place at the end of the queue; returns False if it is full."""
        if len(self._queue) >= self.max_queue:
            return False
        run.waiter = self._queue[run] = Waiter(run.root.fired())
        return True

    @trio.lowlevel.enable_ki_protection
    async def wait(self, run: RunState) -> bool:
        """Wait for a slot until the run fires; returns whether there is one.

        A slot may have come already, between joining the queue and this.

        Raises:
            Cancelled: if the caller was cancelled; a slot that came at the same time is given back.
        """
        waiter = run.waiter
        assert waiter is not None  # noqa: S101 - it joined the queue
        try:
            with waiter.scope:
                await waiter.event.wait()
        except BaseException:
            if waiter.granted:
                self.leave()
            raise
        finally:
            run.waiter = None
            self._queue.pop(run, None)
        return waiter.granted

    def leave(self) -> None:
        """Give a slot back: the first in the queue gets it."""
        if self._queue:
            waiter = self._queue.pop(next(iter(self._queue)))
            waiter.granted = True
            waiter.event.set()
        else:
            self.active -= 1
