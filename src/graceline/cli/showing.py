"""One run for a person or a program: it is shown, written, and becomes an exit code."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio
from rich.console import Console
from rich.highlighter import ReprHighlighter
from rich.pretty import pretty_repr
from rich.text import Text

from graceline.cli.ending import NOT_OK, exit_code, trace_result
from graceline.cli.failures import UsageError
from graceline.cli.guarding import checked, guarded, output_aside
from graceline.cli.hints import hints
from graceline.cli.keeping import run_history
from graceline.cli.session import run_session
from graceline.cli.writing import check_places, write_file
from graceline.timelines.waterfall import Waterfall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from graceline.definitions import Pipeline
    from graceline.results import PipelineResult
    from graceline.telemetry.hub import Sink
    from graceline.timelines import Drawn

__all__ = ["Wanted", "hand_out_result", "run_shown"]

_VALUE_LINES = 40
_highlight = ReprHighlighter()


@attrs.frozen(kw_only=True)
class Wanted:
    """What a command line wants to have of a run.

    Attributes:
        as_json: the document on standard output, and nothing else there.
        output: the same document in this file.
        html: the waterfall in this file, as a page.
        svg: the waterfall in this file, as a picture.
        allow_degraded: whether a degraded run is good enough.
        debug: tracebacks on standard error.
    """

    as_json: bool = False
    output: Path | None = None
    html: Path | None = None
    svg: Path | None = None
    allow_degraded: bool = False
    debug: bool = False

    def check(self) -> None:
        """See before the run that the files can be written after it.

        Raises:
            UsageError: if one cannot.
        """
        check_places({"--output": self.output, "--html": self.html, "--svg": self.svg})


def run_shown(
    name: str,
    pipeline: Pipeline,
    value: Any,
    wanted: Wanted,
    *,
    timeout: float | None = None,
    history: Path | None = None,
    sinks: tuple[Sink, ...] = (),
    ended: Callable[[PipelineResult], Iterable[str]] | None = None,
) -> int:
    """Run a pipeline, show what came of it, and return the exit code.

    Args:
        name: what messages call the pipeline: the word of the command line.
        pipeline: what to run.
        value: its input.
        wanted: what to show and to write.
        timeout: limit of this run in seconds, instead of the pipeline's own.
        history: the file with what runs have taught; None for none.
        sinks: subscribers of its events.
        ended: is told the result before it is shown, and gives hints of its own.

    Raises:
        UsageError: if the definition shows itself to be wrong, or a file cannot be written.
        Ended: after a node raised what is for the program.
    """
    err = Console(stderr=True)
    screen = err if err.is_terminal and not wanted.as_json else None
    with (
        output_aside(wanted=wanted.as_json),
        guarded(NOT_OK, debug=wanted.debug),
        checked(name),
        run_history(history) as store,
    ):
        work = partial(run_session, sinks=sinks, history=store)
        session = trio.run(work, pipeline, value, timeout, screen)
    said = [*hints(pipeline, session, value, debug=wanted.debug)]
    said += () if ended is None else ended(session.result)
    code = exit_code(session, allow_degraded=wanted.allow_degraded)
    if code == NOT_OK and session.result.ok:
        said.append("exit code 1, since parts are degraded; --allow-degraded allows it")
    _hand_out(session.result, session.timeline, said, wanted)
    return code


def hand_out_result(result: PipelineResult, wanted: Wanted, said: Iterable[str]) -> None:
    """Show a result that was recorded, with hints, as if its run had just ended.

    Raises:
        UsageError: if a file could not be written; all else is done then.
    """
    _hand_out(result, result.timeline, said, wanted)


def _hand_out(result: PipelineResult, timeline: Drawn, said: Iterable[str], wanted: Wanted) -> None:
    """The files first: standard output may be a pipe that nobody reads any more.

    Raises:
        UsageError: if a file could not be written; all else is done then.
    """
    document = json.dumps(result.to_dict(), indent=2) + "\n"
    problems = list(_written(timeline, document, wanted))
    if wanted.as_json:
        sys.stdout.write(document)
    else:
        _show(Console(), result, timeline, said)
    if wanted.debug:
        trace_result(result)
    if problems:
        raise UsageError("; ".join(problems))


def _written(timeline: Drawn, document: str, wanted: Wanted) -> Iterator[str]:
    """Write the files; gives what was wrong with those that could not be written."""
    if wanted.output is not None:
        yield from _attempt(wanted.output, "result", document)
    if wanted.html is not None:
        yield from _attempt(wanted.html, "waterfall", timeline.to_html())
    if wanted.svg is not None:
        yield from _attempt(wanted.svg, "waterfall", timeline.to_svg())


def _attempt(path: Path, what: str, text: str) -> Iterator[str]:
    try:
        write_file(path, text)
    except OSError as error:
        yield f"the {what} could not be written: {error}"


def _show(out: Console, result: PipelineResult, timeline: Drawn, said: Iterable[str]) -> None:
    """The waterfall and the hints; below them the value, cut where it is huge."""
    out.print(Waterfall(timeline, result))
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
