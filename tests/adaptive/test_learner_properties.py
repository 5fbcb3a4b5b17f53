"""The invariants of the learner, for random traffic of every kind.

`GRACELINE_PROFILE=thorough` runs many more examples, and longer ones.
"""

import itertools
import json
import os
import random
from math import inf, nan

import attrs
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from graceline.adaptive import Learner
from graceline.testing.traffic import Call, replay

THOROUGH = os.environ.get("GRACELINE_PROFILE") == "thorough"
LONGEST = 5000
"""Calls in the longest prefix."""


def profile(examples, thorough):
    return settings(
        max_examples=thorough if THOROUGH else examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )


seconds = st.floats(1e-4, 10.0)
anything = st.one_of(
    seconds, st.floats(), st.sampled_from([0.0, -0.0, -1.0, inf, nan, 2.85, 3.0, 1e308, 5e-324])
)
bounds = st.builds(
    lambda floor, ceiling, initial: {"floor": floor, "ceiling": ceiling, "initial": initial},
    st.sampled_from([0.001, 0.005, 0.05]),
    st.sampled_from([0.3, 3.0, 60.0]),
    st.sampled_from([0.002, 0.05, 0.2, 1.0, 10.0]),
)
ends = st.tuples(st.sampled_from(["completed", "cut", "censored", "lost"]), anything)


@attrs.frozen
class Segment:
    """Calls of one manner. They come from a seed: drawn one by one, thousands would be too many."""

    manner: str
    count: int
    scale: float
    share: float
    seed: int

    def calls(self):
        rng = random.Random(self.seed)  # noqa: S311 - traffic from a seed
        for _ in range(self.count):
            hit, latency, outside = rng.random() < self.share, self.scale, inf
            if self.manner == "spread":
                latency *= rng.lognormvariate(0, 0.5)
            elif self.manner == "hangs" and hit:
                latency = inf
            elif self.manner == "outside" and hit:
                outside = self.scale * rng.random()
            elif self.manner == "wild":
                latency = 10 ** rng.uniform(-3, 1)
            elif self.manner == "top":
                latency = 3 * rng.random()
            yield Call(latency, outside)


def traffic(longest=LONGEST):
    """Prefixes of up to `longest` calls."""
    segment = st.builds(
        Segment,
        st.sampled_from(["same", "spread", "hangs", "outside", "wild", "top"]),
        st.sampled_from([1, 3, 10, 40, 150, 600, longest // 2]),
        st.floats(-4, 0.6).map(lambda power: 10**power),
        st.sampled_from([0.02, 0.1, 0.5, 1.0]),
        st.integers(0, 2**16),
    )
    return st.lists(segment, max_size=6).map(lambda segments: Prefix(segments, longest))


@attrs.frozen
class Prefix:
    segments: list[Segment]
    longest: int

    def __iter__(self):
        calls = itertools.chain.from_iterable(segment.calls() for segment in self.segments)
        return itertools.islice(calls, self.longest)


def settle(learner, kind, value):
    """Settle a lease in any way, however odd; `lost` forgets it."""
    lease = learner.issue()
    if kind != "lost":
        getattr(lease, kind)(value)
    return lease


@profile(300, 5000)
@given(bounds, st.lists(ends, max_size=400))
def test_limits_stay_within_their_bounds(given_bounds, trace):
    """Invariant 1: floor <= limit <= ceiling whatever happens, NaN, infinity, negatives and lost leases included."""
    learner = Learner(**given_bounds)
    for kind, value in trace:
        lease = settle(learner, kind, value)
        for limit in (lease.timeout, learner.peek()):
            assert given_bounds["floor"] <= limit <= given_bounds["ceiling"]


@profile(100, 3000)
@given(bounds, st.lists(ends, max_size=200))
def test_reading_changes_nothing(given_bounds, trace):
    """Invariant 2: `peek` is pure, and the same trace gives the same limits."""
    first, second = Learner(**given_bounds), Learner(**given_bounds)
    for kind, value in trace:
        one = settle(first, kind, value)
        before = first.dump()
        assert first.peek() == first.peek()
        assert first.dump() == before
        other = settle(second, kind, value)
        assert (one.timeout, one.is_probe) == (other.timeout, other.is_probe)
    assert first.dump() == second.dump()


class Longhand(Learner):
    """A learner that takes no short path."""

    def _in_time(self, duration, at):
        self._observe(inf, duration, at, censored=False, own=False)


@profile(100, 3000)
@given(traffic(1500), st.integers(1, 8), bounds)
def test_the_short_path_comes_to_the_same(prefix, in_flight, given_bounds):
    """A call that was in time teaches the same, however short the way is on which it is learned."""
    short, long = Learner(**given_bounds), Longhand(**given_bounds)
    ways = [replay(learner, prefix, in_flight=in_flight) for learner in (short, long)]
    assert ways[0] == ways[1]
    assert short.dump() == long.dump()


@profile(150, 5000)
@given(traffic(1000), st.integers(1, 8), seconds)
def test_early_cancels_are_neutral(prefix, in_flight, later):
    """Invariant 5: cancels below the shortest completion change nothing that was learned."""
    learner = Learner()
    replay(learner, prefix, in_flight=in_flight)
    # No probe: one that is cancelled from outside has to be tried again, or it would be wasted.
    events = [length for _, length, censored in learner.history.samples() if not censored]
    before = learner.dump()
    if events:
        shortest = min([*events, 0.94 * before["state"]["base"]])  # without a boost
        for share in (0.0, 0.3, 0.999):
            learner.issue().censored(share * shortest)
    assert learner.dump() == before


@profile(300, 5000)
@given(
    bounds,
    st.integers(0, 254),
    st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    st.sampled_from(["equal", "spread", "slow"]),
    st.integers(0, 2**32),
)
@example({"floor": 0.001, "ceiling": 0.3, "initial": 0.2}, 30, 0.05, "equal", 610217)
def test_a_call_moves_the_limit_in_its_own_direction(given_bounds, count, share, manner, seed):
    """Invariant 6: without certificate, boost and full window, a completion up to the p95 never raises the limit and an own timeout never lowers it."""
    learner, rng = Learner(**given_bounds), random.Random(seed)  # noqa: S311 - traffic from a seed

    def is_plain():
        state = learner.state()
        return state["boost"] == 1.0 and state["since_certificate"] < 0

    for _ in range(count):
        quantile, before, plain = learner.history.quantile(0.95), learner.peek(), is_plain()
        lease = learner.issue()
        plain = plain and len(learner.history) < 256
        if rng.random() < share:
            lease.cut(lease.timeout)
            if plain and is_plain():
                assert learner.peek() >= before
            continue
        duration = quantile or 0.05
        if manner == "spread":
            duration = 0.05 * rng.lognormvariate(0, 0.5)
        elif manner == "slow":
            duration = before * rng.uniform(0.5, 1.5)
        lease.completed(duration)
        if plain and is_plain() and quantile is not None and duration <= quantile:
            assert learner.peek() <= before


@profile(100, 3000)
@given(traffic(), st.floats(0.0, 0.949), bounds)
def test_no_death_spiral(prefix, share, given_bounds):
    """Invariant 7: after any prefix, a constant latency below the ceiling is cut M + 2 times at most, and then never again."""
    learner = Learner(**given_bounds)
    replay(learner, prefix)
    latency = share * learner.settings.ceiling
    most, cuts = learner.state()["reprobe"], []
    for number in range(1000):
        cuts += [number for one in replay(learner, [latency]) if one.cut]
        most = max(most, learner.state()["reprobe"])
    assert len(cuts) <= most + 2
    assert all(number < 700 for number in cuts)


@profile(50, 1500)
@given(traffic(), st.floats(0.0, 0.949), st.integers(2, 64))
@example(Prefix([Segment("hangs", 600, 0.001, 0.02, 0)], LONGEST), 0.5, 29)
def test_no_death_spiral_under_load(prefix, share, in_flight):
    """Invariant 7: with C calls in flight it is cut 150 + 4 C times at most, and then never again; if a certificate lasts for more than 32 cuts, for so many more."""
    learner = Learner()
    replay(learner, prefix, in_flight=in_flight)
    # Where the ceiling is very many times the p95, hangs are looked at again less often.
    longer = learner.state()["reprobe"] - learner.settings.reprobe
    ended = replay(learner, [share * 3.0] * 3000, in_flight=in_flight)
    cuts = [number for number, one in enumerate(ended) if one.cut]
    assert len(cuts) <= 150 + 4 * in_flight + longer
    assert all(number < 2000 for number in cuts)


@profile(60, 2000)
@given(traffic(1000), st.floats(0.05, 1.0), st.integers(0, 2**32))
def test_hangs_are_certified_and_cheap(prefix, share, seed):
    """Invariant 8: of the own timeouts in hang mode, one in M + 1 ran to the ceiling, and after the first certificate no more than that."""
    learner = Learner()
    replay(learner, prefix)
    rng = random.Random(seed)  # noqa: S311 - traffic from a seed
    since, probes, own, reprobes = None, 0, 0, []
    for _ in range(2000):
        lease = learner.issue()
        reprobes.append(learner.state()["reprobe"])  # a completion may move it, too
        if rng.random() >= share:
            lease.completed(0.04)
            continue
        hung = lease.timeout >= learner.settings.hung_from
        lease.cut(lease.timeout)
        reprobes.append(learner.state()["reprobe"])
        if since is None or learner.state()["since_certificate"] < 0:
            # The last certificate has left the window, and too few calls hang to ask for another.
            since = 0 if hung else None
            continue
        own += 1
        since = 0 if hung else since + 1
        probes += lease.is_probe  # the ordinary limit may be the ceiling too, for slow calls
        assert since <= max(reprobes) + 1
    if own:
        assert probes <= own / (min(reprobes) + 1) + 1


@profile(150, 5000)
@given(traffic(), st.integers(0, 300), st.floats(0.0, 5.0), bounds)
def test_the_limit_follows_what_is_there(prefix, lost, latency, given_bounds):
    """Invariant 9: after N + 40 completions at x the limit is not above 4 x, or is the floor, lost leases or not."""
    learner = Learner(**given_bounds)
    replay(learner, prefix, in_flight=7)
    for _ in range(lost):
        learner.issue()
    for _ in range(256 + 40):
        learner.issue().completed(latency)
    assert learner.peek() <= max(learner.settings.floor, 4.0 * latency * (1 + 1e-12))


@profile(100, 5000)
@given(bounds, traffic(600), st.integers(-8, 8), st.integers(1, 8))
def test_the_unit_does_not_matter(given_bounds, prefix, power, in_flight):
    """Invariant 10: all durations and bounds times 2^k give exactly the limits times 2^k."""
    factor = 2.0**power
    scaled = {name: value * factor for name, value in given_bounds.items()}
    calls = [Call(call.latency * factor, call.outside * factor) for call in prefix]
    first = replay(Learner(**given_bounds), prefix, in_flight=in_flight)
    second = replay(Learner(**scaled), calls, in_flight=in_flight)
    assert [one.limit * factor for one in first] == [one.limit for one in second]


@profile(100, 3000)
@given(bounds, traffic(1000), traffic(300), st.integers(1, 8))
def test_a_loaded_learner_goes_on_as_the_original(given_bounds, prefix, rest, in_flight):
    """Invariant 11: through JSON and back, any further trace gives the same limits."""
    original = Learner(**given_bounds)
    replay(original, prefix, in_flight=in_flight)
    document = json.loads(json.dumps(original.dump(), allow_nan=False))
    loaded = Learner.load(document)
    assert loaded.dump() == original.dump()
    assert replay(loaded, rest, in_flight=in_flight) == replay(original, rest, in_flight=in_flight)
    assert loaded.dump() == original.dump()


@pytest.mark.parametrize("alpha", [0.01, 0.03])
def test_the_rate_of_false_timeouts_is_alpha(alpha):
    """Invariant 13: stationary traffic is cut at the rate that was asked for, within 40 %."""
    rates = []
    for seed in range(20 if THOROUGH else 5):
        rng = random.Random(seed)  # noqa: S311 - traffic from a seed
        calls = [0.05 * rng.lognormvariate(0, 0.5) for _ in range(20_000)]
        ended = replay(Learner(alpha=alpha), calls)
        rates.append(sum(one.cut for one in ended) / len(ended))
    assert all(0.6 * alpha <= rate <= 1.4 * alpha for rate in rates), rates
