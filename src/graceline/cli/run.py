"""The command `graceline run`: one run of a pipeline, where its time went, and its value."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from graceline.cli.ending import USAGE
from graceline.cli.files import load_job
from graceline.cli.guarding import guarded, output_aside
from graceline.cli.keeping import history_place
from graceline.cli.loading import parse_timeout, split_input
from graceline.cli.options import (
    FLAG,
    AllowDegraded,
    Debug,
    History,
    Html,
    Json,
    NoHistory,
    Output,
    Svg,
    Target,
    Timeout,
    ToolModules,
)
from graceline.cli.recorded import check_journal, run_new
from graceline.cli.session import GRACE
from graceline.cli.showing import Wanted, run_shown

__all__ = ["RUN_EPILOGUE", "RUN_HELP", "run"]

RUN_HELP = "\n\n".join(
    (
        "Run a pipeline, from a file or in Python, and show where its time went.",
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

  graceline run research.yaml -i topic=trees --output result.json
  graceline run research.yaml --inputs trees.yaml --tools tools.py
  graceline run nightly.yaml --journal out
  graceline run jobs.py:nightly
  graceline run shop.pipelines:assist -i query=hello -i top=5 --timeout 250ms
  graceline run jobs.py --json > result.json
  graceline run jobs.py --html run.html

Exit codes:

  0    ok, or late (the value is there)
  1    failed, timed_out, cancelled or rejected; degraded, unless allowed
  2    a mistake in the command line, in the file or the definition, or in
       the inputs of a file; an input that a node refuses is a failed run: 1
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)
"""


def run(
    target: Target,
    /,
    *,
    pairs: Annotated[
        list[str] | None,
        Parameter(
            name=["-i", "--input"],
            negative=(),
            help="An entry `key=value` of the input, which is a dict of them (in Python None "
            "without any). Values that are JSON are read as JSON, others are strings; so is all "
            "that a file declares as one.",
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        Parameter(help="Read the input from this file, in YAML or JSON; -i changes single ones."),
    ] = None,
    tools: ToolModules = None,
    journal: Annotated[
        Path | None,
        Parameter(
            name="--journal",
            help="Keep a journal of a file's run in this directory, so that `graceline resume DIR` "
            "can go on with it, whatever ends it.",
        ),
    ] = None,
    force: Annotated[
        bool, FLAG, Parameter(help="Replace the journal of an earlier run in that directory.")
    ] = False,
    timeout: Timeout = None,
    as_json: Json = False,
    output: Output = None,
    file: History = None,
    no_history: NoHistory = False,
    html: Html = None,
    svg: Svg = None,
    allow_degraded: AllowDegraded = False,
    debug: Debug = False,
) -> int:
    """Run a pipeline."""
    seconds = None if timeout is None else parse_timeout(timeout)
    given = split_input(pairs or ())
    wanted = Wanted(
        as_json=as_json,
        output=output,
        html=html,
        svg=svg,
        allow_degraded=allow_degraded,
        debug=debug,
    )
    wanted.check()
    check_journal(target, journal, force=force)
    place = history_place(file, none=no_history)
    with output_aside(wanted=as_json), guarded(USAGE, debug=debug):
        job = load_job(target, given, inputs, tools or ())
    if journal is not None:
        return run_new(
            target, job, journal, wanted, tools=tools or (), timeout=seconds, history=place,
            force=force,
        )  # fmt: skip
    return run_shown(target, job.pipeline, job.value, wanted, timeout=seconds, history=place)
