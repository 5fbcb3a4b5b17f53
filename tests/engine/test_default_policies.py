"""Policies of the engine: a default for each node of its pipelines, unless a level says otherwise."""

import inspect

import attrs
import pytest
import trio

from graceline import (
    Adaptive,
    Breaker,
    Bulkhead,
    DefinitionError,
    Node,
    Pipeline,
    Retry,
    Stage,
    open_engine,
    parallel,
)
from graceline.adaptive import Key, MemoryStore
from graceline.definitions import Hedge, Inheritable
from graceline.definitions.nodes import NodeOptions
from graceline.telemetry import events

POLICIES = {
    "retry": (Retry(attempts=2, backoff=0), Retry(attempts=3, backoff=0)),
    "attempt_timeout": ("1s", 2.0),
    "breaker": (Breaker(consecutive=3), Breaker(consecutive=5)),
    "limit": (2, Bulkhead(slots=5)),
}


async def forever(_):
    await trio.sleep_forever()


async def fails(_):
    raise ValueError("down")


def pipeline_of(work, level="node", **options):
    said = {name: options if name == level else {} for name in ("node", "stage", "pipeline")}
    stage = Stage("s", [Node(work, name="work", **said["node"])], **said["stage"])
    return Pipeline("p", [stage], **said["pipeline"])


async def seen(engine, pipeline):
    """What an observer sees of the policies of the one node of a pipeline that fails or hangs."""
    result = await engine.run(pipeline, timeout=10)
    health = engine.health()
    return {
        "retry": result.node("work").attempts,
        "attempt_timeout": result.blame.limit if result.blame.level == "attempt" else None,
        "breaker": [(one.name, one.failures) for one in health.breakers],
        "limit": [(one.name, one.slots) for one in health.bulkheads],
    }


WORK = {"retry": fails, "attempt_timeout": forever, "breaker": fails, "limit": fails}
BY_ENGINE = {"retry": 2, "attempt_timeout": 1, "breaker": [("p.s.work", 1)], "limit": [("p.s.work", 2)]}  # fmt: skip
BY_LEVEL = {"retry": 3, "attempt_timeout": 2, "breaker": [("p.s.work", 1)], "limit": [("p.s.work", 5)]}  # fmt: skip
BY_NOBODY = {"retry": 1, "attempt_timeout": None, "breaker": [], "limit": []}


@pytest.mark.parametrize("field", POLICIES)
async def test_a_policy_of_the_engine_holds_for_its_nodes(autojump_clock, field):
    """Where node, stage and pipeline say nothing, what the engine says holds; else nothing does."""
    async with open_engine(**{field: POLICIES[field][0]}) as engine:
        assert (await seen(engine, pipeline_of(WORK[field])))[field] == BY_ENGINE[field]
    async with open_engine() as engine:
        assert (await seen(engine, pipeline_of(WORK[field])))[field] == BY_NOBODY[field]


@pytest.mark.parametrize("level", ["node", "stage", "pipeline"])
@pytest.mark.parametrize("field", POLICIES)
async def test_each_level_outweighs_the_engine(autojump_clock, field, level):
    """A node, a stage and a pipeline may say otherwise."""
    one, other = POLICIES[field]
    pipeline = pipeline_of(WORK[field], level, **{field: other})
    async with open_engine(**{field: one}) as engine:
        assert (await seen(engine, pipeline))[field] == BY_LEVEL[field]
        if field == "breaker":
            assert engine._protections._breakers["p", "s", "work"].policy == other


@pytest.mark.parametrize("level", ["node", "stage", "pipeline"])
@pytest.mark.parametrize("field", POLICIES)
async def test_none_switches_off_what_the_engine_says(autojump_clock, field, level):
    """None on any level is a statement: there is no such policy below it."""
    pipeline = pipeline_of(WORK[field], level, **{field: None})
    async with open_engine(**{field: POLICIES[field][0]}) as engine:
        assert (await seen(engine, pipeline))[field] == BY_NOBODY[field]


async def test_a_limit_of_the_engine_says_that_it_is_a_default(autojump_clock):
    """The blame of an attempt's limit that the engine states has the source `default`, and a hint."""
    heard = []
    async with open_engine(attempt_timeout=1) as engine:
        engine.subscribe(heard.append, inline=True)
        result = await engine.run(pipeline_of(forever), timeout=10)
    blame = result.blame
    assert (blame.level, blame.limit, blame.source) == ("attempt", 1, "default")
    assert "state attempt_timeout= on its node" in blame.message
    assert "change open_engine(attempt_timeout=...)" in blame.message
    sources = [event.source for event in heard if isinstance(event, events.AttemptFinished)]
    assert sources == ["default"]


async def test_a_learned_limit_of_the_engine(autojump_clock):
    """`attempt_timeout=Adaptive(...)` learns for each node by itself."""
    store, learned = MemoryStore(), Adaptive(initial=1, ceiling=2)
    nodes = [Node(trio.sleep, name=name) for name in ("a", "b")]
    async with open_engine(attempt_timeout=learned, history=store) as engine:
        result = await engine.run(Pipeline("p", [Stage("s", parallel(*nodes))]), 9, timeout=10)
    assert (result.blame.level, result.blame.source) == ("attempt", "adaptive")
    keys = [Key("default", "p", "s", name, "attempt") for name in ("a", "b")]
    assert set(keys) <= set(store.keys())


async def test_a_breaker_of_the_engine_is_each_nodes_own_unless_it_is_named(autojump_clock):
    """One node that fails does not close the door of another; a name makes it one breaker."""
    nodes = [Node(fails, name=name, critical=False) for name in ("a", "b")]
    pipeline = Pipeline("p", [Stage("s", parallel(*nodes))])
    for name, found in ((None, {"p.s.a": 1, "p.s.b": 1}), ("shared", {"shared": 2})):
        async with open_engine(breaker=Breaker(name=name)) as engine:
            await engine.run(pipeline)
            assert {one.name: one.failures for one in engine.health().breakers} == found


async def test_a_hedge_of_the_engine_is_for_nodes_that_may_work_twice(autojump_clock):
    """Where a node does not say `idempotent=True` it has none; and `hedge=None` switches it off."""
    hedge, found = Hedge(), []
    async with open_engine(hedge=hedge) as engine:
        for options in ({}, {"idempotent": True}, {"idempotent": True, "hedge": None}):
            pipeline = pipeline_of(fails, **options)
            node = engine._plans.plan(pipeline, stated=False).parts["s"].parts["work"]
            found.append(node.policies is not None and node.policies.hedge is not None)
    assert found == [False, True, False]


async def test_a_node_that_learns_its_own_limit_is_not_retried_by_the_engine(autojump_clock):
    """As with a retry of the pipeline: the run is refused, and `retry=None` takes it away."""
    learned = Adaptive(initial=1, ceiling=2)
    async with open_engine(retry=Retry()) as engine:
        with pytest.raises(DefinitionError, match=r"node 'work': with retry= .* or retry=None"):
            await engine.run(pipeline_of(fails, timeout=learned))
        result = await engine.run(pipeline_of(fails, timeout=learned, retry=None))
    assert result.node("work").attempts == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry": 3}, r"retry= takes a Retry such as Retry\(attempts=3\), not 3"),
        ({"breaker": True}, r"breaker= takes a Breaker such as .*, not True"),
        ({"hedge": True}, r"hedge= takes a Hedge such as .*, not True"),
        ({"limit": 0}, r"limit= must be a whole number, at least 1, not 0"),
        ({"attempt_timeout": 0}, r"attempt_timeout= must be above 0"),
        ({"attempt_timeout": "3"}, r"attempt_timeout=.* no unit"),
    ],
)
async def test_what_is_no_policy_of_an_engine(options, message):
    """It is refused as on a part, when the block is entered, and the message says where."""
    with pytest.raises(DefinitionError, match=rf"^open_engine\(\), {message}"):
        async with open_engine(**options):
            pass


def test_each_inherited_policy_is_an_option_everywhere():
    """What a part can state, an engine can, and `@node` and `each()` take it too."""
    fields = {field.name for field in attrs.fields(Inheritable)}
    assert fields == {*POLICIES, "hedge"}
    assert fields <= set(inspect.signature(open_engine).parameters)
    assert fields <= set(NodeOptions.__annotations__)


async def test_an_engine_without_policies_leaves_nodes_plain(autojump_clock):
    """Nodes without policies take the short way, also if options say None."""
    pipeline = pipeline_of(fails)
    async with open_engine(retry=None, limit=None) as engine:
        await engine.run(pipeline)
        node = engine._plans.plan(pipeline, stated=False).parts["s"].parts["work"]
    assert node.plain
    assert node.policies is None
