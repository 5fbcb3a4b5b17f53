"""A tool with actions: each is an async method, and its parameters are checked before it runs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from graceline.definitions.checks import brief, nearest
from graceline.dialects.tools.arguments import Wrong
from graceline.dialects.tools.results import ToolRefusedError

__all__ = ["Actions", "check_text"]


class Actions:
    """The base of the tools that are built in.

    Attributes:
        name: what messages call the tool.
        actions: the names of its actions, each with that of its method.
        otherwise: the action that is meant where none is named, None if one has to be.
    """

    name: ClassVar[str]
    actions: ClassVar[Mapping[str, str]]
    otherwise: ClassVar[str | None] = None

    async def __call__(self, *, action: str | None = None, parameters: Mapping[str, Any]) -> Any:
        """Do what an action says.

        Raises:
            ToolRefusedError: if there is no such action, or if it does not take the parameters.
            ToolFailedError: if it fails.
        """
        for _, message in self._wrong(action, parameters):
            raise ToolRefusedError(message)
        method: Callable[..., Awaitable[Any]] = getattr(self, self.actions[self._chosen(action)])
        return await method(**parameters)

    def check_call(self, *, action: str | None, parameters: Mapping[str, Any]) -> Iterable[Wrong]:
        """What is wrong with a call that a file will make; nothing is done.

        Args:
            action: what the file says.
            parameters: the same; `...` stands for what a template will say.

        Returns:
            What is wrong, each with the way to it, such as `("parameters", "path")`.
        """
        return self._wrong(action, parameters)

    def _chosen(self, action: str | None) -> str:
        return self.otherwise or "" if action is None else action

    def _wrong(self, action: str | None, parameters: Mapping[str, Any]) -> Iterator[Wrong]:
        """An action that there is not, and parameters that it does not take, or lacks."""
        chosen = self._chosen(action)
        if not chosen:
            yield ("action",), f"{self.name} needs an action: {', '.join(self.actions)}"
            return
        if not isinstance(chosen, str) or chosen not in self.actions:
            hint = nearest(chosen, self.actions)
            yield ("action",), f"{self.name} has no action {brief(chosen)}; {hint}"
            return
        known = inspect.signature(getattr(self, self.actions[chosen])).parameters
        where = f"{self.name}, {chosen}"
        unknown = [name for name in parameters if name not in known]
        for name in unknown:
            message = f"{where}: no parameter {brief(name)}; {nearest(name, known)}"
            yield ("parameters", name), message
        for name, one in known.items() if not unknown else ():
            if one.default is one.empty and parameters.get(name) is None:
                yield (), f"{where}: it needs the parameter {name!r}"


def check_text(value: object, what: str) -> str:
    """Return a text, or raise."""
    if not isinstance(value, str):
        raise ToolRefusedError(f"{what} takes a text, not {brief(value)}")
    return value
