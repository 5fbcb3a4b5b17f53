import itertools
import json
from math import exp, log, nan

import pytest

from graceline.adaptive import DurationHistory, Learner
from graceline.testing.traffic import Call, replay


def warm(latency=0.05, count=100, **constants):
    """A learner that has seen so many calls of one latency."""
    learner = Learner(**constants)
    replay(learner, [latency] * count)
    return learner


def test_the_first_limit_is_the_configured_one():
    """Before anything is known, calls get the initial limit, and the first five do not change it."""
    learner = Learner(initial=0.2)
    for _ in range(6):
        lease = learner.issue()
        assert (lease.timeout, lease.is_probe) == (0.2, False)
        lease.completed(0.01)


def test_the_way_down_is_gradual():
    """Between 5 and 30 completions the limit falls steadily from the initial one to margin times p95."""
    learner = Learner()
    limits = [one.limit for one in replay(learner, [0.05] * 31)]
    assert limits[:6] == [1.0] * 6
    assert all(low < high for high, low in itertools.pairwise(limits[5:30]))
    assert limits[30] == pytest.approx(0.075)


def test_calls_in_flight_delay_the_way_down():
    """Of calls that run at once the fast ones end first, so as many more completions are needed as calls still run."""
    learner = Learner()
    for _ in range(20):
        learner.issue()
    replay(learner, [0.05] * 25)
    assert learner.peek() == 1.0
    replay(learner, [0.05] * 25)
    assert learner.peek() == pytest.approx(0.075, rel=0.02)


def test_instant_calls_do_not_skip_the_way_down():
    """Calls that take no time at all count, and bring the limit to the floor as gradually as others."""
    learner = Learner()
    learner.issue().completed(0.0)
    assert (learner.peek(), learner.history.completions) == (1.0, 1)
    limits = [one.limit for one in replay(learner, [0.0] * 30)]
    assert limits[:5] == [1.0] * 5
    assert all(low < high for high, low in itertools.pairwise(limits[4:]))
    assert learner.peek() == 0.005


def test_the_margin_follows_the_misses():
    """A call in time lowers the margin by gain * alpha in the logarithm, a miss raises it by gain * (1 - alpha)."""
    learner = warm(0.05, 40)
    before = learner.state()["margin"]
    learner.issue().completed(0.05)
    assert learner.state()["margin"] == pytest.approx(before - 0.05 * 0.01)
    lease = learner.issue()
    lease.cut(lease.timeout)
    assert learner.state()["margin"] == pytest.approx(before - 0.05 * 0.01 + 0.05 * 0.99)
    assert learner.peek() == pytest.approx(0.05 * exp(learner.state()["margin"]))


def test_an_outside_end_moves_neither_margin_nor_alarm():
    """A call that something else ended before the limit is kept as a censored sample and judged as nothing."""
    learner = warm()
    before = learner.state()
    learner.issue().censored(0.06)
    after = learner.state()
    assert (after["margin"], after["alarm"]) == (before["margin"], before["alarm"])
    assert learner.history.longest_censored == 0.06


def test_an_outside_end_beyond_the_limit_is_a_miss():
    """A call that had outlasted the limit when something else ended it would have been cut."""
    learner = warm()
    lease = learner.issue()
    lease.censored(lease.timeout)
    assert learner.state()["alarm"] > 0


def test_a_call_that_outlasted_its_own_limit_is_a_miss():
    """Where the limit has risen since a call began, it is the call's own that it has to outlast."""
    learner = warm(0.05, 300)
    lease = learner.issue()
    replay(learner, [0.2] * 60)
    before = learner.state()
    assert (before["alarm"], learner.boost) == (0.0, 1.0)
    assert learner.peek() > 2 * lease.timeout
    lease.censored(lease.timeout)
    assert learner.state()["alarm"] > 0.0


@pytest.mark.parametrize("elapsed", [nan, -1.0])
def test_an_impossible_duration_teaches_nothing(elapsed):
    """NaN and negative durations settle the lease and change nothing."""
    learner = warm()
    before = learner.dump()
    learner.issue().completed(elapsed)
    learner.issue().censored(elapsed)
    assert learner.dump() == before


def test_two_slow_calls_confirm_a_shift():
    """After an alarm two calls that finish late make the learner forget what was before."""
    learner = warm(0.05, 300)
    ended = replay(learner, [0.2] * 30)
    assert sum(one.cut for one in ended) <= 4
    assert len(learner.history) <= 31
    assert 0.2 < learner.peek() < 0.8


def test_an_alarm_without_slow_calls_was_false():
    """If nothing slow finishes under the boost, it ends and the old limit stands."""
    learner = warm(0.05, 300)
    for _ in range(3):
        lease = learner.issue()
        lease.cut(lease.timeout)
    assert learner.state()["boost"] == 3.0
    replay(learner, [0.05] * 60)
    assert learner.state()["boost"] == 1.0
    assert len(learner.history) == 256
    assert learner.peek() < 0.12


def boosted(times=1, in_flight=0, **constants):
    """A learner whose limit was multiplied so often, and the leases that it gave before."""
    learner = warm(0.05, 300, **constants)
    before = [learner.issue() for _ in range(in_flight)]
    while learner.boost < 3.0**times:
        learner.issue().censored(learner.peek())  # just too long for the limit of now
    return learner, before


def test_cuts_by_an_old_limit_do_not_boost_once_more():
    """What began before an alarm and is cut by the limit of then says nothing about the boosted one."""
    learner, before = boosted(in_flight=40)
    alarm = learner.state()["alarm"]
    for lease in before:
        lease.cut(lease.timeout)
    assert (learner.boost, learner.state()["alarm"]) == (3.0, alarm)


def test_quick_ends_of_old_calls_do_not_end_a_boost():
    """What began before an alarm and ends in time is as good as before it: the trial goes on."""
    learner, before = boosted(in_flight=40)
    alarm = learner.state()["alarm"]
    for lease in before:
        lease.completed(0.05)
    assert (learner.boost, learner.state()["alarm"]) == (3.0, alarm)


def test_an_alarm_under_a_certificate_is_no_reason_to_boost():
    """While a certificate says that some calls hang, cut calls are taken for those."""
    learner = warm()
    learner.issue().censored(3.0)
    alarms = 0
    for _ in range(20):
        before = learner.state()["alarm"]
        lease = learner.issue()
        assert not lease.is_probe
        lease.cut(lease.timeout)
        alarms += learner.state()["alarm"] < before
    assert alarms > 1
    assert learner.boost == 1.0


def test_a_certificate_takes_back_one_boost():
    """A hang under a boost of nine leaves a boost of three: slow calls may be there as well."""
    learner, _ = boosted(times=2)
    learner.issue().censored(3.0)
    assert learner.boost == 3.0
    learner.issue().censored(3.0)
    assert learner.boost == 1.0


def test_a_boost_ends_not_far_above_the_ceiling():
    """The limit is not multiplied more often than it takes to come from the limit to the ceiling."""
    learner, _ = boosted(times=4, alpha=0.0001)
    assert learner.peek() == 3.0
    learner.issue().completed(0.5)
    assert learner.boost == pytest.approx(3.0 * 3.0 / learner.state()["base"])


def test_a_probe_that_nobody_settles_is_given_up():
    """As many ends as there were calls in flight, and the next call is a probe in its place."""
    learner, before = boosted(in_flight=10)
    assert learner.issue().is_probe
    for lease in before:
        lease.completed(0.05)
        later = learner.issue()
        assert not later.is_probe
    later.completed(0.05)
    assert learner.issue().is_probe


def test_a_shift_waits_for_those_in_flight():
    """The limit does not fall back before all calls that began before a shift may have ended."""
    learner = warm(0.05, 300)
    before = [learner.issue() for _ in range(30)]
    for _ in range(20):
        if learner.state()["held"] == 0.0:
            lease = learner.issue()
            lease.completed(0.12)
    held = learner.state()["held"]
    for lease in before:
        lease.completed(0.05)
    replay(learner, [0.05] * 9)
    assert learner.peek() == held > 0.12
    replay(learner, [0.05] * 2)
    assert learner.peek() < held


def test_a_certificate_expires():
    """When it has left the window and enough calls were cut since, hangs are no explanation any more."""
    learner = warm()
    learner.issue().censored(3.0)
    replay(learner, [0.05] * 256)
    assert learner.state()["since_certificate"] == 0
    for _ in range(learner.settings.reprobe_most):
        if learner.state()["since_certificate"] >= 0:
            lease = learner.issue()
            lease.cut(lease.timeout)
            replay(learner, [0.05] * 30)
    state = learner.state()
    assert (state["since_certificate"], state["certified"]) == (-1, 0.0)
    for _ in range(3):
        learner.issue().censored(learner.peek())
    assert learner.boost == 3.0


def test_hangs_are_certified():
    """Where some calls hang, a probe certifies it, and the limit stays at that of calls that finish."""
    learner = warm()
    calls = [Call(float("inf") if number % 10 == 0 else 0.05) for number in range(600)]
    ended = replay(learner, calls)
    hung = [one.limit for one in ended if one.call.latency > 3.0]
    assert sum(limit == 3.0 for limit in hung) >= 1
    assert learner.state()["hang"] > 0.05
    assert learner.peek() < 0.25


def test_a_value_after_the_ceiling_counts_as_hung():
    """A value that comes later than the ceiling is recorded as a cut there."""
    learner = warm()
    learner.issue().completed(9.0)
    assert learner.history.longest_censored == 3.0
    assert learner.state()["since_certificate"] == 0


def test_a_listener_hears_of_every_end():
    """The listener is called after each settled lease, with the learner and the lease."""
    learner, heard = Learner(), []
    learner.listener = lambda *told: heard.append(told)
    leases = [learner.issue(), learner.issue()]
    leases[0].completed(0.1)
    leases[1].censored(nan)
    assert heard == [(learner, leases[0]), (learner, leases[1])]


def test_replicas_share():
    """A learner that merges another one's history has the limit that follows from both."""
    one, other = warm(0.05), DurationHistory()
    for _ in range(256):
        other.add(0.4)
    one.merge(other)
    assert one.peek() == pytest.approx(0.4 * exp(one.state()["margin"]))


def test_stamps_are_kept():
    """The stamp that an end is given stands in the history."""
    learner = Learner()
    learner.issue().completed(0.1, 17.0)
    learner.issue().cut(0.1, 18.0)
    learner.issue().censored(0.2, 19.0)
    assert [at for at, _, _ in learner.history.samples()] == [17.0, 18.0, 19.0]
    assert repr(learner) == "<limit 1 s learned from <3 of 256 durations, 2 censored>>"


@pytest.mark.parametrize(
    "change",
    [
        {"state": {}},
        {"state": None},
        {"settings": {"ceiling": 3, "unknown": 1}},
        {"history": {}},
        {"margin": nan},
        {"run": "x"},
        {"since": float("inf")},
    ],
)
def test_what_is_no_learner_is_refused(change):
    """A document that `dump` did not write is a ValueError."""
    document = warm().dump()
    for name, value in change.items():
        (document if name in document else document["state"])[name] = value
    with pytest.raises(ValueError, match=r"learner|history"):
        Learner.load(document)
    with pytest.raises(ValueError, match="learner"):
        Learner.load({})


def tampered(**numbers):
    """A warm learner that went through JSON, with some other numbers in its state."""
    document = warm().dump()
    document["state"].update(numbers)
    return Learner.load(json.loads(json.dumps(document)))


def test_a_tampered_state_keeps_the_bounds():
    """Whatever numbers a state has, the limits stay within the bounds."""
    learner = tampered(base=1e9, boost=1e9, margin=-50.0, alarm=1e9, hold=10**9)
    assert learner.peek() == 3.0
    assert learner.state()["margin"] == log(1.2)
    replay(learner, [0.05] * 400)
    assert learner.peek() < 0.2
    assert tampered(base=0.01, boost=1e-9).peek() == 0.01
    assert tampered(margin=50.0).state()["margin"] == log(4.0)


def test_a_tampered_hold_ends():
    """A state that holds the limit up for ever does so no longer than a shift could."""
    learner = tampered(hold=10**9, held=2.0)
    replay(learner, [0.05] * 50)
    assert learner.peek() == 2.0
    replay(learner, [0.05] * 50)
    assert learner.peek() < 0.1


def test_a_tampered_alarm_is_none_by_itself():
    """A CUSUM far above its threshold raises nothing without a miss, one far below delays nothing."""
    learner = tampered(alarm=1e9)
    learner.issue().completed(0.05)
    assert learner.boost == 1.0
    learner = tampered(alarm=-1e9)
    for _ in range(3):
        lease = learner.issue()
        lease.cut(lease.timeout)
    assert learner.boost == 3.0


def test_a_tampered_boost_is_soon_gone():
    """However high a boost is, a few certificates of hangs are enough to end it."""
    learner = tampered(boost=1e300)
    for _ in range(8):
        learner.issue().censored(3.0)
    assert learner.boost == 1.0


def test_after_a_shift_the_limit_does_not_fall_back_at_once():
    """The limit under which a shift was confirmed holds for the next ten calls, and then follows the window."""
    learner = warm(0.05, 300)
    for _ in range(20):
        if learner.state()["held"] == 0.0:
            replay(learner, [0.12])
    held = learner.state()["held"]
    assert learner.peek() == held > 0.12
    limits = [one.limit for one in replay(learner, [0.12] * 12)]
    assert all(limit >= held for limit in limits[:10])
    assert learner.peek() < held


def test_a_certificate_takes_back_a_margin_that_hangs_had_widened():
    """The misses before a certificate were hangs, so the margin is not above its first value after it."""
    learner = warm(0.05, 300)
    document = learner.dump()
    document["state"]["margin"] = log(3.0)
    learner = Learner.load(document)
    learner.issue().censored(3.0)
    assert learner.state()["margin"] == log(1.5)
