"""Policies as they are written down: on nodes, stages and pipelines, and what holds for a node."""

import math
from datetime import timedelta

import pytest

from graceline import (
    Adaptive,
    DefinitionError,
    DefinitionWarning,
    Node,
    Pipeline,
    Stage,
    each,
    node,
)
from graceline.definitions import INHERIT, Breaker, Bulkhead, Retry, resolve, stated_policies

LEARNED = Adaptive(initial=1, ceiling=2)
POLICIES = {
    "retry": (Retry(attempts=2), Retry(attempts=5)),
    "attempt_timeout": (1.0, 2.0),
    "breaker": (Breaker(), Breaker(min_calls=3)),
    "limit": (Bulkhead(slots=2), Bulkhead(slots=5)),
}


async def work(value):
    return value


async def other(value):
    return value


@pytest.mark.parametrize("field", POLICIES)
def test_nothing_is_said_by_default(field):
    """A part that says nothing of a policy inherits, and nothing above it means none."""
    inner = Node(work)
    pipeline = Pipeline("p", [inner])
    assert getattr(inner, field) is INHERIT
    assert resolve(field, inner, pipeline.stages[0], pipeline) is None


@pytest.mark.parametrize("field", POLICIES)
def test_the_innermost_statement_holds(field):
    """A node's policy outweighs its stage's, and that of a stage the pipeline's."""
    one, two = POLICIES[field]
    plain, special = Node(work), Node(other, **{field: two})
    stage = Stage("s", [plain, special], **{field: one})
    pipeline = Pipeline("p", [stage], **{field: two})
    assert resolve(field, plain, stage, pipeline) == one
    assert resolve(field, special, stage, pipeline) == two


@pytest.mark.parametrize("field", POLICIES)
def test_none_switches_off_what_is_said_above(field):
    """None is a statement: a node with it has no such policy, whatever its pipeline says."""
    inner = Node(work, **{field: None})
    stage = Stage("s", [inner])
    pipeline = Pipeline("p", [stage], **{field: POLICIES[field][0]})
    assert resolve(field, inner, stage, pipeline) is None
    assert resolve(field, stage, pipeline) is not None


def test_inherit_is_readable():
    """A definition that is printed says `INHERIT`, and no address."""
    assert "retry=INHERIT" in repr(Node(work))


def test_a_decorator_and_each_take_policies():
    """`@node(...)` and `each(...)` take what `Node` takes."""
    retry = Retry(attempts=2)
    assert node(retry=retry, idempotent=False)(work).idempotent is False
    assert each(work, retry=retry).retry == retry


def test_a_number_is_a_bulkhead():
    """`limit=5` is a bulkhead of five slots, of the node's own and with a queue of any length."""
    assert Node(work, limit=5).limit == Bulkhead(slots=5, max_queue=None, name=None)


def test_attempt_timeouts_are_durations():
    """`attempt_timeout` is seconds or a text with a unit; `inf` states that there is no limit."""
    assert Node(work, attempt_timeout="250ms").attempt_timeout == 0.25
    assert Node(work, attempt_timeout=math.inf).attempt_timeout == math.inf
    assert Node(work, attempt_timeout=LEARNED).attempt_timeout == LEARNED


def test_an_attempt_limit_above_that_of_its_node_is_clamped():
    """A warning says so, as of each limit that is above the one around it."""
    with pytest.warns(DefinitionWarning, match="each attempt: its limit of 3s is above the 2s"):
        Node(work, timeout=2, attempt_timeout=3)


@pytest.mark.parametrize("make", [lambda **options: Node(work, **options),
                                  lambda **options: Stage("s", [work], **options),
                                  lambda **options: Pipeline("p", [work], **options)])  # fmt: skip
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry": 3}, r"retry= takes a Retry such as Retry\(attempts=3\), not 3"),
        ({"breaker": True}, r"breaker= takes a Breaker such as .*, not True"),
        ({"limit": 0}, r"limit= must be a whole number, at least 1, not 0"),
        ({"limit": 2.5}, r"limit= counts attempts .*, not 2.5; .* in seconds is timeout=2.5"),
        ({"limit": "5s"}, r"limit= counts attempts .*, not '5s'; .* seconds is timeout='5s'"),
        ({"limit": timedelta(seconds=5)}, r"limit= counts attempts .* is timeout=datetime"),
        ({"limit": True}, r"limit= must be a whole number"),
        ({"attempt_timeout": "3"}, r"attempt_timeout=.* no unit"),
        ({"attempt_timeout": -1}, r"attempt_timeout= must be above 0, not -1: .* never starts"),
        ({"attempt_timeout": 0}, r"attempt_timeout= must be above 0, .* None or math\.inf for no"),
    ],
)
def test_what_is_no_policy(make, options, message):
    """The message says where, what came, and what would be right, on each kind of part."""
    with pytest.raises(DefinitionError, match=rf"(node|stage|pipeline) '.*', {message}"):
        make(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slots": 0}, r"Bulkhead\(slots=\) must be a whole number"),
        ({"slots": 1, "max_queue": -1}, r"Bulkhead\(max_queue=\) .* at least 0, not -1"),
        ({"slots": 1, "max_queue": True}, r"Bulkhead\(max_queue=\)"),
        ({"slots": 1, "max_queue": 1.5}, r"Bulkhead\(max_queue=\)"),
        ({"slots": 1, "name": ""}, r"Bulkhead\(name=\)"),
    ],
)
def test_bulkheads_that_make_no_sense(options, message):
    """Numbers that are none, or out of range, are refused with the field's name."""
    with pytest.raises(DefinitionError, match=message):
        Bulkhead(**options)


def test_a_queue_may_have_no_place_at_all():
    """`max_queue=0` keeps nobody waiting, and a bulkhead may be named."""
    assert Bulkhead(slots=1, max_queue=0, name="database").max_queue == 0


def test_idempotent_is_a_flag():
    """Anything but True, False and None is refused."""
    with pytest.raises(DefinitionError, match="node 'work', idempotent="):
        Node(work, idempotent="yes")


@pytest.mark.parametrize("level", ["node", "stage", "pipeline"])
def test_what_learns_with_a_retry_is_the_attempt(level):
    """`timeout=Adaptive` on a node that is retried is refused, also where the retry is inherited."""
    retry = {"retry": Retry()}
    said = {name: retry if name == level else {} for name in ("node", "stage", "pipeline")}
    with pytest.raises(DefinitionError, match=r"node 'work': with retry= .* attempt_timeout=Adap"):
        Pipeline(
            "p",
            [Stage("s", [Node(work, timeout=LEARNED, **said["node"])], **said["stage"])],
            **said["pipeline"],
        )


def test_a_learned_timeout_may_stand_where_the_retry_is_off():
    """`retry=None` on the node takes the objection away, and so does a learned attempt limit."""
    Pipeline("p", [Node(work, timeout=LEARNED, retry=None)], retry=Retry())
    Pipeline("p", [Node(work, timeout=3, attempt_timeout=LEARNED)], retry=Retry())


def test_what_a_part_states():
    """For those who cannot honour a policy: those that are stated, and None is not one."""
    assert stated_policies(Node(work, retry=None)) == ()
    assert stated_policies(Pipeline("p", [work], limit=2, retry=Retry())) == ("retry", "limit")
