"""Outcomes: built from a verdict, counted, and told to whoever listens.

What ends well is only written down as a record while the run goes on; it becomes an outcome when
somebody looks at it: a caller who wants nothing but the value does not pay for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

from graceline.adaptive import Lease
from graceline.deadlines import Blame, Source, Status, Verdict
from graceline.definitions.checks import nearest
from graceline.engine.levels import UNSET, LevelRun
from graceline.engine.plan import NodePlan, Plan, StagePlan
from graceline.engine.state import NOTHING, RunState
from graceline.engine.telling import tell_ended, tell_payloads
from graceline.results import NodeOutcome, StageOutcome
from graceline.telemetry.stats import PartStats
from graceline.values import draft_of

__all__ = [
    "NodeRecord",
    "Outcome",
    "Outcomes",
    "StageRecord",
    "node_outcome",
    "skipped_stage",
    "stage_outcome",
    "tell",
    "unstarted",
]

# To look up a member of an enum costs more than what is done with it here.
_OK, _LATE = Status.OK, Status.LATE
_SKIPPED, _CANCELLED = Status.SKIPPED, Status.CANCELLED
# Filled in by position, in the order of the fields: keywords take three times as long.
_NodeDraft: Any = draft_of(NodeOutcome)
_StageDraft: Any = draft_of(StageOutcome)
Outcome = NodeOutcome | StageOutcome
OutcomeT = TypeVar("OutcomeT", NodeOutcome, StageOutcome)
StageRecord: TypeAlias = tuple[StagePlan, Any, float, float, dict[str, Any]]
"""A stage that ended well: plan, value, start and end by the clock, its nodes by name."""
NodeRecord: TypeAlias = tuple[Any, float, float, Lease | None]
"""A node that ended well: value, start and end by the clock, and the lease of a learned limit.

The value is `UNSET` if it was skipped. Its plan is found by its name: the garbage collector forgets
a tuple in which there are but numbers. Three fast ends write a record, each where it saves a call:
`run_nodes`, `run_stages`, `branch_of_one`.
"""


class Outcomes(Mapping[str, Any]):
    """Outcomes of stages by name, read-only; a record becomes an outcome at the first look.

    Args:
        kept: outcomes and records by name, in the order of definition.
        origin: when the run was submitted, by the clock.
    """

    __slots__ = ("_kept", "_origin")

    def __init__(self, kept: dict[str, Any], origin: float) -> None:
        self._origin = origin
        self._kept = kept

    def __getitem__(self, name: str) -> Any:
        kept = self._found(name)
        if type(kept) is tuple:
            kept = self._kept[name] = _stage_of(kept, self._origin)
        return kept

    def _found(self, name: str) -> Any:
        try:
            return self._kept[name]
        except KeyError:
            raise KeyError(f"nothing is called {name!r}; {nearest(name, self._kept)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._kept  # without building anything, or looking for a near name

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles hold outcomes, and nothing of the engine."""
        return Outcomes, (dict(self), 0.0)


class _NodeOutcomes(Outcomes):
    """The same of the nodes of a stage; `plans` are theirs, by name."""

    __slots__ = ("_plans",)

    def __init__(self, kept: dict[str, Any], origin: float, plans: Mapping[str, NodePlan]) -> None:
        super().__init__(kept, origin)
        self._plans = plans

    def __getitem__(self, name: str) -> Any:
        plans = self._plans  # first: another thread, which has built all, may let go of them
        kept = self._found(name)
        if type(kept) is tuple:
            kept = self._kept[name] = _node_of(plans[name], kept, self._origin)
        if plans and name == next(reversed(self._kept)) and not self._records():
            self._plans = NOTHING  # who keeps results for long does not keep the functions
        return kept

    def _records(self) -> bool:
        return any(type(kept) is tuple for kept in self._kept.values())


def _stage_of(record: StageRecord, origin: float) -> StageOutcome:
    plan, value, start, end, nodes = record
    limit, parts = plan.limit, plan.parts
    stage = _StageDraft(
        plan.name, _OK, value, None, start - origin, end - start, limit.shown, limit.source,
        0.0, 0.0, None, (), _NodeOutcomes({name: nodes[name] for name in parts}, origin, parts),
    )  # fmt: skip
    return _frozen(stage, StageOutcome)


def _node_of(plan: NodePlan, record: NodeRecord, origin: float) -> NodeOutcome:
    value, start, end, lease = record
    limit = plan.limit
    skipped = value is UNSET
    node = _NodeDraft(
        plan.name, _SKIPPED if skipped else _OK, None if skipped else value, None, None,
        start - origin, end - start, limit.shown if lease is None else lease.timeout,
        limit.source if lease is None else Source.ADAPTIVE, 0 if skipped else 1,
        0.0, 0.0, None, (), None,
    )  # fmt: skip
    return _frozen(node, NodeOutcome)


def _frozen(draft: Any, kind: type[OutcomeT]) -> OutcomeT:
    """The outcome that a draft of it holds."""
    draft.__class__ = kind
    outcome: OutcomeT = draft
    return outcome


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
    kept = partial is not UNSET and verdict.status not in (_OK, _LATE)
    if kept:
        if run.partial is NOTHING:
            run.partial = {}
        run.partial[level.plan.label] = partial
    node = _NodeDraft(
        level.plan.name, verdict.status, value, partial if kept else None, error,
        level.start - run.origin, now - level.start, limit.shown, limit.source, attempts,
        verdict.grace_used, verdict.overrun, verdict.blame, secondary, level.alternative,
    )  # fmt: skip
    node.__class__ = NodeOutcome
    outcome: NodeOutcome = node
    return outcome


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
    parts: dict[str, Outcome | NodeRecord] = {}
    for name, part in plan.parts.items():
        if name in nodes:
            parts[name] = nodes[name]
        elif run.traced:
            parts[name] = _no_turn(run, part, now)
        else:  # nobody is told: a record will do
            part.stats[_SKIPPED].add(0.0)
            parts[name] = (UNSET, now, now, None)
    stage = _StageDraft(
        plan.name, verdict.status, value, error, level.start - run.origin, now - level.start,
        limit.shown, limit.source, verdict.grace_used, verdict.overrun, verdict.blame, (),
        _NodeOutcomes(parts, run.origin, plan.parts),
    )  # fmt: skip
    stage.__class__ = StageOutcome
    outcome: StageOutcome = stage
    return outcome


def skipped_stage(run: RunState, plan: StagePlan, now: float) -> StageOutcome:
    """The outcome of a stage that never had a turn."""
    outcome = _no_turn(run, plan, now)
    assert isinstance(outcome, StageOutcome)  # noqa: S101 - the plan is a stage's
    return outcome


def _no_turn(run: RunState, plan: Plan, now: float) -> Outcome:
    level = LevelRun(run, plan, run.root, now, None)
    outcome = unstarted(run, level, _SKIPPED, None)
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
    plan, status = level.plan, outcome.status
    stats = plan.stats
    assert isinstance(stats, PartStats)  # noqa: S101 - a run is counted elsewhere
    stats.add(status, outcome.elapsed, outcome.blame, outcome.error)
    kind = "stage"
    if isinstance(outcome, NodeOutcome):
        kind = "node"
        if status is _OK or status is _LATE:
            run.completed.append(plan.label)
        elif outcome.attempts:
            run.unfinished += 1
    if status is _CANCELLED:
        run.plan.stats.add_cancelled(outcome.blame, kind)
    if not run.traced and (status is _OK or status is _SKIPPED or not run.trouble_heard()):
        return
    if run.shared.hub.curious and status is not _SKIPPED:
        tell_payloads(
            run, level, status, now, value=outcome.value, error=outcome.error,
            partial=getattr(outcome, "partial", None), secondary=outcome.secondary,
        )  # fmt: skip
    tell_ended(run, level, outcome, now)
