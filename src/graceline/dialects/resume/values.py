"""Values on the disk: what a step returned, written so that it comes back as it was, or not at all.

JSON knows none, booleans, numbers, texts, lists and mappings. What else is kept has a mark: a
mapping with the key `$`, which is marked itself if it is the user's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import attrs

from graceline.definitions.checks import brief
from graceline.errors import GracelineError
from graceline.results import CommandOutput

__all__ = [
    "MAX_CHARACTERS",
    "MAX_DEPTH",
    "MAX_VALUES",
    "UnkeepableError",
    "decode_value",
    "encode_value",
]

MAX_DEPTH = 200
"""How deeply a value may be nested; one that holds itself has no end."""
MAX_VALUES = 1_000_000
"""How many values it may hold, each as often as it stands there."""
MAX_CHARACTERS = 1 << 26
"""How many characters its texts may have in all."""

_MARK = "$"
_BITS = 4096  # beyond some thousand digits Python refuses to read a number
_HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_TUPLES = ("argv", "artifacts")


class UnkeepableError(GracelineError):
    """A value that a journal cannot give back as it was; says which part of it, and why."""


def encode_value(value: Any) -> Any:
    """A value as plain JSON types.

    Tuples become lists, mappings of any class plain ones; all else comes back as it was.

    Raises:
        UnkeepableError: for what has no exact form there.
    """
    try:
        return _Encoder().encode(value, "", 0)
    except UnkeepableError:
        raise
    except Exception as error:  # a mapping of the user's own may raise anything
        raise UnkeepableError(f"{type(error).__name__} while it was read") from error


def decode_value(document: Any) -> Any:
    """The value that `encode_value` was given."""
    if isinstance(document, list):
        return [decode_value(entry) for entry in document]
    if not isinstance(document, dict):
        return document
    kind = document.get(_MARK)
    if kind is None:
        return {key: decode_value(entry) for key, entry in document.items()}
    of = document["of"]
    if kind == "integer":
        return int(of, 16)
    if kind == "float":
        return float(of)
    if kind == "mapping":
        return {key: decode_value(entry) for key, entry in of.items()}
    fields: dict[str, Any] = {**of, **{name: tuple(of[name]) for name in _TUPLES}}
    return CommandOutput(**fields)


class _Encoder:
    def __init__(self) -> None:
        self._values = 0
        self._characters = 0

    def encode(self, value: Any, path: str, depth: int) -> Any:
        """One value and all that is in it; `path` leads to it."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise UnkeepableError(f"it holds more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise UnkeepableError(f"it is nested more than {MAX_DEPTH} levels deep")
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            large = value.bit_length() > _BITS
            return {_MARK: "integer", "of": hex(value)} if large else value
        if kind is float:
            return value if math.isfinite(value) else {_MARK: "float", "of": repr(value)}
        if kind is str:
            return self._text(value, path)
        if kind is list or kind is tuple:
            return [
                self.encode(entry, f"{path}[{index}]", depth + 1)
                for index, entry in enumerate(value)
            ]
        if isinstance(value, CommandOutput):
            fields = attrs.asdict(value, recurse=False)
            return {_MARK: "program", "of": self._mapping(fields, path, depth)}
        if isinstance(value, Mapping):
            entries = self._mapping(value, path, depth)
            return {_MARK: "mapping", "of": entries} if _MARK in entries else entries
        raise UnkeepableError(f"{_at(path)}is of type {kind.__name__}")

    def _mapping(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        entries = {}
        for key, entry in value.items():
            if type(key) is not str:
                raise UnkeepableError(f"{_at(path)}has the key {brief(key)}, which is no text")
            entries[self._text(key, path)] = self.encode(entry, f"{path}.{key}", depth + 1)
        return entries

    def _text(self, text: str, path: str) -> str:
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            raise UnkeepableError(f"its texts have more than {MAX_CHARACTERS} characters")
        if _HALVES.search(text):  # JSON would join them
            raise UnkeepableError(f"{_at(path)}holds two halves of one character")
        return text


def _at(path: str) -> str:
    return f"{path.removeprefix('.')[:100]} " if path else "it "
