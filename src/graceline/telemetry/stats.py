"""Plain aggregates that the engine adds to; a collector reads them at scrape.

A node costs two additions and a bisection. There are no labels here: the aggregate of a part is
found once, when its pipeline is compiled. Only the loop of the engine writes; other threads copy
what they read in one step, and take what falls in between for the next scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import TypeAlias, TypeVar

from graceline.deadlines import Blame, Status
from graceline.results import PipelineResult
from graceline.telemetry.exemplars import Exemplars

__all__ = [
    "BUCKETS",
    "ERROR_TYPES",
    "HEDGES",
    "SHARES",
    "STOPS",
    "Histogram",
    "PartStats",
    "PipelineStats",
    "RunEnd",
    "Stats",
    "count",
    "expect",
]

BUCKETS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
"""Upper bounds in seconds: dense from 1 ms to 1 s, then to 10 min."""

SHARES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Upper bounds for a share of a budget."""

STOPS = ("ok", "attempts", "budget", "deadline", "not_retryable")
"""Why there was no further attempt."""

HEDGES = ("won", "lost", "suppressed")
"""What becomes of a hedge."""

ERROR_TYPES = 20
"""So many classes of errors are counted by name for each node; the rest are `other`."""

RunEnd: TypeAlias = tuple[Status, bool, bool]
"""How a run ended: its status, whether it was degraded, and whether it was within its budget."""

KeyT = TypeVar("KeyT")
# To look up a member of an enum costs more than all that is done with it here.
_OK, _TIMED_OUT, _FAILED = Status.OK, Status.TIMED_OUT, Status.FAILED
_REJECTED, _CANCELLED = Status.REJECTED, Status.CANCELLED


class Histogram:
    """Values by bucket; the counts are not cumulative, and the last is that of what is above."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = BUCKETS) -> None:
        self.bounds: Sequence[float] = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.total: float = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def merge(self, other: Histogram) -> None:
        """Add what another one of the same bounds has counted."""
        self.counts = list(map(add, self.counts, other.counts.copy()))
        self.total += other.total


class PartStats(dict[Status, Histogram]):
    """What is counted of one stage, node or alternative: its durations by status, and its troubles.

    Attributes:
        degraded: how often it was not usable and the run went on; None for what is critical.
        errors: its failures by the class of the error.
        timeouts: its timeouts by the level whose limit passed.
        retries: nodes of which an attempt failed, by why there was no further one.
        hedges: second copies of attempts, by what became of them.
        limit: its stated limit in seconds, None without one.
        learned: its learned limit in seconds, the one applied last; None without one.
        slo: its latency objective in seconds, None without one.
    """

    __slots__ = (
        "_bounds", "degraded", "errors", "hedges", "learned", "limit", "retries", "slo", "timeouts",
    )  # fmt: skip

    def __init__(self, bounds: Sequence[float] = BUCKETS) -> None:
        super().__init__()
        self._bounds = bounds
        self.degraded: int | None = None
        self.errors: dict[str, int] = {}
        self.timeouts: dict[str, int] = {}
        self.retries: dict[str, int] = {}
        self.hedges: dict[str, int] = {}
        self.limit: float | None = None
        self.learned: float | None = None
        self.slo: float | None = None

    def __missing__(self, status: Status) -> Histogram:
        made = self[status] = Histogram(self._bounds)
        return made

    def add(
        self, status: Status, elapsed: float, blame: Blame | None, error: BaseException | None
    ) -> None:
        """Count one end of the part."""
        self[status].add(elapsed)
        if status is _TIMED_OUT and blame is not None:
            count(self.timeouts, blame.level)
        elif status is _FAILED and error is not None:
            self._add_error(type(error).__name__, 1)

    def add_degraded(self) -> None:
        """Count that the run went on without it."""
        self.degraded = (self.degraded or 0) + 1

    def _add_error(self, name: str, times: int) -> None:
        if name not in self.errors and len(self.errors) >= ERROR_TYPES:
            name = "other"
        count(self.errors, name, times)

    def merge(self, other: PartStats, *, gauges: bool = True) -> None:
        """Add what another one has counted; `gauges`: take its limits, too."""
        for status, durations in dict.copy(other).items():
            self[status].merge(durations)
        if other.degraded is not None:
            self.degraded = (self.degraded or 0) + other.degraded
        for name, times in other.errors.copy().items():
            self._add_error(name, times)
        _merge_counts(self.timeouts, other.timeouts)
        _merge_counts(self.retries, other.retries)
        _merge_counts(self.hedges, other.hedges)
        if gauges:
            self.limit = _newer(self.limit, other.limit)
            self.learned = _newer(self.learned, other.learned)
            self.slo = _newer(self.slo, other.slo)


class PipelineStats(dict[RunEnd, Histogram]):
    """What is counted of the runs of one pipeline: their durations by how they ended, and more.

    Attributes:
        began: runs by how many of their nodes began.
        completed_at_timeout: runs that timed out, by how many of their nodes had completed.
        timeouts: runs that timed out, by the level whose limit passed.
        cancelled: parts that were cancelled, by the kind of the cancel and their own level.
        remaining: the share of its limit that a run had left.
        grace: seconds that runs took after their cancel, of those that took any.
        overrun: seconds by which runs were late, of those that were.
        overruns: cleanup blocks that were cut at their end.
        limit, learned, slo: as for a part.
    """

    __slots__ = (
        "_bounds", "_well", "began", "cancelled", "completed_at_timeout", "grace", "learned",
        "limit", "overrun", "overruns", "remaining", "slo", "timeouts",
    )  # fmt: skip

    def __init__(self, bounds: Sequence[float] = BUCKETS) -> None:
        super().__init__()
        self._bounds = bounds
        self._well = self[_OK, False, True]
        self.began: dict[int, int] = {}
        self.completed_at_timeout: dict[int, int] = {}
        self.timeouts: dict[str, int] = {}
        self.cancelled: dict[tuple[str, str], int] = {}
        self.remaining: Histogram = Histogram(SHARES)
        self.grace: Histogram = Histogram(bounds)
        self.overrun: Histogram = Histogram(bounds)
        self.overruns: int = 0
        self.limit: float | None = None
        self.learned: float | None = None
        self.slo: float | None = None

    def __missing__(self, end: RunEnd) -> Histogram:
        made = self[end] = Histogram(self._bounds)
        return made

    def count(self, status: Status) -> int:
        """How many runs ended with this status."""
        return sum(found.count for end, found in self.copy().items() if end[0] == status)

    def add_ok(self, elapsed: float, limit: float | None, nodes: int) -> None:
        """Count a run that ended well, and in which `nodes` began."""
        well = self._well
        if limit is not None:
            left = limit - elapsed
            if left < 0.0:
                well = self[_OK, False, False]
                left = 0.0
            share = left / limit if left else 0.0
            remaining = self.remaining
            remaining.counts[bisect_left(SHARES, share)] += 1  # `add`, without the call
            remaining.total += share
        well.counts[bisect_left(well.bounds, elapsed)] += 1
        well.total += elapsed
        began = self.began
        began[nodes] = began.get(nodes, 0) + 1

    def add(self, result: PipelineResult, nodes: int) -> None:
        """Count any run; `nodes` is how many of its nodes began."""
        status, elapsed, limit, blame = result.status, result.elapsed, result.limit, result.blame
        within = limit is None or elapsed <= limit
        self[status, bool(result.degraded), within].add(elapsed)
        if status is _REJECTED:
            return
        count(self.began, nodes)
        if limit is not None:
            self.remaining.add((limit - elapsed) / limit if elapsed < limit else 0.0)
        if result.grace_used > 0.0:
            self.grace.add(result.grace_used)
        if result.overrun > 0.0:
            self.overrun.add(result.overrun)
        if status is _TIMED_OUT:
            count(self.completed_at_timeout, len(result.completed))
            if blame is not None:
                count(self.timeouts, blame.level)
        elif status is _CANCELLED:
            self.add_cancelled(blame, "pipeline")

    def add_cancelled(self, blame: Blame | None, level: str) -> None:
        """Count a part that was cancelled; `level` is its own."""
        if blame is not None:
            count(self.cancelled, (str(blame.kind), level))

    def merge(self, other: PipelineStats, *, gauges: bool = True) -> None:
        """Add what another one has counted; `gauges`: take its limits, too."""
        for end, durations in dict.copy(other).items():
            self[end].merge(durations)
        _merge_counts(self.began, other.began)
        _merge_counts(self.completed_at_timeout, other.completed_at_timeout)
        _merge_counts(self.timeouts, other.timeouts)
        _merge_counts(self.cancelled, other.cancelled)
        self.remaining.merge(other.remaining)
        self.grace.merge(other.grace)
        self.overrun.merge(other.overrun)
        self.overruns += other.overruns
        if gauges:
            self.limit = _newer(self.limit, other.limit)
            self.learned = _newer(self.learned, other.learned)
            self.slo = _newer(self.slo, other.slo)


class Stats:
    """All aggregates of one engine.

    Args:
        bounds: upper bounds of the buckets for seconds, in ascending order.

    Attributes:
        exemplars: traced durations, beside those that are counted here.
        rejections: runs that were refused, by the reason.
        queue_wait: seconds that runs waited for a slot.
        transitions: changes of circuit breakers, by name, old and new state.
        blocked: seconds for which the event loop was blocked.
        elsewhere: what happens in blocks of `engine.deadline`, whose names may be any number; no
            collector shows it.
    """

    def __init__(self, bounds: Sequence[float] = BUCKETS) -> None:
        self._bounds = bounds
        self._pipelines: dict[str, PipelineStats] = {}
        self._parts: dict[tuple[str, str, str], PartStats] = {}
        self.exemplars: Exemplars = Exemplars(bounds)
        self.rejections: dict[str, int] = {}
        self.queue_wait: Histogram = Histogram(bounds)
        self.transitions: dict[tuple[str, str, str], int] = {}
        self.blocked: Histogram = Histogram(bounds)
        self.elsewhere: PipelineStats = PipelineStats(bounds)

    def pipeline(self, name: str) -> PipelineStats:
        """The aggregates of a pipeline, shared by all who ask."""
        found = self._pipelines.get(name)
        if found is None:
            found = self._pipelines[name] = PipelineStats(self._bounds)
        return found

    def part(self, pipeline: str, stage: str, node: str = "") -> PartStats:
        """The aggregates of a stage, or of a node in it, shared by all who ask."""
        key = (pipeline, stage, node)
        found = self._parts.get(key)
        if found is None:
            found = self._parts[key] = PartStats(self._bounds)
        return found

    def pipelines(self) -> Mapping[str, PipelineStats]:
        """A snapshot of what there is, by name."""
        return self._pipelines.copy()

    def parts(self) -> Mapping[tuple[str, str, str], PartStats]:
        """A snapshot of what there is, by pipeline, stage and node; the node of a stage is ""."""
        return self._parts.copy()

    def merge(self, other: Stats, *, gauges: bool = True) -> None:
        """Add what another engine has counted; `gauges`: take its limits, too."""
        for name, pipeline in other.pipelines().items():
            self.pipeline(name).merge(pipeline, gauges=gauges)
        for key, part in other.parts().items():
            self.part(*key).merge(part, gauges=gauges)
        _merge_counts(self.rejections, other.rejections)
        self.queue_wait.merge(other.queue_wait)
        _merge_counts(self.transitions, other.transitions)
        self.blocked.merge(other.blocked)


def count(counts: dict[KeyT, int], key: KeyT, times: int = 1) -> None:
    """Count something under a key."""
    counts[key] = counts.get(key, 0) + times


def expect(counts: dict[KeyT, int], keys: Iterable[KeyT]) -> None:
    """Have a count for each key, 0 to begin with: a rate sees the first step from there."""
    for key in keys:
        counts.setdefault(key, 0)


def _merge_counts(counts: dict[KeyT, int], more: dict[KeyT, int]) -> None:
    for key, times in more.copy().items():  # in one step: the loop may add a key meanwhile
        count(counts, key, times)


def _newer(old: float | None, new: float | None) -> float | None:
    return old if new is None else new
