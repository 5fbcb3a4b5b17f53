"""Where the command keeps what its runs teach, and how it says that it cannot."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from graceline.adaptive import SqliteReader, SqliteStore
from graceline.cli.ending import complain
from graceline.cli.failures import UsageError
from graceline.errors import StoreFileError, StoreVersionError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["change_history", "default_path", "history_place", "open_history", "run_history"]


def default_path() -> Path:
    """The file of the user's own history: below the platform's directory for state."""
    return platformdirs.user_state_path("graceline", appauthor=False) / "history.db"


def history_place(file: Path | None, *, none: bool) -> Path | None:
    """The file where a run keeps its history; None for none.

    Args:
        file: what `--history` says.
        none: whether there is a `--no-history`.

    Raises:
        UsageError: if there are both.
    """
    if none and file is not None:
        raise UsageError("--history FILE says where to keep it, --no-history not to; leave one out")
    return None if none else file or default_path()


class _Say(logging.Handler):
    """Says a warning to whoever called the command, unless their own logging says it there."""

    def emit(self, record: logging.LogRecord) -> None:
        screens = (sys.stderr, sys.__stderr__)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in screens:
                return
        complain(record.getMessage())


@contextlib.contextmanager
def _warnings_said() -> Iterator[None]:
    logger, handler = logging.getLogger("graceline.adaptive"), _Say(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextlib.contextmanager
def run_history(path: Path | None) -> Iterator[SqliteStore | None]:
    """The store for a run; one that cannot be used is said on standard error, and stops nothing.

    Args:
        path: its file; None for no store.

    Raises:
        UsageError: if the file was written by a newer graceline.
    """
    if path is None:
        yield None
        return
    with _warnings_said():
        try:
            store = SqliteStore(path)
        except StoreVersionError as error:
            raise UsageError(f"{error} (--history FILE, or --no-history)") from None
        with store:
            yield store


@contextlib.contextmanager
def open_history(path: Path) -> Iterator[SqliteReader]:
    """What a file holds, for a command that only looks: nothing is written.

    Raises:
        UsageError: if it is not there, cannot be read, is no history, or is of a newer graceline.
    """
    if not path.exists():
        raise UsageError(f"no history yet: {path} does not exist")
    try:
        with SqliteReader(path) as reader:
            yield reader
    except StoreFileError as error:
        raise UsageError(str(error)) from None


@contextlib.contextmanager
def change_history(path: Path) -> Iterator[SqliteStore]:
    """The store of a command that changes it: without its file it fails.

    Raises:
        UsageError: if the file cannot be opened, read or written, is no history, or is of a newer
            graceline.
    """
    try:
        opened = SqliteStore(path, strict=True)
    except StoreFileError as error:
        raise UsageError(str(error)) from None
    with _warnings_said(), opened as store:
        yield store
        store.flush()
        if store.degraded:
            raise UsageError(f"{path} could not be read and written to the end")
