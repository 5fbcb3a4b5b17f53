"""What the command gives up with: a message for one line, and an exit code."""

from __future__ import annotations

__all__ = ["UsageError"]


class UsageError(Exception):
    """The command line or the input is wrong; the message says what would be right."""
