import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline.planning.projection import percentile, wilson


@settings(derandomize=True, database=None, deadline=None)
@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts):
    """The confidence interval is that of SciPy."""
    expected = scipy.stats.binomtest(*counts).proportion_ci(0.95, method="wilson")
    assert wilson(*counts) == pytest.approx((expected.low, expected.high))


def test_the_interval_holds_the_ends():
    """Where all or none succeed, that is within the interval, whatever the rounding."""
    for trials in (1, 7, 10_000):
        assert wilson(0, trials)[0] == 0.0
        assert wilson(trials, trials)[1] == 1.0


def test_a_percentile_is_one_of_the_values():
    """The smallest value that the share does not exceed; rounding of the share costs no rank."""
    values = list(range(1, 101))
    shares = (0.0, 0.01, 0.011, 0.29, 0.57, 0.99, 1.0)
    assert [percentile(values, share) for share in shares] == [1, 1, 2, 29, 57, 99, 100]
