"""JSON from people, read strictly: nothing twice, no NaN, and no bottomless depth.

One reader for words of a command line, files with inputs, and texts where a file declares a list or
an object, so that they all refuse the same, in the same words.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from graceline.definitions.checks import brief

__all__ = ["JsonError", "RefusedJsonError", "read_json"]

_MAX_DEPTH = 64
"""How deeply values may be nested, as in a file of the dialect."""


class JsonError(ValueError):
    """A text is no JSON.

    Attributes:
        line: where, counted from 1; None if only the whole can be blamed.
        column: likewise.
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class RefusedJsonError(JsonError):
    """A text is JSON, and what it means is not for sure, or too deep."""


def read_json(text: str) -> Any:
    """The value of a text in JSON, as the standard has it.

    Raises:
        JsonError: for what is none, such as NaN or a number that is too large.
        RefusedJsonError: for a key that is given twice, and for more than 64 levels.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite
        )
    except JsonError:
        raise
    except json.JSONDecodeError as error:
        raise JsonError(f"is no JSON: {error.msg}", error.lineno, error.colno) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # an integer of too many digits
        raise JsonError(str(error)) from None
    _check_depth(value)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for key, value in pairs:
        if key in entries:
            raise RefusedJsonError(f"{brief(key)} is given twice")
        entries[key] = value
    return entries


def _no_constant(name: str) -> NoReturn:
    raise JsonError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JsonError(f"{brief(text)} is too large for a number")
    return number


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        nested = [one for one in level if isinstance(one, dict | list)]
        if not nested:
            return
        level = [
            inner for one in nested for inner in (one.values() if isinstance(one, dict) else one)
        ]
    raise _too_deep()


def _too_deep() -> RefusedJsonError:
    return RefusedJsonError(f"is nested more than {_MAX_DEPTH} levels deep")
