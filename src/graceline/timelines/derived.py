"""The timeline of a result: rows made from its outcomes when somebody looks at them.

It needs no sink and costs a run nothing. What outcomes do not hold is missing: the single attempts
and their backoffs, abandoned threads, and time that `reserve=` keeps for cleanup, unless the limit
passed: then `limit_at` is the instant at which it did.
"""

from __future__ import annotations

from functools import cached_property
from math import inf, isfinite
from typing import TYPE_CHECKING

import attrs

from graceline.deadlines import Kind, Status
from graceline.timelines.drawn import Drawn
from graceline.timelines.rows import Row, blames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.results import NodeOutcome, PipelineResult, StageOutcome

__all__ = ["RunTimeline"]

_LEVELS = ("caller", "pipeline", "stage", "node")  # the outermost first


class RunTimeline(Drawn):
    """The timeline of one result, as `result.timeline` gives it."""

    def __init__(self, result: PipelineResult) -> None:
        self._result = result

    def __repr__(self) -> str:
        return f"<timeline of run {self._result.run_id!r}: {self._result}>"

    @property
    def queued(self) -> float:
        """Seconds from the submission to the start of the run."""
        return self._result.queued

    @property
    def degraded(self) -> tuple[str, ...]:
        """Names of the non-critical parts that did not succeed."""
        return self._result.degraded

    @property
    def pipeline(self) -> Row:
        """The row of the run as a whole."""
        return self._made[0]

    def rows(self) -> tuple[Row, ...]:
        """One row per stage and node, each stage before its nodes, in the order of definition."""
        return self._made[1:]

    @cached_property
    def _made(self) -> tuple[Row, ...]:
        return tuple(self._rows())

    def _rows(self) -> Iterator[Row]:
        result = self._result
        whole, at = _row("pipeline", "", result.pipeline, result, 0.0, inf)
        yield attrs.evolve(whole, blamed=blames(result.blame, whole))
        for stage in result.stages.values():
            started = any(_has_started(node) for node in stage.nodes.values())
            begun = stage.started if started or _took(stage) else None
            row, stage_at = _row("stage", stage.name, stage.name, stage, begun, at)
            yield attrs.evolve(row, blamed=blames(result.blame, row))
            for node in stage.nodes.values():
                begun = node.started if _has_started(node) else None
                row, _ = _row("node", stage.name, node.name, node, begun, stage_at)
                yield attrs.evolve(
                    row,
                    blamed=blames(result.blame, row),
                    partial=bool({node.name, f"{stage.name}.{node.name}"} & set(result.partial)),
                    tries=node.attempts,
                    unattempted=begun is not None and node.attempts == 0,
                )


def _took(outcome: NodeOutcome | StageOutcome) -> bool:
    return outcome.elapsed > 0 or outcome.status in (Status.OK, Status.LATE)


def _has_started(node: NodeOutcome) -> bool:
    return node.attempts > 0 or _took(node) or node.status is Status.REJECTED


def _row(
    level: str,
    stage: str,
    name: str,
    outcome: NodeOutcome | StageOutcome | PipelineResult,
    started: float | None,
    above: float,
) -> tuple[Row, float]:
    """The row of a part, and when the work of its parts is cancelled; `above` is that of its own.

    The first is as it was known at the start; the second is also about cancels.
    """
    own = inf if outcome.limit is None else outcome.limit
    row = Row(
        level=level,
        stage=stage,
        name=name,
        limit=own if isfinite(own) else None,
        source=outcome.source,
        status=outcome.status,
        blame=outcome.blame,
    )
    if started is None:
        return row, above
    ended = started + outcome.elapsed
    worked_until = max(started, ended - outcome.grace_used)
    at = min(started + own, above)
    if _cut_by_a_limit(row):
        at = min(at, worked_until)  # it fired then: what `reserve=` keeps is not in the limit
    row = attrs.evolve(
        row,
        started=started,
        worked_until=worked_until,
        ended=ended,
        limit_at=at if isfinite(at) else None,
        grace_used=outcome.grace_used,
        overrun=outcome.overrun,
    )
    return row, at


def _cut_by_a_limit(row: Row) -> bool:
    """Whether the limit of a part, or of a level above it, cut its work."""
    blame = row.blame
    if blame is None or blame.kind is not Kind.TIMEOUT:
        return False
    own = blame.level == row.level and blame.name == row.name
    return own or blame.level in _LEVELS[: _LEVELS.index(row.level)]
