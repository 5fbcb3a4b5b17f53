"""The command `graceline resume`: go on with a run that kept a journal."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
from cyclopts import Parameter

from graceline.cli.ending import OK, USAGE
from graceline.cli.failures import UsageError
from graceline.cli.files import load_tools
from graceline.cli.guarding import guarded, output_aside
from graceline.cli.loading import parse_timeout
from graceline.cli.options import FLAG, AllowDegraded, Debug, Html, Json, Output, Svg
from graceline.cli.recorded import problems_said, run_recorded
from graceline.cli.showing import Wanted, hand_out_result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.dialects.resume import RecordedRun

__all__ = ["RESUME_EPILOGUE", "RESUME_HELP", "resume"]

RESUME_HELP = """\
Go on with a run of a file that kept a journal, after a limit, a failure, \
Ctrl-C or kill -9.

Steps that are finished, and finished items of lists, are not done again: \
they give what they gave. All others are done, with limits that begin anew. A \
step whose end had not reached the journal is done a second time.

The run has its inputs, its tools and its directory from the journal. It \
learns nothing for the history.

If the run has ended well, nothing is run, and its result is shown.
"""
RESUME_EPILOGUE = """\
Examples:

  graceline run nightly.yaml --journal out
  graceline resume out
  graceline resume out --timeout 1h --json
  graceline resume out --again report

Exit codes:

  0    ok, or late (the value is there)
  1    failed, timed_out, cancelled or rejected; degraded, unless allowed
  2    there is no journal to go on with, or the file has changed in what
       it does, or is wrong
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)
"""


def resume(
    folder: Annotated[
        Path,
        Parameter(name="DIR", help="The directory that `graceline run --journal` wrote to."),
    ],
    /,
    *,
    timeout: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="Limit of what is left, instead of what the run was given or the pipeline's own.",
        ),
    ] = None,
    again: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="Do this step again although it is finished, and all that depends on it. May be "
            "given several times.",
        ),
    ] = None,
    force: Annotated[
        bool,
        FLAG,
        Parameter(
            help="Go on although the file has changed in what it does: what has changed is done "
            "again, with all that depends on it."
        ),
    ] = False,
    as_json: Json = False,
    output: Output = None,
    html: Html = None,
    svg: Svg = None,
    allow_degraded: AllowDegraded = False,
    debug: Debug = False,
) -> int:
    """Go on with a run."""
    seconds = None if timeout is None else parse_timeout(timeout)
    wanted = Wanted(
        as_json=as_json,
        output=output,
        html=html,
        svg=svg,
        allow_degraded=allow_degraded,
        debug=debug,
    )
    wanted.check()
    with problems_said():
        from graceline.dialects.resume import read_run, resuming  # noqa: PLC0415 - as in `run`

        run = read_run(folder)
        result = run.result() if run.finished and not again and not force else None
    if result is not None:
        said = f"this run has ended already, and nothing was run; it is as it was: {folder}"
        hand_out_result(result, wanted, [said])
        return OK
    here = _absolute(wanted)
    place = folder.absolute()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_directory(run))
        with output_aside(wanted=as_json), guarded(USAGE, debug=debug):
            tools = load_tools(run.tools)
        with problems_said():
            going = stack.enter_context(
                resuming(place, tools=tools, timeout=seconds, again=again or (), force=force)
            )
        return run_recorded(going.file.file, going, folder, here)


def _absolute(wanted: Wanted) -> Wanted:
    """The same files, from whatever directory."""
    return attrs.evolve(
        wanted,
        output=wanted.output and wanted.output.absolute(),
        html=wanted.html and wanted.html.absolute(),
        svg=wanted.svg and wanted.svg.absolute(),
    )


@contextlib.contextmanager
def _directory(run: RecordedRun) -> Iterator[None]:
    """Work where the run worked: modules, and paths in the file, may be relative to that."""
    before = os.getcwd()  # noqa: PTH109 - for the same spelling
    try:
        os.chdir(run.directory)
    except OSError as error:
        raise UsageError(
            f"the run worked in {run.directory}, which cannot be entered: {error.strerror}"
        ) from None
    try:
        yield
    finally:
        os.chdir(before)
