import pytest

from graceline import DefinitionError, Node, Pipeline, Stage
from graceline.planning.places import by_place, by_stage, nodes_of


async def work(value):
    raise AssertionError


def test_names_of_nodes():
    """A name stands for all nodes of that name, and the stage makes it one of them."""
    twice = Pipeline("p", [Stage("s", [Node(work, name="a")]), Stage("t", [Node(work, name="a")])])
    assert by_place(twice, {"a": 1, "t.a": 2}, "x") == {("s", "a"): 1.0, ("t", "a"): 2.0}
    with pytest.raises(DefinitionError, match=r"x: no node is called 'c'"):
        by_place(twice, {"c": 1}, "x")


def test_names_of_stages():
    """Durations by name of a stage are seconds; a name that none has is refused."""
    pipeline = Pipeline("p", [Stage("s", [Node(work, name="a")])])
    assert by_stage(pipeline, {"s": "20ms"}, "x") == {"s": 0.02}
    assert by_stage(pipeline, None, "x") == {}
    with pytest.raises(DefinitionError, match=r"x: no stage is called 't'"):
        by_stage(pipeline, {"t": 1}, "x")


def test_all_nodes_are_found():
    """Every node comes with its stage, in order."""
    a, b = Node(work, name="a"), Node(work, name="b")
    pipeline = Pipeline("p", [Stage("s", [b]), Stage("t", [a, b])])
    assert list(nodes_of(pipeline)) == [("s", "b"), ("t", "a"), ("t", "b")]
    stage, node = nodes_of(pipeline)["t", "a"]
    assert (stage.name, node) == ("t", pipeline.stages[1].nodes[0])
