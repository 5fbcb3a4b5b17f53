"""The retry decision: what is tried again, when, and what is said if it is not."""

import math
from datetime import timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline.deadlines import Status
from graceline.definitions import Retry
from graceline.errors import OverloadedError, PipelineCancelledError
from graceline.resilience import (
    Attempt,
    Go,
    RetryBudget,
    Stop,
    StopReason,
    decide_retry,
    has_started,
)
from graceline.resilience.retry import backoff_delay, is_retryable, retry_hint

repeatable = settings(max_examples=300, derandomize=True, database=None, deadline=None)


class HintedError(Exception):
    def __init__(self, retry_after=None, retryable=None):
        super().__init__()
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable


FAILED = Attempt(number=1, status=Status.FAILED, error=OSError())


def decide(last=FAILED, retry=None, **options):
    """Decide with plenty of time, the longest backoff of 0.1 s, and a full budget."""
    usual = {
        "idempotent": None,
        "remaining": 60.0,
        "attempt_timeout": math.inf,
        "p50": None,
        "successes": 0,
        "budget": RetryBudget(),
        "now": 5.0,
        "random": lambda: 1.0,
    }
    return decide_retry(retry or Retry(), last, **(usual | options))


def test_a_failure_is_tried_again_after_a_backoff():
    """With time and tokens left the answer is how long to wait, and a token is taken."""
    budget = RetryBudget()
    assert decide(budget=budget) == Go(0.1)
    assert budget.tokens(5.0) == 2.0


@pytest.mark.parametrize(
    ("number", "attempts", "note"),
    [
        (1, 1, "retry stopped: the only attempt is used up"),
        (3, 3, "retry stopped: all 3 attempts are used up"),
        (4, 3, "retry stopped: all 4 attempts are used up"),
    ],
)
def test_attempts_count_the_first_one(number, attempts, note):
    """`attempts=3` is the first one and two more; no token is taken for a fourth."""
    budget = RetryBudget()
    last = attrs.evolve(FAILED, number=number)
    stop = decide(last, Retry(attempts=attempts), budget=budget)
    assert stop == Stop(StopReason.ATTEMPTS, note)
    assert budget.tokens(5.0) == 3.0
    assert isinstance(decide(last, Retry(attempts=number + 1)), Go)


def test_what_cannot_be_in_time_is_not_begun():
    """The note has the sum that was done, in the words of the contract; no token is taken."""
    budget = RetryBudget()
    retry = Retry(backoff=4)
    stop = decide(retry=retry, remaining=1.0, p50=0.8, successes=20, budget=budget)
    note = "retry stopped: 1.0 s left, 4.0 s backoff + 0.8 s expected"
    assert stop == Stop(StopReason.DEADLINE, note)
    assert budget.tokens(5.0) == 3.0


@pytest.mark.parametrize(
    ("options", "need"),
    [
        ({"p50": 0.5, "successes": 20}, 0.5),
        ({"p50": 0.5, "successes": 19}, 0.05),
        ({"p50": None, "successes": 100}, 0.05),
        ({"p50": 0.5, "successes": 20, "attempt_timeout": 0.3}, 0.3),
        ({"attempt_timeout": 0.03}, 0.03),
    ],
)
def test_what_an_attempt_is_expected_to_take(options, need):
    """The p50 of 20 successes, else `min_attempt`, and never more than an attempt may take.

    Exactly that much is not enough.
    """
    options |= {"retry": Retry(backoff=0)}
    assert isinstance(decide(remaining=math.nextafter(need, 1), **options), Go)
    assert decide(remaining=need, **options).reason is StopReason.DEADLINE


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (0.0, "0.0 s"),
        (-2.5, "0.0 s"),
        (0.04, "0.04 s"),
        (0.0123, "0.012 s"),
        (1e-9, "0.0 s"),
        (0.25, "0.25 s"),
        (0.9999, "1.0 s"),
        (1.25, "1.2 s"),
        (12.34, "12.3 s"),
        (100.0, "100.0 s"),
    ],
)
def test_seconds_in_a_note(left, text):
    """Short enough to read, and exact enough to compare."""
    stop = decide(FAILED, Retry(backoff=100, max_backoff=100), remaining=left)
    assert stop.note == f"retry stopped: {text} left, 100.0 s backoff + 0.05 s expected"


def test_no_token_no_retry():
    """An empty budget is the last thing to stop a retry, and says so in the words of the contract."""
    budget = RetryBudget()
    assert [type(decide(budget=budget)) for _ in range(4)] == [Go, Go, Go, Stop]
    assert decide(budget=budget) == Stop(StopReason.BUDGET, "retry budget empty")
    assert decide(budget=budget, remaining=0.0).reason is StopReason.DEADLINE


def test_an_open_breaker_stops_a_retry_before_a_token_is_taken():
    """A backoff that outlasts the breaker is waited for; a shorter one is no use."""
    budget = RetryBudget()
    stop = decide(budget=budget, refused_for=0.11, refused_by="db")
    assert stop == Stop(StopReason.NOT_RETRYABLE, "retry stopped: breaker 'db' is open")
    assert budget.tokens(5.0) == 3.0
    assert decide(budget=budget, refused_for=0.1, refused_by="db") == Go(0.1)


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ({"status": Status.TIMED_OUT}, "a limit above the attempt passed"),
        ({"status": Status.CANCELLED}, "the attempt was cancelled"),
        ({"status": Status.REJECTED, "started": False}, "the attempt was rejected"),
        ({"status": Status.OK}, "the attempt was ok"),
        ({"error": HintedError(retryable=False)}, "HintedError is not retryable"),
        ({"error": KeyboardInterrupt()}, "KeyboardInterrupt is not retryable"),
        ({"retried_inside": True}, "a layer inside has a Retry of its own, and nested= is False"),
    ],
)
def test_what_is_never_tried_again(last, why):
    """Cancels, limits above, refusals, and errors that say so: whatever time and tokens are left."""
    budget = RetryBudget()
    last = attrs.evolve(FAILED, **last)
    stop = decide(last, Retry(on=lambda error: True), budget=budget)
    assert stop == Stop(StopReason.NOT_RETRYABLE, f"retry stopped: {why}")
    assert budget.tokens(5.0) == 3.0


@pytest.mark.parametrize(
    "last",
    [
        Attempt(number=1, status=Status.TIMED_OUT, own_timeout=True),
        Attempt(number=1, status=Status.FAILED),
        Attempt(number=1, status=Status.FAILED, error=HintedError(retryable=True)),
    ],
)
def test_an_attempts_own_timeout_is_a_failure_like_others(last):
    """What its own limit ended, or failed without an error at hand, is tried again."""
    assert decide(last, Retry(on=HintedError)) == Go(0.1)


@pytest.mark.parametrize("status", [Status.FAILED, Status.TIMED_OUT])
def test_what_is_not_idempotent_is_tried_again_only_if_it_had_not_started(status):
    """`idempotent=False` stops after a start; True and None do not."""
    last = attrs.evolve(FAILED, status=status, own_timeout=True)
    stop = decide(last, idempotent=False)
    assert stop.reason is StopReason.NOT_RETRYABLE
    assert "had started, and the node is not idempotent" in stop.note
    assert decide(attrs.evolve(last, started=False), idempotent=False) == Go(0.1)
    assert decide(last, idempotent=True) == decide(last, idempotent=None) == Go(0.1)


def test_one_attempt_is_all_there_is():
    """Where nobody asked for another attempt, that is the reason, whatever the only one raised."""
    last = attrs.evolve(FAILED, error=HintedError(retryable=False))
    stop = decide(last, Retry(attempts=1), idempotent=False)
    assert stop.reason is StopReason.ATTEMPTS


def test_an_outer_layer_retries_only_if_it_is_told_to():
    """Three attempts of three attempts would be nine."""
    last = attrs.evolve(FAILED, retried_inside=True)
    assert decide(last).reason is StopReason.NOT_RETRYABLE
    assert decide(last, Retry(nested=True)) == Go(0.1)


@pytest.mark.parametrize(
    ("error", "on", "expected"),
    [
        (OSError(), OSError, True),
        (ConnectionError(), (ValueError, OSError), True),
        (KeyError(), (ValueError, OSError), False),
        (KeyError(), lambda error: isinstance(error, KeyError), True),
        (OSError(), lambda error: 0, False),
        (OverloadedError("draining", name="p", result=None), Exception, False),
        (PipelineCancelledError("x", name="p", kind="user", result=None), Exception, False),
        (ExceptionGroup("", [OSError(), ExceptionGroup("", [OSError()])]), OSError, True),
        (ExceptionGroup("", [OSError(), ExceptionGroup("", [KeyError()])]), OSError, False),
        (ExceptionGroup("", [OSError(), HintedError(retryable=False)]), Exception, False),
        (ExceptionGroup("", [OSError()]), ExceptionGroup, False),
        (BaseExceptionGroup("", [OSError(), KeyboardInterrupt()]), Exception, False),
        (SystemExit(), Exception, False),
    ],
)
def test_what_is_retryable(error, on, expected):
    """The policy decides on exceptions, of a group on each leaf; a group is more than its leaves."""
    assert is_retryable(Retry(on=on), error) is expected


def test_a_group_may_say_that_it_is_not_retryable():
    """The attribute counts on a group as well."""
    group = ExceptionGroup("", [OSError()])
    group.retryable = False
    assert not is_retryable(Retry(), group)


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (7, 7.0),
        (0.5, 0.5),
        ("7", 7.0),
        ("250ms", 0.25),
        (timedelta(seconds=2), 2.0),
        *((odd, 0.0) for odd in [0, -1, math.inf, math.nan, True, None, 10**400, "-1s", "soon"]),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
    ],
)
def test_a_hint_is_a_duration(hint, expected):
    """Seconds, a duration, or the digits of a header; what is nothing of that says nothing."""
    assert retry_hint(Retry(), HintedError(hint)) == expected
    assert retry_hint(Retry(retry_after=lambda error: hint), HintedError(3)) == expected


def test_the_longest_hint_of_a_group_counts():
    """All servers that were asked must be ready again."""
    group = BaseExceptionGroup(
        "", [HintedError(2), ExceptionGroup("", [HintedError(5), OSError()])]
    )
    assert retry_hint(Retry(), group) == 5.0
    assert retry_hint(Retry(retry_after=lambda error: 1), KeyboardInterrupt()) == 0.0


def test_a_hint_may_be_longer_than_any_backoff():
    """The server knows better; if there is no time for that, it is not asked in vain."""
    last = attrs.evolve(FAILED, error=HintedError(30))
    assert decide(last) == Go(30.0)
    stop = decide(last, remaining=20.0)
    assert stop.note == "retry stopped: 20.0 s left, 30.0 s backoff + 0.05 s expected"
    assert decide(attrs.evolve(last, error=HintedError(0.05))) == Go(0.1)


def test_what_has_started():
    """Only an error that says so has not started, and a group only if all in it say so."""

    class NotStartedError(Exception):
        started = False

    assert has_started(ValueError())
    assert not has_started(NotStartedError())
    assert has_started(ExceptionGroup("", [NotStartedError(), ValueError()]))
    assert not has_started(ExceptionGroup("", [NotStartedError(), NotStartedError()]))
    group = ExceptionGroup("", [ValueError()])
    group.started = False
    assert not has_started(group)


def test_a_backoff_grows_up_to_its_maximum():
    """The longest backoffs, from the first retry on; no power of the factor is too large."""
    retry = Retry(max_backoff=1)
    longest = [backoff_delay(retry, attempt, lambda: 1.0) for attempt in range(2, 7)]
    assert longest == [0.1, 0.2, 0.4, 0.8, 1.0]
    assert backoff_delay(retry, 10**6, lambda: 1.0) == 1.0
    assert backoff_delay(Retry(backoff=1, factor=10, max_backoff=2), 5, lambda: 0.5) == 1.0
    assert backoff_delay(Retry(backoff=0), 10**6, lambda: 1.0) == 0.0


seconds = st.floats(0, 1e3)
policies = st.builds(
    lambda backoff, more, factor: Retry(
        attempts=100, backoff=backoff, max_backoff=backoff + more, factor=factor
    ),
    seconds,
    seconds,
    st.floats(1, 10),
)
shares = st.floats(0, 1, exclude_max=True)


@repeatable
@given(policies, st.integers(2, 400), shares)
def test_a_backoff_lies_in_its_interval(retry, attempt, share):
    """For any draw: from 0 up to min(max_backoff, backoff * factor ** (k - 2))."""
    try:
        longest = retry.backoff * retry.factor ** (attempt - 2)
    except OverflowError:
        longest = retry.max_backoff
    assert 0 <= backoff_delay(retry, attempt, lambda: share) <= min(retry.max_backoff, longest)


@repeatable
@given(
    policies,
    st.integers(1, 50),
    shares,
    st.none() | seconds,
    st.floats(-10, 1e4),
    st.none() | seconds,
    st.integers(0, 40),
    seconds | st.just(math.inf),
)
def test_a_retry_always_fits_into_what_is_left(
    retry, number, share, hint, remaining, p50, successes, attempt_timeout
):
    """Whoever is told to go has waited for the hint, and has time for what is expected after that."""
    last = Attempt(number=number, status=Status.FAILED, error=HintedError(hint))
    budget = RetryBudget()
    decision = decide(
        last, retry, remaining=remaining, p50=p50, successes=successes,
        attempt_timeout=attempt_timeout, budget=budget, random=lambda: share,
    )  # fmt: skip
    known = p50 is not None and successes >= 20
    need = min(p50 if known else 0.05, attempt_timeout)
    if isinstance(decision, Go):
        assert decision.delay >= (hint or 0.0)
        assert remaining > decision.delay + need
        assert budget.tokens(5.0) == 2.0
    else:
        assert decision.reason is StopReason.DEADLINE
        assert budget.tokens(5.0) == 3.0
