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

Where the limits as they are lead to more answers, the search starts again with them, and where no
set does better, they stay. A pipeline is never advised to wait for ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from graceline.definitions import Adaptive, Pipeline
from graceline.planning.limits import Limits
from graceline.planning.places import Place, nodes_of
from graceline.planning.projection import percentile
from graceline.planning.recorded import Recorded
from graceline.planning.replay import Replayed

__all__ = ["Advice", "Play", "recommend"]

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
class Advice:
    """What to recommend.

    Attributes:
        limits: the set.
        reachable: the share of runs that would have an answer without any limit of the pipeline.
        reached: whether the wanted share has one with this set.
        done: the replay of the set.
        kept: whether the set is that of the limits as they are.
    """

    limits: Limits
    reachable: float
    reached: bool
    done: Replayed
    kept: bool = False


def recommend(
    pipeline: Pipeline,
    recorded: Mapping[Place, Recorded],
    target: float,
    as_it_is: tuple[Limits, Replayed],
    play: Play,
) -> Advice:
    """Recommend limits with which a share `target` of the runs has an answer.

    Args:
        pipeline: the definition.
        recorded: what is known of its nodes.
        target: above 0 and at most 1.
        as_it_is: the limits as they are, and their replay.
        play: replays other ones.
    """
    kept, now = as_it_is
    search = _Search(pipeline, recorded, target, len(now.statuses), play)
    advice = search.run(Limits(pipeline=math.inf, alone=True))
    if search.as_good(advice, now):
        return advice
    # What was left out is needed: perhaps it limits what hangs in the way of others.
    advice = search.run(attrs.evolve(kept, pipeline=math.inf))
    if search.as_good(advice, now):
        return advice
    reachable = max(advice.reachable, now.answers / search.runs)
    return Advice(kept, reachable, reached=now.answers >= search.wanted, done=now, kept=True)


@attrs.frozen
class _Search:
    """The search for a set of limits of one pipeline."""

    pipeline: Pipeline
    recorded: Mapping[Place, Recorded]
    target: float
    runs: int
    play: Play

    @property
    def wanted(self) -> int:
        """How many runs should have an answer."""
        return math.ceil(self.target * self.runs - 1e-9)

    def as_good(self, advice: Advice, now: Replayed) -> bool:
        """Whether the advice does what is wanted, or hardly less than the limits as they are."""
        answers = advice.done.answers
        return advice.reached or (0 < answers >= now.answers - _loss(now.answers))

    def run(self, limits: Limits) -> Advice:
        """Search from limits without one of the pipeline on."""
        pipeline, runs, wanted = self.pipeline, self.runs, self.wanted
        limits, best = self._unblocked(limits)
        if len(best.statuses) < runs:
            best = self.play("without limits", limits, runs)
        answered = sorted(best.answered)
        count = sum(seconds < math.inf for seconds in answered)
        if not count:
            return Advice(limits, 0.0, reached=False, done=best)
        reached = wanted <= count
        # Some are to spare, for the limits of critical nodes.
        aim = min(count, wanted + math.ceil(_SPARE * runs)) if reached else count - _loss(count)
        least = wanted if reached else aim
        whole = _rounded_up(answered[aim - 1] + (pipeline.reserve or 0.0))
        for _ in range(_TRIES):
            limits = attrs.evolve(limits, pipeline=whole)
            done = self.play("with its limit", limits, runs)
            if done.answers >= least:
                break
            whole = _rounded_up(whole * _LONGER)
        spare = max(0, done.answers - wanted) if reached else _loss(count)
        nodes = _stops(pipeline, done, spare)
        if nodes:
            limits = attrs.evolve(limits, nodes={**limits.nodes, **nodes})
            done = self.play("as recommended", limits, runs)
        return Advice(limits, count / runs, reached=reached and done.answers >= wanted, done=done)

    def _unblocked(self, limits: Limits) -> tuple[Limits, Replayed]:
        """The limits, with more for non-critical parts that are in the way, and their replay."""
        trial = min(self.runs, _TRIAL_RUNS)
        best = self.play("without limits", limits, trial)
        for part in _waited_for(self.pipeline):
            for seconds in _usual(part, self.recorded, best):
                candidate = _with(limits, part, seconds)
                done = self.play("a limit for a non-critical part", candidate, trial)
                if _better(done, best, self.target):
                    limits, best = candidate, done
        return limits, best


def _loss(answers: int) -> int:
    """How many of these answers shorter limits may cost where the target is out of reach."""
    return int(_SPARE * answers)


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
    """The p99 and the p95 of the calls of a part that finish, in seconds.

    If none does, any limit will do: as long as the longest call of all, or 0.1 s.
    """
    if isinstance(part, str):
        ended = sorted(seconds for seconds in done.stages[part] if 0 < seconds < math.inf)
        usual = tuple(percentile(ended, share) for share in _USUAL if ended)
    else:
        one = recorded[part]
        usual = tuple(one.quantile(share * (1.0 - one.hangs)) for share in _USUAL if one.hangs < 1)
    return usual or (max(one.longest for one in recorded.values()) or 0.1,)


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
        place
        for place, (stage, node) in nodes_of(pipeline).items()
        if stage.critical
        and node.critical
        and not isinstance(node.timeout, Adaptive)
        and not pipeline.is_soft(stage, node)
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
    """The next longer number of three digits: 137.2 ms is 138 ms, and so is 137 ms.

    What takes as long as its limit is cut by it, so the limit is longer.
    """
    if seconds <= 0:
        return 0.0
    digits = 2 - math.floor(math.log10(seconds))
    return round((math.floor(round(seconds * 10.0**digits, 6)) + 1) / 10.0**digits, max(0, digits))
