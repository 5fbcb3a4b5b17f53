"""The board between an engine and one worker process: what a killed worker has left, and notices.

It is a file that both have mapped into memory, so reading and writing it needs no partner that is
alive. The first page holds numbers: each is one aligned machine word, which is stored at once or
not at all. Behind it lie partial values. A new one is written beside the one that counts, and then
a single word says which of two descriptions counts from now on: a worker that is killed in the
middle of a write leaves the older value.

The worker opens it by the engine's descriptor, in /proc; where that cannot be, the file has a name
until the worker has opened it.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from contextlib import suppress
from math import inf
from pathlib import Path

__all__ = ["Board"]

_PAGE = 4096
_KEPT = 1 << 20  # bytes that an idle board may hold on disk
_SECOND = 1_000_000_000  # in the unit of the clock on the board
_NEVER = (1 << 64) - 1
_DESCRIPTORS = "/proc/"

# The words of the first page.
_BEGUN, _BLOCKS, _DRAINING, _CANCELLED, _CUT, _WHICH = range(6)
_ENTRIES = (6, 9)  # two descriptions of three words: the job's number, offset, length
_SEALED = 12


class Board:
    """One file, mapped. Jobs are numbered from 1; what belongs to another number is stale.

    The clock is `time.monotonic()`, which all processes of a machine share.
    """

    def __init__(self, file: int, path: str) -> None:
        """Map an open file; it is closed with the board."""
        self._file = file
        self.path = path
        self._map = mmap.mmap(file, _PAGE)
        self._words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls) -> Board:
        """Make the board of a new worker, in a file that only this user can read.

        Raises:
            OSError: if there is no room for it, or no descriptor is left.
        """
        file, path = tempfile.mkstemp(prefix="graceline-")
        try:
            _reserve(file)
            board = cls(file, path)
        except BaseException as error:
            os.close(file)
            Path(path).unlink()
            if isinstance(error, OSError):
                error.filename = path  # a full disk does not say which one it is
            raise
        link = _link(file)
        if link is not None:  # a name would be left behind if this process were killed now
            Path(path).unlink()
            board.path = link
        return board

    @classmethod
    def open(cls, path: str) -> Board:
        """Open the board in the worker.

        Raises:
            FileNotFoundError: if it is sealed: a board is for one worker.
        """
        board = cls(os.open(path, os.O_RDWR | os.O_CLOEXEC), path)
        if board._words[_SEALED]:
            board.close()
            raise FileNotFoundError(path)
        return board

    def seal(self) -> None:
        """Let nobody else open it; nothing is left of it once the last process has closed it."""
        self._words[_SEALED] = 1
        if not self.path.startswith(_DESCRIPTORS):
            Path(self.path).unlink(missing_ok=True)

    def close(self) -> None:
        """Close it in this process."""
        self._words.release()
        self._map.close()
        os.close(self._file)

    # -- written by the engine ------------------------------------------------------------------

    def cancel(self, job: int, seconds: float) -> None:
        """Note that a job is cancelled, and that its cleanup is cut so many seconds from now."""
        end = _NEVER if seconds == inf else time.monotonic_ns() + int(max(0.0, seconds) * _SECOND)
        self._words[_CUT] = end
        self._words[_CANCELLED] = job

    def drain(self) -> None:
        """Note that polite work should end."""
        self._words[_DRAINING] = 1

    # -- read by the worker ---------------------------------------------------------------------

    def cancelled(self, job: int) -> bool:
        """Whether a job is cancelled."""
        return self._words[_CANCELLED] == job

    @property
    def cut(self) -> float:
        """When the cleanup of the cancelled job is cut."""
        end = self._words[_CUT]
        return inf if end == _NEVER else end / _SECOND

    @property
    def draining(self) -> bool:
        """Whether polite work should end."""
        return self._words[_DRAINING] == 1

    # -- written by the worker ------------------------------------------------------------------

    def begin(self, job: int) -> None:
        """Note that a job has begun."""
        self._words[_BLOCKS] = 0
        self._words[_BEGUN] = job

    def shield(self, blocks: int) -> None:
        """Note how many cleanup blocks are open."""
        self._words[_BLOCKS] = blocks

    def save(self, job: int, data: bytes) -> None:
        """Keep the partial value of a job, in place of an earlier one.

        Raises:
            OSError: if there is no room for it on the disk; the earlier one stays.
        """
        which = self._words[_WHICH]
        number, offset, _ = self._entry(which)
        start = _PAGE
        if number == job and offset - _PAGE < len(data):
            start = offset + self._entry(which)[2]
        rest, at = memoryview(data), start
        while rest:
            written = os.pwrite(self._file, rest, at)
            rest, at = rest[written:], at + written
        first = _ENTRIES[1 - which]
        self._words[first], self._words[first + 1], self._words[first + 2] = job, start, len(data)
        self._words[_WHICH] = 1 - which

    # -- read by the engine ---------------------------------------------------------------------

    def begun(self, job: int) -> bool:
        """Whether a job has begun."""
        return self._words[_BEGUN] == job

    @property
    def shielded(self) -> bool:
        """Whether a cleanup block is open."""
        return self._words[_BLOCKS] > 0

    def partial(self, job: int) -> bytes | None:
        """The last partial value of a job; None if it saved none."""
        number, offset, length = self._entry(self._words[_WHICH])
        if number != job:
            return None
        parts = []
        while length:
            part = os.pread(self._file, length, offset)
            parts.append(part)
            length, offset = length - len(part), offset + len(part)
        return b"".join(parts)

    def trim(self) -> None:
        """Give back the room of large partial values that nobody needs any more."""
        if os.fstat(self._file).st_size > _KEPT:
            os.ftruncate(self._file, _PAGE)

    def _entry(self, which: int) -> tuple[int, int, int]:
        first = _ENTRIES[which]
        return self._words[first], self._words[first + 1], self._words[first + 2]


def _reserve(file: int) -> None:
    """Take the room of the first page: to write into a mapped hole of a full disk is a SIGBUS.

    Raises:
        OSError: if there is none.
    """
    with suppress(AttributeError, OSError):  # not every system has it, nor every file system
        os.posix_fallocate(file, 0, _PAGE)
        return
    rest = _PAGE
    while rest:
        rest -= os.pwrite(file, bytes(rest), _PAGE - rest)


def _link(file: int) -> str | None:
    """How a child finds a descriptor of this process; None where it cannot."""
    link = f"{_DESCRIPTORS}{os.getpid()}/fd/{file}"
    try:
        # A process that has changed its user belongs to root there, and is closed to its children.
        ours = Path(_DESCRIPTORS, "self").stat().st_uid == os.geteuid()
        return link if ours and os.path.lexists(link) else None
    except OSError:
        return None
