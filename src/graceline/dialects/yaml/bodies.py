"""Bodies: what a step runs, as the function of a node; templates are evaluated before it starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import attrs

from graceline.definitions import Command
from graceline.definitions.checks import is_async
from graceline.dialects.templates import Value, compile_value
from graceline.dialects.tools import understand
from graceline.dialects.yaml.calls import check_call, is_tool
from graceline.dialects.yaml.programs import program_of
from graceline.dialects.yaml.running import Item, Runs
from graceline.dialects.yaml.schema import BodyKeys
from graceline.engine.surrounded import Surrounded
from graceline.errors import DefinitionError
from graceline.work import Bound

__all__ = ["Call", "PlainCall", "ToolSource", "items_of", "work_of"]


class ToolSource(Protocol):
    """What knows the tools of a program."""

    def find(self, name: str) -> Any:
        """The tool of a name, or an error that says which one is near."""


def work_of(
    body: BodyKeys, name: str, runs: Runs, tools: ToolSource, root: Path | None, runs_on: str | None
) -> Callable[[Any], Any] | Command:
    """What the node of a step runs.

    Args:
        body: the step.
        name: its id.
        runs: gives the scope of its templates.
        tools: where its tool is found.
        root: the directory of programs.
        runs_on: what the step says.

    Raises:
        GracelineError: if there is no such tool.
        CallError: if that does not take what the step gives it.
        DefinitionError: if it cannot run there.
    """
    if body.command is not None:
        return program_of(body, name, runs, root)
    parameters = compile_value(body.parameters or {})
    found = tools.find(body.action if body.tool is None else body.tool)  # type: ignore[arg-type]
    check_call(found, body, name)
    if is_tool(found):
        kind: type[Call] = _ToolCall
    else:
        kind = _AsyncCall if is_async(found) else PlainCall
    where = ("thread", "process") if kind is PlainCall else ("coroutine",)
    if runs_on is not None and runs_on not in where:
        raise DefinitionError(
            f"runs_on: {runs_on!r} does not fit; {name!r} runs on {' or '.join(where)}"
        )
    action = None if body.tool is None else body.action
    return kind(name, found, action, runs, parameters)


@attrs.frozen(eq=False)
class Call(Surrounded, ABC):
    """A tool or a function, called with what the templates of a step say."""

    __name__: str
    function: Callable[..., Any]
    action: str | None
    runs: Runs
    parameters: Value

    def rendered(self, value: Any) -> dict[str, Any]:
        """The parameters, of an item or not."""
        parameters: dict[str, Any] = self.runs.evaluate(self.parameters, value)
        return parameters

    @abstractmethod
    def __call__(self, value: Any) -> Any:
        """Call it with the input of its node, which may be an item."""


class _ToolCall(Call):
    async def __call__(self, value: Any) -> Any:
        """Call a tool of the file's kind."""
        parameters = self.rendered(value)
        return understand(await self.function(action=self.action, parameters=parameters))


class _AsyncCall(Call):
    async def __call__(self, value: Any) -> Any:
        """Call an async function."""
        return understand(await self.function(**self.rendered(value)))


class PlainCall(Call):
    """A plain function, which runs elsewhere: only it and its parameters are sent there."""

    @property
    def inner(self) -> Callable[[Any], Any]:
        """What runs in the thread or the process."""
        return _Spread(self.__name__, self.function)

    def around(self, work: Bound) -> Bound:
        """Evaluates the templates before, and looks at the result afterwards, in the event loop."""

        async def call(value: Any) -> Any:
            return understand(await work(self.rendered(value)))

        return call

    def __call__(self, value: Any) -> Any:
        """Call it here."""
        return understand(self.function(**self.rendered(value)))


@attrs.frozen(eq=False)
class _Spread:
    __name__: str
    function: Callable[..., Any]

    def __call__(self, parameters: dict[str, Any]) -> Any:
        return self.function(**parameters)


def items_of(tree: Any, runs: Runs) -> Callable[[Any], list[Item]]:
    """The list that a step runs over, as a function of its input."""
    value = compile_value(tree)

    def items(_: Any) -> list[Item]:
        entries = runs.evaluate(value)
        if not isinstance(entries, list | tuple | range | set | frozenset):
            raise TypeError(f"for_each needs a list, and this is a {type(entries).__name__}")
        entries = list(entries)
        return [Item(entry, index, len(entries)) for index, entry in enumerate(entries)]

    return items
