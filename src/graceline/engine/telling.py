"""The events of a trace: nodes and stages that start, and those that end well.

What does not end well is told by `outcomes.tell`, whether anybody wants a trace or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graceline.deadlines import Status
from graceline.telemetry import events

if TYPE_CHECKING:
    from graceline.engine.levels import LevelRun
    from graceline.engine.state import RunState

__all__ = [
    "tell_node_ended_well",
    "tell_node_started",
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


def tell_node_ended_well(run: RunState, level: LevelRun, now: float) -> None:
    """A node without policies has ended well: one attempt, no outcome built."""
    plan = level.plan
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


def tell_stage_ended_well(run: RunState, level: LevelRun, now: float) -> None:
    """A stage has ended well, and no outcome was built."""
    run.emit(events.StageFinished, now, stage=level.plan.name, **_well(level, now))


def _well(level: LevelRun, now: float) -> dict[str, Any]:
    limit, start = level.limit, level.start
    return {
        "status": Status.OK, "started": start, "elapsed": now - start, "limit": limit.shown,
        "source": limit.source, "grace_used": 0.0, "overrun": 0.0, "blame": None,
        "error_type": None,
    }  # fmt: skip
