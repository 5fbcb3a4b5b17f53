"""The guard: a small process that kills what is left if this process dies without a word."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from mmap import mmap
from pathlib import Path

import trio

from graceline.saying import say
from graceline.work import groups, guardian

__all__ = ["Guard"]

_log = logging.getLogger("graceline.work")

_SLOTS = 1 << 16
"""Groups that the table holds at once; it takes memory only as far as it was used."""
_LIVED = 1.0
"""Seconds that a guard must have lived to be replaced at once: one that cannot live is left."""


class Guard:
    """Watches over process groups for one engine; its process is started when first needed.

    If the engine's process ends in any way, `kill -9` included, the guard kills every group that is
    registered with it, and ends. Their numbers stand in memory that both processes share: to
    register one is an assignment, which holds at once and wakes nobody.
    """

    def __init__(self) -> None:
        self._slots: dict[int, int] = {}
        self._free: list[int] = []
        self._table: _Table | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: int = -1
        self._pidfd: int | None = None
        self._since: float = 0.0

    async def start(self) -> None:
        """Start the guard's process, or another one if it has died; registered groups stay."""
        await trio.lowlevel.checkpoint()  # a node that is cancelled starts nothing
        self._ensure()

    def add(self, group: int) -> None:
        """Watch over a process group. Never raises: without a guard work goes on unguarded."""
        slot = self._free.pop() if self._free else len(self._slots)
        self._slots[group] = slot
        if self._table is not None and slot < _SLOTS:
            self._table.cells[slot] = group

    def discard(self, group: int) -> None:
        """A process group has ended; its number may come again."""
        slot = self._slots.pop(group, None)
        if slot is None:
            return
        self._free.append(slot)
        if self._table is not None and slot < _SLOTS:
            self._table.cells[slot] = 0

    def watch(self) -> int | None:
        """A descriptor for the caller that becomes readable when the guard's process has ended.

        None where there is none: no guard, no pidfd on this system, no descriptor left.
        """
        if self._pidfd is None:
            return None
        try:
            return os.dup(self._pidfd)
        except OSError:
            return None

    def replace(self) -> bool:
        """Start another process if the last one has died; returns whether one runs now.

        One that has died as soon as it began is not replaced before the next `start`.
        """
        process = self._process
        if process is not None and process.poll() is not None:
            if time.monotonic() - self._since < _LIVED:
                return False
            self._ensure()
        return self._process is not None

    async def aclose(self) -> None:
        """Kill what is still registered, and end the guard's process."""
        for group in tuple(self._slots):
            groups.send(group, signal.SIGKILL)
            self.discard(group)
        process = self._process
        try:
            if process is not None:
                process.kill()  # nothing is left to be guarded; it would ignore SIGTERM
                await groups.exited(process.pid)
        finally:
            if process is not None:
                self._reap(process)
            if self._table is not None:
                self._table.close()
                self._table = None

    # -- inside -------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def _ensure(self) -> None:
        process = self._process
        if process is not None and process.poll() is not None:
            self._reap(process)
            say(
                _log, logging.WARNING, "guard_lost",
                "the guard of child programs was lost (%s)", process.returncode,
                returncode=process.returncode,
            )  # fmt: skip
        if self._process is None:
            try:
                self._launch()
            except OSError as error:
                say(
                    _log, logging.WARNING, "guard_missing",
                    "no guard could be started (%s): programs would outlive this process if it "
                    "were killed", error, error_type=type(error).__name__,
                )  # fmt: skip

    def _launch(self) -> None:
        """Start the process. Plain and without an await, so that nothing can come in between."""
        if self._table is None:
            self._table = _Table()
            for group, slot in self._slots.items():
                self._table.cells[slot] = group
        with ExitStack() as opened:
            reading, writing = os.pipe()
            opened.callback(os.close, reading)
            kept = opened.enter_context(ExitStack())
            kept.callback(os.close, writing)
            engine = groups.open_pidfd(os.getpid())
            passed = [self._table.descriptor]
            if engine is not None:
                opened.callback(os.close, engine)
                passed.append(engine)
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [
                    sys.executable, "-I", "-S", str(Path(guardian.__file__)),
                    str(self._table.descriptor), str(-1 if engine is None else engine),
                    str(os.getpid()),
                ],
                stdin=reading, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd="/", start_new_session=True, pass_fds=passed,
            )  # fmt: skip
            self._pipe = writing
            self._pidfd = groups.open_pidfd(self._process.pid)
            self._since = time.monotonic()
            kept.pop_all()

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()  # at once: it has ended, or was killed
        os.close(self._pipe)
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._process, self._pipe, self._pidfd = None, -1, None


class _Table:
    """A row of numbers in memory that another process can read.

    Raises:
        OSError: if the system has no room for it.
    """

    def __init__(self) -> None:
        self.descriptor: int = _memory()
        try:
            os.ftruncate(self.descriptor, 4 * _SLOTS)
            self._map = mmap(self.descriptor, 4 * _SLOTS)
        except BaseException:
            os.close(self.descriptor)
            raise
        self.cells: memoryview[int] = memoryview(self._map).cast("i")

    def close(self) -> None:
        """Let go of the memory."""
        self.cells.release()
        self._map.close()
        os.close(self.descriptor)


def _memory() -> int:
    """A descriptor of memory; where the system has no such thing, of a file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("graceline-guard")
    descriptor, path = tempfile.mkstemp()
    Path(path).unlink()
    return descriptor
