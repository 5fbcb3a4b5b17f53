"""Headers that sinks hand on: only what each client and each environment can send goes out."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["add_headers"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
_VALUE = re.compile(r"[ -~]*")


def add_headers(headers: dict[str, str], found: Mapping[str, str]) -> None:
    """Add the headers that one sink gives.

    Raises:
        ValueError: if there were others, which are left out: what is no text, is not ASCII, or has
            control characters. It names none of their values.
    """
    wrong = []
    for name, value in dict(found).items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            wrong.append("a name that is no token")
        elif not isinstance(value, str):
            wrong.append(f"{name!r} is {type(value).__name__}, not text")
        elif not _VALUE.fullmatch(value):
            wrong.append(f"{name!r} is not plain printable ASCII")
        else:
            headers[name] = value
    if wrong:
        raise ValueError(f"headers that cannot be sent: {'; '.join(wrong)}")
