"""Corners: rare meetings of cancels, shields and leftovers that must not go wrong."""

import gc
import logging
import math

import pytest
import trio
import trio.testing

from graceline import (
    GracelineError,
    Node,
    Pipeline,
    Stage,
    Timeouts,
    cleanup,
    open_engine,
    save_partial,
    sequence,
)

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=1.0)


async def forever(_):
    await trio.sleep_forever()


async def add(value):
    await trio.lowlevel.checkpoint()
    return value + 1


async def test_partial_value_of_a_leftover_task_is_ignored(autojump_clock, engine):
    """A background task that outlives its node cannot change the node's outcome."""

    async def later():
        await trio.sleep(1)
        save_partial("too late")

    async with trio.open_nursery() as nursery:

        async def work(_):
            nursery.start_soon(later)
            save_partial("in time")
            raise ValueError

        result = await engine.run(Pipeline("p", [work]))
        await trio.sleep(2)
    assert dict(result.partial) == {"work": "in time"}


async def test_handle_of_a_run(autojump_clock, engine):
    """The handle tells id, pipeline, remaining time and, at the end, the result."""
    run = engine.start(Pipeline("p", [trio.sleep], timeout=5), 2, run_id="r")
    assert (run.run_id, run.pipeline, run.result) == ("r", "p", None)
    assert "'r'" in repr(run)
    assert [other.run_id for other in engine.runs()] == ["r"]
    assert run.remaining() == pytest.approx(5)
    result = await run.wait()
    assert run.result is result
    assert await run.wait() is result


async def test_torn_down_run_has_no_result(autojump_clock):
    """Whoever waits for a run that an interrupt tore down is told so."""

    async def stop(_):
        await trio.sleep(1)
        raise KeyboardInterrupt

    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        async with open_engine(timeouts=NO_LIMITS) as engine:
            run = engine.start(Pipeline("p", [stop]))
            with trio.CancelScope(shield=True), pytest.raises(GracelineError, match="torn down"):
                await run.wait()
    assert not run.cancel()
    assert run.remaining() == 0
    assert [event async for event in run.events()] == []


async def test_two_engines_share_a_definition(autojump_clock):
    """One definition runs in two engines at once, each with its own defaults."""
    pipeline = Pipeline("p", [forever])
    async with open_engine() as quick, open_engine(timeouts=Timeouts(node=2, pipeline=3)) as slow:
        runs = [quick.start(pipeline), slow.start(pipeline)]
        results = [await run.wait() for run in runs]
    assert [result.blame.limit for result in results] == [0.2, 2.0]


async def test_names_with_odd_characters(autojump_clock, engine):
    """Names may hold any characters; they come back as they were given."""
    name = "Größe {0} %s\n[1] ./\\ 🎈"
    result = await engine.run(Pipeline(name, [Stage(name, [Node(forever, name=name, timeout=1)])]))
    assert (result.pipeline, result.blame.name) == (name, name)
    assert name in result.stages[name].nodes


async def test_trouble_is_not_told_where_nobody_listens(autojump_clock, engine, monkeypatch):
    """Without a sink and a log handler no event is built, and the result is the same."""
    built = []
    monkeypatch.setattr("graceline.telemetry.hub.Hub.emit", lambda _, event: built.append(event))
    monkeypatch.setattr(logging.getLogger("graceline"), "propagate", False)
    result = await engine.run(Pipeline("p", [Node(forever, timeout=1)]))
    assert (result.status, built) == ("timed_out", [])


async def test_own_cut_while_looking_for_the_callers_cancel(autojump_clock, engine):
    """A user cancel in the very tick in which the engine looks outside is not the caller's."""

    async def hide(_):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            run.cancel("again")
        return 1

    run = engine.start(Pipeline("p", [Node(hide, timeout=1), Node(forever, name="f", timeout=2)]))
    result = await run.wait()
    assert result.status in ("cancelled", "late")


async def test_a_run_leaves_no_garbage(autojump_clock, engine):
    """What a run allocated is freed with it: no reference cycle waits for the garbage collector."""
    pipeline = Pipeline("p", sequence(add, Node(add, name="b")), timeout=5)
    await engine.run(pipeline, 1)
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await engine.run(pipeline, 1)
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_fresh_ids_avoid_ids_that_were_given(autojump_clock, engine):
    """An automatic id is never that of a live run, although somebody gave the next one."""
    first = (await engine.run(Pipeline("p", [add]), 1)).run_id
    prefix, number = first.rsplit("-", 1)
    taken = f"{prefix}-{int(number) + 1}"
    engine.start(Pipeline("p", [trio.sleep]), 1, run_id=taken)
    runs = [engine.start(Pipeline("p", [add]), 1) for _ in range(2)]
    assert len({taken, *(run.run_id for run in runs)}) == 3


async def test_two_readers_follow_two_runs(autojump_clock, engine):
    """Each reader gets the events of its own run."""
    runs = [engine.start(Pipeline(name, [trio.sleep]), 1) for name in ("p", "q")]
    channels = [run.events() for run in runs]
    for run, channel in zip(runs, channels, strict=True):
        assert {event.pipeline async for event in channel} == {run.pipeline}


async def test_two_tasks_wait_for_one_run(autojump_clock, engine):
    """Any number of tasks may wait for a run; all get its result."""
    run = engine.start(Pipeline("p", [trio.sleep]), 1)
    results = []

    async def wait():
        results.append(await run.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
    assert [result.status for result in results] == ["ok", "ok"]


async def test_user_cancel_at_the_breather_of_a_long_chain(autojump_clock, engine):
    """A cancel that comes at the full checkpoint between two nodes is the user's, not the caller's."""
    begun = trio.Event()

    async def begin(value):
        begun.set()
        return value

    async def cancel():
        await begun.wait()
        await engine.cancel("r", "now", wait=False)

    nodes = sequence(begin, *(Node(add, name=f"n{i}") for i in range(300)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel)
        await trio.testing.wait_all_tasks_blocked()
        result = await engine.run(Pipeline("p", nodes), 0, run_id="r")
    assert (result.status, result.blame.kind) == ("cancelled", "user")


async def test_user_cancel_while_trio_is_asked_for_the_callers(autojump_clock, engine):
    """A user cancel in the tick in which Trio is asked about the caller hides nothing."""
    asked = trio.Event()

    async def burst(_):
        asked.set()
        autojump_clock.jump(5)
        raise ValueError

    async def cancel():
        await asked.wait()
        await engine.cancel("r", "too late", wait=False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            await engine.run(Pipeline("p", [burst]), run_id="r")
    assert scope.cancelled_caught


async def test_own_scope_that_is_noticed_after_a_quiet_one(autojump_clock, engine):
    """A cancel that was hidden, and one that is seen later, are two; each has its grace."""

    async def work(_):
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                pass
            with cleanup():
                await trio.sleep(0.5)
            try:
                await trio.sleep_forever()
            finally:
                with cleanup() as block:
                    ends.append(block.deadline - trio.current_time())

    ends = []
    assert (await engine.run(Pipeline("p", [Node(work, grace=2)]))).status == "ok"
    assert ends == [pytest.approx(2)]


async def test_caller_cancelled_at_the_breather_of_a_long_chain(autojump_clock, engine):
    """The full checkpoint between the nodes of a long chain lets the caller's deadline in."""

    async def tick(value):
        autojump_clock.jump(0.01)
        return value + 1

    nodes = sequence(*(Node(tick, name=f"n{i}") for i in range(300)))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def cancel():
                scope.cancel()

            await engine.run(Pipeline("p", nodes), 0)
    assert scope.cancelled_caught
    with trio.move_on_after(1) as scope:
        await engine.run(Pipeline("p", nodes), 0)
    assert scope.cancelled_caught


async def test_group_from_a_nested_nursery_under_the_callers_cancel(
    autojump_clock, engine, cancelled_after
):
    """A group of `Cancelled` from a nursery inside the node passes through as the caller's."""

    async def work(_):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forever, 1)
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep(math.inf)

    scope = await cancelled_after(1, engine.run, Pipeline("p", [work]))
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(2)


@pytest.mark.parametrize("refused", [True, False])
async def test_a_loop_of_short_runs_lets_other_tasks_live(autojump_clock, engine, refused):
    """Runs that never wait, or never start, take a full checkpoint now and then all the same."""
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(1000):
            await engine.run(Pipeline("p", [add]), 1, timeout=0 if refused else None)
        nursery.cancel_scope.cancel()
    assert turns >= 10


async def test_an_interrupt_before_a_run_has_begun_leaves_nothing_of_it(
    autojump_clock, engine, monkeypatch
):
    """A run that is torn down between its submission and its start is not live, and its id is free."""

    def interrupted(*_):
        raise KeyboardInterrupt

    pipeline = Pipeline("p", [add])
    with monkeypatch.context() as patched:
        patched.setattr("graceline.engine.core.arrive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            await engine.run(pipeline, 1, run_id="one")
    assert engine.runs() == ()
    assert (await engine.run(pipeline, 1, run_id="one")).value == 2


async def test_a_level_that_is_first_asked_for_after_its_node_has_ended(autojump_clock, engine):
    """A task that outlives its node runs pipelines of its own, also if nobody asked for the node's level before."""
    results = []

    async def later():
        await trio.sleep(5)
        results.append(await engine.run(Pipeline("q", [add], timeout=1), 1))

    async with trio.open_nursery() as nursery:

        async def leaves(value):
            nursery.start_soon(later)
            return value

        await engine.run(Pipeline("p", [Node(leaves, timeout=1)], timeout=2))
    assert (results[0].status, results[0].value) == ("ok", 2)
