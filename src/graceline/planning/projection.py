"""What certain limits come to, in numbers: from many replayed runs to a projection."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import attrs

from graceline.definitions import Adaptive, Pipeline
from graceline.planning.limits import Limits, in_force
from graceline.planning.replay import Replayed

__all__ = ["BlameShare", "PartProjection", "Projection", "percentile", "projection_of", "wilson"]

_NEVER = "never_ends"
_Z = NormalDist().inv_cdf(0.975)


@attrs.frozen
class BlameShare:
    """How often a level is to blame for a run without an answer.

    Attributes:
        level: `pipeline`, `stage` or `node`.
        name: its name.
        kind: why the run was cut.
        count: in how many runs.
        share: of all runs.
    """

    level: str
    name: str
    kind: str
    count: int
    share: float


@attrs.frozen
class PartProjection:
    """One stage or node under these limits.

    Attributes:
        level: `stage` or `node`.
        stage: the name of the stage.
        node: the name of the node; empty for a stage.
        limit: its limit in seconds, None if it has none. Of a learned one it is the ceiling; of a
            critical part of a pipeline that shares its time it cuts nothing.
        learned: whether the limit is learned.
        critical: whether the run needs it.
        cut: the share of runs in which it was cut.
    """

    level: str
    stage: str
    node: str
    limit: float | None
    learned: bool
    critical: bool
    cut: float


@attrs.frozen
class Projection:
    """What certain limits come to. Durations are seconds.

    Attributes:
        limit: the pipeline's limit, None if it has none. Of a learned one it is the ceiling.
        runs: how many runs were replayed.
        completion: the share of runs with an answer; some of them may be degraded.
        low: the lower end of its 95 % confidence interval, which is that of the replay: it says
            nothing of how typical the history is.
        high: the upper end.
        degraded: the share of runs with an answer that is short of a non-critical part.
        statuses: how many runs ended with each status; `never_ends` has no end at all.
        blames: who is to blame for the runs that ended without an answer, most often first.
            Together with `never_ends` these are all runs without an answer.
        p50: of the time until a run ends; None if it does not end.
        p95: as `p50`.
        p99: as `p50`.
        waste: node seconds per run that led to nothing: in a run without an answer, or in a node
            that was cut. Runs that never end are left out.
        waste_share: the share of all node seconds that this is.
        parts: stages and nodes, in order.
    """

    limit: float | None
    runs: int
    completion: float
    low: float
    high: float
    degraded: float
    statuses: dict[str, int]
    blames: tuple[BlameShare, ...]
    p50: float | None
    p95: float | None
    p99: float | None
    waste: float
    waste_share: float
    parts: tuple[PartProjection, ...]


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22:209)."""
    share, square = successes / trials, _Z * _Z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    spread = math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    half = _Z * spread / (1 + square / trials)
    # At the ends the formula gives the end itself, but for rounding.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    return low, 1.0 if successes == trials else min(1.0, middle + half)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that a share of them does not exceed; they are in ascending order."""
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def projection_of(pipeline: Pipeline, limits: Limits, done: Replayed) -> Projection:
    """The numbers of a replay."""
    runs = len(done.statuses)
    low, high = wilson(done.answers, runs)
    elapsed = sorted(done.elapsed)
    p50, p95, p99 = (_finite(percentile(elapsed, share)) for share in (0.50, 0.95, 0.99))
    ended = [index for index in range(runs) if done.statuses[index] is not None]
    work = math.fsum(done.work[index] for index in ended)
    wasted = math.fsum(done.wasted[index] for index in ended)
    statuses = Counter(_NEVER if one is None else str(one) for one in done.statuses)
    blamed = Counter(one for one in done.blamed if one is not None)
    return Projection(
        limit=_seconds(pipeline.stated_timeout if limits.pipeline is None else limits.pipeline),
        runs=runs,
        completion=done.answers / runs,
        low=low,
        high=high,
        degraded=sum(done.degraded) / runs,
        statuses=dict(statuses.most_common()),
        blames=tuple(
            BlameShare(*who, count, count / runs)
            for who, count in sorted(blamed.items(), key=lambda entry: (-entry[1], entry[0]))
        ),
        p50=p50,
        p95=p95,
        p99=p99,
        waste=wasted / max(1, len(ended)),
        waste_share=wasted / work if work else 0.0,
        parts=tuple(_parts(pipeline, limits, done)),
    )


def _parts(pipeline: Pipeline, limits: Limits, done: Replayed) -> Iterator[PartProjection]:
    runs = len(done.statuses)
    for stage in pipeline.stages:
        limit = in_force(pipeline, limits, stage)
        yield PartProjection(
            "stage",
            stage.name,
            "",
            _seconds(limit),
            isinstance(limit, Adaptive),
            stage.critical,
            done.cut[stage.name] / runs,
        )
        for node in stage.nodes:
            limit = in_force(pipeline, limits, stage, node)
            yield PartProjection(
                "node",
                stage.name,
                node.name,
                _seconds(limit),
                isinstance(limit, Adaptive),
                stage.critical and node.critical,
                done.cut[stage.name, node.name] / runs,
            )


def _seconds(limit: float | Adaptive | None) -> float | None:
    """A limit as a number, of a learned one the ceiling; None for none."""
    seconds = limit.ceiling if isinstance(limit, Adaptive) else limit
    return None if seconds is None else _finite(seconds)


def _finite(seconds: float) -> float | None:
    return seconds if seconds < math.inf else None
