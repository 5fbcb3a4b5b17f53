"""The events of runs, stages and nodes: they start, they end, and what went in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graceline.deadlines import Status
from graceline.results import NodeOutcome
from graceline.telemetry import events
from graceline.telemetry.hub import NOBODY
from graceline.telemetry.payloads import error_text, value_text
from graceline.values import draft_of

if TYPE_CHECKING:
    from graceline.deadlines import Limit
    from graceline.engine.levels import LevelRun
    from graceline.engine.plan import NodePlan
    from graceline.engine.state import RunState
    from graceline.results import PipelineResult, StageOutcome

__all__ = [
    "tell_ended",
    "tell_node_ended_well",
    "tell_node_started",
    "tell_payloads",
    "tell_run_ended",
    "tell_run_started",
    "tell_stage_ended_well",
    "tell_stage_started",
]


# Drafts, filled in by position in the order of the fields: a trace has two events for each node,
# and a frozen class is built in six times as long.
_RunStarted: Any = draft_of(events.RunStarted)
_RunFinished: Any = draft_of(events.RunFinished)
_NodeStarted: Any = draft_of(events.NodeStarted)
_NodeFinished: Any = draft_of(events.NodeFinished)
_StageStarted: Any = draft_of(events.StageStarted)
_StageFinished: Any = draft_of(events.StageFinished)
_OK, _SKIPPED = Status.OK, Status.SKIPPED


def tell_run_started(run: RunState) -> None:
    """A run was admitted."""
    limit, plan, shared = run.root.limit, run.plan, run.shared
    event = _RunStarted(
        run.admitted_at, run.run_id, plan.name, shared.lane,
        run.admitted_at - run.origin, limit.shown, limit.source, run.root.fired(), plan.shape,
        plan.slo,
    )  # fmt: skip
    event.__class__ = events.RunStarted
    shared.hub.trace(event, run.spared)


def tell_run_ended(run: RunState, result: PipelineResult) -> None:
    """A run has its result."""
    shared, error = run.shared, result.error
    event = _RunFinished(
        run.origin + result.elapsed, run.run_id, run.plan.name, shared.lane,
        result.status, run.origin, result.elapsed, result.limit, result.source, result.grace_used,
        result.overrun, result.blame, None if error is None else type(error).__name__,
        result.queued, result.degraded, len(result.completed),
    )  # fmt: skip
    event.__class__ = events.RunFinished
    well = result.status is _OK and not result.degraded
    shared.hub.trace(event, run.spared if well else NOBODY)


def tell_node_started(
    run: RunState, plan: NodePlan, limit: Limit, start: float, fires: float
) -> None:
    """A node's work starts; it is cancelled at `fires`."""
    shared = run.shared
    event = _NodeStarted(
        start, run.run_id, run.plan.name, shared.lane,
        plan.stage, plan.name, limit.shown, limit.source, fires, plan.critical, plan.slo,
    )  # fmt: skip
    event.__class__ = events.NodeStarted
    shared.hub.trace(event, run.spared)


def tell_node_ended_well(
    run: RunState, plan: NodePlan, limit: Limit, start: float, now: float
) -> None:
    """A node without policies has ended well: one attempt, no outcome built."""
    shared = run.shared
    event = _NodeFinished(
        now, run.run_id, run.plan.name, shared.lane,
        _OK, start, now - start, limit.shown, limit.source, 0.0, 0.0, None, None,
        plan.stage, plan.name, 1, False,
    )  # fmt: skip
    event.__class__ = events.NodeFinished
    shared.hub.trace(event, run.spared)


def tell_stage_started(run: RunState, level: LevelRun) -> None:
    """A stage starts."""
    limit, plan, shared = level.limit, level.plan, run.shared
    event = _StageStarted(
        level.start, run.run_id, run.plan.name, shared.lane,
        plan.name, limit.shown, limit.source, level.fired(), plan.critical, plan.slo,
    )  # fmt: skip
    event.__class__ = events.StageStarted
    shared.hub.trace(event, run.spared)


def tell_stage_ended_well(run: RunState, level: LevelRun, value: Any, now: float) -> None:
    """A stage has ended well, and no outcome was built."""
    limit, shared, start = level.limit, run.shared, level.start
    if shared.hub.curious:
        tell_payloads(run, level, _OK, now, value=value)
    event = _StageFinished(
        now, run.run_id, run.plan.name, shared.lane,
        _OK, start, now - start, limit.shown, limit.source, 0.0, 0.0, None, None, level.plan.name,
    )  # fmt: skip
    event.__class__ = events.StageFinished
    shared.hub.trace(event, run.spared)


def tell_ended(
    run: RunState, level: LevelRun, outcome: NodeOutcome | StageOutcome, now: float
) -> None:
    """A part has its outcome."""
    plan, error = level.plan, outcome.error
    fields: dict[str, Any] = {
        "status": outcome.status, "started": level.start, "elapsed": outcome.elapsed,
        "limit": outcome.limit, "source": outcome.source, "grace_used": outcome.grace_used,
        "overrun": outcome.overrun, "blame": outcome.blame,
        "error_type": None if error is None else type(error).__name__,
    }  # fmt: skip
    well = outcome.status is _OK or outcome.status is _SKIPPED
    hand_out = run.trace if well else run.emit
    if isinstance(outcome, NodeOutcome):
        hand_out(
            events.NodeFinished, now, stage=plan.stage,  # type: ignore[attr-defined]
            node=plan.name, attempts=outcome.attempts, partial=plan.label in run.partial, **fields,
        )  # fmt: skip
    else:
        hand_out(events.StageFinished, now, stage=plan.name, **fields)


def tell_payloads(
    run: RunState,
    level: LevelRun,
    status: Status,
    now: float,
    *,
    value: Any = None,
    partial: Any = None,
    error: BaseException | None = None,
    secondary: tuple[BaseException, ...] = (),
) -> None:
    """What went into a part that has ended, and what came out; called if anybody wants to know."""
    if not run.shared.hub.payloads_wanted(well=status is Status.OK):
        return
    name, kind = level.plan.name, level.limit.level
    stage = "" if kind == "pipeline" else getattr(level.plan, "stage", name)
    usable = status in (Status.OK, Status.LATE)
    run.shared.hub.emit_payloads(
        events.PayloadsSeen(
            at=now, run_id=run.run_id, pipeline=run.plan.name, lane=run.shared.lane,
            stage=stage, node=name if kind == "node" else "", status=status,
            input=value_text(level.input), value=value_text(value) if usable else None,
            partial_value=None if partial is None else value_text(partial),
            error=None if error is None else error_text(error),
            secondary=tuple(error_text(other) for other in secondary),
        )
    )  # fmt: skip
