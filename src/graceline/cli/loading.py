"""The words of a command line: which pipeline, which input, which limit."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from graceline.cli.failures import UsageError
from graceline.definitions import Pipeline
from graceline.definitions.checks import nearest
from graceline.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

__all__ = ["load_pipeline", "parse_input", "parse_timeout"]


def load_pipeline(target: str) -> Pipeline:
    """Import a module or a file and find a pipeline in it.

    Args:
        target: `pkg.module:name` or `path/file.py:name`. The name is that of the variable, or the
            pipeline's own; it may be left out if there is exactly one pipeline.

    Raises:
        UsageError: if there is no such file, module or pipeline, or if several fit; lists what
            there is.
        Exception: whatever the module raises while it is imported, with a note that says where.
    """
    place, name = _split(target)
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    found = {key: value for key, value in vars(module).items() if isinstance(value, Pipeline)}
    fitting = {key: pipeline for key, pipeline in found.items() if name in ("", key, pipeline.name)}
    if len({id(pipeline) for pipeline in fitting.values()}) == 1:
        return next(iter(fitting.values()))
    if not fitting and name:
        _missing(module, place, name, found)
    if not found:
        raise UsageError(f"there is no Pipeline in {place}: define one at its top level")
    if name:
        both = " and ".join(f"{key} (Pipeline {p.name!r})" for key, p in fitting.items())
        raise UsageError(
            f"{name!r} names several pipelines in {place}: {both}; use a name that only one has"
        )
    raise UsageError(
        f"there are several pipelines in {place}; add one of them: "
        + ", ".join(f"{place}:{key}" for key in found)
    )


def _split(target: str) -> tuple[str, str]:
    place, colon, name = target.rpartition(":")
    if not colon or target.endswith(".py"):  # a colon inside a path is no separator
        return target, ""
    if not place:
        raise UsageError(f"{target!r} names no module; write pkg.module:name or path/file.py:name")
    return place, name


def _missing(module: ModuleType, place: str, name: str, found: dict[str, Pipeline]) -> NoReturn:
    listed = (
        ", ".join(
            key if key == pipeline.name else f"{key} (Pipeline {pipeline.name!r})"
            for key, pipeline in found.items()
        )
        or "none"
    )
    if hasattr(module, name):
        kind = type(getattr(module, name)).__name__
        raise UsageError(
            f"{name!r} in {place} is not a Pipeline, but of type {kind}; pipelines there: {listed}"
        )
    hint = nearest(name, [*found, *(pipeline.name for pipeline in found.values())])
    close = f"; {hint}" if hint.startswith("did you mean") else ""  # else it is the list again
    raise UsageError(f"there is no pipeline {name!r} in {place}{close} (pipelines there: {listed})")


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


def parse_input(pairs: Iterable[str]) -> dict[str, Any] | None:
    """The input of a run from `key=value` words: values are JSON, or strings if they are none.

    Raises:
        UsageError: for a word without `=`, an empty key, and a key that is given twice.
    """
    given: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"-i {pair}: write key=value, such as -i limit=200")
        if key in given:
            raise UsageError(f"-i {pair}: the key {key!r} is given twice")
        given[key] = _value(text)
    return given or None


def parse_timeout(text: str) -> float:
    """The seconds of `--timeout`.

    Raises:
        UsageError: for a number without its unit, and for a negative limit.
        DefinitionError: for what is no duration at all.
    """
    number = _number(text)
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


def _number(text: str) -> float | None:
    """A finite number, or None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
