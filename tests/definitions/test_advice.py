"""Policies that hardly do what was meant are warned of, and those that do are not."""

import math

import attrs
import pytest

from graceline import Adaptive, DefinitionWarning, Node, Pipeline, Stage, choose, each, sequence
from graceline.definitions import Breaker, Bulkhead, Hedge


async def a(value):
    return value


async def b(value):
    return value


LEARNED = Adaptive(initial=1, ceiling=2)
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


LATE = Hedge(delay=5)
TWICE = {"idempotent": True, "hedge": LATE}


@pytest.mark.parametrize(
    ("write", "limit"),
    [
        (lambda: Pipeline("p", [Node(a, timeout=3, **TWICE)]), "node 'a' is 3s"),
        (lambda: Pipeline("p", [Node(a, timeout=5, **TWICE)]), "node 'a' is 5s"),
        (lambda: Pipeline("p", [Node(a, timeout=6, reserve=2, **TWICE)]), "node 'a' is 4s"),
        (lambda: Pipeline("p", [Node(a, **TWICE)], timeout=3), "pipeline 'p' is 3s"),
        (lambda: Pipeline("p", [Stage("s", [Node(a, **TWICE)], timeout=3)]), "stage 's' is 3s"),
        (
            lambda: Pipeline("p", [Node(a, timeout=9, attempt_timeout=3, **TWICE)]),
            "each attempt is 3s",
        ),
        (
            lambda: Pipeline("p", [Node(a, **TWICE)], attempt_timeout=LEARNED),
            "each attempt is 2s",
        ),
        (lambda: Pipeline("p", [Node(a, timeout=LEARNED, **TWICE)]), "node 'a' is 2s"),
        (lambda: Pipeline("p", [each(a, item_timeout=3, **TWICE)]), "each item is 3s"),
        (lambda: Pipeline("p", [Node(a, idempotent=True, timeout=3)], hedge=LATE), "'a' is 3s"),
    ],
)
def test_a_copy_that_comes_too_late_is_warned_of(write, limit):
    """It would be sent when the work has ended at one of the limits around it; the line is told."""
    message = rf"node 'a': its hedge sends .* after 5s, and the limit of .*{limit}: none is ever"
    with pytest.warns(DefinitionWarning, match=message) as caught:
        write()
    assert [warning.filename for warning in caught] == [__file__]


def test_a_late_copy_of_an_alternative_is_warned_of():
    """An alternative has its own limit, and takes over the hedge of its choice."""
    message = r"node 'n\.b': its hedge sends .* limit of node 'n\.b' is 3s"
    with pytest.warns(DefinitionWarning, match=message) as caught:
        Pipeline("p", [choose(a, Node(b, timeout=3), name="n", timeout=9, **TWICE)])
    assert len(caught) == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda: Pipeline("p", [Node(a, timeout=5.1, **TWICE)], timeout=9),
        lambda: Pipeline("p", [Node(a, **TWICE)]),
        lambda: Pipeline("p", [Node(a, timeout=math.inf, **TWICE)]),
        lambda: Pipeline("p", [Node(a, timeout=3, idempotent=True, hedge=Hedge())]),
        lambda: Pipeline("p", [Node(a, timeout=3), Node(b, idempotent=True)], hedge=LATE),
        lambda: Pipeline(
            "p", [Node(a, timeout=3, idempotent=True, hedge=None), Node(b, idempotent=True)],
            hedge=LATE,
        ),
        lambda: Pipeline("p", [Node(a, timeout=3, **TWICE)], budget="remaining", timeout=9),
        lambda: Pipeline(
            "p", [Stage("s", [Node(a, timeout=3, **TWICE)], timeout=4)], budget="reserve", timeout=9
        ),
    ],
    ids=["in time", "no limit", "unlimited", "p95", "not hedged", "off", "soft", "soft stage"],
)  # fmt: skip
def test_a_copy_that_may_come_in_time_is_not_warned_of(write):
    """Nothing limits it, a limit is soft, or there is no copy at all."""
    write()


@pytest.mark.parametrize(
    ("write", "holder"),
    [
        (lambda: Pipeline("p", [a, Node(b, idempotent=False)], hedge=Hedge()), "pipeline 'p'"),
        (lambda: Pipeline("p", [Stage("s", [a], hedge=Hedge())]), "stage 's'"),
        (
            lambda: Pipeline(
                "p", [Stage("s", [a], hedge=Hedge()), Stage("t", [Node(b, idempotent=True)])]
            ),
            "stage 's'",
        ),
        (lambda: Pipeline("p", [choose(a, b)], hedge=Hedge()), "pipeline 'p'"),
    ],
)
def test_a_hedge_that_holds_for_nothing_is_warned_of(write, holder):
    """Only nodes that say that they may run twice inherit it."""
    with pytest.warns(
        DefinitionWarning, match=rf"^{holder}: its hedge= .* and none does"
    ) as caught:
        write()
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    "write",
    [
        lambda: Pipeline("p", [a, Node(b, idempotent=True)], hedge=Hedge()),
        lambda: Pipeline("p", [Stage("s", [a, each(b, idempotent=True)], hedge=Hedge())]),
        lambda: Pipeline("p", [choose(a, b, idempotent=True)], hedge=Hedge()),
        lambda: Pipeline("p", [choose(a, Node(b, idempotent=True))], hedge=Hedge()),
        lambda: Pipeline("p", [a], hedge=None),
    ],
    ids=["one of two", "a loop", "a choice", "an alternative", "off"],
)
def test_a_hedge_that_holds_for_one_node_is_not_warned_of(write):
    """One node is enough, and an alternative is one."""
    write()
