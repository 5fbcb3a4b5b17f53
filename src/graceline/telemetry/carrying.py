"""Headers that sinks hand on: only what each client and each environment can send goes out."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["TOKEN", "add_headers"]

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What RFC 9110 (section 5.6.2) calls a token: the name of a header is one."""
_VALUE = re.compile(r"[ -~]*")


def add_headers(headers: dict[str, str], found: Mapping[str, str]) -> None:
    """Add the headers that one sink gives.

    Raises:
        ValueError: if there were others, which are left out: what is no text, is not ASCII, or has
            control characters. It names none of their values.
    """
    wrong = []
    for name, value in dict(found).items():
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            wrong.append("a name that is no token")
        elif not isinstance(value, str):
            wrong.append(f"{name!r} is {type(value).__name__}, not text")
        elif not _VALUE.fullmatch(value):
            wrong.append(f"{name!r} is not plain printable ASCII")
        else:
            headers[name] = value
    if wrong:
        raise ValueError(f"headers that cannot be sent: {'; '.join(wrong)}")
