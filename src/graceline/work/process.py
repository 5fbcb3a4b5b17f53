"""Work that runs in a worker process: a plain function, ended when its node is cancelled.

The workers are trio-parallel's, one context for each, since a context tells nobody which of its
workers does a job. A worker leads a process group, which the guard knows before its first job.

On a cancel the worker gets SIGTERM, which `work.job` raises inside the job. What has not ended at
`hard` is killed, with everything in its group. A job that ends in time leaves its worker warm,
unless it has left processes or threads behind.

Every call has a task of its own, outside of the node's scopes: so a node that is cancelled can wait
for the end of its job, and one that waits for a cold worker can leave it to the next one.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from importlib import import_module
from itertools import count
from math import inf
from types import ModuleType
from typing import Any

import outcome
import trio

from graceline.errors import DefinitionError, GracelineError, WorkerDiedError
from graceline.saying import say
from graceline.work import groups
from graceline.work.base import Bound, WorkContext
from graceline.work.channel import Board
from graceline.work.guard import Guard
from graceline.work.job import Reply, introduce, open_worker, perform
from graceline.work.luggage import pack_luggage
from graceline.work.parcels import pack_call, reason, unpack

__all__ = ["ProcessPool"]

_log = logging.getLogger("graceline.work")

_START = 60.0  # seconds after which a worker that has not started is given up
_CLOSE = 1.0  # seconds that idle workers have to end when the engine is closed
_UNWIND = 0.1  # seconds that a job has to end after its cleanup block was cut at `hard`


class _Free:
    """In place of trio-parallel's limiter: the pool has counted already."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


_FREE = _Free()


class _Job:
    """One call of a worker.

    Attributes:
        number: what the board knows it by.
        done: set when it has ended in any way.
        ending: how it ended.
        killed: the engine has ended it.
        overdue: it had not ended at `hard`, which the engine has reported.
    """

    __slots__ = ("done", "ending", "killed", "number", "overdue")

    def __init__(self, number: int) -> None:
        self.number: int = number
        self.done: trio.Event = trio.Event()
        self.ending: outcome.Outcome[tuple[Any, ...]] | None = None
        self.killed: bool = False
        self.overdue: bool = False


class _Worker:
    """One worker process, from its start to its end."""

    def __init__(self, guard: Guard, library: ModuleType) -> None:
        self.board: Board = Board.create()
        self.ready: trio.Event = trio.Event()
        self.failure: WorkerDiedError | None = None
        self.warm: bool = False
        self.pid: int = 0
        self._guard = guard
        self.broken: type[RuntimeError] = library.BrokenWorkerError
        self._starting = trio.CancelScope()
        self._manager: AbstractAsyncContextManager[Any] = library.open_worker_context(
            idle_timeout=inf, init=partial(open_worker, self.board.path), grace_period=_CLOSE
        )
        self._context: Any = None

    async def start(self) -> None:
        """Start the process and wait until it can do a job; sets `failure` if it cannot."""
        self._starting.deadline = trio.current_time() + _START
        try:
            with self._starting:
                await self._guard.start()
                self._context = await self._manager.__aenter__()
                self.pid = await self._context.run_sync(introduce, cancellable=True, limiter=_FREE)
                self._guard.add(self.pid)
        except Exception as error:  # noqa: BLE001 - for the node that waits for it
            if isinstance(error, self.broken):
                self.failure = _died("a worker process ended before its first job", error)
                self.failure.add_note(
                    "See what it has written. It imports the program's main module, which has to "
                    "start things under `if __name__ == '__main__':` only."
                )
            else:  # its text only: the error would keep the pipes of the failed start open
                self.failure = WorkerDiedError(
                    f"a worker process could not be started: {reason(error)}"
                )
        if not self.pid and self.failure is None:
            self.failure = WorkerDiedError(f"a worker process did not start within {_START:g} s")
        self.board.seal()
        self.ready.set()

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return not groups.has_exited(self.pid)

    async def call(self, job: _Job, order: tuple[Any, ...]) -> None:
        """Have a job done; `order` are the fields of an `Order`."""
        run: Callable[..., Awaitable[tuple[Any, ...]]] = self._context.run_sync
        job.ending = await outcome.acapture(partial(run, perform, *order, limiter=_FREE))
        job.done.set()

    def cancel(self, job: _Job, seconds: float) -> None:
        """Raise the cancel inside a job, whose cleanup is cut so many seconds from now."""
        self.board.cancel(job.number, seconds)
        with suppress(ProcessLookupError):  # it has died, and nobody knows yet
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and everything in its group.

        The process itself may have been waited for already, by trio-parallel, a moment ago. An
        empty group has a number that is free; the kernel goes once around before it uses it again.
        """
        groups.send(self.pid, signal.SIGKILL)
        if self.alive:  # a job may have put it into another group
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def aclose(self) -> None:
        """End the process: one that waits for a job ends by itself, or is killed after a moment."""
        self._starting.cancel()
        await self.ready.wait()
        if self._context is not None:
            with suppress(self.broken):  # it had to be killed, or was dead
                await self._manager.__aexit__(None, None, None)
        if self.failure is not None:
            gc.collect()  # a failed start leaves a cycle of objects, with pipes in it
        if self.pid:
            self._guard.discard(self.pid)
        self.board.close()


class ProcessPool:
    """The worker processes of one engine; they are started when first needed, and then kept.

    Args:
        size: functions that run at once.
        guard: kills the workers if this process dies.
    """

    def __init__(self, size: int, guard: Guard) -> None:
        self._limiter = trio.CapacityLimiter(size)
        self._guard = guard
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []  # those that have not started yet come first
        self._numbers = count(1)
        self._draining = self._hired = False

    @property
    def busy(self) -> int:
        """How many functions run, or wait for their worker to start."""
        return self._limiter.borrowed_tokens

    def bind(self, function: Callable[[Any], Any], context: Callable[[], WorkContext]) -> Bound:
        """Bind a plain function; `context` finds the node that is running.

        Raises:
            DefinitionError: if trio-parallel is not installed.
        """
        try:
            library = import_module("trio_parallel")
        except ModuleNotFoundError:
            name = getattr(function, "__name__", function)
            raise DefinitionError(
                f"function {name!r}: runs_on='process' needs trio-parallel: "
                "pip install 'graceline[process]'"
            ) from None
        return partial(self._run, library, function, context)

    def drain(self) -> None:
        """Tell the jobs that polite work should end."""
        self._draining = True
        for worker in self._workers:
            worker.board.drain()

    async def aclose(self) -> None:
        """End the workers."""
        async with trio.open_nursery() as nursery:
            for worker in self._workers:
                nursery.start_soon(worker.aclose)
        self._workers.clear()
        self._idle.clear()
        if self._hired:
            # It keeps some processes that have ended, with their pipes, until it is asked.
            import_module("multiprocessing").active_children()

    # -- one job ------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def _run(
        self,
        library: ModuleType,
        function: Callable[[Any], Any],
        find: Callable[[], WorkContext],
        value: Any,
    ) -> Any:
        context = find()
        token = object()
        try:
            self._limiter.acquire_on_behalf_of_nowait(token)
        except trio.WouldBlock:
            await self._limiter.acquire_on_behalf_of(token)
        try:
            parcel = pack_call(function, value, context.node)
            while True:
                worker = await self._take(library, context.node)
                job = _Job(next(self._numbers))
                trio.lowlevel.spawn_system_task(worker.call, job, _order(context, job, parcel))
                try:
                    await job.done.wait()
                except (trio.Cancelled, KeyboardInterrupt) as error:
                    await self._stop(worker, job, context)
                    reply = await self._settle(worker, job, context)
                    if (
                        reply is None
                        or reply.kind == "cancelled"
                        or not isinstance(error, trio.Cancelled)
                    ):
                        raise
                    return _unpack(reply, context.node)
                reply = await self._settle(worker, job, context)
                if reply is not None:  # else the worker had died before it got the job
                    return _unpack(reply, context.node)
        finally:
            self._limiter.release_on_behalf_of(token)

    async def _take(self, library: ModuleType, node: str) -> _Worker:
        """A worker that waits for a job.

        Raises:
            WorkerDiedError: if one that had to be started did not come to life.
            GracelineError: if there is no room or no descriptor for another one.
        """
        while True:
            worker = self._idle.pop() if self._idle else self._hire(library, node)
            cold = not worker.ready.is_set()
            if cold:
                try:
                    await worker.ready.wait()
                except BaseException:
                    self._idle.insert(0, worker)  # it goes on to start, for the next job
                    raise
            if worker.failure is None and worker.alive:
                return worker
            await self._retire(worker)
            if cold and worker.failure is not None:
                raise worker.failure

    def _hire(self, library: ModuleType, node: str) -> _Worker:
        try:
            worker = _Worker(self._guard, library)
        except OSError as error:
            raise GracelineError(
                f"node {node!r}: no worker process can be started: {error}"
            ) from None
        if self._draining:
            worker.board.drain()
        self._workers.add(worker)
        self._hired = True
        trio.lowlevel.spawn_system_task(worker.start)
        return worker

    async def _retire(self, worker: _Worker) -> None:
        """End a worker that is of no use any more, with what it has left behind."""
        with trio.CancelScope(shield=True):
            if worker.pid:
                worker.kill()
            self._workers.discard(worker)
            await worker.aclose()

    async def _stop(self, worker: _Worker, job: _Job, context: WorkContext) -> None:
        """End a job that is cancelled: it is told, has until `hard`, and is killed then."""
        try:
            with context.cleanup() as block:
                worker.cancel(job, block.deadline - trio.current_time())
                context.signal_sent(signal.SIGTERM, worker.pid)
                await job.done.wait()
            job.overdue = not job.done.is_set()
            if job.overdue and worker.board.shielded:
                # Its cleanup block is cut at this very moment, and the worker may yet stay warm.
                with trio.move_on_after(_UNWIND, shield=True):
                    await job.done.wait()
        finally:
            if not job.done.is_set():
                job.killed = True
                worker.kill()
                context.signal_sent(signal.SIGKILL, worker.pid)
                with trio.CancelScope(shield=True):
                    await job.done.wait()

    async def _settle(self, worker: _Worker, job: _Job, context: WorkContext) -> Reply | None:
        """Keep what a job that has ended left, and its worker, if that is fit for another one.

        Returns:
            How it ended; None if it was killed, or was never begun.

        Raises:
            WorkerDiedError: if the worker ended while it did the job.
            GracelineError: if there is no reply for another reason.
        """
        assert job.ending is not None  # noqa: S101 - it has ended
        ending, job.ending = job.ending, None
        death: GracelineError | None = None
        try:
            reply = Reply(*ending.unwrap())
        except worker.broken as error:
            death = _died(f"the worker process of node {context.node!r} ended", error)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no reply
            death = GracelineError(
                f"node {context.node!r}: its worker process sent no reply ({reason(error)})"
            )
        del ending
        if death is not None:
            unsent = worker.warm and not worker.board.begun(job.number)
            _keep_partial(worker.board, job, context)
            await self._retire(worker)
            if job.killed or (unsent and isinstance(death, WorkerDiedError)):
                return None
            raise death  # out here: trio-parallel's error would keep the worker's pipes open
        worker.warm = True
        if reply.kind != "value":
            _keep_partial(worker.board, job, context)
        if reply.overran and not job.overdue:
            context.cleanup_overran()
        if reply.children or reply.threads:
            await self._retire(worker)
        else:
            self._idle.append(worker)
        return reply


def _order(context: WorkContext, job: _Job, parcel: bytes) -> tuple[Any, ...]:
    """The fields of an `Order`."""
    return job.number, parcel, pack_luggage(context.luggage(), context.node), *context.facts()


def _unpack(reply: Reply, node: str) -> Any:
    if reply.kind == "value":
        return unpack(reply.parcel, f"node {node!r}: its value")
    if reply.kind == "cancelled":
        raise GracelineError(
            f"node {node!r} raised JobCancelled itself: nobody has cancelled it; let a job raise "
            "errors of its own"
        )
    raise unpack(reply.parcel, f"node {node!r}: the exception that it raised")


def _keep_partial(board: Board, job: _Job, context: WorkContext) -> None:
    data = board.partial(job.number)
    board.trim()
    if data is None:
        return
    try:
        context.save_partial(unpack(data, f"node {context.node!r}: its partial value"))
    except GracelineError as error:
        # It must not hide how the node ended. What it says may be somebody's data.
        kind = type(error.__cause__).__name__
        say(
            _log, logging.WARNING, "partial_unreadable",
            "node %r: its partial value cannot be read here: %s", context.node, kind,
            node=context.node, error_type=kind,
        )  # fmt: skip


def _died(what: str, error: Exception) -> WorkerDiedError:
    """Tell what trio-parallel knows of the end of a worker; its error ends with the process."""
    code: int | None = getattr(error.args[-1] if error.args else None, "exitcode", None)
    if code is None:
        ignored = signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
        why = "ignores SIGCHLD" if ignored else "has waited for it elsewhere"
        return WorkerDiedError(f"{what}; its exit code is not known, since this program {why}")
    if code >= 0:
        return WorkerDiedError(f"{what} with exit code {code}", exit_code=code)
    name = signal.Signals(-code).name
    hint = "; the kernel does so when memory runs out" if -code == signal.SIGKILL else ""
    return WorkerDiedError(f"{what} by {name}{hint}", signal=-code)
