from math import nan

import pytest

from graceline.adaptive import Learner
from graceline.testing.traffic import replay


def warm():
    """A learner that has seen a hundred calls of one latency."""
    learner = Learner()
    replay(learner, [0.05] * 100)
    return learner


def test_a_cut_counts_for_its_whole_limit():
    """A cut is recorded at the issued limit at least, whatever the clock said, NaN included."""
    for elapsed in (0.0, nan, -1.0):
        learner = warm()
        lease = learner.issue()
        lease.cut(elapsed)
        assert learner.history.longest_censored == lease.timeout
    learner = warm()
    learner.issue().cut(0.5)
    assert learner.history.longest_censored == 0.5


@pytest.mark.parametrize("first", ["completed", "cut", "censored"])
@pytest.mark.parametrize("second", ["completed", "cut", "censored"])
def test_a_lease_is_settled_once(first, second):
    """A second end is an error that changes nothing."""
    learner = warm()
    lease = learner.issue()
    assert not lease.settled
    getattr(lease, first)(0.05)
    assert lease.settled
    before = learner.dump()
    with pytest.raises(RuntimeError, match="has been settled"):
        getattr(lease, second)(0.05)
    assert learner.dump() == before


def test_a_lease_says_what_it_is():
    """A lease shows its limit, whether it is a probe, and whether the call has ended."""
    learner = Learner(initial=0.2)
    lease = learner.issue()
    assert repr(lease) == "<lease of 0.2 s>"
    lease.completed(0.01)
    assert repr(lease) == "<lease of 0.2 s, settled>"
    for _ in range(2):
        learner.issue().cut(0.2)
    assert repr(learner.issue()) == "<probe of 3 s>"
