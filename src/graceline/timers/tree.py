"""Levels of deadlines for plain threads: the same tree and the same blame, without Trio.

Nothing can stop a thread from outside. A scope only tells: its status changes, its handlers run,
and work that looks at `expired` or `remaining()`, or waits in `wait()`, can end by itself.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from contextvars import Token
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any

from graceline.deadlines import Blame, DeadlineStatus, Kind, Limit, Source
from graceline.definitions.checks import (
    as_callables,
    brief,
    check_flag,
    check_name,
    is_async,
)
from graceline.durations import Duration, parse_duration
from graceline.errors import DefinitionError, GracelineError
from graceline.timers.scopes import (
    CURRENT,
    Handlers,
    Timer,
    Timers,
    innermost,
)
from graceline.values import define, frozen

if TYPE_CHECKING:
    from typing import Self

__all__ = ["TimerScope", "TimerTree"]


@frozen(repr=False)
class TimerScope:
    """One open deadline of a tree; made by `with tree.deadline(...) as scope`.

    It tells, and stops nothing. It may be read, waited for and cancelled in any thread, also after
    it was left.
    """

    _timer: Timer

    def __repr__(self) -> str:
        return f"<TimerScope {self.name!r} {self.status}>"

    @property
    def name(self) -> str:
        """The name it was given; other scopes may have the same."""
        return self._timer.limit.name

    @property
    def parent(self) -> TimerScope | None:
        """The scope above it; None for one directly under the tree."""
        above = self._timer.parent
        return None if above is None else TimerScope(above)

    @property
    def status(self) -> DeadlineStatus:
        """What it came to, by the clock; final once it is not `active`."""
        return self._timer.look()[0]

    @property
    def expired(self) -> bool:
        """Whether the work should stop: the scope timed out or was cancelled."""
        return self.status in {DeadlineStatus.TIMED_OUT, DeadlineStatus.CANCELLED}

    @property
    def blame(self) -> Blame | None:
        """The one level to blame, called `timer` there; None while `active`, and if `ok`."""
        return self._timer.look()[1]

    @property
    def secondary(self) -> tuple[BaseException, ...]:
        """What its handlers raised so far."""
        return self._timer.secondary

    def remaining(self) -> float:
        """Seconds until the scope is cut, whoever's deadline that is; 0 once it has ended."""
        return self._timer.remaining()

    def wait(self, timeout: Duration | None = None) -> bool:
        """Block this thread until the scope is cut or left; returns `expired`.

        Args:
            timeout: real seconds after which it returns anyway; None waits on.

        Raises:
            DefinitionError: `timeout` is not a duration.
        """
        timer = self._timer
        seconds = inf if timeout is None else parse_duration(timeout, "wait(timeout=)")
        until = time.monotonic() + seconds
        with timer.tree.lock:
            if timer.status is not DeadlineStatus.ACTIVE:
                return self.expired
            event = timer.event = timer.event or threading.Event()
        while True:
            left = until - time.monotonic()
            if timer.tree.threaded:
                # A handler may hold up the timer thread; this scope does not wait for that.
                left = min(left, timer.remaining())
            if left <= 0 or event.wait(None if left == inf else min(left, threading.TIMEOUT_MAX)):
                return self.expired

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cut this scope and all below it; returns whether this is what ended it.

        The handlers run in this thread, before it returns.

        Args:
            reason: for the blame.

        Raises:
            DefinitionError: `reason` is not a string.
        """
        if not isinstance(reason, str):
            raise DefinitionError(f"cancel(): the reason must be a sentence, not {reason!r}")
        return self._timer.tree.cancel(self._timer, Kind.USER, reason)


@define(eq=False)
class _Block(AbstractContextManager[TimerScope, None]):
    """What `tree.deadline` returns; the clock starts when it is entered."""

    tree: Timers
    limit: Limit
    handlers: Handlers
    parent: Timer | None
    timer: Timer | None = None
    token: Token[Timer | None] | None = None

    def __enter__(self) -> TimerScope:
        if self.timer is not None:
            raise GracelineError(
                f"deadline {self.limit.name!r} was entered twice; call tree.deadline() for every "
                "with block (the name may be the same)"
            )
        self.timer = self.tree.open(self.limit, self.handlers, self.parent)
        self.token = CURRENT.set(self.timer)
        return TimerScope(self.timer)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self.timer is not None  # noqa: S101 - it was entered
        assert self.token is not None  # noqa: S101
        # A generator may be closed in another context than its own. There the variable keeps the
        # scope, which is skipped from now on because it was left.
        with contextlib.suppress(ValueError):
            CURRENT.reset(self.token)
        self.tree.leave(self.timer)


class TimerTree:
    """Deadlines within deadlines for plain threads, kept by one timer thread.

    A child never outlives its parent: when a scope is cut or left, all below it end with it, in
    whatever thread they are. Threads themselves cannot be stopped: work has to look at
    `scope.expired`, or wait in `scope.wait()`, or have a handler that closes what it hangs on.

    All methods are thread-safe. The thread is started at the first deadline and ends when the tree
    is closed. It never keeps the interpreter from ending.

    Args:
        clock: gives seconds that never go back, and pass as real ones do if there is a thread.
        thread: False for tests: nothing fires until `tick()` is called or a scope is left.

    Raises:
        DefinitionError: `clock` cannot be called, or `thread` is not a bool.
    """

    __slots__ = ("_timers",)

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, thread: bool = True) -> None:
        if not callable(clock):
            raise DefinitionError(
                f"TimerTree: clock= must be a function that gives seconds, not {brief(clock)}"
            )
        threaded = check_flag(thread, "TimerTree: thread=")
        self._timers = Timers(clock, TimerScope, threaded=threaded)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def deadline(
        self,
        name: str,
        timeout: Duration,
        *,
        on_timeout: Callable[[TimerScope], Any]
        | Iterable[Callable[[TimerScope], Any]]
        | None = None,
        parent: TimerScope | None = None,
    ) -> AbstractContextManager[TimerScope, None]:
        """Open a scope that is cut after `timeout`: `with tree.deadline("request", "2s") as scope`.

        Args:
            name: for blames and logs; need not be unique.
            timeout: seconds from the entry of the block; 0 is cut before the block begins, and
                `math.inf` lasts as long as what is above it.
            on_timeout: functions of the scope, each called once if the scope is cut, whatever cut
                it; `scope.status` tells. Those of inner scopes come first. They run without any
                lock in the thread that noticed, mostly the timer thread, so they should be short.
                They see the context variables of the code that opened the scope, but a deadline
                that they open stands by itself. What they raise is logged, and kept in
                `scope.secondary`.
            parent: the scope above; by default the innermost one of this tree that is open in this
                thread. A scope below one that has ended is cut before its block begins.

        Raises:
            DefinitionError: the name is empty, `timeout` is not a duration, a handler is async or
                does not take one argument, `parent` is not a scope of this tree.
            GracelineError: on entering, if the tree is closed, or the block is entered twice.
            RuntimeError: on entering, if the timer thread cannot be started.
        """
        check_name(name, "a deadline")
        what = f"deadline {name!r}"
        limit = Limit("timer", name, parse_duration(timeout, what), source=Source.CALL, stated=True)
        handlers: Handlers
        if inspect.isbuiltin(on_timeout):
            handlers = (on_timeout,)  # its signature, if it has one, is text: too slow to parse
        else:
            handlers = as_callables(on_timeout, f"{what}, on_timeout=")
        for handler in handlers:
            if is_async(handler):
                raise DefinitionError(
                    f"{what}, on_timeout=: {brief(handler)} is async, and the timer thread has no "
                    "event loop; pass a plain function"
                )
        above = None
        if parent is not None:
            above = getattr(parent, "_timer", None)
            if above is None or above.tree is not self._timers:
                raise DefinitionError(
                    f"{what}: parent= must be an open scope of the same tree, what `with "
                    f"tree.deadline(...) as scope` gave, not {brief(parent)}"
                )
        return _Block(self._timers, limit, handlers, above)

    def current(self) -> TimerScope | None:
        """The innermost scope of this tree that is open in this thread; None if there is none."""
        timer = innermost(self._timers)
        return None if timer is None else TimerScope(timer)

    def tick(self) -> int:
        """Cut what is due by the clock and run the handlers, in this thread; for tests.

        Returns:
            The number of scopes that were cut.
        """
        return self._timers.tick()

    def close(self) -> None:
        """Cancel the open scopes, refuse new ones, and wait for the timer thread to end.

        So the handlers of the open scopes, and those that the timer thread had begun, have run when
        it returns. Called in a handler, it does not wait for its own thread.
        """
        self._timers.close()
