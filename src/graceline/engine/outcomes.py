"""Outcomes: built from a verdict, counted, and told to whoever listens.

What ends well is only written down as a `Record` while the run goes on; it becomes an outcome when
somebody looks at it: a caller who wants nothing but the value does not pay for the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from graceline.adaptive import Lease
from graceline.deadlines import Blame, Source, Status, Verdict
from graceline.definitions.checks import nearest
from graceline.engine.levels import UNSET, LevelRun
from graceline.engine.plan import NodePlan, Plan, StagePlan
from graceline.engine.state import NOTHING, RunState
from graceline.engine.telling import tell_ended, tell_payloads
from graceline.results import NodeOutcome, StageOutcome
from graceline.telemetry.stats import PartStats

__all__ = [
    "Outcome",
    "Outcomes",
    "Record",
    "node_outcome",
    "skipped_stage",
    "stage_outcome",
    "tell",
    "unstarted",
]

_CANCELLED = Status.CANCELLED  # to look it up costs more than to compare with it
Outcome = NodeOutcome | StageOutcome
Record: TypeAlias = tuple[Plan, Any, float, float, Any]
"""A part that ended well: plan, value, start and end by the clock.

Last comes the limit of a node, which is a lease if it is learned, or the nodes of a stage.
"""


class Outcomes(Mapping[str, Any]):
    """Outcomes by name, read-only; a record becomes an outcome at the first look.

    Args:
        kept: outcomes and records by name.
        origin: when the run was submitted, by the clock.
        order: the names in the order of definition; by default that of `kept`.
    """

    __slots__ = ("_kept", "_origin")

    def __init__(
        self, kept: dict[str, Any], origin: float, order: Iterable[str] | None = None
    ) -> None:
        self._origin = origin
        self._kept = kept if order is None else {name: kept[name] for name in order}

    def __getitem__(self, name: str) -> Any:
        try:
            kept = self._kept[name]
        except KeyError:
            raise KeyError(f"nothing is called {name!r}; {nearest(name, self._kept)}") from None
        if type(kept) is tuple:
            kept = self._kept[name] = _built(kept, self._origin)
        return kept

    def __contains__(self, name: object) -> bool:
        return name in self._kept  # without building anything, or looking for a near name

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return repr(dict(self))


def _built(record: Record, origin: float) -> Outcome:
    plan, value, start, end, more = record
    started, elapsed = start - origin, end - start
    if isinstance(plan, StagePlan):
        limit = plan.limit
        return StageOutcome(
            name=plan.name, status=Status.OK, value=value, error=None, started=started,
            elapsed=elapsed, limit=limit.shown, source=limit.source, grace_used=0.0, overrun=0.0,
            blame=None, secondary=(), nodes=Outcomes(more, origin, plan.parts),
        )  # fmt: skip
    learned = isinstance(more, Lease)
    return NodeOutcome(
        name=plan.name, status=Status.OK, value=value, partial=None, error=None, started=started,
        elapsed=elapsed, limit=more.timeout if learned else more.shown,
        source=Source.ADAPTIVE if learned else more.source, attempts=1, grace_used=0.0,
        overrun=0.0, blame=None, secondary=(),
    )  # fmt: skip


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
        alternative=level.alternative,
    )


def stage_outcome(
    run: RunState,
    level: LevelRun,
    now: float,
    verdict: Verdict,
    value: Any,
    error: BaseException | None,
    nodes: dict[str, Any],
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
        nodes=Outcomes(
            {
                name: nodes[name] if name in nodes else _skipped_node(run, part, now)
                for name, part in plan.parts.items()
            },
            run.origin,
        ),
    )


def _skipped_node(run: RunState, plan: NodePlan, now: float) -> NodeOutcome:
    """The outcome of a node that never had a turn."""
    outcome = _no_turn(run, plan, now)
    assert isinstance(outcome, NodeOutcome)  # noqa: S101 - the plan is a node's
    return outcome


def skipped_stage(run: RunState, plan: StagePlan, now: float) -> StageOutcome:
    """The outcome of a stage that never had a turn."""
    outcome = _no_turn(run, plan, now)
    assert isinstance(outcome, StageOutcome)  # noqa: S101 - the plan is a stage's
    return outcome


def _no_turn(run: RunState, plan: Plan, now: float) -> Outcome:
    level = LevelRun(run, plan, run.root, now, None)
    outcome = unstarted(run, level, Status.SKIPPED, None)
    tell(run, level, outcome, now)
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
    return outcome


def tell(run: RunState, level: LevelRun, outcome: Outcome, now: float) -> None:
    """Count the outcome, and hand out its event if anybody may want it."""
    plan = level.plan
    _count(run, plan, outcome)
    if not run.traced:
        if outcome.status is Status.OK or outcome.status is Status.SKIPPED:
            return
        if not run.trouble_heard():
            return
    if run.shared.hub.curious and outcome.status is not Status.SKIPPED:
        tell_payloads(
            run, level, outcome.status, now, value=outcome.value, error=outcome.error,
            partial=getattr(outcome, "partial", None), secondary=outcome.secondary,
        )  # fmt: skip
    tell_ended(run, level, outcome, now)


def _count(run: RunState, plan: Plan, outcome: Outcome) -> None:
    status, stats = outcome.status, plan.stats
    assert isinstance(stats, PartStats)  # noqa: S101 - a run is counted elsewhere
    stats.add(status, outcome.elapsed, outcome.blame, outcome.error)
    if status is _CANCELLED:
        level = "node" if isinstance(outcome, NodeOutcome) else "stage"
        run.plan.stats.add_cancelled(outcome.blame, level)
    if isinstance(outcome, NodeOutcome):
        if outcome.completed:
            run.completed.append(plan.label)
        elif outcome.attempts:
            run.unfinished += 1
