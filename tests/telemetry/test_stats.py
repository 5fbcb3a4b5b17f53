"""The aggregates that the engine adds to."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceline import Status
from graceline.deadlines import Blame, Kind
from graceline.telemetry.stats import (
    BUCKETS,
    ERROR_TYPES,
    SHARES,
    Histogram,
    PartStats,
    PipelineStats,
    Stats,
)


@pytest.mark.parametrize("bounds", [BUCKETS, SHARES])
def test_buckets_rise(bounds):
    """The bounds are sorted and not negative, or a bisection would miscount."""
    assert bounds[0] >= 0
    assert all(low < high for low, high in pairwise(bounds))


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        (0.0, 0),
        (0.001, 0),
        (0.0011, 1),
        (0.2, BUCKETS.index(0.2)),
        (600.0, len(BUCKETS) - 1),
        (601.0, len(BUCKETS)),
    ],
)
def test_a_bound_belongs_to_its_bucket(seconds, bucket):
    """A bucket counts what is at most its bound, and the last one what is above all bounds."""
    durations = Histogram()
    durations.add(seconds)
    assert [index for index, count in enumerate(durations.counts) if count] == [bucket]


@given(st.lists(st.floats(0, 1000)))
def test_nothing_is_lost(seconds):
    """Count and total are those of everything that was added."""
    durations = Histogram()
    for one in seconds:
        durations.add(one)
    assert durations.count == len(seconds)
    assert durations.total == pytest.approx(sum(seconds))
    for bound, below in zip(BUCKETS, range(1, len(BUCKETS) + 1), strict=True):
        assert sum(durations.counts[:below]) == sum(one <= bound for one in seconds)


@given(st.lists(st.floats(0, 3)), st.lists(st.floats(0, 3)))
def test_merged_histograms_count_what_both_have_seen(left, right):
    """To merge two histograms is to have counted all values in one."""
    one, other, both = Histogram((1.0, 2.0)), Histogram((1.0, 2.0)), Histogram((1.0, 2.0))
    for histogram, values in ((one, left), (other, right), (both, left + right)):
        for value in values:
            histogram.add(value)
    one.merge(other)
    assert one.counts == both.counts
    assert one.total == pytest.approx(both.total)


def test_a_part_has_one_aggregate_for_all_who_ask():
    """The same part gives the same object; a histogram of a status is there once it is needed."""
    stats = Stats()
    part = stats.part("p", "s", "n")
    assert stats.part("p", "s", "n") is part
    assert not part
    part[Status.OK].add(1.0)
    assert (part[Status.OK].count, part[Status.LATE].count) == (1, 0)
    assert stats.pipeline("p") is stats.pipeline("p")


def test_levels_are_kept_apart():
    """A pipeline, its stage and its node of one name have aggregates of their own."""
    stats = Stats()
    stats.pipeline("x").add_ok(1.0, None, 1)
    stats.part("x", "x")
    stats.part("x", "x", "x")
    assert list(stats.parts()) == [("x", "x", ""), ("x", "x", "x")]
    assert not any(stats.parts().values())
    assert stats.pipelines()["x"].count(Status.OK) == 1


def test_a_snapshot_does_not_grow():
    """A scrape that is under way is not disturbed by a pipeline that is compiled meanwhile."""
    stats = Stats()
    parts, pipelines = stats.parts(), stats.pipelines()
    stats.part("p", "s")
    stats.pipeline("p")
    assert (len(parts), len(pipelines)) == (0, 0)
    assert (len(stats.parts()), len(stats.pipelines())) == (1, 1)


@pytest.mark.parametrize(
    ("elapsed", "limit", "within", "left"),
    [
        (0.5, None, True, None),
        (0.5, 2.0, True, 0.75),
        (2.0, 2.0, True, 0.0),
        (3.0, 2.0, False, 0.0),
    ],
)
def test_a_run_that_ends_well_is_within_its_budget_or_not(elapsed, limit, within, left):
    """A run is within its limit up to the limit itself; without one it always is."""
    runs = PipelineStats()
    runs.add_ok(elapsed, limit, 3)
    assert [end for end, found in runs.items() if found.count] == [(Status.OK, False, within)]
    assert runs.began == {3: 1}
    assert (runs.remaining.count, runs.remaining.total) == (left is not None, left or 0.0)


def blamed(level, kind=Kind.TIMEOUT):
    return Blame(level, "x", kind, None, None, 0.0, "")


def test_a_part_counts_why_it_went_wrong():
    """Timeouts are counted by the level to blame, only failures by the class of what was raised."""
    part = PartStats()
    part.add(Status.TIMED_OUT, 1.0, blamed("stage"), TimeoutError())
    part.add(Status.FAILED, 1.0, blamed("node", Kind.FAILED), KeyError("secret"))
    part.add(Status.REJECTED, 0.0, blamed("node", Kind.REJECTED), OSError())
    part.add_degraded()
    assert part.timeouts == {"stage": 1}
    assert part.errors == {"KeyError": 1}
    assert part.degraded == 1
    assert {str(status): found.count for status, found in part.items()} == {
        "timed_out": 1,
        "failed": 1,
        "rejected": 1,
    }


def raised(part, *names):
    for name in names:
        part.add(Status.FAILED, 1.0, None, type(name, (Exception,), {})())


def test_classes_of_errors_are_bounded():
    """After twenty classes the others are counted together, and none of them is lost."""
    part = PartStats()
    names = [f"Error{number}" for number in range(ERROR_TYPES + 5)]
    raised(part, *names, *names)
    assert len(part.errors) == ERROR_TYPES + 1
    assert part.errors["other"] == 10
    assert sum(part.errors.values()) == len(names) * 2


def test_merging_keeps_classes_of_errors_bounded():
    """Two engines that know twenty classes each show twenty and the others."""
    one, other = PartStats(), PartStats()
    raised(one, *(f"One{number}" for number in range(ERROR_TYPES)))
    raised(other, *(f"Two{number}" for number in range(ERROR_TYPES)))
    one.merge(other)
    assert len(one.errors) == ERROR_TYPES + 1
    assert one.errors["other"] == ERROR_TYPES


def test_what_an_engine_counted_is_kept_and_what_it_was_doing_is_not():
    """Merged without gauges, counts add up, and limits are those of nobody."""
    closed, kept = Stats(), Stats()
    part, runs = closed.part("p", "s", "n"), closed.pipeline("p")
    part.limit, part.learned, part.slo = 1.0, 2.0, 3.0
    runs.limit, runs.overruns = 1.0, 2
    part.add_degraded()
    closed.rejections["queue full"] = 1
    closed.transitions["b", "closed", "open"] = 1
    closed.queue_wait.add(1.0)
    closed.blocked.add(1.0)
    for gauges in (False, True):
        kept.merge(closed, gauges=gauges)
        found = kept.part("p", "s", "n")
        assert (found.limit, found.learned, found.slo) == ((1, 2, 3) if gauges else (None,) * 3)
        assert kept.pipeline("p").limit == (1 if gauges else None)
    assert (found.degraded, kept.pipeline("p").overruns) == (2, 4)
    assert kept.rejections == {"queue full": 2}
    assert kept.transitions == {("b", "closed", "open"): 2}
    assert (kept.queue_wait.count, kept.blocked.count) == (2, 2)
