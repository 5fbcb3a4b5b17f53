"""The events of nodes and stages: that they start, that they end, and what went in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graceline.deadlines import Status
from graceline.results import NodeOutcome
from graceline.telemetry import events
from graceline.telemetry.payloads import error_text, value_text

if TYPE_CHECKING:
    from graceline.engine.levels import LevelRun
    from graceline.engine.state import RunState
    from graceline.results import StageOutcome

__all__ = [
    "tell_ended",
    "tell_node_ended_well",
    "tell_node_started",
    "tell_payloads",
    "tell_stage_ended_well",
    "tell_stage_started",
]


def tell_node_started(run: RunState, level: LevelRun, fires: float) -> None:
    """A node's work starts; it is cancelled at `fires`."""
    limit, plan = level.limit, level.plan
    run.emit(
        events.NodeStarted, level.start, stage=plan.stage,  # type: ignore[attr-defined]
        node=plan.name, limit=limit.shown, source=limit.source, fires_at=fires,
        critical=plan.critical, slo=plan.slo,
    )  # fmt: skip


def tell_node_ended_well(run: RunState, level: LevelRun, value: Any, now: float) -> None:
    """A node without policies has ended well: one attempt, no outcome built."""
    plan = level.plan
    if run.shared.hub.curious:
        tell_payloads(run, level, Status.OK, now, value=value)
    run.emit(
        events.NodeFinished, now, stage=plan.stage,  # type: ignore[attr-defined]
        node=plan.name, attempts=1, partial=False, **_well(level, now),
    )  # fmt: skip


def tell_stage_started(run: RunState, level: LevelRun) -> None:
    """A stage starts."""
    limit, plan = level.limit, level.plan
    run.emit(
        events.StageStarted, level.start, stage=plan.name, limit=limit.shown, source=limit.source,
        fires_at=level.fired(), critical=plan.critical, slo=plan.slo,
    )  # fmt: skip


def tell_stage_ended_well(run: RunState, level: LevelRun, value: Any, now: float) -> None:
    """A stage has ended well, and no outcome was built."""
    if run.shared.hub.curious:
        tell_payloads(run, level, Status.OK, now, value=value)
    run.emit(events.StageFinished, now, stage=level.plan.name, **_well(level, now))


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
    if isinstance(outcome, NodeOutcome):
        run.emit(
            events.NodeFinished, now, stage=plan.stage,  # type: ignore[attr-defined]
            node=plan.name, attempts=outcome.attempts, partial=plan.label in run.partial, **fields,
        )  # fmt: skip
    else:
        run.emit(events.StageFinished, now, stage=plan.name, **fields)


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


def _well(level: LevelRun, now: float) -> dict[str, Any]:
    """What the event of a part says that has no outcome yet, and ended well."""
    limit, start = level.limit, level.start
    return {
        "status": Status.OK, "started": start, "elapsed": now - start, "limit": limit.shown,
        "source": limit.source, "grace_used": 0.0, "overrun": 0.0, "blame": None,
        "error_type": None,
    }  # fmt: skip
