"""Arguments: whether a function takes what it is given by names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from graceline.definitions.checks import brief, nearest

__all__ = ["Wrong", "wrong_arguments"]

Wrong: TypeAlias = tuple[tuple[str, ...], str]
"""What is wrong with a call: the way to it, such as `("parameters", "path")`, and a message."""


def wrong_arguments(
    function: Callable[..., Any], given: Iterable[str], called: str
) -> Iterator[Wrong]:
    """The names that a function does not take, or else those that it needs and is not given.

    Args:
        function: any function.
        given: names of arguments.
        called: what messages call the function.
    """
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins have none; the call will tell
        return
    named = {
        name: one
        for name, one in known.items()
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL, one.POSITIONAL_ONLY)
    }
    anything = any(one.kind is one.VAR_KEYWORD for one in known.values())
    names = list(given)
    unknown = [] if anything else [name for name in names if name not in named]
    for name in unknown:
        yield (name,), f"{called} takes no {brief(name)}; {nearest(name, named)}"
    for name, one in named.items() if not unknown else ():
        if one.default is one.empty and name not in names:
            yield (), f"{called} needs {name!r}, which is not given"
