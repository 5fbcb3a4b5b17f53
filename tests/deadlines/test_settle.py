"""From how and when a level ended to its status, its blame and its numbers."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceline.deadlines import (
    Blame,
    Ending,
    Kind,
    Level,
    Limit,
    Source,
    Status,
    blame_failure,
    blame_level,
    expired,
    overran,
    settle,
)


def level(
    parent=None, *, start=0.0, kind="node", name="x", source=Source.NODE, timeout=1.0, **limit
):
    return Level(Limit(kind, name, timeout=timeout, source=source, **limit), parent, start, 10.0)


def cancelled(kind, at, *, timeout=inf, start=0.0):
    one = level(timeout=timeout, start=start)
    one.cancel(at, Blame("pipeline", "p", kind, None, None, 0.0, "enough", by="them"))
    return one


def under_a_caller(timeout):
    return level(level(kind="caller", source=Source.INHERITED, timeout=timeout), timeout=5.0)


def test_a_value_before_the_limit_is_ok():
    """A value in time has no blame and no overrun."""
    verdict = settle(level(), Ending.VALUE, 0.999)
    assert (verdict.status, verdict.blame, verdict.overrun) == (Status.OK, None, 0.0)


def test_what_was_not_cancelled_has_used_no_grace():
    """The grace is untouched by a value, in time or late, and by a failure."""
    assert settle(level(), Ending.VALUE, 0.5).grace_used == 0.0
    assert settle(level(), Ending.VALUE, 1.5).grace_used == 0.0
    assert settle(level(), Ending.ERROR, 0.5).grace_used == 0.0


def test_a_verdict_is_frozen():
    """Runs that end well share one verdict, so nobody can change it for the others."""
    with pytest.raises(AttributeError):
        settle(level(), Ending.VALUE, 0.5).foreign = True


def test_the_options_of_settle_are_named():
    """A call cannot mix up an instant and a flag, because each is given by name."""
    with pytest.raises(TypeError, match="positional"):
        settle(level(), Ending.VALUE, 1.5, None, True)


@pytest.mark.parametrize("at", [1.0, 1.5])
def test_a_value_at_or_after_the_limit_is_late(at):
    """A value that comes at the limit or later is kept as `late`, with how late it was."""
    verdict = settle(level(), Ending.VALUE, at)
    assert (verdict.status, verdict.overrun) == (Status.LATE, at - 1.0)
    assert verdict.blame.kind is Kind.TIMEOUT


def test_strict_makes_a_late_value_timed_out():
    """Where lateness is worthless, a late value counts as timed out."""
    verdict = settle(level(), Ending.VALUE, 1.5, strict=True)
    assert (verdict.status, verdict.overrun) == (Status.TIMED_OUT, 0.5)


def test_strict_changes_nothing_in_time():
    """A value in time is ok, strict or not."""
    assert settle(level(), Ending.VALUE, 0.5, strict=True).status is Status.OK


@pytest.mark.parametrize(("strict", "status"), [(False, Status.LATE), (True, Status.CANCELLED)])
def test_a_value_after_a_cancel_is_late_or_cancelled(strict, status):
    """A value that a swallowed cancel let through is `late`, or `cancelled` if strict."""
    verdict = settle(cancelled(Kind.USER, 1.0), Ending.VALUE, 3.0, strict=strict)
    assert (verdict.status, verdict.blame.kind, verdict.overrun) == (status, Kind.USER, 2.0)


@pytest.mark.parametrize("at", [0.5, 1.5])
@pytest.mark.parametrize("noticed", [None, 0.25])
def test_an_error_of_its_own_is_failed(at, noticed):
    """An error with no cancel in sight is a failure, before the limit and after a burst past it."""
    verdict = settle(level(), Ending.ERROR, at, noticed=noticed)
    assert (verdict.status, verdict.blame, verdict.foreign) == (Status.FAILED, None, False)


def test_a_cancel_after_the_limit_is_timed_out():
    """What left at its limit timed out, and the unwinding was paid out of the grace."""
    verdict = settle(level(), Ending.CANCELLED, 1.25)
    assert (verdict.status, verdict.grace_used, verdict.overrun) == (Status.TIMED_OUT, 0.25, 0.0)
    assert verdict.foreign is False


def test_the_grace_used_counts_from_the_cancel():
    """An unwinding that takes longer than the limit itself is reported in full."""
    assert settle(level(timeout=1.0), Ending.CANCELLED, 3.5).grace_used == 2.5


def test_a_cancel_that_somebody_asked_for_is_cancelled():
    """An explicit cancel keeps its own reason, with the time that the work had run."""
    verdict = settle(cancelled(Kind.SHUTDOWN, 2.0), Ending.CANCELLED, 2.5)
    assert verdict.status is Status.CANCELLED
    assert verdict.blame == Blame(
        "pipeline", "p", Kind.SHUTDOWN, None, None, 2.5, "enough", by="them"
    )


def test_a_limit_before_the_cancel_is_to_blame():
    """A cancel of what has timed out already does not take over the blame."""
    verdict = settle(cancelled(Kind.USER, 2.0, timeout=1.0), Ending.CANCELLED, 2.5)
    assert (verdict.status, verdict.blame.kind) == (Status.TIMED_OUT, Kind.TIMEOUT)


def test_a_cancel_at_the_instant_of_the_limit_is_a_timeout():
    """Of a limit and a cancel at the same instant, the limit is to blame."""
    verdict = settle(cancelled(Kind.USER, 1.0, timeout=1.0), Ending.CANCELLED, 1.5)
    assert verdict.status is Status.TIMED_OUT


def test_a_cancel_before_the_limit_is_to_blame():
    """A limit that passes while a cancel unwinds does not turn it into a timeout."""
    verdict = settle(cancelled(Kind.USER, 0.5, timeout=1.0), Ending.CANCELLED, 1.5)
    assert (verdict.status, verdict.blame.kind) == (Status.CANCELLED, Kind.USER)


@pytest.mark.parametrize("noticed", [None, 0.5])
def test_a_cancel_that_nothing_of_ours_explains_is_the_callers(noticed):
    """A cancel with nothing fired in our tree belongs to the caller and must go on."""
    verdict = settle(level(), Ending.CANCELLED, 0.75, noticed=noticed)
    assert (verdict.status, verdict.foreign) == (Status.CANCELLED, True)
    assert (verdict.blame.kind, verdict.blame.level) == (Kind.CALLER, "caller")
    assert (verdict.blame.limit, verdict.blame.source) == (None, None)
    assert verdict.grace_used == (0.0 if noticed is None else 0.25)


def test_the_blame_of_a_foreign_cancel_says_whose_it_was():
    """A caller who cancels reads that it was a scope of theirs, and how long the work had run."""
    assert settle(level(start=5.0), Ending.CANCELLED, 5.75).blame == Blame(
        "caller", "caller", Kind.CALLER, None, None, 0.75, "cancelled by a scope of the caller's"
    )


def test_a_foreign_cancel_stays_foreign_when_our_limit_passes_meanwhile():
    """What counts is when the cancel was first noticed, not when it had unwound."""
    verdict = settle(level(), Ending.CANCELLED, 1.5, noticed=0.75)
    assert (verdict.foreign, verdict.grace_used) == (True, 0.75)
    assert settle(level(), Ending.CANCELLED, 1.5, noticed=1.0).foreign is False


def test_an_error_while_our_cancel_unwinds_does_not_hide_the_timeout():
    """A broken `finally` after our cancel leaves the timeout a timeout."""
    verdict = settle(level(), Ending.ERROR_IN_CANCEL, 1.25)
    assert (verdict.status, verdict.blame.name) == (Status.TIMED_OUT, "x")


@pytest.mark.parametrize("noticed", [None, 0.5])
def test_an_error_while_a_foreign_cancel_unwinds_is_failed(noticed):
    """An error after a cancel of the user's own, before anything of ours fired, is a failure."""
    at = 0.75 if noticed is None else 1.5
    verdict = settle(level(), Ending.ERROR_IN_CANCEL, at, noticed=noticed)
    assert (verdict.status, verdict.blame) == (Status.FAILED, None)


def test_the_deadline_of_the_caller_is_timed_out_and_goes_on():
    """The caller's own deadline is a limit in the tree, and its `Cancelled` must reach the caller."""
    verdict = settle(under_a_caller(1.0), Ending.CANCELLED, 1.25)
    assert (verdict.status, verdict.foreign) == (Status.TIMED_OUT, True)
    assert verdict.blame.message == "the caller's own deadline passed"
    assert verdict.blame.source is Source.INHERITED


def test_a_limit_before_the_callers_deadline_is_ours():
    """A caller's deadline that passes while our timeout unwinds is not to blame."""
    one = level(level(kind="caller", source=Source.INHERITED, timeout=1.5))
    assert settle(one, Ending.CANCELLED, 2.0).foreign is False


def test_what_starts_in_time_is_not_expired():
    """A level that nothing has fired may start."""
    assert expired(level(), 0.5) is None


def test_a_limit_of_zero_has_expired_before_anything_starts():
    """A timeout of zero is timed out and never started."""
    verdict = expired(level(timeout=0.0), 0.0)
    assert (verdict.status, verdict.blame.limit) == (Status.TIMED_OUT, 0.0)


def test_what_was_cancelled_before_it_starts_is_cancelled():
    """A level below one that somebody cancelled does not start."""
    verdict = expired(level(cancelled(Kind.USER, 0.0)), 0.5)
    assert (verdict.status, verdict.blame.kind, verdict.foreign) == (
        Status.CANCELLED,
        Kind.USER,
        False,
    )


def test_what_is_cancelled_at_the_instant_of_its_start_does_not_start():
    """A cancel and a start at the very same instant: the cancel wins."""
    now = 2.5
    verdict = expired(level(cancelled(Kind.USER, now), timeout=inf), now)
    assert verdict.status is Status.CANCELLED


def test_what_starts_after_the_callers_deadline_is_foreign():
    """A run that the caller has no time for ends with the caller's own cancel."""
    assert expired(under_a_caller(0.0), 0.0).foreign is True


def test_a_blame_names_the_level_its_limit_and_where_it_was_stated():
    """A blame answers who, how much, stated where and how long it ran."""
    stage = level(kind="stage", name="plan", source=Source.STAGE, timeout=0.25)
    assert blame_level(stage, 0.75) == Blame(
        "stage",
        "plan",
        Kind.TIMEOUT,
        0.25,
        Source.STAGE,
        0.75,
        "stage 'plan' exceeded its limit of 250ms",
    )


@pytest.mark.parametrize("kind", ["node", "stage", "pipeline"])
def test_the_blame_of_a_default_says_how_to_change_it(kind):
    """Somebody who never stated a limit learns which default it was and where to state one."""
    message = blame_level(level(kind=kind, source=Source.DEFAULT), 1.0).message
    assert f"the engine's default for a {kind}" in message
    assert "timeout=" in message
    assert f"open_engine(timeouts=Timeouts({kind}=...))" in message


def test_the_blame_of_a_calls_limit_says_so():
    """A limit that came with the call is not looked for in the definition."""
    message = blame_level(level(source=Source.CALL), 1.0).message
    assert message.endswith("exceeded its limit of 1s, given with the call")


def test_the_blame_of_a_learned_limit_says_so():
    """A limit that is in no definition is explained: it comes from how long calls took."""
    message = blame_level(level(source=Source.ADAPTIVE), 1.0).message
    assert message.endswith("exceeded its limit of 1s, learned from the durations of calls")


@pytest.mark.parametrize(
    "source",
    sorted(set(Source) - {Source.INHERITED, Source.DEFAULT, Source.CALL, Source.ADAPTIVE}),
)
def test_the_blame_of_a_stated_limit_adds_no_advice(source):
    """Who stated a limit in the definition reads the limit and nothing else."""
    message = blame_level(level(source=source), 1.0).message
    assert message == "node 'x' exceeded its limit of 1s"


def test_the_elapsed_time_of_a_blame_counts_from_the_start_of_its_level():
    """How long a level had run does not depend on when the clock began."""
    blames = [
        blame_level(level(start=5.0), 6.5),
        blame_level(cancelled(Kind.USER, 6.0, start=5.0), 6.5),
        blame_failure(level(start=5.0), 6.5, Kind.FAILED, "broke"),
    ]
    assert [blame.elapsed for blame in blames] == [1.5, 1.5, 1.5]


def test_the_blame_of_a_reserve_shows_the_timeout():
    """The limit that people wrote down is the one that they read, reserve included."""
    assert blame_level(level(timeout=0.25, reserve=0.05), 0.2).limit == 0.25


def test_a_failure_is_blamed_on_the_level_that_failed():
    """A failure keeps its kind and message, and shows the limit that was not reached."""
    assert blame_failure(level(), 0.5, Kind.FAILED, "broke") == Blame(
        "node", "x", Kind.FAILED, 1.0, Source.NODE, 0.5, "broke"
    )


@pytest.mark.parametrize("enforced", [True, False])
def test_a_limit_that_is_only_watched_tells_how_far_it_was_overrun(enforced):
    """`overran` is positive past the limit, reserve considered, enforced or not."""
    one = level(timeout=1.0, reserve=0.25, enforced=enforced)
    assert overran(one, 0.5) == -0.25
    assert overran(one, 1.0) == 0.25


def test_no_limit_is_never_overrun():
    """Without a limit there is nothing to overrun."""
    assert overran(level(timeout=inf), 1e9) == -inf


@given(
    timeout=st.floats(0, 10) | st.just(inf),
    at=st.floats(0, 10),
    ending=st.sampled_from(Ending),
    asked=st.floats(0, 10) | st.none(),
    strict=st.booleans(),
)
def test_somebody_is_blamed_exactly_if_nothing_else_explains_the_end(
    timeout, at, ending, asked, strict
):
    """`ok` and the node's own failure have no blame; every other verdict blames one level."""
    one = level(timeout=timeout)
    if asked is not None:
        one.cancel(asked, Blame("node", "x", Kind.USER, None, None, 0.0, "stop"))
    verdict = settle(one, ending, at, strict=strict)
    assert (verdict.blame is None) == (verdict.status in (Status.OK, Status.FAILED))
    assert verdict.overrun >= 0.0
    assert verdict.grace_used >= 0.0
    assert (verdict.overrun > 0.0) <= (ending is Ending.VALUE)
