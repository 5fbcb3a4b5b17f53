"""Timer scopes under one lock: opened, left, cancelled, cut.

Three rules keep it small:

- What a scope came to is decided once, under the lock, and by time alone. Whoever comes first (the
  timer thread, the thread that leaves the scope, one that cancels it) reads the clock and finds the
  same answer.
- Handlers run after the lock is released, in the thread that decided.
- A scope that is cut takes all below it along. So nothing above an open scope was cancelled, and
  what `Level.cause` would find by walking up is known when the scope opens: the earliest deadline
  above it, ties to the outermost. Ten thousand scopes in each other need no walk.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from math import inf
from traceback import extract_tb
from typing import Any, TypeAlias

from graceline.deadlines import (
    Blame,
    DeadlineStatus,
    Kind,
    Level,
    Limit,
    blame_failure,
    blame_level,
)
from graceline.errors import GracelineError
from graceline.saying import say
from graceline.timers.alarm import Alarm

__all__ = ["CURRENT", "Handlers", "Timer", "Timers", "innermost"]

_log = logging.getLogger("graceline.timers")


Handlers: TypeAlias = tuple[Callable[[Any], Any], ...]
"""What runs when a scope is cut."""


class Timer(Level):
    """One scope as the tree sees it; only `remaining` and `look` need no lock.

    Attributes:
        bound: the level whose deadline cuts this one: the earliest, ties to the outermost.
        culprit: the level that did cut it, or would cut a child that is opened too late.
        outer: the innermost scope of the context before this one, of any tree.
        left: whether its `with` block has ended.
        queued: whether its entry in the heap counts.
    """

    __slots__ = (
        "blame", "bound", "children", "context", "culprit", "ended_at", "event", "handlers",
        "left", "outer", "queued", "secondary", "status", "tree",
    )  # fmt: skip
    parent: Timer | None

    def __init__(
        self, tree: Timers, limit: Limit, parent: Timer | None, outer: Timer | None, now: float
    ) -> None:
        super().__init__(limit, parent, now)
        self.tree: Timers = tree
        self.outer: Timer | None = outer
        above = None if parent is None else parent.bound
        self.bound: Level = self if above is None or self.deadline < above.deadline else above
        self.children: dict[Timer, None] = {}
        self.handlers: Handlers = ()
        self.context: Context | None = None
        self.status: DeadlineStatus = DeadlineStatus.ACTIVE
        self.blame: Blame | None = None
        self.culprit: Level | None = None
        self.ended_at: float = inf
        self.event: threading.Event | None = None
        self.secondary: tuple[BaseException, ...] = ()
        self.queued: bool = False
        self.left: bool = False

    def remaining(self) -> float:
        """Seconds until the scope is cut, 0 if it has ended."""
        if self.status is not DeadlineStatus.ACTIVE:
            return 0.0
        return max(0.0, self.bound.deadline - self.tree.clock())

    def look(self) -> tuple[DeadlineStatus, Blame | None]:
        """Status and blame by the clock, even if nobody has settled them yet."""
        if self.status is DeadlineStatus.ACTIVE and self.bound.deadline <= self.tree.clock():
            # Again under the lock: a thread that leaves may have read the clock in time.
            with self.tree.lock:
                if self.status is DeadlineStatus.ACTIVE:
                    return DeadlineStatus.TIMED_OUT, blame_level(self.bound, self.tree.clock())
        return self.status, self.blame


CURRENT: ContextVar[Timer | None] = ContextVar("graceline_timer", default=None)


def innermost(tree: Timers | None = None) -> Timer | None:
    """The innermost scope of this context that was not left, of one tree or of any."""
    timer = CURRENT.get()
    while timer is not None and (timer.left or (tree is not None and timer.tree is not tree)):
        timer = timer.outer
    return timer


class Timers:
    """The scopes of one tree: what opens, leaves and cuts them.

    Args:
        clock: gives seconds that never go back.
        threaded: whether a thread waits for the deadlines.
        show: makes what handlers get of a scope.
    """

    def __init__(
        self, clock: Callable[[], float], show: Callable[[Timer], Any], *, threaded: bool
    ) -> None:
        self.clock = clock
        self.show = show
        self.threaded = threaded
        self.alarm: Alarm = Alarm(clock, self.tick, threaded)
        self.lock: threading.Condition = self.alarm.lock
        self.roots: dict[Timer, None] = {}
        self.closed: bool = False

    def open(self, limit: Limit, handlers: Handlers, parent: Timer | None) -> Timer:
        """Open a scope; one that is due or comes too late is cut before its block begins."""
        parent = parent or innermost(self)
        cut: list[Timer] = []
        with self.lock:
            if self.closed:
                raise GracelineError(
                    f"deadline {limit.name!r} cannot be opened: the tree is closed; open it within "
                    "the block of `with TimerTree()`"
                )
            now = self.clock()
            timer = Timer(self, limit, parent, innermost(), now)
            if handlers:
                timer.handlers = handlers
                timer.context = copy_context()
                timer.context.run(CURRENT.set, None)
            culprit = timer.bound if timer.bound.deadline <= now else None
            if parent is not None and parent.status is not DeadlineStatus.ACTIVE:
                culprit = self.culprit(parent)
            if culprit is not None:
                cut = self.cut(timer, culprit, now)
            else:
                if timer.bound is timer and timer.deadline != inf:
                    self.alarm.add(timer.deadline, timer)
                (self.roots if parent is None else parent.children)[timer] = None
        self.run_handlers(cut)
        return timer

    def leave(self, timer: Timer) -> None:
        """The block of a scope has ended: settle it, and end what is still open below it."""
        cut: list[Timer] = []
        with self.lock:
            timer.left = True
            if timer.status is DeadlineStatus.ACTIVE:
                now = self.clock()
                if timer.bound.deadline <= now:
                    cut = self.cut(timer, timer.bound, now)
                else:
                    self.end(timer, DeadlineStatus.OK, now)
                    if timer.children:
                        culprit = self.culprit(timer)
                        for child in reversed(list(timer.children)):
                            cut += self.cut(child, culprit, now)
        self.run_handlers(cut)

    def cancel(self, timer: Timer, kind: Kind, reason: str) -> bool:
        """Cancel a scope; False if it has ended, or if its deadline was first."""
        with self.lock:
            if timer.status is not DeadlineStatus.ACTIVE:
                return False
            cut = self.strike(timer, kind, reason, self.clock())
        self.run_handlers(cut)
        return timer.reason is not None

    def tick(self) -> int:
        """Cut what is due; returns the number of scopes."""
        cut: list[Timer] = []
        with self.lock:
            now = self.clock()
            while (timer := self.alarm.pop_due(now)) is not None:
                cut += self.cut(timer, timer.bound, now)
        self.run_handlers(cut)
        return len(cut)

    def close(self) -> None:
        """Refuse new scopes, cancel the open ones, end the thread."""
        cut: list[Timer] = []
        with self.lock:
            self.closed = True
            for timer in reversed(list(self.roots)):
                cut += self.strike(timer, Kind.SHUTDOWN, "the tree was closed", self.clock())
        try:
            self.run_handlers(cut)
        finally:
            self.alarm.stop()

    def strike(self, timer: Timer, kind: Kind, reason: str, now: float) -> list[Timer]:
        """Cancel an open scope, unless a deadline has passed that nobody has noticed yet."""
        if timer.bound.deadline <= now:
            return self.cut(timer, timer.bound, now)
        timer.cancel(now, blame_failure(timer, now, kind, reason))
        return self.cut(timer, timer, now)

    def culprit(self, timer: Timer) -> Level:
        """The level that cuts what is open, or opened, below a scope that has ended."""
        if timer.culprit is None:
            at = timer.ended_at
            reason = f"timer {timer.limit.name!r} was left, and with it all below it"
            timer.cancel(at, blame_failure(timer, at, Kind.CALLER, reason))
            timer.culprit = timer
        return timer.culprit

    def cut(self, top: Timer, culprit: Level, now: float) -> list[Timer]:
        """Settle an open scope and all below it; returns them, innermost and latest first."""
        found: list[Timer] = []
        waiting: list[tuple[Timer, Level, Blame | None]] = [(top, culprit, None)]
        while waiting:
            timer, level, blame = waiting.pop()
            if timer.status is not DeadlineStatus.ACTIVE:  # a finalizer closed it just now
                continue
            # The earliest instant is to blame, ties to the outermost, as in `Level.cause`.
            if timer.bound.deadline < level.own():
                level, blame = timer.bound, None
            blame = blame or blame_level(level, now)
            timer.culprit, timer.blame = level, blame
            by_limit = blame.kind is Kind.TIMEOUT
            self.end(timer, DeadlineStatus.TIMED_OUT if by_limit else DeadlineStatus.CANCELLED, now)
            found.append(timer)
            waiting += [(child, level, blame) for child in reversed(list(timer.children))]
        found.reverse()
        return found

    def end(self, timer: Timer, status: DeadlineStatus, now: float) -> None:
        """Take a scope out of the tree, and wake those who wait for it."""
        timer.status = status
        timer.ended_at = now
        self.alarm.drop(timer)
        (self.roots if timer.parent is None else timer.parent.children).pop(timer, None)
        if timer.event is not None:
            timer.event.set()

    def run_handlers(self, cut: list[Timer]) -> None:
        """Run the handlers of scopes that were cut; called without the lock.

        What is no plain `Exception`, such as `KeyboardInterrupt`, is raised after the last handler,
        but not in the timer thread, which everybody else still needs.
        """
        urgent: BaseException | None = None
        for timer in cut:
            for handler in timer.handlers:
                assert timer.context is not None  # noqa: S101 - made where there are handlers
                try:
                    timer.context.run(handler, self.show(timer))
                except BaseException as error:  # noqa: BLE001 - attached to the scope
                    timer.secondary += (error,)
                    _report(timer.limit.name, error)
                    if urgent is None and not isinstance(error, Exception):
                        urgent = error
        if urgent is not None and not self.alarm.is_current():
            raise urgent


def _report(timer: str, error: BaseException) -> None:
    """Log what a handler raised by its class and place: its text may be somebody's data."""
    kind, frames = type(error).__name__, extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}"
    say(
        _log, logging.ERROR, "timer_handler_raised",
        "a handler of timer %r raised %s at %s", timer, kind, where, timer=timer, error_type=kind,
    )  # fmt: skip
