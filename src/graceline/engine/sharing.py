"""Sharing the time of a pipeline among its nodes, by what is left and what the others need.

The rule is that of `deadlines.budget`; what the others need is taken from the durations of their
calls. Here are the graph of the pipeline, and the moment at which a part starts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf
from typing import TYPE_CHECKING, TypeVar

from graceline.adaptive import NOTHING, Forecast
from graceline.deadlines import (
    Gate,
    Kind,
    Level,
    Limit,
    Source,
    Status,
    Verdict,
    blame_failure,
    eqf_share,
    shared_limit,
)
from graceline.durations import format_duration

if TYPE_CHECKING:
    from graceline.definitions import Graph, Node, Pipeline, Stage
    from graceline.engine.learning import Recorded
    from graceline.engine.levels import LevelRun

__all__ = ["Outlooks", "Share"]

_PartT = TypeVar("_PartT", "Stage", "Node")

_REFRESH = 16
"""Runs after which the durations are looked at again: it takes a millisecond for ten nodes."""


class Outlooks:
    """What each node of a pipeline, and what comes after it, is expected to take.

    Args:
        pipeline: the definition.
        histories: the durations of its nodes, by stage and node.
    """

    def __init__(self, pipeline: Pipeline, histories: Mapping[tuple[str, str], Recorded]) -> None:
        self._pipeline = pipeline
        self._histories = histories
        self._found: dict[tuple[str, str], tuple[Forecast, Forecast]] = {}
        self._asked = 0

    def of(self, stage: str, node: str) -> tuple[Forecast, Forecast]:
        """The forecast of a node, and that of what has to follow it."""
        if self._asked % (_REFRESH * len(self._histories)) == 0:
            self._refresh()
        self._asked += 1
        return self._found[stage, node]

    def _refresh(self) -> None:
        graph, stages = self._pipeline.graph, self._pipeline.stages
        counting = _counting(graph, {stage.name: stage for stage in stages})
        own = {key: Forecast.of(recorded.history) for key, recorded in self._histories.items()}
        within: dict[str, dict[str, Forecast]] = {}
        lengths: dict[str, Forecast] = {}
        for stage in stages:
            nodes = {node.name: own[stage.name, node.name] for node in stage.nodes}
            needed = set(nodes)  # a stage that comes after this one waits for all of them
            if counting.isdisjoint(graph.next[stage.name]):
                needed = _counting(stage.graph, {node.name: node for node in stage.nodes})
            rests = within[stage.name] = _rests(stage.graph, needed, nodes)
            lengths[stage.name] = _longest([nodes[name].then(rests[name]) for name in needed])
        after = _rests(graph, counting, lengths)
        self._found = {
            (stage, node): (forecast, within[stage][node].then(after[stage]))
            for (stage, node), forecast in own.items()
        }


def _counting(graph: Graph, parts: Mapping[str, _PartT]) -> set[str]:
    """The parts that time is kept for: all but the non-critical ones at the end.

    An answer is worth more than they are.
    """
    counting: set[str] = set()
    for name in reversed(graph.order):
        if parts[name].critical or not counting.isdisjoint(graph.next[name]):
            counting.add(name)
    return counting


def _rests(
    graph: Graph, counting: Collection[str], lengths: Mapping[str, Forecast]
) -> dict[str, Forecast]:
    """What has to follow each part: the longest path from it to the last part that counts."""
    rests: dict[str, Forecast] = {}
    for name in reversed(graph.order):
        following = [other for other in graph.next[name] if other in counting]
        rests[name] = _longest([lengths[other].then(rests[other]) for other in following])
    return rests


def _longest(forecasts: list[Forecast]) -> Forecast:
    longest = NOTHING
    for forecast in forecasts:
        longest = longest.beside(forecast)
    return longest


class Share:
    """The share of one part in the budget of its pipeline.

    Args:
        stage: its stage's name.
        node: its name; empty for a stage.
        late_after: seconds from its start after which it is late; None if that is not stated.
        outlooks: what the parts are expected to take; None if nothing is kept for the others.
    """

    def __init__(
        self, stage: str, node: str, late_after: float | None, outlooks: Outlooks | None
    ) -> None:
        self._stage = stage
        self._node = node
        self._late_after = late_after
        self._outlooks = outlooks
        self._gate = Gate()

    def begin(self, level: LevelRun) -> Verdict | None:
        """Give a level that starts its limit, and see when it is late; returns a refusal if any."""
        late_after = self._late_after
        lease, limit = level.lease, level.limit
        if lease is not None and limit.source is not Source.ADAPTIVE:
            late_after = lease.timeout
        if self._outlooks is not None:
            own, rest = self._outlooks.of(self._stage, self._node)
            left = _due(level.run.root) - level.start
            if limit.enforced:
                refusal = self._refuse(level, left, own.then(rest))
                if refusal is not None:
                    return refusal
            p50 = own.p50 or None
            seconds = shared_limit(left, p50, rest.p50)
            if seconds < limit.timeout - limit.reserve:
                level.limit = Limit(
                    limit.level, limit.name, seconds, 0.0, limit.grace, Source.ADAPTIVE,
                    stated=True, enforced=limit.enforced,
                )  # fmt: skip
                level.deadline = level.start + level.limit.span
            if late_after is None and p50 is not None and rest.p50 > 0.0 and 0.0 < left < inf:
                late_after = eqf_share(left, p50, rest.p50)
        if late_after is not None and level.start + late_after < level.fired():
            level.run.shared.late.watch(level, level.start + late_after, self._stage, self._node)
        return None

    def _refuse(self, level: LevelRun, left: float, needed: Forecast) -> Verdict | None:
        least = needed.least
        if least is None or left >= least or level.run.excused:
            return None
        if not self._gate.refuses():
            level.run.excused = True  # else a node after this one would refuse it 15 times in 16
            return None
        message = (
            f"node {self._node!r} was not started: {format_duration(max(left, 0.0))} are left, and "
            f"with what follows it takes more than {format_duration(least)} in 95 % of the runs"
        )
        return Verdict(Status.REJECTED, blame_failure(level, level.start, Kind.REJECTED, message))


def _due(level: Level) -> float:
    """When the work of a level is to be cancelled, also where limits cut nothing."""
    due = level.fired()
    above: Level | None = level
    while above is not None and not above.limit.enforced:
        due = min(due, above.start + (above.limit.timeout - above.limit.reserve))
        above = above.parent
    return due
