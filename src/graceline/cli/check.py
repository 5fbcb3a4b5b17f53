"""The command `graceline check`: everything that is wrong with files, without running them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from graceline.cli.ending import OK, USAGE
from graceline.cli.failures import UsageError
from graceline.cli.files import TOOLS_HINT, dialect, lacks_tool, load_tools
from graceline.cli.guarding import guarded, output_aside
from graceline.cli.loading import is_file
from graceline.cli.options import FLAG, Debug, ToolModules

if TYPE_CHECKING:
    from graceline.dialects.yaml import Problem

__all__ = ["CHECK_EPILOGUE", "CHECK_HELP", "check"]

CHECK_HELP = """\
Say everything that is wrong with pipelines and suites in files.

Nothing is run, and nothing that a file names is imported, but tools that an \
installed package offers as entry points. Errors are told all \
at once, with file, line and column; then, for a file without errors, what is \
valid but hardly what was meant.
"""
_LATER = "which tools there are, and what they take, is looked at when these are mended"
CHECK_EPILOGUE = """\
Examples:

  graceline check research.yaml
  graceline check pipelines/*.yaml --strict --tools tools.py
  graceline check research.yaml --json

Exit codes:

  0    there are no errors; warnings may be there, unless --strict is given
  2    there are errors, or a mistake in the command line
  130  interrupted (SIGINT)
"""


def check(
    files: Annotated[list[Path], Parameter(name="FILE", help="Files of pipelines or suites.")],
    /,
    *,
    tools: ToolModules = None,
    strict: Annotated[bool, FLAG, Parameter(help="Let warnings count as errors do.")] = False,
    as_json: Annotated[
        bool,
        FLAG,
        Parameter(name="--json", help="Print the problems as JSON and nothing else."),
    ] = False,
    debug: Debug = False,
) -> int:
    """Check files."""
    for path in files:
        if not is_file(path.name):
            raise UsageError(f"{path}: a file is named by its suffix, .yaml or .yml")
    with output_aside(wanted=as_json), guarded(USAGE, debug=debug):
        known = load_tools(tools or ())
        with dialect():
            from graceline.dialects.yaml import check as problems_of  # noqa: PLC0415 - an extra

            found = {str(path): problems_of(path, tools=known) for path in files}
    problems = [one for every in found.values() for one in every]
    errors = sum(one.severity == "error" for one in problems)
    warnings = len(problems) - errors
    if as_json:
        document = {
            "files": [
                {"file": file, "problems": [_entry(one) for one in every]}
                for file, every in found.items()
            ],
            "errors": errors,
            "warnings": warnings,
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        out = Console()
        for one in problems:
            out.print(_line(one), soft_wrap=True)
        if known is None and any(lacks_tool(one.message) for one in problems):
            out.print(Text(TOOLS_HINT, style="dim"), soft_wrap=True)
        out.print(_summary(len(found), errors, warnings), soft_wrap=True)
        if any(_hidden(path) for path in files if found[str(path)]):
            out.print(Text(_LATER, style="dim"), soft_wrap=True)
    return USAGE if errors or (strict and warnings) else OK


def _hidden(path: Path) -> bool:
    """Whether other errors of a file keep its calls of tools from being looked at."""
    from graceline.dialects.yaml import FileError, outline  # noqa: PLC0415 - an extra
    from graceline.dialects.yaml.linking import steps_of  # noqa: PLC0415
    from graceline.dialects.yaml.reading import parse, read_bytes  # noqa: PLC0415

    try:
        steps = steps_of(parse(read_bytes(path), path))
    except FileError:
        return False
    if not any(step.get("tool") or step.get("action") for _, _, step in steps):
        return False
    try:
        outline(path)
    except FileError:
        return True
    return False


def _entry(problem: Problem) -> dict[str, Any]:
    at = problem.at
    return {
        "severity": problem.severity,
        "message": problem.message,
        "line": None if at is None else at.line,
        "column": None if at is None else at.column,
    }


def _line(problem: Problem) -> Text:
    """A problem as it is written everywhere, with its place and its severity in colours."""
    text = Text(str(problem))
    place = problem.file if problem.at is None else f"{problem.file}:{problem.at}"
    text.stylize("bold", 0, len(place))
    if problem.severity == "warning":
        text.stylize("yellow", len(place) + 2, len(place) + 2 + len("warning:"))
    else:
        text.stylize("red", len(place) + 2)
    return text


def _summary(files: int, errors: int, warnings: int) -> Text:
    if not errors and not warnings:
        return Text("1 file is fine" if files == 1 else f"{files} files are fine", style="green")
    counts = [_count(errors, "error"), _count(warnings, "warning")]
    style = "bold red" if errors else "bold yellow"
    return Text(f"{_count(files, 'file')}: {', '.join(filter(None, counts))}", style=style)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}" if number else ""
