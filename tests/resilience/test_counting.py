"""Counters over a sliding window, against all that was ever added."""

from hypothesis import given
from hypothesis import strategies as st

from graceline.resilience.counting import SlidingCounts


def test_the_window_forgets():
    """A count is kept for nine tenths of the window, and gone when the whole of it has passed."""
    counts = SlidingCounts(30.0, counters=2)
    counts.add(0.0, 1)
    assert counts.at(29.9) == [0, 1]
    assert counts.at(30.0) == [0, 0]
    assert counts.advance(29.9) == [0, 1]
    assert counts.advance(30.0) == [0, 0]


def test_clear_forgets_at_once():
    """After `clear` the sums are those of a new window."""
    counts = SlidingCounts(30.0, counters=1)
    counts.add(1.0, 0)
    counts.clear()
    assert counts.advance(1.0) == [0]
    counts.add(2.0, 0)
    assert counts.sums == [1]


@given(
    steps=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1))),
    start=st.integers(-1000, 1000),
)
def test_the_sums_are_those_of_the_buckets_in_the_window(steps, start):
    """Whatever is added when: each sum is that of the ten newest buckets, recounted."""
    counts = SlidingCounts(10.0, counters=2)
    now, added = float(start), []
    for step, counter in steps:
        now += step / 4
        added.append((now // 1.0, counter))
        counts.add(now, counter)
        kept = [counter for number, counter in added if number > now // 1.0 - 10]
        before = list(counts._filled)
        assert counts.at(now + 3.0) == [
            [c for n, c in added if n > (now + 3.0) // 1.0 - 10].count(counter)
            for counter in (0, 1)
        ]
        assert list(counts._filled) == before  # asking changes nothing
        assert counts.sums == [kept.count(0), kept.count(1)] == counts.advance(now)
