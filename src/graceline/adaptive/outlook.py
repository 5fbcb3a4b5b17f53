"""What the nodes of a pipeline are expected to take, each with what has to follow it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf
from typing import Protocol, TypeVar

from graceline.adaptive.forecast import NO_TIME, Forecast
from graceline.adaptive.history import DurationHistory
from graceline.definitions import Graph, Node, Pipeline, Stage
from graceline.values import frozen

__all__ = ["HasHistory", "Outlook", "Outlooks"]

_PartT = TypeVar("_PartT", Stage, Node)

_REFRESH = 16
"""Runs after which the durations are looked at again: it takes a millisecond for ten nodes."""


class HasHistory(Protocol):
    """Knows the durations of a part."""

    @property
    def history(self) -> DurationHistory:
        """The durations so far."""
        ...


@frozen
class Outlook:
    """What is expected of a node, and of what comes after it.

    Attributes:
        own: the node.
        rest: what has to follow it.
        needed: both.
    """

    own: Forecast
    rest: Forecast
    needed: Forecast


class Outlooks:
    """What each node of a pipeline, and what comes after it, is expected to take.

    Args:
        pipeline: the definition.
        histories: the durations of its nodes, by stage and node.
    """

    def __init__(self, pipeline: Pipeline, histories: Mapping[tuple[str, str], HasHistory]) -> None:
        self._pipeline = pipeline
        self._histories = histories
        self._found: dict[tuple[str, str], Outlook] = {}
        self._asked = 0

    def of(self, stage: str, node: str) -> Outlook:
        """What is expected of a node; looked at again after every 16 runs or so."""
        if self._asked % (_REFRESH * len(self._histories)) == 0:
            self._refresh()
        self._asked += 1
        return self._found[stage, node]

    def _refresh(self) -> None:
        graph, stages = self._pipeline.graph, self._pipeline.stages
        counting = _counting(graph, {stage.name: stage for stage in stages})
        own = {
            (stage.name, node.name): Forecast.of(
                self._histories[stage.name, node.name].history
            ).capped(_cut_after(node, stage))
            for stage in stages
            for node in stage.nodes
        }
        within: dict[str, dict[str, Forecast]] = {}
        lengths: dict[str, Forecast] = {}
        for stage in stages:
            nodes = {node.name: own[stage.name, node.name] for node in stage.nodes}
            needed = set(nodes)  # a stage that comes after this one waits for all of them
            if counting.isdisjoint(graph.next[stage.name]):
                needed = _counting(stage.graph, {node.name: node for node in stage.nodes})
            rests = within[stage.name] = _rests(stage.graph, needed, nodes)
            length = _longest([nodes[name].then(rests[name]) for name in needed])
            lengths[stage.name] = length.capped(_cut_after(stage))
        after = _rests(graph, counting, lengths)
        for place, forecast in own.items():
            rest = within[place[0]][place[1]].then(after[place[0]])
            self._found[place] = Outlook(forecast, rest, forecast.then(rest))


def _cut_after(part: Node | Stage, *above: Stage) -> float:
    """Seconds after which a part is cut at the latest, because something can stand in for it."""
    limit = part.stated_timeout
    return inf if limit is None or all(one.critical for one in (part, *above)) else limit


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
    longest = NO_TIME
    for forecast in forecasts:
        longest = longest.beside(forecast)
    return longest
