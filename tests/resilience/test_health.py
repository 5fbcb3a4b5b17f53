"""The health of alternatives, their order, and the retry of one that was ill."""

from math import ceil, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceline.resilience import AlternativeHealth, Counted, rank


def after(*calls, at=0.0):
    """An alternative with these calls: how each ended, and perhaps elapsed and limit."""
    health = AlternativeHealth()
    for counted, *times in calls:
        health.settle(at, counted, *times)
    return health


OK = (Counted.OK, 0.1, 1.0)
ERROR = (Counted.ERROR, 0.1, 1.0)


def test_what_is_unknown_is_trusted():
    """Without calls the health is 1, and so it is again when they are forgotten."""
    assert AlternativeHealth().value(0.0) == 1.0
    health = after(OK, OK, ERROR)
    assert health.value(29.9) == pytest.approx(2 / 3)
    assert health.value(30.0) == 1.0


def test_health_is_the_success_rate():
    """Three of four, where all are quick."""
    assert after(OK, OK, OK, ERROR).value(0.0) == 0.75


@pytest.mark.parametrize(
    ("elapsed", "limit", "expected"),
    [
        (0.1, 1.0, 1.0),
        (0.5, 1.0, 1.0),
        (0.75, 1.0, 0.75),
        (1.0, 1.0, 0.5),
        (3.0, 1.0, 0.5),
        (3.0, inf, 1.0),
        (0.1, 0.0, 0.5),
    ],
)
def test_health_falls_as_the_p95_comes_close_to_the_limit(elapsed, limit, expected):
    """Whole up to half the limit, half at the limit, and never less for what succeeds."""
    assert after((Counted.OK, elapsed, limit)).value(0.0) == pytest.approx(expected)


def test_it_is_the_p95_that_matters():
    """One slow call in twenty is nothing; two are."""
    slow = (Counted.OK, 1.0, 1.0)
    assert after(*[OK] * 19, slow).value(0.0) == 1.0
    assert after(*[OK] * 18, slow, slow).value(0.0) == 0.5


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        (Counted.OK, 1.0),
        (Counted.ERROR, 0.5),
        (Counted.OWN_TIMEOUT, 0.25),
        (Counted.REJECTED, 0.5),
        (Counted.IGNORED_ERROR, 1.0),
        (Counted.NOTHING, 1.0),
    ],
)
def test_what_counts_against_it(counted, expected):
    """Errors, timeouts and rejections do; cancelled and superseded calls and ignored errors do not.

    A timeout does so twice: its call failed, and it took all of its limit.
    """
    assert after(OK, (counted, 0.1, 1.0)).value(0.0) == expected


@pytest.mark.parametrize(
    ("calls", "elapsed", "expected"),
    [
        ([], 0.01, 0.0),
        ([ERROR], 0.01, 0.0),
        ([OK], 0.1, 1.0),
        ([OK], 0.11, 0.5),
    ],
)
def test_an_ancestors_timeout_counts_if_there_was_time_enough(calls, elapsed, expected):
    """More than the p95 of what succeeded, or nothing succeeded: then it hung, or seemed to."""
    health = after(*calls, (Counted.ANCESTORS_TIMEOUT, elapsed, inf))
    assert health.value(0.0) == expected


def test_a_fast_error_is_no_proof_of_speed():
    """Errors and rejections have no part in the p95."""
    health = after((Counted.OK, 1.0, 1.0), *[(Counted.ERROR, 0.0, 1.0)] * 99)
    assert health.value(0.0) == pytest.approx(0.01 * 0.5)


def test_the_newest_calls_count():
    """Of a flood the last 256 do."""
    health = after(*[ERROR] * 256, *[OK] * 255)
    assert health.value(0.0) == pytest.approx(255 / 256)
    health.settle(0.0, *OK)
    assert health.value(0.0) == 1.0


def test_the_healthiest_goes_first():
    """Equals keep the order in which they were written down."""
    healths = [after(OK, OK, ERROR), after(OK), AlternativeHealth(), after(OK, ERROR)]
    assert rank(healths, 0.0) == [1, 2, 0, 3]
    assert rank([AlternativeHealth() for _ in range(3)], 0.0) == [0, 1, 2]
    assert rank([], 0.0) == []


def test_one_that_is_ill_stays_so_until_a_call_says_otherwise():
    """Its failures are not forgotten by age, or all the traffic would return at once."""
    health = after(ERROR, at=5.0)
    assert (health.unhealthy_since, health.value(1000.0)) == (5.0, 0.0)
    health.settle(1000.0, Counted.NOTHING)
    assert (health.unhealthy_since, health.value(1000.0)) == (5.0, 0.0)
    health.settle(1000.0, *OK)
    assert (health.unhealthy_since, health.value(1000.0)) == (None, 1.0)


def test_one_that_was_only_forgotten_is_not_ill():
    """Successes that are too old leave a failure alone for a while; it is too old soon."""
    health = after(OK, OK)
    health.settle(20.0, *ERROR)
    assert (health.unhealthy_since, health.value(30.0)) == (None, 0.0)
    assert health.value(50.0) == 1.0


def test_half_is_healthy():
    """At 1/2 it is not ill, below it is; the first such call is what counts."""
    health = after(OK, ERROR)
    assert health.unhealthy_since is None
    health.settle(1.0, *ERROR)
    health.settle(2.0, *ERROR)
    assert health.unhealthy_since == 1.0


def test_one_that_was_ill_for_30_s_is_tried_once():
    """One call tries it first and no other, until 30 s later."""
    healths = [after(ERROR), after(OK, at=25.0)]
    assert rank(healths, 29.9) == [1, 0]
    assert [rank(healths, 30.0) for _ in range(3)] == [[0, 1], [1, 0], [1, 0]]
    assert rank(healths, 59.9) == [1, 0]
    assert rank(healths, 60.0) == [0, 1]


def test_a_retry_that_succeeds_is_a_cure():
    """The old failures are forgotten by then, so it goes first again."""
    healths = [after(*[ERROR] * 50), AlternativeHealth()]
    assert rank(healths, 30.0) == [0, 1]
    healths[0].settle(30.1, *OK)
    assert rank(healths, 30.2) == [0, 1]
    assert not healths[0].retry_due(1000.0)


def test_a_retry_that_fails_is_none():
    """It stays where it was for another 30 s."""
    healths = [after(ERROR), after(OK, at=20.0)]
    assert rank(healths, 30.0) == [0, 1]
    healths[0].settle(30.1, *ERROR)
    assert healths[0].unhealthy_since == 0.0
    assert rank(healths, 59.9) == [1, 0]
    assert rank(healths, 60.0) == [0, 1]


def test_of_several_the_one_that_waited_longest_is_tried():
    """One per call, each in its turn."""
    healths = [after(OK, at=40.0), after(ERROR, at=2.0), after(ERROR, at=1.0)]
    assert [rank(healths, 40.0)[0] for _ in range(3)] == [2, 1, 0]


def test_one_that_falls_ill_again_waits_again():
    """The 30 s begin with the illness, not with an earlier retry."""
    health = after(ERROR)
    health.retried(30.0)
    health.settle(30.0, *OK)
    health.settle(61.0, *ERROR)
    assert health.unhealthy_since == 61.0
    assert not health.retry_due(90.0)
    assert health.retry_due(91.0)


def test_what_is_printed_says_how_it_is():
    """Healthy, or since when not."""
    assert repr(AlternativeHealth()) == "<healthy>"
    assert repr(after(ERROR, at=3.0)) == "<unhealthy since 3>"


SETTLED = st.tuples(
    st.floats(0, 20),
    st.sampled_from(Counted),
    st.integers(0, 8).map(float),
    st.integers(0, 8).map(float) | st.just(inf),
)


def recounted(calls, now):
    """The health by the definition, from a list of everything; `(at, counted, share)` tell."""
    recent = [call for call in calls if call[0] > now - 30][-256:]
    if not recent:
        return 1.0
    shares = sorted(share for _, _, share in recent if share is not None)
    p95 = shares[ceil(len(shares) * 0.95) - 1] if shares else 0.0
    succeeded = [call for call in recent if call[1] is Counted.OK]
    return len(succeeded) / len(recent) * (1 - max(0.0, p95 - 0.5))


@given(steps=st.lists(SETTLED), later=st.floats(0, 100))
def test_health_is_what_the_definition_says(steps, later):
    """After any calls it is a share, and the one that recounting everything gives."""
    health, now, calls = AlternativeHealth(), 0.0, []
    for wait, counted, elapsed, limit in steps:
        now += wait
        recent = [call for call in calls if call[0] > now - 30]
        took = sorted(call[3] for call in recent if call[1] is Counted.OK)
        against = counted in (Counted.ERROR, Counted.OWN_TIMEOUT, Counted.REJECTED) or (
            counted is Counted.ANCESTORS_TIMEOUT
            and (not took or elapsed > took[ceil(len(took) * 0.95) - 1])
        )
        health.settle(now, counted, elapsed, limit)
        if against or counted is Counted.OK:
            share = min(1.0, elapsed / limit) if limit else 1.0
            share = {Counted.OK: share, Counted.OWN_TIMEOUT: 1.0}.get(counted)
            calls.append((now, counted, share, elapsed))
            expected = recounted([call[:3] for call in calls], now)
            assert health.value(now) == pytest.approx(expected)
            assert (health.unhealthy_since is not None) is (health.value(now) < 0.5)
        assert 0.0 <= health.value(now) <= 1.0
    if health.unhealthy_since is None:
        expected = recounted([call[:3] for call in calls], now + later)
        assert health.value(now + later) == pytest.approx(expected)


@given(st.lists(st.lists(st.sampled_from([OK, ERROR]), max_size=4), max_size=5), st.floats(0, 29))
def test_the_order_is_a_sorted_permutation(histories, now):
    """Nothing is lost or doubled, and nothing unhealthier comes before."""
    healths = [after(*calls) for calls in histories]
    order = rank(healths, now)
    keys = [(-healths[number].value(now), number) for number in order]
    assert keys == sorted(keys)
    assert sorted(order) == list(range(len(healths)))


def test_a_snapshot_is_the_value_and_changes_nothing():
    """Whoever looks sees what the next call would go by, and forgets nothing on its behalf."""
    health = after(OK, OK, (Counted.OK, 1.0, 1.0), ERROR)
    before = health.snapshot("p.s.n.a", 29.9)
    assert (before.name, before.value, before.unhealthy_since) == ("p.s.n.a", 0.375, 0.0)
    assert health.value(29.9) == before.value
    healthy = after(OK, OK, ERROR)
    assert healthy.snapshot("a", 30.0).value == 1.0
    assert healthy.snapshot("a", 29.9).value == healthy.value(29.9) == pytest.approx(2 / 3)


def test_a_snapshot_of_an_ill_one_stays_as_of_its_last_call():
    """As its health does: age alone cures nobody."""
    assert after(ERROR).snapshot("a", 99.0).value == 0.0
    assert after(ERROR).snapshot("a", 99.0).unhealthy_since == 0.0
