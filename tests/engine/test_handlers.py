"""Semantics 2: handlers run after the work, innermost first, and replace nothing."""

import pytest
import trio
import trio.testing

from graceline import (
    Node,
    Pipeline,
    Stage,
    Timeouts,
    cleanup,
    open_engine,
    remaining,
    sequence,
)
from graceline.telemetry.events import CleanupOverran


def stubborn(*cleanups, before=None):
    """A node that hangs, then cleans up in blocks of the given lengths."""

    async def work(_):
        ends = []
        try:
            await trio.sleep_forever()
        finally:
            for seconds in cleanups:
                with cleanup():
                    await trio.sleep(seconds)
                ends.append(trio.current_time())
            work.ends = ends

    return work


async def add(value):
    await trio.lowlevel.checkpoint()
    return value + 1


async def test_handlers_run_innermost_first_and_are_told_the_outcome(autojump_clock, engine):
    """Handlers of node, stage and pipeline run in that order, each with its own level's outcome."""
    told = []

    def tell(outcome):
        told.append((type(outcome).__name__, str(outcome.status)))

    async def tell_later(outcome):
        await trio.sleep(0.1)
        tell(outcome)

    stage = Stage("s", [Node(trio.sleep, name="n", on_cleanup=tell_later)], on_cleanup=tell)
    result = await engine.run(Pipeline("p", [stage], on_cleanup=[tell, tell]), 1)
    assert result.status == "ok"
    assert told == [
        ("NodeOutcome", "ok"),
        ("StageOutcome", "ok"),
        ("PipelineResult", "ok"),
        ("PipelineResult", "ok"),
    ]


async def test_handler_that_raises_replaces_nothing(autojump_clock, engine):
    """The error of a handler is attached to the outcome, and the other handlers still run."""
    ran = []

    def bad(_):
        raise ValueError("handler")

    node = Node(trio.sleep, name="n", on_cleanup=[bad, ran.append])
    result = await engine.run(Pipeline("p", [node], on_cleanup=bad), 1)
    assert result.status == "ok"
    assert [type(e) for e in result.node("n").secondary] == [ValueError]
    assert [type(e) for e in result.secondary] == [ValueError]
    assert len(ran) == 1


async def test_hung_handler_is_cut_at_the_grace(autojump_clock, engine):
    """A handler may take the grace of its level; what hangs longer is cut."""

    async def hang(_):
        await trio.sleep_forever()

    stage = Stage("s", [Node(stubborn(), name="n", timeout=1, on_cleanup=hang)])
    result = await engine.run(Pipeline("p", [stage], grace=2))
    assert (result.status, result.elapsed) == ("timed_out", pytest.approx(3))
    assert result.node("n").grace_used == pytest.approx(2)


async def test_no_handler_for_what_never_started(autojump_clock, engine):
    """A node that never started has nothing to clean up: its handlers do not run."""
    ran = []
    node = Node(trio.sleep, name="n", timeout=0, on_cleanup=ran.append)
    await engine.run(Pipeline("p", [node]), 1)
    assert ran == []


async def test_helpers_work_in_handlers(autojump_clock, engine):
    """In a handler `remaining()` is the time until the handler is cut."""
    seen = []

    async def look(_):
        with cleanup():
            seen.append(remaining())

    node = Node(stubborn(), name="n", timeout=1, on_cleanup=look)
    await engine.run(Pipeline("p", [node], grace=2))
    assert seen == pytest.approx([2])


async def test_handler_that_outlasts_its_nodes_limit_harms_nobody(autojump_clock, engine):
    """A handler of an ok node may pass the node's limit; the next node runs unharmed."""

    async def tidy(_):
        await trio.sleep(2)

    async def after(_):
        await trio.sleep(1)
        return "fine"

    first = Node(trio.sleep, name="first", timeout=1, on_cleanup=tidy)
    nodes = sequence(first, Node(after, timeout=5))
    result = await engine.run(Pipeline("p", nodes, grace=9), 0.5)
    assert (result.status, result.value) == ("ok", "fine")


async def test_a_run_in_a_handler_needs_no_slot(autojump_clock):
    """A run that a handler starts belongs to its run: it takes no slot of its own."""

    async def handler(_):
        statuses.append((await engine.run(Pipeline("q", [trio.sleep]), 1)).status)

    statuses = []
    timeouts = Timeouts(node=None, pipeline=None, grace=5)
    async with open_engine(timeouts=timeouts, max_concurrent_pipelines=1) as engine:
        node = Node(trio.sleep, name="n", on_cleanup=handler)
        result = await engine.run(Pipeline("p", [node]), 1)
    assert (statuses, result.elapsed) == (["ok"], pytest.approx(2))


async def test_cancel_during_a_handler(autojump_clock, engine):
    """A cancel that comes while a handler runs bounds the handler, and nothing starts after it."""

    async def handler(_):
        await trio.sleep_forever()

    nodes = sequence(Node(add, name="a", on_cleanup=handler, grace=50), Node(add, name="b"))
    run = engine.start(Pipeline("p", nodes, grace=2), 1)
    await trio.sleep(1)
    run.cancel("stop")
    result = await run.wait()
    assert (result.status, result.elapsed) == ("cancelled", pytest.approx(3))
    assert (result.node("a").status, result.node("b").status) == ("ok", "cancelled")


async def test_stage_limit_during_a_handler(autojump_clock, engine):
    """A limit that passes while a handler runs is seen before the next node starts."""

    async def handler(_):
        await trio.sleep(2)

    nodes = sequence(Node(add, name="a", on_cleanup=handler, grace=9), Node(add, name="b"))
    result = await engine.run(Pipeline("p", [Stage("s", nodes, timeout=1)], grace=9), 1)
    assert (result.status, result.blame.level) == ("timed_out", "stage")
    assert result.node("b").status == "timed_out"


async def test_handlers_share_the_budget_of_the_level_they_belong_to(autojump_clock, engine):
    """After the pipeline's limit each handler is cut at `hard` of its own level, however many hang."""
    ends = []

    async def hang(_):
        try:
            await trio.sleep_forever()
        finally:
            ends.append(trio.current_time())

    node = Node(stubborn(), name="n", grace=1, on_cleanup=[hang, hang])
    stage = Stage("s", [node], grace=2, on_cleanup=[hang, hang])
    await engine.run(Pipeline("p", [stage], timeout=1, grace=3, on_cleanup=[hang, hang]))
    assert ends == pytest.approx([2, 2, 3, 3, 4, 4])


async def test_handler_that_is_cut_is_reported(autojump_clock, engine):
    """A handler is a cleanup block: where it is cut, there is an event that names its level."""
    seen = []

    class Sink:
        inline = True

        def wants_trace(self):
            return False

        def __call__(self, event):
            if isinstance(event, CleanupOverran):
                seen.append((event.level, event.name))

    async def hang(_):
        await trio.sleep_forever()

    engine.subscribe(Sink())
    stage = Stage("s", [Node(add, name="n", on_cleanup=hang)], on_cleanup=hang)
    result = await engine.run(Pipeline("p", [stage], on_cleanup=hang), 1)
    assert (result.status, seen) == ("ok", [("node", "n"), ("stage", "s"), ("pipeline", "p")])


@pytest.mark.parametrize("end", ["ok", "failed", "timed_out", "cancelled"])
async def test_handlers_run_after_the_work_has_unwound(autojump_clock, engine, end):
    """However a node ends, its `finally` blocks have run when its handlers are told of it."""
    order = []

    async def work(_):
        try:
            if end == "failed":
                raise ValueError
            await trio.sleep(1 if end == "ok" else 9)
        finally:
            with cleanup():
                await trio.sleep(0.5)
            order.append("unwound")

    node = Node(work, timeout=2, on_cleanup=lambda outcome: order.append(str(outcome.status)))
    run = engine.start(Pipeline("p", [node], on_cleanup=lambda _: order.append("run")))
    await trio.sleep(0.5)
    if end == "cancelled":
        run.cancel("stop")
    await run.wait()
    assert order == ["unwound", end, "run"]
