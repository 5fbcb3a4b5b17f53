"""Outcomes are built when somebody looks; nobody can tell."""

import copy
import gc
import pickle
import threading
import weakref

import pytest
import trio

from graceline import (
    Node,
    NodeOutcome,
    Pipeline,
    Stage,
    StageOutcome,
    open_engine,
    parallel,
    save_partial,
    sequence,
)


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


class Locked:
    """A function that can be neither pickled nor copied; it hangs if its input is None."""

    def __init__(self):
        self.lock = threading.Lock()

    async def __call__(self, value):
        save_partial("begun")
        if value is None:
            await trio.sleep_forever()
        return value


def locked():
    nodes = sequence(Node(Locked(), name="a"), Node(Locked(), name="b", timeout=1))
    return Pipeline("p", [Stage("s", nodes)])


def pickled(value):
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


@pytest.mark.parametrize("again", [copy.deepcopy, pickled])
@pytest.mark.parametrize("value", [1, None])
@pytest.mark.parametrize("looked", [False, True])
async def test_a_result_can_be_copied_and_pickled(autojump_clock, engine, again, value, looked):
    """A copy or a pickle of a result, or of a stage, is all that is to be known, and holds no function."""
    result = await engine.run(locked(), value, timeout=2)
    assert not looked or repr(result)
    twin, stages = again(result), again(result.stages)
    assert twin == result
    assert stages == result.stages
    assert twin.partial == ({"a": "begun"} if value is None else {})
    with pytest.raises(TypeError):
        twin.partial["a"] = "changed"


@pytest.mark.parametrize("value", [1, None])
async def test_a_result_that_was_looked_at_keeps_no_function(autojump_clock, value):
    """Who keeps results for long, and has looked at them, keeps nothing of the pipeline."""
    pipeline = locked()
    function = weakref.ref(pipeline.stages[0].nodes[0].function)
    async with open_engine() as engine:
        result = await engine.run(pipeline, value, timeout=2)
    del engine, pipeline
    assert repr(result)
    await trio.lowlevel.checkpoint()  # the tasks of the engine end, whatever their order
    gc.collect()
    assert function() is None
