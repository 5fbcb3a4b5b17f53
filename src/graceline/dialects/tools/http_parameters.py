"""What the tool `http` takes: each parameter is looked at before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from graceline.definitions.checks import brief
from graceline.dialects.tools.arguments import Wrong

__all__ = ["wrong_parameters"]

_BODIES = ("json", "data", "body")
_CODES = range(100, 600)


def wrong_parameters(parameters: Mapping[str, Any]) -> Iterator[Wrong]:
    """What is of a wrong type, and bodies of which there is more than one.

    Args:
        parameters: as they stand in a file; `...` stands for what a template will say.
    """
    for name, (fits, right) in _RIGHT.items():
        value = parameters.get(name)
        if value is ... or (value is None and name in _OR_NONE):
            continue
        if name in parameters and not fits(value):
            said = brief(value) if name in _SHOWN else _kind(name, value)
            yield ("parameters", name), f"http: {name}= is {right}, not {said}"
    bodies = [name for name in _BODIES if parameters.get(name) not in (None, ...)]
    if len(bodies) > 1:
        said = " and ".join(f"{name}=" for name in bodies)
        yield ("parameters", bodies[1]), f"http: a request has one body, and there are {said}"


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_codes(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and all(code is ... or (type(code) is int and code in _CODES) for code in value)
    )


def _are_headers(value: Any) -> bool:
    return isinstance(value, Mapping) and not any(_wrong_headers(value))


def _wrong_headers(value: Mapping[Any, Any]) -> Iterator[str]:
    for name, said in value.items():
        if not isinstance(name, str) or not (said is ... or isinstance(said, str)):
            yield f"{type(said).__name__} for {brief(name)}"


def _kind(name: str, value: Any) -> str:
    """What a value is that may be a secret, and is not shown."""
    if name == "headers" and isinstance(value, Mapping):
        return next(_wrong_headers(value))
    return type(value).__name__


_SHOWN = frozenset({"ok_codes", "max_size", "follow_redirects"})
_OR_NONE = frozenset({"headers", "params", "json", "data", "body", "max_size"})
_RIGHT: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "headers": (_are_headers, "a mapping of texts"),
    "params": (lambda value: isinstance(value, Mapping), "a mapping"),
    "data": (lambda value: isinstance(value, Mapping), "a mapping"),
    "body": (lambda value: isinstance(value, str), "a text"),
    "ok_codes": (_are_codes, f"a list of codes from {_CODES[0]} to {_CODES[-1]}"),
    "max_size": (_is_size, "a number of bytes"),
    "follow_redirects": (lambda value: isinstance(value, bool), "true or false"),
}
