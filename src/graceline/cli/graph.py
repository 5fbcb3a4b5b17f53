"""The command `graceline graph`: what a pipeline is made of, and what waits for what.

What it needs is imported when it is called: `graceline run` does not pay for it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console

from graceline.cli.ending import OK, USAGE
from graceline.cli.failures import UsageError
from graceline.cli.files import outline_file
from graceline.cli.guarding import guarded, output_aside
from graceline.cli.loading import is_file, load_pipeline
from graceline.cli.options import FLAG, Debug, NoTools, Target, check_no_tools
from graceline.cli.writing import check_places, write_file

if TYPE_CHECKING:
    from graceline.cli.graphs.sketch import Sketch

__all__ = ["GRAPH_EPILOGUE", "GRAPH_HELP", "graph"]

GRAPH_HELP = """\
Draw what a pipeline is made of, and what waits for what.

On the terminal what stands further to the right begins later, and what has \
one column may run at once. Nothing is run; the tools of a file may be missing.
"""
GRAPH_EPILOGUE = """\
Examples:

  graceline graph research.yaml
  graceline graph jobs.py:nightly --svg nightly.svg
  graceline graph research.yaml --mermaid >> README.md

Exit codes:

  0    it is drawn
  2    a mistake in the command line, in the file or in the definition
"""


def graph(
    target: Target,
    /,
    *,
    as_mermaid: Annotated[
        bool,
        FLAG,
        Parameter(name="--mermaid", help="Print it as Mermaid text and nothing else."),
    ] = False,
    svg: Annotated[
        Path | None, Parameter(help="Write it to this file, as a picture for light and dark.")
    ] = None,
    tools: NoTools = None,
    debug: Debug = False,
) -> int:
    """Draw a pipeline."""
    check_no_tools("graph", tools)
    check_places({"--svg": svg})
    sketch = _sketch(target, debug=debug, quiet=as_mermaid)
    if svg is not None:
        from graceline.cli.graphs.picture import draw  # noqa: PLC0415 - see above

        try:
            write_file(svg, draw(sketch))
        except OSError as error:
            raise UsageError(f"{svg} cannot be written: {error.strerror}") from None
        sys.stderr.write(f"graceline: wrote {svg}\n")
    if as_mermaid:
        from graceline.cli.graphs.mermaid import mermaid  # noqa: PLC0415

        sys.stdout.write(mermaid(sketch))
    elif svg is None:
        from graceline.cli.graphs.lettered import show_sketch  # noqa: PLC0415

        show_sketch(Console(), sketch)
    return OK


def _sketch(target: str, *, debug: bool, quiet: bool) -> Sketch:
    from graceline.cli.graphs.sketching import sketch_file, sketch_pipeline  # noqa: PLC0415

    if is_file(target):
        file = outline_file(target)
        if file.is_suite:
            raise UsageError(
                f"{target} holds phases, so it is a suite: one after the other, there is nothing "
                "to draw"
            )
        return sketch_file(file)
    with output_aside(wanted=quiet), guarded(USAGE, debug=debug):
        return sketch_pipeline(load_pipeline(target))
