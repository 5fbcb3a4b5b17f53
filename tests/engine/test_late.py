"""Semantics 4: a value that comes at the limit or later is `late`, and harms nobody."""

import pytest
import trio
import trio.testing

from graceline import (
    Node,
    Pipeline,
    Stage,
    parallel,
    sequence,
)


async def add(value):
    await trio.lowlevel.checkpoint()
    return value + 1


async def test_swallowed_cancel_is_late_and_harms_nobody(autojump_clock, engine):
    """A node that hides a `Cancelled` and returns is `late`, and the next node runs unharmed."""

    async def hide(_):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return "hidden"

    async def after(value):
        await trio.sleep(1)
        return value + "!"

    result = await engine.run(Pipeline("p", sequence(Node(hide, timeout=1), after)))
    assert (result.node("hide").status, result.status) == ("late", "ok")
    assert result.value == "hidden!"


async def test_return_in_the_tick_of_the_deadline_harms_nobody(autojump_clock, engine):
    """A node that returns at its very deadline is `late`, and its cancelled scope hits nobody else."""
    event = trio.Event()

    async def waits(_):
        await event.wait()

    async def after(_):
        await trio.sleep(1)
        return "fine"

    run = engine.start(Pipeline("p", sequence(Node(waits, timeout=1), after)))
    await trio.testing.wait_all_tasks_blocked()
    event.set()  # the node is rescheduled; its deadline passes before it runs
    autojump_clock.jump(1)
    result = await run.wait()
    assert (result.node("waits").status, result.value) == ("late", "fine")


async def test_a_value_at_the_very_limit_is_late_on_every_level(autojump_clock, engine):
    """What returns exactly at the limit of the run is late, and so are its stage and the run."""

    async def shielded(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return "in the end"

    start = round(trio.current_time()) + 1.0  # sums of whole seconds do not round
    await trio.sleep_until(start)
    result = await engine.run(Pipeline("p", [Stage("s", [shielded])], timeout=1))
    assert (result.elapsed, result.value) == (1.0, "in the end")
    statuses = [result.node("shielded").status, result.stages["s"].status, result.status]
    assert (statuses, result.blame.level) == (["late"] * 3, "pipeline")


async def test_own_shield_is_late(autojump_clock, engine):
    """A node that shields itself past its deadline is `late`, with its overrun."""

    async def shielded(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        return 1

    result = await engine.run(Pipeline("p", [Node(shielded, timeout=1)], timeout=9))
    outcome = result.node("shielded")
    assert (outcome.status, outcome.overrun) == ("late", pytest.approx(2))


async def test_sync_burst_is_late(autojump_clock, engine):
    """A node that blocks past its deadline without a checkpoint is `late`, and the value is kept."""

    async def burst(_):
        autojump_clock.jump(3)
        return 7

    result = await engine.run(Pipeline("p", [burst], timeout=1))
    assert (result.status, result.value) == ("late", 7)
    assert result.overrun == pytest.approx(2)


async def test_late_pipeline(autojump_clock, engine):
    """A run whose limit passed before its last critical part returned is late, and keeps the value."""

    async def shielded(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        return 1

    result = await engine.run(Pipeline("p", [Stage("s", [shielded])], timeout=2))
    assert (result.status, result.value, result.overrun) == ("late", 1, pytest.approx(1))
    assert result.stages["s"].status == "late"
    assert (result.blame.level, result.unwrap()) == ("pipeline", 1)


async def test_strict_makes_late_timed_out_and_keeps_the_value_as_partial(autojump_clock, engine):
    """With `strict=True` a late value counts as timed out; the value stays in `partial`."""

    async def shielded(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        return 1

    result = await engine.run(Pipeline("p", [Node(shielded, timeout=2)], strict=True))
    assert (result.status, result.partial) == ("timed_out", {"shielded": 1})
    run = engine.start(Pipeline("p", [Node(shielded, strict=True)]))
    await trio.sleep(1)
    run.cancel()
    assert (await run.wait()).status == "cancelled"


async def test_part_after_the_limit_is_timed_out_before_it_starts(autojump_clock, engine):
    """After a late node, what was still to come is timed out without being started."""

    async def shielded(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    ran = []
    nodes = sequence(shielded, Node(ran.append, name="next"), Node(add, name="last"))
    result = await engine.run(Pipeline("p", [Stage("s", nodes)], timeout=2))
    assert (result.status, ran) == ("timed_out", [])
    assert result.node("next").status == "timed_out"
    assert result.node("last").status == "skipped"


async def test_a_value_at_the_very_instant_of_the_limit_is_late(autojump_clock, engine):
    """`ok` is before `fired`: a value that comes exactly then is late, by nothing."""

    async def burst(_):
        autojump_clock.jump(2)
        return 1

    node = (await engine.run(Pipeline("p", [Node(burst, timeout=2)]))).node("burst")
    assert (node.status, node.value, node.overrun, node.blame.kind) == ("late", 1, 0, "timeout")


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("fired", ["limit", "user", "sibling"])
async def test_a_late_value_is_late_whatever_fired(autojump_clock, engine, fired, strict):
    """A limit, a user or a sibling: the value is kept as late, or with `strict` as a partial one."""

    async def hide(_):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)
            return "hidden"

    async def sibling(_):
        await trio.sleep(1)
        if fired == "sibling":
            raise ValueError

    limit = 1 if fired == "limit" else None
    pipeline = Pipeline("p", parallel(Node(hide, timeout=limit), sibling), strict=strict)
    run = engine.start(pipeline)
    await trio.sleep(0.5)
    if fired == "user":
        run.cancel("stop")
    node = (await run.wait()).node("hide")
    assert node.overrun == pytest.approx(0.5)
    if strict:
        status = "timed_out" if fired == "limit" else "cancelled"
        assert (node.status, node.value, node.partial) == (status, None, "hidden")
    else:
        assert (node.status, node.value, node.partial) == ("late", "hidden", None)


async def test_a_soft_part_that_comes_late_leaves_the_run_ok(autojump_clock, engine):
    """A run is late by its last critical part alone: what is soft may return after the limit."""

    async def shielded(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    stages = [Stage("a", [Node(trio.sleep, name="n")]), Stage("b", [shielded], critical=False)]
    result = await engine.run(Pipeline("p", stages, timeout=2), 1)
    assert (result.status, result.stages["b"].status, result.elapsed) == ("ok", "late", 4)
