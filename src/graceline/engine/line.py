"""The way into an event loop from other threads: they ask, the loop answers, nobody locks.

Whatever a thread wants is a job in Trio's own queue, which is first in, first out; the answer comes
through a `SimpleQueue` that this thread alone reads. An interrupt may hit a waiting thread between
any two instructions: it leaves nothing held, and a cancel that is posted afterwards always comes
after the submission that it is for. All state belongs to the loop.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import outcome
import trio

from graceline.errors import GracelineError

__all__ = ["EngineClosedError", "Flag", "Line", "see_out"]

T = TypeVar("T")


class EngineClosedError(GracelineError):
    """The engine, or the event loop in which it ran, has ended."""

    def __init__(self) -> None:
        super().__init__("the engine is closed; use it before its block ends")


class Flag:
    """Is set once, and awaited by any number of threads; an interrupted wait holds nothing."""

    __slots__ = ("_waiters", "is_set")

    def __init__(self) -> None:
        self._waiters: dict[SimpleQueue[None], None] = {}
        self.is_set: bool = False

    def set(self) -> None:
        """Wake all who wait."""
        self.is_set = True  # first: who registers after the copy below sees it
        for waiter in list(self._waiters):
            waiter.put(None)

    def wait(self, seconds: float = inf) -> bool:
        """Block until it is set, or for some seconds; returns whether it is set."""
        waiter: SimpleQueue[None] = SimpleQueue()
        self._waiters[waiter] = None
        try:
            if not self.is_set:
                patience = None if seconds == inf else min(seconds, threading.TIMEOUT_MAX)
                with suppress(Empty):
                    waiter.get(timeout=patience)
        finally:
            self._waiters.pop(waiter, None)
        return self.is_set


def see_out(steps: Iterable[Callable[[], object]], wait: Callable[[], object]) -> None:
    """After an interrupt: take a step and wait; each further interrupt goes on to the next step."""
    for step in steps:
        try:
            step()
            wait()
        except EngineClosedError:
            return
        except BaseException:  # noqa: BLE001, S112 - the first interrupt is raised by the caller
            continue
        return


class Line:
    """The way into one event loop from other threads; made in the loop."""

    __slots__ = ("_cut", "_process", "_thread", "_token", "_waiting")

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()
        self._process = os.getpid()
        self._waiting: dict[object, Callable[[], object]] = {}
        self._cut = False

    def check(self) -> None:
        """Refuse the loop's own thread, which would wait for itself, and a forked process."""
        if os.getpid() != self._process:
            raise GracelineError(
                "this engine belongs to the process that opened it; open another after the fork"
            )
        if threading.get_ident() == self._thread:
            raise GracelineError(
                "this call blocks, and this is the thread of the event loop, which would wait for "
                "itself; use the async methods of the engine here"
            )

    def post(self, job: Callable[[], object]) -> None:
        """Have the loop call `job`, which must not raise, and do not wait for it.

        Raises:
            EngineClosedError: if the loop has ended.
        """
        if self._cut:
            raise EngineClosedError
        try:
            self._token.run_sync_soon(job)
        except (trio.RunFinishedError, OSError):  # OSError: Trio crashed and closed its socket
            raise EngineClosedError from None

    def ask(self, function: Callable[..., T], *args: Any) -> T:
        """Call a plain function in the loop, in this thread's context; its value or its error."""
        return self.outcome_of(function, *args).unwrap()

    def outcome_of(self, function: Callable[..., T], *args: Any) -> outcome.Outcome[T]:
        """As `ask`, with the function's error in the outcome: what this raises is the line's."""
        box: SimpleQueue[outcome.Outcome[T]] = SimpleQueue()
        context = copy_context()

        def job() -> None:
            box.put(outcome.capture(partial(context.run, function, *args)))

        return self._exchange(job, box)

    def outcome_of_task(
        self, function: Callable[..., Awaitable[T]], *args: Any
    ) -> outcome.Outcome[T]:
        """As `outcome_of`, for an async function; it goes on if this thread is interrupted."""
        box: SimpleQueue[outcome.Outcome[T]] = SimpleQueue()

        async def task() -> None:
            ended = await outcome.acapture(function, *args)
            error = ended.error if isinstance(ended, outcome.Error) else None
            if isinstance(error, trio.Cancelled | GeneratorExit):
                ended = outcome.Error(EngineClosedError())  # only the end of the loop does that
            box.put(ended)

        def job() -> None:
            try:
                trio.lowlevel.spawn_system_task(task)
            except RuntimeError:  # the loop is about to end
                box.put(outcome.Error(EngineClosedError()))

        return self._exchange(job, box)

    def _exchange(
        self, job: Callable[[], object], box: SimpleQueue[outcome.Outcome[T]]
    ) -> outcome.Outcome[T]:
        self.check()
        self.expect(box, lambda: box.put(outcome.Error(EngineClosedError())))
        try:
            self.post(job)
            return box.get()
        finally:
            self.met(box)

    def expect(self, key: object, wake: Callable[[], object]) -> None:
        """Somebody waits for the loop: call `wake` if it ends without having answered."""
        self._waiting[key] = wake

    def met(self, key: object) -> None:
        """Nobody waits for this any more."""
        self._waiting.pop(key, None)

    def cut(self) -> None:
        """The loop has ended, in order or not: nobody waits for it for ever."""
        self._cut = True
        for wake in list(self._waiting.values()):
            wake()
