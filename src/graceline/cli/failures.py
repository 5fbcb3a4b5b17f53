"""What the command gives up with: a message for one line, and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Ended", "ProblemsError", "UsageError"]


class UsageError(Exception):
    """The command line or the input is wrong; the message says what would be right."""


class ProblemsError(UsageError):
    """A file is wrong: lines that each begin with its name and, where it is known, the place.

    Attributes:
        lines: one for each problem.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines: tuple[str, ...] = tuple(lines)
        super().__init__("\n".join(self.lines))


class Ended(Exception):  # noqa: N818 - nothing is wrong any more: all is said
    """The command is over, and has said why.

    Attributes:
        code: its exit code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
