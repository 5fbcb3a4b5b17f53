"""The door for those who only look at a SQLite file: a copy of what it holds, and no writing."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from graceline.adaptive import sqlite_file
from graceline.adaptive.stores import Key, Record, checked_window
from graceline.errors import StoreFileError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["SqliteReader"]


class SqliteReader:
    """What the file of a `SqliteStore` held when the reader was made.

    Nothing is written, no directory is made, and no writer is waited for. The file may lie in a
    directory that cannot be written, unless a process that was killed left its log there.

    Args:
        path: the file; it must be there.
        window: how many samples are read per key, at least 1.

    Raises:
        ValueError: for a window below 1.
        StoreFileError: if it cannot be read, or is no history of graceline.
        StoreVersionError: if the file was written by a newer graceline.
    """

    def __init__(self, path: str | Path, *, window: int = 256) -> None:
        self.path: Path = Path(path)
        self._window = checked_window(window)
        try:
            self._copy = sqlite_file.open_copy(self.path)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def load(self, key: Key) -> Record | None:
        """What is known for a key; None if nothing is.

        Raises:
            StoreFileError: if the record is broken.
        """
        try:
            return sqlite_file.read_record(self._copy, key, self._window)
        except (sqlite3.Error, ValueError) as error:
            raise self._unreadable(error) from error

    def keys(self) -> list[Key]:
        """All keys that something is known for.

        Raises:
            StoreFileError: if the file is broken.
        """
        try:
            return sqlite_file.read_keys(self._copy)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the copy; closing twice is fine."""
        self._copy.close()

    def _unreadable(self, error: Exception) -> StoreFileError:
        why, _ = sqlite_file.diagnose(self.path, error)
        return StoreFileError(f"{self.path} cannot be used as a history: {why}")
