import re
import sys
from functools import partial

import attrs
import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from trio.testing import MockClock

from graceline import (
    Blame,
    DefinitionError,
    Kind,
    Node,
    Pipeline,
    Retry,
    Stage,
    Status,
    Timeouts,
    choose,
    cleanup,
    each,
    open_engine,
    parallel,
    save_partial,
)
from graceline.telemetry.timeline import Timeline
from graceline.testing.behaviours import Raises, modelled
from graceline.testing.breach import InvariantError, picture
from graceline.testing.clock import virtual_time
from graceline.testing.invariants import (
    check_children_end_first,
    check_cleanup_is_bounded,
    check_every_part_has_a_status,
    check_invariants,
    check_nothing_lost,
    check_one_blame,
    check_work_stops,
)
from graceline.testing.models import NodeModel, build
from graceline.testing.recording import record
from graceline.testing.strategies import scenarios
from graceline.testing.surroundings import check_foreign_cancel_passes, check_full_capacity
from graceline.testing.world import Cancels, simulate

NONE = Timeouts.none()
CHECKS = [
    check_work_stops,
    check_cleanup_is_bounded,
    check_one_blame,
    check_nothing_lost,
    check_every_part_has_a_status,
    check_children_end_first,
]


async def obeys(value):
    await trio.sleep(9)


async def swallows(value):
    try:
        await trio.sleep(9)
    except trio.Cancelled:
        pass
    with trio.CancelScope(shield=True):
        await trio.sleep(0.5)
    return "swallowed"


async def shields_in_finally(value):
    try:
        await trio.sleep(9)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.5)


async def cleans_up(value):
    try:
        await trio.sleep(9)
    finally:
        with cleanup():
            await trio.sleep(0.5)


async def shields_in_cleanup(value):
    try:
        await trio.sleep(9)
    finally:
        with cleanup(), trio.CancelScope(shield=True):
            await trio.sleep(5)


async def blocks(value):
    await trio.sleep(0.5)
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    clock.jump(3)
    return "late"


def one(function, name="node", **limits):
    limits = limits or {"timeout": 1}
    return Pipeline("p", [Stage("s", [Node(function, name=name, **limits)])], grace=1)


def seen(pipeline, value="in", **options):
    return simulate(pipeline, value, timeouts=NONE, **options)


def check(recording):
    check_invariants(recording.result, recording.timeline)


def broken(recording, checking=check_invariants):
    with pytest.raises(InvariantError) as caught:
        checking(recording.result, recording.timeline)
    return caught.value


# -- I1 and I2: what users find in their own nodes --------------------------------------------


@pytest.mark.parametrize("function", [obeys, cleans_up, blocks])
def test_nodes_that_obey_keep_every_promise(function):
    """A node that lets its cancel pass keeps them, with bounded cleanup too, and so does a late burst."""
    check(seen(one(function)))


@pytest.mark.parametrize("function", [swallows, shields_in_finally])
def test_a_node_that_goes_on_after_its_cancel_is_found(function):
    """A swallowed Cancelled and an unbounded shield in `finally` break I1: who, when, and what is right."""
    recording = seen(one(function, name="saver"))
    error = broken(recording)
    assert (error.invariant, error.node, error.at) == ("I1", "saver", 1.5)
    assert error.timeline is recording.timeline
    assert "node 'saver' worked at 1.5s" in str(error)
    assert "was to end at 1s, by the limit of node 'saver'" in str(error)
    assert "with cleanup():" in str(error)
    assert "█ work" in str(error)


def test_the_level_that_cut_is_named():
    """The message tells whose limit or cancel a node did not obey."""
    staged = Pipeline("p", [Stage("s", [Node(swallows, name="n")], timeout=1)], timeout=1, grace=1)
    assert "by the limit of pipeline 'p'" in str(broken(seen(staged)))
    user = seen(one(swallows, timeout=9), cancels=Cancels(user_at=1))
    assert "by a cancel of pipeline 'p'" in str(broken(user))


def test_background_tasks_have_to_stop_too():
    """A task that a node started counts as the node's work, and is named."""

    async def body(value):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(swallows, value, name="worker")

    error = broken(seen(one(body)))
    assert error.invariant == "I1"
    assert "node 'node' (in its task 'worker')" in str(error)


def test_items_have_to_stop_too():
    """One item of a list that does not obey is found, and named."""
    node = each(Node(swallows, name="page"), timeout=1)
    error = broken(seen(Pipeline("p", [node], grace=1), [1, 2]))
    assert (error.invariant, error.at) == ("I1", 1.5)
    assert "item 'page[" in str(error)


def test_runs_inside_nodes_have_to_stop_too():
    """Work of a run inside a node is work of that node as well."""
    inner = Pipeline("inner", [Node(swallows, name="deep")])

    async def main():
        async with open_engine(timeouts=NONE) as engine:

            async def outer(value):
                return await engine.execute(inner, value)

            with record(engine) as timeline:
                result = await engine.run(one(outer))
            check_invariants(result, timeline)

    with pytest.raises(
        InvariantError, match="node 'deep' of pipeline 'inner', a run inside a node,"
    ):
        virtual_time(main)()


def test_those_who_get_their_cancel_late_are_not_to_blame():
    """While one node blocks the loop, the cancel of another comes late, and neither is found."""
    both = Pipeline("p", [parallel(Node(blocks, name="a"), Node(obeys, name="b", timeout=1))])
    recording = seen(both)
    check(recording)
    assert recording.result.node("b").elapsed == 3.5


def test_a_burst_at_the_very_start_is_seen():
    """The step in which a run is submitted counts, although the recording began within it."""

    async def blocks_at_once(value):
        trio.lowlevel.current_clock().jump(3)
        await trio.sleep(1)

    for cancels in (Cancels(), Cancels(caller_at=0.5), Cancels(caller_deadline=0.5)):
        recording = seen(one(blocks_at_once), cancels=cancels)
        assert recording.returned_at == 3
        check(recording)
        check_foreign_cancel_passes(recording)


def test_a_caller_who_is_cancelled_sets_no_limit():
    """Only the engine's own cancels stop work; a foreign one bounds cleanup and nothing else."""
    recording = seen(one(swallows, timeout=9), cancels=Cancels(caller_at=1))
    check_work_stops(recording.result, recording.timeline)


def test_a_shield_inside_cleanup_is_found():
    """A cleanup block that cannot be cut breaks I2."""
    error = broken(seen(one(shields_in_cleanup)), check_cleanup_is_bounded)
    assert (error.invariant, error.node, error.at) == ("I2", "node", 6)
    assert "was cut at 2s" in str(error)


def test_a_cleanup_that_is_cut_is_bounded():
    """Cleanup may want more than its grace: it is cut, and I2 holds."""
    check(seen(one(cleans_up, timeout=1, grace=0.25)))


def test_nothing_outlasts_the_run():
    """What goes on after the grace of the whole run breaks I2, cleanup or not."""
    error = broken(
        seen(attrs.evolve(one(shields_in_finally), timeout=1, grace=0.25)), check_cleanup_is_bounded
    )
    assert (error.invariant, error.at) == ("I2", 1.5)
    assert "the whole run was to end at 1.25s" in str(error)


def test_modes_that_cut_nothing_promise_no_end():
    """In `off` no limit fires, and cleanup is not bounded."""
    check(seen(one(shields_in_cleanup), mode="off"))
    check(seen(one(cleans_up, timeout=1, grace=0.1), mode="off", cancels=Cancels(user_at=1)))


# -- I3 to I6: what an engine could get wrong -------------------------------------------------


def failing():
    """A run with an ok, a failed and a skipped node, and a soft failure."""

    async def good(value):
        await trio.sleep(0.5)
        save_partial("half")
        return "good"

    async def bad(value):
        await trio.sleep(1)
        raise ValueError("no")

    soft = Node(obeys, name="soft", timeout=0.25, critical=False)
    first = Stage("s", [Node(good, name="good"), Node(bad, name="bad"), soft])
    return seen(Pipeline("p", [first, Stage("t", [Node(obeys, name="never")])], grace=1))


def altered(recording, path, **changes):
    """The result with a part of it changed: what a broken engine could have said."""
    result = recording.result
    if path == "":
        return attrs.evolve(recording, result=attrs.evolve(result, **changes))
    name, _, node = path.partition(".")
    stage = result.stages[name]
    if node:
        changes = {"nodes": {**stage.nodes, node: attrs.evolve(stage.nodes[node], **changes)}}
    stages = {**result.stages, name: attrs.evolve(stage, **changes)}
    return attrs.evolve(recording, result=attrs.evolve(result, stages=stages))


def blame(level, name, kind=Kind.TIMEOUT):
    return Blame(level, name, kind, None, None, 1.0, "told wrongly")


def test_a_failing_run_keeps_every_promise():
    """Failures, soft failures and skipped nodes are no breach."""
    check(failing())


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("", {"blame": None}, "the run is failed and nothing is blamed"),
        ("s.good", {"blame": blame("node", "good")}, "is ok and blames node 'good' (timeout)"),
        ("s.bad", {"blame": blame("node", "bad")}, "is failed by node 'bad' (timeout)"),
        ("s.soft", {"blame": blame("stage", "s")}, "blames stage 's' (timeout)"),
        ("", {"blame": blame("node", "good", Kind.FAILED)}, "none of its stages does"),
        ("t.never", {"blame": blame("stage", "t")}, "is skipped and blames"),
    ],
)
def test_a_wrong_blame_is_found(path, changes, message):
    """I3: a blame that is missing, too many, of the wrong kind or level is told."""
    error = broken(altered(failing(), path, **changes), check_one_blame)
    assert error.invariant == "I3"
    assert message in str(error)


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("", {"completed": ()}, "completed is []"),
        ("s.good", {"value": None}, "node 'good' of stage 's' returned a value at 500ms"),
        ("s", {"nodes": {}}, "node 'good' of stage 's' returned a value"),
    ],
)
def test_a_lost_value_is_found(path, changes, message):
    """I4: a completed node that is not listed, and a value that is gone, are told."""
    error = broken(altered(failing(), path, **changes), check_nothing_lost)
    assert error.invariant == "I4"
    assert message in str(error)


def test_values_that_cannot_be_compared_are_told_by_identity():
    """I4: a value whose equality raises is kept if it is the same object."""

    class Odd:
        def __eq__(self, other):
            raise TypeError("no")

        __hash__ = None

    async def odd(value):
        return Odd()

    recording = seen(one(odd))
    check(recording)
    assert broken(altered(recording, "s.node", value=Odd()), check_nothing_lost).node == "node"


def test_partial_values_are_not_lost():
    """I4: what a node saved, and what a strict late node returned, is in the result."""

    async def saves(value):
        save_partial("half")
        await trio.sleep(9)

    recording = seen(one(saves))
    check(recording)
    error = broken(altered(recording, "", partial={}), check_nothing_lost)
    assert "saved a partial value that is gone" in str(error)
    strict = seen(one(swallows, timeout=1, strict=True))
    check_nothing_lost(strict.result, strict.timeline)
    assert "returned a value at 1.5s" in str(
        broken(altered(strict, "s.node", partial=None), check_nothing_lost)
    )


def test_values_of_items_are_not_lost():
    """I4: finished items are in the value, or in the partial value of a node that did not finish."""

    async def item(seconds):
        await trio.sleep(seconds)
        return seconds

    node = each(Node(item, name="item"), timeout=2)
    recording = seen(Pipeline("p", [Stage("s", [node])], grace=1), [1, 9])
    check(recording)
    assert broken(altered(recording, "s.item", partial=[]), check_nothing_lost).node == "item"


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("t", {"nodes": {}}, "node 'never' of stage 't' has no outcome"),
        ("s.good", {"status": Status.LATE}, "was told to be ok, and its outcome is late"),
        ("s.bad", {"value": 1}, "is failed and has a value"),
        ("s.soft", {"error": ValueError()}, "is timed_out and has an error"),
        ("t.never", {"attempts": 1}, "is skipped and was started"),
        ("", {"value": 1}, "the run is failed and has a value"),
        ("", {"status": "failed"}, "which is no Status"),
    ],
)
def test_a_contradiction_is_found(path, changes, message):
    """I5: an outcome that is missing, or does not fit its status, is told."""
    error = broken(altered(failing(), path, **changes), check_every_part_has_a_status)
    assert error.invariant == "I5"
    assert message in str(error)


def test_a_status_has_to_fit_the_instants():
    """I5: `ok` is what returned before the cancel, `late` what returned after it."""
    recording = seen(one(obeys, timeout=20))
    cuts = recording.timeline.cuts
    cuts["s", "node"] = (attrs.evolve(cuts["s", "node"][-1], own_at=5.0),)
    error = broken(recording, check_every_part_has_a_status)
    assert "is ok and returned at 9s, after its cancel at 5s" in str(error)
    late = seen(one(blocks))
    cuts = late.timeline.cuts
    cuts["s", "node"] = (attrs.evolve(cuts["s", "node"][-1], own_at=5.0),)
    error = broken(late, check_every_part_has_a_status)
    assert "is late and returned at 3.5s, before its cancel at 5s" in str(error)


def test_an_end_that_is_told_twice_is_found():
    """I5: a part ends once."""
    recording = failing()
    recording.timeline.finished.insert(0, ("s", "good"))
    assert "ended twice" in str(broken(recording, check_every_part_has_a_status))


def test_a_part_from_nowhere_is_found():
    """I5: an outcome belongs to a part of which the run told."""
    recording = failing()
    stage = recording.result.stages["t"]
    stages = {**recording.result.stages, "u": attrs.evolve(stage, name="u", nodes={})}
    error = broken(altered(recording, "", stages=stages), check_every_part_has_a_status)
    assert "stage 'u' was never heard of" in str(error)


def test_a_task_that_survives_its_run_is_found():
    """I6: a task that a node leaves in a nursery from outside of the run is told by its name."""

    async def main():
        async with open_engine(timeouts=NONE) as engine, trio.open_nursery() as nursery:

            async def leaves(value):
                nursery.start_soon(obeys, value, name="forgotten")
                await trio.sleep(1)

            with record(engine) as timeline:
                result = await engine.run(one(leaves, timeout=5))
            check_invariants(result, timeline)

    with pytest.raises(InvariantError, match=r"forgotten \(of node 'node'\) went on") as caught:
        virtual_time(main)()
    assert (caught.value.invariant, caught.value.at) == ("I6", 1)


def test_a_run_that_a_node_starts_is_no_survivor():
    """I6: `engine.start` begins a run of its own, which may well last longer."""

    async def main():
        async with open_engine(timeouts=NONE) as engine:

            async def starts(value):
                engine.start(Pipeline("q", [Node(obeys, name="later")]))

            with record(engine) as timeline:
                result = await engine.run(one(starts, timeout=5))
            check_invariants(result, timeline)

    virtual_time(main)()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.finished.reverse(), "ended after"),
        (lambda line: line.finished.remove(("s", "good")), "had not ended when the run had"),
    ],
)
def test_an_end_out_of_order_is_found(change, message):
    """I6: the end of a part is told before that of what holds it."""
    recording = failing()
    change(recording.timeline)
    error = broken(recording, check_children_end_first)
    assert error.invariant == "I6"
    assert message in str(error)


def test_a_child_that_ends_later_is_found():
    """I6: by their instants, too, children end before their parent."""
    recording = failing()
    finished = recording.timeline._finished
    finished["s", ""] = attrs.evolve(finished["s", ""], elapsed=0.25)
    assert "ended at 500ms, after stage 's'" in str(broken(recording, check_children_end_first))


@pytest.mark.parametrize(("number", "change"), [
    (1, {"started": 0.25}),  # begins before the end of the one before
    (1, {"elapsed": 9}),  # outlasts its node
    (0, {"started": -1}),  # begins before its node
], ids=str)  # fmt: skip
def test_attempts_out_of_line_are_found(number, change):
    """I6: attempts lie within their node, one behind the other."""
    work = modelled(0.5, Raises(attempts=1))
    node = Node(work, name="n", retry=Retry(attempts=2, backoff=0.25), timeout=5)
    recording = simulate(Pipeline("p", [node]), timeouts=NONE)
    check_invariants(recording.result, recording.timeline)
    made = recording.timeline.attempts
    assert [attempt.attempt for attempt in made] == [1, 2]
    made[number] = attrs.evolve(made[number], **change)
    message = f"attempt {number + 1} of node 'n' of stage 'p' went from"
    assert message in str(broken(recording, check_children_end_first))


def test_attempts_of_items_may_overlap():
    """I6: the items of a list are tried side by side, within their node."""
    work = modelled(0.5, Raises(attempts=1))
    node = each(Node(work, name="n", retry=Retry(attempts=2, backoff=0)), max_parallel=2)
    recording = simulate(Pipeline("p", [node]), [1, 2], timeouts=NONE)
    check_invariants(recording.result, recording.timeline)
    assert len(recording.timeline.attempts) == 4


# -- I8 and I11 -------------------------------------------------------------------------------


@pytest.mark.parametrize("cancels", [Cancels(caller_at=1), Cancels(caller_deadline=1), Cancels()])
@pytest.mark.parametrize("function", [obeys, cleans_up, swallows, blocks])
def test_the_callers_cancel_passes(function, cancels):
    """I8 holds whatever the node does with the caller's cancel."""
    check_foreign_cancel_passes(seen(one(function, timeout=9), cancels=cancels))


def test_a_cancel_that_was_kept_is_found():
    """I8: a caller who was cancelled and got a result that is not plainly ok is told."""
    recording = seen(one(cleans_up, timeout=9), cancels=Cancels(caller_at=1))
    with pytest.raises(InvariantError, match=r"cancelled at 1s, and got a result at 1\.5s"):
        check_foreign_cancel_passes(attrs.evolve(recording, raised=False))
    kept = attrs.evolve(altered(failing(), ""), cancels=Cancels(caller_at=0.75))
    with pytest.raises(InvariantError, match="cancelled at 750ms, and got a result at 1s"):
        check_foreign_cancel_passes(kept)


def test_a_cancel_from_nowhere_is_found():
    """I8: a Cancelled, or a blame on the caller, needs a caller who was cancelled."""
    recording = seen(one(obeys))
    with pytest.raises(InvariantError, match="nobody cancelled the caller"):
        check_foreign_cancel_passes(attrs.evolve(recording, raised=True))
    told = altered(recording, "s.node", blame=blame("caller", "caller", Kind.CALLER))
    with pytest.raises(InvariantError, match="blames the caller, who was not cancelled") as caught:
        check_foreign_cancel_passes(told)
    assert (caught.value.invariant, caught.value.node) == ("I8", "node")


@virtual_time
async def test_an_idle_engine_has_its_full_capacity():
    """I11 holds after runs that timed out, were cancelled or refused, and not while one goes on."""
    async with open_engine(max_concurrent_pipelines=1, max_queue=1, timeouts=NONE) as engine:
        check_full_capacity(engine)
        for _ in range(3):
            engine.start(one(obeys, timeout=5))
        await trio.sleep(1)
        with pytest.raises(InvariantError, match="2 runs are queued or running, 1 slots") as caught:
            check_full_capacity(engine)
        assert (caught.value.invariant, caught.value.timeline) == ("I11", None)
        engine.cancel_all("enough")
        await engine.wait_idle()
        check_full_capacity(engine)


def test_what_is_no_engine_is_refused():
    """I11 asks an engine."""
    with pytest.raises(DefinitionError, match="3 is not an Engine"):
        check_full_capacity(3)


# -- the arguments and the message ------------------------------------------------------------


@pytest.mark.parametrize("checking", CHECKS)
def test_a_timeline_of_another_run_is_refused(checking):
    """A result is held against what was recorded of that run, steps included."""
    recording = seen(one(obeys))
    with pytest.raises(DefinitionError, match="kept no steps; record the run by simulate"):
        checking(recording.result, Timeline())
    other = attrs.evolve(recording.result, run_id="other")
    with pytest.raises(DefinitionError, match="take both of the same run"):
        checking(other, recording.timeline)


def test_without_rich_the_picture_is_a_list(monkeypatch):
    """One line per part says the same where rich is not installed."""
    recording = failing()
    assert picture(recording.timeline, "no result").startswith("p  failed after 1s")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    lines = picture(recording.timeline, recording.result).splitlines()
    assert lines[0] == "s: failed, from 0s, worked until 1s, ended at 1s"
    assert lines[-1] == "  never: skipped, from -, worked until -, ended at -"

    async def raises(value):
        raise ValueError(value)

    twice = Node(raises, name="node", retry=Retry(attempts=2, backoff=0))
    tried = seen(Pipeline("p", [twice]))
    assert picture(tried.timeline).splitlines()[-2:] == [
        "    attempt 1: failed, from 0s, ended at 0s",
        "    attempt 2: failed, from 0s, ended at 0s",
    ]


def test_the_message_can_be_acted_on():
    """It opens with the number and the promise, and ends with the waterfall."""
    text = str(broken(seen(one(swallows))))
    assert re.match(r"I1 is broken \(no work goes on after its cancel\):\n  node 'node' ", text)
    assert "\n  right would be: let `trio.Cancelled` pass" in text
    assert text.endswith("█ work  ─ stage  ┊ limit")


# -- over generated runs ----------------------------------------------------------------------


def obedient(model):
    """The model without what swallows its cancel."""
    if isinstance(model, NodeModel):
        return attrs.evolve(model, ending="value" if model.ending == "swallows" else model.ending)
    name = "nodes" if hasattr(model, "nodes") else "stages"
    return attrs.evolve(model, **{name: tuple(map(obedient, getattr(model, name)))})


@settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
@given(scenarios(depth=0))
def test_obedient_runs_keep_every_promise(scenario):
    """Whatever limits and cancels meet: nodes that let their cancel pass keep I1 to I6, and I8."""
    recording = simulate(
        build(obedient(scenario.pipeline), partial(pytest.fail, "no run inside a node")),
        timeouts=Timeouts(node=None, pipeline=None, grace=scenario.engine_grace),
        cancels=Cancels(
            user_at=scenario.user_cancel_at,
            caller_at=scenario.caller_cancel_at,
            caller_deadline=scenario.caller_deadline,
        ),
    )
    check_foreign_cancel_passes(recording)
    if recording.result is not None:
        check(recording)


@pytest.mark.parametrize("limit", [1.5, 2.5, 9])
def test_a_choice_keeps_the_promises(limit):
    """All of them hold where alternatives hang, clean up, fail, and where one is to blame."""

    async def hangs(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.25)

    alternatives = Node(hangs, name="a", timeout=1), Node(hangs, name="b", timeout=1)
    recording = seen(Pipeline("p", [choose(*alternatives, name="pick")], timeout=limit))
    assert recording.result.blame.level == ("pipeline" if limit < 2 else "alternative")
