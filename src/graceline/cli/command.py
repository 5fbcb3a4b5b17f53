"""The command line itself: which commands there are, and what is said of words that fit none."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, TextIO

from cyclopts import App, CycloptsError, UnusedCliTokensError

from graceline.cli.bench import (
    BENCH_EPILOGUE,
    BENCH_HELP,
    REPORT_EPILOGUE,
    REPORT_HELP,
    bench,
    report,
)
from graceline.cli.check import CHECK_EPILOGUE, CHECK_HELP, check
from graceline.cli.completion import COMPLETION_EPILOGUE, COMPLETION_HELP, completion_of
from graceline.cli.ending import NOT_OK, OK, SEE_TRACEBACK, USAGE, broken, complain, trace
from graceline.cli.explain import EXPLAIN_EPILOGUE, EXPLAIN_HELP, explain
from graceline.cli.failures import Ended, ProblemsError, UsageError
from graceline.cli.graph import GRAPH_EPILOGUE, GRAPH_HELP, graph
from graceline.cli.history.commands import HISTORY, history
from graceline.cli.plan import PLAN_EPILOGUE, PLAN_HELP, plan
from graceline.cli.resume import RESUME_EPILOGUE, RESUME_HELP, resume
from graceline.cli.run import RUN_EPILOGUE, RUN_HELP, run
from graceline.cli.schema import SCHEMA_EPILOGUE, SCHEMA_HELP, schema
from graceline.cli.telemetry import TELEMETRY, telemetry
from graceline.errors import DefinitionError
from graceline.timelines.places import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["dispatch"]

_ABOUT = "Run pipelines that must answer in time."
_TAKES = {
    "run": "one TARGET",
    "check": "FILEs",
    "schema": "no word",
    "explain": "one FILE and one STEP",
    "graph": "one TARGET",
    "plan": "one TARGET",
    "bench": "one SUITE",
    "report": "one DIR",
    "completion": "one shell",
    "resume": "one DIR",
    **HISTORY,
    **TELEMETRY,
}

_app = App(
    name="graceline",
    help=_ABOUT,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
_app.command(run, name="run", help=RUN_HELP, help_epilogue=RUN_EPILOGUE)
_app.command(check, name="check", help=CHECK_HELP, help_epilogue=CHECK_EPILOGUE)
_app.command(schema, name="schema", help=SCHEMA_HELP, help_epilogue=SCHEMA_EPILOGUE)
_app.command(explain, name="explain", help=EXPLAIN_HELP, help_epilogue=EXPLAIN_EPILOGUE)
_app.command(resume, name="resume", help=RESUME_HELP, help_epilogue=RESUME_EPILOGUE)
_app.command(graph, name="graph", help=GRAPH_HELP, help_epilogue=GRAPH_EPILOGUE)
_app.command(plan, name="plan", help=PLAN_HELP, help_epilogue=PLAN_EPILOGUE)
_app.command(bench, name="bench", help=BENCH_HELP, help_epilogue=BENCH_EPILOGUE)
_app.command(report, name="report", help=REPORT_HELP, help_epilogue=REPORT_EPILOGUE)
_app.command(history)
_app.command(telemetry)
_app.command(
    completion_of(_app),
    name="completion",
    help=COMPLETION_HELP,
    help_epilogue=COMPLETION_EPILOGUE,
)


def dispatch(argv: list[str]) -> int:
    """Carry out a command line and return its exit code."""
    if sys.stdout is None:  # closed by whoever called: nobody wants to read
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the end
    with _encodable(sys.stdout), _encodable(sys.stderr):
        try:
            code = _dispatch(argv)
            sys.stdout.flush()
        except OSError as error:
            return _unwritten(error)
    return code


def _unwritten(error: OSError) -> int:
    """Say that standard output could not be written; returns the exit code.

    Raises:
        OSError: if it can be: then it was something else.
    """
    gone = isinstance(error, BrokenPipeError)  # nobody reads any more
    if not gone:
        try:
            sys.stdout.write("\n")  # what was to be written may be gone: a flush alone says nothing
            sys.stdout.flush()
        except OSError:
            pass
        else:
            raise error
    # Nor can it be when Python ends, which would try again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if gone:
        return 128 + signal.SIGPIPE
    return complain(f"standard output could not be written: {error.strerror or error}")


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
    name = next((known for count in (2, 1) if (known := " ".join(argv[:count])) in _TAKES), "")
    see = f"see: graceline {name} --help" if name else "see: graceline --help"
    try:
        code = _app(argv, exit_on_error=False, print_error=False)
    except Ended as ended:
        return ended.code
    except KeyboardInterrupt as error:
        return broken(error, NOT_OK, debug=debug)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        raise
    except UnusedCliTokensError as error:
        words = ", ".join(map(repr, error.unused_tokens or ()))
        takes = f"; {name} takes {_TAKES[name]}" if name else ""
        return complain(f"too many words: {words}{takes}", see)
    except CycloptsError as error:
        error.verbose = False
        return complain(str(error).strip(), see)
    except ProblemsError as error:
        if debug:
            trace(error)
        # Bare, so that an editor finds the place.
        sys.stderr.writelines(f"{line}\n" for line in error.lines)
        return USAGE
    except (UsageError, DefinitionError) as error:
        place = place_of(error)
        if debug:
            trace(error)
        more = (SEE_TRACEBACK,) if place and not debug else ()
        return complain(f"{place}: {error}" if place else str(error), *more)
    return code if isinstance(code, int) else OK
