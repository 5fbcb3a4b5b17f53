"""Outcomes: built from a verdict, counted, and told to whoever listens."""

from __future__ import annotations

from typing import Any

from graceline.deadlines import Blame, Status, Verdict
from graceline.engine.levels import UNSET, LevelRun
from graceline.engine.plan import NodePlan, Plan, StagePlan
from graceline.engine.state import NOTHING, RunState
from graceline.results import NodeOutcome, StageOutcome, draft_of, freeze
from graceline.telemetry import events

__all__ = [
    "NodeDraft",
    "Outcome",
    "StageDraft",
    "all_nodes",
    "node_outcome",
    "skipped_stage",
    "stage_outcome",
    "tell",
    "unstarted",
]

Outcome = NodeOutcome | StageOutcome
NodeDraft: Any = draft_of(NodeOutcome)
StageDraft: Any = draft_of(StageOutcome)


def node_outcome(
    run: RunState,
    level: LevelRun,
    now: float,
    verdict: Verdict,
    *,
    value: Any = None,
    error: BaseException | None = None,
    attempts: int = 0,
    secondary: tuple[BaseException, ...] = (),
) -> NodeOutcome:
    """The outcome of a node."""
    limit = level.limit
    partial = level.partial
    kept = partial is not UNSET and verdict.status not in (Status.OK, Status.LATE)
    if kept:
        if run.partial is NOTHING:
            run.partial = {}
        run.partial[level.plan.label] = partial
    return NodeOutcome(
        name=level.plan.name,
        status=verdict.status,
        value=value,
        partial=partial if kept else None,
        error=error,
        started=level.start - run.origin,
        elapsed=now - level.start,
        limit=limit.shown,
        source=limit.source,
        attempts=attempts,
        grace_used=verdict.grace_used,
        overrun=verdict.overrun,
        blame=verdict.blame,
        secondary=secondary,
    )


def stage_outcome(
    run: RunState,
    level: LevelRun,
    now: float,
    verdict: Verdict,
    value: Any,
    error: BaseException | None,
    nodes: dict[str, NodeOutcome],
    plan: Plan,
) -> StageOutcome:
    """The outcome of a stage; nodes that never had a turn are `skipped`."""
    assert isinstance(plan, StagePlan)  # noqa: S101
    limit = level.limit
    return StageOutcome(
        name=plan.name,
        status=verdict.status,
        value=value,
        error=error,
        started=level.start - run.origin,
        elapsed=now - level.start,
        limit=limit.shown,
        source=limit.source,
        grace_used=verdict.grace_used,
        overrun=verdict.overrun,
        blame=verdict.blame,
        secondary=(),
        nodes=freeze(all_nodes(run, plan, nodes, now)),
    )


def all_nodes(
    run: RunState, plan: StagePlan, nodes: dict[str, NodeOutcome], now: float
) -> dict[str, NodeOutcome]:
    """The outcome of every node, in the order of definition; who had no turn is `skipped`."""
    if len(nodes) == len(plan.parts) and plan.ordered:
        return nodes
    return {
        name: nodes[name] if name in nodes else _skipped_node(run, part, now)
        for name, part in plan.parts.items()
    }


def _skipped_node(run: RunState, plan: NodePlan, now: float) -> NodeOutcome:
    """The outcome of a node that never had a turn."""
    outcome = unstarted(run, LevelRun(run, plan, run.root, now, None), Status.SKIPPED, None)
    assert isinstance(outcome, NodeOutcome)  # noqa: S101 - the plan is a node's
    return outcome


def skipped_stage(run: RunState, plan: StagePlan, now: float) -> StageOutcome:
    """The outcome of a stage that never had a turn."""
    outcome = unstarted(run, LevelRun(run, plan, run.root, now, None), Status.SKIPPED, None)
    assert isinstance(outcome, StageOutcome)  # noqa: S101 - the plan is a stage's
    return outcome


def unstarted(run: RunState, level: LevelRun, status: Status, blame: Blame | None) -> Outcome:
    """The outcome of a part that did not start; no handler runs for it."""
    verdict = Verdict(status, blame)
    outcome: Outcome
    if isinstance(level.plan, NodePlan):
        outcome = node_outcome(run, level, level.start, verdict)
    else:
        outcome = stage_outcome(run, level, level.start, verdict, None, None, {}, level.plan)
    level.ended = True
    tell(run, level, outcome, level.start)
    return outcome


def tell(run: RunState, level: LevelRun, outcome: Outcome, now: float) -> None:
    """Count the outcome, and hand out its event if anybody may want it."""
    plan = level.plan
    plan.stats[outcome.status].add(outcome.elapsed)
    if isinstance(outcome, NodeOutcome) and outcome.completed:
        run.completed.append(plan.label)
    if not run.traced:
        if outcome.status is Status.OK or outcome.status is Status.SKIPPED:
            return
        if not run.hub.heard():
            return
    fields: dict[str, Any] = {
        "status": outcome.status,
        "started": level.start,
        "elapsed": outcome.elapsed,
        "limit": outcome.limit,
        "source": outcome.source,
        "grace_used": outcome.grace_used,
        "overrun": outcome.overrun,
        "blame": outcome.blame,
        "error_type": None if outcome.error is None else type(outcome.error).__name__,
    }
    if isinstance(plan, NodePlan) and isinstance(outcome, NodeOutcome):
        fields |= {"stage": plan.stage, "node": plan.name, "attempts": outcome.attempts}
        run.emit(events.NodeFinished, now, partial=plan.label in run.partial, **fields)
    else:
        run.emit(events.StageFinished, now, stage=plan.name, **fields)
