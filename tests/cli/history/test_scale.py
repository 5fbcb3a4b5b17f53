from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceline.cli.history.scale import scale_for

DURATIONS = st.floats(0, 1e6).map(lambda one: one if one > 1e-9 else 0.0)


@given(durations=st.lists(DURATIONS, max_size=9), most=st.integers(2, 9))
def test_any_scale(durations, most):
    """All durations lie on the scale in their order, and the ticks are few, on the scale, and grow."""
    scale = scale_for(durations)
    shares = [scale.share(one) for one in sorted(durations)]
    assert shares == sorted(shares)
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert scale.share(inf) == 1.0
    assert scale.share(0.0) == 0.0
    ticks = scale.ticks(most)
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= most
    assert all(scale.low <= tick <= scale.high for tick in ticks)


def test_close_durations_have_equal_steps():
    """Durations of one size are drawn from 0, and half of the way is half of the duration."""
    scale = scale_for([0.1, 0.5])
    assert (scale.log, scale.low) == (False, 0.0)
    assert scale.share(scale.high / 2) == pytest.approx(0.5)
    assert scale.ticks(6) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert scale.ticks(4) == pytest.approx([0.0, 0.2, 0.4])


def test_wide_durations_have_equal_factors():
    """Where the longest is many times the shortest, equal factors are equal steps."""
    scale = scale_for([0.01, 1.0])
    assert scale.log
    assert scale.share(0.1) == pytest.approx(0.5)
    assert scale.ticks(9) == pytest.approx([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
    assert scale.ticks(5) == pytest.approx([0.01, 0.03, 0.1, 0.3, 1.0])
    assert scale.ticks(3) == pytest.approx([0.01, 0.1, 1.0])
    assert scale_for([1e-6, 1e5]).ticks(4) == []


def test_a_duration_of_zero_lies_at_the_bottom():
    """Zero has no logarithm, and is drawn all the same."""
    scale = scale_for([0.0, 0.01, 1.0])
    assert (scale.log, scale.share(0.0)) == (True, 0.0)
    assert scale_for([0.0]).share(0.0) == 0.0
