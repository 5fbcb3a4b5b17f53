"""The side of a worker process: one job after another, each cancelled by a signal.

The engine notes on the board which job is cancelled, and sends SIGTERM. The handler raises
`JobCancelled` in the job, wherever it is: in Python code, in a sleep, in a wait for a lock or for a
child process. A signal that comes too late belongs to no job any more, since the number on the
board is not that of the job that runs; outside of a job SIGTERM is ignored.

A cleanup block holds the cancel back until it is left, and is itself cut by SIGALRM.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
import time

# What the functions of `signal` call. Those look each answer up in an enum, and may catch an error
# from there: 5 % of a small job.
from _signal import getsignal, pthread_sigmask  # type: ignore[import-not-found]
from contextvars import copy_context
from math import inf
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from graceline.errors import GracelineError
from graceline.work.channel import Board
from graceline.work.here import Here
from graceline.work.luggage import Carrier, gather, take_up
from graceline.work.parcels import pack, pack_error, unpack

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "Job", "JobCancelled", "JobCleanup", "Order", "Reply", "introduce", "open_worker", "perform",
]  # fmt: skip

_SOON = 0.001  # seconds; an alarm of zero would be none
_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


class JobCancelled(BaseException):
    """Raised inside a job in a worker process when its node is cancelled.

    Let it pass: `finally` blocks and `except BaseException` see it, and the worker stays warm if
    the job ends within its grace period.
    """


class _CleanupCut(BaseException):
    """Raised inside a cleanup block at its end; the block swallows it."""

    def __init__(self, block: JobCleanup) -> None:
        super().__init__("the cleanup block has come to its end")
        self.block = block


_NO_ERRORS = (_CleanupCut, GeneratorExit)
"""What may leave a cleanup block and tells of nothing."""


class Order(NamedTuple):
    """What a worker has to do: for whom, with what limits in seconds, and the parcel."""

    number: int
    parcel: bytes
    luggage: bytes
    # From here on as in `Facts`.
    run_id: str
    pipeline: str
    stage: str
    node: str
    lane: str
    has_partial: bool
    remaining: float
    stop_in: float
    grace: float
    attempt: int
    hedge: bool


class Reply(NamedTuple):
    """How a job ended.

    Attributes:
        kind: `value`, `error` or `cancelled`.
        parcel: the value or the error.
        overran: whether a cleanup block was cut at its end.
        children: whether it has left child processes behind.
        threads: whether it has left threads behind.
    """

    kind: str
    parcel: bytes
    overran: bool
    children: bool
    threads: bool


class Job:
    """One job, in its worker. Instants are those of `time.monotonic()`."""

    def __init__(self, order: Order, board: Board) -> None:
        now = time.monotonic()
        self.order: Order = order
        self.input: Any = None
        self.overran: bool = False
        self._board = board
        self._fires = now + order.remaining
        self._stops = now + order.stop_in
        self._blocks: list[JobCleanup] = []
        self._carriers: tuple[Carrier, ...] = ()
        self._told = self._held_back = False
        self._alarm_before: Any = None

    # -- for the functions that work in nodes ---------------------------------------------------

    @property
    def node(self) -> str:
        """The name of its node, without the index of an item."""
        name = self.order.node
        return name if self.order.has_partial else name.rpartition("[")[0]

    def remaining(self) -> float:
        """Seconds until it is cancelled; inside a cleanup block until that is cut."""
        blocks = self._blocks
        outside = -inf if self._told else self._fires
        end = blocks[-1].deadline if blocks else outside
        return max(0.0, end - time.monotonic())

    def work_left(self) -> float:
        """Seconds until its work is cancelled; 0 or less once it is, also in a cleanup block."""
        end = -inf if self._told else self._fires
        return min([end, *(block.deadline for block in self._blocks)]) - time.monotonic()

    def carrier(self) -> dict[str, str]:
        """Headers for a call that it makes, of what sinks have sent along with it."""
        return gather(self._carriers, self.node)

    def save_partial(self, value: Any) -> None:
        """Keep a value where the engine finds it, whatever becomes of this process."""
        what = f"node {self.order.node!r}: what save_partial() was given"
        self._board.save(self.order.number, pack(value, what))

    def should_stop(self) -> bool:
        """Whether polite work should end."""
        return self._board.draining or time.monotonic() >= self._stops

    def cleanup(self) -> JobCleanup:
        """A block of cleanup in this job."""
        return JobCleanup(self)

    def call(self, function: Any) -> Any:
        """Call the function, in a context of its own if sinks have sent something along."""
        if not self.order.luggage:
            return function(self.input)
        return copy_context().run(self._call_with_luggage, function)

    def _call_with_luggage(self, function: Any) -> Any:
        self._carriers = take_up(self.order.luggage, self.node)
        return function(self.input)

    # -- cancelling -----------------------------------------------------------------------------

    def check(self) -> None:
        """Raise the cancel if one has come; once."""
        if self._told or not self._board.cancelled(self.order.number):
            return
        self._told = True
        if self._blocks:
            self._held_back = True
            for block in self._blocks:
                block.deadline = min(block.deadline, self._board.cut)
            self._set_alarm()
        else:
            raise JobCancelled

    def alarm(self, frame: FrameType | None) -> None:
        """The alarm rang: cut the outermost block whose end has come."""
        if not self._blocks:
            return  # it rang as the last block was left: another one would find nobody to take it
        if frame is not None and frame.f_code.co_filename == __file__:
            # A block is being entered or left: raised here, nobody would swallow it.
            signal.setitimer(signal.ITIMER_REAL, _SOON)
            return
        now = time.monotonic()
        for block in self._blocks:
            if block.deadline <= now:
                if block.cut:  # once: what catches it is not chased
                    return
                block.cut = self.overran = True
                raise _CleanupCut(block)
        self._set_alarm()  # it rang a little early, by another clock

    def enter(self, block: JobCleanup) -> None:
        """Open a cleanup block inside those that are open."""
        now = time.monotonic()
        hard = self._board.cut if self._told else self._fires + self.order.grace
        ends = [now + self.order.grace, hard, *(outer.deadline for outer in self._blocks)]
        block.deadline = min(ends)
        if not self._blocks:
            self._alarm_before = signal.signal(signal.SIGALRM, _on_alarm)
        self._blocks.append(block)
        self._board.shield(len(self._blocks))
        self._set_alarm()

    def leave(self, block: JobCleanup, error: BaseException | None) -> None:
        """Close a cleanup block, and raise the cancel that the outermost one held back.

        An error that leaves the block is the cause of the cancel then, so that it is not lost.
        """
        self._blocks.remove(block)
        # One that was cut counts to the end of the job, which may be a moment after its `hard`.
        self._board.shield(len(self._blocks) + self.overran)
        self._set_alarm()
        if self._blocks:
            return
        signal.signal(signal.SIGALRM, self._alarm_before or signal.SIG_DFL)
        if self._held_back:
            self._held_back = False
            raise JobCancelled from (None if isinstance(error, _NO_ERRORS) else error)

    def _set_alarm(self) -> None:
        end = min((block.deadline for block in self._blocks if not block.cut), default=inf)
        delay = 0.0 if end == inf else max(_SOON, end - time.monotonic())
        signal.setitimer(signal.ITIMER_REAL, delay)


class JobCleanup:
    """The cleanup block of a job: `with cleanup():` without an `await`.

    It holds the cancel back until it is left, and is cut at `min(now + grace, hard)`.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.cut: bool = False
        self.deadline: float = inf
        """When it is cut, in seconds of `time.monotonic()`; `inf` if it is not bounded."""

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            raise GracelineError(
                "cleanup() works in the main thread of a job; another thread cannot be cut"
            )
        self._job.enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._job.leave(self, error)
        return isinstance(error, _CleanupCut) and error.block is self


# -- the worker -----------------------------------------------------------------------------------


def open_worker(path: str) -> None:
    """Prepare this process: a group of its own, the board, the handler of SIGTERM.

    Raises:
        SystemExit: if the board is taken: trio-parallel has started a second worker in place of
            one that died, and it must not come to life behind the engine's back.
    """
    os.setpgid(0, 0)
    try:
        Here.board = Board.open(path)
    except FileNotFoundError:
        raise SystemExit(1) from None
    signal.signal(signal.SIGTERM, _on_sigterm)
    _keep_pipes()
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only here, and not in the engine's process

        # What a job leaves behind, double-forked, becomes a child of this process, and is noticed.
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _keep_pipes() -> None:
    """Keep the pipes from what a job starts: the engine notices the end of a worker by them."""
    listed = Path("/dev/fd")
    pipes = [int(entry.name) for entry in listed.iterdir() if int(entry.name) > 2]
    kept = []
    for pipe in pipes:
        try:
            os.set_inheritable(pipe, False)
        except OSError:  # it was that of the list itself
            continue
        kept.append(pipe)

    def let_go() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for pipe in kept:
            os.dup2(null, pipe, inheritable=False)  # not closed: their numbers have owners
        os.close(null)

    os.register_at_fork(after_in_child=let_go)


def introduce() -> int:
    """The first call of a worker: who it is."""
    return os.getpid()


def perform(*fields: Any) -> tuple[Any, ...]:
    """Do a job: takes the fields of an `Order`, and returns those of a `Reply`.

    Plain tuples, since cloudpickle looks at every class that it meets.
    """
    return tuple(_perform(Order(*fields)))


def _perform(order: Order) -> Reply:
    assert Here.board is not None  # noqa: S101 - a worker has been opened
    board = Here.board
    board.begin(order.number)
    job = Job(order, board)
    what = f"node {order.node!r}"
    kind, parcel = "value", b""
    before: tuple[set[int], set[threading.Thread]] | None = None
    try:
        function, job.input = unpack(order.parcel, f"{what}: its function or its input")
        before = _children(), set(threading.enumerate())  # what an import has started may stay
        parcel = pack(_call(job, function), f"{what}: its value")
    except BaseException as error:  # noqa: BLE001 - for the engine to raise
        Here.job = None  # if the cancel hit the statement that does it
        failure = _without_cancel(error)
        kind = "cancelled" if failure is None else "error"
        if failure is not None:
            parcel = pack_error(failure, what)
    if before is None:
        return Reply(kind, parcel, job.overran, children=False, threads=False)
    children, threads = _children() - before[0], set(threading.enumerate()) - before[1]
    return Reply(kind, parcel, job.overran, bool(children), bool(threads))


def _call(job: Job, function: Any) -> Any:
    """Call the function; while it runs, and no longer, signals reach it."""
    _restore_signals()
    try:
        Here.job = job
        job.check()  # a cancel that came while its modules were imported
        value = job.call(function)
    finally:
        Here.job = None
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(
            f"node {job.order.node!r} runs in a worker process, and its function returned a "
            "coroutine; give a plain function, or an async one without runs_on='process'"
        )
    return value


def _without_cancel(error: BaseException) -> BaseException | None:
    """What is left of an error besides the cancel of the job; None if nothing is."""
    if isinstance(error, JobCancelled):
        hidden = error.__cause__  # an error that left the block that held the cancel back
        return None if hidden is None else _without_cancel(hidden)
    if isinstance(error, BaseExceptionGroup):
        return error.split(JobCancelled)[1]
    return error


def _restore_signals() -> None:
    """Undo what an earlier job, or an import, has done to the signals that end a job."""
    # To look takes less than to set. What goes past the module `signal`, as `faulthandler` does, is
    # not seen.
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    if getsignal(signal.SIGTERM) is not _on_sigterm:
        signal.signal(signal.SIGTERM, _on_sigterm)
    blocked = pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    if signal.SIGALRM in blocked or getsignal(signal.SIGALRM) != signal.SIG_DFL:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # so one that is held back is dropped
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM,))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _children() -> set[int]:
    """The children that have not ended; those that have are waited for."""
    if sys.platform == "darwin":  # it has no `waitid`; what is left ends with the worker
        return set()
    try:
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is not None:
            pass
    except ChildProcessError:
        return set()
    found: set[int] = set()
    try:
        for task in Path("/proc/self/task").iterdir():
            found.update(map(int, (task / "children").read_bytes().split()))
    except OSError:  # not every system tells; then all that is known is that there are some
        return {0}
    return found


def _on_sigterm(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's signature
    if Here.job is not None:
        Here.job.check()


def _on_alarm(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    if Here.job is not None:
        Here.job.alarm(frame)
