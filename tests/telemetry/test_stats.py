"""The aggregates that the hot path adds to."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceline import Status
from graceline.telemetry.stats import BUCKETS, Durations, Stats


def test_buckets_rise():
    """The bounds are sorted and positive, or a bisection would miscount."""
    assert BUCKETS[0] > 0
    assert all(low < high for low, high in pairwise(BUCKETS))


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
    durations = Durations()
    durations.add(seconds)
    assert [index for index, count in enumerate(durations.counts) if count] == [bucket]


@given(st.lists(st.floats(0, 1000)))
def test_nothing_is_lost(seconds):
    """Count and total are those of everything that was added."""
    durations = Durations()
    for one in seconds:
        durations.add(one)
    assert durations.count == len(seconds)
    assert durations.total == pytest.approx(sum(seconds))
    for bound, below in zip(BUCKETS, range(1, len(BUCKETS) + 1), strict=True):
        assert sum(durations.counts[:below]) == sum(one <= bound for one in seconds)


def test_a_part_has_one_aggregate_for_all_who_ask():
    """The same part gives the same object, with a histogram for every status."""
    stats = Stats()
    part = stats.part("p", "s", "n")
    assert stats.part("p", "s", "n") is part
    assert set(part) == set(Status)
    part[Status.OK].add(1.0)
    assert (part[Status.OK].count, part[Status.LATE].count) == (1, 0)


def test_levels_are_kept_apart():
    """A pipeline, its stage and its node of one name have aggregates of their own."""
    stats = Stats()
    parts = [stats.part("x"), stats.part("x", "x"), stats.part("x", "x", "x")]
    parts[0][Status.OK].add(1.0)
    assert [part[Status.OK].count for part in parts] == [1, 0, 0]
    assert list(stats.parts()) == [("x", "", ""), ("x", "x", ""), ("x", "x", "x")]


def test_a_snapshot_does_not_grow():
    """A scrape that is under way is not disturbed by a pipeline that is registered meanwhile."""
    stats = Stats()
    snapshot = stats.parts()
    stats.part("p")
    assert (len(snapshot), len(stats.parts())) == (0, 1)
