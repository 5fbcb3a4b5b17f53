"""The user's code under the command: what becomes of all that it raises and prints."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from graceline.cli.ending import PROGRAM, broken, leaves
from graceline.cli.failures import Ended, UsageError
from graceline.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["checked", "guarded", "output_aside"]


@contextlib.contextmanager
def guarded(code: int, *, debug: bool) -> Iterator[None]:
    """Say what the user's code raises, for the program or unexpectedly, and end the command.

    Args:
        code: the exit code, unless the program asks for another one.
        debug: whether tracebacks are shown.

    Raises:
        UsageError: as it comes, with its message for people.
        DefinitionError: likewise.
        Ended: after anything else was raised.
    """
    try:
        yield
    except (UsageError, DefinitionError):
        raise
    except PROGRAM as error:
        raise Ended(broken(error, code, debug=debug)) from None


@contextlib.contextmanager
def checked(target: str) -> Iterator[None]:
    """Say which target it is whose definition shows itself to be wrong only when it is to run.

    Args:
        target: as the command line has it.

    Raises:
        UsageError: for a `DefinitionError`, also one that left the engine in a group.
    """
    try:
        yield
    except (DefinitionError, ExceptionGroup) as error:
        found = list(leaves(error))
        if not all(isinstance(leaf, DefinitionError) for leaf in found):
            raise
        raise UsageError(f"{target}: {found[0]}") from error


@contextlib.contextmanager
def output_aside(*, wanted: bool) -> Iterator[None]:
    """Let what the user's code prints not get between the lines of a document, if one is wanted."""
    with contextlib.redirect_stdout(sys.stderr) if wanted else contextlib.nullcontext():
        yield
