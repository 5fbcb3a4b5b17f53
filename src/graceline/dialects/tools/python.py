"""The tool `python`: a function that the program has registered, by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from graceline.definitions.checks import brief, is_async
from graceline.dialects.tools.actions import Actions, check_text
from graceline.dialects.tools.arguments import Wrong, wrong_arguments
from graceline.dialects.tools.results import ToolRefusedError, understand
from graceline.errors import DefinitionError

if TYPE_CHECKING:
    from graceline.dialects.tools.registry import Tools

__all__ = ["Python"]


class Python(Actions):
    """Calls registered functions: async ones in the step's task, plain ones in a worker thread.

    Args:
        tools: where they are registered.
    """

    name: ClassVar[str] = "python"
    actions: ClassVar[dict[str, str]] = {"call": "call", "run": "call"}
    otherwise: ClassVar[str] = "call"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def check_call(self, *, action: str | None, parameters: Mapping[str, Any]) -> Iterator[Wrong]:
        """What is wrong with a call: the function included, where its name stands in the file."""
        yield from self._wrong(action, parameters)
        function, given = parameters.get("function"), parameters.get("arguments")
        if not isinstance(function, str):
            return
        try:
            found = self._tools.registered(function)
        except DefinitionError as error:
            yield ("parameters", "function"), f"python: {error}"
            return
        if given is None or isinstance(given, Mapping):
            for path, message in wrong_arguments(found, given or {}, f"python: {function!r}"):
                yield ("parameters", "arguments", *path) if path else (), message

    async def call(self, function: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Call a function with arguments by name; returns what it returns.

        Raises:
            ToolRefusedError: if there is no such function.
            ToolFailedError: if its result says that it failed.
        """
        name = check_text(function, "python, function=")
        given = {} if arguments is None else arguments
        if not isinstance(given, Mapping):
            raise ToolRefusedError(f"python: arguments= is a mapping, not {brief(given)}")
        try:
            found = self._tools.registered(name)
        except DefinitionError as error:
            raise ToolRefusedError(f"python: {error}") from error
        if is_async(found):
            return understand(await found(**given))
        work = partial(found, **given)
        return understand(await trio.to_thread.run_sync(work, abandon_on_cancel=True))
