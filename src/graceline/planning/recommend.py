"""A better set of limits, found on the same draws, and measured before anybody is told of it.

1. Replay without any fixed limit: each run then says from when on it could be cut and still have an
   answer. The shortest limit with the wanted share of answers is a quantile of these instants.
2. A non-critical part that others wait for is limited to the p99 of its calls that finish, if a
   replay shows that the pipeline's limit can then be shorter, or that more runs are answered; to
   their p95, if that helps once more.
3. A critical node is limited to what hardly any answer needs, so that lost runs stop sooner. All
   these limits cost a thousandth of the runs at most, and never the target. One that saves less
   than a twentieth of the waste is left out.
4. The whole set is replayed. What is reported of it is what came of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from graceline.definitions import Adaptive, Pipeline
from graceline.planning.limits import Limits, cuts
from graceline.planning.projection import percentile
from graceline.planning.recorded import Place, Recorded
from graceline.planning.replay import Replayed

__all__ = ["Choice", "Play", "choose"]

Play: TypeAlias = Callable[[str, Limits, int], Replayed]
"""Replays some runs with certain limits; the word says to people what for."""

_SPARE = 0.001
"""The share of runs that limits of critical nodes may cost."""

_TRIAL_RUNS = 2000
_USUAL = (0.99, 0.95)
_TRIES = 5  # where the pipeline shares its time, its limit decides what its nodes may use
_LONGER = 1.05
_SHORTER = 0.95  # a limit that is not even 5 % shorter is not worth degraded answers
_WORTH = 0.05  # the share of all waste that a limit of a critical node must save


@attrs.frozen
class Choice:
    """What to recommend.

    Attributes:
        limits: the set.
        reachable: the share of runs that would have an answer without any limit of the pipeline.
        reached: whether the wanted share is at most that.
        done: the replay of the set.
    """

    limits: Limits
    reachable: float
    reached: bool
    done: Replayed


def choose(
    pipeline: Pipeline, recorded: Mapping[Place, Recorded], target: float, runs: int, play: Play
) -> Choice:
    """Choose limits with which a share `target` of the runs has an answer, above 0 up to 1."""
    trial = min(runs, _TRIAL_RUNS)
    limits = Limits(pipeline=math.inf, alone=True)
    best = play("without limits", limits, trial)
    for part in _waited_for(pipeline):
        for seconds in _usual(part, recorded, best):
            candidate = _with(limits, part, seconds)
            done = play("a limit for a non-critical part", candidate, trial)
            if _better(done, best, target):
                limits, best = candidate, done
    if len(best.statuses) < runs:
        best = play("without limits", limits, runs)
    answered = sorted(best.answered)
    count = sum(seconds < math.inf for seconds in answered)
    wanted, spare = math.ceil(target * runs - 1e-9), math.ceil(_SPARE * runs)
    reached = wanted <= count
    if not count:
        return Choice(limits, 0.0, reached=False, done=best)
    # Some are to spare, for the limits of critical nodes.
    aim = min(count, wanted + spare) if reached else max(1, count - spare)
    whole = _rounded_up(answered[aim - 1] + (pipeline.reserve or 0.0))
    for _ in range(_TRIES):
        limits = attrs.evolve(limits, pipeline=whole)
        done = play("with its limit", limits, runs)
        if not reached or done.answers >= wanted:
            break
        whole = _rounded_up(whole * _LONGER)
    nodes = _stops(pipeline, done, max(0, done.answers - wanted) if reached else spare)
    if nodes:
        limits = attrs.evolve(limits, nodes={**limits.nodes, **nodes})
        done = play("as recommended", limits, runs)
    return Choice(limits, count / runs, reached and done.answers >= wanted, done)


def _waited_for(pipeline: Pipeline) -> list[str | Place]:
    """Non-critical parts without a learned limit that something waits for."""
    found: list[str | Place] = []
    for stage in pipeline.stages:
        followed = bool(pipeline.graph.next[stage.name])
        if not stage.critical:
            if followed and not isinstance(stage.timeout, Adaptive):
                found.append(stage.name)
            continue
        found += [
            (stage.name, node.name)
            for node in stage.nodes
            if not node.critical
            and not isinstance(node.timeout, Adaptive)
            and (followed or stage.graph.next[node.name])
        ]
    return found


def _usual(
    part: str | Place, recorded: Mapping[Place, Recorded], done: Replayed
) -> tuple[float, ...]:
    """The p99 and the p95 of the calls of a part that finish, in seconds; none if none does."""
    if isinstance(part, str):
        ended = sorted(
            seconds
            for seconds, whole in zip(done.stages[part], done.elapsed, strict=True)
            if 0 < seconds < whole < math.inf
        )
        return tuple(percentile(ended, share) for share in _USUAL if ended)
    one = recorded[part]
    return tuple(one.quantile(share * (1.0 - one.hangs)) for share in _USUAL if one.hangs < 1)


def _with(limits: Limits, part: str | Place, seconds: float) -> Limits:
    rounded = _rounded_up(seconds)
    if isinstance(part, str):
        return attrs.evolve(limits, stages={**limits.stages, part: rounded})
    return attrs.evolve(limits, nodes={**limits.nodes, part: rounded})


def _better(done: Replayed, before: Replayed, target: float) -> bool:
    """Whether the pipeline's limit can be shorter, or more runs are answered."""
    now, then = sorted(done.answered), sorted(before.answered)
    gain = sum(seconds < math.inf for seconds in now) - sum(seconds < math.inf for seconds in then)
    if gain > _SPARE * len(now):
        return True
    at = min(target, sum(seconds < math.inf for seconds in then) / len(then))
    return percentile(now, at) < _SHORTER * percentile(then, at)


def _stops(pipeline: Pipeline, done: Replayed, spare: int) -> dict[Place, float]:
    """Limits of critical nodes at which lost runs stop sooner, for `spare` answers in all."""
    critical = [
        (stage.name, node.name)
        for stage in pipeline.stages
        for node in stage.nodes
        if stage.critical
        and node.critical
        and not isinstance(node.timeout, Adaptive)
        and cuts(pipeline, stage, node)
    ]
    runs = range(len(done.statuses))
    kept = [run for run in runs if done.blamed[run] is None and done.statuses[run] is not None]
    waste = math.fsum(done.wasted)
    stops: dict[Place, float] = {}
    if not critical or not waste or not kept:
        return stops
    each = spare // len(critical)
    for place in critical:
        spent = done.spent[place]
        longest = sorted((spent[run] for run in kept), reverse=True)
        limit = _rounded_up(longest[min(each, len(longest) - 1)])
        saved = math.fsum(max(0.0, seconds - limit) for seconds in spent)
        if saved >= _WORTH * waste:
            stops[place] = limit
    return stops


def _rounded_up(seconds: float) -> float:
    """The next number of three digits: 137.2 ms is 138 ms."""
    if seconds <= 0:
        return 0.0
    digits = 2 - math.floor(math.log10(seconds))
    return round(math.ceil(round(seconds * 10.0**digits, 6)) / 10.0**digits, max(0, digits))
