"""Filters of numbers, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date
from enum import Enum
from typing import Any

import attrs

from graceline.definitions.checks import brief
from graceline.dialects.templates.errors import TemplateError
from graceline.dialects.templates.meter import MAX_BITS, Meter
from graceline.dialects.templates.texts import check_text

__all__ = ["VALUES"]

_DIGITS_PER_STEP = 128
"""Digits of a whole number that are read for one step."""
_JSON = 3
"""Steps that writing or reading JSON takes, however little it is."""
_MAX_JSON = 4 << 20
"""Characters that `from_json` reads."""


def _abs(meter: Meter, value: Any) -> Any:
    meter.tick()
    return abs(_number(value, "abs"))


def _number(value: Any, what: str) -> Any:
    if not isinstance(value, int | float):
        raise TemplateError(f"{what} needs a number, not {brief(value)}")
    return value


def _int(meter: Meter, value: Any, default: Any = 0, base: int = 10) -> Any:
    try:
        if isinstance(value, str):
            meter.pay(value)
            if len(value) > MAX_BITS:
                return default
            meter.tick(len(value) // _DIGITS_PER_STEP)
            return meter.kept(int(value, base))
        return meter.kept(int(value))
    except (TypeError, ValueError, OverflowError):
        try:
            return int(float(value))
        except (TypeError, ValueError, OverflowError):
            return default


def _float(meter: Meter, value: Any, default: Any = 0.0) -> Any:
    if not isinstance(value, str | int | float):
        return default
    meter.pay(value)
    try:
        return float(value)
    except (ValueError, OverflowError):
        return default


def _round(meter: Meter, value: Any, precision: int = 0, method: str = "common") -> Any:
    meter.tick()
    number = _number(value, "round")
    if isinstance(precision, bool) or not isinstance(precision, int) or abs(precision) > 300:
        raise TemplateError(f"round takes a precision from -300 to 300, not {brief(precision)}")
    try:
        if method == "common":
            return round(float(number), precision)
        if method not in ("ceil", "floor"):
            raise TemplateError(f"round takes 'common', 'ceil' or 'floor', not {brief(method)}")
        function = math.ceil if method == "ceil" else math.floor
        return function(number * 10.0**precision) / 10.0**precision
    except (ValueError, OverflowError) as error:
        raise TemplateError(f"{brief(number)} cannot be rounded: {error}") from error


def _sized(meter: Meter, value: Any, binary: bool = False) -> str:
    meter.tick()
    try:
        size = float(_number(value, "filesizeformat"))
    except OverflowError:
        raise TemplateError(f"{brief(value)} is too large for filesizeformat") from None
    base = 1024 if binary else 1000
    if abs(size) < base:
        return f"{size:g} Bytes"
    units = iter("kMGTPEZY")
    unit = next(units)
    size /= base
    while abs(size) >= base and unit != "Y":
        unit = next(units)
        size /= base
    return f"{size:.1f} {f'{unit.upper()}iB' if binary else f'{unit}B'}"


# -- JSON -----------------------------------------------------------------------------------------


def _tojson(meter: Meter, value: Any, indent: int | None = None) -> str:
    if indent is not None and (not isinstance(indent, int) or not 0 <= indent <= 16):
        raise TemplateError(f"tojson takes an indent from 0 to 16, not {brief(indent)}")
    meter.tick(_JSON)
    meter.pay(value)
    try:
        text = json.dumps(
            value, indent=indent, ensure_ascii=False, allow_nan=False, default=_as_json
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise TemplateError(f"{brief(value)} cannot be written as JSON: {error}") from error
    made: str = meter.kept(text)
    return made


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "message": str(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    raise TypeError(f"JSON has nothing for a {type(value).__name__}")


def _from_json(meter: Meter, value: Any) -> Any:
    text = check_text(value, "from_json")
    if len(text) > _MAX_JSON:
        raise TemplateError(f"from_json reads {_MAX_JSON} characters, and these are {len(text)}")
    meter.tick(_JSON)
    meter.pay(text)
    try:
        read = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"{brief(text)} is no JSON: {error}") from error
    return meter.kept(read)


def _no_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


VALUES: dict[str, Callable[..., Any]] = {
    "abs": _abs,
    "filesizeformat": _sized,
    "float": _float,
    "from_json": _from_json,
    "int": _int,
    "round": _round,
    "tojson": _tojson,
}
"""The filters of numbers, and of JSON, by their names."""
