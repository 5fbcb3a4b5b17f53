"""Words of the command line that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from graceline.cli.failures import UsageError

__all__ = [
    "FLAG",
    "AllowDegraded",
    "Debug",
    "History",
    "Html",
    "Json",
    "NoHistory",
    "NoTools",
    "Output",
    "Svg",
    "Target",
    "Timeout",
    "ToolModules",
    "Word",
    "check_no_tools",
]

FLAG = Parameter(negative=(), show_default=False)
"""An option that is there or not."""

if TYPE_CHECKING:
    _Files: TypeAlias = str
else:
    _Files = str | Path

Word: TypeAlias = _Files
"""A text, read as it stands, for which a shell completes the names of files."""
Target = Annotated[
    Word,
    Parameter(
        help="A file `path/file.yaml`, or Python: `pkg.module:name` or `path/file.py:name`, with "
        "the name of the variable or of the pipeline. It may be left out if there is exactly one "
        "pipeline."
    ),
]
Timeout = Annotated[
    str | None,
    Parameter(
        allow_leading_hyphen=True,  # a negative limit gets a message of its own
        help="Limit of this run, instead of the pipeline's own: `300ms`, `2s`, `1m30s`.",
    ),
]
ToolModules = Annotated[
    list[Word] | None,
    Parameter(
        name="--tools",
        negative=(),
        help="Import `pkg.module:name` or `path/file.py:name`, a `Tools` object whose tools the "
        "file may use besides those built in. May be given several times.",
    ),
]
NoTools = Annotated[list[Word] | None, Parameter(name="--tools", negative=(), show=False)]
"""What commands refuse that look at a file without its tools; see `check_no_tools`."""
Json = Annotated[
    bool, FLAG, Parameter(name="--json", help="Print the result as JSON and nothing else.")
]
Output = Annotated[
    Path | None,
    Parameter(help="Write the result as JSON to this file, however the run ends."),
]
Html = Annotated[
    Path | None, Parameter(help="Write the waterfall to this file, as a page of its own.")
]
Svg = Annotated[Path | None, Parameter(help="Write the waterfall to this file, as a picture.")]
History = Annotated[
    Path | None,
    Parameter(
        name="--history",
        help="Keep durations and learned limits in this file, instead of the user's own; see: "
        "graceline history --help",
    ),
]
NoHistory = Annotated[
    bool, FLAG, Parameter(help="Begin without what was learned before, and keep nothing.")
]
AllowDegraded = Annotated[
    bool, FLAG, Parameter(help="Exit with 0 although non-critical parts did not succeed.")
]
Debug = Annotated[bool, FLAG, Parameter(help="Show tracebacks of errors on standard error.")]


def check_no_tools(command: str, tools: list[Word] | None) -> None:
    """See that a command is given no tools: those who have just run the file may do so.

    Raises:
        UsageError: if it is.
    """
    if tools:
        raise UsageError(f"{command} needs no tools; leave --tools out")
