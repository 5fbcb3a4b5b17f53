"""The command `graceline run`: one run of a pipeline, where its time went, and its value."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import trio
from cyclopts import Parameter
from rich.console import Console
from rich.highlighter import ReprHighlighter
from rich.pretty import pretty_repr
from rich.text import Text

from graceline.cli.ending import NOT_OK, USAGE, exit_code, trace_result
from graceline.cli.failures import UsageError
from graceline.cli.guarding import checked, guarded, output_aside
from graceline.cli.hints import hints
from graceline.cli.keeping import default_path, run_history
from graceline.cli.loading import load_pipeline, parse_input, parse_timeout
from graceline.cli.options import FLAG, Debug, Target
from graceline.cli.pictures import check_places, write_pictures
from graceline.cli.session import GRACE, run_session
from graceline.timelines.waterfall import Waterfall

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graceline.cli.session import Session

__all__ = ["RUN_EPILOGUE", "RUN_HELP", "run"]

_VALUE_LINES = 40
_highlight = ReprHighlighter()

RUN_HELP = "\n\n".join(
    (
        "Run a pipeline and show where its time went.",
        (
            "The pipeline's own limits apply, and no others: a run that states none goes on until "
            "it ends or is interrupted. Cleanup after a cancel has "
            f"{GRACE:g} s where the pipeline states no grace."
        ),
        (
            "On a terminal, standard error shows the run while it goes on: its parts, and what is "
            "left of their limits."
        ),
        (
            "How long the calls took is kept for the next run, with the limits that learn from it: "
            "`graceline history` shows it."
        ),
        (
            "Ctrl-C (SIGINT) or SIGTERM cancels the run with its cleanup and shows what it has so "
            "far. A second one cuts the cleanup, a third one ends the process."
        ),
    )
)
RUN_EPILOGUE = """\
Examples:

  graceline run jobs.py:nightly
  graceline run shop.pipelines:assist -i query=hello -i top=5 --timeout 250ms
  graceline run jobs.py --json > result.json
  graceline run jobs.py --html run.html

Exit codes:

  0    ok, or late (the value is there)
  1    failed, timed_out, cancelled or rejected; degraded, unless allowed
  2    a mistake in the command line or in the definition; an input that a
       node refuses is a failed run: 1
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)
"""


def run(
    target: Target,
    /,
    *,
    inputs: Annotated[
        list[str] | None,
        Parameter(
            name=["-i", "--input"],
            negative=(),
            help="An entry `key=value` of the input, which is a dict of them (None without any). "
            "Values that are JSON are read as JSON, others are strings.",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,  # a negative limit gets a message of its own
            help="Limit of this run, instead of the pipeline's own: `300ms`, `2s`, `1m30s`.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        FLAG,
        Parameter(name="--json", help="Print the result as JSON and nothing else."),
    ] = False,
    file: Annotated[
        Path | None,
        Parameter(
            name="--history",
            help="Keep durations and learned limits in this file, instead of the user's own; see: "
            "graceline history --help",
        ),
    ] = None,
    no_history: Annotated[
        bool, FLAG, Parameter(help="Begin without what was learned before, and keep nothing.")
    ] = False,
    html: Annotated[
        Path | None,
        Parameter(help="Write the waterfall to this file, as a page of its own."),
    ] = None,
    svg: Annotated[
        Path | None, Parameter(help="Write the waterfall to this file, as a picture.")
    ] = None,
    allow_degraded: Annotated[
        bool,
        FLAG,
        Parameter(help="Exit with 0 although non-critical parts did not succeed."),
    ] = False,
    debug: Debug = False,
) -> int:
    """Run a pipeline."""
    seconds = None if timeout is None else parse_timeout(timeout)
    value = parse_input(inputs or ())
    if no_history and file is not None:
        raise UsageError("--history FILE says where to keep it, --no-history not to; leave one out")
    check_places(html, svg)
    place = None if no_history else file or default_path()
    err = Console(stderr=True)
    with output_aside(wanted=as_json):
        with guarded(USAGE, debug=debug):
            pipeline = load_pipeline(target)
        screen = err if err.is_terminal and not as_json else None
        with guarded(NOT_OK, debug=debug), checked(target), run_history(place) as store:
            work = partial(run_session, history=store)
            session = trio.run(work, pipeline, value, seconds, screen)
    if as_json:
        sys.stdout.write(json.dumps(session.result.to_dict(), indent=2) + "\n")
    else:
        _show(Console(), session, hints(pipeline, session, value, debug=debug))
    if debug:
        trace_result(session.result)
    write_pictures(session.timeline, html, svg)
    return exit_code(session, allow_degraded=allow_degraded)


def _show(out: Console, session: Session, said: Iterable[str]) -> None:
    """The waterfall and the hints; below them the value, cut where it is huge."""
    result = session.result
    out.print(Waterfall(session.timeline, result))
    for hint in said:
        out.print(Text(f"hint      {hint}", style="dim"), soft_wrap=True)
    if not result.ok:
        return
    text = pretty_repr(
        result.value, max_width=out.width, max_length=50, max_string=2000, max_depth=8
    )
    lines = text.split("\n")
    out.print()
    for line in lines[:_VALUE_LINES]:
        out.print(_highlight(line), soft_wrap=True)
    if len(lines) > _VALUE_LINES:
        left = len(lines) - _VALUE_LINES
        out.print(Text(f"... and {left} more lines; --json prints everything", style="dim"))
