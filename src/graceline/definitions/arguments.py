"""Arguments that a definition does not take are refused as its values are: with a hint."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from graceline.definitions.checks import brief, check_options
from graceline.errors import DefinitionError

__all__ = ["explained", "explained_class"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def explained(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a function raise a `DefinitionError`, and no `TypeError`, for what it does not take.

    Type checkers and `inspect.signature` see its own signature, which has no `*` and no `**`.
    """
    what = f"{function.__name__}()"

    @functools.wraps(function)
    def call(*args: _P.args, **options: _P.kwargs) -> _R:
        _check(what, _parameters(function), args, options)
        return function(*args, **options)

    return call


def explained_class(kind: type[_R]) -> type[_R]:
    """`explained`, for the constructor of a class; above the decorator that writes it."""
    what = f"{kind.__name__}()"
    construct: Callable[..., None] = kind.__init__

    @functools.wraps(construct)
    def init(self: _R, *args: Any, **options: Any) -> None:
        _check(what, _parameters(construct), args, options)
        construct(self, *args, **options)

    type.__setattr__(kind, "__init__", init)
    return kind


@functools.cache
def _parameters(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """What it takes, without `self`."""
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    return parameters


def _check(
    what: str,
    parameters: Mapping[str, inspect.Parameter],
    args: tuple[object, ...],
    options: Mapping[str, object],
) -> None:
    check_options(options, parameters, what)
    bare = [name for name, one in parameters.items() if one.kind is not one.KEYWORD_ONLY]
    if len(args) > len(bare):
        extra = brief(args[len(bare)])
        if bare:
            raise DefinitionError(
                f"{what}: only {' and '.join(bare)} can be given without a name, and {extra} is "
                "one more; a list holds several, and options are written name=value"
            )
        call = f"{what[:-1]}{next(iter(parameters))}={extra})"
        raise DefinitionError(f"{what}: {extra} needs a name; write {call}")
    for name in bare[: len(args)]:
        if name in options:
            raise DefinitionError(f"{what}: {name} is given twice, with and without its name")
    given = {*bare[: len(args)], *options}
    for name, one in parameters.items():
        if one.default is one.empty and name not in given:
            raise DefinitionError(f"{what}: {name}= is missing")
