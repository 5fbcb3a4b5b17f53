"""The equations of `fired`, `hard` and `cause`, one by one and as properties."""

from itertools import pairwise
from math import inf

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from graceline.deadlines import Blame, Kind, Level, Limit, Source

times = st.floats(0, 100)
spans = st.one_of(times, st.just(inf))


def level(parent=None, start=0.0, *, kind="node", name="x", grace=None, **limit):
    return Level(Limit(kind, name, grace=grace, **limit), parent, start, 10.0)


def reason(name="x"):
    return Blame("node", name, Kind.USER, None, None, 0.0, "asked to")


@st.composite
def chains(draw):
    """A chain of levels, outermost first, some of them cancelled, forced or left by a cancel."""
    chain = [None]
    start = 0.0
    for depth in range(draw(st.integers(1, 5))):
        start += draw(times)
        timeout = draw(spans)
        reserve = draw(st.floats(0, timeout)) if timeout < inf else 0.0
        grace = draw(st.none() | times)
        chain.append(
            level(chain[-1], start, name=str(depth), timeout=timeout, reserve=reserve, grace=grace)
        )
    for one in chain[1:]:
        if draw(st.booleans()):
            one.cancel(draw(times), reason(one.limit.name))
        if draw(st.booleans()):
            one.force(draw(times))
        if draw(st.booleans()):
            one.inherit_foreign(draw(times))
    return chain[1:]


def test_a_deadline_is_the_start_plus_the_timeout():
    """The clock of a level runs from its own start."""
    assert level(start=5.0, timeout=2.0).own() == 7.0


def test_a_reserve_is_carved_out_of_the_timeout():
    """With `reserve` the work is cancelled early and everything has ended at the timeout."""
    one = level(start=5.0, timeout=0.25, reserve=0.05, grace=0.05)
    assert one.fired() == pytest.approx(5.20)
    assert one.hard() == pytest.approx(5.25)
    assert one.limit.shown == 0.25


def test_a_grace_comes_after_the_timeout():
    """With `grace` the work is cancelled at the timeout and everything has ended a grace later."""
    one = level(timeout=0.25, grace=0.1)
    assert (one.fired(), one.hard()) == (0.25, pytest.approx(0.35))


def test_a_timeout_of_zero_has_fired_at_the_start():
    """A level with nothing left is cancelled at the very instant at which it starts."""
    one = level(start=3.0, timeout=0.0)
    assert one.fired() == 3.0
    assert one.cause(3.0) is one


def test_without_a_limit_nothing_ever_fires():
    """An unlimited level has no deadline, no end and nobody to blame."""
    one = level()
    assert (one.own(), one.fired(), one.hard(), one.cause(1e9)) == (inf, inf, inf, None)
    assert one.limit.shown is None


def test_any_infinity_is_no_limit():
    """An infinity that was computed or parsed means unlimited as much as `math.inf` does."""
    assert level(timeout=float("inf")).limit.shown is None


def test_a_limit_is_not_stated_unless_somebody_states_it():
    """A bare limit leaves room for the engine's default."""
    assert Limit("node", "x").stated is False


def test_a_limit_is_frozen():
    """The runs of a pipeline share its limits, so none of them can change one."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Limit("node", "x").timeout = 1.0


def test_a_limit_that_is_not_enforced_never_fires():
    """In `observe` and `off` a limit is shown, and cancels nothing."""
    one = level(timeout=1.0, enforced=False)
    assert one.fired() == inf
    assert one.limit.shown == 1.0


@pytest.mark.parametrize(("child", "parent", "fires"), [(9.0, 2.0, 2.0), (1.0, 2.0, 1.0)])
def test_a_child_is_clamped_by_its_parent(child, parent, fires):
    """A child's work is cancelled at the earlier of the two deadlines, never later."""
    assert level(level(timeout=parent), timeout=child).fired() == fires


def test_the_own_time_of_a_level_ignores_its_parent():
    """`own` is what the level itself states; only `fired` looks up."""
    assert level(level(timeout=2.0), timeout=9.0).own() == 9.0


def test_grace_none_takes_the_parents():
    """A level that states no grace has that of the level above it."""
    assert level(level(grace=3.0)).grace == 3.0


def test_at_the_root_grace_none_takes_the_engines():
    """The root of a tree falls back to the grace that the engine gives."""
    assert Level(Limit("pipeline", "p"), None, 0.0, 0.1).grace == 0.1
    assert Level(Limit("pipeline", "p"), None, 0.0).grace == inf


def test_a_grace_of_its_own_beats_the_parents():
    """A stated grace is used as it is, shorter or longer than the parent's."""
    assert level(level(grace=3.0), grace=4.0).grace == 4.0


def test_cleanup_never_outlasts_the_parents():
    """A child's long grace is cut at the parent's `hard`."""
    parent = level(timeout=1.0, grace=0.5)
    assert level(parent, timeout=1.0, grace=60.0).hard() == 1.5


def test_the_grace_of_a_level_counts_from_what_fired_it():
    """A child that the parent's deadline cuts has its own, shorter grace from that instant."""
    parent = level(timeout=1.0, grace=5.0)
    assert level(parent, timeout=9.0, grace=0.25).hard() == 1.25


def test_a_foreign_cancel_bounds_cleanup_only():
    """A cancel that is not ours starts the grace, and leaves `fired` and the cause alone."""
    one = level(timeout=10.0, grace=1.0)
    one.inherit_foreign(2.0)
    assert (one.fired(), one.hard(), one.cause(5.0)) == (10.0, 3.0, None)


def test_a_foreign_cancel_after_the_deadline_does_not_extend_cleanup():
    """The earlier of our cancel and the foreign one starts the grace."""
    one = level(timeout=2.0, grace=1.0)
    one.inherit_foreign(2.5)
    assert one.hard() == 3.0


def test_levels_above_share_the_instant_of_a_foreign_cancel():
    """A cancel that passes through three levels does not stack three graces."""
    top = level(grace=1.0)
    middle = level(top)
    bottom = level(middle)
    bottom.inherit_foreign(4.0)
    assert [one.hard() for one in (top, middle, bottom)] == [5.0, 5.0, 5.0]


def test_a_foreign_cancel_stays_below_the_last_level_that_it_leaves():
    """What lies above the root of the run is not told of a cancel that ends at the root."""
    above = level(grace=1.0)
    root = level(above)
    bottom = level(root)
    bottom.inherit_foreign(4.0, upto=root)
    assert [one.foreign_at for one in (above, root, bottom)] == [inf, 4.0, 4.0]


def test_the_earliest_foreign_instant_stays():
    """A later foreign cancel does not move the instant of the first."""
    one = level(grace=1.0)
    one.inherit_foreign(4.0)
    one.inherit_foreign(6.0)
    assert one.foreign_at == 4.0


def test_a_forced_end_cuts_the_grace():
    """`forced_at` ends cleanup, however much grace is left."""
    one = level(timeout=1.0, grace=60.0)
    one.force(2.0)
    assert one.hard() == 2.0


def test_a_forced_end_holds_below():
    """What is forced above ends below as well, and never the other way round."""
    top = level(timeout=1.0, grace=60.0)
    bottom = level(top)
    top.force(2.0)
    bottom.force(1.5)
    assert (top.hard(), bottom.hard()) == (2.0, 1.5)


def test_the_earliest_forced_end_wins():
    """A second, later wish does not give time back."""
    one = level()
    one.force(2.0)
    one.force(5.0)
    assert one.forced_at == 2.0


def test_a_forced_end_is_no_cancel():
    """Forcing an end bounds cleanup; the work itself is cancelled by `cancel`."""
    one = level(timeout=10.0)
    one.force(2.0)
    assert one.fired() == 10.0


def test_the_first_cancel_wins():
    """A second cancel changes neither the instant nor the reason."""
    one = level()
    first = reason("first")
    assert one.cancel(1.0, first) is True
    assert one.cancel(0.5, reason("second")) is False
    assert (one.cancelled_at, one.reason) == (1.0, first)


def test_a_cancel_before_the_deadline_is_what_fires():
    """`own` is the earlier of the deadline and the explicit cancel."""
    one = level(timeout=5.0)
    one.cancel(2.0, reason())
    assert (one.own(), one.fired()) == (2.0, 2.0)


def test_a_cancel_after_the_deadline_changes_no_time():
    """A cancel of what has timed out already comes too late."""
    one = level(timeout=5.0, grace=1.0)
    one.cancel(5.5, reason())
    assert (one.fired(), one.hard()) == (5.0, 6.0)


def test_a_cancel_above_fires_below():
    """An explicit cancel of the parent is the child's as well."""
    top = level()
    bottom = level(top, timeout=9.0)
    top.cancel(1.0, reason())
    assert bottom.fired() == 1.0
    assert bottom.cause(1.0) is top


def test_a_cancel_below_leaves_the_parent_alone():
    """A level can be cancelled without its parent."""
    top = level(timeout=9.0)
    bottom = level(top)
    bottom.cancel(1.0, reason())
    assert (bottom.fired(), top.fired()) == (1.0, 9.0)


def test_equal_limits_blame_the_outermost():
    """Of two levels that fire at the same instant, the outer one is to blame."""
    top = level(timeout=1.0, name="top")
    bottom = level(top, timeout=1.0, name="bottom")
    assert bottom.cause(1.0) is top


def test_the_earliest_own_time_is_to_blame():
    """A later deadline above that has passed meanwhile does not take over the blame."""
    top = level(timeout=2.0)
    bottom = level(top, timeout=1.0)
    assert bottom.cause(5.0) is bottom


def test_nobody_is_to_blame_before_anything_fired():
    """A limit is to blame from its own instant on, and not a moment sooner."""
    one = level(timeout=1.0)
    assert one.cause(0.999) is None
    assert one.cause(1.0) is one


def test_a_callers_deadline_is_a_level_like_any_other():
    """The virtual level of the caller clamps, and its grace is the pipeline's."""
    caller = level(kind="caller", timeout=1.0, grace=0.1, source=Source.INHERITED)
    pipeline = level(caller, kind="pipeline", timeout=9.0)
    assert pipeline.fired() == 1.0
    assert pipeline.hard() == pytest.approx(1.1)
    assert pipeline.cause(1.0) is caller


def test_a_level_lies_within_itself_and_what_is_above():
    """`within` looks up the tree, never down or across."""
    top = level()
    bottom = level(top)
    assert bottom.within(bottom)
    assert bottom.within(top)
    assert not top.within(bottom)


def test_before_a_cancel_a_cleanup_block_has_the_grace_from_its_start():
    """On the normal path each block may use the whole grace."""
    one = level(timeout=10.0, grace=1.0)
    assert one.cleanup_ends(2.0) == 3.0
    assert one.cleanup_ends(4.0) == 5.0


def test_before_a_cancel_a_cleanup_block_ends_at_the_hard_end_at_the_latest():
    """A block that is opened shortly before a parent's end is cut with everything else."""
    top = level(timeout=10.0, grace=0.5)
    one = level(top, timeout=9.9, grace=5.0)
    assert one.cleanup_ends(9.0) == 10.5


def test_after_a_cancel_all_cleanup_blocks_share_one_budget():
    """Three blocks in a row end at the same instant, however late they are opened."""
    one = level(timeout=10.0, grace=1.0)
    assert [one.cleanup_ends(at) for at in (10.0, 10.5, 11.5)] == [11.0, 11.0, 11.0]


def test_after_a_foreign_cancel_all_cleanup_blocks_share_one_budget():
    """A cancel that is not ours starts the shared budget just as ours does."""
    one = level(timeout=10.0, grace=1.0)
    one.inherit_foreign(2.0)
    assert [one.cleanup_ends(at) for at in (2.0, 2.5)] == [3.0, 3.0]


def test_a_level_says_who_it_is():
    """The representation names the level and when it fires."""
    assert repr(level(kind="stage", name="s", timeout=1.5)) == "<stage 's' fires at 1.5>"


@given(chains())
def test_a_child_never_outlives_its_parent(chain):
    """Work and cleanup of a child end no later than those of its parent."""
    for parent, child in pairwise(chain):
        assert child.fired() <= parent.fired()
        assert child.hard() <= parent.hard()


@given(chains())
def test_the_equations_hold_as_they_are_written(chain):
    """`own`, `fired` and `hard` are what the contract's recursive equations say."""

    def fired(one):
        return min(one.own(), inf if one.parent is None else fired(one.parent))

    def hard(one):
        above = inf if one.parent is None else hard(one.parent)
        return min(min(fired(one), one.foreign_at) + one.grace, one.forced_at, above)

    for one in chain:
        assert one.own() == min(one.deadline, one.cancelled_at)
        assert one.fired() == fired(one)
        assert one.hard() == hard(one)


@given(chains(), times)
def test_the_cause_is_the_outermost_of_the_earliest(chain, at):
    """The cause has fired by then, nothing fired before it, and nothing above it at the same time."""
    cause = chain[-1].cause(at)
    due = [one for one in chain if one.own() <= at]
    assert (cause is None) == (not due)
    if cause is not None:
        assert cause is min(due, key=lambda one: one.own())
        assert cause.own() == chain[-1].fired() <= at


@given(chains(), st.data())
def test_raising_a_limit_never_fires_earlier(chain, data):
    """More time for one level never takes time from any."""
    before = [one.fired() for one in chain]
    raised = data.draw(st.sampled_from(chain))
    raised.deadline += data.draw(spans)
    assert all(now >= then for now, then in zip([o.fired() for o in chain], before, strict=True))


@given(chains(), times, times)
def test_a_cleanup_block_is_always_bounded_by_the_hard_end(chain, at, later):
    """A block never outlasts `hard`, nor does one that is opened later end earlier."""
    assume(at <= later)
    one = chain[-1]
    assert one.cleanup_ends(at) <= one.cleanup_ends(later) <= one.hard()
