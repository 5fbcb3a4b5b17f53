"""Plain functions in worker threads; real clock, because Trio's virtual one takes a busy thread for idle."""

import threading

import pytest
import trio
import trio.from_thread

from graceline import (
    GracelineError,
    Node,
    Pipeline,
    Timeouts,
    cleanup,
    current,
    each,
    open_engine,
    parallel,
    remaining,
    save_partial,
    stopping,
)
from graceline.telemetry.events import ThreadAbandoned, ThreadEnded

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=30)


class Record:
    """A sink that keeps events."""

    inline = True

    def __init__(self):
        self.events = []

    def wants_trace(self):
        return False

    def __call__(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


async def until(condition):
    """Wait for something that another thread brings about."""
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.001)


async def test_plain_function_runs_in_a_thread():
    """A plain function runs off the event loop, and its value comes back."""

    def work(value):
        assert threading.current_thread() is not threading.main_thread()
        return value + 1

    async with open_engine(timeouts=NO_LIMITS) as engine:
        assert (await engine.run(Pipeline("p", [work]), 1)).value == 2


async def test_error_in_a_thread_is_a_failure():
    """What a plain function raises is the node's failure."""

    def work(_):
        raise KeyError("x")

    async with open_engine(timeouts=NO_LIMITS) as engine:
        result = await engine.run(Pipeline("p", [work]))
    assert (result.status, type(result.error)) == ("failed", KeyError)


async def test_function_that_returns_a_coroutine_says_so():
    """A plain function that returns a coroutine fails with a hint, and leaves no warning."""

    async def inner():
        pass

    async with open_engine(timeouts=NO_LIMITS) as engine:
        result = await engine.run(Pipeline("p", [lambda _: inner()]))
    assert isinstance(result.error, TypeError)


async def test_helpers_work_in_threads():
    """`current`, `remaining`, `stopping` and `save_partial` work in a thread; `cleanup` says it cannot."""

    def work(value):
        assert current().input == value
        assert 0 < remaining() <= 50
        assert not stopping().is_set()
        save_partial("part")
        with pytest.raises(GracelineError, match="event loop"):
            cleanup().__enter__()
        raise ValueError

    async with open_engine(timeouts=NO_LIMITS) as engine:
        result = await engine.run(Pipeline("p", [work], timeout=50), 7)
    assert (result.status, dict(result.partial)) == ("failed", {"work": "part"})


async def test_hung_thread_is_abandoned_and_counted():
    """A hung function does not hold up the run; its thread is counted until it ends."""
    hanging, release = threading.Event(), threading.Event()
    record = Record()

    def hang(_):
        save_partial("so far")
        hanging.set()
        release.wait(60)

    async with open_engine(timeouts=NO_LIMITS, sinks=[record]) as engine:
        run = engine.start(Pipeline("p", [hang]))
        await until(hanging.is_set)
        run.cancel()
        result = await run.wait()
        assert (result.status, result.partial["hang"]) == ("cancelled", "so far")
        assert engine.abandoned_threads == 1
        release.set()
        await until(lambda: engine.abandoned_threads == 0)
    assert [(e.node, e.abandoned) for e in record.of(ThreadAbandoned)] == [("hang", 1)]
    assert [(e.node, e.abandoned) for e in record.of(ThreadEnded)] == [("hang", 0)]


async def test_polling_thread_ends_with_its_node():
    """A function that polls for cancellation ends soon after the cancel, and is then not counted."""
    polling, stopped = threading.Event(), threading.Event()

    def poll(_):
        polling.set()
        try:
            while True:
                trio.from_thread.check_cancelled()
        finally:
            stopped.set()

    async with open_engine(timeouts=NO_LIMITS) as engine:
        while not polling.is_set():  # a limit may pass before its thread begins
            result = await engine.run(Pipeline("p", [Node(poll, timeout=0.05)]))
        assert result.status == "timed_out"
        await until(lambda: stopped.is_set() and engine.abandoned_threads == 0)


async def test_hung_nodes_do_not_take_the_threads_of_healthy_ones():
    """With 50 hung functions healthy ones still find threads; at 64 thread nodes are rejected."""
    release = threading.Event()

    def hang(_):
        release.wait(60)

    def healthy(value):
        return value

    options = {"max_concurrent_pipelines": None, "max_threads": 4, "max_abandoned_threads": 64}
    async with open_engine(timeouts=NO_LIMITS, **options) as engine:
        hung = Pipeline("hung", [each(hang, max_parallel=100, timeout=0.05)])
        while engine.abandoned_threads < 50:
            await engine.run(hung, range(min(4, 50 - engine.abandoned_threads)))
        results = [await engine.run(Pipeline("ok", [healthy]), n) for n in range(8)]
        assert [result.value for result in results] == list(range(8))
        while engine.abandoned_threads < 64:
            await engine.run(hung, range(min(4, 64 - engine.abandoned_threads)))
        refused = await engine.run(Pipeline("ok", [healthy]), 1)
        assert (refused.status, refused.blame.kind) == ("rejected", "rejected")
        assert (refused.node("healthy").attempts, refused.degraded) == (0, ())
        assert "thread limit" in refused.blame.message
        release.set()
        await until(lambda: engine.abandoned_threads == 0)
        assert (await engine.run(Pipeline("ok", [healthy]), 1)).value == 1


async def test_soft_node_degrades_on_a_refusal():
    """A refused non-critical node degrades the run, as any failure of it."""
    release = threading.Event()

    def hang(_):
        release.wait(60)

    async with open_engine(timeouts=NO_LIMITS, max_abandoned_threads=1) as engine:
        while not engine.abandoned_threads:  # a limit may pass before its thread begins
            await engine.run(Pipeline("p", [Node(hang, timeout=0.05)]))
        node = Node(hang, critical=False, fallback="instead")
        result = await engine.run(Pipeline("p", [node]))
        release.set()
    assert (result.status, result.value, result.degraded) == ("ok", "instead", ("hang",))


async def test_waiting_for_a_thread_is_not_abandoned():
    """A node that is cancelled while it waits for a free thread leaves none behind."""
    release = threading.Event()
    running = threading.Event()

    def hold(_):
        running.set()
        release.wait(60)

    def never(_):
        raise AssertionError

    async with open_engine(timeouts=NO_LIMITS, max_threads=1) as engine:
        holder = engine.start(Pipeline("hold", [hold]))
        await until(running.is_set)
        result = await engine.run(Pipeline("p", [Node(never, timeout=0.05)]))
        assert (result.status, engine.abandoned_threads) == ("timed_out", 0)
        release.set()
        assert (await holder.wait()).status == "ok"


async def test_the_loop_may_end_before_an_abandoned_thread():
    """A thread that ends after the event loop has ended disturbs nobody."""
    release = threading.Event()
    ended = threading.Event()

    def hang(_):
        release.wait(60)
        ended.set()

    async def program():
        async with open_engine(timeouts=NO_LIMITS) as engine:
            while not engine.abandoned_threads:  # a limit may pass before its thread begins
                await engine.run(Pipeline("p", [Node(hang, timeout=0.05)]))

    await trio.to_thread.run_sync(trio.run, program)
    release.set()
    await until(ended.is_set)


async def test_threads_of_one_stage_run_side_by_side():
    """Two plain functions of a stage are in their threads at the same time."""
    barrier = threading.Barrier(2)

    def meet(_):
        return barrier.wait(60)

    nodes = parallel(Node(meet, name="a"), Node(meet, name="b"))
    async with open_engine(timeouts=NO_LIMITS) as engine:
        result = await engine.run(Pipeline("p", nodes))
    assert sorted(result.value.values()) == [0, 1]
