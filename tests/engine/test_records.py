"""Outcomes are built when somebody looks; nobody can tell."""

import pytest

from graceline import Node, NodeOutcome, Pipeline, Stage, StageOutcome, parallel, sequence


async def echo(value):
    return value


@pytest.fixture
def pipeline():
    return Pipeline(
        "p",
        [
            Stage("first", sequence(Node(echo, name="a"), Node(echo, name="b"))),
            Stage("second", parallel(Node(echo, name="c"), Node(echo, name="d", timeout=0.01))),
        ],
    )


async def test_outcomes_are_a_read_only_mapping(autojump_clock, engine, pipeline):
    """The outcomes of a run are a mapping in the order of definition that nobody can change."""
    result = await engine.run(pipeline, 1)
    assert list(result.stages) == ["first", "second"]
    assert [list(stage.nodes) for stage in result.stages.values()] == [["a", "b"], ["c", "d"]]
    assert len(result.stages) == 2
    assert "first" in result.stages
    assert "third" not in result.stages
    with pytest.raises(KeyError):
        result.stages["third"]
    with pytest.raises(TypeError):
        result.stages["first"] = None
    with pytest.raises(AttributeError):
        result.stages["first"].nodes["a"].value = 2


async def test_every_look_gives_the_same_outcome(autojump_clock, engine, pipeline):
    """Two looks at an outcome give the same frozen object, with everything in it."""
    result = await engine.run(pipeline, 1)
    node = result.stages["second"].nodes["d"]
    assert node is result.node("d")
    assert node is result.stages["second"].nodes["d"]
    assert node == NodeOutcome(
        name="d", status="ok", value=1, partial=None, error=None, started=0.0, elapsed=0.0,
        limit=0.01, source="node", attempts=1, grace_used=0.0, overrun=0.0, blame=None,
        secondary=(),
    )  # fmt: skip
    stage = result.stages["first"]
    assert isinstance(stage, StageOutcome)
    assert stage.nodes == {name: stage.nodes[name] for name in ("a", "b")}
    assert repr(stage.nodes) == repr(dict(stage.nodes))
