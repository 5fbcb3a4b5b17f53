"""Policies that hardly do what was meant are warned of, and those that do are not."""

import attrs
import pytest

from graceline import DefinitionWarning, Node, Pipeline, Stage, choose, each, sequence
from graceline.definitions import Breaker, Bulkhead


async def a(value):
    return value


async def b(value):
    return value


SHARED = r"the same {} object stands on nodes '{}' and '{}', .*; give it a name= to share it"


@pytest.mark.parametrize("policy", [{"breaker": Breaker()}, {"limit": Bulkhead(3)}])
@pytest.mark.parametrize(
    "write",
    [
        lambda **policy: Pipeline("p", [Node(a, **policy), Node(b, **policy)]),
        lambda **policy: Pipeline("p", sequence(Node(a, **policy), each(b, **policy))),
        lambda **policy: Pipeline(
            "p", [Stage("s", [Node(a, **policy)]), Stage("t", [Node(b, **policy)])]
        ),
        lambda **policy: Pipeline("p", [choose(Node(a, **policy), Node(b, **policy))]),
        lambda **policy: Pipeline("p", [Node(a, **policy), choose(Node(b, **policy), a)]),
    ],
    ids=["nodes", "a group", "stages", "alternatives", "node and alternative"],
)
def test_one_object_on_two_nodes_is_not_shared(policy, write):
    """It is one per node unless it has a name, and the line that wrote it is told so."""
    kind = type(next(iter(policy.values()))).__name__
    with pytest.warns(DefinitionWarning, match=SHARED.format(kind, "a", "b")) as caught:
        write(**policy)
    assert [warning.filename for warning in caught] == [__file__]


def test_each_further_node_is_told():
    """Three nodes have two warnings, and none is left out."""
    limit = Bulkhead(3)
    with pytest.warns(DefinitionWarning) as caught:
        Pipeline("p", [Node(a, name=name, limit=limit) for name in "xyz"])
    assert len(caught) == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda: Pipeline("p", [Node(a, limit=Bulkhead(3)), Node(b, limit=Bulkhead(3))]),
        lambda: Pipeline("p", [Node(a, limit=3), Node(b, limit=3)]),
        lambda: Pipeline("p", [Node(f, limit=Bulkhead(3, name="n")) for f in (a, b)]),
        lambda: Pipeline("p", [a, b], breaker=Breaker(), limit=3),
        lambda: Pipeline("p", [Stage("s", [a, b], breaker=Breaker())]),
        lambda: Pipeline("p", [choose(a, b, breaker=Breaker(), limit=3)]),
        lambda: Pipeline("p", [Node(a, breaker=None), Node(b, breaker=None)]),
    ],
    ids=["equal", "numbers", "named", "pipeline's", "stage's", "choice's", "off"],
)
def test_what_is_meant_for_each_node_is_not_warned_of(write):
    """Equal objects, inherited ones and named ones do what they say."""
    write()


def test_a_node_in_two_places_is_not_warned_of():
    """It is one definition, and has one bulkhead per place like everything else."""
    node = Node(a, limit=Bulkhead(3))
    Pipeline("p", [Stage("s", [node]), Stage("t", sequence(b, node))])
    Pipeline("p", [Stage("s", [node]), Stage("t", [attrs.evolve(node, timeout=1)])])
