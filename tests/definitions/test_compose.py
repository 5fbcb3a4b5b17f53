"""`sequence`, `parallel` and `each` fill in what one would otherwise write by hand."""

import math

import pytest

from graceline import (
    DefinitionError,
    DefinitionWarning,
    Node,
    Pipeline,
    Stage,
    each,
    node,
    parallel,
    sequence,
)


async def a(value):
    return value


async def b(value):
    return value


async def c(value):
    return value


async def d(value):
    return value


def after(*parts):
    return {part.name: set(part.after) for part in parts}


def test_a_sequence_runs_one_after_the_other():
    """Each part of a sequence comes after the one before it."""
    assert after(*sequence(a, b, c)) == {"a": set(), "b": {"a"}, "c": {"b"}}


def test_parallel_parts_have_nothing_before_them():
    """Parts of a parallel group all get the input of the group."""
    assert after(*parallel(a, b)) == {"a": set(), "b": set()}


def test_a_parallel_group_in_a_sequence_forks_and_joins():
    """What follows a parallel group waits for all of it."""
    assert after(*sequence(a, parallel(b, c), d)) == {
        "a": set(),
        "b": {"a"},
        "c": {"a"},
        "d": {"b", "c"},
    }


def test_a_sequence_in_a_parallel_group_keeps_its_order():
    """Only the head of an inner sequence gets the group's input."""
    assert after(*parallel(sequence(a, b), c)) == {"a": set(), "b": {"a"}, "c": set()}


def test_what_follows_inner_sequences_waits_for_their_ends_only():
    """After a group come its last parts, and not those that are done long before."""
    assert after(*sequence(parallel(sequence(a, b), c), d))["d"] == {"b", "c"}


def test_an_inner_sequence_hangs_on_what_is_before_it():
    """The head of an inner sequence follows the part before the group."""
    assert after(*sequence(a, sequence(b, c), d)) == {
        "a": set(),
        "b": {"a"},
        "c": {"b"},
        "d": {"c"},
    }


def test_an_empty_group_leaves_a_sequence_whole():
    """A group that was computed and turned out empty does not cut the chain."""
    assert after(*sequence(a, parallel(), [], b)) == {"a": set(), "b": {"a"}}


def test_the_groups_make_a_stage():
    """Groups can be given to a stage as they are, or inside its list."""
    whole = Stage("s", sequence(a, parallel(b, c), d))
    listed = Stage("s", [sequence(a, parallel(b, c)), Node(d, after=["b", "c"])])
    assert whole.graph.before == listed.graph.before
    assert whole.graph.sinks == ("d",)


def test_stages_can_be_grouped():
    """The same rule holds for the stages of a pipeline."""
    stages = parallel(Stage("x", [a]), sequence(Stage("y", [a]), Stage("z", [a])))
    assert Pipeline("p", stages).graph.before == {"x": (), "y": (), "z": ("y",)}


def test_what_says_its_order_itself_cannot_be_placed():
    """`after` and a group would contradict each other, so the message names the part."""
    with pytest.raises(DefinitionError, match=r"^sequence\(\): 'b' says after=\['a'\] itself"):
        sequence(a, Node(b, after="a"))
    with pytest.raises(DefinitionError, match=r"^parallel\(\): 'b' says after=\['a'\] itself"):
        parallel(a, Node(b, after="a"))


@pytest.mark.parametrize("part", [3, "a", None])
def test_what_is_no_part_is_refused(part):
    """A group holds nodes, functions, stages and groups only."""
    with pytest.raises(DefinitionError, match=r"^sequence\(\): .* is not a function"):
        sequence(part)


def test_a_pipeline_is_no_part():
    """A pipeline cannot stand inside a group."""
    with pytest.raises(DefinitionError, match="pipeline 'p' is neither a node nor a function"):
        parallel(Pipeline("p", [a]))


def test_each_is_a_node_with_a_loop():
    """The loop's options are kept beside the node's own."""
    loop = each(a, max_parallel=3, item_timeout="50ms", name="all", timeout=2)
    assert (loop.name, loop.timeout) == ("all", 2.0)
    assert (loop.each.max_parallel, loop.each.item_timeout) == (3, 0.05)


def test_each_has_defaults():
    """Eight items at once, without a limit of their own."""
    assert (each(a).each.max_parallel, each(a).each.item_timeout) == (8, None)
    assert each(a, items=sorted).each.items is sorted
    with pytest.raises(DefinitionError, match=r"items= must be a plain function"):
        each(a, items=a)


def test_each_keeps_what_the_node_says():
    """A node that becomes a loop keeps its options."""
    loop = each(Node(a, timeout=1, critical=False, fallback=[], metadata={"k": 1}))
    assert (loop.timeout, loop.critical, loop.fallback) == (1.0, False, [])
    assert loop.metadata == {"k": 1}


def test_a_loop_is_not_a_list_of_loops():
    """A node that runs over a list already is refused."""
    with pytest.raises(DefinitionError, match=r"^each\('a'\): it runs over a list already"):
        each(each(a))


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "8", None])
def test_a_loop_runs_at_least_one_item_at_once(count):
    """`max_parallel` is a whole number from 1."""
    with pytest.raises(DefinitionError, match=r"^each\('a'\): max_parallel= must be at least 1"):
        each(a, max_parallel=count)


@pytest.mark.parametrize("value", [-1, math.nan, True, "5"])
def test_a_bad_item_limit_is_refused(value):
    """The limit of an item is checked like any other, and the message says where."""
    with pytest.raises(DefinitionError, match=r"^each\('a'\), item_timeout=: "):
        each(a, item_timeout=value)


def test_an_unknown_option_of_each_is_refused_with_the_nearest():
    """A typo in an option is answered with the option that was meant."""
    with pytest.raises(DefinitionError, match=r"timeot= is unknown; did you mean 'timeout'\?"):
        each(a, timeot=1)
    with pytest.raises(DefinitionError, match=r"did you mean 'max_parallel'\?"):
        each(a, max_paralel=1)


def test_an_item_limit_above_the_loops_is_warned_about():
    """An item never outlives the loop, so a longer limit is clamped, with a warning."""
    with pytest.warns(DefinitionWarning, match="each item: its limit of 2s is above the 1s") as got:
        each(a, item_timeout=2, timeout=1)
    assert got[0].filename == __file__


def test_each_is_not_set_by_hand():
    """`Node(each=...)` takes what `each()` makes, and the message points there."""
    with pytest.raises(DefinitionError, match=r"node 'a': write each\(node, ...\)"):
        Node(a, each=8)


def test_a_decorated_node_can_be_composed():
    """`@node` gives a part like any other."""
    assert after(*sequence(node(a), b)) == {"a": set(), "b": {"a"}}
