"""How long will several parts take? Forecasts against exact sums and against simulation."""

from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline.adaptive import DurationHistory
from graceline.adaptive.forecast import NO_TIME, Forecast

POINTS = 32
exact = st.integers(0, 400).map(lambda number: number / 8)


def repeated(values):
    """As many points as a forecast has, of a few different ones: shrinking stays quick."""
    return tuple(sorted((values * POINTS)[:POINTS]))


durations = st.one_of(exact, st.just(inf))
forecasts = st.builds(
    Forecast,
    exact,
    st.none() | st.lists(durations, min_size=1, max_size=8).map(repeated),
)
known = forecasts.filter(lambda forecast: forecast.points is not None)
few = settings(max_examples=60, derandomize=True, database=None, deadline=None)


def history_of(completed, hung=0, hung_for=10.0):
    history = DurationHistory()
    for _ in range(hung):
        history.add(hung_for, censored=True)
    for duration in completed:
        history.add(duration)
    return history


def share_below(forecast, seconds):
    """The share of the points that lie below so many seconds."""
    return sum(point < seconds for point in forecast.points) / POINTS


def test_a_history_gives_its_quantiles():
    """Of 256 durations the points are evenly spread, from the 1.6th to the 98.4th percentile."""
    forecast = Forecast.of(history_of([number / 256 for number in range(1, 257)]))
    assert forecast.p50 == 128 / 256
    assert forecast.points == tuple((8 * index + 4) / 256 for index in range(POINTS))


@pytest.mark.parametrize(("completions", "known"), [(0, False), (19, False), (20, True)])
def test_fewer_than_twenty_completions_say_nothing(completions, known):
    """Below twenty completions nothing is kept for a part, and nothing is refused for it."""
    forecast = Forecast.of(history_of([0.1] * completions, hung=100))
    assert (forecast.points is not None) is known
    assert (forecast.least is not None) is known
    assert known or forecast.p50 == 0.0


def test_what_hangs_is_infinite():
    """A quarter of calls that never finish is a quarter of the points."""
    forecast = Forecast.of(history_of([0.1] * 75, hung=25))
    assert forecast.points == (0.1,) * 24 + (inf,) * 8
    assert forecast.p50 == 0.1


def test_where_most_calls_hang_the_p50_is_not_known():
    """No time is kept for a part that usually does not finish; that it may, is remembered."""
    forecast = Forecast.of(history_of([0.1] * 40, hung=60))
    assert forecast.p50 == 0.0
    assert forecast.least == 0.1


@few
@given(forecasts)
def test_nothing_is_neutral(forecast):
    """What takes no time changes nothing, whether before, after or at the same time."""
    assert NO_TIME.then(forecast) == forecast.then(NO_TIME) == forecast
    assert NO_TIME.beside(forecast) == forecast.beside(NO_TIME) == forecast


def test_nothing_is_neutral_also_where_it_was_put_together():
    """Nothing after nothing is nothing, and no time after a part changes none of its points."""
    nothing = Forecast(0.0, (0.0,) * POINTS)
    forecast = Forecast.of(history_of([number / 64 for number in range(64)]))
    assert NO_TIME.then(NO_TIME) == nothing
    assert forecast.then(nothing) == nothing.then(forecast) == forecast
    assert forecast.beside(nothing) == forecast


@few
@given(forecasts, forecasts)
def test_the_order_does_not_matter(one, other):
    """Before or after, here or there: the sum and the longer of two are the same."""
    assert one.then(other) == other.then(one)
    assert one.beside(other) == other.beside(one)


@few
@given(known, known)
def test_points_stay_in_order(one, other):
    """The points are 32, from the shortest to the longest, also where some are infinite."""
    for joined in (one.then(other), one.beside(other)):
        assert len(joined.points) == POINTS
        assert all(first <= second for first, second in pairwise(joined.points))


@few
@given(known, known, known, st.sampled_from(["then", "beside"]))
def test_slower_parts_never_make_a_faster_whole(one, other, more, how):
    """If every duration of one part grows, no point of what it is put together with falls."""
    slower = Forecast(
        one.p50 + more.p50,
        tuple(sorted(a + b for a, b in zip(one.points, more.points, strict=True))),
    )
    before, after = getattr(one, how)(other), getattr(slower, how)(other)
    assert before.p50 <= after.p50
    assert all(a <= b for a, b in zip(before.points, after.points, strict=True))


@few
@given(known, known)
def test_a_whole_takes_no_less_than_its_parts(one, other):
    """Both at once take as long as the longer, one after the other at least that."""
    beside, then = one.beside(other), one.then(other)
    for part in (one, other):
        assert all(a <= b for a, b in zip(part.points, beside.points, strict=True))
    assert all(a <= b for a, b in zip(beside.points, then.points, strict=True))


@few
@given(known, known, exact.filter(bool), st.sampled_from(["then", "beside"]))
def test_the_points_are_those_of_all_pairs(one, other, seconds, how):
    """The share of pairs below any duration is that of the points, but for half a point."""
    put = {"then": lambda a, b: a + b, "beside": max}[how]
    pairs = [put(a, b) for a in one.points for b in other.points]
    true = sum(pair < seconds for pair in pairs) / len(pairs)
    assert abs(share_below(getattr(one, how)(other), seconds) - true) <= 0.5 / POINTS


@few
@given(known, known)
def test_what_may_hang_makes_all_of_it_hang(one, other):
    """The share that never finishes is one minus the product of those that do."""
    ends = [1 - forecast.points.count(inf) / POINTS for forecast in (one, other)]
    for joined in (one.then(other), one.beside(other)):
        hangs = joined.points.count(inf) / POINTS
        assert abs(hangs - (1 - ends[0] * ends[1])) <= 0.5 / POINTS


@few
@given(known, exact)
def test_what_is_not_known_makes_the_sum_unknown(forecast, p50):
    """An unknown part counts nothing in the p50, and nothing is said of how little may do."""
    unknown = Forecast(0.0, None)
    for joined in (forecast.then(unknown), unknown.then(forecast), unknown.beside(forecast)):
        assert (joined.p50, joined.points, joined.least) == (forecast.p50, None, None)


@few
@given(known)
def test_less_than_the_least_is_rare(forecast):
    """At most one point in twenty lies below the p5; beside it there is one at most."""
    assert share_below(forecast, forecast.least) <= 0.05


def test_against_simulation():
    """A chain with a fork of lognormal parts: p5 and p50 lie where 200,000 runs have them."""
    chance = np.random.default_rng(20_000)
    medians = (0.010, 0.060, 0.030, 0.015)

    def draw(median, count):
        return median * chance.lognormal(0.0, 0.4, count)

    parts = [Forecast.of(history_of(np.sort(draw(m, 256)).tolist())) for m in medians]
    whole = parts[0].then(parts[1].beside(parts[2])).then(parts[3])
    a, b, c, d = (draw(median, 200_000) for median in medians)
    runs = np.sort(a + np.maximum(b, c) + d)
    for index in (1, 8, 16, 24):
        share = np.searchsorted(runs, whole.points[index]) / len(runs)
        assert share == pytest.approx((index + 0.5) / POINTS, abs=0.06)
    assert 0.005 < np.searchsorted(runs, whole.least) / len(runs) < 0.09
