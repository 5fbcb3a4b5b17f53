"""What a part may use of the time that is left, when it is late, and what is not begun at all."""

from math import inf, isclose

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from graceline.deadlines import Gate, eqf_share, shared_limit

seconds = st.floats(0.001, 1000.0)
steady = settings(derandomize=True, database=None, deadline=None)


def test_a_part_may_use_all_but_four_fifths_of_what_the_others_need():
    """With 250 ms left and 105 ms usually needed afterwards, a part may use 166 ms."""
    assert shared_limit(0.25, 0.02, 0.105) == pytest.approx(0.25 - 0.8 * 0.105)


def test_when_little_is_left_the_proportional_share_is_the_limit():
    """With less left than the others need, a part may still use its share of it."""
    assert shared_limit(0.06, 0.02, 0.1) == pytest.approx(0.06 * 0.02 / 0.12)


@pytest.mark.parametrize(
    ("left", "p50", "reserve"),
    [(inf, 0.1, 0.1), (0.25, 0.1, 0.0), (0.25, None, 0.0), (0.1, None, 0.2), (-0.1, 0.1, 0.2)],
    ids=["no deadline", "last", "last and unknown", "unknown, little left", "too late"],
)
def test_where_there_is_nothing_to_keep_there_is_no_limit(left, p50, reserve):
    """Without a deadline, without a reserve, or where nothing would remain, no limit is added."""
    assert shared_limit(left, p50, reserve) == inf


def test_an_unknown_part_keeps_the_reserve():
    """A part whose durations are unknown may use all but the reserve of the others."""
    assert shared_limit(0.25, None, 0.1) == pytest.approx(0.17)


def test_the_share_is_proportional():
    """A part that usually needs a third of the rest's time and its own gets a third of it."""
    assert eqf_share(0.3, 0.02, 0.04) == pytest.approx(0.1)


def test_where_nothing_is_needed_all_of_it_is_the_share():
    """A part that takes no time and has nothing after it has all that is left."""
    assert eqf_share(0.3, 0.0, 0.0) == 0.3


@steady
@given(seconds, st.none() | seconds, seconds)
def test_a_limit_lies_within_what_is_left(left, p50, reserve):
    """A limit is positive and never above what is left; else there is none."""
    limit = shared_limit(left, p50, reserve)
    assert limit == inf or 0.0 < limit <= left


@steady
@given(seconds, seconds, seconds, seconds)
def test_a_limit_never_falls_when_more_is_left(left, more, p50, reserve):
    """More time never makes a limit shorter, and neither does a smaller need of the others."""
    limit = shared_limit(left, p50, reserve)
    assert shared_limit(left + more, p50, reserve) >= limit * (1 - 1e-12)
    assert shared_limit(left, p50, reserve / (1 + more)) >= limit * (1 - 1e-12)


@steady
@given(seconds, seconds, seconds)
def test_a_part_is_late_before_it_is_cut(left, p50, reserve):
    """The soft deadline never lies behind the limit."""
    assert eqf_share(left, p50, reserve) <= shared_limit(left, p50, reserve)


@steady
@given(seconds, seconds, seconds)
def test_shares_of_a_chain_add_up_to_what_is_left(left, p50, reserve):
    """A part's share and that of all that follows are the whole."""
    both = eqf_share(left, p50, reserve) + eqf_share(left, reserve, p50)
    assert isclose(both, left)


@steady
@given(seconds, seconds, seconds, st.integers(-6, 6))
def test_seconds_have_no_scale(left, p50, reserve, power):
    """Milliseconds and hours are shared in the same way."""
    assume(min(left, p50, reserve) > 0)
    scale = 2.0**power
    assert shared_limit(left * scale, p50 * scale, reserve * scale) == scale * shared_limit(
        left, p50, reserve
    )


def test_one_refusal_in_sixteen_is_let_through():
    """A gate never locks for good: of 64 hopeless parts four may try, evenly spread."""
    gate = Gate()
    assert [gate.refuses() for _ in range(64)] == ([True] * 15 + [False]) * 4


@pytest.mark.parametrize(("gate", "every"), [(Gate(10), 10), (Gate(1), 1)])
def test_a_gate_says_how_many_it_lets_through(gate, every):
    """One refusal in so many as was given is let through."""
    refused = [gate.refuses() for _ in range(3 * every)]
    assert refused == ([True] * (every - 1) + [False]) * 3
