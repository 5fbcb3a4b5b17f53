"""The engine for plain programs: its own thread, many callers, interrupts, a clean end."""

import os
import random
import subprocess
import sys
import threading
import traceback

import pytest
import trio

from graceline import (
    DefinitionError,
    GracelineError,
    Node,
    NodeFailedError,
    OverloadedError,
    Pipeline,
    Timeouts,
    cleanup,
)
from graceline.engine.blocking import BlockingEngine
from graceline.engine.line import EngineClosedError, Flag
from graceline.telemetry.events import RunFinished

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=3600)
PATIENCE = 60

pytestmark = pytest.mark.usefixtures("bounded")


async def double(value):
    await trio.lowlevel.checkpoint()
    return 2 * value


async def forever(_):
    await trio.sleep_forever()


DOUBLE = Pipeline("double", [double])
HANG = Pipeline("hang", [forever])


def blocking(**options):
    return BlockingEngine(**{"timeouts": NO_LIMITS, **options})


def spawn(*functions):
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    return threads


def join(threads):
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_plain_program_runs_pipelines():
    """`run` gives a result, `execute` a value or an error, `start` a handle; names may be used."""
    with blocking(lane="sync", mode="enforce") as engine:
        assert (engine.lane, engine.mode, engine.abandoned_threads) == ("sync", "enforce", 0)
        assert engine.register(DOUBLE) is DOUBLE
        result = engine.run("double", 2, run_id="mine", timeout=60, budget=3600)
        assert (result.status, result.value, result.run_id, result.limit) == ("ok", 4, "mine", 60)
        assert engine.execute(DOUBLE, 3) == 6
        run = engine.start(HANG, run_id="one")
        assert [live.run_id for live in engine.runs()] == ["one"]
        assert engine.cancel("one", "enough", force_after=3600)
        assert run.result.blame.message == "enough"
        assert not engine.cancel("one", wait=False)
    assert engine.stats.pipelines()["double"].count("ok") == 2


def test_the_error_of_a_node_is_raised_in_the_calling_thread():
    """`execute` raises with the node's own exception as the cause, below the caller's frames."""

    async def fail(_):
        raise ValueError("no")

    with blocking() as engine, pytest.raises(NodeFailedError) as caught:
        engine.execute(Pipeline("p", [fail]))
    names = [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert names[0] == "test_the_error_of_a_node_is_raised_in_the_calling_thread"
    assert len(names) <= 6
    assert isinstance(caught.value.__cause__, ValueError)


def test_bad_options_are_raised_where_they_are_given():
    """An unknown option is an error of the call, a bad value one of `with`; no thread is left."""
    with pytest.raises(DefinitionError, match="max_runs= is unknown; did you mean"):
        BlockingEngine(max_runs=3)
    with pytest.raises(DefinitionError, match="max_threads= must be at least 1"):
        BlockingEngine(max_threads=0).__enter__()
    with pytest.raises(DefinitionError, match="is no mode"), BlockingEngine(mode="strict"):
        raise AssertionError


def test_an_engine_is_used_inside_one_block():
    """Before the block, after it, and for a second block: a clear error, never a hang."""
    engine = blocking()
    with pytest.raises(GracelineError, match="not open; use `with"):
        engine.run(DOUBLE)
    with engine:
        run = engine.start(DOUBLE, 4)
    assert (run.done, run.wait().value) == (True, 8)
    for call in (engine.run, engine.execute, engine.start, engine.register):
        with pytest.raises(EngineClosedError, match="the engine is closed"):
            call(DOUBLE)
    for call in (engine.runs, engine.drain, lambda: engine.cancel("x")):
        with pytest.raises(EngineClosedError, match="the engine is closed"):
            call()
    with pytest.raises(GracelineError, match="used for one block"):
        engine.__enter__()


def test_in_a_coroutine_of_its_own_the_engine_refuses_to_block():
    """A node that is a coroutine runs in the loop's thread: there, a blocking call is an error."""

    async def blocks(engine):
        with pytest.raises(GracelineError, match="async methods of the engine"):
            engine.run(DOUBLE)
        return "refused"

    def waits(engine):
        return engine.execute(DOUBLE, 21)

    with blocking() as engine:
        assert engine.execute(Pipeline("p", [blocks]), engine) == "refused"
        assert engine.execute(Pipeline("p", [waits]), engine) == 42


def test_a_sink_hears_until_it_is_removed():
    """`subscribe` listens to all runs; what it returns may be called after the end as well."""
    heard = []
    with blocking() as engine:
        remove = engine.subscribe(heard.append, inline=True)
        run = engine.start(HANG)
        run.cancel()
        run.wait()
        assert [type(event) for event in heard][-1] is RunFinished
        remove()
        count = len(heard)
        assert engine.cancel(engine.start(HANG).run_id)
        assert len(heard) == count
    remove()


def test_leaving_the_block_waits_for_what_was_started():
    """The normal end waits for started runs, and refuses what other threads still submit."""
    running, release = threading.Event(), threading.Event()
    refused = []

    async def held(value):
        running.set()
        await trio.to_thread.run_sync(release.wait, PATIENCE)
        return value

    def late():
        assert running.wait(PATIENCE)
        try:
            while True:  # each answer is one turn of the loop, which has been told to close
                engine.execute(DOUBLE, 1)
        except GracelineError as error:
            refused.append(error)
        finally:
            release.set()

    with blocking() as engine:
        run = engine.start(Pipeline("p", [held]), 7)
        threads = spawn(late)
    join(threads)
    assert (run.done, run.result.value) == (True, 7)
    assert [type(error) for error in refused] == [EngineClosedError]


def test_leaving_the_block_by_an_exception_cancels_with_grace():
    """The exception comes out as it was, after the runs were cancelled as shutdown and cleaned up."""
    running = threading.Event()
    cleaned = []

    async def careful(_):
        running.set()
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.lowlevel.checkpoint()
                cleaned.append(True)

    error = ValueError("the program's own")
    with pytest.raises(ValueError, match="own") as caught:
        with blocking() as engine:
            run = engine.start(Pipeline("p", [careful]))
            assert running.wait(PATIENCE)
            raise error
    assert caught.value is error
    assert (error.__context__, error.__cause__) == (None, None)
    assert cleaned == [True]
    assert run.wait().blame.kind == "shutdown"


def test_drain_ends_with_everything_cancelled():
    """`drain` works as that of the engine, and refuses what comes after."""
    with blocking() as engine:
        engine.start(HANG)
        assert engine.drain(0) == 1
        with pytest.raises(OverloadedError):
            engine.execute(DOUBLE, 1)


@pytest.mark.parametrize("fails", [False, True])
def test_a_node_that_ends_the_program_is_heard_at_the_end_of_the_block(fails):
    """`SystemExit` in a node tears the engine down: the block raises it, beside its own exception."""

    async def leave(_):
        raise SystemExit(3)

    with pytest.raises(BaseExceptionGroup) as caught:
        with blocking() as engine:
            run = engine.start(Pipeline("p", [leave]))
            with pytest.raises(GracelineError, match="torn down"):
                run.wait()
            if fails:
                raise ValueError("mine")
    _, rest = caught.value.split(SystemExit)
    assert [str(error) for error in (rest.exceptions if rest else ())] == (
        ["mine"] if fails else []
    )


def test_what_is_raised_while_the_block_ends_comes_beside_its_exception():
    """If a run raises for the program while an exception ends the block, both come in a group."""
    running = threading.Event()

    async def leave(_):
        running.set()
        try:
            await trio.sleep_forever()
        finally:
            raise SystemExit(3)

    with pytest.raises(BaseExceptionGroup, match="the engine was closed") as caught:
        with blocking() as engine:
            engine.start(Pipeline("p", [leave]))
            assert running.wait(PATIENCE)
            raise ValueError("mine")
    assert isinstance(caught.value.exceptions[0], ValueError)
    assert caught.value.split((ValueError, SystemExit))[1] is None


CRASH = """
import threading, trio
from graceline import GracelineError, Pipeline, Timeouts
from graceline.engine.blocking import BlockingEngine

async def hang(_):
    await trio.sleep_forever()

async def crash(_):
    await engine._engine._drain.wait()
    with trio.CancelScope() as scope:
        scope.cancel()
        await trio.lowlevel.wait_task_rescheduled(lambda _: None)

def waiter():
    run = engine.start(Pipeline("hang", [hang]))
    events = run.events()
    entered.wait(60)
    try:
        run.wait()
    except GracelineError as error:
        said.append(("torn down" in str(error), len(list(events)) < 4, run.done))

def drainer():
    entered.wait(60)
    try:
        engine.drain()
    except GracelineError as error:
        said.append("is closed" in str(error))

entered, said = threading.Barrier(4), []
try:
    with BlockingEngine(timeouts=Timeouts(node=None, pipeline=None)) as engine:
        threads = [threading.Thread(target=work) for work in (waiter, waiter, drainer)]
        for thread in threads:
            thread.start()
        run = engine.start(Pipeline("crash", [crash]))
        entered.wait(60)
        try:
            run.wait()
        except GracelineError:
            said.append("so was this")
        for thread in threads:
            thread.join(60)
        try:
            engine.execute("any")
        except GracelineError as error:
            print(error)
except BaseException as error:
    print(type(error).__name__, [type(inner).__name__ for inner in getattr(error, "exceptions", ())])
print(sorted(map(repr, said)))
"""


def test_if_the_loop_itself_breaks_nobody_waits_for_ever():
    """A crash of Trio, which unwinds nothing, wakes every waiter and comes out of the block."""
    ended = subprocess.run(  # noqa: S603 - the text above
        [sys.executable, "-c", CRASH], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    closed, raised, said = ended.stdout.splitlines()
    assert "the engine is closed" in closed
    assert raised == "TrioInternalError []"
    assert said == repr(["'so was this'", "(True, True, True)", "(True, True, True)", "True"])


def test_an_engine_does_not_work_in_a_forked_process():
    """A child process has no thread to answer it: an error there, and the parent is not disturbed."""
    with blocking() as engine:
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                engine.run(DOUBLE, 1)
            except GracelineError as error:
                engine.__exit__(None, None, None)
                os.write(send, str(error).encode())
            finally:
                os._exit(0)
        os.close(send)
        os.waitpid(child, 0)
        with os.fdopen(receive) as said:
            assert "open another after the fork" in said.read()
        assert engine.execute(DOUBLE, 1) == 2


def test_the_block_of_a_fork_ends_without_the_engine(monkeypatch):
    """Leaving the block in a child does not wait for a thread that is not there."""
    with blocking() as engine:
        process = os.getpid()
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: process + 1)
            assert engine.__exit__(None, None, None) is None
        assert engine.execute(DOUBLE, 1) == 2


def test_ctrl_c_cancels_the_run_and_ends_the_program_in_order(interrupt):
    """KeyboardInterrupt in `run`: cancelled with cleanup, raised, and the block ends by it."""
    seen = []

    async def careful(_):
        try:
            interrupt()
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.lowlevel.checkpoint()
                seen.append("cleaned")

    with pytest.raises(KeyboardInterrupt):
        with blocking() as engine:
            other = engine.start(HANG)
            try:
                engine.run(Pipeline("p", [Node(careful, on_cleanup=seen.append)]))
            finally:
                assert seen[0] == "cleaned"
                assert not other.done
    assert (seen[1].status, seen[1].blame.message) == ("cancelled", "interrupted")
    assert other.wait().blame.kind == "shutdown"


def test_ctrl_c_while_the_block_ends_cancels_what_it_waits_for(interrupt):
    """Interrupted while it waits for started runs, the block cancels them; once more cuts the grace."""
    seen = []
    running = threading.Event()
    closing = trio.Event()

    async def slow(_):
        running.set()
        try:
            await closing.wait()
            interrupt()
            await trio.sleep_forever()
        finally:
            with cleanup():
                seen.append("cleanup")
                interrupt()
                await trio.sleep_forever()
            seen.append("cut")

    async def watch():
        await engine._closing.wait()
        closing.set()

    with pytest.raises(KeyboardInterrupt) as caught:
        with blocking() as engine:
            run = engine.start(Pipeline("p", [slow]))
            assert running.wait(PATIENCE)
            engine._line.post(lambda: trio.lowlevel.spawn_system_task(watch))
    assert seen == ["cleanup", "cut"]
    assert run.wait().blame.message == "interrupted"
    assert not hasattr(caught.value, "__notes__")


def test_ctrl_c_after_a_failure_cuts_the_grace_at_once(interrupt):
    """When the block was left by an exception, what runs is cancelled already: one more cuts it."""
    seen = []
    running = threading.Event()

    async def slow(_):
        running.set()
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                interrupt()
                await trio.sleep_forever()
            seen.append("cut")

    with pytest.raises(KeyboardInterrupt) as caught:
        with blocking() as engine:
            engine.start(Pipeline("p", [slow]))
            assert running.wait(PATIENCE)
            raise ValueError("mine")
    assert seen == ["cut"]
    assert str(caught.value.__context__) == "mine"


def test_the_last_ctrl_c_leaves_a_thread_that_cannot_be_stopped(interrupt, monkeypatch):
    """A blocked loop cannot hold the program for ever; the exception says that it was left behind."""
    release, blocked, waits = threading.Event(), threading.Event(), []

    async def blocks(_):
        blocked.set()
        release.wait(PATIENCE)

    engine = blocking()

    def interrupted():
        waits.append("wait")
        interrupt()
        release.wait(PATIENCE)

    with pytest.raises(KeyboardInterrupt) as caught:
        with engine:
            run = engine.start(Pipeline("p", [blocks]))
            assert blocked.wait(PATIENCE)
            monkeypatch.setattr(engine, "_join", interrupted)
    assert len(waits) == 3
    assert caught.value.__notes__ == [
        "graceline: the engine's thread did not end and is left behind"
    ]
    assert not run.done
    release.set()
    assert run.wait().completed == ("blocks",)
    join([engine._thread])


def test_ctrl_c_while_the_engine_opens_leaves_nothing(interrupt):
    """Interrupted in `with`, before the block begins: the engine closes again."""

    def sinks():
        interrupt()
        yield from ()

    engine = blocking(sinks=sinks())
    entered = False
    with pytest.raises(KeyboardInterrupt):
        engine.__enter__()
        entered = True
    assert not entered
    join([engine._thread])


def test_ctrl_c_while_the_loop_opens_the_engine(interrupt):
    """Interrupted while the loop awaits what opening takes: the engine closes once it is open."""
    engine, closed = blocking(), []
    opening = engine._opening

    class Slow:
        async def __aenter__(self):
            interrupt()
            await engine._closing.wait()
            return await opening.__aenter__()

        async def __aexit__(self, *raised):
            await opening.__aexit__(*raised)
            closed.append(raised)

    engine._opening = Slow()
    with pytest.raises(KeyboardInterrupt):
        engine.__enter__()
    join([engine._thread])
    assert closed == [(None, None, None)]


def test_ctrl_c_before_the_loop_has_begun_opens_nothing(monkeypatch):
    """Interrupted before there is anything to tell, the loop looks once and ends."""
    begin = threading.Event()
    real = trio.run

    def later(main):
        assert begin.wait(PATIENCE)
        real(main)

    class Interrupted(Flag):
        def wait(self, seconds=None):
            raise KeyboardInterrupt

    monkeypatch.setattr(trio, "run", later)
    engine = blocking()
    engine._ready = Interrupted()
    stop = engine._stop

    def stopped(**options):
        stop(**options)
        begin.set()

    monkeypatch.setattr(engine, "_stop", stopped)
    with pytest.raises(KeyboardInterrupt):
        engine.__enter__()
    assert engine._engine is None


def test_a_thread_that_cannot_start_is_an_error(monkeypatch):
    """If the system gives no thread, `with` says so instead of waiting."""

    def refused(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        blocking().__enter__()


THREADS = 32
ROUNDS = 15


def test_many_threads_lose_nothing():
    """32 threads submit, cancel and wait: each gets its own results, and the capacity comes back."""
    accounts = [[] for _ in range(THREADS)]
    begin = threading.Barrier(THREADS)

    async def held(value):
        await trio.sleep_forever()

    def threaded(value):
        return value

    hold = Pipeline("held", [held])
    in_thread = Pipeline("threaded", [threaded])

    def work(number):
        chooser = random.Random(number)  # noqa: S311 - no secret
        begin.wait(PATIENCE)
        for step in range(ROUNDS):
            mark = (number, step)
            run_id = f"{number}-{step}"
            match chooser.choice(["run", "execute", "threaded", "cancel", "cancel by id", "wait"]):
                case "run":
                    result = engine.run(DOUBLE, number, run_id=run_id)
                    assert (result.run_id, result.value) == (run_id, 2 * number)
                case "execute":
                    assert engine.execute(DOUBLE, step) == 2 * step
                case "threaded":
                    assert engine.run(in_thread, mark).value == mark
                case "cancel":
                    run = engine.start(hold, mark, run_id=run_id)
                    assert run.cancel(run_id)
                    assert run.wait().blame.message == run_id
                case "cancel by id":
                    run = engine.start(hold, mark, run_id=run_id)
                    assert engine.cancel(run_id, run_id)
                    assert (run.done, run.result.blame.message) == (True, run_id)
                case "wait":
                    runs = [engine.start(DOUBLE, k, run_id=f"{run_id}-{k}") for k in range(3)]
                    results = [run.wait(PATIENCE) for run in reversed(runs)]
                    assert [result.value for result in results] == [4, 2, 0]
                    assert [result.run_id for result in results] == [
                        f"{run_id}-{k}" for k in (2, 1, 0)
                    ]
            accounts[number].append(step)

    with blocking(max_concurrent_pipelines=4, max_threads=3) as engine:
        join(spawn(*(lambda number=number: work(number) for number in range(THREADS))))
        assert engine.runs() == ()
        admission = engine._engine._admission
        assert (admission.active, len(admission._queue)) == (0, 0)
        slots = [engine.start(HANG) for _ in range(5)]
        assert admission.active == 4
        for run in slots:
            assert engine.cancel(run.run_id)
        assert engine._engine.portal.line._waiting == {}
    assert accounts == [list(range(ROUNDS))] * THREADS


def test_many_threads_meet_the_end_of_the_engine():
    """While 32 threads submit, the block ends: each submission has a result or is refused, none hangs."""
    begin = threading.Barrier(THREADS + 1)
    ended = []

    def work(number):
        begin.wait(PATIENCE)
        for step in range(10_000):
            try:
                assert engine.execute(DOUBLE, step) == 2 * step
            except EngineClosedError:
                ended.append(number)
                return

    with blocking() as engine:
        threads = spawn(*(lambda number=number: work(number) for number in range(THREADS)))
        begin.wait(PATIENCE)
    join(threads)
    assert sorted(ended) == list(range(THREADS))


def test_a_plain_program_may_ask_for_health():
    """Health and the portal are there without an event loop, too."""
    with BlockingEngine(lane="blue") as engine:
        health = engine.health()
        assert (health.lane, health.runs, health.ok) == ("blue", (), True)
        assert engine.portal.execute(DOUBLE, 2) == 4
