"""When a second copy is sent, and what it is paid from."""

from math import inf

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceline.definitions import Hedge
from graceline.resilience import HedgeBudget, NoHedge, hedge_delay, why_not_hedge


class Pool:
    """Stands for the retry budget of a node."""

    def __init__(self, tokens=1000):
        self.tokens = tokens
        self.returned = []

    def take(self, now):
        if self.tokens == 0:
            return False
        self.tokens -= 1
        return True

    def give_back(self, taken):
        self.tokens += 1
        self.returned.append(taken)


def delay(hedge=Hedge(), **more):  # noqa: B008 - frozen
    known = {"samples": 50, "p95": 0.08, "p50": 0.03, "remaining": inf}
    return hedge_delay(hedge, **(known | more))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, 0.08),
        ({"p95": 0.002}, 0.01),
        ({"samples": 49}, NoHedge.TOO_FEW_SAMPLES),
        ({"p95": None}, NoHedge.TOO_FEW_SAMPLES),
        ({"remaining": 0.125, "p50": 0.03}, 0.08),
        ({"remaining": 0.1}, NoHedge.TOO_LITTLE_TIME),
        ({"remaining": 0.08, "p50": None}, NoHedge.TOO_LITTLE_TIME),
        ({"remaining": 0.1, "p50": None}, 0.08),
    ],
)
def test_a_copy_is_planned_at_the_p95(known, expected):
    """At the p95 but not before 10 ms, from 50 samples on, if half of the copies would be done."""
    assert delay(**known) == expected


def test_a_stated_delay_needs_no_samples():
    """Whoever states it knows the service; what is left of the time still matters."""
    hedge = Hedge(delay="5ms")
    assert delay(hedge, samples=0, p95=None, p50=None) == 0.005
    assert delay(hedge, samples=0, p95=None, remaining=0.02) is NoHedge.TOO_LITTLE_TIME


def test_fewer_samples_may_do():
    """`min_samples` is what the policy says."""
    assert delay(Hedge(min_samples=3), samples=3) == 0.08


@attrs.frozen
class Situation:
    breaker_closed: bool = True
    saturated: bool = False
    remaining: float = inf
    p50: float | None = 0.03


@pytest.mark.parametrize(
    ("situation", "reason"),
    [
        (Situation(breaker_closed=False), NoHedge.BREAKER_NOT_CLOSED),
        (Situation(saturated=True), NoHedge.SATURATED),
        (Situation(remaining=0.02), NoHedge.TOO_LITTLE_TIME),
        (Situation(remaining=0.0, p50=None), NoHedge.TOO_LITTLE_TIME),
    ],
)
def test_a_copy_that_would_do_harm_is_not_sent(situation, reason):
    """The reason is named, and no token is taken."""
    pool = Pool()
    assert why_not_hedge(1.0, budget=pool, **attrs.asdict(situation)) is reason
    assert pool.tokens == 1000


def test_a_copy_is_paid_for():
    """It takes a token where nothing speaks against it, and is not sent without one."""
    pool = Pool(tokens=1)
    sent = attrs.asdict(Situation(remaining=0.03))
    assert why_not_hedge(1.0, budget=pool, **sent) is None
    assert pool.tokens == 0
    assert why_not_hedge(1.0, budget=pool, **sent) is NoHedge.BUDGET_EMPTY


def test_the_reasons_read_as_the_design_says():
    """They stand in metrics and events as they are."""
    assert [str(reason) for reason in NoHedge] == [
        "too few samples",
        "breaker not closed",
        "saturated",
        "too little time",
        "budget empty",
    ]


def test_one_call_in_twenty_is_copied():
    """A hundred calls that would all like a copy get five."""
    budget, sent = HedgeBudget(0.05, Pool()), 0
    for _ in range(100):
        budget.called()
        sent += budget.take(0.0)
    assert sent == 5


def test_an_outage_is_not_met_with_retries_and_copies():
    """Where the retries have emptied the pool no copy is sent, and none of its own tokens goes."""
    pool = Pool(tokens=0)
    budget = HedgeBudget(1.0, pool)
    budget.called()
    assert not budget.take(0.0)
    pool.tokens = 1
    assert budget.take(0.0)


def test_its_own_tokens_come_first():
    """A copy that the share of its own forbids takes nothing from the retries."""
    pool = Pool()
    assert not HedgeBudget(0.5, pool).take(0.0)
    assert pool.tokens == 1000


def test_a_copy_that_did_not_start_is_paid_back():
    """Both get their token back, the pool with the instant at which it was taken."""
    pool = Pool(tokens=1)
    budget = HedgeBudget(1.0, pool)
    budget.called()
    assert budget.take(7.0)
    budget.give_back(7.0)
    assert pool.returned == [7.0]
    assert budget.take(8.0)
    assert not budget.take(8.0)


def test_not_much_is_saved_up():
    """After any number of calls without copies, ten may be sent at once."""
    budget = HedgeBudget(1.0, Pool())
    for _ in range(1000):
        budget.called()
    assert sum(budget.take(0.0) for _ in range(100)) == 10


def test_what_is_paid_back_is_not_saved_up_either():
    """A copy that did not start leaves no more than ten to send."""
    budget = HedgeBudget(1.0, Pool())
    for _ in range(10):
        budget.called()
    assert budget.take(0.0)
    budget.called()
    budget.give_back(0.0)
    assert sum(budget.take(0.0) for _ in range(100)) == 10


@given(
    percent=st.integers(1, 100),
    steps=st.lists(st.integers(-3, 10)),
)
def test_copies_are_never_more_than_their_share(percent, steps):
    """Of all calls so far, however calls and copies alternate; nothing is lost to rounding."""
    budget = HedgeBudget(percent / 100, Pool())
    calls = copies = 0
    for step in steps:
        for _ in range(step):
            budget.called()
            calls += 1
        for _ in range(-step):
            copies += budget.take(0.0)
        assert 100 * copies <= percent * calls
    for _ in range(100):
        budget.called()
    assert budget.take(0.0), "100 calls always pay for one copy"
