"""Functions in worker processes; real clock and real processes, since they are the subject."""

import errno
import gc
import os
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio

sys.path.insert(0, str(Path(__file__).parent))  # the workers get it from this process

import process_jobs as jobs

from graceline import (
    DefinitionError,
    GracelineError,
    Hedge,
    Node,
    Pipeline,
    Retry,
    Timeouts,
    WorkerDiedError,
    current,
    each,
    open_engine,
    parallel,
    remaining,
)
from graceline.telemetry.events import CleanupOverran, SignalSent
from graceline.testing import InvariantError, check_full_capacity
from graceline.work import groups

NO_LIMITS = Timeouts(node=None, stage=None, pipeline=None, grace=30)


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
    """Wait for something that another process brings about."""
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.002)


def engine_of(size=1, **options):
    return open_engine(**{"timeouts": NO_LIMITS, "max_processes": size, **options})


def pipeline(function, **options):
    return Pipeline("p", [Node(function, name="work", runs_on="process")], **options)


async def run(engine, function, value=None, **options):
    with trio.fail_after(60):
        return await engine.run(pipeline(function, **options), value)


async def cancel(engine, function, path, **options):
    """Run a job until it has begun, and cancel it; returns its process and the result."""
    handle = engine.start(pipeline(function, **options), str(path))
    await until(path.exists)
    handle.cancel("enough")
    with trio.fail_after(60):
        return int(path.read_text()), await handle.wait()


def alive(pid):
    """Whether a process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


# -- values and errors ----------------------------------------------------------------------------


async def test_function_runs_in_another_process_that_stays_warm():
    """The value comes back from another process, and the next function finds the same one."""
    async with engine_of() as engine:
        assert (await run(engine, jobs.double, 21)).value == 42
        first = (await run(engine, jobs.pid)).value
        assert first != os.getpid()
        assert (await run(engine, jobs.pid)).value == first
    assert not alive(first)


async def test_error_comes_back():
    """What the function raises is the node's failure, with the traceback of the worker."""
    async with engine_of() as engine:
        result = await run(engine, jobs.raises, "x")
    assert (result.status, result.error.args) == ("failed", ("x",))
    frames = []
    trace = result.error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert "raises" in frames


async def test_closure_is_sent():
    """With cloudpickle installed a function may be a closure or a lambda."""
    pytest.importorskip("cloudpickle")
    number = 3
    async with engine_of() as engine:
        assert (await run(engine, lambda value: value + number, 4)).value == 7


@pytest.mark.parametrize(
    ("function", "value", "message"),
    [
        (jobs.Doubler(threading.Lock()), None, "node 'work': its function"),
        (jobs.double, threading.Lock(), "node 'work': its input, of type lock"),
        (jobs.returns_lock, None, "node 'work': its value cannot be sent"),
        (jobs.raises_unsendable, None, "node 'work' raised UnsendableError: text; the exception"),
        (jobs.raises_mute, None, "node 'work' raised MuteError, whose __str__ raises; the exc"),
        (jobs.saves_lock, None, "node 'work': what save_partial.. was given cannot be sent"),
    ],
)  # fmt: skip
async def test_what_cannot_be_sent_is_named(function, value, message):
    """A function, input, value, exception or partial value that cannot be pickled is named; the worker stays."""
    async with engine_of() as engine:
        before = (await run(engine, jobs.pid)).value
        result = await run(engine, function, value)
        assert result.status == "failed"
        with pytest.raises(GracelineError, match=message):
            raise result.error
        assert (await run(engine, jobs.pid)).value == before


async def test_what_the_worker_cannot_import_is_named(monkeypatch):
    """A function of a module that only this process knows is an error that says so."""
    module = type(sys)("known_only_here")
    exec("def work(value): ...", vars(module))  # noqa: S102 - a module without a file
    monkeypatch.setitem(sys.modules, "known_only_here", module)
    async with engine_of() as engine:
        result = await run(engine, module.work)
    with pytest.raises(GracelineError, match="its function or its input cannot be read"):
        raise result.error


async def test_function_that_returns_a_coroutine_says_so():
    """A function that returns a coroutine fails with a hint, and leaves no warning."""
    async with engine_of() as engine:
        result = await run(engine, jobs.returns_coroutine)
    with pytest.raises(TypeError, match="returned a coroutine"):
        raise result.error


def test_missing_extra_says_what_to_install(monkeypatch):
    """Without trio-parallel the pipeline is refused when it is compiled, with what to install."""
    monkeypatch.setitem(sys.modules, "trio_parallel", None)

    async def main():
        async with engine_of() as engine:
            with pytest.raises(DefinitionError, match=r"pip install 'graceline\[process\]'"):
                await engine.run(pipeline(jobs.double), 1)

    trio.run(main)


# -- what a job knows -----------------------------------------------------------------------------


async def test_helpers_work_in_a_job():
    """`current` and `remaining` say in a worker process what they say in the event loop."""

    async def here(value):
        return current(), remaining()

    def both(function, runs_on):
        return Pipeline("p", [Node(function, name="work", runs_on=runs_on)], timeout=50)

    async with engine_of(lane="fast") as engine:
        inside = await engine.run(both(jobs.helpers, "process"), 7, run_id="one")
        outside = await engine.run(both(here, "coroutine"), 7, run_id="one")
    facts, left, stop, _ = inside.value
    assert facts == outside.value[0]
    assert 0 < left <= 50
    assert not stop


async def test_item_knows_its_node_and_has_no_partial_value():
    """Inside an item `current()` names the node, and `save_partial()` says where it belongs."""
    async with engine_of() as engine:
        node = each(Node(jobs.whoami, runs_on="process"))
        result = await engine.run(Pipeline("p", [node]), [5])
        assert (result.value[0].node, result.value[0].input) == ("whoami", 5)
        node = each(Node(jobs.saves_in_an_item, runs_on="process"))
        result = await engine.run(Pipeline("p", [node]), [5])
    with pytest.raises(GracelineError, match=r"this is an item of each\(\)"):
        raise result.error


async def test_items_run_side_by_side():
    """The items of a list are jobs of their own, in as many workers as `max_parallel` allows."""
    async with engine_of(2) as engine:
        node = each(Node(jobs.double, runs_on="process"), max_parallel=2)
        assert (await engine.run(Pipeline("p", [node]), range(6))).value == [0, 2, 4, 6, 8, 10]
        assert len(engine._workers.processes._workers) == 2


async def test_drain_reaches_jobs(tmp_path):
    """`stopping()` is set inside a job when the engine drains."""
    path = tmp_path / "begun"
    async with engine_of() as engine:
        handle = engine.start(pipeline(jobs.polite), str(path))
        await until(path.exists)
        assert await engine.drain() == 0
        assert (await handle.wait()).value == "stopped"


async def test_stop_before_reaches_jobs(tmp_path):
    """`stopping()` is set inside a job so long before its deadline."""
    node = Node(jobs.polite, runs_on="process", timeout=60, stop_before=59.9)
    async with engine_of() as engine:
        result = await engine.run(Pipeline("p", [node]), str(tmp_path / "begun"))
    assert (result.status, result.value) == ("ok", "stopped")


async def test_waiting_for_the_stop_signal_says_what_works():
    """A job has no event loop to wait in: `stopping().wait()` says to ask instead."""
    async with engine_of() as engine:
        result = await run(engine, jobs.awaits_stop)
    with pytest.raises(GracelineError, match=r"ask is_set\(\)"):
        raise result.error


# -- cancelling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [jobs.sleep, jobs.lock, jobs.child, jobs.spin, jobs.select],
    ids=lambda f: f.__name__,
)
async def test_cancel_is_raised_inside_the_job(function, tmp_path):
    """Wherever a job is, its `finally` blocks see the cancel, and the worker stays warm."""
    path, record = tmp_path / "begun", Record()
    async with engine_of(sinks=[record]) as engine:
        worker, result = await cancel(engine, partial(jobs.tidy, function), path)
        assert result.status == "cancelled"
        assert Path(f"{path}.tidy").read_text() == "0.0"
        assert (await run(engine, jobs.pid)).value == worker
        assert groups.members(worker) == (worker,)
    assert [(e.node, e.signal, e.pid) for e in record.of(SignalSent)] == [
        ("work", signal.SIGTERM, worker)
    ]


async def test_limit_cancels_a_job(tmp_path):
    """A job that exceeds its limit is cancelled and its node timed out."""
    async with engine_of() as engine:
        await run(engine, jobs.pid)
        result = await run(engine, jobs.sleep, str(tmp_path / "begun"), timeout=0.2)
    assert (result.status, result.blame.kind) == ("timed_out", "timeout")


@pytest.mark.parametrize("function", [jobs.stubborn, jobs.deaf], ids=lambda f: f.__name__)
async def test_job_that_does_not_end_is_killed(function, tmp_path):
    """A job that ignores the cancel, or is blocked in C, is killed at `hard`, and the pool goes on."""
    record = Record()
    async with engine_of(sinks=[record]) as engine:
        worker, result = await cancel(engine, function, tmp_path / "begun", grace=0.05)
        assert result.status == "cancelled"
        await until(lambda: not alive(worker))  # the kernel ends what was killed, in its own time
        assert (await run(engine, jobs.double, 1)).value == 2
        check_full_capacity(engine)
    sent = [event.signal for event in record.of(SignalSent)]
    assert sent == [signal.SIGTERM, signal.SIGKILL]


async def test_grandchildren_are_killed_too(tmp_path):
    """The kill at `hard` reaches all of the worker's process group."""
    async with engine_of() as engine:
        handle = engine.start(pipeline(jobs.family, grace=0.05), str(tmp_path / "begun"))
        await until((tmp_path / "begun").exists)
        worker = int((tmp_path / "begun").read_text())
        await until(lambda: len(groups.members(worker)) == 4)
        handle.cancel("enough")
        assert (await handle.wait()).status == "cancelled"
        await until(lambda: not groups.members(worker))


@pytest.mark.parametrize(
    "function", [jobs.leave_child, jobs.leave_orphan], ids=lambda f: f.__name__
)
async def test_nothing_outlives_its_job(function):
    """What a job leaves running is killed when it has ended, with its worker; the value is kept."""
    async with engine_of() as engine:
        worker = (await run(engine, jobs.pid)).value
        result = await run(engine, function)
        assert result.status == "ok"
        await until(lambda: not groups.members(worker))
        assert (await run(engine, jobs.pid)).value != worker


async def test_worker_that_left_its_group_is_killed(tmp_path):
    """A job that leaves the worker's group, and a child in it, is killed at `hard` with both."""
    async with engine_of() as engine:
        worker, result = await cancel(engine, jobs.moved, tmp_path / "begun", grace=0.05)
        assert result.status == "cancelled"
        await until(lambda: not alive(worker))
        await until(lambda: not groups.members(worker))
        assert (await run(engine, jobs.double, 1)).value == 2


async def test_worker_with_children_elsewhere_is_replaced():
    """A job that leaves a child in another session costs its worker, whose end that child may notice."""
    async with engine_of() as engine:
        worker = (await run(engine, jobs.pid)).value
        child = (await run(engine, jobs.leave_session)).value
        try:
            assert not alive(worker)
            assert (await run(engine, jobs.pid)).value != worker
        finally:
            os.kill(child, signal.SIGKILL)


async def test_threads_end_with_their_job():
    """A thread that a job leaves behind ends with its worker, and saves nothing for the next job."""
    async with engine_of() as engine:
        worker = (await run(engine, jobs.leave_thread)).value
        assert not alive(worker)
        assert (await run(engine, jobs.pid)).value != worker


@pytest.mark.parametrize(
    "spoil",
    [jobs.blocks_signal, jobs.ignores_signal, jobs.resets_signal],
    ids=lambda f: f.__name__,
)
async def test_signals_of_an_earlier_job_disarm_no_cancel(spoil, tmp_path):
    """Whatever a job did to SIGTERM, the next one in its worker gets its cancel."""
    async with engine_of() as engine:
        first = (await run(engine, spoil)).value
        path = tmp_path / "begun"
        worker, result = await cancel(engine, partial(jobs.tidy, jobs.sleep), path)
        assert (result.status, worker) == ("cancelled", first)
        assert Path(f"{path}.tidy").exists()


async def test_child_that_has_ended_costs_no_worker():
    """A job that leaves a child behind that has ended keeps its worker, which waits for the child."""
    async with engine_of() as engine:
        worker = (await run(engine, jobs.leave_dead_child)).value
        assert (await run(engine, jobs.pid)).value == worker
        assert Path(f"/proc/{worker}/task/{worker}/children").read_text() == ""


async def test_partial_value_survives_a_kill(tmp_path):
    """The last partial value of a job that is killed is in its outcome."""
    async with engine_of() as engine:
        _, result = await cancel(engine, jobs.stubborn, tmp_path / "begun", grace=0.05)
    assert dict(result.partial) == {"work": "so far"}


async def test_cleanup_in_a_job(tmp_path):
    """A cleanup block of a job that was cancelled has the grace period, and the worker stays warm."""
    async with engine_of() as engine:
        worker, result = await cancel(engine, jobs.shielded, tmp_path / "begun")
        assert (result.status, dict(result.partial)) == ("cancelled", {"work": "cleaned up"})
        assert (await run(engine, jobs.pid)).value == worker


async def test_cleanup_holds_the_cancel_back(tmp_path):
    """A cancel that comes inside a cleanup block is raised when the block is left."""
    path = tmp_path / "begun"
    record = Record()
    async with engine_of(sinks=[record]) as engine:
        handle = engine.start(pipeline(jobs.held_back), str(path))
        await until(path.exists)
        handle.cancel("enough")
        await until(lambda: record.of(SignalSent))
        Path(f"{path}.go").touch()
        result = await handle.wait()
    assert (result.status, dict(result.partial)) == ("cancelled", {"work": "the block was left"})


async def test_error_of_a_block_that_held_the_cancel_back_is_attached(tmp_path):
    """An error of a cleanup block that held the cancel back is told beside the cancel."""
    path = tmp_path / "begun"
    record = Record()
    async with engine_of(sinks=[record]) as engine:
        handle = engine.start(pipeline(jobs.breaks_in_cleanup), str(path))
        await until(path.exists)
        handle.cancel("enough")
        await until(lambda: record.of(SignalSent))
        Path(f"{path}.go").touch()
        result = await handle.wait()
    assert result.status == "cancelled"
    errors = [repr(error) for error in result.node("work").secondary]
    assert errors == ["ValueError('in the cleanup block')"]


async def test_cleanup_is_cut_at_hard(tmp_path):
    """A cleanup block that takes too long is cut at `hard` and reported, and the worker stays warm."""
    record = Record()
    async with engine_of(sinks=[record]) as engine:
        worker, result = await cancel(engine, jobs.overruns, tmp_path / "begun", grace=0.3)
        assert (result.status, dict(result.partial)) == ("cancelled", {"work": "after the block"})
        assert (await run(engine, jobs.pid)).value == worker
    assert [event.name for event in record.of(CleanupOverran)] == ["work"]


async def test_cleanup_before_a_cancel_is_bounded():
    """Without any cancel a cleanup block of a job is cut after `grace` and reported; the job goes on."""
    record = Record()
    async with engine_of(sinks=[record]) as engine:
        result = await run(engine, jobs.cut_before, grace=0.05)
    assert (result.status, result.value) == ("ok", "went on")
    assert [event.name for event in record.of(CleanupOverran)] == ["work"]


async def test_value_after_the_cancel_is_late(tmp_path):
    """A job that swallows the cancel and returns has a value, which is late."""
    async with engine_of() as engine:
        _, result = await cancel(engine, jobs.swallows, tmp_path / "begun")
    assert (result.status, result.value) == ("late", "kept")


async def test_error_while_unwinding_is_attached(tmp_path):
    """An error that a job raises on its way out does not turn the cancel into a failure."""
    async with engine_of() as engine:
        worker, result = await cancel(engine, jobs.breaks, tmp_path / "begun")
        assert result.status == "cancelled"
        assert [repr(e) for e in result.node("work").secondary] == ["ValueError('while unwinding')"]
        assert (await run(engine, jobs.pid)).value == worker


async def test_death_while_unwinding_is_attached(tmp_path):
    """A worker that ends by itself on its way out is told beside the cancel."""
    async with engine_of() as engine:
        _, result = await cancel(engine, jobs.exits_late, tmp_path / "begun")
    assert result.status == "cancelled"
    assert [error.exit_code for error in result.node("work").secondary] == [7]


async def test_cancel_while_waiting_for_a_worker(tmp_path):
    """A node that is cancelled while all workers are busy ends at once and starts nothing."""
    path, never = tmp_path / "begun", tmp_path / "never"
    async with engine_of() as engine:
        holder = engine.start(pipeline(jobs.sleep), str(path))
        await until(path.exists)
        result = await run(engine, jobs.sleep, str(never), timeout=0.05)
        assert (result.status, len(engine._workers.processes._workers)) == ("timed_out", 1)
        with pytest.raises(InvariantError, match="1 worker processes are taken"):
            check_full_capacity(engine)
        holder.cancel("enough")
        assert (await holder.wait()).status == "cancelled"
        assert not never.exists()
        check_full_capacity(engine)


async def test_cancel_while_a_worker_starts(tmp_path):
    """A node that is cancelled while its worker starts ends at once, and the next one takes the worker."""
    path = tmp_path / "never"
    async with engine_of() as engine:
        result = await run(engine, jobs.sleep, str(path), timeout=0.001)
        assert result.status == "timed_out"
        check_full_capacity(engine)
        assert (await run(engine, jobs.double, 1)).value == 2
        assert len(engine._workers.processes._workers) == 1
    assert not path.exists()


async def test_worker_that_does_not_start_is_given_up(monkeypatch):
    """A worker whose start hangs is killed after a while and its node fails; the next one is another."""
    async with engine_of() as engine:
        with monkeypatch.context() as patch:
            patch.setattr("graceline.work.process._START", 0.001)
            result = await run(engine, jobs.double, 1)
        assert (result.status, type(result.error)) == ("failed", WorkerDiedError)
        assert "did not start within" in str(result.error)
        assert (await run(engine, jobs.double, 1)).value == 2
        check_full_capacity(engine)


async def test_engine_closes_while_a_worker_starts():
    """Leaving the engine ends a worker that has not started yet."""
    async with engine_of() as engine:
        await run(engine, jobs.double, 1, timeout=0.001)
        pool = engine._workers.processes
    assert not pool._workers


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_explicit_cancel_works_in_every_mode(mode, tmp_path):
    """Where limits cut nothing an explicit cancel ends a job, whose cleanup is then not bounded."""
    async with engine_of(mode=mode) as engine:
        _, result = await cancel(engine, jobs.swallows, tmp_path / "begun", timeout=0.001)
    assert result.value == "kept"


async def test_job_that_raises_the_cancel_itself_fails(tmp_path):
    """A job that raises the cancel, and that nobody has cancelled, is run once and fails."""
    path = tmp_path / "runs"
    async with engine_of() as engine:
        result = await run(engine, jobs.raises_cancel, str(path), timeout=30)
    assert (result.status, path.read_text()) == ("failed", "x")
    with pytest.raises(GracelineError, match="node 'work' raised JobCancelled itself"):
        raise result.error


# -- workers that die -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "value", "exit_code", "by"),
    [
        (jobs.exits, 3, 3, None),
        (jobs.exits, 0, 0, None),
        (jobs.killed, None, None, signal.SIGKILL),
        (jobs.dies_with_a_forked_child, None, 4, None),
    ],
)
async def test_death_of_a_worker_is_told(function, value, exit_code, by):
    """A worker that ends while it works fails its node with exit code or signal; the pool goes on."""
    async with engine_of() as engine:
        worker = (await run(engine, jobs.pid)).value
        result = await run(engine, function, value)
        assert (result.status, type(result.error)) == ("failed", WorkerDiedError)
        assert (result.error.exit_code, result.error.signal) == (exit_code, by)
        assert "worker process of node 'work'" in str(result.error)
        await until(lambda: not groups.members(worker))
        assert (await run(engine, jobs.double, 1)).value == 2
        check_full_capacity(engine)


async def test_death_that_cannot_be_explained_says_why(monkeypatch):
    """In a program that ignores SIGCHLD nobody knows the exit code, and the error says so."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        async with engine_of() as engine:
            result = await run(engine, jobs.exits, 3)
            assert (result.status, result.error.exit_code) == ("failed", None)
            assert "not known, since this program ignores SIGCHLD" in str(result.error)
            assert (await run(engine, jobs.double, 1)).value == 2
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_answer_that_is_none_is_an_error_of_the_job(monkeypatch):
    """What trio-parallel raises for another reason than a death fails the node, and is no death."""
    monkeypatch.setattr("graceline.work.process.perform", jobs.raises)
    monkeypatch.setattr("graceline.work.process._order", lambda *_: ("x",))
    async with engine_of() as engine:
        result = await run(engine, jobs.double, 1)
        check_full_capacity(engine)
    assert (result.status, type(result.error)) == ("failed", GracelineError)
    assert "node 'work': its worker process sent no reply (KeyError: 'x')" in str(result.error)


async def test_full_disk_fails_the_node(monkeypatch):
    """Without room for what a worker shares with the engine the node fails with an error that says so."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    async with engine_of() as engine:
        with monkeypatch.context() as patch:
            patch.setattr("graceline.work.channel._reserve", full)
            result = await run(engine, jobs.double, 1)
        assert result.status == "failed"
        with pytest.raises(GracelineError, match=r"node 'work': no worker process can.* No space"):
            raise result.error
        check_full_capacity(engine)
        assert (await run(engine, jobs.double, 1)).value == 2


def numbers():
    """The descriptors of this process."""
    return {int(file.name) for file in Path("/proc/self/fd").iterdir()}


# With more than five, the start of multiprocessing itself fails half way and keeps its pipes a while.
@pytest.mark.parametrize("left", range(6))
async def test_start_without_descriptors_keeps_none(left):
    """A worker that cannot be started since descriptors have run out fails its node and keeps none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with engine_of() as engine:
        await run(engine, jobs.exits, 1)  # what is started once is there, and no worker
        await until(lambda: not engine._workers.processes._workers)
        gc.collect()
        before = numbers()
        free = max(before) + 1
        taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(free)]
        for file in taken[:]:
            if file >= free:
                os.close(file)
                taken.remove(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + left, hard))
        try:
            result = await run(engine, jobs.double, 1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for file in taken:
                os.close(file)
        assert result.status == "failed"
        assert "Too many open files" in str(result.error)
        # A thread of Trio's may have held the failed start a moment longer than the engine.
        await until(lambda: gc.collect() >= 0 and numbers() == before)
        assert (await run(engine, jobs.double, 1)).value == 2


async def test_partial_value_survives_a_crash():
    """The last partial value of a job whose worker ends is in its outcome."""
    async with engine_of() as engine:
        result = await run(engine, jobs.exits, 1)
    assert dict(result.partial) == {"work": "before the end"}


async def test_idle_worker_that_dies_is_replaced():
    """A worker that is killed between two jobs fails nobody: the next job gets another one."""
    async with engine_of() as engine:
        worker = (await run(engine, jobs.pid)).value
        os.kill(worker, signal.SIGKILL)
        await until(lambda: not alive(worker))
        assert alive((await run(engine, jobs.pid)).value)
        assert next(engine._workers.processes._numbers) == 3  # the dead one was sent nothing


async def test_worker_that_dies_before_it_gets_the_job_is_replaced(monkeypatch):
    """A worker that ends just when a job is sent fails nobody either: the job was not begun."""
    async with engine_of() as engine:
        worker = (await run(engine, jobs.pid)).value
        monkeypatch.setattr(groups, "has_exited", lambda _: False)
        os.kill(worker, signal.SIGKILL)
        await until(lambda: not alive(worker))
        assert alive((await run(engine, jobs.pid)).value)


async def test_signal_between_jobs_is_ignored():
    """SIGTERM to a worker that waits for a job neither ends it nor reaches the next job."""
    async with engine_of() as engine:
        worker = (await run(engine, jobs.pid)).value
        os.kill(worker, signal.SIGTERM)
        assert (await run(engine, jobs.pid)).value == worker


# -- whole programs -------------------------------------------------------------------------------


def program(tmp_path, text):
    """A program that uses an engine, in a file of its own."""
    file = tmp_path / "program.py"
    head = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    file.write_text(head + textwrap.dedent(text))
    return [sys.executable, str(file)]


async def test_workers_end_with_the_engine_that_is_killed(tmp_path):
    """`kill -9` of the engine's process leaves neither busy nor idle workers behind."""
    text = """
    import os, trio, process_jobs as jobs
    from graceline import *

    async def main():
        busy = Pipeline("busy", [Node(jobs.family, runs_on="process")], timeout=600)
        idle = Pipeline("idle", [Node(jobs.pid, runs_on="process")], timeout=600)
        async with open_engine(max_processes=2) as engine:
            engine.start(busy, sys.argv[1])
            print((await engine.run(idle)).value, flush=True)
            await trio.sleep_forever()

    if __name__ == "__main__":
        trio.run(main)
    """
    path = tmp_path / "begun"
    argv = [*program(tmp_path, text), str(path)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)  # noqa: S603 - our own program
    try:
        idle = int(await trio.to_thread.run_sync(process.stdout.readline))
        await until(path.exists)
        busy = int(path.read_text())
        assert alive(idle)
        assert len(groups.members(busy)) >= 1
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    await until(lambda: not groups.members(idle) and not groups.members(busy))


async def test_main_module_without_a_guard_is_explained(tmp_path):
    """A program that starts its engine on import gets an error that says what is missing."""
    text = """
    import trio, process_jobs as jobs
    from graceline import *

    async def main():
        async with open_engine() as engine:
            result = await engine.run(
                Pipeline("p", [Node(jobs.double, runs_on="process")], timeout=60), 1
            )
            print(type(result.error).__name__, result.error.__notes__)

    trio.run(main)
    """
    done = await trio.run_process(
        program(tmp_path, text), capture_stdout=True, capture_stderr=True, check=False
    )
    assert b"WorkerDiedError" in done.stdout
    assert b"__main__" in done.stdout


def belongings():
    """What this process holds: children, threads besides Trio's own, and what its descriptors are."""
    gc.collect()  # a kill leaves a cycle of trio-parallel's own, with pipes in it
    held = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has ended meanwhile
            held |= set((task / "children").read_text().split())
    threads = {thread.name for thread in threading.enumerate() if "Trio" not in thread.name}
    files = Counter()
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the list itself
            files[str(file.readlink()).split(":")[0]] += 1
    return held, threads, files


async def test_many_runs_leak_nothing(tmp_path, monkeypatch):
    """200 mixed runs leave no descriptor, process, thread, worker or file behind."""
    boards = tmp_path / "boards"
    boards.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(boards))

    async def one(engine, number):
        path = tmp_path / str(number)
        match number % 10:
            case 0:
                await run(engine, jobs.exits, 1)
            case 1:
                await cancel(engine, jobs.stubborn, path, grace=0.01)
            case 2:
                await run(engine, jobs.leave_child)
            case 3 | 4:
                await cancel(engine, jobs.shielded, path)
            case 5:
                await run(engine, jobs.double, 1, timeout=0.001)
            case 6:
                await run(engine, jobs.raises, 1)
            case _:
                await run(engine, jobs.double, number)

    async def round_of(count):
        async with engine_of(2) as engine, trio.open_nursery() as nursery:
            limiter = trio.CapacityLimiter(4)

            async def limited(number):
                async with limiter:
                    await one(engine, number)

            for number in range(count):
                nursery.start_soon(limited, number)

    await round_of(10)  # what is started once per process, such as multiprocessing's tracker
    before = belongings()
    for file in tmp_path.glob("[0-9]*"):
        file.unlink()
    await round_of(200)
    with trio.move_on_after(60):
        while belongings() != before:  # Trio's threads may still hold what they were given
            await trio.sleep(0.01)
    assert belongings() == before
    assert list(boards.iterdir()) == []


async def test_stages_of_processes_run_side_by_side(tmp_path):
    """Two functions of a stage are in their processes at the same time."""
    first, second = tmp_path / "first", tmp_path / "second"
    nodes = parallel(
        Node(lambda _: jobs.sleep(str(first)), name="a", runs_on="process"),
        Node(lambda _: jobs.sleep(str(second)), name="b", runs_on="process"),
    )
    async with engine_of(2) as engine:
        handle = engine.start(Pipeline("p", nodes))
        await until(lambda: first.exists() and second.exists())
        handle.cancel("enough")
        assert (await handle.wait()).status == "cancelled"


async def test_attempts_of_a_job():
    """A job knows the number of its attempt, and what an attempt saved is the node's partial value."""
    async with engine_of() as engine:
        retry = Retry(attempts=2, backoff=0)
        result = await run(engine, jobs.never_succeeds, retry=retry)
    node = result.node("work")
    assert (node.status, node.attempts, node.partial) == ("failed", 2, 2)


async def test_a_job_knows_that_it_is_the_second_copy():
    """`current().hedge` is right in a worker process; the worker of the copy that lost is ended."""
    async with open_engine(max_processes=2) as engine:
        hedge = Hedge(delay=0.05, max_extra=1, loser_grace=0)
        node = Node(jobs.copies, runs_on="process", idempotent=True, hedge=hedge, timeout=60)
        result = await engine.run(Pipeline("p", [node], timeout=60))
    assert (result.status, result.value) == ("ok", (1, True))
