"""An engine used from other threads; real clock, because the virtual one takes a busy thread for idle."""

import os
import signal
import sys
import threading
from contextvars import ContextVar
from functools import partial

import pytest
import trio

from graceline import (
    DefinitionError,
    GracelineError,
    Node,
    Pipeline,
    PipelineTimeoutError,
    Timeouts,
    cleanup,
    current,
    open_engine,
    remaining,
)
from graceline.engine.line import EngineClosedError, Flag, see_out
from graceline.engine.portal import PortalRun
from graceline.telemetry.events import NodeFinished, RunFinished

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=3600)
PATIENCE = 60


async def double(value):
    return 2 * value


async def forever(_):
    await trio.sleep_forever()


DOUBLE = Pipeline("double", [double])
HANG = Pipeline("hang", [forever])


def engine_options(**options):
    return {"timeouts": NO_LIMITS, **options}


async def in_thread(function, *args):
    """Call something in a plain thread, which knows nothing of Trio, while the loop goes on."""
    ended = trio.Event()
    token = trio.lowlevel.current_trio_token()
    box = []

    def work():
        try:
            box.append((function(*args), None))
        except BaseException as error:
            box.append((None, error))
        token.run_sync_soon(ended.set)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    with trio.CancelScope(shield=True), trio.fail_after(PATIENCE):
        await ended.wait()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    value, error = box.pop()
    if error is not None:
        raise error
    return value


def hold():
    """A pipeline that says when it runs, and ends when it may."""
    running, release = threading.Event(), trio.Event()

    async def held(value):
        running.set()
        await release.wait()
        return value

    return Pipeline("hold", [held]), running, release


async def test_run_and_execute_return_what_the_engine_does():
    """A thread that knows nothing of Trio gets a result from `run` and a value from `execute`."""
    async with open_engine(**engine_options()) as engine:
        engine.register(DOUBLE)
        result = await in_thread(engine.portal.run, DOUBLE, 4)
        value = await in_thread(engine.portal.execute, "double", 5)
        assert engine.runs() == ()
    assert (result.status, result.value, value) == ("ok", 8, 10)


async def test_arguments_of_a_submission_reach_the_engine():
    """`run_id`, `timeout` and `budget` mean what they mean for `engine.run`."""
    async with open_engine(**engine_options()) as engine:
        portal = engine.portal
        result = await in_thread(lambda: portal.run(DOUBLE, 1, run_id="mine", timeout=0))
        assert (result.run_id, result.status, result.source) == ("mine", "timed_out", "call")
        result = await in_thread(lambda: portal.run(DOUBLE, 1, budget=0))
        assert (result.status, result.source) == ("timed_out", "header")
        with pytest.raises(PipelineTimeoutError):
            await in_thread(lambda: portal.execute(DOUBLE, 1, timeout=-1))


async def test_errors_of_a_submission_are_raised_in_the_thread():
    """An unknown name, a bad duration and an id that is live are errors of the caller."""
    async with open_engine(**engine_options()) as engine:
        portal = engine.portal
        with pytest.raises(DefinitionError, match="no pipeline is registered as 'nobody'"):
            await in_thread(portal.run, "nobody")
        with pytest.raises(DefinitionError, match="timeout="):
            await in_thread(lambda: portal.start(DOUBLE, timeout="soon"))
        first = await in_thread(lambda: portal.start(HANG, run_id="one"))
        with pytest.raises(GracelineError, match="'one' is live"):
            await in_thread(lambda: portal.start(HANG, run_id="one"))
        assert await in_thread(first.cancel)
        assert (await in_thread(first.wait)).status == "cancelled"


async def test_a_handle_tells_and_cancels():
    """`start` returns at once: the handle says how the run stands, cancels it, and waits for it."""
    pipeline, running, _ = hold()
    async with open_engine(**engine_options()) as engine:
        run = await in_thread(lambda: engine.portal.start(pipeline, run_id="held"))
        assert (run.run_id, run.pipeline, run.done, run.result) == ("held", "hold", False, None)
        assert repr(run) == "<PortalRun 'held' of 'hold'>"
        await in_thread(running.wait, PATIENCE)
        assert await in_thread(lambda: run.cancel("enough", force_after=0))
        result = await in_thread(run.wait)
        assert (result.status, result.blame.message) == ("cancelled", "enough")
        assert (run.done, run.result) == (True, result)
        assert not await in_thread(run.cancel)


async def test_a_wait_that_times_out_leaves_the_run_going():
    """`wait(timeout)` raises TimeoutError; the run goes on, and may be waited for again."""
    pipeline, _, release = hold()
    async with open_engine(**engine_options()) as engine:
        run = await in_thread(engine.portal.start, pipeline, 3)
        with pytest.raises(TimeoutError, match="goes on after 10ms of waiting; cancel"):
            await in_thread(run.wait, "10ms")
        with pytest.raises(DefinitionError, match=r"wait\(timeout=\)"):
            await in_thread(run.wait, -1)
        assert [live.run_id for live in engine.runs()] == [run.run_id]
        release.set()
        assert (await in_thread(run.wait, float("inf"))).value == 3
        assert (await in_thread(run.wait, 1e300)).value == 3


async def test_cancel_by_id_waits_for_the_cleanup():
    """`portal.cancel` returns when the run has unwound, or at once with `wait=False`."""
    cleaned, running = [], trio.Event()

    async def careful(_):
        running.set()
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.lowlevel.checkpoint()
                cleaned.append("done")

    async with open_engine(**engine_options()) as engine:
        portal = engine.portal
        run = await in_thread(lambda: portal.start(Pipeline("p", [careful]), run_id="one"))
        await running.wait()
        assert await in_thread(lambda: portal.cancel("one", "by id", force_after=3600))
        assert (cleaned, run.done, run.result.blame.message) == (["done"], True, "by id")
        assert not await in_thread(portal.cancel, "one")
        pipeline, _, release = hold()
        run = await in_thread(lambda: portal.start(pipeline, run_id="two"))
        assert await in_thread(lambda: portal.cancel("two", wait=False))
        assert (await in_thread(run.wait)).status == "cancelled"
        release.set()


async def test_a_thread_of_a_run_may_cancel_it():
    """In a thread that the run waits for, `cancel` does not wait for the end that it holds up."""
    said = []

    async def gives_up(portal):
        cancel = partial(portal.cancel, current().run_id, "by itself")
        with trio.CancelScope(shield=True), trio.fail_after(PATIENCE):
            said.append(await trio.to_thread.run_sync(cancel, abandon_on_cancel=True))
        await trio.sleep_forever()

    async with open_engine(**engine_options()) as engine:
        result = await engine.run(Pipeline("p", [gives_up]), engine.portal)
    assert said == [True]
    assert (result.status, result.blame.message) == ("cancelled", "by itself")


async def test_a_thread_node_may_submit():
    """A worker thread of a node uses the portal: a run of its own, that its node does not bound."""

    def outer(portal):
        return portal.run(Pipeline("inner", [inner]), "in", run_id="inner").value

    async def inner(value):
        return value, current().run_id, remaining()

    async with open_engine(**engine_options()) as engine:
        value = await engine.execute(Pipeline("outer", [Node(outer, timeout=3600)]), engine.portal)
    assert value == ("in", "inner", float("inf"))


async def test_runs_see_the_context_of_the_thread():
    """A context variable that the calling thread has set is seen by the nodes."""
    tenant = ContextVar("tenant", default="nobody")

    async def ask(_):
        return tenant.get()

    def submit(portal):
        tenant.set("ada")
        return portal.execute(Pipeline("p", [ask]))

    async with open_engine(**engine_options()) as engine:
        assert await in_thread(submit, engine.portal) == "ada"
    assert tenant.get() == "nobody"


async def test_runs_lists_what_is_live():
    """`runs` gives handles in order of submission, of runs that others started as well."""
    pipeline, _, release = hold()
    async with open_engine(**engine_options()) as engine:
        engine.start(pipeline, 1, run_id="ours")
        mine = await in_thread(lambda: engine.portal.start(pipeline, 2, run_id="mine"))
        theirs, same = await in_thread(engine.portal.runs)
        assert [theirs.run_id, same.run_id] == ["ours", "mine"]
        release.set()
        assert [(await in_thread(run.wait)).value for run in (theirs, same, mine)] == [1, 2, 2]
        assert (await in_thread(theirs.wait)).value == 1
        assert await in_thread(engine.portal.runs) == ()


async def test_events_stream_to_a_thread():
    """`events` blocks for the next event, gives those of its own run alone, and ends with it."""
    pipeline, running, release = hold()

    def follow(run):
        events = run.events()
        following.set()
        return list(events)

    following = threading.Event()
    async with open_engine(**engine_options()) as engine:
        run = await in_thread(engine.portal.start, pipeline, 1)
        await in_thread(running.wait, PATIENCE)
        async with trio.open_nursery() as nursery:
            seen = []

            async def reader():
                seen.extend(await in_thread(follow, run))

            nursery.start_soon(reader)
            await in_thread(following.wait, PATIENCE)
            await engine.cancel(engine.start(HANG).run_id)
            release.set()
        assert {event.run_id for event in seen} == {run.run_id}
        assert isinstance(seen[0], NodeFinished)
        assert isinstance(seen[-1], RunFinished)
        assert await in_thread(lambda: list(run.events())) == []


async def test_a_reader_that_breaks_off_is_forgotten():
    """Closing the iterator takes its sink away; the run is not disturbed."""
    pipeline, _, release = hold()

    def look(run):
        events = run.events()
        assert next(events).run_id == run.run_id
        events.close()

    async with open_engine(**engine_options()) as engine:
        before = engine._hub._sinks
        run = await in_thread(engine.portal.start, pipeline, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, look, run)
            while engine._hub._sinks == before:
                await trio.lowlevel.checkpoint()
            engine._hub.emit(
                RunFinished(
                    at=0, run_id=run.run_id, pipeline="hold", lane="default", status="ok",
                    started=0, elapsed=0, limit=None, source=None, grace_used=0, overrun=0,
                    blame=None, error_type=None, queued=0, degraded=(), completed=0,
                )
            )  # fmt: skip
        await in_thread(engine.portal.runs)  # after the removal that was posted
        assert engine._hub._sinks == before
        release.set()
        assert (await in_thread(run.wait)).status == "ok"


async def test_drain_from_a_thread():
    """`portal.drain` refuses new runs, waits, cancels the rest, and says how many there were."""
    async with open_engine(**engine_options()) as engine:
        run = await in_thread(engine.portal.start, HANG)
        assert await in_thread(engine.portal.drain, 0) == 1
        assert (run.result.status, run.result.blame.kind) == ("cancelled", "shutdown")
        refused = await in_thread(engine.portal.run, DOUBLE, 1)
        assert (refused.status, refused.blame.message) == ("rejected", "draining")
        with pytest.raises(DefinitionError, match=r"drain\(timeout=\)"):
            await in_thread(engine.portal.drain, "soon")


async def test_in_the_thread_of_the_loop_everything_that_blocks_is_refused():
    """A call that would wait for its own thread is an error, not a deadlock."""
    async with open_engine(**engine_options()) as engine:
        portal = engine.portal
        run = await in_thread(portal.start, HANG)
        for call in (
            lambda: portal.run(DOUBLE),
            lambda: portal.execute(DOUBLE),
            lambda: portal.start(DOUBLE),
            lambda: portal.cancel("x"),
            portal.runs,
            portal.drain,
            run.wait,
            run.cancel,
            run.events,
        ):
            with pytest.raises(GracelineError, match="async methods of the engine"):
                call()
        assert [live.run_id for live in engine.runs()] == [run.run_id]
        assert await engine.cancel(run.run_id)


async def test_a_closed_engine_refuses_while_its_loop_goes_on():
    """After the block, submissions are errors, and handles still tell."""
    async with open_engine(**engine_options()) as engine:
        run = await in_thread(engine.portal.start, DOUBLE, 1)
    with pytest.raises(GracelineError, match="the engine is closed"):
        await in_thread(engine.portal.run, DOUBLE)
    assert (await in_thread(run.wait)).value == 2
    assert await in_thread(engine.portal.runs) == ()


def test_after_the_loop_everything_is_answered_at_once():
    """When the loop has ended, submissions are errors; handles tell, and cancel nothing."""

    async def main():
        async with open_engine(**engine_options()) as engine:
            run = await in_thread(engine.portal.start, DOUBLE, 1)
            pipeline, _, release = hold()
            other = await in_thread(engine.portal.start, pipeline, 5)
            [watcher] = [
                live for live in await in_thread(engine.portal.runs) if live.run_id == other.run_id
            ]
            release.set()
            return engine, run, watcher

    engine, run, watcher = trio.run(main)

    def outside():
        portal = engine.portal
        for call in (portal.run, portal.execute, portal.start, portal.cancel):
            with pytest.raises(EngineClosedError, match="the engine is closed"):
                call("double")
        for call in (portal.runs, portal.drain):
            with pytest.raises(EngineClosedError, match="the engine is closed"):
                call()
        assert (run.wait().value, watcher.wait().value) == (2, 5)
        assert (run.cancel(), list(run.events())) == (False, [])
        return True

    assert in_plain_thread(outside)


def in_plain_thread(function):
    """Call something in another thread than this one, for at most a minute."""
    box = []
    thread = threading.Thread(target=lambda: box.append(function()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    return box.pop()


def test_a_drain_that_outlives_the_loop_ends():
    """A drain that waits when the loop ends is told so."""
    line = []

    async def main():
        async with open_engine(**engine_options()) as engine:
            line.append(engine.portal.line)
            waiting = trio.Event()

            async def wait():
                waiting.set()
                await trio.sleep_forever()

            thread = threading.Thread(
                target=lambda: line.append(engine.portal.line.outcome_of_task(wait)), daemon=True
            )
            thread.start()
            await waiting.wait()
            return thread

    trio.run(main).join(PATIENCE)
    assert isinstance(line[1].error, EngineClosedError)


@pytest.mark.parametrize("error", [trio.RunFinishedError, OSError])
async def test_a_loop_that_takes_no_more_jobs_is_closed(error):
    """Whether the loop has ended in order or has crashed: the engine is closed, says the error."""

    class Deaf:
        def run_sync_soon(self, job):
            raise error

    async with open_engine(**engine_options()) as engine:
        engine.portal.line._token = Deaf()
        with pytest.raises(EngineClosedError):
            await in_thread(engine.portal.runs)


def test_a_drain_is_refused_while_the_loop_ends():
    """When Trio takes no more tasks, what needs one is told that the engine is closed."""
    said = []

    async def main():
        async with open_engine(**engine_options()) as engine:
            line = engine.portal.line
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio.lowlevel, "spawn_system_task", lambda _: trio_says("closed"))
            said.append(await in_thread(line.outcome_of_task, engine.drain))

    trio.run(main)
    assert isinstance(said[0].error, EngineClosedError)


async def test_while_the_nursery_closes_a_submission_is_refused():
    """Between the end of the last run and the end of the block, a submission is a clear error."""
    said = []
    token = trio.lowlevel.current_trio_token()
    async with open_engine(**engine_options()) as engine:

        def poke():
            try:
                engine.portal._submit(PortalRun(engine.portal.line, owned=True), DOUBLE, 1, {})
            except GracelineError as error:
                said.append(error)
            else:
                token.run_sync_soon(poke)

        token.run_sync_soon(poke)
    await in_thread(engine.portal.runs)
    assert [type(error) for error in said] in ([EngineClosedError], [GracelineError])


def trio_says(message):
    raise RuntimeError(message)


async def test_a_portal_does_not_work_after_a_fork(monkeypatch):
    """In a forked process there is no loop to answer: an error, not a hang."""
    async with open_engine(**engine_options()) as engine:
        process = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: process + 1)
        with pytest.raises(GracelineError, match="belongs to the process that opened it"):
            await in_thread(engine.portal.run, DOUBLE)
        monkeypatch.undo()
        assert await in_thread(engine.portal.execute, DOUBLE, 1) == 2


async def test_a_run_that_is_torn_down_has_no_result():
    """If an exception of the program tears the engine down, who waits is told, and not for ever."""

    async def leave(_):
        raise SystemExit(3)

    box = []
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_engine(**engine_options()) as engine:
            portal = engine.portal

            def submit():
                try:
                    portal.run(Pipeline("p", [leave]))
                except GracelineError as error:
                    box.append(str(error))

            await in_thread(submit)
    assert "was torn down and has no result" in box[0]
    assert [type(error) for error in caught.value.exceptions] == [SystemExit]


def test_a_loop_that_is_gone_wakes_all_who_wait_for_it():
    """When a line is cut, waits, events and questions without an answer end at once."""
    asking, refused = threading.Barrier(2), []

    async def silent():
        asking.wait(PATIENCE)  # the loop is blocked: what comes now has no answer
        gone.wait(PATIENCE)

    def question():
        asking.wait(PATIENCE)
        try:
            line.ask(lambda: None)
        except EngineClosedError as error:  # whether the cut came before the post or after it
            refused.append(error)

    with Served() as served:
        line, gone = served.portal.line, threading.Event()
        run = served.portal.start(HANG)
        [watcher] = served.portal.runs()
        events = run.events()
        line.post(lambda: trio.lowlevel.spawn_system_task(silent))
        asker = threading.Thread(target=question, daemon=True)
        asker.start()
        while len(line._waiting) < 3:  # the run, its events, the question
            assert asker.is_alive()
        line.cut()
        asker.join(PATIENCE)
        for handle in (run, watcher):
            with pytest.raises(GracelineError, match="torn down"):
                handle.wait()
            assert handle.done
        assert list(events) == []
        with pytest.raises(EngineClosedError):
            served.portal.run(DOUBLE)
        gone.set()
        served.token.run_sync_soon(served.engine.cancel_all, "the test is over")
    assert len(refused) == 1


def test_a_flag_wakes_everybody_once_it_is_set():
    """A flag that is set lets through who waits, and who comes later; a wait may end before."""
    flag = Flag()
    assert not flag.wait(0)
    threads = [threading.Thread(target=flag.wait, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    flag.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert flag.wait()
    assert not flag._waiters


def test_each_further_interrupt_goes_one_step_on():
    """After an interrupt: a step and a wait; the next interrupt takes the next step, the last leaves."""
    taken = []

    def steps(*names):
        return [lambda name=name: taken.append(name) for name in names]

    def interrupted_twice():
        if len(taken) < 3:
            raise KeyboardInterrupt

    see_out(steps("cancel", "force", "leave", "never"), interrupted_twice)
    assert taken == ["cancel", "force", "leave"]

    def gone():
        raise EngineClosedError

    see_out(steps("cancel", "force"), gone)
    assert taken == ["cancel", "force", "leave", "cancel"]


@pytest.fixture
def interrupt():
    """Interrupt the main thread; a test that hangs is interrupted until it ends."""

    def raised(number, _):
        if number == signal.SIGALRM:
            raise AssertionError("the main thread hangs")
        raise KeyboardInterrupt

    before = [(number, signal.signal(number, raised)) for number in (signal.SIGINT, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, 1)
    main = threading.main_thread().ident
    yield lambda: signal.pthread_kill(main, signal.SIGINT)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before:
        signal.signal(number, handler)


class Served:
    """An engine in a loop in another thread, for tests of which the main thread is the caller."""

    def __enter__(self):
        self.ready = threading.Event()
        self.thread = threading.Thread(target=trio.run, args=(self.main,), daemon=True)
        self.thread.start()
        assert self.ready.wait(PATIENCE)
        return self

    async def main(self):
        async with open_engine(**engine_options()) as engine:
            self.engine, self.portal, self.end = engine, engine.portal, trio.Event()
            self.token = trio.lowlevel.current_trio_token()
            self.ready.set()
            await self.end.wait()

    def __exit__(self, *_):
        self.token.run_sync_soon(self.end.set)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.mark.parametrize("how", ["run", "wait"])
def test_an_interrupt_cancels_the_run_and_awaits_its_cleanup(interrupt, how):
    """KeyboardInterrupt in the waiting thread: cancelled as interrupted, cleaned up, then raised."""
    cleaned, outcomes, runs = [], [], []

    async def careful(_):
        try:
            while how == "wait" and not (runs and runs[0]._ended._waiters):
                await trio.lowlevel.checkpoint()  # nobody waits for the handle yet
            interrupt()
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.lowlevel.checkpoint()
                cleaned.append(True)

    pipeline = Pipeline("p", [Node(careful, on_cleanup=outcomes.append)])
    with Served() as served:
        with pytest.raises(KeyboardInterrupt):
            if how == "run":
                served.portal.run(pipeline)
            else:
                runs.append(served.portal.start(pipeline))
                runs[0].wait()
        assert cleaned == [True]
        assert (outcomes[0].status, outcomes[0].blame.message) == ("cancelled", "interrupted")
        assert served.portal.runs() == ()


def test_a_second_interrupt_cuts_the_cleanup(interrupt):
    """Interrupted again while it waits for cleanup, the caller has the grace cut."""
    seen = []

    async def slow(_):
        try:
            interrupt()
            await trio.sleep_forever()
        finally:
            with cleanup():
                seen.append("cleanup")
                interrupt()
                await trio.sleep_forever()
            seen.append("cut")

    with Served() as served:
        with pytest.raises(KeyboardInterrupt):
            served.portal.run(Pipeline("p", [slow]))
        assert seen == ["cleanup", "cut"]


def test_a_third_interrupt_does_not_wait(interrupt):
    """A run that cannot be stopped does not hold the caller after the third interrupt."""
    release = []

    async def stubborn(_):
        try:
            interrupt()
            await trio.sleep_forever()
        finally:
            with cleanup():
                interrupt()
                await trio.sleep_forever()
            event = trio.Event()
            release.append(event)
            with trio.CancelScope(shield=True):
                interrupt()
                await event.wait()

    with Served() as served:
        with pytest.raises(KeyboardInterrupt):
            served.portal.run(Pipeline("p", [stubborn]))
        [run] = served.portal.runs()
        assert not run.done
        served.portal.line.post(release[0].set)
        assert run.wait().status == "cancelled"


def test_an_interrupted_watcher_leaves_the_run_alone(interrupt):
    """Who waits for a run that somebody else started does not cancel it when interrupted."""
    with Served() as served:
        mine = served.portal.start(HANG)
        [watcher] = served.portal.runs()
        with pytest.raises(KeyboardInterrupt):
            served.portal.line.post(interrupt)  # which may come before this returns
            watcher.wait()
        assert not mine.done
        assert served.portal.cancel(mine.run_id)
        assert watcher.wait().status == "cancelled"


def test_an_interrupt_while_submitting_leaves_no_run(monkeypatch):
    """Interrupted before it has a handle, a caller leaves nothing behind: posted or not."""
    with Served() as served:
        line = served.portal.line
        with monkeypatch.context() as patch:
            post = type(line).post
            calls = []

            def first_fails(self, job):
                calls.append(job)
                if len(calls) == 1:
                    raise KeyboardInterrupt
                post(self, job)

            patch.setattr(type(line), "post", first_fails)
            with pytest.raises(KeyboardInterrupt):
                served.portal.start(HANG)
            assert (len(calls), served.portal.runs()) == (2, ())

            def posted(self, job):
                calls.append(job)
                post(self, job)
                if len(calls) == 4:
                    raise KeyboardInterrupt

            patch.setattr(type(line), "post", posted)
            with pytest.raises(KeyboardInterrupt):
                served.portal.start(HANG)
        assert served.portal.runs() == ()


def test_wherever_an_interrupt_comes_no_run_is_left_behind():
    """Interrupted in any of its calls until it waits, `run` leaves no run behind."""
    number, waits = 0, False

    def interrupted(frame, event, _):
        nonlocal calls, waits
        calls += event == "call"
        waits = frame.f_code is Flag.wait.__code__
        if waits or calls == number:
            raise KeyboardInterrupt

    with Served() as served:
        while not waits:
            number, calls = number + 1, 0
            with pytest.raises(KeyboardInterrupt):
                sys.setprofile(interrupted)  # what it raises ends it
                served.portal.run(HANG)
            assert served.portal.runs() == ()
    assert number > 10


def test_an_interrupted_drain_cancels_what_runs(interrupt):
    """An interrupt ends the patience of a drain, the next one the grace of what it cancels."""
    seen = []

    async def slow(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                seen.append("cleanup")
                interrupt()
                await trio.sleep_forever()
            seen.append("cut")

    with Served() as served:
        run = served.portal.start(Pipeline("p", [slow]))

        async def drained():
            await served.engine._drain.wait()
            interrupt()

        served.portal.line.post(lambda: trio.lowlevel.spawn_system_task(drained))
        with pytest.raises(KeyboardInterrupt):
            served.portal.drain()
        assert seen == ["cleanup", "cut"]
        assert run.wait().blame.message == "interrupted"


async def test_a_thread_that_follows_a_run_in_the_queue_hears_its_parts():
    """Beside a sink that wants a trace, too: a follower has said what it wants by following."""

    class Everything(list):
        inline = True

        def wants_trace(self):
            return True

        __call__ = list.append

    pipeline, running, release = hold()
    sink, heard = Everything(), []

    async with (
        open_engine(**engine_options(max_concurrent_pipelines=1, sinks=[sink])) as engine,
        trio.open_nursery() as nursery,
    ):
        engine.start(pipeline)
        await in_thread(running.wait, PATIENCE)
        run = await in_thread(engine.portal.start, DOUBLE, 1)
        events = await in_thread(run.events)
        nursery.start_soon(release_later, release)
        heard = await in_thread(list, events)
    assert [type(event).__name__ for event in heard].count("NodeFinished") == 1


async def release_later(release):
    release.set()
