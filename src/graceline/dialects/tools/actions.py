"""A tool with actions: each is an async method, and its parameters are checked before it runs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from graceline.definitions.checks import brief, nearest
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
        chosen = self.otherwise if action is None else action
        if chosen is None:
            raise ToolRefusedError(f"{self.name} needs an action: {', '.join(self.actions)}")
        if not isinstance(chosen, str) or chosen not in self.actions:
            hint = nearest(chosen, self.actions)
            raise ToolRefusedError(f"{self.name} has no action {brief(chosen)}; {hint}")
        method: Callable[..., Awaitable[Any]] = getattr(self, self.actions[chosen])
        where = f"{self.name}, {chosen}"
        return await method(**_checked(method, where, parameters))


def _checked(
    method: Callable[..., Any], where: str, parameters: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The parameters, if a method takes them."""
    known = inspect.signature(method).parameters
    for name in parameters:
        if name not in known:
            raise ToolRefusedError(f"{where}: no parameter {brief(name)}; {nearest(name, known)}")
    missing = [
        name
        for name, one in known.items()
        if one.default is one.empty and parameters.get(name) is None
    ]
    if missing:
        raise ToolRefusedError(f"{where}: it needs the parameter {missing[0]!r}")
    return parameters


def check_text(value: object, what: str) -> str:
    """Return a text, or raise."""
    if not isinstance(value, str):
        raise ToolRefusedError(f"{what} takes a text, not {brief(value)}")
    return value
