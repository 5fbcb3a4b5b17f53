"""Problems of a file: what is wrong, at which line and column, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs

from graceline.errors import DefinitionError

__all__ = ["FileError", "Position", "Problem"]

_SHOWN = 100
"""So many problems are told of one file; the rest is counted."""


@attrs.frozen(order=True)
class Position:
    """A place in a file; both count from 1.

    Attributes:
        line: the line.
        column: the character of the line.
    """

    line: int
    column: int

    def __str__(self) -> str:
        """As editors and compilers write it."""
        return f"{self.line}:{self.column}"


@attrs.frozen
class Problem:
    """One thing that is wrong with a file, or hardly what was meant.

    Attributes:
        message: what is wrong, of which key, and what would be right.
        file: the name of the file.
        at: where it stands; None for the file as a whole.
        severity: an `error` keeps the file from being run, a `warning` does not.
    """

    message: str
    file: str
    at: Position | None = None
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """One line: `file:line:column: what is wrong`."""
        file = self.file if self.file.isprintable() else repr(self.file)[1:-1]
        place = file if self.at is None else f"{file}:{self.at}"
        return f"{place}: {'warning: ' * (self.severity == 'warning')}{self.message}"


class FileError(DefinitionError):
    """A file is no pipeline; says everything that is wrong with it, in the order of the file.

    Attributes:
        problems: what is wrong; at least one.
    """

    def __init__(self, problems: Iterable[Problem], told: str = "") -> None:
        self.told = told
        first = Position(0, 0)
        self.problems: tuple[Problem, ...] = tuple(
            sorted(dict.fromkeys(problems), key=lambda one: (one.at or first, one.message))
        )
        shown = [str(problem) for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            shown.append(f"... and {len(self.problems) - _SHOWN} more")
        super().__init__("\n".join(shown))

    def __reduce__(self) -> tuple[type[FileError], tuple[tuple[Problem, ...], str]]:
        """It survives the way to another process."""
        return type(self), (self.problems, self.told)
