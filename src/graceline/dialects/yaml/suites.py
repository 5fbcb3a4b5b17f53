"""Suites: the `phases` of a file as a suite for the benchmark runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from graceline.bench import Phase, Suite, command
from graceline.bench.suite import Step
from graceline.dialects.yaml.keys import keys_of
from graceline.dialects.yaml.problems import FileError, Problem
from graceline.dialects.yaml.reading import Tree
from graceline.dialects.yaml.schema import CommandKeys, FileKeys, PhaseKeys
from graceline.errors import DefinitionError

__all__ = ["build_suite"]


def build_suite(keys: FileKeys, tree: Tree, file: str, root: Path | None) -> Suite:
    """The suite of a file that has phases.

    Args:
        keys: the file, structured.
        tree: the file, as it was read.
        file: what messages call it.
        root: the directory of programs; None for this process's.

    Raises:
        FileError: for what a suite refuses, such as a name used twice.
    """
    problems: list[Problem] = []
    phases: list[Phase] = []
    for number, phase in enumerate(keys.phases):
        try:
            phases.append(_phase(phase, root))
        except DefinitionError as error:
            at = tree.get("phases", number)
            problems.append(Problem(str(error), file, at.at if at else None))
    if not problems:
        config = keys.config
        try:
            return Suite(
                keys.id or keys.name or "",
                phases,
                timeout=cast("float | None", config.timeout),  # the schema allows no other
                grace=config.grace,
                reserve=config.reserve,
            )
        except DefinitionError as error:
            at = tree.get("phases")
            problems.append(Problem(str(error), file, at.at if at else None))
    raise FileError(problems)


def _phase(keys: PhaseKeys, root: Path | None) -> Phase:
    options = _stated(keys, "name", "commands")
    return Phase(keys.name, [_command(one, root) for one in keys.commands], **options)


def _command(keys: CommandKeys, root: Path | None) -> Step:
    options = _stated(keys, "command", "name")
    if root is not None:
        options["cwd"] = root / (keys.cwd or ".")
    return command(keys.command, name=keys.name or "", **options)


def _stated(keys: Any, *without: str) -> dict[str, Any]:
    """What a mapping of the file says, by the names that the suite has for it too."""
    stated = {one.name: getattr(keys, one.name) for one in keys_of(type(keys))}
    return {
        name: value for name, value in stated.items() if value is not None and name not in without
    }
