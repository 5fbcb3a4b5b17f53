"""Words of the command line that several commands take."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

__all__ = ["FLAG", "Debug", "Target"]

FLAG = Parameter(negative=(), show_default=False)
"""An option that is there or not."""

Target = Annotated[
    str,
    Parameter(
        help="`pkg.module:name` or `path/file.py:name`: the name of the variable or of the "
        "pipeline. It may be left out if there is exactly one pipeline."
    ),
]
Debug = Annotated[bool, FLAG, Parameter(help="Show tracebacks of errors on standard error.")]
