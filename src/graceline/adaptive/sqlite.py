"""The store that outlives the process: one SQLite file, written by one thread, in batches.

`put` only adds to the next batch; a thread writes it in one transaction while the one after it
fills up. What a kill loses is that batch and no more: the file is never half-written, because
SQLite's write-ahead log is either committed or ignored.

A disk that is full, a file that became read-only, was never a
database or is one of another program must not stop anybody's
work. The store then says so once, as a warning in the log, keeps everything in memory, and goes on.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from graceline.adaptive import sqlite_file
from graceline.adaptive.history import Sample
from graceline.adaptive.stores import Applied, Key, MemoryStore, Record, checked_window
from graceline.errors import StoreFileError, StoreVersionError
from graceline.saying import say

if TYPE_CHECKING:
    from typing import Self

__all__ = ["SqliteStore"]

_log = logging.getLogger("graceline.adaptive")

_T = TypeVar("_T")

_TRIES = 3
"""How often a batch is tried while other processes write, some seconds each."""

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SqliteStore:
    """Keeps records in a SQLite file. Threads and processes may share the file.

    The object belongs to the process that made it: after a fork the child needs one of its own.

    Args:
        path: the file; it and its directory are made if they are not there.
        window: how many samples are kept per key, at least 1.
        strict: raise if the file cannot be used when it is opened, instead of going on in memory.

    Raises:
        ValueError: for a window below 1.
        StoreFileError: if the file cannot be used, with `strict`.
        StoreVersionError: if the file was written by a newer graceline.
    """

    def __init__(self, path: str | Path, *, window: int = 256, strict: bool = False) -> None:
        self.path: Path = Path(path)
        self._window = checked_window(window)
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: list[sqlite_file.Change] = []
        self._writing = False
        self._closing = False
        self._memory: MemoryStore | None = None
        self._forgotten: set[Key] = set()
        """Keys that are still in a file that cannot be written."""
        self._using_file = threading.Lock()
        self._file: sqlite3.Connection | None = None
        try:
            self._file = sqlite_file.open_file(self.path)
        except StoreVersionError:
            raise
        except (StoreFileError, sqlite3.Error, OSError) as error:
            if strict:
                why, _ = sqlite_file.diagnose(self.path, error)
                raise StoreFileError(f"{self.path} cannot be used as a history: {why}") from error
            self._degrade(error, [])
        self._thread = threading.Thread(target=self._work, name="graceline-history", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<history in {str(self.path)!r}{', in memory only' if self.degraded else ''}>"

    @property
    def degraded(self) -> bool:
        """Whether the file cannot be written, so that what is new is in memory only."""
        return self._memory is not None

    def put(
        self,
        key: Key,
        samples: Iterable[Sample],
        state: Mapping[str, float],
        limits: Iterable[Applied] = (),
    ) -> None:
        """Add new samples of a key, and the state that a learner has after them; does not wait."""
        self._add(sqlite_file.Change(key, tuple(samples), dict(state), tuple(limits)))

    def forget(self, key: Key) -> None:
        """Drop what is known for a key; does not wait."""
        self._add(sqlite_file.Change(key, None))

    def load(self, key: Key) -> Record | None:
        """What is known for a key; None if nothing is. Waits for what was put before."""
        self.flush()
        found = self._read(lambda file: sqlite_file.read_record(file, key, self._window))
        if self._memory is None:
            return found
        kept = self._memory.load(key)
        if found is None or key in self._forgotten:
            return kept
        return found if kept is None else found.merge(kept)

    def keys(self) -> list[Key]:
        """All keys that something is known for. Waits for what was put before."""
        self.flush()
        found = self._read(sqlite_file.read_keys) or []
        if self._memory is None:
            return found
        in_file = [key for key in found if key not in self._forgotten]
        return list(dict.fromkeys((*in_file, *self._memory.keys())))

    def flush(self) -> None:
        """Wait until what was put before is on the disk, or in memory for good."""
        self._check_process()
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._writing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left, end the thread and close the file; closing twice is fine."""
        if os.getpid() != self._process:
            return  # it is not this process's to close
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        with self._using_file:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _check_process(self) -> None:
        if os.getpid() != self._process:  # its thread and its locks have stayed behind
            raise RuntimeError(f"{self!r} was opened before a fork; open another one after it")

    def _add(self, change: sqlite_file.Change) -> None:
        self._check_process()
        with self._changed:
            if self._closing:
                raise RuntimeError(f"{self!r} is closed")
            if self._memory is not None:
                self._remember(self._memory, change)
            else:
                self._waiting.append(change)
                self._changed.notify_all()

    def _remember(self, memory: MemoryStore, change: sqlite_file.Change) -> None:
        if change.samples is None:
            self._forgotten.add(change.key)
            memory.forget(change.key)
        else:
            memory.put(change.key, change.samples, change.state, change.limits)

    def _read(self, reading: Callable[[sqlite3.Connection], _T]) -> _T | None:
        with self._using_file:
            if self._file is None:
                return None
            try:
                return reading(self._file)
            except Exception as error:  # noqa: BLE001 - whatever is in the file, the runs go on
                failure = error
        with self._changed:
            self._degrade(failure, [])
        return None

    def _work(self) -> None:
        """The writer thread: takes all that waits, and writes it in one transaction."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                batch, self._waiting = self._waiting, []
                self._writing = True
            failure = self._write(batch)
            with self._changed:
                if failure is not None:
                    self._degrade(failure, batch)
                self._writing = False
                self._changed.notify_all()

    def _write(self, batch: list[sqlite_file.Change]) -> Exception | None:
        failure: Exception | None = None
        for _ in range(_TRIES):
            try:
                with self._using_file:
                    if self._file is not None:
                        sqlite_file.write(self._file, batch, self._window)
            except sqlite3.Error as error:
                failure = error
                # Another process that writes for long is no reason to give the file up at once.
                if error.sqlite_errorcode not in _BUSY:
                    break
            except Exception as error:  # noqa: BLE001 - a thread that ends would be waited for
                failure = error
                break
            else:
                return None
        return failure

    def _degrade(self, error: Exception, batch: list[sqlite_file.Change]) -> None:
        """Go on in memory; says so once."""
        if self._memory is None:
            self._memory = MemoryStore(self._window)
            why, remedy = sqlite_file.diagnose(self.path, error)
            say(
                _log, logging.WARNING, "history_in_memory",
                "history cannot be kept in %s (%s): from now on it is in memory only, and lost "
                "when this process ends. %s", self.path, why, remedy, path=str(self.path),
            )  # fmt: skip
        for change in (*batch, *self._waiting):
            self._remember(self._memory, change)
        self._waiting.clear()
