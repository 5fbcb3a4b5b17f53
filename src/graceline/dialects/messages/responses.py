"""Responses: what became of a message, in plain JSON types and always the same structures."""

from __future__ import annotations

import math
from typing import Any, NotRequired, TypedDict

import attrs

from graceline.deadlines import Blame, Status
from graceline.definitions.checks import brief
from graceline.dialects.messages.workflows import Request, Workflow
from graceline.documents import to_document
from graceline.errors import GracelineError
from graceline.results import NodeOutcome, PipelineResult

__all__ = ["PartialProgress", "Response", "StepReport", "refusal", "respond"]

_LONGEST_TEXT = 1000
_BY_OTHERS = {Status.CANCELLED: "cancelled", Status.REJECTED: "refused"}


class StepReport(TypedDict):
    """One step: its name, its status, and what it returned or else what it saved as partial."""

    step: str
    status: str
    result: Any


class PartialProgress(TypedDict):
    """What was finished when a limit passed: names in the order of completion; seconds."""

    completed_steps: list[str]
    total_steps_completed: int
    timeout_seconds: float | None


class Response(TypedDict):
    """The answer to a message. `status` and `error` are there only if it did not succeed."""

    workflow_type: str | None
    steps: list[StepReport]
    status: NotRequired[str]
    error: NotRequired[str]
    partial_progress: NotRequired[PartialProgress]


@attrs.frozen
class _Report:
    """A step as `to_document` writes it."""

    step: str
    status: Status
    result: Any


def refusal(workflow_type: str | None, error: str) -> Response:
    """The answer to a message that nobody can work on."""
    return {"workflow_type": workflow_type, "steps": [], "status": "error", "error": error}


def respond(workflow: Workflow, result: PipelineResult, patience: float) -> Response:
    """The answer by the result of a run.

    Args:
        workflow: what ran.
        result: how it ended.
        patience: the limit that the call gave, in seconds.
    """
    outcomes = [node for stage in result.stages.values() for node in stage.nodes.values()]
    response: Response = {
        "workflow_type": result.pipeline,
        "steps": [_report(workflow, outcome) for outcome in outcomes],
    }
    if result.ok:
        return response
    blamed = _blamed(workflow, result)
    response["status"] = str(blamed.status)
    response["error"] = _explain(result)
    if blamed.status is Status.TIMED_OUT:
        limit = patience
        if blamed.blame is not None and blamed.blame.limit is not None:
            limit = blamed.blame.limit
        response["partial_progress"] = {
            "completed_steps": list(result.completed),
            "total_steps_completed": len(result.completed),
            "timeout_seconds": limit if math.isfinite(limit) else None,
        }
    return response


def _blamed(workflow: Workflow, result: PipelineResult) -> PipelineResult:
    """The result that says how a run ended: of the step that ended it, if that is a pipeline."""
    by_step = result.blame is not None and result.blame.name in workflow.nested
    inner = _inner(result.error) if by_step else None
    return result if inner is None else inner


def _inner(error: BaseException | None) -> PipelineResult | None:
    """The result that an error of a run inside a step carries."""
    result = getattr(error, "result", None) if isinstance(error, GracelineError) else None
    return result if isinstance(result, PipelineResult) else None


def _report(workflow: Workflow, outcome: NodeOutcome) -> StepReport:
    step, status = outcome.name, outcome.status
    value = outcome.value if outcome.completed else outcome.partial
    if isinstance(value, Request):
        value = value.results.get(step)
    inner = _inner(outcome.error) if step in workflow.nested else None
    if inner is not None:
        status, value = inner.status, _finished(inner)
    try:
        document = to_document(_Report(step, status, value))
    except Exception:  # noqa: BLE001 - whatever a value does, the other steps are answered
        document = to_document(_Report(step, status, {"repr": brief(value)}))
    return {"step": step, "status": str(document["status"]), "result": document["result"]}


def _finished(result: PipelineResult) -> dict[str, Any] | None:
    """What a pipeline had when it ended without a value, by the names of its nodes."""
    values = {name: result.node(name).value for name in result.completed}
    return {**values, **result.partial} or None


def _say(status: Status, blame: Blame | None) -> str:
    if blame is None:  # only a result that was put together by hand
        return str(status)
    if status in _BY_OTHERS:
        return f"{blame.level} {blame.name!r} was {_BY_OTHERS[status]}: {blame.message}"
    return blame.message


def _explain(result: PipelineResult) -> str:
    """Who is to blame, and the text of the error, for the one who sent the message."""
    said = _say(result.status, result.blame)
    inner = _inner(result.error)
    if inner is not None:
        return f"{said}: {_explain(inner)}"
    if result.error is None:
        return said
    try:
        text = str(result.error)
    except Exception:  # noqa: BLE001 - an error that cannot be written
        text = ""
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}..."
    return f"{said}: {text}" if text else said
