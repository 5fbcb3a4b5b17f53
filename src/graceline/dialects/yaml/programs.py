"""Programs: a `command:` of a file as a `Command`, whose words are templates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from graceline.definitions import Command
from graceline.definitions.checks import brief
from graceline.dialects.templates import Value, compile_value
from graceline.dialects.templates.parsing import is_template
from graceline.dialects.yaml.running import Runs
from graceline.dialects.yaml.schema import BodyKeys, StepKeys
from graceline.errors import GracelineError

__all__ = ["program_of"]


@attrs.frozen(eq=False)
class _Rendered:
    """A function of the input of a node, which may be an item: what a template says then."""

    __name__: str
    runs: Runs
    value: Value
    finish: Callable[[Any], Any]

    def __call__(self, item: Any) -> Any:
        return self.finish(self.runs.evaluate(self.value, item))


def program_of(body: BodyKeys, name: str, runs: Runs, root: Path | None) -> Command:
    """The program of a step.

    Args:
        body: the step; it has a command.
        name: what messages call it.
        runs: gives the scope of its templates.
        root: the directory where it runs, unless it says otherwise; None for this process's.
    """

    def rendered(tree: Any, finish: Callable[[Any], Any]) -> Any:
        if not _has_templates(tree):
            return finish(tree)
        return _Rendered(name, runs, compile_value(tree), finish)

    options: dict[str, Any] = {}
    if isinstance(body, StepKeys):
        if body.stdin is not None:
            options["stdin"] = rendered(body.stdin, _input)
        if body.ok_codes is not None:
            options["ok_codes"] = body.ok_codes
        if body.artifacts is not None:
            options["artifacts"] = body.artifacts
    return Command(
        rendered(body.command, _argv),
        env=rendered(body.env, _variables) if body.env else None,
        cwd=root if body.cwd is None else rendered(body.cwd, lambda cwd: _folder(cwd, root)),
        **options,
    )


def _has_templates(tree: Any) -> bool:
    texts = [tree] if isinstance(tree, str) else tree.values() if isinstance(tree, dict) else tree
    return any(map(is_template, filter(None, texts)))


def _argv(argv: Any) -> Any:
    return [_word(word) for word in argv] if isinstance(argv, list) else _word(argv)


def _variables(env: dict[str, Any]) -> dict[str, str | None]:
    return {name: None if text is None else _word(text) for name, text in env.items()}


def _folder(cwd: Any, root: Path | None) -> Path:
    return Path(_word(cwd)) if root is None else root / _word(cwd)


def _input(value: Any) -> str:
    """What a program reads: a text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise GracelineError(f"stdin: {brief(value)} cannot be written as JSON: {error}") from error


def _word(value: Any) -> str:
    """A word of a command line.

    Raises:
        GracelineError: for what has no natural form as one.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise GracelineError(
            f"a word of a command is a text or a number, and a template gives {brief(value)}; "
            "join(' ') and tojson make texts"
        )
    return str(value)
