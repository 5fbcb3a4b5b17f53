"""The circuit breaker: the counting table in full, and the promises that others break."""

from itertools import product

import pytest

from graceline.definitions import Breaker
from graceline.resilience import BreakerRefusal, BreakerState, CircuitBreaker, Counted, Permit

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def middle():
    """A random number that makes the jitter vanish."""
    return 0.5


def forbidden():
    """A random number for a breaker that must not trip."""
    raise AssertionError("asked for a random number")


def make(random=middle, on_change=None, **options):
    return CircuitBreaker(Breaker(**options), "db", random, on_change)


def call(breaker, now, counted, elapsed=0.01, error=None):
    """One call from start to end."""
    permit = breaker.admit(now)
    assert isinstance(permit, Permit)
    permit.settle(now, counted, elapsed, error)


def trip(breaker, now, **more):
    """Fail until it opens."""
    while breaker.state is not OPEN:
        call(breaker, now, Counted.ERROR, **more)


# The table of the design, as data: outcome -> (closed, half open). Both cells say what happens to
# (calls, failures, slow calls) and to the state.

QUICK, SLOW = 0.1, 0.9  # against slow_after=0.5
NOTHING = ((0, 0, 0), HALF_OPEN)
TABLE = {
    (Counted.OK, QUICK): ((1, 0, 0), CLOSED),
    (Counted.OK, SLOW): ((1, 0, 1), CLOSED),
    (Counted.ERROR, QUICK): ((1, 1, 0), OPEN),
    (Counted.ERROR, SLOW): ((1, 1, 0), OPEN),
    (Counted.IGNORED_ERROR, QUICK): NOTHING,
    (Counted.IGNORED_ERROR, SLOW): NOTHING,
    (Counted.OWN_TIMEOUT, QUICK): ((1, 1, 1), OPEN),
    (Counted.OWN_TIMEOUT, SLOW): ((1, 1, 1), OPEN),
    (Counted.ANCESTORS_TIMEOUT, QUICK): NOTHING,
    (Counted.ANCESTORS_TIMEOUT, SLOW): ((0, 0, 1), HALF_OPEN),
    (Counted.NOTHING, QUICK): NOTHING,
    (Counted.NOTHING, SLOW): NOTHING,
    (Counted.REJECTED, QUICK): NOTHING,
    (Counted.REJECTED, SLOW): NOTHING,
}
WHERE = ("closed", "half open", "stale: closed", "stale: open", "stale: half open", "shadow")


def test_the_table_is_complete():
    """There is a row for each outcome, both quick and slow."""
    assert set(TABLE) == set(product(Counted, (QUICK, SLOW)))


def figures(breaker, now):
    shown = breaker.snapshot(now)
    return (shown.calls, shown.failures, shown.slow)


def standing(where):
    """A breaker, and a permit that is settled where the row of the table says."""
    options = {"slow_rate": 1.0, "slow_after": 0.5, "min_calls": 3, "open_for": 10}
    breaker = make(**options, mode="metrics_only" if where == "shadow" else "on")
    permit = breaker.admit(0.0)  # of the first generation, closed
    if where == "closed":
        return breaker, permit
    trip(breaker, 0.0)
    if where == "shadow":
        return breaker, breaker.admit(1.0)
    if where == "stale: open":
        return breaker, permit
    probe = breaker.admit(10.0)
    if where == "half open":
        return breaker, probe
    if where == "stale: half open":
        return breaker, permit
    probe.settle(10.0, Counted.OK, QUICK)
    return breaker, permit


def expected(where, counted, elapsed, before):
    """What the table says of the figures and the state after the settling."""
    figures, state = before
    counts, probed = TABLE[counted, elapsed]
    if where == "closed":
        return tuple(map(sum, zip(figures, counts, strict=True))), state
    if where == "half open":
        return ((0, 0, 0) if probed is CLOSED else figures), probed
    return figures, state


@pytest.mark.parametrize(
    ("where", "counted", "elapsed"), list(product(WHERE, Counted, (QUICK, SLOW)))
)
def test_every_outcome_in_every_state_counts_as_the_table_says(where, counted, elapsed):
    """Outcome x state, generated: figures, state and free slots are those of the table."""
    breaker, permit = standing(where)
    now = 10.0
    before = figures(breaker, now), breaker.state
    figures_after, state = expected(where, counted, elapsed, before)
    permit.settle(now, counted, elapsed)
    assert figures(breaker, now) == figures_after
    assert breaker.state is state
    if state is HALF_OPEN:  # the slot of a probe that ended is free, that of another one is not
        assert isinstance(breaker.admit(now), Permit) is (where == "half open")


@pytest.mark.parametrize("probes", [1, 3])
def test_half_open_admits_exactly_n_of_100(probes):
    """Of a hundred callers who wait for it to open up, as many get through as are probes."""
    breaker = make(probes=probes)
    trip(breaker, 0.0)
    answers = [breaker.admit(10.0) for _ in range(100)]
    admitted = [answer for answer in answers if isinstance(answer, Permit)]
    assert len(admitted) == probes
    assert all(permit.is_probe for permit in admitted)
    assert all(isinstance(answer, BreakerRefusal) for answer in answers[probes:])


def test_probes_that_have_succeeded_keep_their_slots():
    """One after the other or all at once: no more than `probes` calls decide."""
    breaker = make(probes=2)
    trip(breaker, 0.0)
    call(breaker, 10.0, Counted.OK)
    second = breaker.admit(10.0)
    assert isinstance(breaker.admit(10.0), BreakerRefusal)
    second.settle(10.0, Counted.OK, 0.01)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("options", [{"consecutive": 3}, {"min_calls": 3}])
def test_three_caller_cancellations_do_not_open_it(options):
    """Somebody who loses patience says nothing about what was called; three errors would."""
    breaker = make(**options)
    for _ in range(3):
        call(breaker, 0.0, Counted.NOTHING, elapsed=60.0)
    assert breaker.state is CLOSED
    for _ in range(3):
        call(breaker, 0.0, Counted.ERROR)
    assert breaker.state is OPEN


def test_a_timeout_of_an_ancestor_does_not_count_as_a_failure():
    """A pipeline whose budget was short is not the node's fault, however often and late."""
    breaker = make(forbidden, min_calls=1, consecutive=1)
    for _ in range(100):
        call(breaker, 0.0, Counted.ANCESTORS_TIMEOUT, elapsed=100.0)
    assert breaker.state is CLOSED
    assert figures(breaker, 0.0) == (0, 0, 0)


def test_calls_that_are_slow_open_it():
    """A share of slow calls is enough, those cut by an ancestor included; the edge is not slow."""
    breaker = make(slow_rate=0.5, slow_after=1.0, min_calls=4)
    for counted, elapsed in [(Counted.OK, 1.0), (Counted.OK, 0.5), (Counted.OK, 1.1)]:
        call(breaker, 0.0, counted, elapsed)
    assert breaker.state is CLOSED
    call(breaker, 0.0, Counted.ANCESTORS_TIMEOUT, elapsed=1.1)
    assert breaker.state is OPEN


def test_slow_calls_that_are_no_failures_do_not_dilute_the_failures():
    """Each rate has its own denominator: 5 of 10 failed, whatever else was slow only."""
    breaker = make(slow_rate=1.0, slow_after=1.0)
    for _ in range(20):
        call(breaker, 0.0, Counted.ANCESTORS_TIMEOUT, elapsed=2.0)
        if breaker.state is OPEN:
            break
        call(breaker, 0.0, Counted.OK)
    assert breaker.state is CLOSED
    for _ in range(20):
        call(breaker, 0.0, Counted.ERROR)
    assert breaker.state is OPEN


def test_a_result_from_before_the_trip_changes_nothing():
    """Calls that were under way when it opened close nothing, and open nothing again."""
    breaker = make()
    early = [breaker.admit(0.0) for _ in range(4)]
    trip(breaker, 0.0)
    early[0].settle(1.0, Counted.OK, 1.0)
    assert breaker.state is OPEN
    probe = breaker.admit(10.0)
    early[1].settle(10.0, Counted.ERROR, 10.0)
    early[2].settle(10.0, Counted.OK, 10.0)
    assert breaker.state is HALF_OPEN
    probe.settle(10.0, Counted.OK, 0.01)
    early[3].settle(11.0, Counted.ERROR, 11.0)
    assert (breaker.state, figures(breaker, 11.0)) == (CLOSED, (0, 0, 0))


def test_a_cancelled_probe_frees_its_slot():
    """The next call is the next probe; nothing was learned from the cancelled one."""
    breaker = make()
    trip(breaker, 0.0)
    for _ in range(5):
        probe = breaker.admit(10.0)
        assert isinstance(breaker.admit(10.0), BreakerRefusal)
        probe.settle(10.0, Counted.NOTHING, 3.0)
    assert breaker.state is HALF_OPEN
    call(breaker, 10.0, Counted.OK)
    assert breaker.state is CLOSED


def test_a_probe_from_before_holds_no_slot():
    """A probe whose sibling failed is history: the next half-open breaker has all its slots."""
    breaker = make(probes=2)
    trip(breaker, 0.0)
    failing, other = breaker.admit(10.0), breaker.admit(10.0)
    failing.settle(10.0, Counted.ERROR, 0.1)
    probes = [breaker.admit(30.0) for _ in range(2)]
    assert all(isinstance(probe, Permit) for probe in probes)
    other.settle(30.0, Counted.OK, 20.0)
    assert isinstance(breaker.admit(30.0), BreakerRefusal)


def test_a_success_from_before_is_none_of_the_probes():
    """Each time it is half open, all of its probes must succeed, one after the other."""
    breaker = make(probes=2)
    trip(breaker, 0.0)
    call(breaker, 10.0, Counted.OK)
    call(breaker, 10.0, Counted.ERROR)
    call(breaker, 30.0, Counted.OK)
    assert breaker.state is HALF_OPEN
    call(breaker, 30.0, Counted.OK)
    assert breaker.state is CLOSED


def test_a_probe_that_never_ends_loses_its_slot():
    """After `probe_max` another call may have it, and the refusals before say when."""
    breaker = make(probe_max=5)
    trip(breaker, 0.0)
    stuck = breaker.admit(10.0)
    assert breaker.admit(12.0) == BreakerRefusal(3.0, None)
    assert breaker.snapshot(12.0).retry_after == 3.0
    assert breaker.snapshot(15.0).retry_after == 0.0
    other = breaker.admit(15.0)
    assert other.is_probe
    assert isinstance(breaker.admit(15.0), BreakerRefusal)
    stuck.settle(16.0, Counted.NOTHING, 6.0)
    assert isinstance(breaker.admit(16.0), BreakerRefusal), "its slot is another's by now"


def test_the_first_slot_to_be_free_is_told():
    """Of several probes under way the one that loses its slot first says when to return."""
    breaker = make(probe_max=5, probes=3)
    trip(breaker, 0.0)
    probes = [breaker.admit(now) for now in (10.0, 11.0, 13.0)]
    assert breaker.admit(13.5) == BreakerRefusal(1.5, None)
    probes[0].settle(13.5, Counted.OK, 3.5)
    assert breaker.admit(13.5) == BreakerRefusal(2.5, None)
    assert breaker.refused_for(13.5) == breaker.snapshot(13.5).retry_after == 2.5


@pytest.mark.parametrize(("counted", "state"), [(Counted.OK, CLOSED), (Counted.ERROR, OPEN)])
def test_the_result_of_a_probe_that_lost_its_slot_counts(counted, state):
    """Where every probe is slower than `probe_max`, one of them must decide all the same."""
    breaker = make(probe_max=5)
    trip(breaker, 0.0)
    slow = breaker.admit(10.0)
    other = breaker.admit(15.0)
    slow.settle(16.0, counted, 6.0)
    assert breaker.state is state
    other.settle(16.0, Counted.ERROR, 1.0)
    assert breaker.state is state


def test_it_opens_when_the_rate_is_reached():
    """5 of 10 is enough at 0.5, and 4 of 9 is not yet anything."""
    breaker = make()
    for counted in (Counted.ERROR, Counted.OK) * 4 + (Counted.ERROR,):
        call(breaker, 0.0, counted)
    assert breaker.state is CLOSED
    call(breaker, 0.0, Counted.OK)
    assert breaker.state is OPEN


@pytest.mark.parametrize("failures", range(1, 11))
def test_a_rate_written_as_a_decimal_is_reached_exactly(failures):
    """No rounding makes 3 of 10 less than 0.3."""
    breaker = make(failure_rate=float(f"0.{failures}") if failures < 10 else 1.0)
    for _ in range(10 - failures):
        call(breaker, 0.0, Counted.OK)
    for number in range(failures):
        assert breaker.state is CLOSED, number
        call(breaker, 0.0, Counted.ERROR)
    assert breaker.state is OPEN


def test_failures_in_a_row_open_it_however_few():
    """A success in between starts over; what is neither does not."""
    breaker = make(consecutive=3, min_calls=100)
    for counted in (Counted.ERROR, Counted.OWN_TIMEOUT, Counted.OK, Counted.ERROR):
        call(breaker, 0.0, counted)
    call(breaker, 0.0, Counted.NOTHING)
    call(breaker, 1000.0, Counted.ERROR)
    assert breaker.snapshot(1000.0).failures_in_a_row == 2
    call(breaker, 1000.0, Counted.ERROR)
    assert breaker.state is OPEN


@pytest.mark.parametrize(("random", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_each_failed_probe_doubles_the_time_up_to_a_cap(random, factor):
    """10, 20, 40, ... 300 s, varied by at most a fifth; a closed breaker starts over."""
    breaker = make(lambda: random)
    trip(breaker, 0.0)
    now, waited = 0.0, []
    for _ in range(7):
        refusal = breaker.admit(now)
        waited.append(refusal.retry_after)
        now += refusal.retry_after
        call(breaker, now, Counted.ERROR)
    assert waited == pytest.approx([factor * s for s in (10, 20, 40, 80, 160, 300, 300)])
    now += breaker.admit(now).retry_after
    call(breaker, now, Counted.OK)
    assert breaker.state is CLOSED
    trip(breaker, now)
    assert breaker.admit(now).retry_after == pytest.approx(factor * 10)


def test_the_window_forgets():
    """Nine failures are forgotten after 30 s: the tenth is one of one."""
    breaker = make(forbidden)
    for _ in range(9):
        call(breaker, 0.0, Counted.ERROR)
    assert figures(breaker, 26.9) == (9, 9, 0)
    assert figures(breaker, 30.0) == (0, 0, 0)
    call(breaker, 30.0, Counted.ERROR)
    assert breaker.state is CLOSED


def test_a_closed_breaker_has_forgotten_what_opened_it():
    """After a probe has succeeded one failure does not open it at once."""
    breaker = make(consecutive=5)
    trip(breaker, 0.0)
    call(breaker, 10.0, Counted.OK)
    call(breaker, 10.0, Counted.ERROR)
    assert breaker.state is CLOSED
    assert figures(breaker, 10.0) == (1, 1, 0)


def test_metrics_only_never_refuses_but_shows_its_state():
    """It opens, probes and closes like any other, and lets everything through meanwhile."""
    breaker = make(mode="metrics_only")
    trip(breaker, 0.0)
    extra = [breaker.admit(1.0) for _ in range(20)]
    assert [permit.is_probe for permit in extra] == [False] * 20
    for permit in extra:
        permit.settle(1.0, Counted.OK, 0.01)
    shown = breaker.snapshot(1.0)
    assert (shown.mode, shown.state, shown.retry_after) == ("metrics_only", OPEN, 9.0)
    probe, other = breaker.admit(10.0), breaker.admit(10.0)
    assert (probe.is_probe, other.is_probe) == (True, False)
    other.settle(10.0, Counted.ERROR, 0.01)
    assert breaker.state is HALF_OPEN
    probe.settle(10.0, Counted.OK, 0.01)
    assert breaker.state is CLOSED


def test_forced_open_refuses_everything():
    """No time opens it up, and nobody is told when to come back."""
    breaker = make(forbidden, mode="forced_open")
    for now in (0.0, 1e9):
        assert breaker.admit(now) == BreakerRefusal(None, None)
        assert (breaker.state, breaker.snapshot(now).retry_after) == (OPEN, None)
        assert breaker.snapshot(now).state is OPEN


def test_off_counts_nothing():
    """It stays closed, with empty figures; its permits are settled like any other."""
    breaker = make(forbidden, mode="off", consecutive=1)
    for _ in range(20):
        call(breaker, 0.0, Counted.ERROR)
    assert (breaker.state, figures(breaker, 0.0)) == (CLOSED, (0, 0, 0))


@pytest.mark.parametrize("mode", ["on", "metrics_only", "off"])
def test_a_permit_is_settled_once(mode):
    """The second time is a mistake of the caller's, and changes nothing."""
    breaker = make(mode=mode)
    permit = breaker.admit(0.0)
    permit.settle(0.0, Counted.ERROR, 0.1)
    before = figures(breaker, 0.0)
    with pytest.raises(RuntimeError, match="has been settled"):
        permit.settle(0.0, Counted.ERROR, 0.1)
    assert figures(breaker, 0.0) == before


def test_transitions_are_told_once_they_have_happened():
    """Whoever is told sees the new state, in order and with the time of the cause."""
    told = []

    def on_change(old, new, now):
        assert breaker.state is new
        told.append((old, new, now))

    breaker = make(on_change=on_change)
    trip(breaker, 1.0)
    call(breaker, 11.0, Counted.OWN_TIMEOUT)
    call(breaker, 31.0, Counted.OK)
    assert told == [
        (CLOSED, OPEN, 1.0),
        (OPEN, HALF_OPEN, 11.0),
        (HALF_OPEN, OPEN, 11.0),
        (OPEN, HALF_OPEN, 31.0),
        (HALF_OPEN, CLOSED, 31.0),
    ]


def test_a_refusal_tells_what_opened_it():
    """The error of the call that tripped it, until it closes; a timeout has none."""
    breaker = make()
    first, second = ValueError("first"), KeyError("second")
    trip(breaker, 0.0, error=first)
    assert breaker.admit(4.0) == BreakerRefusal(6.0, first)
    call(breaker, 10.0, Counted.ERROR, error=second)
    assert breaker.snapshot(10.0).last_error is second
    call(breaker, 30.0, Counted.OWN_TIMEOUT)
    assert breaker.admit(30.0).last_error is None
    call(breaker, 70.0, Counted.ERROR, error=first)
    call(breaker, 1000.0, Counted.OK)
    assert breaker.snapshot(1000.0).last_error is None


def test_asking_for_a_snapshot_changes_nothing():
    """One that is open stays so until somebody calls, and shows that the next one may."""
    breaker = make()
    assert breaker.snapshot(0.0).retry_after is None
    trip(breaker, 0.0)
    shown = breaker.snapshot(50.0)
    assert (shown.name, shown.state, shown.retry_after) == ("db", OPEN, 0.0)
    assert breaker.state is OPEN
    assert breaker.admit(50.0).is_probe


def test_what_is_printed_says_what_it_is():
    """A breaker shows name, mode and state; a permit whether it is used up."""
    breaker = make(open_for=1)
    permit = breaker.admit(0.0)
    assert (repr(breaker), repr(permit)) == ("<breaker 'db', on, closed>", "<permit>")
    permit.settle(0.0, Counted.OK, 0.0)
    assert repr(permit) == "<permit, settled>"
    trip(breaker, 0.0)
    assert repr(breaker.admit(1.0)) == "<probe>"
