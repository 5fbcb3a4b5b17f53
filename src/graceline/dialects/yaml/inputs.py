"""Inputs: what a run is given, checked against what the file declares; texts are converted.

A text comes from a command line: `3` for an integer, `true` for a boolean, JSON for a list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from graceline.definitions.checks import brief, nearest
from graceline.dialects.strict import RefusedJsonError, read_json
from graceline.dialects.yaml.forms import WrongError
from graceline.dialects.yaml.problems import FileError, Problem
from graceline.dialects.yaml.reading import Tree
from graceline.dialects.yaml.scalars import resolve_scalar
from graceline.dialects.yaml.schema import InputKeys

__all__ = ["check_defaults", "coerce_inputs"]

_ENOUGH = 100
"""So many inputs that there are not are told."""


def coerce_inputs(declared: Mapping[str, InputKeys], given: Any, file: str) -> dict[str, Any]:
    """The inputs of a run: what is given, converted, and the defaults of the rest.

    Raises:
        FileError: for everything that is not declared, is missing, or is of another type.
    """
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        message = f"the input is a mapping of inputs by name, not {brief(given)}"
        raise FileError([Problem(message, file)])
    problems = [
        Problem(f"there is no input {brief(name)}; {nearest(name, declared)}", file)
        for name in islice((name for name in given if name not in declared), _ENOUGH)
    ]
    inputs: dict[str, Any] = {}
    missing: list[str] = []
    for name, one in declared.items():
        optional = one.required is False and one.default is None
        if name not in given or (optional and given[name] is None):
            inputs[name] = _default(one)
            if one.required or (one.required is None and one.default is None):
                what = "" if one.type == "any" else f", a value of type {one.type}"
                missing.append(f"input {brief(name)} is missing{what}")
            continue
        try:
            inputs[name] = _coerce(given[name], one.type)
        except WrongError as error:
            problems.append(Problem(f"input {brief(name)}: {error}", file))
    problems += [Problem(message, file) for message in missing]
    if problems:
        raise FileError(problems, told="; ".join(missing))
    return inputs


def check_defaults(declared: Mapping[str, InputKeys], tree: Tree, file: str) -> Iterator[Problem]:
    """Defaults that are of another type than their input."""
    for name, one in declared.items():
        if one.default is None:
            continue
        try:
            _coerce(one.default, one.type)
        except WrongError as error:
            found = tree.get("inputs", name, "default") or tree.get("parameters", name, "default")
            at = None if found is None else found.at
            yield Problem(f"inputs.{name}.default: {error}", file, at)


def _default(one: InputKeys) -> Any:
    return None if one.default is None else _coerce(one.default, one.type)


def _coerce(value: Any, kind: str) -> Any:
    check, convert = _TYPES[kind]
    if check(value):
        return value
    if isinstance(value, str):
        try:
            converted = convert(value)
        except RefusedJsonError as error:
            raise WrongError(str(error)) from None
        except ValueError:
            converted = None
        if converted is not None and check(converted):
            return converted
    raise WrongError(f"must be of type {kind}, not {brief(value)}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _scalar(text: str) -> Any:
    return resolve_scalar(text.strip())


_TYPES: dict[str, tuple[Callable[[Any], bool], Callable[[str], Any]]] = {
    "any": (lambda _: True, str),
    "string": (lambda value: isinstance(value, str), str),
    "integer": (_is_integer, _scalar),
    "number": (_is_number, _scalar),
    "boolean": (lambda value: isinstance(value, bool), _scalar),
    "array": (lambda value: isinstance(value, list | tuple), read_json),
    "object": (lambda value: isinstance(value, Mapping), read_json),
}
