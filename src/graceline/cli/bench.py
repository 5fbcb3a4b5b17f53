"""The commands `graceline bench` and `graceline report`: run a suite, and show what it left.

What they need is imported when they are called: `graceline run` does not pay for it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import trio
from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from graceline.cli.ending import (
    NOT_OK,
    OK,
    PROGRAM,
    USAGE,
    broken,
    exit_code,
    trace_result,
)
from graceline.cli.failures import UsageError
from graceline.cli.files import find_suite
from graceline.cli.guarding import guarded, output_aside
from graceline.cli.loading import parse_timeout
from graceline.cli.options import FLAG, Debug, Word
from graceline.cli.session import run_session
from graceline.definitions import Timeouts
from graceline.errors import DefinitionError, GracelineError
from graceline.timelines.waterfall import Waterfall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.bench import Story, Suite, Told
    from graceline.cli.session import Session
    from graceline.results import PipelineResult
    from graceline.telemetry.timeline import Timeline

__all__ = ["BENCH_EPILOGUE", "BENCH_HELP", "REPORT_EPILOGUE", "REPORT_HELP", "bench", "report"]

_GRACE = Timeouts.batch().grace
_LAST_WORDS = 8

BENCH_HELP = f"""\
Run a benchmark suite: phases of commands, each with its limit.

What is finished is on the disk at once, in DIR/journal.jsonl: whatever ends \
this process, `graceline report DIR` shows it. At the end DIR/report.html and \
DIR/report.json are written.

The suite's own limits apply, and no others. Programs have {_GRACE:g} s between \
SIGTERM and SIGKILL where the suite states no grace.

Ctrl-C (SIGINT) or SIGTERM cancels the suite and writes the report of what it \
has so far. A second one ends all programs by force, a third one ends the \
process.
"""
BENCH_EPILOGUE = """\
Examples:

  graceline bench nightly.yaml --out out/nightly
  graceline bench suite.py:nightly --out out/nightly
  graceline bench suite.py --out out --timeout 30m --force

Exit codes:

  0    every command succeeded, or was skipped by its condition
  1    something failed, timed out or was cancelled; also with
       continue_on_failure, unless --allow-degraded is given
  2    a mistake in the command line or in the definition; results are
       in DIR already
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)
"""
REPORT_HELP = """\
Make the report of a suite again from its journal, and show it.

It works at any time: while the suite runs, after its end, and after its \
runner was killed. What had finished is there with all it wrote.
"""
REPORT_EPILOGUE = """\
Examples:

  graceline report out/nightly
  graceline report out/nightly --json

Exit codes: 0 if there is a report, whatever it says; 2 if DIR holds no journal.
"""


def bench(
    suite: Annotated[
        Word,
        Parameter(
            help="A file `path/file.yaml` with phases, or Python: `path/file.py:name` or "
            "`pkg.module:name`, with the name of the variable or of the suite. It may be left out "
            "if there is exactly one suite."
        ),
    ],
    /,
    *,
    out: Annotated[
        Path,
        Parameter(name="--out", help="The directory for journal and report; made if need be."),
    ],
    timeout: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="Limit of this run, instead of the suite's own: `300ms`, `90m`, `2h`.",
        ),
    ] = None,
    force: Annotated[
        bool, FLAG, Parameter(help="Replace the results that are in DIR already.")
    ] = False,
    as_json: Annotated[
        bool,
        FLAG,
        Parameter(name="--json", help="Print the report as JSON and nothing else."),
    ] = False,
    allow_degraded: Annotated[
        bool,
        FLAG,
        Parameter(help="Exit with 0 although something with continue_on_failure did not succeed."),
    ] = False,
    debug: Debug = False,
) -> int:
    """Run a suite."""
    from graceline.bench import read_story  # noqa: PLC0415 - see above

    seconds = None if timeout is None else parse_timeout(timeout)
    with output_aside(wanted=as_json):
        with guarded(USAGE, debug=debug):
            found = find_suite(suite)
        session, problem = _run(found, out, seconds, force=force, quiet=as_json)
    code = OK if problem is None else broken(problem, NOT_OK, debug=debug)
    if session is None:
        return code
    if as_json:
        _print_document(out)
    else:
        story = read_story(out)
        _show(Console(), story, session.timeline, session.result, out)
    if debug:
        trace_result(session.result)
    return exit_code(session, allow_degraded=allow_degraded) or code


def _run(
    suite: Suite, out: Path, timeout: float | None, *, force: bool, quiet: bool
) -> tuple[Session | None, BaseException | None]:
    """Run a suite; returns what came of it, and what went wrong beside it."""
    from graceline.bench.running import recording  # noqa: PLC0415

    err = Console(stderr=True)
    screen = err if err.is_terminal and not quiet else None
    session = None
    try:
        with contextlib.ExitStack() as stack:
            try:
                recorder = stack.enter_context(recording(suite, out, timeout=timeout, force=force))
            except GracelineError as error:
                raise UsageError(str(error)) from None
            session = trio.run(
                run_session, recorder.pipeline, None, timeout, screen, _GRACE, (recorder,)
            )
            recorder.finish(session.result)
    except (UsageError, DefinitionError):
        raise
    except PROGRAM as error:
        return session, error
    return session, None


def report(
    folder: Annotated[
        Path, Parameter(name="DIR", help="The directory that `graceline bench --out` wrote to.")
    ],
    /,
    *,
    as_json: Annotated[
        bool,
        FLAG,
        Parameter(name="--json", help="Print the report as JSON and nothing else."),
    ] = False,
) -> int:
    """Make a report again."""
    from graceline.bench import write_report  # noqa: PLC0415

    try:
        story = write_report(folder)
    except (GracelineError, OSError) as error:
        raise UsageError(str(error)) from None
    if as_json:
        _print_document(folder)
        return OK
    _show(Console(), story, story.timeline, story.result, folder)
    return OK


def _print_document(folder: Path) -> None:
    """Print the report: for whoever reads it, the same as `report.json`."""
    from graceline.bench import read_story, report_document  # noqa: PLC0415

    sys.stdout.write(json.dumps(report_document(read_story(folder)), indent=2) + "\n")


def _show(
    out: Console, story: Story, timeline: Timeline, result: PipelineResult | None, folder: Path
) -> None:
    """The picture; below it the last words of what did not succeed, and where the report is."""
    if story.state in _STATES:
        said = _STATES[story.state].format(by=f" by {story.reason}" if story.reason else "")
        out.print(Text(said, style="bold"), soft_wrap=True)
    # What programs wrote is no value for one line.
    shown = None if result is None else attrs.evolve(result, partial={})
    out.print(Waterfall(timeline, shown, now=story.last))
    for told in story.told():
        for line in _last_words(told):
            out.print(Text(line), soft_wrap=True)
    out.print()
    out.print(Text(f"report    {folder / 'report.html'}", style="dim"), soft_wrap=True)


_STATES = {
    "running": "the suite goes on; this is how far it is",
    "interrupted": "the runner was ended{by} before the suite; `running` is what ran at that time",
}


def _last_words(told: Told) -> Iterator[str]:
    """The end of what a command wrote that did not succeed."""
    if told.output is None or told.status in ("ok", "late"):
        return
    stream = "stderr" if told.output["stderr"].strip() else "stdout"
    lines = told.output[stream].rstrip().splitlines()[-_LAST_WORDS:]
    if lines:
        yield ""
        yield f"{told.phase} / {told.row.name}: {told.status}, the end of its {stream}:"
        yield from (f"  {line}" for line in lines)
