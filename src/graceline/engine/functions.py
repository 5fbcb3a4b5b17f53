"""Functions that a program registers by name, for what names them: the steps of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from graceline.definitions.checks import brief, check_name
from graceline.errors import DefinitionError

__all__ = ["Functions", "add_function"]

F = TypeVar("F", bound=Callable[..., Any])


class Functions:
    """What engines have in common that know functions by name."""

    def __init__(self) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}

    @property
    def tools(self) -> Mapping[str, Callable[..., Any]]:
        """The registered functions by their names, to look at: `load(path, tools=engine.tools)`."""
        return MappingProxyType(self._functions)

    def tool(self, name: str) -> Callable[[F], F]:
        """Register a function under a name, as a decorator: `@engine.tool("summarize")`.

        It stays as it is, and the engine does not call it by itself: it is for what names tools,
        such as files.

        Raises:
            DefinitionError: for what cannot be called, a bad name, and one that was registered
                before.
        """
        check_name(name, "@tool", 'write @engine.tool("name")')
        return lambda function: add_function(self._functions, name, function)


def add_function(known: dict[str, Callable[..., Any]], name: str, function: F) -> F:
    """Add a function to those that are known; returns it.

    Raises:
        DefinitionError: for what cannot be called, a bad name, and one that is known.
    """
    check_name(name, "a tool")
    if not callable(function):
        raise DefinitionError(f"tool {name!r}: {brief(function)} is not a function")
    if name in known:
        raise DefinitionError(f"tool {name!r} is registered already; take another name")
    known[name] = function
    return function
