"""The retry budget against a small model, and in outages."""

import copy
import math
import random
import sys

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from graceline.resilience import RetryBudget


def test_a_new_budget_has_three_tokens():
    """What never succeeded may be tried again three times, and not a fourth time."""
    budget = RetryBudget()
    assert [budget.take(7.0) for _ in range(4)] == [True, True, True, False]
    assert budget.tokens(7.0) == 0.0


def test_five_successes_pay_for_a_retry():
    """Each deposits a fifth, exactly: four are not enough."""
    budget = RetryBudget()
    taken = []
    for _ in range(3):
        assert budget.take(0.0)
    for _ in range(10):
        budget.deposit(0.0)
        taken.append(budget.take(0.0))
    assert taken == ([False] * 4 + [True]) * 2


@pytest.mark.parametrize(("later", "left"), [(9.999, 4.0), (10.0, 3.0), (1e6, 3.0)])
def test_a_token_lives_for_ten_seconds(later, left):
    """What five successes paid is gone with the tenth second; the reserve stays."""
    budget = RetryBudget()
    for _ in range(5):
        budget.deposit(0.0)
    assert budget.tokens(later) == left


def test_the_reserve_comes_back():
    """What was taken expires as well: a node that nobody calls often keeps its three tries."""
    budget = RetryBudget()
    assert [budget.take(0.5) for _ in range(4)] == [True, True, True, False]
    assert not budget.take(9.5)
    assert [budget.take(10.0) for _ in range(4)] == [True, True, True, False]


def test_what_was_taken_on_credit_is_owed_until_it_expires():
    """A token may outlive the successes that paid for it; the balance is below 0 for so long."""
    budget = RetryBudget()
    for _ in range(10):
        budget.deposit(0.0)
    assert [budget.take(9.0) for _ in range(5)] == [True] * 5
    assert budget.tokens(10.0) == -2.0
    assert not budget.take(18.0)
    assert budget.tokens(19.0) == 3.0


@pytest.mark.parametrize("start", [-1e6, -0.5, 0.0, 1e9])
def test_a_clock_may_start_anywhere(start):
    """Trio's starts at random: only differences count."""
    budget = RetryBudget()
    assert [budget.take(start) for _ in range(4)] == [True, True, True, False]
    assert budget.take(start + 11)


def test_memory_does_not_grow_with_the_load():
    """A million calls later a budget is as small as it was."""

    def size():
        return sum(map(sys.getsizeof, (budget, budget._sums, *budget._sums)))

    budget = RetryBudget()
    before = size()
    for index in range(1_000_000):
        budget.deposit(index * 1e-4)
    assert size() <= before + 100
    assert len(budget._sums) == 10


@attrs.define
class Model:
    """Every deposit and every take with its second; those of the last ten seconds count."""

    entries: list = attrs.Factory(list)

    def within(self, now):
        return [fifths for at, fifths in self.entries if at > math.floor(now) - 10]

    def tokens(self, now):
        return (15 + sum(self.within(now))) / 5


class BudgetMachine(RuleBasedStateMachine):
    """Deposits, takes and gives back in any order, while the time passes."""

    def __init__(self):
        super().__init__()
        self.budget = RetryBudget()
        self.model = Model()
        self.now = 1000.0
        self.taken = []

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.7, 9.0, 9.99, 10.0, 11.0, 25.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule(count=st.integers(1, 30))
    def succeed(self, count):
        for _ in range(count):
            self.budget.deposit(self.now)
            self.model.entries.append((math.floor(self.now), 1))

    @rule(count=st.integers(1, 5))
    def retry(self, count):
        for _ in range(count):
            there_is_one = self.model.tokens(self.now) >= 1
            assert self.budget.take(self.now) is there_is_one
            if there_is_one:
                self.model.entries.append((math.floor(self.now), -5))
                self.taken.append(self.now)
                within = self.model.within(self.now)
                assert 5 * within.count(-5) <= within.count(1) + 15

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data):
        taken = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        self.budget.give_back(taken)
        self.model.entries.remove((math.floor(taken), -5))

    @rule()
    def look(self):
        assert self.budget.tokens(self.now) == self.model.tokens(self.now)

    @invariant()
    def agree(self):
        # Looking moves a budget on; a copy, so that the other rules meet it behind the time too.
        assert copy.deepcopy(self.budget).tokens(self.now) == self.model.tokens(self.now)


def test_it_is_the_sum_of_its_last_ten_seconds():
    """For any order of calls the budget agrees with a list of all that happened."""
    run_state_machine_as_test(
        BudgetMachine,
        settings=settings(
            max_examples=100, stateful_step_count=30, derandomize=True, database=None, deadline=None
        ),
    )


def outages(seed):
    """Calls to a service that is well, flickers and is down in turns: `(instant, fails?)`."""
    rng = random.Random(seed)  # noqa: S311 - traffic from a seed
    now = rng.uniform(-1e4, 1e6)
    for failing in [0.01, 1.0, 0.3, 1.0] * 3:
        rate = rng.choice([5.0, 50.0])
        end = now + rng.uniform(15, 90)
        while now < end:
            now += rng.expovariate(rate)
            yield now, lambda failing=failing: rng.random() < failing


@pytest.mark.parametrize("seed", range(12))
def test_an_outage_makes_at_most_a_fifth_more_load(seed):
    """Beyond the reserve, in any stretch of time, there is one retry to five successes at most.

    What succeeded up to 10 s before the stretch counts as well. The callers would like to try each
    call three times, and most of that is refused.
    """
    budget = RetryBudget()
    successes, extra, refused = [], [], 0
    for now, fails in outages(seed):
        for attempt in range(3):
            if attempt and not budget.take(now):
                refused += 1
                break
            if attempt:
                extra.append(math.floor(now))
            if not fails():
                budget.deposit(now)
                successes.append(math.floor(now))
                break
    first, last = min(successes[0], extra[0]), max(successes[-1], extra[-1])
    for start, stop in [(first, last + 1)] + [(at, at + 30) for at in range(first, last, 7)]:
        paid = sum(start - 10 < at < stop for at in successes)
        tries = sum(start <= at < stop for at in extra)
        assert 5 * tries <= paid + 15 * math.ceil((stop - start) / 10)
    assert refused > len(extra)
