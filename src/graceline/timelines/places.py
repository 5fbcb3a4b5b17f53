"""Where an exception was raised: the innermost line that is somebody's own, not a library's."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["place_of"]

_OURS = str(Path(__file__).parents[1]) + os.sep
_LIBRARIES = tuple(
    os.path.realpath(sysconfig.get_path(kind)) + os.sep for kind in ("stdlib", "purelib", "platlib")
)


def place_of(error: BaseException) -> str | None:
    """The file and the line of the user's code that raised an exception: `jobs.py:12`.

    A syntax error is where the source is wrong. None if nothing but libraries took part. In a group
    the first exception that has a place counts. Files below the working directory have a relative
    path.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:  # noqa: SIM102
        if _is_own(error.filename):
            return f"{_short(error.filename)}:{error.lineno}"
    own = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if _is_own(frame.f_code.co_filename):
            own = f"{_short(frame.f_code.co_filename)}:{line}"
    inside = (place_of(inner) for inner in _members(error))
    return next((place for place in inside if place), own)


def _members(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions


def _is_own(file: str) -> bool:
    """Whether a file is neither a library's nor ours, nor made up like `<string>`."""
    if file.startswith("<"):
        return False
    path = os.path.realpath(file)
    return not path.startswith((_OURS, *_LIBRARIES))


def _short(file: str) -> str:
    try:
        path, here = Path(file).absolute(), Path.cwd()
    except OSError:  # the working directory is gone
        return file
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
