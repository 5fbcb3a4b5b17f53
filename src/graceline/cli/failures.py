"""What the command gives up with: a message for one line, and an exit code."""

from __future__ import annotations

__all__ = ["Ended", "UsageError"]


class UsageError(Exception):
    """The command line or the input is wrong; the message says what would be right."""


class Ended(Exception):  # noqa: N818 - nothing is wrong any more: all is said
    """The command is over, and has said why.

    Attributes:
        code: its exit code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
