"""`reference_run`: what a definition has to do, held against what it does."""

import pytest

from graceline import (
    Adaptive,
    DefinitionError,
    Node,
    Pipeline,
    Stage,
    Timeouts,
    choose,
    each,
    parallel,
    sequence,
)
from graceline.definitions import Breaker, Retry
from graceline.testing.agreement import Observation, differences
from graceline.testing.behaviours import (
    AtDeadline,
    Obeys,
    OwnScope,
    Raises,
    SlowCleanup,
    SwallowsOnce,
    modelled,
)
from graceline.testing.latency import Trace
from graceline.testing.reference import reference_run
from graceline.testing.world import Cancels, simulate


def assert_agrees(pipeline, input=None, *, cancels=Cancels(), timeouts=Timeouts(), latencies=None):  # noqa: A002, B008
    """Run it, and find the run among the right answers."""
    answers = reference_run(pipeline, latencies, cancels, input=input, timeouts=timeouts, orders=20)
    recording = simulate(pipeline, input, cancels=cancels, timeouts=timeouts)
    seen = Observation(
        results={} if recording.result is None else {pipeline.name: recording.result},
        returned=recording.returned_at,
        raised=recording.raised,
        starts={pipeline.name: 0.0},
    )
    found = [differences(pipeline.name, {pipeline.name: answer}, seen) for answer in answers]
    assert [] in found, found
    return answers


def line(*bodies, **options):
    nodes = [Node(body, name=f"n{at}") for at, body in enumerate(bodies)]
    return Pipeline("p", [Stage("s", sequence(*nodes))], **options)


@pytest.mark.parametrize("cancels", [
    Cancels(), Cancels(user_at=0.3), Cancels(caller_at=0.3), Cancels(caller_deadline=0.3),
    Cancels(drain_at=0.3),
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("body", [
    modelled(0.25), modelled(5), modelled(0.25, Raises()), modelled(5, SwallowsOnce(0.5)),
    modelled(5, SlowCleanup(0.5, 0.25)), modelled(5, OwnScope(0.125)),
], ids=repr)  # fmt: skip
def test_engine_does_what_the_reference_says(body, cancels):
    """For each behaviour and each cancel, the engine's answer is the reference's."""
    assert_agrees(
        line(modelled(0.125), body, modelled(0.125), timeout=2, grace=0.375), 7, cancels=cancels
    )


@pytest.mark.parametrize("options", [
    {}, {"timeout": 0.1}, {"metadata": {"timeout": "100ms"}}, {"timeout": 9, "strict": True},
    {"reserve": 0.25, "timeout": 1}, {"timeout": 0},
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("timeouts", [Timeouts(), Timeouts.none(), Timeouts(strict=True, grace=1)])
def test_limits_are_resolved_by_the_contract(options, timeouts):
    """Stated limits, metadata, reserves and the engine's defaults mean the same in both."""
    assert_agrees(
        line(modelled(0.15), modelled(0.15, SwallowsOnce(0.5)), **options), timeouts=timeouts
    )


def test_conditions_and_fallbacks():
    """What is skipped by its condition, and what a fallback gives, is the same in both."""

    def broken(_):
        raise ValueError

    soft = {"critical": False}
    nodes = [
        Node(modelled(0.1), name="skipped", when=lambda value: value > 7),
        Node(modelled(0.1, Raises()), name="raised", fallback=lambda value: value + 1, **soft),
        Node(modelled(0.1, Raises()), name="plain", **soft),
        Node(modelled(0.1, Raises()), name="fixed", fallback="x", **soft),
    ]
    (answer,) = assert_agrees(Pipeline("p", [Stage("s", parallel(*nodes))]), 7)
    assert answer.value == {"skipped": 7, "raised": 8, "plain": 7, "fixed": "x"}
    lost = Node(modelled(0.1, Raises()), name="lost", fallback=broken, **soft)
    (answer,) = assert_agrees(Pipeline("p", [Stage("s", sequence(lost, nodes[0]))]), 7)
    assert answer.status == "failed"
    odd = Node(modelled(0.1), name="odd", when=broken)
    (answer,) = assert_agrees(Pipeline("p", [Stage("s", sequence(odd, nodes[0]))]), 7)
    assert answer.blame == ("node", "odd", "failed")
    stages = [Stage("a", [odd], critical=False, fallback=3), Stage("b", [nodes[2]], when=bool)]
    assert_agrees(Pipeline("p", stages), 7)
    assert_agrees(Pipeline("p", stages[1:]), 0)


def test_names_that_repeat_are_qualified():
    """A node's name that occurs in two stages is told with its stage, as in a result."""
    stages = [
        Stage("a", [Node(modelled(0.1), name="n")]),
        Stage("b", [Node(modelled(0.1), name="n")]),
    ]
    (answer,) = assert_agrees(Pipeline("p", stages))
    assert answer.completed == ("a.n", "b.n")


def test_several_answers_where_an_instant_holds_several_things():
    """Two failures at one instant: either may be the first, and both answers are given."""
    nodes = parallel(*(Node(modelled(0.125, Raises()), name=name) for name in "ab"))
    answers = assert_agrees(Pipeline("p", [Stage("s", nodes)]))
    assert {answer.blame[1] for answer in answers} == {"a", "b"}


def test_latencies_replace_bodies():
    """A pipeline of one's own is asked about with latencies for its bodies."""

    async def service(_):
        raise AssertionError

    pipeline = Pipeline("p", [Node(service, name="call", timeout=1)], timeout=5)
    (answer,) = reference_run(pipeline, {"call": (0.5, Obeys())}, input=3)
    assert (answer.status, answer.value, answer.end) == ("ok", 3, 0.5)
    (answer,) = reference_run(pipeline, 2)
    assert (answer.status, answer.blame, answer.end) == (
        "timed_out",
        ("node", "call", "timeout"),
        1.0,
    )


@pytest.mark.parametrize("budget", ["remaining", "reserve"])
def test_a_shared_budget_is_not_modelled(budget):
    """What depends on durations of the past, or makes limits soft, is refused and not guessed."""
    pipeline = Pipeline("p", [Node(modelled(1), name="n")], timeout=2, budget=budget)
    message = f"'p': the oracle does not model budget='{budget}', only 'fixed'"
    for latencies in (None, "10ms"):
        with pytest.raises(DefinitionError, match=message):
            reference_run(pipeline, latencies)


@pytest.mark.parametrize(("part", "message"), [
    (Node(abs, name="own"), "its body is not modelled"),
    (each(Node(modelled(1), name="loop")), "does not model each"),
    (choose(modelled(1), abs, name="pick"), r"node 'pick': the oracle does not model choose\(\)"),
    (Node(modelled(1, AtDeadline()), name="sly"), "does not model AtDeadline"),
    (Node(modelled(1), name="handled", on_cleanup=print), "'handled': the oracle does not model handlers"),
    (Node(modelled(1), name="n", timeout=Adaptive(initial=1, ceiling=2)), "'n': the oracle does not model learned"),
    (Node(modelled(1), name="n", retry=Retry()), "node 'n': the oracle does not model backoffs"),
    (Node(modelled(1), name="n", attempt_timeout=Adaptive(initial=1, ceiling=2)), "'n': the oracle does not model learned"),
    (Stage("s", [Node(modelled(1), name="n")], breaker=Breaker()), "'s': the oracle does not model breaker="),
    (Stage("s", [Node(modelled(1), name="n")], limit=5), "'s': the oracle does not model limit="),
])  # fmt: skip
def test_what_the_oracle_does_not_model_is_said(part, message):
    """A node that the oracle knows nothing of is an error that names it, never a guess."""
    with pytest.raises(DefinitionError, match=message):
        reference_run(Pipeline("p", [part]))


def test_policies_of_the_whole():
    """Policies are inherited; None switches one off; what other runs decide is refused."""
    with pytest.raises(DefinitionError, match="'p': the oracle does not model breaker="):
        reference_run(Pipeline("p", [Node(modelled(1), name="n")], breaker=Breaker()))
    again = Retry(attempts=2, backoff=0)
    nodes = [
        Node(modelled(0.05, Raises(attempts=1)), name="a", retry=None, critical=False),
        Node(modelled(0.05, Raises(attempts=1)), name="b"),
    ]
    (answer,) = assert_agrees(Pipeline("p", [Stage("s", sequence(*nodes))], retry=again))
    parts = answer.parts
    assert [(parts[f"s.{n}"].status, parts[f"s.{n}"].attempts) for n in "ab"] == [
        ("failed", 1),
        ("ok", 2),
    ]


@pytest.mark.parametrize("options", [
    {}, {"timeout": 0.5}, {"attempt_timeout": 0.15}, {"retry": Retry(attempts=3, backoff=0, on=OSError)},
    {"retry": Retry(attempts=3, backoff=0, on=lambda error: "odd" in str(error))},
    {"retry": Retry(attempts=3, backoff=0, retry_after=lambda _: 0.25)},
    {"retry": Retry(attempts=3, backoff=0, min_attempt=0.9), "timeout": 1}, {"idempotent": False},
])  # fmt: skip
@pytest.mark.parametrize("body", [
    modelled(0.2, Raises("odd", attempts=2)), modelled(0.2, Raises("odd")),
    modelled(Trace((0.5, 0.1, 0.3)), seed=3), modelled(9, SlowCleanup(0.05)),
])  # fmt: skip
def test_attempts_are_those_of_the_reference(body, options):
    """What is tried again, how long each attempt takes and why there is no other one: the same in both."""
    options = {"retry": Retry(attempts=3, backoff=0), **options}
    node = Node(body, name="n", **options)
    assert_agrees(Pipeline("p", [Stage("s", [node])], timeout=2, grace=0.125))
