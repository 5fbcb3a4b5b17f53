"""The command `graceline explain`: which limit applies to a step of a file, and where it stands.

What it needs is imported when it is called: `graceline run` does not pay for it.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from graceline.cli.ending import OK
from graceline.cli.failures import UsageError
from graceline.cli.files import outline_file
from graceline.cli.loading import is_file
from graceline.cli.options import FLAG, Debug, NoTools, Word, check_no_tools
from graceline.durations import format_duration
from graceline.timelines.lettering import shown

if TYPE_CHECKING:
    from graceline.dialects.yaml import Explanation

__all__ = ["EXPLAIN_EPILOGUE", "EXPLAIN_HELP", "explain"]

EXPLAIN_HELP = """\
Tell which limit applies to a step of a file, and where it comes from.

First what cuts the step if it hangs; then every level around it, from the \
inside out, with all places where its limit may be stated: > marks the one that \
holds. Without STEP there is one line for each step.

Times are those of a step that starts at once, and of which nothing is known \
yet; of backoffs, which are random, the longest are taken. What limits have \
learned is told by: graceline history. Nothing is run, and no tool is needed.
"""
EXPLAIN_EPILOGUE = """\
Examples:

  graceline explain research.yaml
  graceline explain research.yaml search
  graceline explain research.yaml search --json

Exit codes:

  0    it is explained
  2    the file is invalid, or there is no such step
"""


def explain(
    file: Annotated[
        Word, Parameter(name="FILE", help="A pipeline as a file, such as research.yaml.")
    ],
    step: Annotated[str | None, Parameter(name="STEP", help="The id of one of its steps.")] = None,
    /,
    *,
    as_json: Annotated[
        bool,
        FLAG,
        Parameter(
            name="--json",
            help="Print a document and nothing else: that of the step, or a list of all.",
        ),
    ] = False,
    tools: NoTools = None,
    debug: Debug = False,  # noqa: ARG001 - the command line looks for it
) -> int:
    """Explain the limits of a file."""
    check_no_tools("explain", tools)
    from graceline.cli.explained import show_step  # noqa: PLC0415 - see above

    if not is_file(file):
        raise UsageError(
            f"explain reads a pipeline in a file, such as research.yaml, and {file!r} is none; the "
            "limits of one in Python are shown by: graceline plan"
        )
    read = outline_file(file)
    if read.is_suite:
        raise UsageError(f"{file} holds phases, so it is a suite: there are no steps to explain")
    from graceline.dialects.yaml.files import parts_of  # noqa: PLC0415 - an extra

    names = [step] if step is not None else list(parts_of(read).links.steps)
    found = [read.explain(name) for name in names]
    if as_json:
        documents = [one.to_dict() for one in found]
        document = documents if step is None else documents[0]
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif step is None:
        _show_all(Console(), found)
    else:
        show_step(Console(), found[0])
    return OK


def _show_all(out: Console, found: list[Explanation]) -> None:
    """One line for each step."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("step", "cut after", "by", "where"):
        table.add_column(name, overflow="fold", justify="right" if name == "cut after" else "left")
    for one in found:
        first = one.first
        if first is None:
            table.add_row(one.step, "never", "no limit is stated", "", style="yellow")
            continue
        place = Text(shown(first.at or "", out.encoding))
        table.add_row(one.step, format_duration(max(first.after, 0.0)), first.key, place)
    out.print(table)
