"""Predicted admission: who is refused, who is let through, and what that is good for."""

import heapq
import math
import random
from collections import deque

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline.adaptive import DurationHistory
from graceline.resilience import Expected, Load, Predictor, Refusal, retry_after
from graceline.resilience.admission import expected_wait

repeatable = settings(max_examples=300, derandomize=True, database=None, deadline=None)

BUSY = Load(active=4, slots=4, queued=7, held=0.2)
"""The eighth end of a run is due in 0.4 s."""


@pytest.mark.parametrize(
    ("load", "wait"),
    [
        (BUSY, 0.4),
        (attrs.evolve(BUSY, queued=0), 0.05),
        (attrs.evolve(BUSY, active=3, queued=0), 0.0),
        (attrs.evolve(BUSY, slots=math.inf), 0.0),
        (attrs.evolve(BUSY, held=0.0), 0.0),
    ],
)
def test_the_wait_is_that_of_the_runs_before(load, wait):
    """So many ends of runs as there are in the queue, and one more; none if a slot is free."""
    assert expected_wait(load) == pytest.approx(wait)


EXPECTED = Expected(least=0.05, typical=0.25, worth=0.4, held=0.2)


def spread(share):
    """Durations that are spread evenly over a second."""
    return share


def test_what_is_expected_follows_from_the_distribution():
    """Evenly spread durations: p5, p50, mean; nothing is gained by cutting, so worth is the p95."""
    expected = Expected.of(spread, 1.0, 20)
    assert attrs.astuple(expected)[:2] == (0.05, 0.5)
    assert expected.held == pytest.approx(0.5, abs=0.02)
    assert expected.worth == 0.95


def test_below_twenty_runs_nothing_is_expected():
    """Nobody can tell before 20 runs have completed."""
    assert Expected.of(spread, 1.0, 19) is None


def test_a_long_tail_is_not_worth_a_slot():
    """Where one run in five takes a hundred times as long, slots finish most if it is left out."""
    expected = Expected.of(lambda share: 0.01 if share <= 0.8 else 1.0, 1.0, 20)
    assert expected.worth == expected.typical == 0.01
    assert expected.held == pytest.approx(0.2, abs=0.03)


def test_what_is_not_known_takes_at_least_as_long_as_anything_seen():
    """Cut runs count with the longest duration, so that `held` does not come out too short."""
    expected = Expected.of(lambda share: 0.1 if share <= 0.4 else None, 1.0, 20)
    assert attrs.astuple(expected)[:3] == (0.1, 1.0, 1.0)
    assert expected.held == pytest.approx(0.64, abs=0.03)
    assert Expected.of(lambda share: None, 1.0, 20) == Expected(1.0, 1.0, 1.0, pytest.approx(1))


def test_durations_of_nothing_are_worth_nothing():
    """Runs that end at once divide by no zero."""
    assert Expected.of(lambda share: 0.0, 0.0, 20) == Expected(0.0, 0.0, 0.0, 0.0)


durations = st.lists(st.floats(0, 1e3), min_size=20, max_size=60)


@repeatable
@given(durations, st.lists(st.floats(0, 1e3), max_size=30))
def test_what_is_expected_lies_in_order(completed, cut):
    """p5 <= p50 <= worth, and all, the mean too, lie between the shortest and the longest."""
    history = DurationHistory()
    for seconds in completed:
        history.add(seconds)
    for seconds in cut:
        history.add(seconds, censored=True)
    longest = max(completed + cut)
    expected = Expected.of(history.quantile, longest, history.completions)
    order = [min(completed), expected.least, expected.typical, expected.worth, longest]
    assert order == sorted(order)
    assert order[0] <= expected.held * (1 + 1e-9)
    assert expected.held <= longest * (1 + 1e-9)


def arrival(predictor=None, *, load=BUSY, **options):
    usual = {"remaining": 0.6, "expected": EXPECTED}
    return (predictor or Predictor()).on_arrival(load, **(usual | options))


def test_what_cannot_be_in_time_is_refused_on_arrival():
    """The refusal says the same reason for all, the sum that was done, and when to come back."""
    refusal = arrival()
    assert refusal == Refusal(
        "predicted too late",
        "600ms are left, and about 400ms in the queue and 400ms for its work are needed",
        pytest.approx(0.2),
    )
    assert str(refusal) == f"predicted too late: {refusal.detail}"
    assert arrival(remaining=-1).detail.startswith("0s are left")


IDLE = Load(active=3, slots=4, queued=0, held=0.2)


@pytest.mark.parametrize(
    "options",
    [
        {"remaining": 0.8},
        {"remaining": math.inf},
        {"expected": None},
        {"expected": attrs.evolve(EXPECTED, worth=0.15)},
        {"load": IDLE, "remaining": 0.25},
    ],
)
def test_what_may_be_in_time_is_let_in(options):
    """Exactly enough time is enough; for a slot that is free, which nobody waits for, the p50 is."""
    assert arrival(**options) is None


def test_less_than_the_p50_is_refused_even_if_a_slot_is_free():
    """It says that there is nothing in the queue, and never to try the same again."""
    refusal = arrival(load=IDLE, remaining=0.2)
    assert "about 0s in the queue and 250ms for its work" in refusal.detail
    assert refusal.retry_after is None


def test_one_in_ten_is_let_in_all_the_same():
    """Otherwise nothing would ever be measured again."""
    predictor = Predictor()
    answers = [arrival(predictor) is None for _ in range(30)]
    assert answers == ([False] * 9 + [True]) * 3


def head(predictor=None, **options):
    usual = {"remaining": 0.04, "budget": 0.8, "expected": EXPECTED}
    return (predictor or Predictor()).at_head(BUSY, **(usual | options))


def test_what_is_hopeless_is_dropped_at_the_head():
    """Less than a p5 is left: 95 % would not finish."""
    assert head(budget=0.7) == Refusal(
        "too late to start",
        "40ms are left after the queue, and 95 % of the runs take more than 50ms",
        pytest.approx(0.1),
    )
    assert head(remaining=-1).detail.startswith("0s are left")


@pytest.mark.parametrize(
    "options", [{"remaining": 0.05}, {"remaining": math.inf}, {"expected": None}]
)
def test_what_has_a_chance_gets_its_slot(options):
    """A chance of 5 % is one, also where a p50 is far out of reach; so is what nobody knows."""
    assert head(**options) is None


def test_one_in_sixteen_gets_its_slot_all_the_same():
    """The gate counts on its own, whatever was refused on arrival."""
    predictor = Predictor()
    for _ in range(5):
        arrival(predictor)
    answers = [head(predictor) is None for _ in range(32)]
    assert answers == ([False] * 15 + [True]) * 2


@pytest.mark.parametrize(
    ("expected", "budget", "full", "seconds"),
    [
        (EXPECTED, 0.6, False, 0.2),
        (EXPECTED, 0.6, True, 0.2),
        (EXPECTED, 10.0, False, 0.0),
        (EXPECTED, 10.0, True, 0.05),
        (EXPECTED, math.inf, True, 0.05),
        (EXPECTED, 0.3, False, 0.4),
        (EXPECTED, 0.24, False, None),
        (None, 0.5, True, None),
    ],
)
def test_when_a_new_try_makes_sense(expected, budget, full, seconds):
    """When the queue is short enough, and has a place; never if an idle engine is too slow too."""
    answer = retry_after(BUSY, expected, budget, queue_full=full)
    assert answer is None if seconds is None else answer == pytest.approx(seconds)


counts = st.integers(0, 1000)
seconds = st.floats(0, 1e4)


@repeatable
@given(counts, st.integers(1, 100), counts, seconds, seconds, seconds, seconds)
def test_a_refusal_that_says_when_is_worth_heeding(active, slots, queued, held, p50, more, left):
    """With the wait shorter by `retry_after` the same run would have been let in."""
    load = Load(active, slots, queued, held)
    expected = Expected(0.0, p50, p50 + more, held)
    refusal = Predictor().on_arrival(load, remaining=left, expected=expected)
    wait = expected_wait(load)
    if refusal is None:
        assert wait + p50 <= left
    elif refusal.retry_after is None:
        assert p50 > left
    else:
        assert 0 < refusal.retry_after < math.inf
        later = wait - refusal.retry_after
        assert later == pytest.approx(max(0.0, left - expected.worth), abs=1e-6)


SLOTS = 10
BUDGET = 0.4
SIGMA = 0.5


@attrs.define
class Simulated:
    """A queue in front of ten slots, with lognormal durations of a median of 100 ms.

    Every run has 400 ms; at its deadline it leaves the queue or is cut.
    """

    predicted: bool
    seed: int
    in_time: int = 0
    submitted: int = 0
    used: float = 0.0
    wasted: float = 0.0
    queue: deque = attrs.Factory(deque)
    running: list = attrs.Factory(list)
    history: DurationHistory = attrs.Factory(DurationHistory)
    predictor: Predictor = attrs.Factory(Predictor)
    ended: int = 0
    expected: Expected | None = None
    now: float = 0.0

    def play(self, runs, load, median=0.1):
        rng = random.Random(self.seed)  # noqa: S311 - traffic from a seed
        self.in_time = self.submitted = self.used = self.wasted = 0
        rate = load * SLOTS / (0.1 * math.exp(SIGMA**2 / 2))
        while self.submitted < runs:
            arrives = self.now + rng.expovariate(rate)
            while self.running and self.running[0][0] <= arrives:
                self.end()
            self.now = arrives
            self.submit(arrives + BUDGET, rng.lognormvariate(math.log(median), SIGMA))
        return self.in_time / self.submitted, self.wasted / self.used

    def load(self):
        return Load(len(self.running), SLOTS, len(self.queue), self.expected.held)

    def submit(self, deadline, duration):
        self.submitted += 1
        while self.queue and self.queue[0][0] <= self.now:
            self.queue.popleft()
        if self.expected is not None and self.predictor.on_arrival(
            self.load(), remaining=BUDGET, expected=self.expected
        ):
            return
        self.queue.append((deadline, duration))
        self.fill()

    def fill(self):
        while self.queue and len(self.running) < SLOTS:
            deadline, duration = self.queue.popleft()
            if deadline <= self.now or (
                self.expected is not None
                and self.predictor.at_head(
                    self.load(),
                    remaining=deadline - self.now,
                    budget=BUDGET,
                    expected=self.expected,
                )
            ):
                continue
            end = min(self.now + duration, deadline)
            heapq.heappush(self.running, (end, self.now, self.now + duration > deadline))

    def end(self):
        self.now, started, cut = heapq.heappop(self.running)
        took = self.now - started
        self.history.add(took, censored=cut)
        self.ended += 1
        if self.predicted and self.ended % 16 == 0:
            history = self.history
            self.expected = Expected.of(history.quantile, BUDGET, history.completions)
        self.used += took
        self.wasted += took * cut
        self.in_time += not cut
        self.fill()


@pytest.mark.parametrize("seed", range(3))
def test_at_twice_the_capacity_most_of_what_is_possible_is_done(seed):
    """Half of the runs could be in time: in order of arrival a fifth is, else nearly all of these."""
    in_order, wasted = Simulated(predicted=False, seed=seed).play(6000, load=2.0)
    assert in_order < 0.25
    assert wasted > 0.7
    predicted, wasted = Simulated(predicted=True, seed=seed).play(6000, load=2.0)
    assert predicted > 0.47
    assert wasted < 0.15


@pytest.mark.parametrize("seed", range(3))
def test_below_the_capacity_hardly_anybody_is_refused(seed):
    """At 60 % of the load what is in time without a prediction is in time with it."""
    plain, _ = Simulated(predicted=False, seed=seed).play(3000, load=0.6)
    predicted, _ = Simulated(predicted=True, seed=seed).play(3000, load=0.6)
    assert plain > 0.98
    assert predicted > plain - 0.01


@pytest.mark.parametrize("seed", range(3))
def test_a_slow_time_does_not_lock_the_door(seed):
    """After durations of nearly all that a run has, and much refusing, all are let in again."""
    world = Simulated(predicted=True, seed=seed)
    slow, _ = world.play(3000, load=0.6, median=0.35)
    assert slow < 0.4
    world.play(3000, load=0.6)
    well, _ = world.play(3000, load=0.6)
    assert well > 0.98
