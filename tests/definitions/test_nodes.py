"""Nodes are made in many ways, and say the same however they were made."""

import attrs
import pytest

from graceline import DefinitionError, Node, choose, each, node, parallel, sequence
from graceline.definitions import Breaker, Bulkhead, Hedge, Retry
from graceline.definitions.nodes import NodeOptions

OPTIONS = {
    "name": "x",
    "timeout": 2.0,
    "grace": 1.0,
    "strict": True,
    "stop_before": 0.5,
    "slo": 1.5,
    "metadata": {"k": 1},
    "on_cleanup": (print,),
    "after": ("before",),
    "when": bool,
    "critical": False,
    "fallback": 0,
    "runs_on": "coroutine",
    "retry": Retry(attempts=2),
    "attempt_timeout": 1.0,
    "breaker": Breaker(min_calls=3),
    "limit": Bulkhead(slots=2),
    "hedge": Hedge(min_samples=3),
    "idempotent": True,
}


async def a(value):
    return value


async def b(value):
    return value


@pytest.mark.parametrize(
    ("make", "elsewhere"),
    [
        (Node, set()),
        (node, set()),
        (lambda function, **options: node(**options)(function), set()),
        (each, set()),
        (lambda function, **options: each(Node(function, **options)), set()),
        (lambda function, **options: sequence(Node(function, **options))[0], {"after"}),
        (lambda function, **options: parallel(Node(function, **options))[0], {"after"}),
        (lambda function, **options: choose(function, b, **options), {"runs_on"}),
    ],
    ids=["Node", "node", "@node", "each", "each of", "sequence", "parallel", "choose"],
)
def test_no_option_is_dropped_however_a_node_is_made(make, elsewhere):
    """What was said is what the node says: with a call, a decorator, and inside each group."""
    assert set(OPTIONS) == set(NodeOptions.__annotations__) - {"reserve"}  # instead of `grace`
    said = {option: value for option, value in OPTIONS.items() if option not in elsewhere}
    made = make(a, **said)
    assert {option: getattr(made, option) for option in said} == said


@pytest.mark.parametrize("make", [Node, node, node(name="outer")])
def test_a_node_of_a_node_would_forget_what_the_inner_one_says(make):
    """Only its bare function would be called, without its limits; the message shows a copy."""
    inner = Node(a, name="inner", timeout=1)
    with pytest.raises(DefinitionError, match=r"'inner' is a node already; attrs\.evolve\("):
        make(inner)
    assert attrs.evolve(inner, slo=0.5).timeout == 1
