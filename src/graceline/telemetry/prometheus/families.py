"""The table of metrics, and how the aggregates of a lane become their samples."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, product
from typing import Any, TypeAlias

import attrs
from prometheus_client import core
from prometheus_client.utils import floatToGoString

from graceline.deadlines import Kind, Status
from graceline.telemetry.exemplars import Exemplar, Exemplars
from graceline.telemetry.prometheus.sources import Gauges
from graceline.telemetry.stats import SHARES, Histogram, PartStats, PipelineStats, Stats

__all__ = ["Families", "Lane", "Now"]

_LANE = ("lane",)
_PIPELINE = ("lane", "pipeline")
_STAGE = ("lane", "pipeline", "stage")
_NODE = ("lane", "pipeline", "stage", "node")
_END = ("status", "degraded", "within_budget")
_HISTOGRAM = core.HistogramMetricFamily
_COUNTER = core.CounterMetricFamily
_GAUGE = core.GaugeMetricFamily

_TABLE: tuple[tuple[str, type[Any], tuple[str, ...], str], ...] = (
    ("pipeline_duration_seconds", _HISTOGRAM, (*_PIPELINE, *_END),
     "Seconds from the submission of a run to its end."),
    ("pipelines", _COUNTER, (*_PIPELINE, *_END), "Runs that have ended."),
    ("degraded", _COUNTER, _NODE, "Non-critical parts that a run went on without."),
    ("pipeline_nodes", _HISTOGRAM, _PIPELINE, "Nodes that began in a run."),
    ("runs_in_flight", _GAUGE, _PIPELINE, "Runs that are at work, without those in the queue."),
    ("pipeline_timeouts", _COUNTER, (*_PIPELINE, "level"),
     "Runs that timed out, by the level whose limit passed."),
    ("pipeline_completed_nodes_at_timeout", _HISTOGRAM, _PIPELINE,
     "Nodes that had completed in a run that timed out."),
    ("stage_duration_seconds", _HISTOGRAM, (*_STAGE, "status"), "Seconds that a stage took."),
    ("stages", _COUNTER, (*_STAGE, "status"), "Stages that have ended."),
    ("node_duration_seconds", _HISTOGRAM, (*_NODE, "status"), "Seconds that a node took."),
    ("node_executions", _COUNTER, (*_NODE, "status"), "Nodes that have ended."),
    ("node_failures", _COUNTER, (*_NODE, "error_type"), "Nodes that failed, by what they raised."),
    ("cancellations", _COUNTER, (*_PIPELINE, "kind", "level"),
     "Pipelines, stages and nodes that were cancelled, and why."),
    ("node_timeouts", _COUNTER, (*_NODE, "level"),
     "Nodes that timed out, by the level whose limit passed."),
    ("timeout_limit_seconds", _GAUGE, (*_NODE, "source"), "The limit of a part."),
    ("slo_target_seconds", _GAUGE, _STAGE, "The latency objective of a pipeline or stage."),
    ("deadline_remaining_ratio", _HISTOGRAM, _PIPELINE,
     "Share of its limit that a run had left at its end."),
    ("grace_seconds", _HISTOGRAM, _PIPELINE, "Seconds that a run took after its cancel."),
    ("cleanup_overruns", _COUNTER, _PIPELINE, "Cleanup blocks that were cut at their end."),
    ("overrun_seconds", _HISTOGRAM, _PIPELINE, "Seconds by which a run was late."),
    ("retries", _COUNTER, (*_NODE, "stop"),
     "Nodes of which an attempt failed, by why there was no further one."),
    ("hedges", _COUNTER, (*_NODE, "result"), "Second copies of attempts."),
    ("breaker_state", _GAUGE, ("lane", "breaker"), "0 closed, 1 half open, 2 open."),
    ("breaker_transitions", _COUNTER, ("lane", "breaker", "from", "to"),
     "Changes of circuit breakers."),
    ("queue_depth", _GAUGE, _LANE, "Runs that wait for a slot."),
    ("queue_wait_seconds", _HISTOGRAM, _LANE, "Seconds that a run waited for a slot."),
    ("rejections", _COUNTER, ("lane", "reason"), "Runs that were refused."),
    ("node_health", _GAUGE, _NODE, "Health of an alternative, from 0 to 1."),
    ("abandoned_threads", _GAUGE, (), "Worker threads that nobody waits for."),
    ("stuck_nodes", _GAUGE, (), "Nodes that do not end, although their cleanup was cut."),
    ("loop_blocked_seconds", _HISTOGRAM, (), "Seconds for which an event loop was blocked."),
    ("mode", core.InfoMetricFamily, _LANE, "Whether limits cut: enforce, observe or off."),
)  # fmt: skip

_Made: TypeAlias = dict[str, Any]
_Place: TypeAlias = tuple[str, str, str]

_SIZES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Upper bounds for numbers of nodes."""

_UNOBSERVED = frozenset({Status.SKIPPED, Status.REJECTED})
"""What never began took no time: its 0 s would pull every quantile down."""

_REASONS = ("queue_full", "draining", "predicted_too_late", "too_late_to_start")
_LEVELS = ("pipeline", "stage", "node")
_CANCELS = (Kind.USER, Kind.SHUTDOWN, Kind.CALLER)
_CHANGES = (
    ("closed", "open"), ("open", "half_open"), ("half_open", "closed"), ("half_open", "open"),
)  # fmt: skip


@attrs.frozen
class Now:
    """An engine at the moment of a scrape."""

    mode: str
    gauges: Gauges
    exemplars: Exemplars


@attrs.define(eq=False)
class Lane:
    """What the engines of a lane have counted together, and what each one of them is doing."""

    name: str
    stats: Stats
    sources: list[Now] = attrs.field(factory=list)

    def exemplars(self, pipeline: str, stage: str, node: str, status: Status) -> list[Exemplar]:
        """What the engines have noted of a part with this status."""
        return [
            found
            for now in self.sources
            for found in now.exemplars.find(pipeline, stage, node, status)
        ]


class Families:
    """Makes the metric families of one collector.

    Args:
        prefix: of the names.
        bounds: upper bounds of the buckets in seconds.
    """

    def __init__(self, prefix: str, bounds: Sequence[float]) -> None:
        self._prefix = prefix
        self._bounds = bounds
        self._seconds = _texts(bounds)

    def empty(self) -> list[core.Metric]:
        """All families without samples."""
        return list(self._made().values())

    def filled(self, lanes: Iterable[Lane]) -> list[core.Metric]:
        """All families with the samples of these lanes."""
        out = self._made()
        blocked = Histogram(self._bounds)
        sources: list[Now] = []
        for lane in lanes:
            blocked.merge(lane.stats.blocked)
            sources += lane.sources
            self._engines(out, lane)
            for name, pipeline in lane.stats.pipelines().items():
                self._pipeline(out, (lane.name, name), pipeline, lane)
            for (name, stage, node), part in lane.stats.parts().items():
                self._part(out, (lane.name, name, stage, node), part, lane)
        threads = sum(now.gauges.abandoned_threads for now in sources)
        out["abandoned_threads"].add_metric((), threads)
        out["stuck_nodes"].add_metric((), sum(now.gauges.stuck_nodes for now in sources))
        self._add_seconds(out["loop_blocked_seconds"], (), blocked)
        return list(out.values())

    def _made(self) -> _Made:
        return {
            name: kind(f"{self._prefix}_{name}", text, labels=labels)
            for name, kind, labels, text in _TABLE
        }

    def _engines(self, out: _Made, lane: Lane) -> None:
        """What belongs to the engines of a lane, and to no pipeline."""
        name, stats = lane.name, lane.stats
        gauges = [now.gauges for now in lane.sources]
        if gauges:
            out["queue_depth"].add_metric((name,), sum(one.queued for one in gauges))
        self._add_seconds(out["queue_wait_seconds"], (name,), stats.queue_wait)
        rejections = dict.fromkeys(_REASONS, 0)
        for reason, times in stats.rejections.items():
            rejections[reason.replace(" ", "_")] = times
        for reason, times in rejections.items():
            out["rejections"].add_metric((name, reason), times)
        for mode in dict.fromkeys(now.mode for now in lane.sources):
            out["mode"].add_metric((name,), {"mode": mode})
        states: dict[str, int] = {}
        health: dict[_Place, float] = {}
        for one in gauges:
            for breaker, state in one.breakers.items():
                states[breaker] = max(state, states.get(breaker, 0))
            for place, value in one.health.items():
                health[place] = min(value, health.get(place, 1.0))
        changes = {(breaker, *change): 0 for breaker in states for change in _CHANGES}
        for (breaker, old, new), times in (changes | stats.transitions).items():
            out["breaker_transitions"].add_metric((name, breaker, old, new), times)
        for breaker, state in states.items():
            out["breaker_state"].add_metric((name, breaker), state)
        for place, value in health.items():
            out["node_health"].add_metric((name, *place), value)

    def _pipeline(
        self, out: _Made, labels: tuple[str, str], stats: PipelineStats, lane: Lane
    ) -> None:
        name = labels[1]
        for status, degraded, within in product(Status, (False, True), (False, True)):
            if status is Status.SKIPPED:  # which no run is
                continue
            end = (*labels, str(status), _flag(degraded), _flag(within))
            durations = stats.get((status, degraded, within))
            out["pipelines"].add_metric(end, 0 if durations is None else durations.count)
            if durations is not None and status not in _UNOBSERVED:
                found = lane.exemplars(name, "", "", status)
                self._add_seconds(out["pipeline_duration_seconds"], end, durations, found)
        if lane.sources:
            live = sum(now.gauges.in_flight.get(name, 0) for now in lane.sources)
            out["runs_in_flight"].add_metric(labels, live)
        _add_sizes(out["pipeline_nodes"], labels, stats.began)
        _add_sizes(out["pipeline_completed_nodes_at_timeout"], labels, stats.completed_at_timeout)
        for level, times in (dict.fromkeys(_LEVELS, 0) | stats.timeouts).items():
            out["pipeline_timeouts"].add_metric((*labels, level), times)
        cancelled = {(str(kind), "pipeline"): 0 for kind in _CANCELS} | stats.cancelled
        for (kind, level), times in cancelled.items():
            out["cancellations"].add_metric((*labels, kind, level), times)
        _add_histogram(out["deadline_remaining_ratio"], labels, stats.remaining, _SHARES)
        self._add_seconds(out["grace_seconds"], labels, stats.grace)
        self._add_seconds(out["overrun_seconds"], labels, stats.overrun)
        out["cleanup_overruns"].add_metric(labels, stats.overruns)
        _add_limits(out, (*labels, "", ""), stats)

    def _part(
        self, out: _Made, labels: tuple[str, str, str, str], stats: PartStats, lane: Lane
    ) -> None:
        node = labels[3]
        named = labels if node else labels[:3]
        total = out["node_executions" if node else "stages"]
        seconds = out["node_duration_seconds" if node else "stage_duration_seconds"]
        for status in Status:
            durations = stats.get(status)
            own = (*named, str(status))
            total.add_metric(own, 0 if durations is None else durations.count)
            if durations is not None and durations.count and status not in _UNOBSERVED:
                self._add_seconds(seconds, own, durations, lane.exemplars(*labels[1:], status))
        if stats.degraded is not None:
            out["degraded"].add_metric(labels, stats.degraded)
        _add_limits(out, labels, stats)
        if not node:
            return
        for error_type, times in stats.errors.items():
            out["node_failures"].add_metric((*labels, error_type), times)
        for level, times in ({"node": 0} | stats.timeouts).items():
            out["node_timeouts"].add_metric((*labels, level), times)
        for stop, times in stats.retries.items():
            out["retries"].add_metric((*labels, stop), times)
        for result, times in stats.hedges.items():
            out["hedges"].add_metric((*labels, result), times)

    def _add_seconds(
        self,
        family: Any,
        labels: Sequence[str],
        histogram: Histogram,
        exemplars: Iterable[Exemplar] = (),
    ) -> None:
        _add_histogram(family, labels, histogram, self._seconds, exemplars)


def _texts(bounds: Sequence[float]) -> tuple[str, ...]:
    """The bounds as they stand in the label `le`."""
    return (*map(floatToGoString, bounds), "+Inf")


_SHARES = _texts(SHARES)
_SIZE_TEXTS = _texts(_SIZES)


def _flag(value: bool) -> str:  # noqa: FBT001 - that is what it is about
    return "true" if value else "false"


def _add_histogram(
    family: Any,
    labels: Sequence[str],
    histogram: Histogram,
    texts: Sequence[str],
    exemplars: Iterable[Exemplar] = (),
) -> None:
    """Add a histogram. Its count is the sum of the buckets that were copied, whatever is new."""
    buckets: list[Any] = list(zip(texts, accumulate(histogram.counts), strict=True))
    for one in exemplars:
        number = bisect_left(histogram.bounds, one.value)
        if histogram.counts[number]:  # else it belongs to runs that ended in another way
            noted = core.Exemplar(
                {"trace_id": one.trace_id, "span_id": one.span_id}, one.value, one.at
            )
            buckets[number] = (*buckets[number][:2], noted)
    family.add_metric(labels, buckets, histogram.total)


def _add_sizes(family: Any, labels: Sequence[str], counts: Mapping[int, int]) -> None:
    histogram = Histogram(_SIZES)
    for size, times in counts.items():
        histogram.counts[bisect_left(_SIZES, size)] += times
        histogram.total += size * times
    _add_histogram(family, labels, histogram, _SIZE_TEXTS)


def _add_limits(
    out: _Made, labels: tuple[str, str, str, str], stats: PartStats | PipelineStats
) -> None:
    if stats.limit is not None:
        out["timeout_limit_seconds"].add_metric((*labels, "configured"), stats.limit)
    if stats.learned is not None:
        out["timeout_limit_seconds"].add_metric((*labels, "adaptive"), stats.learned)
    if stats.slo is not None and not labels[3]:
        out["slo_target_seconds"].add_metric(labels[:3], stats.slo)
