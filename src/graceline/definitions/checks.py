"""Checks that definitions share: each says what is wrong, where, and what would be right."""

from __future__ import annotations

import functools
import inspect
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from graceline.durations import Duration, parse_duration
from graceline.errors import DefinitionError

__all__ = [
    "as_callables",
    "brief",
    "check_callable",
    "check_cleanup",
    "check_count",
    "check_errors",
    "check_flag",
    "check_name",
    "check_names",
    "check_options",
    "check_plain",
    "check_share",
    "finite_duration",
    "frozen_metadata",
    "is_async",
    "nearest",
    "no_pipeline",
    "optional_duration",
    "positive_duration",
]

_LONGEST_NAME = 200
"""Characters of a name that may be near another one."""


class _Brief(reprlib.Repr):
    """A short `repr` for messages: parts and functions by their names, all else cut."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 60
        self.maxlevel = 3

    def repr1(self, x: Any, level: int) -> str:
        """A part is its kind and name, a function its name; the rest is left to `reprlib`."""
        kind = type(x).__name__.lower()
        if kind in ("node", "stage", "pipeline") and isinstance(getattr(x, "name", None), str):
            return f"{kind} {super().repr1(x.name, level)}"
        if isinstance(x, functools.partial) or inspect.isroutine(x):
            return f"function {_label(x)}"
        return super().repr1(x, level)


brief: Callable[[Any], str] = _Brief().repr
"""What a value is, on a short line."""


def nearest(name: object, valid: Iterable[str]) -> str:
    """A hint that names the nearest valid name, or lists the valid ones."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    names = list(valid)
    short = isinstance(name, str) and len(name) <= _LONGEST_NAME  # others are slow to compare
    close = get_close_matches(str(name), names, n=1) if short else None
    if close:
        return f"did you mean {close[0]!r}?"
    return f"valid are: {', '.join(map(repr, names))}" if names else "there is none to choose from"


def no_pipeline(value: object) -> str:
    """Why something that is no pipeline cannot be run, and what would be right."""
    kind = type(value).__name__
    if kind in ("Node", "Stage"):
        return f"{brief(value)} is a {kind}, not a Pipeline; wrap it in Pipeline('name', [...])"
    return f"{brief(value)} is neither a Pipeline nor the name of a registered one"


def check_name(name: object, what: str, hint: str = "") -> str:
    """Return a usable name, or raise; `hint` says how it is written down."""
    if not isinstance(name, str) or not name.strip():
        raise DefinitionError(
            f"{what}: its name must be a non-empty string, not {brief(name)}{hint and '; '}{hint}"
        )
    if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
        raise DefinitionError(
            f"{what}: its name must be text that UTF-8 can write, not {brief(name)}; names made of "
            "bytes are decoded with errors='replace'"
        )
    return name


def check_flag(value: object, what: str) -> bool:
    """Return a bool, or raise."""
    if not isinstance(value, bool):
        raise DefinitionError(f"{what} must be True or False, not {brief(value)}")
    return value


def check_options(options: Iterable[str], valid: Iterable[str], what: str) -> None:
    """Raise for an option that does not exist."""
    known = list(valid)
    for option in options:
        if option not in known:
            raise DefinitionError(f"{what}: {option}= is unknown; {nearest(option, known)}")


def check_names(names: Iterable[str], what: str) -> None:
    """Raise if a name occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DefinitionError(f"{what}: {name!r} is used twice; give one of them another name=")
        seen.add(name)


def optional_duration(value: Duration | None, what: str) -> float | None:
    """Parse a duration that may be left out."""
    return None if value is None else parse_duration(value, what)


def positive_duration(value: Duration, what: str) -> float:
    """Parse a duration that must be above 0 and finite."""
    seconds = parse_duration(value, what, signed=True)
    if not 0 < seconds < math.inf:
        raise DefinitionError(f"{what} must be above 0 and finite, not {brief(value)}")
    return seconds


def finite_duration(value: Duration, what: str, why: str = "") -> float:
    """Parse a duration that must be at least 0 and finite."""
    seconds = parse_duration(value, what, signed=True)
    if not 0 <= seconds < math.inf:
        reason = f"; {why}" if why else ""
        raise DefinitionError(f"{what} must be at least 0 and finite, not {brief(value)}{reason}")
    return seconds


def check_count(value: object, what: str) -> int:
    """Return a whole number of at least 1, or raise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DefinitionError(f"{what} must be a whole number, at least 1, not {brief(value)}")
    return value


def check_share(value: object, what: str, example: float = 0.5) -> float:
    """Return a share above 0 and at most 1, or raise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise DefinitionError(
            f"{what} is a share above 0 and at most 1, such as {example:g}, not {brief(value)}"
        )
    return float(value)


def check_cleanup(
    what: str, timeout: float | None, grace: float | None, reserve: float | None
) -> None:
    """Raise where `grace` and `reserve` do not fit each other or the timeout."""
    if reserve is None:
        return
    if grace is not None:
        raise DefinitionError(
            f"{what}: give grace= (cleanup after the limit) or reserve= (inside it), not both"
        )
    if timeout is None or math.isinf(timeout):
        raise DefinitionError(
            f"{what}: reserve= is carved out of a finite timeout=, and there is none"
        )
    if reserve >= timeout:
        raise DefinitionError(
            f"{what}: reserve={reserve:g} must be smaller than timeout={timeout:g}, "
            "or no time is left for the work"
        )


def frozen_metadata(value: Mapping[str, Any] | None, what: str) -> Mapping[str, Any]:
    """A read-only copy of free-form metadata; only its key `timeout` has a meaning."""
    if value is None:
        return MappingProxyType({})
    if not isinstance(value, Mapping):
        raise DefinitionError(f"{what}: metadata= must be a mapping, not {brief(value)}")
    if value.get("timeout") is not None:
        parse_duration(value["timeout"], f"{what}, metadata['timeout']")
    return MappingProxyType(dict(value))


def _bare(function: Any) -> Any:
    """The function inside partials and callable objects."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not inspect.isclass(function):
        return type(function).__call__
    return function


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives an awaitable, seen through partials and callable objects."""
    return inspect.iscoroutinefunction(_bare(function))


def check_callable(function: object, what: str, argument: str = "its input") -> Callable[..., Any]:
    """Return a function of one argument, or raise; classes and builtins count if they take one."""
    if inspect.iscoroutine(function):
        function.close()
        raise DefinitionError(f"{what}: this is a coroutine object; pass the function, without ()")
    if not callable(function):
        raise DefinitionError(f"{what}: {brief(function)} is not a function")
    bare = _bare(function)
    if inspect.isasyncgenfunction(bare) or inspect.isgeneratorfunction(bare):
        raise DefinitionError(
            f"{what}: {_label(function)} is a generator; return one value, for instance a list"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none; the first call will tell
        return function
    try:
        signature.bind(None)
    except TypeError:
        raise DefinitionError(
            f"{what}: {_label(function)}{signature} must be callable with exactly one argument, "
            f"{argument}"
        ) from None
    return function


def check_plain(function: object, what: str, argument: str = "its input") -> Callable[..., Any]:
    """Return a plain function of one argument, or raise."""
    checked = check_callable(function, what, argument)
    if is_async(checked):
        raise DefinitionError(f"{what} must be a plain function, not an async one")
    return checked


def check_errors(
    value: object, what: str, never: str = ""
) -> tuple[type[Exception], ...] | Callable[[Exception], Any]:
    """Exception classes as a tuple, a plain function of the exception as it is, or raise."""
    one_class = inspect.isclass(value)
    if not one_class and (callable(value) or inspect.iscoroutine(value)):
        return check_plain(value, what, "the exception")
    one = one_class or isinstance(value, str)
    kinds = tuple(value) if isinstance(value, Iterable) and not one else (value,)
    for kind in kinds:
        if not inspect.isclass(kind) or not issubclass(kind, Exception):
            hint = "; write the class itself, without quotes" if isinstance(kind, str) else never
            raise DefinitionError(
                f"{what} takes subclasses of Exception, or one plain function of the exception, "
                f"not {brief(kind)}{hint}"
            )
    return kinds


def _label(function: Any) -> str:
    """What to call a function in a message: its name, also inside a partial."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__qualname__", None) or brief(function)


def as_callables(value: Any, what: str) -> tuple[Callable[..., Any], ...]:
    """One handler or several, as a tuple."""
    if value is None:
        return ()
    several = isinstance(value, Iterable) and not callable(value)
    handlers = tuple(value) if several else (value,)
    for handler in handlers:
        check_callable(handler, what, "the outcome")
    return handlers
