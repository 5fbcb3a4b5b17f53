"""What an exception that leaves a node says: a cancel, a failure, or something for the program."""

from __future__ import annotations

from collections.abc import Iterator

import trio

from graceline.deadlines import Ending
from graceline.errors import DeadlineSpentError

__all__ = ["classify", "contains", "split_cancelled"]

_OVER = (trio.Cancelled, DeadlineSpentError)
"""What says that the time of the work was over when an error was raised."""


def _lineage(error: BaseException) -> Iterator[BaseException]:
    """An exception, its leaves, and everything that was being handled when they were raised."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        todo += [current.__context__, current.__cause__]
        if isinstance(current, BaseExceptionGroup):
            todo += current.exceptions


def contains(error: BaseException | None, other: BaseException | None) -> bool:
    """Whether `other` is part of the same unwinding as `error`."""
    if error is None or other is None:
        return error is other
    return any(current is other for current in _lineage(error))


def split_cancelled(error: BaseException) -> tuple[bool, BaseException | None]:
    """Whether a `Cancelled` is among the leaves, and what is left without it."""
    if isinstance(error, trio.Cancelled):
        return True, None
    if isinstance(error, BaseExceptionGroup):
        cancelled, rest = error.split(trio.Cancelled)
        return cancelled is not None, rest
    return False, error


def classify(error: BaseException) -> tuple[Ending, Exception | None]:
    """How work ended that raised `error`, and the error that counts, if any.

    Raises:
        BaseException: `error` itself, if it is for the program and never becomes a result:
            `KeyboardInterrupt`, `SystemExit`, `GeneratorExit`, alone or in a group.
    """
    cancelled, rest = split_cancelled(error)
    if rest is not None and not isinstance(rest, Exception):
        raise error
    if cancelled:
        return Ending.CANCELLED, rest
    assert rest is not None  # noqa: S101 - without a Cancelled, the rest is the error
    if any(isinstance(current, _OVER) for current in _lineage(rest)):
        return Ending.ERROR_IN_CANCEL, rest
    return Ending.ERROR, rest
