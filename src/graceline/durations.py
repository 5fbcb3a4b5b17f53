"""Durations as people write them: `0.25`, `"250ms"`, `"1m30s"`, a `timedelta` <-> seconds."""

from __future__ import annotations

import math
import re
import reprlib
from datetime import timedelta
from typing import TypeAlias

from graceline.errors import DefinitionError

__all__ = ["Duration", "format_duration", "parse_duration"]

Duration: TypeAlias = float | str | timedelta
"""A duration: seconds as a number, a string with a unit, or a `timedelta`."""

_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(us|µs|ms|s|m|h|d)\s*")
_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 60
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def parse_duration(value: Duration, what: str = "duration", *, signed: bool = False) -> float:
    """Turn a duration into seconds.

    Args:
        value: seconds as an int or float (`math.inf` means unlimited), a string with units
            (`us`, `ms`, `s`, `m`, `h`, `d`, largest first: `"1m30s"`), or a `timedelta`.
        what: what the duration is for; it opens the error message.
        signed: whether a negative number is allowed (a budget that is already spent).

    Returns:
        Seconds, `>= 0` unless `signed`.

    Raises:
        DefinitionError: for negative values, NaN, booleans, strings without a unit, other types.
    """
    seconds = _to_seconds(value, what)
    if math.isnan(seconds):
        raise DefinitionError(f"{what}: NaN is not a duration; write seconds such as 0.25")
    if seconds < 0 and not signed:
        raise DefinitionError(
            f"{what}: {_brief.repr(value)} is negative; write 0 for 'already expired', "
            "or math.inf for 'unlimited'"
        )
    return seconds or 0.0  # and never -0.0, which results would show


def _to_seconds(value: Duration, what: str) -> float:
    if isinstance(value, bool):
        raise DefinitionError(f"{what}: {value!r} is a bool, not a duration; write seconds")
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            raise DefinitionError(f"{what}: the number is too large; use math.inf") from None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        return _parse_text(value, what)
    raise DefinitionError(
        f"{what}: {_brief.repr(value)} is of type {type(value).__name__}, not a duration; "
        'write seconds (0.25), a string ("250ms") or a timedelta'
    )


def _parse_text(text: str, what: str) -> float:
    stripped = text.strip()
    sign = -1.0 if stripped.startswith("-") else 1.0
    total, start = 0.0, int(sign < 0)
    position = start
    smallest = math.inf
    while match := _PART.match(stripped, position):
        unit = _UNITS[match[2]]
        if unit >= smallest:
            raise DefinitionError(
                f"{what}: {_brief.repr(text)} repeats or reorders units; write '1m30s'"
            )
        smallest = unit
        total += float(match[1]) * unit
        position = match.end()
    if start < position == len(stripped):
        return sign * total
    if _NUMBER.fullmatch(stripped):
        number = f"{float(stripped):.15g}"
        raise DefinitionError(
            f"{what}: {_brief.repr(text)} has no unit; write '{number}s', '{number}ms' or a "
            "number, without quotes"
        )
    raise DefinitionError(
        f"{what}: {_brief.repr(text)} is not a duration; write '250ms', '30s', '2m' or '1h30m'"
    )


def format_duration(seconds: float) -> str:
    """Write seconds the way people read them: `0.25` -> `"250ms"`, `90` -> `"1m30s"`.

    Three significant digits below a minute, whole seconds above; `inf` is `"unlimited"`.
    """
    if seconds == math.inf:
        return "unlimited"
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    for unit, size in (("us", 1e-6), ("ms", 1e-3)):
        if seconds and float(f"{seconds / size:.3g}") < 1000:
            return f"{float(f'{seconds / size:.3g}'):g}{unit}"
    if seconds < 59.95:
        return f"{float(f'{seconds:.3g}'):g}s"
    whole = round(seconds)
    parts = [(whole // 3600, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number)
