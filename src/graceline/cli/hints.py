"""What the command adds to a result: why a node may have failed, and how to see more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graceline.deadlines import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.definitions import Pipeline
    from graceline.results import PipelineResult

__all__ = ["hints"]


def hints(pipeline: Pipeline, result: PipelineResult, value: Any, *, debug: bool) -> Iterator[str]:
    """Hints for people, each on a line.

    Args:
        pipeline: what was run.
        result: what came of it.
        value: its input; None if the command line gave none.
        debug: whether tracebacks are shown already.
    """
    names = ", ".join(_failed_on_input(pipeline, result)) if value is None else ""
    if names:
        yield f"the input of {names} was None: there was no -i key=value"
    if not debug and _raised(result):
        yield "--debug shows the traceback"


def _failed_on_input(pipeline: Pipeline, result: PipelineResult) -> Iterator[str]:
    """Nodes that raised, and had the input of the run."""
    for stage in pipeline.stages:
        if pipeline.graph.before[stage.name]:
            continue
        for node in stage.nodes:
            outcome = result.stages[stage.name].nodes[node.name]
            if outcome.status is Status.FAILED and not stage.graph.before[node.name]:
                yield node.name


def _raised(result: PipelineResult) -> bool:
    """Whether any part raised anything."""
    return bool(result.secondary) or any(
        stage.error
        or stage.secondary
        or any(node.error or node.secondary for node in stage.nodes.values())
        for stage in result.stages.values()
    )
