import time

import attrs
import pytest
import trio

from graceline import (
    DefinitionError,
    Node,
    Pipeline,
    Stage,
    choose,
    each,
)
from graceline.definitions import Retry
from graceline.testing.behaviours import Obeys, Raises, modelled
from graceline.testing.latency import Constant, Trace
from graceline.testing.replace import replace_latencies
from graceline.testing.world import simulate


async def forbidden(value):
    pytest.fail("the real body ran")


def blocking(value):
    time.sleep(3600)


def handler(outcome):
    handled.append((outcome.name, str(outcome.status)))


handled = []


def own():
    """A definition that uses most options."""
    return Pipeline(
        "shop",
        [
            Stage(
                "load",
                [
                    Node(forbidden, name="user", timeout=0.5, grace=0.25, metadata={"team": "a"}),
                    Node(
                        blocking,
                        name="cart",
                        reserve=0.25,
                        timeout=1.0,
                        critical=False,
                        fallback=[],
                    ),
                    each(Node(forbidden, name="items"), item_timeout=0.5, max_parallel=2),
                ],
                fail_fast=False,
                strict=True,
            ),
            Stage("price", [Node(forbidden, name="user", when=bool), Node(blocking, name="tax")]),
            Stage("audit", [Node(forbidden, name="log", on_cleanup=handler)], after="load"),
        ],
        timeout=4.0,
        slo=1.0,
        stop_before=0.5,
    )


def fields(part):
    """Everything that a part says, bodies and the parts that it holds aside."""
    skipped = ("function", "runs_on", "nodes", "stages", "metadata")
    said = {
        field.name: getattr(part, field.name)
        for field in attrs.fields(type(part))
        if field.name not in skipped
    }
    return said | {"metadata": dict(part.metadata), "type": type(part)}


def parts(pipeline):
    yield pipeline
    for stage in pipeline.stages:
        yield stage
        yield from stage.nodes


def bodies(pipeline):
    return {
        f"{stage.name}.{node.name}": node.function
        for stage in pipeline.stages
        for node in stage.nodes
    }


def test_the_definition_stays():
    """Limits, graph, loops, handlers, conditions, fallbacks and metadata are as before."""
    pipeline = own()
    replaced = replace_latencies(pipeline, 0.25)
    assert [fields(part) for part in parts(replaced)] == [fields(part) for part in parts(pipeline)]
    assert {node.runs_on for stage in replaced.stages for node in stage.nodes} == {"coroutine"}


def test_the_original_stays():
    """The user's own definition is not touched."""
    pipeline = own()
    replace_latencies(pipeline, 0.25)
    assert set(bodies(pipeline).values()) == {forbidden, blocking}


def test_it_runs_without_its_services():
    """No real body runs, in virtual time the run takes what the model says, and handlers run."""
    handled.clear()
    result = simulate(replace_latencies(own(), "250ms"), [1, 2, 3]).result
    assert (result.status, result.elapsed) == ("ok", 0.75)
    assert result.node("items").value == [1, 2, 3]
    assert result.node("items").elapsed == 0.5
    assert handled == [("log", "ok")]


def test_its_limits_count():
    """The limits of the definition cut the modelled bodies."""
    result = simulate(replace_latencies(own(), {"load.user": 2, "*": 0.25}), []).result
    assert (result.status, result.blame.name) == ("timed_out", "user")


def test_clamped_limits_are_not_told_again(recwarn):
    """A warning of the definition is not repeated where its bodies are replaced."""
    with pytest.warns(UserWarning, match="clamps"):
        pipeline = Pipeline("p", [Node(forbidden, name="n", timeout=9)], timeout=1)
    replace_latencies(pipeline, 1)
    assert len(recwarn) == 0


FETCH = modelled(0.5, Raises(), name="own")
ONE = Pipeline("p", [Stage("s", [Node(forbidden, name="n", timeout=1)])])


@pytest.mark.parametrize(
    ("model", "latency", "behaviour"),
    [
        (0.25, Constant(0.25), Obeys()),
        ("250ms", Constant(0.25), Obeys()),
        (Trace([1]), Trace([1]), Obeys()),
        (Raises(), Constant(0), Raises()),
        ((0.25, Raises()), Constant(0.25), Raises()),
        (FETCH, Constant(0.5), Raises()),
        ({"n": 0.25}, Constant(0.25), Obeys()),
        ({"s.n": (0.25, Raises())}, Constant(0.25), Raises()),
        ({"*": FETCH}, Constant(0.5), Raises()),
        ({"n": 1, "s.n": 2, "*": 3}, Constant(2), Obeys()),
        ({"n": 1, "*": 3}, Constant(1), Obeys()),
        (lambda node: node.timeout / 2, Constant(0.5), Obeys()),
        (lambda node: FETCH, Constant(0.5), Raises()),
    ],
)
def test_models(model, latency, behaviour):
    """A model is a latency, a behaviour, both, a function, or any of them by the node."""
    function = bodies(replace_latencies(ONE, model))["s.n"]
    assert (function.latency, function.behaviour) == (latency, behaviour)


def test_a_name_in_two_stages():
    """A bare name means the nodes of all stages, unless one of them is named in full."""
    functions = bodies(replace_latencies(own(), {"user": 1, "price.user": 2, "*": 3}))
    assert functions["load.user"].latency == Constant(1)
    assert functions["price.user"].latency == Constant(2)
    assert functions["load.cart"].latency == Constant(3)


def test_seeds():
    """Each node has its own random numbers, which the seed decides."""
    spread = Trace([2.0**-n for n in range(30)])

    def firsts(seed):
        functions = bodies(replace_latencies(own(), spread, seed=seed))
        return [function.first() for function in functions.values()]

    assert firsts(1) == firsts(1)
    assert firsts(1) != firsts(2)
    assert len(set(firsts(1))) > 3


def test_values():
    """A node returns its input, or what `values` says: a value, or a function of the input."""
    values = {"load.user": "ann", "cart": lambda value: [*value, "more"], "price.user": None}
    replaced = replace_latencies(own(), {"tax": (0.25, Raises()), "*": 0.25}, values=values)
    result = simulate(replaced, [1]).result
    loaded = {"user": "ann", "cart": [1, "more"], "items": [1]}
    assert result.stages["load"].value == loaded
    assert result.node("price.user").value is None
    assert result.node("tax").status == "failed"
    assert result.node("log").value == loaded


def test_a_value_for_a_function_of_ones_own():
    """`values` goes for a node whose model is a function, too, and leaves that function alone."""
    result = simulate(replace_latencies(ONE, modelled(0.25), values={"n": 7})).result
    assert result.value == 7
    assert bodies(replace_latencies(ONE, FETCH)) == {"s.n": FETCH}
    assert FETCH.returns is None


@pytest.mark.parametrize(
    ("model", "options", "match"),
    [
        (
            {"usr": 1, "*": 1},
            {},
            r"model: no node is called 'usr'; did you mean '(load.|price.)?user'\?",
        ),
        ({"user": 1}, {}, r"nothing of node 'cart' of stage 'load'; add it, or '\*' for the rest"),
        ({}, {}, r"nothing of node 'user' of stage 'load'"),
        (None, {}, r"node 'user': latency: None is neither"),
        ((1, 2), {}, r"node 'user': \(1, 2\) is no model"),
        ((1, Obeys(), 3), {}, r"node 'user': .* is no model"),
        ((1, Obeys), {}, r"is no model"),
        (Obeys, {}, r"node 'user': .*Obeys'> is no model; give a latency"),
        ("1", {}, r"node 'user': latency: '1' has no unit"),
        (lambda node: "x", {}, r"node 'user': latency: 'x' is not a duration"),
        (1, {"values": {"taxi": 1}}, r"values=: no node is called 'taxi'; did you mean 'tax'\?"),
        (1, {"values": {"*": 1}}, r"values=: no node is called '\*'"),
        (1, {"values": [1]}, r"values= must be a mapping"),
    ],
)
def test_bad_input(model, options, match):
    """What does not fit the definition is refused, and the nearest name is given."""
    with pytest.raises(DefinitionError, match=match):
        replace_latencies(own(), model, **options)


def test_not_a_pipeline():
    """Only a pipeline has bodies to replace."""
    with pytest.raises(DefinitionError, match="Stage, not a Pipeline"):
        replace_latencies(Stage("s", [forbidden]), 1)


def test_the_model_is_asked_once_per_node():
    """A function of the node is called with each node, once."""
    asked = []
    replace_latencies(own(), lambda node: asked.append(node.name) or 1)
    assert asked == ["user", "cart", "items", "user", "tax", "log"]


def test_the_real_bodies_would_run():
    """Without replacement the real body runs: what the other tests rely on."""
    with pytest.raises(pytest.fail.Exception):
        trio.run(own().stages[0].nodes[0].function, None)


def test_the_budget_stays():
    """A shared budget is part of the definition, and stays when its bodies are replaced."""
    pipeline = Pipeline("p", [Node(abs, name="n")], timeout=1, budget="reserve")
    assert replace_latencies(pipeline, "10ms").budget == "reserve"


def test_policies_stay():
    """A replaced body is tried again as the definition says."""
    pipeline = Pipeline(
        "p", [Node(forbidden, name="n", retry=Retry(attempts=3, backoff=0))], limit=2
    )
    replaced = replace_latencies(pipeline, Raises())
    assert replaced.limit == pipeline.limit
    assert simulate(replaced).result.node("n").attempts == 3


def test_alternatives_are_replaced_one_by_one():
    """Each is a body of its own, called `node.alternative`; what else the choice says stays."""
    pick = choose(Node(forbidden, name="a", timeout=1), blocking, name="pick", timeout=5)
    pipeline = Pipeline("p", [Stage("s", [pick])])
    replaced = replace_latencies(
        pipeline,
        {"pick.a": Raises(), "s.pick.blocking": "250ms"},
        values={"pick.blocking": "instead"},
    )
    node = simulate(replaced).result.node("pick")
    assert (node.value, node.alternative, node.elapsed) == ("instead", "blocking", 0.25)
    [new] = replaced.stages[0].nodes
    assert (new.timeout, new.alternatives[0].timeout) == (5.0, 1.0)
    with pytest.raises(DefinitionError, match=r"no node is called 'pick'; did you mean 'pick\.a'"):
        replace_latencies(pipeline, {"pick": "1s"})
