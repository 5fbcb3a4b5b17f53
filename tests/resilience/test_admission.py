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
from graceline.resilience import Load, Predictor, Refusal, expected_wait, retry_after

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


def arrival(predictor=None, **options):
    usual = {"remaining": 0.5, "p50": 0.25, "samples": 20}
    return (predictor or Predictor()).on_arrival(BUSY, **(usual | options))


def test_what_cannot_be_in_time_is_refused_on_arrival():
    """The refusal says the same reason for all, the sum that was done, and when to come back."""
    refusal = arrival()
    assert refusal == Refusal(
        "predicted too late",
        "500ms are left, and about 400ms in the queue and 250ms of work are expected",
        pytest.approx(0.15),
    )
    assert arrival(remaining=-1).detail.startswith("0s are left")


@pytest.mark.parametrize(
    "options",
    [{"remaining": 0.65}, {"remaining": math.inf}, {"samples": 19}, {"p50": None}, {"p50": 0.1}],
)
def test_what_may_be_in_time_is_let_in(options):
    """Exactly enough time is enough; below 20 samples nobody can tell."""
    assert arrival(**options) is None


def test_one_in_ten_is_let_in_all_the_same():
    """Otherwise nothing would ever be measured again."""
    predictor = Predictor()
    answers = [arrival(predictor) is None for _ in range(30)]
    assert answers == ([False] * 9 + [True]) * 3


def learned(share):
    """Durations that are spread evenly over a second."""
    return share


def head(predictor=None, **options):
    usual = {"remaining": 0.04, "budget": 0.8, "quantile": learned, "samples": 20}
    return (predictor or Predictor()).at_head(BUSY, **(usual | options))


def test_what_is_hopeless_is_dropped_at_the_head():
    """Less than a p5 is left: 95 % would not finish."""
    assert head() == Refusal(
        "too late to start",
        "40ms are left after the queue, and 95 % of the runs take more than 50ms",
        pytest.approx(0.1),
    )
    assert head(remaining=-1).detail.startswith("0s are left")


@pytest.mark.parametrize(
    "options",
    [
        {"remaining": 0.05},
        {"remaining": 0.3},
        {"remaining": math.inf},
        {"samples": 19},
        {"quantile": lambda share: None},
    ],
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
    ("p50", "budget", "full", "seconds"),
    [
        (0.25, 0.5, False, 0.15),
        (0.25, 0.5, True, 0.15),
        (0.25, 10.0, False, 0.0),
        (0.25, 10.0, True, 0.05),
        (0.25, math.inf, True, 0.05),
        (0.5, 0.5, False, 0.4),
        (0.51, 0.5, False, None),
        (None, 0.5, True, None),
    ],
)
def test_when_a_new_try_makes_sense(p50, budget, full, seconds):
    """When the queue is short enough, and has a place; never if an idle engine is too slow too."""
    answer = retry_after(BUSY, p50, budget, queue_full=full)
    assert answer is None if seconds is None else answer == pytest.approx(seconds)


counts = st.integers(0, 1000)
seconds = st.floats(0, 1e4)


@repeatable
@given(counts, st.integers(1, 100), counts, seconds, seconds, seconds)
def test_a_refusal_that_says_when_is_worth_heeding(active, slots, queued, held, p50, remaining):
    """With the wait shorter by `retry_after` the same run would have been let in."""
    load = Load(active, slots, queued, held)
    refusal = Predictor().on_arrival(load, remaining=remaining, p50=p50, samples=20)
    if refusal is None:
        assert expected_wait(load) + p50 <= remaining
    elif refusal.retry_after is None:
        assert p50 > remaining
    else:
        assert refusal.retry_after > 0
        later = expected_wait(load) - refusal.retry_after + p50
        assert later == pytest.approx(remaining, abs=1e-6)


SLOTS = 10
BUDGET = 0.5
SIGMA = 0.5


@attrs.define
class Simulated:
    """A queue in front of ten slots, with lognormal durations of a median of 100 ms.

    Every run has 500 ms; at its deadline it leaves the queue or is cut.
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
    held: float = 0.1
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
        return Load(len(self.running), SLOTS, len(self.queue), self.held)

    def submit(self, deadline, duration):
        self.submitted += 1
        while self.queue and self.queue[0][0] <= self.now:
            self.queue.popleft()
        if self.predicted and self.predictor.on_arrival(
            self.load(),
            remaining=BUDGET,
            p50=self.history.quantile(0.5),
            samples=self.history.completions,
        ):
            return
        self.queue.append((deadline, duration))
        self.fill()

    def fill(self):
        while self.queue and len(self.running) < SLOTS:
            deadline, duration = self.queue.popleft()
            if deadline <= self.now or (
                self.predicted
                and self.predictor.at_head(
                    self.load(),
                    remaining=deadline - self.now,
                    budget=BUDGET,
                    quantile=self.history.quantile,
                    samples=self.history.completions,
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
        if self.ended % 16 == 0 and self.history.completions >= 20:
            points = [self.history.quantile((index + 0.5) / 16) for index in range(16)]
            self.held = sum(BUDGET if point is None else point for point in points) / 16
        self.used += took
        self.wasted += took * cut
        self.in_time += not cut
        self.fill()


@pytest.mark.parametrize("seed", range(3))
def test_at_twice_the_capacity_most_of_what_is_possible_is_done(seed):
    """Half of the runs could be in time: in order of arrival a fifth is, else more than two fifths."""
    in_order, wasted = Simulated(predicted=False, seed=seed).play(6000, load=2.0)
    assert in_order < 0.25
    assert wasted > 0.7
    predicted, wasted = Simulated(predicted=True, seed=seed).play(6000, load=2.0)
    assert predicted > 0.42
    assert wasted < 0.30


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
    slow, _ = world.play(3000, load=0.6, median=0.4)
    assert slow < 0.4
    world.play(3000, load=0.6)
    well, _ = world.play(3000, load=0.6)
    assert well > 0.98
