"""How the command ends: its exit codes, and what it says of mistakes and of what was raised."""

from __future__ import annotations

import signal
import sys
import traceback
from typing import TYPE_CHECKING

from graceline.timelines.places import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.cli.session import Session
    from graceline.results import PipelineResult

__all__ = [
    "NOT_OK",
    "OK",
    "PROGRAM",
    "SEE_TRACEBACK",
    "USAGE",
    "broken",
    "complain",
    "exit_code",
    "leaves",
    "raised_in",
    "trace",
    "trace_result",
]

OK = 0
NOT_OK = 1
USAGE = 2
PROGRAM = (Exception, BaseExceptionGroup, KeyboardInterrupt, SystemExit)
"""What the user's code may raise for the program."""
SEE_TRACEBACK = "--debug shows the traceback"


def exit_code(session: Session, *, allow_degraded: bool) -> int:
    """The exit code of a run."""
    if session.signal is not None:
        return 128 + session.signal
    result = session.result
    if result.ok and (allow_degraded or not result.degraded):
        return OK
    return NOT_OK


def trace_result(result: PipelineResult) -> None:
    """Show the tracebacks of everything that was raised in a run."""
    for problem in raised_in(result):
        trace(problem)


def raised_in(result: PipelineResult) -> Iterator[BaseException]:
    """Everything that was raised in a run, each once: the error of a node may be its stage's."""
    for stage in result.stages.values():
        errors = [node.error for node in stage.nodes.values()]
        for node in stage.nodes.values():
            if node.error is not None:
                yield node.error
            yield from node.secondary
        if stage.error is not None and not any(stage.error is error for error in errors):
            yield stage.error
        yield from stage.secondary
    yield from result.secondary


def broken(error: BaseException, code: int, *, debug: bool) -> int:
    """The user's module or a node raised what is for the program, or what nobody expected.

    Returns:
        The exit code: `code`, unless the program asked for another one, or was interrupted.
    """
    found = list(leaves(error))
    for leaf in found:
        if isinstance(leaf, SystemExit):
            if isinstance(leaf.code, str):
                return complain(leaf.code, code=NOT_OK)
            return leaf.code or 0
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in found):
        return complain("interrupted", code=128 + signal.SIGINT)
    if debug:
        trace(error)
    for leaf in found:
        notes = "".join(f" ({note})" for note in getattr(leaf, "__notes__", ()))
        text = leaf.msg if isinstance(leaf, SyntaxError) else str(leaf)
        said = f"{type(leaf).__name__}: {text}" if text else type(leaf).__name__
        place = place_of(leaf) or place_of(error)
        complain(f"{place}: {said}{notes}" if place else f"{said}{notes}")
    if not debug:
        complain(SEE_TRACEBACK)
    return code


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group, those of the groups in it included; else the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def complain(message: str, *more: str, code: int = USAGE) -> int:
    """Write messages to standard error; returns the exit code."""
    for line in (message, *more):
        sys.stderr.write(f"graceline: {line}\n")
    return code


def trace(error: BaseException) -> None:
    """Show a traceback."""
    traceback.print_exception(error, file=sys.stderr)
