import math

import pytest

from graceline import DefinitionError, Node, Pipeline, Stage, Timeouts
from graceline.testing.behaviours import OwnShield, SlowCleanup, modelled
from graceline.testing.breach import InvariantError
from graceline.testing.load import Load, simulate_load
from graceline.testing.nested import RunsNested
from graceline.testing.world import Cancels

NONE = Timeouts(node=None, pipeline=None, grace=1.0)


def work(seconds, behaviour=None, **options):
    body = modelled(seconds) if behaviour is None else modelled(seconds, behaviour)
    return Pipeline("p", [Node(body, name="n")], **options)


def told(load, value=None, **options):
    """Per run: status, when it came back, and how long it was queued."""
    runs = simulate_load(load, value, timeouts=NONE, **options)
    return [(str(run.result.status), run.returned_at, run.result.queued) for run in runs]


def test_runs_queue_for_slots():
    """Runs get slots in the order of their arrival, and time in the queue counts."""
    one = work(1)
    assert told(Load(1, None, [(0.0, one), (0.5, one), (0.75, one)])) == [
        ("ok", 1.0, 0.0),
        ("ok", 2.0, 0.5),
        ("ok", 3.0, 1.25),
    ]
    assert told(Load(2, None, [(0.0, one), (0.5, one)])) == [("ok", 1.0, 0.0), ("ok", 1.5, 0.0)]
    assert told(Load(None, None, [(0, one)] * 20)) == [("ok", 1.0, 0.0)] * 20


def test_a_full_queue_refuses():
    """What finds the queue full is rejected at once."""
    one = work(1)
    assert told(Load(1, 1, [(0.0, one), (0.25, one), (0.5, one)])) == [
        ("ok", 1.0, 0.0),
        ("ok", 2.0, 0.75),
        ("rejected", 0.5, 0.0),
    ]


def test_limits_pass_in_the_queue():
    """A run whose limit passes in the queue has timed out, and its place is free again."""
    load = Load(1, 1, [(0.0, work(2)), (0.25, work(1, timeout=0.5)), (1.0, work(1))])
    assert [entry[:2] for entry in told(load)] == [("ok", 2.0), ("timed_out", 0.75), ("ok", 3.0)]


def test_cancels():
    """Each run has its own cancels, counted from its arrival, queued or running."""
    slow = work(2)
    load = Load(
        1, None, [(0.0, slow, 0.5), (0.25, slow, Cancels(user_at=0.125)), (0.25, slow, None)]
    )
    assert [entry[:2] for entry in told(load)] == [
        ("cancelled", 0.5),
        ("cancelled", 0.375),
        ("ok", 2.5),
    ]


def test_callers():
    """A caller that is cancelled, or whose deadline passes, gets its `Cancelled`, and no other does."""
    slow = work(2)
    load = Load(
        3,
        None,
        [
            (0.0, slow, Cancels(caller_at=0.5)),
            (0.25, slow, Cancels(caller_deadline=0.5)),
            (0.5, slow),
        ],
    )
    runs = simulate_load(load, timeouts=NONE)
    assert [run.raised for run in runs] == [True, True, False]
    assert [run.returned_at for run in runs] == [0.5, 0.75, 2.5]
    assert [run.submitted_at for run in runs] == [0.0, 0.25, 0.5]
    assert [run.result.blame and run.result.blame.kind for run in runs] == [
        "caller",
        "timeout",
        None,
    ]


def test_a_drain_is_the_engines():
    """A drain cancels all that runs, and what arrives later is rejected."""
    load = Load(2, None, [(0.0, work(2), Cancels(drain_at=0.5)), (0.25, work(2)), (1.0, work(1))])
    assert [entry[:2] for entry in told(load)] == [
        ("cancelled", 0.5),
        ("cancelled", 0.5),
        ("rejected", 1.0),
    ]


def test_input_mode_and_defaults():
    """Every run gets the input; the mode and the engine's defaults are those that were given."""
    load = Load(1, None, [(0.0, work(1))])
    (run,) = simulate_load(load, "value", timeouts=Timeouts(node=0.5))
    assert run.result.status == "timed_out"
    (run,) = simulate_load(load, "value", timeouts=Timeouts(node=0.5), mode="off")
    assert (run.result.status, run.result.value) == ("ok", "value")
    assert run.pipeline is load.arrivals[0][1]
    assert run.cancels == Cancels()


def test_nested_runs_take_no_slot():
    """A run inside a node finds its engine, and takes no slot of its own."""
    outer = work(1, RunsNested(Pipeline("q", [Stage("t", [Node(modelled(0.5), name="m")])])))
    assert told(Load(1, 0, [(0.0, outer)]), "x") == [("ok", 1.5, 0.0)]


def test_a_slot_that_is_kept_is_found(monkeypatch):
    """If a slot is not given back, the load ends with an error that names the promise."""
    from graceline.engine.admission import Admission

    load = Load(2, None, [(0.0, work(1, SlowCleanup(0.5)), 0.5), (0.0, work(1, OwnShield()))])
    assert len(simulate_load(load, timeouts=NONE)) == 2
    monkeypatch.setattr(Admission, "leave", lambda self, run: None)
    with pytest.raises(InvariantError, match="2 slots are taken"):
        simulate_load(load, timeouts=NONE)


ONE = work(1)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Load(0, None, [(0, ONE)]), r"Load\(slots=\).*at least 1, or None, not 0"),
        (lambda: Load(True, None, [(0, ONE)]), r"Load\(slots=\).*not True"),
        (lambda: Load(1.5, None, [(0, ONE)]), r"Load\(slots=\).*not 1.5"),
        (lambda: Load(1, -1, [(0, ONE)]), r"Load\(max_queue=\).*at least 0, or None, not -1"),
        (Load, r"needs at least one"),
        (lambda: Load(1, None, 3), r"arrivals=\) must be a list, not 3"),
        (lambda: Load(1, None, "no"), r"must be a list, not 'no'"),
        (lambda: Load(1, None, [(0, ONE), ONE]), r"arrival 1: pipeline 'p' is none"),
        (lambda: Load(1, None, [(0,)]), r"arrival 0: \(0,\) is none; write \(seconds, pipeline\)"),
        (lambda: Load(1, None, [(-1, ONE)]), r"arrival 0: -1 is negative"),
        (lambda: Load(1, None, [(math.inf, ONE)]), r"arrival 0: it must come at some time"),
        (lambda: Load(1, None, [(0, ONE.stages[0])]), r"arrival 0: stage 'p' is a Stage"),
        (lambda: Load(1, None, [(0, ONE, "no")]), r"user_at=.*'no' is not a duration"),
        (lambda: simulate_load([(0, ONE)]), "is not a Load"),
    ],
)
def test_bad_input(make, match):
    """A bad load is refused: which argument, which arrival, and what would be right."""
    with pytest.raises(DefinitionError, match=match):
        make()
