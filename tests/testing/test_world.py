import re
from math import inf

import pytest
import trio
from trio.testing import MockClock

from graceline import (
    DefinitionError,
    DefinitionWarning,
    Node,
    Pipeline,
    Stage,
    Status,
    Timeouts,
    cleanup,
    each,
    open_engine,
    parallel,
)
from graceline.testing.behaviours import modelled
from graceline.testing.clock import virtual_time
from graceline.testing.nested import RunsNested
from graceline.testing.recording import RecordedTimeline, record
from graceline.testing.world import Cancels, run_live, simulate

NONE = Timeouts.none()


def burst(seconds):
    """Let time pass without a checkpoint."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    clock.jump(seconds)


def works(seconds, name="work", **limits):
    async def body(value):
        await trio.sleep(seconds)
        return value

    return Node(body, name=name, **limits)


def works_of(timeline, name):
    return [(step.at, step.until) for step in timeline.steps if step.work and step.name == name]


# -- cancels ----------------------------------------------------------------------------------


def test_cancels_take_durations():
    """Instants may be given as every duration of the library."""
    cancels = Cancels(user_at="250ms", drain_at=3)
    assert (cancels.user_at, cancels.drain_at, cancels.caller_at) == (0.25, 3.0, None)


def test_the_caller_is_gone_at_the_earlier_instant():
    """Its scope is cancelled by its deadline or by hand, whichever comes first."""
    assert Cancels(caller_at=2, caller_deadline=1).caller_gone_at == 1
    assert Cancels(caller_at=2).caller_gone_at == 2
    assert Cancels(user_at=1).caller_gone_at is None


def test_cancels_show_what_is_stated():
    """A falsifying example can be read: nothing that has its default is shown."""
    assert repr(Cancels()) == "Cancels()"
    assert repr(Cancels(user_at=1)) == "Cancels(user_at=1.0)"


@pytest.mark.parametrize("name", ["user_at", "caller_at", "caller_deadline", "drain_at"])
def test_a_bad_instant_is_refused(name):
    """The message names the field that is wrong."""
    with pytest.raises(DefinitionError, match=re.escape(f"Cancels({name}=): -1 is negative")):
        Cancels(**{name: -1})


# -- simulate ---------------------------------------------------------------------------------


def test_a_run_in_a_world_of_its_own():
    """The result is that of the engine, the time is virtual, and the clock starts at 0."""
    seen = simulate(Pipeline("p", [works(3600)]), "in", timeouts=NONE)
    assert seen.result.status is Status.OK
    assert seen.result.value == "in"
    assert (seen.raised, seen.returned_at) == (False, 3600)
    assert seen.timeline.run_id == seen.result.run_id


def test_the_engine_is_as_asked():
    """Defaults and mode are those of the call; in `off` nothing is cut."""
    pipeline = Pipeline("p", [works(1)])
    assert simulate(pipeline).result.status is Status.TIMED_OUT
    assert simulate(pipeline, timeouts=Timeouts(node=2, pipeline=2)).result.status is Status.OK
    assert simulate(pipeline, mode="off").result.status is Status.OK


@pytest.mark.parametrize("cancels", [Cancels(user_at=1), Cancels(drain_at=1)])
def test_a_cancel_through_the_engine_gives_a_result(cancels):
    """A user's cancel and a drain end the run as cancelled, at their instant."""
    seen = simulate(Pipeline("p", [works(9)]), timeouts=NONE, cancels=cancels)
    assert seen.result.status is Status.CANCELLED
    assert (seen.raised, seen.returned_at) == (False, 1)
    assert seen.result.blame.kind == ("user" if cancels.user_at else "shutdown")


@pytest.mark.parametrize("cancels", [Cancels(caller_at=1), Cancels(caller_deadline=1)])
def test_a_cancel_of_the_caller_comes_through(cancels):
    """The caller gets its Cancelled, and the recording has what the engine said all the same."""
    seen = simulate(Pipeline("p", [works(9)]), timeouts=NONE, cancels=cancels)
    assert (seen.raised, seen.returned_at) == (True, 1)
    assert seen.result.blame.level == "caller"


def test_a_run_that_is_refused_has_a_result_too():
    """It is recorded, although nothing of it ever ran."""
    seen = simulate(Pipeline("p", [works(9)], timeout=0))
    assert seen.result.status is Status.TIMED_OUT
    assert seen.timeline.steps == ()


def test_a_caller_who_is_gone_already_submits_nothing():
    """Its Cancelled comes before the submission, so that there is no result to record."""
    seen = simulate(Pipeline("p", [works(9)]), cancels=Cancels(caller_deadline=0))
    assert (seen.raised, seen.result, seen.returned_at) == (True, None, 0)
    assert (seen.timeline.pipeline, seen.timeline.steps) == (None, ())


def test_modelled_nodes_may_run_another_pipeline():
    """`RunsNested` knows the engine of the world that it is in."""
    inner = Pipeline("inner", [works(1, "deep")])
    outer = Node(modelled(1, RunsNested(inner)), name="outer")
    seen = simulate(Pipeline("p", [outer]), "in", timeouts=NONE)
    assert (seen.result.value, seen.returned_at) == ("in", 2)
    assert works_of(seen.timeline, "deep") == [(2, 2)]


def test_what_is_for_the_program_is_raised():
    """A KeyboardInterrupt in a node never becomes a recording."""

    async def interrupted(value):
        await trio.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(Pipeline("p", [interrupted]))


def test_the_seed_decides_the_order_within_an_instant():
    """The same seed gives the same order each time; among several seeds there are several orders."""
    pipeline = Pipeline("p", [parallel(*(works(0.1, f"n{n}") for n in range(4)))])
    orders = {seed: simulate(pipeline, seed=seed).result.completed for seed in range(8)}
    assert len(set(orders.values())) > 1
    for seed, order in orders.items():
        assert simulate(pipeline, seed=seed).result.completed == order


def test_clamped_limits_warn_once():
    """The definition warned already; the world that copies it is silent."""
    with pytest.warns(DefinitionWarning):
        pipeline = Pipeline("p", [works(0.1, timeout=9)], timeout=1)
    assert simulate(pipeline).result.ok


def test_what_is_no_pipeline_is_refused():
    """Bad arguments say what would be right."""
    with pytest.raises(DefinitionError, match=r"simulate\(\): 3 is not a Pipeline"):
        simulate(3)
    with pytest.raises(DefinitionError, match=r"run_live\(\): cancels= takes Cancels"):
        run_live(Pipeline("p", [works(1)]), cancels=0.5)


def test_the_real_clock_gives_a_recording_too():
    """`run_live` is `simulate` on the real clock."""
    seen = run_live(Pipeline("p", [works(0.001)]), "in", timeouts=NONE)
    assert seen.result.value == "in"
    assert seen.returned_at > 0
    assert seen.timeline.pipeline.status is Status.OK


# -- the recorded timeline --------------------------------------------------------------------


def test_steps_say_who_worked_when():
    """Each step of a node is there, with the instant at which its work was to end."""

    async def twice(value):
        await trio.sleep(1)
        await trio.sleep(2)

    pipeline = Pipeline("p", [Stage("s", [Node(twice, name="twice", timeout=8)])], grace=1)
    timeline = simulate(pipeline, timeouts=NONE).timeline
    steps = [step for step in timeline.steps if step.work]
    assert [step.at for step in steps] == [1, 3]
    assert {(s.pipeline, s.stage, s.name, s.level) for s in steps} == {("p", "s", "twice", "node")}
    assert {(s.fires_at, s.cut_at, s.run_cut_at) for s in steps} == {(8, 9, inf)}


def test_cleanup_is_told_from_work():
    """Steps in `cleanup()` and in handlers are no work, and carry the end of their block."""

    async def handler(outcome):
        await trio.sleep(0.5)

    async def body(value):
        try:
            await trio.sleep(9)
        finally:
            with cleanup():
                await trio.sleep(0.25)

    node = Node(body, name="body", timeout=1, grace=2, on_cleanup=handler)
    timeline = simulate(Pipeline("p", [node]), timeouts=NONE).timeline
    assert [(s.at, s.cut_at) for s in timeline.steps if s.cleanup] == [(1.25, 3), (1.75, 3)]
    assert works_of(timeline, "body") == [(1, 1)]


def test_a_block_before_any_cancel_ends_with_its_own_grace():
    """Its end counts from its start, and a cancel that comes later brings it forward."""

    async def body(value):
        with cleanup():
            await trio.sleep(1)
            await trio.sleep(9)

    pipeline = Pipeline("p", [Node(body, name="body", grace=5)], grace=1)
    ends = [s.cut_at for s in simulate(pipeline, timeouts=NONE).timeline.steps if s.cleanup]
    assert ends == [5, 5]
    cut = simulate(pipeline, timeouts=NONE, cancels=Cancels(user_at=2)).timeline
    assert [s.cut_at for s in cut.steps if s.cleanup] == [5, 3]


def test_background_tasks_are_told_from_the_node():
    """A task that the node's own work started is marked, and named."""

    async def child():
        await trio.sleep(0.2)

    async def body(value):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, name="child")

    timeline = simulate(Pipeline("p", [parallel(Node(body, name="body"), works(0.1))])).timeline
    background = {(step.task, step.name) for step in timeline.steps if step.background}
    assert background == {("child", "body")}


def test_items_and_nested_runs_are_seen():
    """Items of `each()` and runs inside a node belong to the run that they are a part of."""
    inner = Pipeline("inner", [works(0.1, "deep")])
    engines = []

    async def outer(value):
        return await engines[0].execute(inner, value)

    async def main():
        async with open_engine() as engine:
            engines.append(engine)
            with record(engine) as timeline:
                await engine.run(Pipeline("p", [each(Node(outer, name="outer"))]), [1, 2])
            return timeline

    timeline = virtual_time(main)()
    assert {(s.pipeline, s.name) for s in timeline.steps if s.work} == {("inner", "deep")}
    assert timeline.pipeline.name == "p"


def test_other_runs_are_none_of_its_business():
    """A timeline keeps one run: by default the first, else the one that was asked for."""

    async def main():
        async with open_engine() as engine:
            with record(engine, "b") as asked, record(engine) as first:
                engine.start(Pipeline("p", [works(0.1, "one")]), run_id="a")
                await trio.sleep(0.05)
                engine.start(Pipeline("q", [works(0.1, "two")]), run_id="b")
                await engine.wait_idle()
            await engine.run(Pipeline("r", [works(0.1, "three")]))
        return asked, first

    asked, first = virtual_time(main)()
    assert {step.name for step in asked.steps if step.work} == {"two"}
    assert {step.name for step in first.steps if step.work} == {"one"}
    assert first.survivors == ()


def test_times_count_from_the_submission():
    """They do so wherever the clock stood."""

    async def main():
        await trio.sleep(100)
        async with open_engine(timeouts=NONE) as engine:
            with record(engine) as timeline:
                await engine.run(Pipeline("p", [works(1, timeout=3)]))
        return timeline

    timeline = virtual_time(main)()
    assert works_of(timeline, "work") == [(1, 1)]
    assert {step.fires_at for step in timeline.steps if step.work} == {3}
    (cut,) = [cut for cut in timeline.cuts["p", "work"] if cut.level == "node"]
    assert cut.own_at == 3


def test_a_burst_is_one_long_step():
    """Time that passes without a checkpoint lies between the begin and the end of a step."""

    async def body(value):
        await trio.sleep(1)
        burst(2)
        await trio.sleep(1)

    timeline = simulate(Pipeline("p", [Node(body, name="body")]), timeouts=NONE).timeline
    assert works_of(timeline, "body") == [(1, 3), (4, 4)]


def test_a_tick_ends_when_the_loop_can_act():
    """An instant within a burst has its tick at the burst's end; elsewhere it is the instant itself."""

    async def body(value):
        await trio.sleep(1)
        burst(2)
        await trio.sleep(1)

    timeline = simulate(Pipeline("p", [Node(body, name="body")]), timeouts=NONE).timeline
    assert not timeline.beyond(3, 2)
    assert timeline.beyond(4, 2)
    assert timeline.beyond(1, 0.5)
    assert not timeline.beyond(1, 1)
    assert not timeline.beyond(1, 2)


def test_slack_is_for_the_real_clock():
    """On a clock that moves by itself, a tick may take a little; in virtual time it may not."""

    async def main(**options):
        async with open_engine(timeouts=NONE) as engine:
            with record(engine, **options) as timeline:
                await engine.run(Pipeline("p", [works(0.001)]))
        return timeline

    assert trio.run(main).beyond(9.04, 9) is False
    assert trio.run(main).beyond(9.06, 9) is True
    assert virtual_time(main)().beyond(9.04, 9) is True
    assert virtual_time(main)(slack=0.1).beyond(9.04, 9) is False


def test_what_bodies_return_is_kept():
    """Values are noted where they leave the body, before the engine has them."""
    node = each(works(1, "item"), max_parallel=2)
    timeline = simulate(Pipeline("p", [node]), [7, 8], timeouts=NONE).timeline
    assert [(back.node, back.at, back.item) for back in timeline.returns] == [("item", 1, True)] * 2
    assert {back.value for back in timeline.returns} == {7, 8}


def test_thread_nodes_keep_their_function():
    """What a thread returns is not watched: it may come when nobody waits for it."""
    seen = run_live(Pipeline("p", [Node(len, name="size")]), "four", timeouts=NONE)
    assert seen.result.value == 4
    assert seen.timeline.returns == []


def test_recording_ends_with_its_block():
    """Afterwards the engine has one sink less, and Trio one instrument."""

    async def main():
        async with open_engine(timeouts=NONE) as engine:
            with record(engine) as timeline:
                pass
            await engine.run(Pipeline("p", [works(1)]))
            with pytest.raises(KeyError):
                trio.lowlevel.remove_instrument(timeline)
        return timeline

    timeline = virtual_time(main)()
    assert isinstance(timeline, RecordedTimeline)
    assert (timeline.run_id, timeline.steps) == (None, ())
