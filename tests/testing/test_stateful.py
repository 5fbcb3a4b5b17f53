"""The machine that plans what happens to an engine, and the world in which it happens."""

import os

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from graceline import Node, Pipeline, Timeouts
from graceline.engine.admission import Admission
from graceline.testing.behaviours import OwnShield, SlowCleanup, modelled
from graceline.testing.breach import InvariantError
from graceline.testing.stateful import Act, EngineMachine, carry_out

_THOROUGH = os.environ.get("GRACELINE_PROFILE") == "thorough"
_SETTINGS = settings(max_examples=1000 if _THOROUGH else 25, stateful_step_count=10, deadline=None)

TestEngine = EngineMachine.TestCase
TestEngine.settings = _SETTINGS


def act(at, what, run=0, **fields):
    return Act(at=at, what=what, run=run, **fields)


def pipeline(*bodies):
    return Pipeline("p", [Node(body, name=f"n{at}") for at, body in enumerate(bodies)])


OPTIONS = {"max_concurrent_pipelines": 1, "max_queue": 1, "timeouts": Timeouts.none()}


def test_a_plan_is_carried_out_at_its_instants():
    """Submits, cancels by hand and by thread, a cancelled caller and a drain: each at its instant."""
    slow = pipeline(modelled(0.25, SlowCleanup(0.0625)))
    plan = [
        act(0.0, "run", 0, pipeline=slow),
        act(0.0625, "start", 1, pipeline=slow, by_thread=True),
        act(0.09375, "run", 2, pipeline=slow),
        act(0.125, "cancel", 0, by_thread=True),
        act(0.25, "cancel", 7),
        act(0.3125, "run", 3, pipeline=slow),
        act(0.34375, "cancel_caller", 3),
        act(0.5, "drain"),
        act(0.625, "run", 4, pipeline=slow),
    ]
    first, second, third, fourth, fifth = carry_out(plan, **OPTIONS)
    assert (first.result.status, first.result.elapsed) == ("cancelled", 0.1875)
    assert (second.result.status, second.result.queued) == ("ok", 0.125)
    assert (third.result.status, third.result.blame.kind) == ("rejected", "rejected")
    assert fourth.raised
    assert (fifth.result.status, fifth.result.elapsed) == ("rejected", 0.0)


def test_a_caller_that_only_waits_may_go():
    """Cancelling the task that waits for a started run leaves the run as it is."""
    plan = [act(0.0, "start", pipeline=pipeline(modelled(0.25))), act(0.125, "cancel_caller")]
    (played,) = carry_out(plan, **OPTIONS)
    assert played.raised
    assert played.result.status == "ok"


def test_a_node_that_nobody_can_stop_is_found():
    """The machine fails, and says which node broke which promise, if what it submits shields itself."""
    from hypothesis import strategies as st

    class Stubborn(EngineMachine):
        submitted = st.just(Pipeline("p", [Node(modelled(2, OwnShield()), name="n", timeout=1)]))

    with pytest.raises(InvariantError, match="'n'"):
        run_state_machine_as_test(
            Stubborn, settings=settings(_SETTINGS, phases=[Phase.generate], database=None)
        )


def test_a_slot_that_is_lost_is_found(monkeypatch):
    """The machine fails if a run that ends keeps its slot."""
    monkeypatch.setattr(Admission, "leave", lambda self, run: None)
    with pytest.raises(InvariantError, match="I11"):
        carry_out([act(0.0, "run", pipeline=pipeline(modelled(0.25)))], **OPTIONS)
