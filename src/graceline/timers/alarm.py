"""The heap of deadlines of a `TimerTree`, and the one thread that sleeps until the earliest.

The entry of a scope that ends early stays in the heap until it comes to the top, or until more than
half of the entries are such leftovers; Trio's deadlines do the same. The thread is woken only for a
deadline earlier than the one it sleeps for, so scopes that end in time cost it next to nothing.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any, TypeAlias
from weakref import WeakSet

import attrs

from graceline.values import define

__all__ = ["Alarm", "Timer"]

Timer: TypeAlias = Any
"""A scope; what counts here is its attribute `queued`."""

_LEFTOVERS = 1000
"""Leftovers below this number are not worth a pass over the heap; Trio's threshold."""

_EXIT_PATIENCE = 1.0
"""Seconds that the end of the interpreter waits for a handler that runs at that moment."""

_ALARMS: WeakSet[Alarm] = WeakSet()
_held: list[Alarm] = []


def _hold_all() -> None:
    """Before a fork: no other thread may hold a lock that nobody would release in the child."""
    _held[:] = _ALARMS
    for alarm in _held:
        alarm.lock.acquire()


def _release_all() -> None:
    while _held:
        _held.pop().lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_all, after_in_parent=_release_all, after_in_child=_release_all)


@define(eq=False)
class Alarm:
    """The deadlines of one tree, and their thread; all but `stop` is called with the lock held.

    Attributes:
        clock: gives the seconds that deadlines are compared with.
        fire: called by the thread, without the lock, when a deadline has passed.
        threaded: whether there is to be a thread.
        lock: guards the heap and all that belongs to the tree. It may be taken again by its holder,
            because a signal handler or a finalizer may close a scope at any point.
    """

    clock: Callable[[], float]
    fire: Callable[[], object]
    threaded: bool
    lock: threading.Condition = attrs.field(factory=threading.Condition, init=False)
    _heap: list[tuple[float, int, Timer]] = attrs.field(factory=list, init=False)
    _serial: Iterator[int] = attrs.field(factory=itertools.count, init=False)
    _live: int = attrs.field(default=0, init=False)
    _thread: threading.Thread | None = attrs.field(default=None, init=False)
    _sleeps_until: float = attrs.field(default=-inf, init=False)
    _stopped: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        _ALARMS.add(self)

    def add(self, deadline: float, timer: Timer) -> None:
        """Wait for a deadline, in absolute seconds; starts the thread at first need."""
        if self.threaded and not self._stopped:
            self._ensure_thread()
        heappush(self._heap, (deadline, next(self._serial), timer))
        timer.queued = True
        self._live += 1
        if deadline < self._sleeps_until:
            self._sleeps_until = deadline
            self.lock.notify_all()

    def drop(self, timer: Timer) -> None:
        """Forget a deadline, if it is waited for."""
        self._live -= timer.queued
        timer.queued = False
        if len(self._heap) > 2 * self._live + _LEFTOVERS:
            self._heap = [entry for entry in self._heap if entry[2].queued]
            heapify(self._heap)

    def pop_due(self, now: float) -> Timer | None:
        """Take out the earliest deadline that has passed; None if there is none."""
        if self.earliest() > now:
            return None
        timer = heappop(self._heap)[2]
        timer.queued = False
        self._live -= 1
        return timer

    def earliest(self) -> float:
        """The earliest deadline that is waited for; `inf` if there is none."""
        while self._heap and not self._heap[0][2].queued:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    def is_current(self) -> bool:
        """Whether this code runs in the timer thread."""
        return threading.current_thread() is self._thread

    def stop(self, patience: float | None = None) -> None:
        """End the thread and wait for it, unless this is it; called without the lock.

        Args:
            patience: seconds to wait for a handler that runs; None waits for its end.
        """
        with self.lock:
            self._stopped = True
            self.lock.notify_all()
            thread = self._thread
        if thread is not None:
            atexit.unregister(self._stop_at_exit)
            if not self.is_current():
                thread.join(patience)

    def _ensure_thread(self) -> None:
        # A thread does not survive a fork: the child process gets one of its own.
        if self._thread is not None and self._thread.is_alive():
            return
        thread = threading.Thread(target=self._work, name="graceline-timers", daemon=True)
        self._sleeps_until = -inf
        thread.start()
        if self._thread is None:
            # The interpreter ends daemon threads wherever they are, even while they hold a lock
            # that the finalizers of a late `with` block would wait for.
            atexit.register(self._stop_at_exit)
        self._thread = thread

    def _stop_at_exit(self) -> None:
        self.stop(_EXIT_PATIENCE)

    def _work(self) -> None:
        while self._sleep():
            self.fire()

    def _sleep(self) -> bool:
        """Sleep until there is something to look at; False if the thread is to end."""
        with self.lock:
            while not self._stopped:
                now = self.clock()
                # A leftover on top is good to sleep for: what comes after it need not wake anybody.
                until = self._heap[0][0] if self._heap else inf
                if until <= now:
                    self._sleeps_until = -inf
                    return True
                self._sleeps_until = until
                self.lock.wait(None if until == inf else min(until - now, threading.TIMEOUT_MAX))
            return False
