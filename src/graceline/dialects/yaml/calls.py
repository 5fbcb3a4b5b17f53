"""Calls: what a file asks of tools and functions, as far as it can be told before a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graceline.definitions.checks import brief
from graceline.dialects.templates.parsing import is_template
from graceline.dialects.tools.arguments import Wrong, wrong_arguments
from graceline.dialects.yaml.schema import BodyKeys
from graceline.errors import DefinitionError, GracelineError

__all__ = ["CallError", "check_call", "is_tool"]


class CallError(DefinitionError):
    """A step asks for what its tool or function does not take.

    Attributes:
        wrong: what is wrong, at least one, each with the way to it from the step.
    """

    def __init__(self, wrong: tuple[Wrong, ...]) -> None:
        super().__init__("\n".join(message for _, message in wrong))
        self.wrong = wrong


def is_tool(found: Any) -> bool:
    """Whether it is called with an action and its parameters, and not with these themselves."""
    try:
        names = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return False
    return "action" in names and "parameters" in names


def check_call(found: Callable[..., Any], body: BodyKeys, name: str) -> None:
    """Look at what a step asks of what it names.

    Args:
        found: a tool or a function.
        body: the step.
        name: its id.

    Raises:
        CallError: for what it does not take. A tool that does not say what it takes takes anything.
    """
    given = _literal(body.parameters or {})
    if is_tool(found):
        wrong = tuple(_ask(found, body, given))
    else:
        wrong = tuple(
            (("parameters", *path), f"parameters: {message}")
            for path, message in wrong_arguments(found, given, repr(name))
        )
        if body.tool is not None and body.action is not None:
            message = f"tool {brief(body.tool)} is a function, which has no actions"
            wrong = ((("action",), message), *wrong)
    if wrong:
        raise CallError(wrong)


def _ask(tool: Any, body: BodyKeys, given: Mapping[str, Any]) -> Iterator[Wrong]:
    """What a tool says itself."""
    ask = getattr(tool, "check_call", None)
    if not callable(ask):
        return
    action = None if body.tool is None else body.action
    called = body.action if body.tool is None else body.tool
    try:
        for path, message in ask(action=action, parameters=given):
            yield tuple(path), str(message)
    except GracelineError:
        raise
    except Exception as error:
        # The tool is the program's; a mistake in it must not look like one of this library.
        raise DefinitionError(
            f"tool {brief(called)}: its check_call() failed: {type(error).__name__}: "
            f"{brief(str(error))}"
        ) from error


def _literal(value: Any) -> Any:
    """A value as it stands in the file; `...` in the place of what a template will say."""
    if isinstance(value, str):
        return ... if is_template(value) else value
    if isinstance(value, dict):
        return {key: _literal(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_literal(entry) for entry in value]
    return value
