"""What the command adds to a result: why a node may have failed, and how to see more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graceline.cli.ending import SEE_TRACEBACK, raised_in
from graceline.deadlines import Status
from graceline.durations import format_duration
from graceline.errors import GracelineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.cli.session import Session
    from graceline.definitions import Pipeline
    from graceline.results import PipelineResult

__all__ = ["hints"]


def hints(pipeline: Pipeline, session: Session, value: Any, *, debug: bool) -> Iterator[str]:
    """Hints for people, each on a line.

    Args:
        pipeline: what was run.
        session: what came of it.
        value: its input; None if the command line gave none.
        debug: whether tracebacks are shown already.
    """
    result = session.result
    if session.mode != "enforce":
        yield _mode(session)
    for event in session.late:
        part = f"node {event.node!r}" if event.node else f"stage {event.stage!r}"
        yield f"{part} went on past its soft deadline of {format_duration(event.late_after)}"
    names = ", ".join(_failed_on_input(pipeline, result)) if value is None else ""
    if names:
        yield f"the input of {names} was None: there was no -i key=value"
    if not debug and any(not isinstance(error, GracelineError) for error in raised_in(result)):
        yield SEE_TRACEBACK


def _mode(session: Session) -> str:
    """That nothing was cut, and what would have been."""
    said = f"mode {session.mode}: limits cut nothing"
    blame = session.result.would_time_out
    if session.mode == "off":
        return said
    if blame is None:
        return f"{said}, and none would have"
    limit = "" if blame.limit is None else f" of {format_duration(blame.limit)}"
    return f"{said}; the limit{limit} of {blame.level} {blame.name!r} would have"


def _failed_on_input(pipeline: Pipeline, result: PipelineResult) -> Iterator[str]:
    """Nodes that raised, and had the input of the run."""
    for stage in pipeline.stages:
        if pipeline.graph.before[stage.name]:
            continue
        for node in stage.nodes:
            outcome = result.stages[stage.name].nodes[node.name]
            if outcome.status is Status.FAILED and not stage.graph.before[node.name]:
                yield node.name
