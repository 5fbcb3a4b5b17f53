"""The command `graceline`: runs a pipeline from a module or a file and shows what happened."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_EXTRA = frozenset({"cyclopts", "platformdirs", "rich"})


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line and return its exit code.

    Args:
        argv: the words after the program's name; by default those of the process.

    Returns:
        0 if the run succeeded, 1 if it did not, 2 for a mistake in the command line or the
        definition, 130 after an interrupt and 143 after a termination signal.
    """
    try:
        from graceline.cli.command import dispatch  # noqa: PLC0415 - the extra may be missing
    except KeyboardInterrupt:
        sys.stderr.write("graceline: interrupted\n")
        return 128 + signal.SIGINT
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(
            f"graceline: {error.name} is not installed; run: pip install 'graceline[cli]'\n"
        )
        return 2
    return dispatch(list(sys.argv[1:] if argv is None else argv))
