"""Payloads as short texts, for those who ask for them: values and errors, never more than a line.

They are made where a part ends, so that nothing holds on to a value, and nobody sees it changed.
"""

from __future__ import annotations

import reprlib
import traceback
from typing import Any

__all__ = ["LONGEST", "error_text", "one_line", "value_text"]

LONGEST = 500
"""Characters of a text; what is longer is cut, and ends with an ellipsis."""

_LISTED = 20  # entries of a list, a dict and so on


class _Brief(reprlib.Repr):
    """Looks at no more of strings and containers than will be shown."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 6
        self.maxstring = self.maxother = self.maxlong = LONGEST
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = _LISTED
        self.maxdict = self.maxdeque = self.maxarray = _LISTED

    def repr_bytes(self, value: bytes, _: int) -> str:
        """As a string: the rest may be large."""
        return repr(value[:LONGEST])


_brief = _Brief()


def value_text(value: Any) -> str:
    """A value as `repr` shows it, cut; a `repr` that raises gives the name of the class."""
    try:
        text = _brief.repr(value)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's own code, which may exit
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return _cut(text)


def error_text(error: BaseException) -> str:
    """Class, message and notes of an error in one line, cut."""
    try:
        text = "".join(traceback.format_exception_only(error))
    except (Exception, SystemExit) as raised:  # noqa: BLE001 - as above
        text = f"{type(error).__name__} whose text raised {type(raised).__name__}"
    return _cut("; ".join(text.split("\n")).rstrip("; "))


def one_line(text: str) -> str:
    """A text in which each character that is not printable, such as a newline, is escaped."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _cut(text: str) -> str:
    text = one_line(text[: LONGEST + 1])
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
