"""The command line itself: its words, its help, its exit codes, and what it prints."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Annotated, TextIO

import trio
from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError
from rich.console import Console
from rich.highlighter import ReprHighlighter
from rich.pretty import pretty_repr
from rich.text import Text

from graceline.cli.failures import UsageError
from graceline.cli.hints import hints
from graceline.cli.loading import load_pipeline, parse_input, parse_timeout
from graceline.cli.session import GRACE, run_session
from graceline.errors import DefinitionError
from graceline.telemetry.places import place_of
from graceline.telemetry.waterfall import Waterfall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from graceline.cli.session import Session
    from graceline.results import PipelineResult

__all__ = ["dispatch"]

_OK, _NOT_OK, _USAGE = 0, 1, 2
_VALUE_LINES = 40
_PROGRAM = (Exception, BaseExceptionGroup, KeyboardInterrupt, SystemExit)
_SEE = "see: graceline run --help"
_DEBUG = "--debug shows the traceback"
_highlight = ReprHighlighter()

_ABOUT = "Run pipelines that must answer in time."
_RUN_HELP = "\n\n".join(
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
            "Ctrl-C (SIGINT) or SIGTERM cancels the run with its cleanup and shows what it has so "
            "far. A second one cuts the cleanup, a third one ends the process."
        ),
    )
)
_EPILOGUE = """\
Examples:

  graceline run jobs.py:nightly
  graceline run shop.pipelines:assist -i query=hello -i top=5 --timeout 250ms
  graceline run jobs.py --json > result.json

Exit codes:

  0    ok, or late (the value is there)
  1    failed, timed_out, cancelled or rejected; degraded, unless allowed
  2    a mistake in the command line or in the definition; an input that a
       node refuses is a failed run: 1
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)
"""
_FLAG = Parameter(negative=(), show_default=False)

_app = App(
    name="graceline",
    help=_ABOUT,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def dispatch(argv: list[str]) -> int:
    """Carry out a command line and return its exit code."""
    with _encodable(sys.stdout), _encodable(sys.stderr):
        return _dispatch(argv)


@contextlib.contextmanager
def _encodable(stream: TextIO) -> Iterator[None]:
    """Let a stream write what its encoding lacks as escapes: a result is shown in any terminal."""
    errors = getattr(stream, "errors", None)
    if not isinstance(stream, io.TextIOWrapper) or errors not in ("strict", "surrogateescape"):
        yield
        return
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        stream.reconfigure(errors=errors)


def _dispatch(argv: list[str]) -> int:
    debug = "--debug" in argv
    try:
        code = _app(argv, exit_on_error=False, print_error=False)
    except UnusedCliTokensError as error:
        words = ", ".join(map(repr, error.unused_tokens or ()))
        return _complain(f"too many words: {words}; run takes one TARGET", _SEE)
    except CycloptsError as error:
        error.verbose = False
        return _complain(str(error).strip(), _SEE)
    except (UsageError, DefinitionError) as error:
        place = place_of(error)
        if debug:
            _trace(error)
        more = (_DEBUG,) if place and not debug else ()
        return _complain(f"{place}: {error}" if place else str(error), *more)
    return code if isinstance(code, int) else _OK


@_app.command(name="run", help=_RUN_HELP, help_epilogue=_EPILOGUE)
def _run(
    target: Annotated[
        str,
        Parameter(
            help="`pkg.module:name` or `path/file.py:name`: the name of the variable or of the "
            "pipeline. It may be left out if there is exactly one pipeline."
        ),
    ],
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
        _FLAG,
        Parameter(name="--json", help="Print the result as JSON and nothing else."),
    ] = False,
    allow_degraded: Annotated[
        bool,
        _FLAG,
        Parameter(help="Exit with 0 although non-critical parts did not succeed."),
    ] = False,
    debug: Annotated[
        bool, _FLAG, Parameter(help="Show tracebacks of errors on standard error.")
    ] = False,
) -> int:
    """Run a pipeline."""
    seconds = None if timeout is None else parse_timeout(timeout)
    value = parse_input(inputs or ())
    err = Console(stderr=True)
    # What the user's code prints must not get between the lines of a document.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        try:
            pipeline = load_pipeline(target)
        except (UsageError, DefinitionError):
            raise
        except _PROGRAM as error:
            return _broken(error, _USAGE, debug=debug)
        try:
            screen = err if err.is_terminal and not as_json else None
            session = trio.run(run_session, pipeline, value, seconds, screen)
        except DefinitionError:
            raise
        except _PROGRAM as error:
            return _broken(error, _NOT_OK, debug=debug)
    if as_json:
        sys.stdout.write(json.dumps(session.result.to_dict(), indent=2) + "\n")
    else:
        _show(Console(), session, hints(pipeline, session.result, value, debug=debug))
    if debug:
        for problem in _errors(session.result):
            _trace(problem)
    return _exit_code(session, allow_degraded=allow_degraded)


def _exit_code(session: Session, *, allow_degraded: bool) -> int:
    if session.signal is not None:
        return 128 + session.signal
    result = session.result
    if result.ok and (allow_degraded or not result.degraded):
        return _OK
    return _NOT_OK


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


def _errors(result: PipelineResult) -> Iterator[BaseException]:
    for stage in result.stages.values():
        for node in stage.nodes.values():
            if node.error is not None:
                yield node.error
            yield from node.secondary
        yield from stage.secondary
    yield from result.secondary


def _broken(error: BaseException, code: int, *, debug: bool) -> int:
    """The user's module or a node raised what is for the program, or what nobody expected."""
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, SystemExit):
            if isinstance(leaf.code, str):
                return _complain(leaf.code, code=_NOT_OK)
            return leaf.code or 0
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return _complain("interrupted", code=128 + signal.SIGINT)
    if debug:
        _trace(error)
    for leaf in leaves:
        notes = "".join(f" ({note})" for note in getattr(leaf, "__notes__", ()))
        text = leaf.msg if isinstance(leaf, SyntaxError) else str(leaf)
        said = f"{type(leaf).__name__}: {text}" if text else type(leaf).__name__
        place = place_of(leaf) or place_of(error)
        _complain(f"{place}: {said}{notes}" if place else f"{said}{notes}")
    if not debug:
        _complain(_DEBUG)
    return code


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _complain(message: str, *more: str, code: int = _USAGE) -> int:
    for line in (message, *more):
        sys.stderr.write(f"graceline: {line}\n")
    return code


def _trace(error: BaseException) -> None:
    traceback.print_exception(error, file=sys.stderr)
