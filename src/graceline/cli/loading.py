"""The words of a command line: which pipeline or suite, which input, which limit."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from graceline.cli.failures import UsageError
from graceline.definitions import Pipeline
from graceline.definitions.checks import nearest
from graceline.dialects.strict import JsonError, RefusedJsonError, read_json
from graceline.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

__all__ = [
    "as_number",
    "is_file",
    "load",
    "load_pipeline",
    "parse_timeout",
    "read_value",
    "split_input",
]

_SUFFIXES = (".yaml", ".yml")
_COMMANDS = {"Pipeline": "run", "Suite": "bench"}
_WORDS = {"Tools": "Tools object"}

_Kind = TypeVar("_Kind")


def is_file(target: str) -> bool:
    """Whether a target is a file of the dialect, by its suffix; all else is Python."""
    return target.lower().endswith(_SUFFIXES)


def load_pipeline(target: str) -> Pipeline:
    """Import a module or a file and find a pipeline in it; see `load`."""
    return load(target, Pipeline)


def load(target: str, kind: type[_Kind]) -> _Kind:
    """Import a module or a file and find a pipeline, a suite or tools in it.

    Args:
        target: `pkg.module:name` or `path/file.py:name`. The name is that of the variable, or the
            pipeline's own; it may be left out if there is exactly one pipeline.
        kind: the class of what is looked for.

    Raises:
        UsageError: if there is no such file, module or pipeline, or if several fit; lists what
            there is.
        Exception: whatever the module raises while it is imported, with a note that says where.
    """
    place, name = _split(target)
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    found = {key: value for key, value in vars(module).items() if isinstance(value, kind)}
    fitting = {key: value for key, value in found.items() if name in ("", key, _own(value))}
    if len({id(value) for value in fitting.values()}) == 1:
        return next(iter(fitting.values()))
    a = kind.__name__
    what = _WORDS.get(a, a.lower())
    if not fitting and name:
        _missing(module, place, name, found, kind)
    if not found:
        raise UsageError(f"there is no {a} in {place}: define one at its top level")
    if name:
        both = " and ".join(f"{key} ({a} {_own(value)!r})" for key, value in fitting.items())
        raise UsageError(
            f"{name!r} names several {what}s in {place}: {both}; use a name that only one has"
        )
    raise UsageError(
        f"there are several {what}s in {place}; add one of them: "
        + ", ".join(f"{place}:{key}" for key in found)
    )


def _split(target: str) -> tuple[str, str]:
    place, colon, name = target.rpartition(":")
    if not colon or target.endswith(".py"):  # a colon inside a path is no separator
        return target, ""
    if is_file(place):
        raise UsageError(f"{target!r}: a file holds one pipeline; write {place}")
    if not place:
        raise UsageError(f"{target!r} names no module; write pkg.module:name or path/file.py:name")
    return place, name


def _own(value: Any) -> str | None:
    """The name that a pipeline has itself, besides those of its variables."""
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else None


def _missing(
    module: ModuleType, place: str, name: str, found: Mapping[str, Any], kind: type
) -> NoReturn:
    a = kind.__name__
    what = _WORDS.get(a, a.lower())
    listed = (
        ", ".join(
            key if _own(value) in (None, key) else f"{key} ({a} {_own(value)!r})"
            for key, value in found.items()
        )
        or "none"
    )
    if hasattr(module, name):
        other = type(getattr(module, name)).__name__
        command = _COMMANDS.get(other)
        more = f"; run it by: graceline {command}" if command else ""
        raise UsageError(
            f"{name!r} in {place} is not a {a}, but of type {other}{more}; {what}s there: {listed}"
        )
    hint = nearest(name, [*found, *filter(None, map(_own, found.values()))])
    close = f"; {hint}" if hint.startswith("did you mean") else ""  # else it is the list again
    raise UsageError(f"there is no {what} {name!r} in {place}{close} ({what}s there: {listed})")


def _import_file(path: Path) -> ModuleType:
    """Import a file like a script: what lies beside it can be imported too."""
    if not path.is_file():
        nearby = path.parent.glob("*.py") if path.parent.is_dir() else ()
        names = sorted(str(other) for other in nearby)
        hint = f"; {nearest(str(path), names)}" if names else ""
        raise UsageError(f"there is no file {str(path)!r}{hint}")
    name = path.stem if path.stem not in sys.modules else f"graceline_cli_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - its name ends in .py
    module = importlib.util.module_from_spec(spec)
    _look_in(path.resolve().parent)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        error.add_note(f"while {path} was imported")
        raise
    return module


def _import_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(
            f"{name!r} is neither a module nor a file; write pkg.module:name or path/file.py:name"
        )
    _look_in(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == name or name.startswith(f"{missing}."):
            raise UsageError(
                f"there is no module {missing!r}; the working directory was looked at too "
                "(for a file, write its path with .py)"
            ) from None
        error.add_note(f"while {name} was imported")
        raise
    except BaseException as error:
        error.add_note(f"while {name} was imported")
        raise


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def split_input(pairs: Iterable[str]) -> dict[str, str]:
    """The `key=value` words of a command line, with the values as they stand there.

    Raises:
        UsageError: for a word without `=`, an empty key, and a key that is given twice.
    """
    given: dict[str, str] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"-i {pair}: write key=value, such as -i limit=200")
        if key in given:
            raise UsageError(f"-i {pair}: the key {key!r} is given twice")
        given[key] = text
    return given


def parse_timeout(text: str) -> float:
    """The seconds of `--timeout`.

    Raises:
        UsageError: for a number without its unit, and for a negative limit.
        DefinitionError: for what is no duration at all.
    """
    number = as_number(text)
    if number is None:
        seconds = parse_duration(text, "--timeout", signed=True)
        if seconds >= 0:
            return seconds
    elif number > 0:
        raise UsageError(
            f"--timeout {text}: a number needs its unit; write {number:.15g}s or {number:.15g}ms"
        )
    elif number == 0:
        raise UsageError(
            f"--timeout {text}: write 0s for a limit that has passed on arrival; for the "
            "pipeline's own limit leave --timeout out"
        )
    raise UsageError(
        f"--timeout {text}: a limit is not negative; write 0s for one that has passed on arrival"
    )


def as_number(text: str) -> float | None:
    """A finite number, or None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def read_value(key: str, text: str) -> Any:
    """What the text of an entry means as JSON; the text itself if it is none.

    Raises:
        UsageError: for JSON that gives a key twice, or is nested too deeply.
    """
    try:
        return read_json(text)
    except RefusedJsonError as error:
        raise UsageError(f"-i {key}: {error}") from None
    except JsonError:
        return text
