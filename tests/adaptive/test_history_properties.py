"""The window against scipy's Kaplan-Meier estimate, and what merging promises."""

import itertools
import json
import os
from math import inf, nan

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf

from graceline.adaptive import DurationHistory

THOROUGH = os.environ.get("GRACELINE_PROFILE") == "thorough"


def profile(examples, thorough):
    return settings(
        max_examples=thorough if THOROUGH else examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )


few = st.integers(0, 12).map(lambda number: number / 8)
lengths = st.one_of(few, st.floats(0.0, 100.0))
samples = st.lists(st.tuples(lengths, st.booleans()), max_size=60)
shares = st.sampled_from([0.05, 0.5, 0.9, 0.95, 0.99])


def history_of(pairs, window=256):
    history = DurationHistory(window)
    for duration, censored in pairs:
        history.add(duration, censored=censored)
    return history


def oracle(history, p):
    """The quantile and the tail by scipy; None where the estimate does not reach the share."""
    kept = history.samples()
    events = [duration for _, duration, censored in kept if not censored]
    right = [duration for _, duration, censored in kept if censored]
    if not events:
        return None, 1.0 if right else 0.0
    survival = ecdf(CensoredData(uncensored=events, right=right)).sf
    reached = np.nonzero(survival.probabilities <= (1.0 - p) * (1.0 + 1e-9))[0]
    quantile = float(survival.quantiles[reached[0]]) if len(reached) else None
    last = max(right, default=-1.0) >= max(events)
    return quantile, float(survival.probabilities[-1]) if last else 0.0


@profile(600, 10_000)
@given(samples, shares, st.sampled_from([3, 20, 256]))
def test_the_quantile_is_that_of_kaplan_and_meier(pairs, p, window):
    """Invariant 3: quantile and tail are scipy's for the same window, and None exactly if the share is not identified."""
    history = history_of(pairs, window)
    quantile, tail = oracle(history, p)
    assert history.quantile(p) == quantile
    assert history.tail() == pytest.approx(tail, abs=1e-9)
    assert history.tail() <= history.censored_share * (1 + 1e-12)


@profile(200, 5000)
@given(samples, shares, st.integers(0, 20))
def test_the_quantile_is_that_of_now(pairs, p, count):
    """A question does not hold on to its answer: every sample that comes or goes counts for the next one."""
    history = DurationHistory(10)
    for duration, censored in pairs:
        history.add(duration, censored=censored)
        copy = DurationHistory.load(history.dump())
        assert (history.quantile(p), history.tail()) == (copy.quantile(p), copy.tail())
    history.keep_last(count)
    copy = DurationHistory.load(history.dump())
    assert (history.quantile(p), history.tail()) == (copy.quantile(p), copy.tail())


@profile(200, 5000)
@given(samples, shares)
def test_the_quantile_of_those_that_finish(pairs, p):
    """With the tail taken for hung the quantile is identified whenever anything has completed."""
    history = history_of(pairs)
    tail = history.tail()
    quantile = history.quantile(p * (1.0 - tail))
    assert (quantile is None) == (history.completions == 0)
    if quantile is not None:
        assert quantile == oracle(history, p * (1.0 - tail))[0]


def at_least(later, earlier):
    return later is None or (earlier is not None and later >= earlier)


@profile(600, 20_000)
@given(samples, shares, st.data())
def test_slower_is_never_faster(pairs, p, data):
    """Invariant 4: censoring in place, censoring later, or a slower event that overtakes no censored sample never lowers the quantile."""
    assume(pairs)
    at = data.draw(st.integers(0, len(pairs) - 1))
    duration, censored = pairs[at]
    longer = duration + data.draw(st.floats(0.0, 10.0))
    if not censored and data.draw(st.booleans()):
        following = min((d for d, open_ in pairs if open_ and d >= duration), default=inf)
        changed = (min(longer, following), False)
    else:
        changed = (longer if censored else duration, True)
    first = everything(pairs)
    second = everything([*pairs[:at], changed, *pairs[at + 1 :]])
    assert at_least(second.quantile(p), first.quantile(p))


def everything(pairs):
    """A history that keeps early censored samples too, as after a load."""
    rows = [[number, duration, censored] for number, (duration, censored) in enumerate(pairs)]
    return DurationHistory.load({"window": 256, "samples": rows})


@profile(300, 10_000)
@given(samples, shares, st.floats(0.0, 0.999))
def test_early_cancels_are_not_kept(pairs, p, share):
    """Invariant 5: a censored sample below the shortest event moves no quantile, kept or not."""
    history = history_of(pairs)
    events = [duration for duration, censored in pairs if not censored]
    early = share * min(events, default=0.0)
    assume(early < min(events, default=0.0))  # the smallest floats round up
    assert everything([*pairs, (early, True)]).quantile(p) == everything(pairs).quantile(p)
    before = history.dump()
    assert history.add(early, censored=True) is False
    assert history.dump() == before


stamped = st.lists(st.tuples(st.integers(0, 40), few, st.booleans()), max_size=30)
histories = st.builds(
    lambda rows, window: DurationHistory.load({"window": window, "samples": rows}),
    stamped,
    st.sampled_from([1, 5, 256]),
)


@profile(300, 20_000)
@given(histories, histories, histories)
def test_merging_needs_no_order(one, two, three):
    """Invariant 12: merging is commutative, associative and idempotent."""
    assert one.merge(two) == two.merge(one)
    assert one.merge(two).merge(three) == one.merge(two.merge(three))
    assert one.merge(one) == one
    assert one.merge(two).merge(two) == one.merge(two)


@profile(200, 5000)
@given(samples, st.integers(0, 60), st.sampled_from([1, 5, 256]), shares)
def test_newer_samples_are_merged_like_any_others(pairs, split, window, p):
    """A history and what came after it make the same one, in either order, as all their samples together."""
    samples = [(float(number), *pair) for number, pair in enumerate(pairs)]
    before, after = DurationHistory.of(samples[:split]), DurationHistory.of(samples[split:], window)
    for merged in (before.merge(after), after.merge(before)):
        expected = DurationHistory.of(samples, window)
        assert merged == expected
        assert (merged.quantile(p), merged.tail()) == (expected.quantile(p), expected.tail())
        assert merged.add(50.0) == expected.add(50.0)
        assert merged.dump() == expected.dump()


@profile(200, 5000)
@given(histories, samples, shares)
def test_a_loaded_history_goes_on_as_the_original(history, pairs, p):
    """Invariant 11 for the window: through JSON and back nothing is different, then or later."""
    loaded = DurationHistory.load(json.loads(json.dumps(history.dump(), allow_nan=False)))
    assert loaded == history
    for duration, censored in pairs:
        assert loaded.add(duration, censored=censored) == history.add(duration, censored=censored)
    assert loaded == history
    assert loaded.quantile(p) == history.quantile(p)
    assert loaded.tail() == history.tail()


@profile(200, 5000)
@given(st.lists(st.tuples(few, st.booleans(), st.one_of(st.none(), st.floats(-5, 5))), max_size=40))
def test_stamps_grow(rows):
    """Stamps grow strictly within a history, whatever stamps it is given, so its order is that of arrival."""
    history = DurationHistory(1000)
    kept = [
        (duration, censored)
        for duration, censored, at in rows
        if history.add(duration, censored=censored, at=at)
    ]
    stamps = [at for at, _, _ in history.samples()]
    assert all(low < high for low, high in itertools.pairwise(stamps))
    assert [(duration, censored) for _, duration, censored in history.samples()] == kept


def test_the_oldest_leaves_a_full_window():
    """A full window keeps the newest samples, and its quantile is theirs."""
    history = history_of([(9.0, False), (8.0, True), (1.0, False), (2.0, False)], window=2)
    assert [(d, c) for _, d, c in history.samples()] == [(1.0, False), (2.0, False)]
    assert history.quantile(1.0) == 2.0
    assert len(history) == history.completions == 2
    assert history.longest_censored == -inf


def test_samples_after_a_stamp():
    """`samples(after)` gives what is newer than the stamp."""
    history = DurationHistory()
    for at in (10.0, 20.0, 30.0):
        history.add(at, at=at)
    assert history.samples(after=20.0) == [(30.0, 30.0, False)]
    assert history.newest == 30.0
    assert DurationHistory().newest == -inf


@pytest.mark.parametrize("duration", [-1.0, nan, inf])
def test_what_is_no_duration_is_refused(duration):
    """Negative, infinite and unknown durations are errors, and leave the window alone."""
    history = DurationHistory()
    with pytest.raises(ValueError, match="is not a number of seconds >= 0"):
        history.add(duration)
    assert len(history) == 0


@pytest.mark.parametrize("at", [nan, inf, -inf])
def test_what_is_no_stamp_is_refused(at):
    """A stamp has a place in the order: NaN and infinities are errors."""
    with pytest.raises(ValueError, match="is no stamp"):
        DurationHistory().add(1.0, at=at)


def test_negative_zero_is_zero():
    """A duration of -0.0 is a completion or a cut like that of 0.0."""
    history = history_of([(-0.0, True), (-0.0, False)])
    assert [(d, c) for _, d, c in history.samples()] == [(0.0, True), (0.0, False)]
    assert history.completions == 1


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"window": 3, "samples": [[1]]},
        {"window": "x", "samples": []},
        {"window": 0, "samples": []},
        {"window": 3, "samples": [[1, nan, 0]]},
        {"window": 3, "samples": [[1, -1.0, 0]]},
        {"window": 3, "samples": None},
    ],
)
def test_what_is_no_history_is_refused(document):
    """A document that `dump` did not write is a ValueError that says so."""
    with pytest.raises(ValueError, match=r"history|window"):
        DurationHistory.load(document)


def test_a_window_needs_room():
    """A window of no samples is refused, with what would be right."""
    with pytest.raises(ValueError, match="write at least 1"):
        DurationHistory(0)


def test_a_history_is_no_key_and_equals_only_histories():
    """It changes, so it has no hash; compared with something else it is unequal."""
    assert DurationHistory() != 3
    with pytest.raises(TypeError):
        hash(DurationHistory())
    assert repr(history_of([(1.0, False), (2.0, True)])) == "<2 of 256 durations, 1 censored>"
