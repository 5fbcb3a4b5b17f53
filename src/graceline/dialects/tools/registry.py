"""Tools by their names: what a file may name, and nothing else.

What a file names was registered by the program, is built in, or was installed as an entry point of
the group `graceline.tools`; the latter is imported when a file names it, and nothing else is. An
installed package cannot take the place of what is built in; only the program itself can.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from graceline.definitions.checks import brief, check_name, nearest
from graceline.engine.functions import add_function
from graceline.errors import DefinitionError
from graceline.saying import say

__all__ = ["GROUP", "Found", "Tool", "Tools"]

GROUP = "graceline.tools"
"""The group of entry points where packages offer tools."""

_log = logging.getLogger("graceline.tools")

F = TypeVar("F", bound=Callable[..., Any])

_NONE: Mapping[str, Callable[..., Any]] = {}


class Tool(Protocol):
    """A tool with actions, as the ones that are built in; it is called in a node's task."""

    def __call__(
        self, *, action: str | None = None, parameters: Mapping[str, Any]
    ) -> Awaitable[Any]:
        """Do something; returns a value, or a mapping with `success` and `error`."""


Found: TypeAlias = Tool | Callable[..., Any]
"""A tool with actions, or a function, plain or async, that takes the parameters by their names."""

_Maker: TypeAlias = Callable[[], Tool]


class Tools:
    """The tools and functions that pipelines may use by name: `Tools.default(root="work")`.

    `Tools()` is empty. What has the arguments `action` and `parameters` is a tool with actions;
    anything else is a function of its parameters, and can also stand for an action alone.
    """

    def __init__(self) -> None:
        self._functions: dict[str, Found] = {}
        self._makers: dict[str, _Maker] = {}
        self._entries: dict[str, EntryPoint] = {}
        self._root: Path | None = None

    @classmethod
    def default(
        cls, root: Path | str | None = None, functions: Mapping[str, Callable[..., Any]] = _NONE
    ) -> Tools:
        """The tools that are built in, and those of installed packages.

        Args:
            root: the directory that `filesystem` does not leave, and where `terminal` starts; None
                for the working directory, unless one that is included says another.
            functions: more of them by name, such as `engine.tools`; they are added as `add` does.

        Raises:
            DefinitionError: as `add`.
        """
        tools = cls()
        for name, function in functions.items():
            tools.add(name, function)
        tools._root = None if root is None else Path(root).absolute()
        tools._build_in()
        for entry in entry_points(group=GROUP):
            tools._entries.setdefault(entry.name, entry)
        return tools

    def _build_in(self) -> None:
        root = Path() if self._root is None else self._root
        for names, make in _BUILT_IN.items():
            for name in names:
                self._makers[name] = _made_once(make, root, self)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, sorted."""
        return tuple(sorted({*self._functions, *self._makers, *self._entries}))

    def __contains__(self, name: object) -> bool:
        return name in self._functions or name in self._makers or name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def add(self, name: str, function: F) -> F:
        """Register a tool or a function; one that is built in or installed gives way to it.

        An entry point of a built-in tool's name, in contrast, is not used, and a warning says so.

        Raises:
            DefinitionError: for what cannot be called, and for a name that was registered before.
        """
        return add_function(self._functions, name, function)

    def tool(self, name: str) -> Callable[[F], F]:
        """Register a function under a name, as a decorator: `@tools.tool("summarize")`.

        Raises:
            DefinitionError: as `add`.
        """
        check_name(name, "@tool", 'write @tools.tool("name")')
        return lambda function: self.add(name, function)

    def include(self, other: Tools) -> None:
        """Take over what another has, and the root if it states one for the built-in tools.

        Raises:
            DefinitionError: if both have registered a function of the same name, or state roots
                that differ.
        """
        if None not in (self._root, other._root) and self._root != other._root:
            raise DefinitionError(
                f"the built-in tools have one root=, and two are stated: {str(self._root)!r} and "
                f"{str(other._root)!r}"
            )
        for name, function in other._functions.items():
            self.add(name, function)
        self._entries |= other._entries
        stated = self._root is None and other._root is not None
        if stated:
            self._root = other._root
        if stated or (other._makers and not self._makers):
            self._build_in()

    def find(self, name: str) -> Found:
        """The tool or the function of a name; an entry point is imported when it is asked for.

        Raises:
            DefinitionError: if there is none, or if it cannot be loaded; names the nearest one.
        """
        if name in self._functions:
            return self._functions[name]
        if name in self._makers:
            self._warn_of(self._entries.pop(name, None))
            return self._makers[name]()
        if name in self._entries:
            return self._load(name)
        raise DefinitionError(f"there is no tool {brief(name)}; {nearest(name, self.names)}")

    def registered(self, name: str) -> Callable[..., Any]:
        """A function that the program has registered.

        Raises:
            DefinitionError: if there is none of this name; names the nearest one.
        """
        if name not in self._functions:
            hint = nearest(name, sorted(self._functions))
            raise DefinitionError(f"no function {brief(name)} is registered; {hint}")
        return self._functions[name]

    def _warn_of(self, entry: EntryPoint | None) -> None:
        """Say once that an entry point is not used, because a built-in tool has its name."""
        if entry is not None:
            say(
                _log, logging.WARNING, "tool_shadowed",
                "the tool %r is the one that is built in; the entry point %r of an installed "
                "package has the same name, and is not used",
                entry.name, entry.value, tool=entry.name, entry=entry.value,
            )  # fmt: skip

    def _load(self, name: str) -> Found:
        entry = self._entries[name]
        try:
            function = entry.load()
        except Exception as error:
            # A package that is broken raises what it likes when it is imported.
            raise DefinitionError(
                f"tool {name!r}, {entry.value!r}, cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        if not callable(function):
            raise DefinitionError(f"tool {name!r}: {entry.value!r} is not a function")
        found: Found = function
        return found


def _made_once(make: Callable[[Path, Tools], Tool], root: Path, tools: Tools) -> _Maker:
    made: list[Tool] = []

    def find() -> Tool:
        if not made:
            made.append(make(root, tools))
        return made[0]

    return find


# What a tool needs is imported when a file names it.


def _filesystem(root: Path, _: Tools) -> Tool:
    from graceline.dialects.tools.filesystem import Filesystem  # noqa: PLC0415

    return Filesystem(root)


def _terminal(root: Path, _: Tools) -> Tool:
    from graceline.dialects.tools.terminal import Terminal  # noqa: PLC0415

    return Terminal(root)


def _http(_: Path, __: Tools) -> Tool:
    try:
        from graceline.dialects.tools.http import Http  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise DefinitionError(
            f"the tool 'http' needs {error.name}, which is not installed; run: "
            "pip install 'graceline[http]'"
        ) from error
    return Http()


def _python(_: Path, tools: Tools) -> Tool:
    from graceline.dialects.tools.python import Python  # noqa: PLC0415

    return Python(tools)


_BUILT_IN: Mapping[tuple[str, ...], Callable[[Path, Tools], Tool]] = {
    ("filesystem",): _filesystem,
    ("terminal", "command"): _terminal,
    ("http", "web-fetch"): _http,
    ("python",): _python,
}
