"""What every run has to keep by itself, as functions: I1 to I6 of the contract.

Each takes what was recorded of a run and raises `InvariantError` if the promise is broken, by the
engine or by a node. I8 and I11 are in `graceline.testing.surroundings`, and those that compare
several runs in `graceline.testing.comparisons`.
"""

from __future__ import annotations

from math import inf
from typing import Any

from graceline.deadlines import Blame, Kind, Status
from graceline.durations import format_duration
from graceline.results import NodeOutcome, PipelineResult
from graceline.testing.breach import Key, Outcome, Promise, label_of, outcomes_of
from graceline.testing.recording import Cut, RecordedTimeline, Step

__all__ = [
    "check_children_end_first",
    "check_cleanup_is_bounded",
    "check_every_part_has_a_status",
    "check_invariants",
    "check_nothing_lost",
    "check_one_blame",
    "check_work_stops",
]

_SAME = 1e-9  # seconds; sums of durations are rounded
_COMPLETED = (Status.OK, Status.LATE)
_BY_CANCEL = {Kind.USER, Kind.SHUTDOWN, Kind.CALLER, Kind.SUPERSEDED, Kind.SIBLING_FAILED}
_KINDS = {
    Status.LATE: {Kind.TIMEOUT, *_BY_CANCEL},
    Status.TIMED_OUT: {Kind.TIMEOUT, Kind.QUEUE},
    Status.FAILED: {Kind.FAILED},
    Status.CANCELLED: _BY_CANCEL,
    Status.REJECTED: {Kind.REJECTED},
}


def check_invariants(result: PipelineResult, timeline: RecordedTimeline) -> None:
    """Check what one run has to keep by itself: I1 to I6.

    Args:
        result: the result of the run.
        timeline: what was recorded of it; from `simulate` or `record`.

    Raises:
        InvariantError: for the first promise that is broken.
        DefinitionError: if the timeline is of another run, or kept no steps.
    """
    check_work_stops(result, timeline)
    check_cleanup_is_bounded(result, timeline)
    check_one_blame(result, timeline)
    check_nothing_lost(result, timeline)
    check_every_part_has_a_status(result, timeline)
    check_children_end_first(result, timeline)


def check_work_stops(result: PipelineResult, timeline: RecordedTimeline) -> None:
    """I1: no work of a node goes on after its cancel beyond one tick, cleanup aside.

    Work is every step of a task that works for the node, outside of `cleanup()`. A body that blocks
    the loop over its deadline and then returns takes no step any more, and does not break this
    promise (its outcome is `late`); nor do the others that got their cancel late by its fault.

    Raises:
        InvariantError: if a node swallowed its cancel, or shielded itself from it.
        DefinitionError: if the timeline is of another run, or kept no steps.
    """
    promise = Promise("I1", "no work goes on after its cancel", result, timeline)
    for step in timeline.steps:
        if step.work and timeline.beyond(step.at, step.fires_at):
            promise.broken(
                f"{_whose(step, timeline)} worked at {_at(step.at)}, and its work was to end at "
                f"{_at(step.fires_at)}{_by(step, timeline)}",
                "let `trio.Cancelled` pass (re-raise what `except BaseException` catches), and put "
                "what must run after the cancel into `with cleanup():`, which is bounded; a "
                "`CancelScope(shield=True)` is not",
                node=step.name,
                at=step.at,
            )


def check_cleanup_is_bounded(result: PipelineResult, timeline: RecordedTimeline) -> None:
    """I2: no cleanup of a level goes on after its grace, and nothing of a run after the run's.

    A node that does not obey its cancel may break this promise too, if it goes on that long.

    Raises:
        InvariantError: if a cleanup block shields itself, or anything outlasts the grace.
        DefinitionError: if the timeline is of another run, or kept no steps.
    """
    promise = Promise("I2", "cleanup ends with the grace period", result, timeline)
    for step in timeline.steps:
        if step.cleanup and timeline.beyond(step.at, step.cut_at):
            promise.broken(
                f"the cleanup of {_whose(step, timeline)} went on at {_at(step.at)}, and was cut "
                f"at {_at(step.cut_at)}",
                "no shield and no `except BaseException` that goes on inside `with cleanup():`; "
                "shorten the cleanup, or give it more grace=",
                node=step.name,
                at=step.at,
            )
        if timeline.beyond(step.at, step.run_cut_at):
            promise.broken(
                f"{_whose(step, timeline)} was at work at {_at(step.at)}, and the cleanup of the "
                f"whole run was to end at {_at(step.run_cut_at)}",
                "bound cleanup by `with cleanup():` instead of a shield of its own, and let "
                "`trio.Cancelled` pass",
                node=step.name,
                at=step.at,
            )


def check_one_blame(result: PipelineResult, timeline: RecordedTimeline) -> None:
    """I3: exactly one level is blamed for what is not ok, and none for what is.

    The level that cut a part is the one with the earliest limit or cancel, the outermost of equals.

    Raises:
        InvariantError: if a blame is missing, too many, or names the wrong level.
        DefinitionError: if the timeline is of another run, or kept no steps.
    """
    promise = Promise("I3", "exactly one level is blamed for what is not ok", result, timeline)
    keyed: list[tuple[Key, Outcome | PipelineResult]] = [*outcomes_of(result), (("", ""), result)]
    for key, outcome in keyed:
        name, status, blame = label_of(key), outcome.status, outcome.blame
        node = key[1] or None
        if status in (Status.OK, Status.SKIPPED):
            if blame is not None:
                promise.broken(f"{name} is {status} and blames {_blamed(blame)}", "none", node=node)
            continue
        if blame is None:
            promise.broken(f"{name} is {status} and nothing is blamed", "one level", node=node)
        elif blame.kind not in _KINDS[status]:
            fitting = " or ".join(sorted(map(str, _KINDS[status])))
            promise.broken(
                f"{name} is {status} by {_blamed(blame)}", f"a blame of kind {fitting}", node=node
            )
        elif key[1]:
            _check_cause(promise, key, blame)
    _check_source(promise, result)


def _check_cause(promise: Promise, key: Key, blame: Blame) -> None:
    """Hold the blame of a node against the limits and cancels above it."""
    chain = promise.timeline.cuts.get(key)
    by_limit = blame.kind is Kind.TIMEOUT
    by_cancel = blame.kind in (Kind.USER, Kind.SHUTDOWN, Kind.SIBLING_FAILED)
    below = blame.level in ("alternative", "attempt", "item")
    if chain is None or below or not (by_limit or by_cancel):
        return
    cut = _earliest(chain)
    if (cut.level, cut.name, cut.by_limit) != (blame.level, blame.name, by_limit):
        promise.broken(
            f"{label_of(key)} blames {_blamed(blame)}",
            f"{cut.level} {cut.name!r}, whose {'limit passed' if cut.by_limit else 'cancel came'} "
            f"first, at {_at(cut.own_at)}",
            node=key[1],
            at=cut.own_at,
        )


def _check_source(promise: Promise, result: PipelineResult) -> None:
    """The blame of a run is that of its own limit or cancel, or of the part that ended it."""
    blame = result.blame
    if blame is None or blame.level in ("pipeline", "caller"):
        return
    if all(_short(blame) != _short(stage.blame) for stage in result.stages.values()):
        promise.broken(
            f"the run blames {_blamed(blame)}, and none of its stages does",
            "the blame of the stage that ended it",
        )


def check_nothing_lost(result: PipelineResult, timeline: RecordedTimeline) -> None:
    """I4: the value of a node that completed is in the result, whatever happened after it.

    So is what a late node of a strict part returned, as its partial value.

    Raises:
        InvariantError: if a value is missing, or a completed node is not listed.
        DefinitionError: if the timeline is of another run, or kept no steps.
    """
    promise = Promise("I4", "no completed value is lost", result, timeline)
    rows = {(row.stage, row.name): row for row in timeline.rows() if row.level == "node"}
    ended = [key for key in timeline.finished if key in rows and rows[key].status in _COMPLETED]
    names = [key[1] for key in rows]
    labels = [key[1] if names.count(key[1]) == 1 else ".".join(key) for key in ended]
    if list(result.completed) != labels:
        promise.broken(
            f"completed is {list(result.completed)}", f"{labels}, in the order of completion"
        )
    outcomes = dict(outcomes_of(result))
    for back in timeline.returns:
        outcome = outcomes.get((back.stage, back.node))
        kept = None
        if isinstance(outcome, NodeOutcome):
            kept = outcome.value if outcome.completed else outcome.partial
        found = kept if back.item and isinstance(kept, list) else [kept]
        if not any(_equal(value, back.value) for value in found):
            promise.broken(
                f"{label_of((back.stage, back.node))} returned a value at {_at(back.at)} that its "
                f"outcome does not hold",
                "its value, or its partial value if it came too late",
                node=back.node,
                at=back.at,
            )
    for key, row in rows.items():
        label = key[1] if names.count(key[1]) == 1 else ".".join(key)
        if row.partial and label not in result.partial:
            promise.broken(
                f"{label_of(key)} saved a partial value that is gone", "it in partial", node=key[1]
            )


def check_every_part_has_a_status(result: PipelineResult, timeline: RecordedTimeline) -> None:
    """I5: every stage and node has exactly one status, and its outcome fits that status.

    Raises:
        InvariantError: if an outcome is missing, told twice, or contradicts itself.
        DefinitionError: if the timeline is of another run, or kept no steps.
    """
    promise = Promise("I5", "every part has exactly one status", result, timeline)
    outcomes = dict(outcomes_of(result))
    for row in timeline.rows():
        key = (row.stage, row.name if row.level == "node" else "")
        outcome = outcomes.pop(key, None)
        if outcome is None:
            promise.broken(f"{label_of(key)} has no outcome", "one", node=key[1] or None)
        elif row.status is not outcome.status:
            promise.broken(
                f"{label_of(key)} was told to be {row.status}, and its outcome is {outcome.status}",
                "the same status everywhere",
                node=key[1] or None,
            )
        if timeline.finished.count(key) > 1:
            promise.broken(f"{label_of(key)} ended twice", "one end", node=key[1] or None)
    if outcomes and timeline.finished[:-1]:
        promise.broken(f"{label_of(next(iter(outcomes)))} was never heard of", "one end for each")
    for key, outcome in outcomes_of(result):
        wrong = _contradiction(key, outcome, timeline)
        if wrong:
            promise.broken(f"{label_of(key)} is {outcome.status} {wrong}", "not both", node=key[1])
    wrong = _contradiction(("", ""), result, timeline)
    if wrong:
        promise.broken(f"the run is {result.status} {wrong}", "not both")


def _contradiction(
    key: Key, outcome: Outcome | PipelineResult, timeline: RecordedTimeline
) -> str | None:
    """What does not fit the status of an outcome, if anything."""
    status: Any = outcome.status
    if not isinstance(status, Status):
        return ", which is no Status"
    if outcome.value is not None and status not in _COMPLETED:
        return "and has a value"
    if outcome.error is not None and status is not Status.FAILED:
        return "and has an error"
    if (
        status in (Status.SKIPPED, Status.REJECTED)
        and isinstance(outcome, NodeOutcome)
        and outcome.attempts
    ):
        return "and was started"
    chain = timeline.cuts.get(key)
    if chain is None or key in timeline.handled or not key[1]:
        return None
    fired, ended = _earliest(chain).own_at, outcome.started + outcome.elapsed  # type: ignore[union-attr]
    if status is Status.OK and ended >= fired + _SAME:
        return f"and returned at {_at(ended)}, after its cancel at {_at(fired)}"
    if status is Status.LATE and ended < fired - _SAME:
        return f"and returned at {_at(ended)}, before its cancel at {_at(fired)}"
    return None


def check_children_end_first(result: PipelineResult, timeline: RecordedTimeline) -> None:
    """I6: a part ends before what holds it does, and no task of the run survives it.

    So do the attempts of a node, of which each begins after the end of the one before. A task that
    a node starts in a nursery from outside of the run counts as well.

    Raises:
        InvariantError: if a part or a task outlives what it belongs to.
        DefinitionError: if the timeline is of another run, or kept no steps.
    """
    promise = Promise("I6", "children end before their parent", result, timeline)
    places = {key: place for place, key in enumerate(timeline.finished)}
    run = timeline.pipeline
    holders = {row.stage: row for row in timeline.rows() if row.level == "stage"}
    for row in timeline.rows():
        key = (row.stage, row.name if row.level == "node" else "")
        above = (row.stage, "") if row.level == "node" else ("", "")
        holder = holders.get(row.stage) if row.level == "node" else run
        node = key[1] or None
        if row.started is not None and key not in places:
            promise.broken(f"{label_of(key)} had not ended when the run had", "its end", node=node)
        if places.get(key, -1) > places.get(above, len(places)):
            promise.broken(
                f"{label_of(key)} ended after {label_of(above)}", "its end first", node=node
            )
        if holder is None or row.started is None:
            continue
        if (row.ended or 0.0) > (inf if holder.ended is None else holder.ended) + _SAME:
            promise.broken(
                f"{label_of(key)} ended at {_at(row.ended or 0.0)}, after {label_of(above)}",
                f"by {_at(holder.ended or 0.0)}",
                node=node,
                at=row.ended,
            )
        if row.level == "node":
            _check_attempts(promise, key, row.started, row.ended or 0.0)
    if timeline.survivors:
        promise.broken(
            f"when the run had its result, {' and '.join(timeline.survivors)} went on",
            "start tasks in a nursery inside of the node, and leave it before the node returns",
            at=result.elapsed,
        )


def _check_attempts(promise: Promise, key: Key, started: float, ended: float) -> None:
    """Attempts lie within their node and, but for those of items, one behind the other."""
    made = promise.timeline.attempts_of(key)
    items = [number for number, _, _ in made].count(1) > 1
    free = started
    for number, begun, over in made:
        if begun < free - _SAME or over > ended + _SAME:
            promise.broken(
                f"attempt {number} of {label_of(key)} went from {_at(begun)} to {_at(over)}",
                f"within {_at(free)} and {_at(ended)}",
                node=key[1],
                at=begun,
            )
        free = started if items else over


def _whose(step: Step, timeline: RecordedTimeline) -> str:
    run = timeline.pipeline
    label = f"{step.level} {step.name!r}"
    if run is not None and step.pipeline != run.name:
        label += f" of pipeline {step.pipeline!r}, a run inside a node,"
    return f"{label} (in its task {step.task!r})" if step.background else label


def _by(step: Step, timeline: RecordedTimeline) -> str:
    chain = timeline.cuts.get((step.stage, step.name))
    if chain is None:
        return ""
    cut = _earliest(chain)
    return f", by {'the limit' if cut.by_limit else 'a cancel'} of {cut.level} {cut.name!r}"


def _earliest(chain: tuple[Cut, ...]) -> Cut:
    return min(chain, key=lambda cut: cut.own_at)  # the first of equals: the outermost


def _short(blame: Blame | None) -> tuple[str, str, str] | None:
    return None if blame is None else (blame.level, blame.name, str(blame.kind))


def _blamed(blame: Blame) -> str:
    return f"{blame.level} {blame.name!r} ({blame.kind})"


def _at(seconds: float) -> str:
    return format_duration(seconds)


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are the same; those that cannot be compared are, if they are one."""
    try:
        return one is other or bool(one == other)
    except Exception:  # noqa: BLE001 - arrays and the like have no truth
        return False
