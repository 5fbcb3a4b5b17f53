"""Plain scalars by the core schema of YAML 1.2: what `yes`, `1:30` and `010` are, and are not.

https://yaml.org/spec/1.2.2/#103-core-schema. `yes`, `on` and `1:30` are texts, `010` is ten.
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

__all__ = ["Scalar", "resolve_scalar"]

Scalar: TypeAlias = "str | int | float | bool | None"
"""What a plain scalar may be."""

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{f"{sign}{word}": math.inf for sign in ("", "+") for word in (".inf", ".Inf", ".INF")},
    **{f"-{word}": -math.inf for word in (".inf", ".Inf", ".INF")},
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DIGITS = 1000
"""A longer number is a mistake, and slow to read."""


def resolve_scalar(text: str) -> Scalar:
    """What a scalar without quotes means.

    Raises:
        ValueError: for a number that is too long, or too large.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if len(text) > _DIGITS and (_INTEGER.fullmatch(text) or _FLOAT.fullmatch(text)):
        raise ValueError(f"a number of {len(text)} characters is too long; quote it for a text")
    if _INTEGER.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError(f"{text} is too large; write .inf for 'unlimited'")
        return number
    return text
