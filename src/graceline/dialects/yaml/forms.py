"""Forms: what the value of a key may be, in words, as a check, and as a piece of JSON Schema."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from graceline.definitions.checks import brief, nearest
from graceline.durations import parse_duration
from graceline.errors import DefinitionError

__all__ = [
    "ANYTHING",
    "ARGV",
    "CODES",
    "CONDITION",
    "COUNT",
    "FACTOR",
    "FLAG",
    "FREE",
    "ITEMS",
    "METADATA",
    "NAME",
    "NAMES",
    "OUTPUTS",
    "PAUSE",
    "SECONDS",
    "SHARE",
    "SMALL_SHARE",
    "TEXT",
    "TEXTS",
    "VARIABLES",
    "WHOLE",
    "Form",
    "WrongError",
    "choice",
    "is_name",
]


class WrongError(ValueError):
    """A value is not what its key takes.

    Attributes:
        key: the key inside of the value that is wrong; None for the value itself.
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


@attrs.frozen(eq=False)
class Form:
    """What a value may be.

    Attributes:
        words: the same for people.
        read: the value as it is used; raises `WrongError`.
        schema: the same for JSON Schema.
    """

    words: str
    read: Callable[[Any], Any]
    schema: Mapping[str, Any]


def _form(words: str, fits: Callable[[Any], bool], schema: Mapping[str, Any]) -> Form:
    """A form that takes the values of which a function says so, and leaves them as they are."""

    def read(value: Any) -> Any:
        if not fits(value):
            raise WrongError(_refusal(words, value))
        return value

    return Form(words, read, schema)


def _refusal(words: str, value: Any) -> str:
    if value is None:
        return "has no value; give one, or leave the key out"
    hint = ""
    if words.startswith("true") and isinstance(value, str) and value.lower() in _BOOLEANS:
        hint = f"; in YAML 1.2 {value} is a text, write {_BOOLEANS[value.lower()]}"
    elif words.startswith(("a text", "a name")) and isinstance(value, bool | int | float):
        hint = "; quote it"
    return f"must be {words}, not {brief(value)}{hint}"


_BOOLEANS = {
    **dict.fromkeys(("yes", "on", "y", "true"), "true"),
    **dict.fromkeys(("no", "off", "n", "false"), "false"),
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NAME_SCHEMA = {"type": "string", "pattern": f"^{_NAME.pattern}$", "maxLength": 100}
_TEMPLATE_SCHEMA = {"type": "string", "pattern": r"\{[{%]"}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def is_name(value: Any) -> bool:
    """Whether steps and stages can be called so."""
    return isinstance(value, str) and len(value) <= 100 and bool(_NAME.fullmatch(value))


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _is_argv(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(word, str) for word in value) and bool(value[0])
    return _is_text(value)


def _is_environment(value: Any) -> bool:
    return isinstance(value, dict) and all(
        name and "=" not in name and "\0" not in name and isinstance(text, str | None)
        for name, text in value.items()
    )


def _is_codes(value: Any) -> bool:
    whole = isinstance(value, list) and bool(value) and all(map(_is_whole, value))
    return whole and all(0 <= code <= 255 for code in value)


TEXT = _form("a text", _is_text, {"type": "string", "minLength": 1, "pattern": r"\S"})
"""Any text that says something."""

NAME = _form(
    "a name of up to 100 letters, digits, _ and -, such as unit_tests", is_name, _NAME_SCHEMA
)
"""What templates can refer to."""

FLAG = _form("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})
"""A boolean of YAML 1.2."""

COUNT = _form(
    "a whole number, at least 1",
    lambda value: _is_whole(value) and value >= 1,
    {"type": "integer", "minimum": 1},
)
"""How many of something."""

WHOLE = _form(
    "a whole number, at least 0",
    lambda value: _is_whole(value) and value >= 0,
    {"type": "integer", "minimum": 0},
)
"""How many of something, or none."""

SHARE = _form(
    "a share above 0 and at most 1",
    lambda value: _is_number(value) and 0 < value <= 1,
    {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
)
"""A part of something."""

SMALL_SHARE = _form(
    "a share above 0 and below 0.5",
    lambda value: _is_number(value) and 0 < value < 0.5,
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
)
"""A part of something that is not the most of it."""

FACTOR = _form(
    "a number of at least 1",
    lambda value: _is_number(value) and value >= 1,
    {"type": "number", "minimum": 1},
)
"""By how much something grows."""

TEXTS = _form(
    "a list of texts", _is_texts, {"type": "array", "items": {"type": "string", "pattern": r"\S"}}
)
"""Several texts."""

FREE = _form("a mapping", lambda value: isinstance(value, dict), {"type": "object"})
"""Anything by name: what it means is not for the file to say."""

OUTPUTS = _form(
    "a mapping of names to values",
    lambda value: isinstance(value, dict) and bool(value),
    {"type": "object", "minProperties": 1},
)
"""At least one thing by name."""

ANYTHING = Form("anything", lambda value: value, {})
"""Whatever it is."""

CONDITION = _form(
    "true, false or a template such as '{{ steps.a.error == None }}'",
    lambda value: isinstance(value, bool) or _is_template(value),
    {"anyOf": [{"type": "boolean"}, _TEMPLATE_SCHEMA]},
)
"""What decides."""

ITEMS = _form(
    "a list, or a template such as '{{ inputs.files }}' that gives one",
    lambda value: isinstance(value, list) or _is_template(value),
    {"anyOf": [{"type": "array"}, _TEMPLATE_SCHEMA]},
)
"""What a step runs over."""

ARGV = _form(
    "a list of texts such as [make, all], or a line for the shell",
    _is_argv,
    {
        "anyOf": [
            {"type": "string", "pattern": r"\S"},
            {
                "type": "array",
                "prefixItems": [{"type": "string", "minLength": 1}],
                "minItems": 1,
                "items": {"type": "string"},
            },
        ]
    },
)
"""A program with its arguments."""

VARIABLES = _form(
    "a mapping of variables to texts, or null to take one away",
    _is_environment,
    {
        "type": "object",
        "propertyNames": {"pattern": "^[^=\\x00]+$"},
        "additionalProperties": {"type": ["string", "null"]},
    },
)
"""The environment of a program."""

CODES = _form(
    "a list of exit codes, 0 to 255",
    _is_codes,
    {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0, "maximum": 255}},
)
"""Exit codes that count as success."""


def _names(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(map(is_name, names)):
        raise WrongError(_refusal("a name, or a list of names", value))
    return tuple(dict.fromkeys(names))


NAMES = Form(
    "a name, or a list of names",
    _names,
    {"anyOf": [_NAME_SCHEMA, {"type": "array", "items": _NAME_SCHEMA}]},
)
"""Names of other parts."""


def choice(*words: str) -> Form:
    """The form of a word out of several."""

    def read(value: Any) -> str:
        if value is None:
            raise WrongError(_refusal("", value))
        if not isinstance(value, str) or value not in words:
            raise WrongError(f"{brief(value)} is none of its values; {nearest(value, words)}")
        return value

    return Form(" or ".join(words), read, {"enum": list(words)})


_AMOUNT = r"([0-9]+(\.[0-9]+)?|\.[0-9]+)\s*"
_UNITS = "".join(rf"({_AMOUNT}{unit}\s*)?" for unit in ("d", "h", "m", "s", "ms", "(us|µs)"))


def _duration(value: Any, *, zero: bool, endless: bool) -> float:
    if value is None:
        raise WrongError(_refusal("", value))
    try:
        seconds = parse_duration(value, signed=True)
    except DefinitionError as error:
        raise WrongError(str(error).removeprefix("duration: ")) from None
    if seconds < 0 or (seconds == 0 and not zero):
        least = "at least 0" if zero else "above 0"
        least += "; write .inf for no limit" if endless and not zero else ""
        raise WrongError(f"{brief(value)} is not {least}")
    if math.isinf(seconds) and not endless:
        raise WrongError("must be finite")
    return seconds


def _duration_schema(*, zero: bool) -> dict[str, Any]:
    least = {"minimum": 0} if zero else {"exclusiveMinimum": 0}
    digit = "[0-9]" if zero else "[1-9]"
    return {
        "anyOf": [
            {"type": "number", **least},
            {"type": "string", "pattern": rf"^\s*(?=.*{digit}){_UNITS}$"},
        ]
    }


_LIMIT_SCHEMA = _duration_schema(zero=False)
SECONDS = Form(
    "a duration above 0 such as 30, '30s' or '1m30s'; .inf for none",
    lambda value: _duration(value, zero=False, endless=True),
    _LIMIT_SCHEMA,
)
"""A limit: seconds as a number, or a text with a unit."""
PAUSE = Form(
    "a duration such as 0.1 or '100ms'",
    lambda value: _duration(value, zero=True, endless=False),
    _duration_schema(zero=True),
)
"""A finite span of time, of which 0 is one."""

METADATA = Form(
    "a mapping",
    FREE.read,
    {"type": "object", "properties": {"timeout": _LIMIT_SCHEMA}},
)
"""Anything by name, and a limit."""
