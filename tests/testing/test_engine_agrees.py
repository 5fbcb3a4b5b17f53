"""The engine does what the oracle says, over thousands of generated runs.

`GRACELINE_PROFILE=thorough` runs 100,000 scenarios instead.
"""

import logging
import os
from math import inf

import attrs
import pytest
import trio
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from graceline.deadlines.level import Level
from graceline.engine import attempts, copies
from graceline.resilience import RetryBudget
from graceline.resilience import retry as retrying
from graceline.testing.agreement import disagreements
from graceline.testing.models import (
    AttemptModel,
    NodeModel,
    PipelineModel,
    RetryModel,
    Scenario,
    StageModel,
)
from graceline.testing.oracle import admissible
from graceline.testing.strategies import scenarios

THOROUGH = os.environ.get("GRACELINE_PROFILE") == "thorough"
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.fixture(autouse=True, scope="module")
def quiet():
    logger = logging.getLogger("graceline")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(before)


def profile(examples, thorough):
    return settings(
        max_examples=thorough if THOROUGH else examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=QUIET,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )


def agree(scenario, trace):
    # Many parts that start at one instant have many orders; among thousands of scenarios are some.
    expected = admissible(scenario, 2000) if THOROUGH else None
    found = disagreements(scenario, trace=trace, expected=expected)
    assert not found, "\n".join([repr(scenario), *found])


@profile(1500, 40_000)
@given(scenarios(depth=0, caller=False), st.booleans())
def test_agrees_on_flat_runs(scenario, trace):
    """Statuses, blames, instants, values, completed and degraded are those of the oracle."""
    agree(scenario, trace)


@profile(1500, 30_000)
@given(scenarios(depth=0), st.booleans())
def test_agrees_under_a_caller(scenario, trace):
    """With a caller that has a deadline or cancels, they agree as well, and `Cancelled` passes through."""
    agree(scenario, trace)


@profile(1000, 30_000)
@given(scenarios(depth=2), st.booleans())
def test_agrees_on_nested_runs(scenario, trace):
    """Runs inside nodes agree with the oracle too, to a depth of two."""
    agree(scenario, trace)


@profile(500, 20_000)
@given(scenarios(depth=0, caller=False, attempts=True), st.booleans())
def test_agrees_on_attempts(scenario, trace):
    """Nodes with policies agree attempt by attempt: instants, backoffs, errors, notes, blame; in all modes."""
    agree(scenario, trace)


@profile(500, 20_000)
@given(scenarios(depth=0, attempts=True), st.booleans())
def test_agrees_on_attempts_under_a_caller(scenario, trace):
    """So they do under a caller that has a deadline or cancels, in an attempt or in a backoff."""
    agree(scenario, trace)


@profile(300, 20_000)
@given(scenarios(depth=2, attempts=True), st.booleans())
def test_agrees_on_nested_attempts(scenario, trace):
    """Where attempts run pipelines whose nodes have policies too, only the innermost layer retries."""
    agree(scenario, trace)


def part(*nodes, **options):
    return StageModel("s", nodes, **options)


REGRESSIONS = {
    "a late node makes its stage late, whoever fired it": Scenario(
        PipelineModel("p", (part(NodeModel("a", 1, "swallows", 2)),)), user_cancel_at=0.5
    ),
    "branches behind one node start together": Scenario(
        PipelineModel(
            "p",
            (
                part(
                    NodeModel("a", 1),
                    NodeModel("b", 2, after=("a",)),
                    NodeModel("c", 3, after=("a",)),
                ),
            ),
        )
    ),
    "cut cleanup blocks share one grace under the caller's cancel": Scenario(
        PipelineModel("p", (part(NodeModel("a", 5, "swallows", 2, cleanups=(8, 8))),)),
        engine_grace=3.0,
        caller_cancel_at=1,
    ),
    "a cancel that leaves one branch bounds the cleanup that is open in another": Scenario(
        PipelineModel(
            "p",
            (
                part(
                    NodeModel("a", 5, cleanups=(1,)),
                    NodeModel("b", 6, cleanups=(8,), timeout=9, grace=7),
                    fail_fast=False,
                ),
            ),
        ),
        engine_grace=3.0,
        caller_cancel_at=1,
    ),
    "what starts after the caller's deadline has timed out": Scenario(
        PipelineModel(
            "p",
            (
                part(
                    NodeModel("a", 5),
                    NodeModel("b", 5, "swallows", 2),
                    NodeModel("c", 1, after=("b",)),
                    fail_fast=False,
                ),
            ),
        ),
        caller_deadline=1,
    ),
    "no cancel escapes where a node's own scope and then a limit of ours cut a nested run": Scenario(
        PipelineModel(
            "p",
            (
                part(
                    NodeModel(
                        "a",
                        1,
                        absorb_after=2,
                        nested=PipelineModel(
                            "q",
                            (
                                StageModel(
                                    "t", (NodeModel("b", 9), NodeModel("c", 9, "swallows", 3))
                                ),
                            ),
                        ),
                    )
                ),
            ),
            timeout=4,
        )
    ),
    "a cancel that leaves one branch of a nested run starts the budget of the node around it": Scenario(
        PipelineModel(
            "p",
            (
                part(
                    NodeModel(
                        "a",
                        1,
                        nested=PipelineModel(
                            "q",
                            (
                                StageModel(
                                    "t", (NodeModel("b", 2), NodeModel("c", 3, cleanups=(1.5,)))
                                ),
                            ),
                            grace=2,
                        ),
                    )
                ),
            ),
        ),
        engine_grace=0.25,
        caller_cancel_at=1.5,
    ),
    "the limit of a part that is skipped cuts nobody": Scenario(
        PipelineModel(
            "p",
            (
                StageModel("s", (NodeModel("a", 1, timeout=0),), when=bool),
                StageModel("t", (NodeModel("b", 1),)),
            ),
        ),
        input=0,
    ),
    "a nested run that is cut from above keeps its own answer": Scenario(
        PipelineModel(
            "p",
            (
                part(
                    NodeModel(
                        "a",
                        1,
                        nested=PipelineModel(
                            "q",
                            (
                                StageModel("t", (NodeModel("b", 1),)),
                                StageModel("u", (NodeModel("c", 9),), critical=False),
                            ),
                        ),
                    )
                ),
            ),
            timeout=4,
        )
    ),
}


def broken(_):
    raise ValueError


RETRY = RetryModel(3, min_attempt=0.5)
TRIED = {
    "a backoff and an attempt that just do not fit are not begun": Scenario(
        PipelineModel("p", (part(NodeModel("a", 1, "raises", hint=1, retry=RETRY, timeout=2.5)),))
    ),
    "what is expected is at most the limit of an attempt": Scenario(
        PipelineModel(
            "p",
            (part(NodeModel("a", 1, retry=RetryModel(min_attempt=9), attempt_timeout=0.5)),),
            timeout=1.25,
        )
    ),
    "the fourth retry within ten seconds has no token": Scenario(
        PipelineModel("p", (part(NodeModel("a", 1, "raises", retry=RetryModel(9))),))
    ),
    "tokens come back after ten seconds": Scenario(
        PipelineModel("p", (part(NodeModel("a", 4, "raises", retry=RetryModel(9))),))
    ),
    "a sibling's failure cuts a backoff": Scenario(
        PipelineModel(
            "p",
            (part(NodeModel("a", 2, "raises"), NodeModel("b", 1, "raises", hint=5, retry=RETRY)),),
        )
    ),
    "a free slot is asked for within the instant": Scenario(
        PipelineModel(
            "p",
            (
                part(NodeModel("a", 1, cleanups=(0.25,), guarded=True)),
                StageModel("t", (NodeModel("b", 1, when=broken),), after=()),
            ),
        )
    ),
    "an attempt that outlasts its limit is late, and its node is not": Scenario(
        PipelineModel("p", (part(NodeModel("a", 5, "swallows", 1, attempt_timeout=2)),)),
    ),
    "an attempt may swallow its cancel after one that did not": Scenario(
        PipelineModel(
            "p",
            (
                part(
                    NodeModel(
                        "a",
                        5,
                        later=(AttemptModel(5, "swallows", 1),),
                        retry=RETRY,
                        attempt_timeout=2,
                    )
                ),
            ),
        )
    ),
    "the limit of an attempt leaves its cleanup the grace of the node": Scenario(
        PipelineModel(
            "p",
            (part(NodeModel("a", 5, cleanups=(1, 1), retry=RETRY, attempt_timeout=2, grace=1.5)),),
            timeout=9,
        )
    ),
}


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("scenario", TRIED.values(), ids=TRIED)
def test_attempts_by_example(scenario, trace):
    """The rules of attempts at the instants that chance does not hit."""
    agree(scenario, trace)


@pytest.mark.parametrize("scenario", REGRESSIONS.values(), ids=REGRESSIONS)
def test_found_by_the_oracle(scenario):
    """What the oracle found once stays right."""
    agree(scenario, trace=False)


# -- the proof that the comparison sees something --------------------------------------------------


def hard_without_parent(self):
    return min(min(self.fired(), self.foreign_at) + self.grace, self.forced_at)


def hard_from_now(self):
    above = inf if self.parent is None else self.parent.hard()
    own = self.own()
    return min((own if own < inf else self.fired()) + self.grace, above)


def cause_innermost(self, at):
    level, found, earliest = self, None, inf
    while level is not None:
        own = level.own()
        if own <= at and own < earliest:
            found, earliest = level, own
        level = level.parent
    return found


def cause_outermost_fired(self, at):
    level, found = self, None
    while level is not None:
        if level.own() <= at:
            found = level
        level = level.parent
    return found


def fired_without_parents(self):
    return self.own()


def cleanup_relative(self, now):
    return now + self.grace


def found(examples, **options):
    """Whether the comparison sees a difference among that many scenarios."""
    try:
        find(
            scenarios(depth=0, caller=False, **options),
            lambda scenario: bool(disagreements(scenario)),
            settings=settings(
                profile(examples, examples),
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    except NoSuchExample:
        return False
    return True


MUTANTS = [
    ("hard", hard_without_parent),
    ("hard", hard_from_now),
    ("cause", cause_innermost),
    ("cause", cause_outermost_fired),
    ("fired", fired_without_parents),
    ("cleanup_ends", cleanup_relative),
]


@pytest.mark.parametrize(("method", "broken"), MUTANTS, ids=[b.__name__ for _, b in MUTANTS])
def test_mutants_are_found(monkeypatch, method, broken):
    """A subtly wrong equation in the engine is found within 400 scenarios."""
    monkeypatch.setattr(Level, method, broken)
    assert found(400)


def one_more(patch):
    decide = attempts.decide_retry
    patch.setattr(
        attempts,
        "decide_retry",
        lambda retry, *args, **kw: decide(
            attrs.evolve(retry, attempts=retry.attempts + 1), *args, **kw
        ),
    )


def grows_too_early(patch):
    delay = retrying.backoff_delay
    patch.setattr(
        retrying, "backoff_delay", lambda retry, number, random: delay(retry, number + 1, random)
    )


def without_a_look_at_the_time(patch):
    decide = attempts.decide_retry
    patch.setattr(
        attempts, "decide_retry", lambda *args, **kw: decide(*args, **{**kw, "remaining": inf})
    )


def blames_the_node(patch):
    class Wrong(copies.InnerTimeoutError):
        def __init__(self, blame, *args):
            super().__init__(attrs.evolve(blame, level="node"), *args)

    patch.setattr(copies, "InnerTimeoutError", Wrong)


def keeps_the_last_error_only(patch):
    go_on = attempts._Attempts._go_on

    async def forgets(self, failed):
        self._node.errors = ()
        await go_on(self, failed)

    patch.setattr(attempts._Attempts, "_go_on", forgets)


def sleeps_past_the_deadline(patch):
    go_on = attempts._Attempts._go_on

    async def shielded(self, failed):
        with trio.CancelScope(shield=True):
            await go_on(self, failed)

    patch.setattr(attempts._Attempts, "_go_on", shielded)


def asks_no_budget(patch):
    patch.setattr(RetryBudget, "take", lambda *_: True)


POLICIES = [
    one_more,
    grows_too_early,
    without_a_look_at_the_time,
    blames_the_node,
    keeps_the_last_error_only,
    sleeps_past_the_deadline,
    asks_no_budget,
]


@pytest.mark.parametrize("plant", POLICIES, ids=[plant.__name__ for plant in POLICIES])
def test_mutants_of_attempts_are_found(monkeypatch, plant):
    """A subtly wrong rule of retries in the engine is found within 400 scenarios."""
    plant(monkeypatch)
    assert found(400, attempts=True)
