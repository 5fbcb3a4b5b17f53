"""The one graph rule: order, sinks, segments, and what is refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceline import DefinitionError
from graceline.definitions.graph import build_graph


def graph(**after):
    return build_graph({name: tuple(needed) for name, needed in after.items()}, list(after), "here")


@st.composite
def edges(draw):
    """Any acyclic graph, its names in a random order of definition."""
    count = draw(st.integers(1, 7))
    names = [f"n{index}" for index in range(count)]
    after = {
        name: draw(st.lists(st.sampled_from(names[:index]), unique=True) if index else st.just([]))
        for index, name in enumerate(names)
    }
    return {name: after[name] for name in draw(st.permutations(names))}


def test_what_has_nothing_before_it_keeps_the_order_of_definition():
    """Independent parts are all sinks, and each is a segment of its own."""
    found = graph(b=[], a=[])
    assert found.order == found.sinks == ("b", "a")
    assert found.segments == (("b",), ("a",))


def test_a_chain_is_one_segment():
    """A sequence needs one task, however it was written down."""
    found = graph(c=["b"], b=["a"], a=[])
    assert found.order == ("a", "b", "c")
    assert found.segments == (("a", "b", "c"),)
    assert found.sinks == ("c",)


def test_a_fork_and_a_join_cut_segments():
    """Where two things can be alive at once, a segment ends."""
    found = graph(a=[], b=["a"], c=["a"], d=["b", "c"], e=["d"])
    assert found.segments == (("a",), ("b",), ("c",), ("d", "e"))
    assert found.next == {"a": ("b", "c"), "b": ("d",), "c": ("d",), "d": ("e",), "e": ()}
    assert found.before["d"] == ("b", "c")


def test_what_is_after_across_a_chain_is_its_own_segment():
    """A part that needs one that has another successor too starts on its own."""
    found = graph(a=[], b=["a"], c=["a", "b"])
    assert found.segments == (("a",), ("b",), ("c",))


def test_no_parts_are_refused():
    """An empty stage could have no output."""
    with pytest.raises(DefinitionError, match=r"^here: it has no parts; give at least one"):
        graph()


def test_a_name_used_twice_is_refused():
    """Two parts of one name could not be told apart in a result."""
    with pytest.raises(DefinitionError, match=r"^here: 'a' is used twice; .* name="):
        build_graph({"a": ()}, ["a", "a"], "here")


def test_an_unknown_predecessor_is_refused_with_the_nearest_name():
    """A typo in `after` is answered with the name that was meant, never with the part's own."""
    message = r"^here: 'plan' is to run after 'plans', which is not in it; valid are: 'act'$"
    with pytest.raises(DefinitionError, match=message):
        graph(plan=["plans"], act=[])
    with pytest.raises(DefinitionError, match="did you mean 'plan'"):
        graph(act=["plans"], plan=[])


def test_a_cycle_is_refused_with_its_culprits():
    """The message walks the cycle in running order and leaves out what only hangs on it."""
    message = r"^here: 'a' -> 'b' -> 'c' -> 'a' is a cycle; remove"
    with pytest.raises(DefinitionError, match=message):
        graph(start=[], a=["start", "c"], b=["a"], c=["b"], d=["c"])


def test_what_hangs_on_a_cycle_is_not_called_part_of_it():
    """A part that only waits for a cycle is not named, even if it is defined first."""
    with pytest.raises(DefinitionError, match=r"^here: 'a' -> 'b' -> 'a' is a cycle"):
        graph(d=["a"], a=["b"], b=["a"])


def test_a_part_after_itself_is_a_cycle():
    """The shortest cycle is found as well."""
    with pytest.raises(DefinitionError, match=r"'a' -> 'a' is a cycle"):
        graph(a=["a"])


@given(edges())
def test_every_part_comes_after_what_it_needs(after):
    """The order is a topological one and holds every name once."""
    found = graph(**after)
    assert sorted(found.order) == sorted(after)
    for name, needed in after.items():
        assert all(found.order.index(one) < found.order.index(name) for one in needed)


@given(edges())
def test_segments_are_chains_that_hold_every_part_once(after):
    """Inside a segment each part has one predecessor, which has no other successor."""
    found = graph(**after)
    assert sorted(name for segment in found.segments for name in segment) == sorted(after)
    for segment in found.segments:
        for one, other in pairwise(segment):
            assert found.before[other] == (one,)
            assert found.next[one] == (other,)


@given(edges())
def test_sinks_are_what_nothing_depends_on(after):
    """The output comes from exactly the parts that nothing waits for, in order of definition."""
    needed = {name for names in after.values() for name in names}
    assert graph(**after).sinks == tuple(name for name in after if name not in needed)
