"""The journal: what happened, one JSON object per line, on the disk before anything goes on.

A line is written with one `write` and an `fsync`, so it survives whatever ends the process
afterwards, `kill -9` or a power cut. A line that was being written at that moment is torn, and is
left out when the journal is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graceline.errors import GracelineError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Journal", "in_use", "journal_of", "read_lines"]

_NAME = "journal.jsonl"


def journal_of(folder: Path) -> Path:
    """Where the journal of a directory of results is."""
    return folder / _NAME


class Journal:
    """The journal of one run, open for writing; locked, so that no other run writes to it.

    Args:
        folder: the directory of results; it is made if there is none.
        force: replace a journal that is there.
        append: go on behind the one that is there.
        private: nobody but the user may read it.

    Raises:
        GracelineError: if there is a journal already, or with `append` if there is none, if
            another run writes to it, or if the directory cannot be written to.
    """

    def __init__(
        self, folder: Path, *, force: bool = False, append: bool = False, private: bool = False
    ) -> None:
        path = journal_of(folder)
        flags = os.O_RDWR | os.O_APPEND
        if not append:
            flags |= os.O_CREAT | (0 if force else os.O_EXCL)
        try:
            if not append:
                folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, flags, 0o600 if private else 0o644)
        except FileExistsError:
            if not path.exists():
                raise GracelineError(f"{folder}: it is no directory") from None
            raise GracelineError(
                f"{folder} holds the results of an earlier run; name another directory, or replace "
                "them by --force (in Python: force=True)"
            ) from None
        except OSError as error:
            raise GracelineError(f"{folder} cannot be written to: {error.strerror}") from error
        self._torn = False
        try:
            self._lock(folder)
            if private:
                _keep_private(self._file, folder)
            if append:
                size = os.fstat(self._file).st_size
                self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
            else:
                os.ftruncate(self._file, 0)
            for place in (folder, folder.parent):  # else a power cut could lose the name
                _sync_folder(place)
        except BaseException:
            self.close()
            raise

    def _lock(self, folder: Path) -> None:
        if not _locked(self._file):
            raise GracelineError(f"{folder}: another run is writing to its journal")

    def write(self, entry: dict[str, Any]) -> None:
        """Append a line; it is on the disk when this returns.

        Raises:
            OSError: if it could not be written.
        """
        line = json.dumps(entry, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        if self._torn:  # what is left of a line that did not fit must not spoil this one
            line = b"\n" + line
        self._torn = True
        if os.write(self._file, line) < len(line):
            raise OSError(f"the disk took a part of a line of {_NAME} only")
        self._torn = False
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file, and release its lock."""
        os.close(self._file)


def _keep_private(file: int, folder: Path) -> None:
    """A journal that was there already may be open to others."""
    if os.fstat(file).st_mode & 0o077:
        try:
            os.fchmod(file, 0o600)
        except OSError as error:
            raise GracelineError(
                f"{folder}: others may read its journal, and this cannot be changed: "
                f"{error.strerror}; name another directory"
            ) from error


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def in_use(folder: Path) -> bool:
    """Whether a run is writing to the journal of a directory now."""
    with contextlib.suppress(OSError):
        file = os.open(journal_of(folder), os.O_RDONLY)
        try:
            return not _locked(file)
        finally:
            os.close(file)
    return False


def read_lines(folder: Path, *, written_by: str = "") -> Iterator[dict[str, Any]]:
    """The lines of a journal, as far as they are whole.

    Args:
        folder: the directory of results.
        written_by: the command that writes one, for the message if there is none.

    Raises:
        GracelineError: if there is no journal, or it cannot be read.
    """
    path = journal_of(folder)
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        hint = f"; `{written_by}` writes one" if written_by else ""
        raise GracelineError(f"{folder} holds no journal{hint}") from None
    except OSError as error:
        raise GracelineError(f"{path} cannot be read: {error.strerror}") from None
    for line in data.split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:  # torn, or the empty end
            continue
        except RecursionError:
            raise GracelineError(
                f"{path} was changed by somebody: a line is nested too deeply"
            ) from None
        if isinstance(entry, dict):
            yield entry
