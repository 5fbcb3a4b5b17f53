"""The guard: what this process leaves behind when it is killed ends too."""

import logging
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
import trio

from graceline.work import groups, guardian
from graceline.work.guard import Guard

PATIENCE = 60
REPEATS = 30 if os.environ.get("GRACELINE_PROFILE") == "thorough" else 3

PROGRAM = """
import os, sys, time, trio
from graceline import Command, Pipeline, open_engine
from graceline.work import child

MOMENT, NAME, TEXT = sys.argv[1:]
LINE = "trap '' TERM HUP; (sleep 1000 &); timeout 1000 sleep 1001 & echo; while :; do sleep 1000; done"

def hold():
    pid = os.fork()
    if pid == 0:  # it holds all our pipes but this one, and outlives us
        os.close(1)
        time.sleep(100)
        os._exit(0)
    print("fork", pid, flush=True)

def die():
    os.kill(os.getpid(), 9)

start = child._start
def started(*args):
    process = start(*args)
    if MOMENT == "right after the start":
        die()
    return process
child._start = started

add = child.Guard.add
def added(guard, group):
    if MOMENT == "before the guard is told":
        die()
    add(guard, group)
    if MOMENT == "before the gate is opened":
        die()
child.Guard.add = added

async def main():
    async with open_engine() as engine:
        if MOMENT == "while a fork holds the pipe":
            await engine.run(Pipeline("p", [Command(["true"])]))
            hold()
        run = engine.start(Pipeline("p", [Command(LINE, env={NAME: TEXT})]))
        async for event in run.events(output=True):
            if getattr(event, "text", ""):
                print("running", flush=True)
                if MOMENT.startswith("while"):
                    die()
                if MOMENT == "by an exec":
                    os.execv("/bin/true", ["true"])

trio.run(main)
"""


async def until(condition):
    """Wait for something that another process brings about."""
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.002)


@pytest.fixture
def leader(mark):
    """Start a program as the leader of a group, without an engine."""
    started = []

    def call():
        process = subprocess.Popen(
            ["/bin/sleep", "1000"], start_new_session=True, env={**os.environ, **mark.env}
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
async def guard(mark):
    """A guard that runs."""
    guard = Guard()
    await guard.start()
    yield guard
    await guard.aclose()


@pytest.mark.parametrize(
    "moment",
    [
        "while it runs",
        "while a fork holds the pipe",
        "right after the start",
        "before the guard is told",
        "before the gate is opened",
        "by an exec",
    ],
)
def test_a_killed_engine_leaves_no_program(mark, engine_script, moment):
    """However and whenever the engine's process ends, its programs end, and so does its guard."""
    (item,) = mark.env.items()
    done = subprocess.run(  # noqa: S603 - our own program
        [*engine_script(PROGRAM), moment, *item], stdout=subprocess.PIPE, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    assert done.returncode == (0 if moment == "by an exec" else -signal.SIGKILL)
    assert (b"running" in done.stdout) == moment.startswith(("while", "by"))
    deadline = time.monotonic() + PATIENCE
    while mark.alive():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    for line in done.stdout.splitlines():
        if line.startswith(b"fork"):
            os.kill(int(line.split()[1]), signal.SIGKILL)  # it was still there


def test_an_engine_killed_at_any_moment_leaves_no_program(mark, engine_script):
    """Killed from outside at a random moment, the engine's process leaves no program."""
    (item,) = mark.env.items()
    random.seed()
    for _ in range(REPEATS):
        with subprocess.Popen(  # noqa: S603 - our own program
            [*engine_script(PROGRAM), "never", *item], stdout=subprocess.DEVNULL
        ) as process:
            time.sleep(random.uniform(0.1, 0.6))  # noqa: S311 - any moment will do
            process.kill()
        deadline = time.monotonic() + PATIENCE
        while mark.alive():
            assert time.monotonic() < deadline
            time.sleep(0.002)


async def test_start_starts_one_process(guard, nothing_more):
    """To start a guard that runs changes nothing."""
    same = nothing_more()
    await guard.start()
    guard.add(2**22 + 1)
    guard.discard(2**22 + 1)
    assert same()


async def test_a_cancelled_start_starts_nothing(mark, nothing_more):
    """A node that is cancelled starts no guard."""
    same = nothing_more()
    with trio.CancelScope() as scope:
        scope.cancel()
        await Guard().start()
    assert scope.cancelled_caught
    assert same()


async def test_closing_ends_it(mark, nothing_more):
    """A closed guard leaves neither a process nor a descriptor; one that never started is closed too."""
    same = nothing_more()
    await Guard().aclose()
    guard = Guard()
    await guard.start()
    await guard.aclose()
    assert same()


async def test_closing_kills_what_is_left(leader):
    """A group that is still registered when the engine is closed is killed."""
    guard = Guard()
    await guard.start()
    process = leader()
    guard.add(process.pid)
    await guard.aclose()
    assert process.wait(PATIENCE) == -signal.SIGKILL


async def test_a_discarded_group_is_left_alone(guard, leader):
    """What is not registered any more is not killed."""
    process = leader()
    guard.add(process.pid)
    guard.discard(process.pid)
    await guard.aclose()
    assert not groups.has_exited(process.pid)


async def test_a_lost_guard_is_replaced(guard, leader, caplog):
    """If somebody has killed it, the next one knows every live group, and a warning is logged."""
    process = leader()
    guard.add(process.pid)
    lost = guard._process
    lost.kill()
    await groups.exited(lost.pid)
    await guard.start()
    assert guard._process is not lost
    assert "the guard of child programs was lost (-9)" in caplog.text
    os.close(guard._pipe)  # for its own process that is the end of the engine's
    guard._pipe = os.open("/dev/null", os.O_WRONLY)
    with trio.fail_after(PATIENCE):
        await groups.exited(process.pid)


async def test_watch_and_replace(monkeypatch, nothing_more):
    """Whoever watches a guard learns of its end, and one that has lived for a while is replaced."""
    same = nothing_more()
    guard = Guard()
    assert guard.watch() is None
    assert not guard.replace()
    await guard.start()
    assert guard.replace()
    descriptor, lost = guard.watch(), guard._process
    lost.kill()
    with trio.fail_after(PATIENCE):
        await trio.lowlevel.wait_readable(descriptor)
    os.close(descriptor)
    monkeypatch.setattr("graceline.work.guard._LIVED", 10 * PATIENCE)
    assert not guard.replace()  # it died at once: another one might do so too
    monkeypatch.setattr("graceline.work.guard._LIVED", 0)
    assert guard.replace()
    assert guard._process is not lost
    await guard.aclose()
    assert same()


async def test_a_watch_without_a_descriptor(guard, monkeypatch):
    """Where there is no descriptor left, nobody watches."""

    def refuse(_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "dup", refuse)
    assert guard.watch() is None


async def test_numbers_have_a_place_each(guard, monkeypatch):
    """Places are used again; more groups than there are places do no harm."""
    monkeypatch.setattr("graceline.work.guard._SLOTS", 3)
    base = 2**22
    for number in range(1, 6):
        guard.add(base + number)
    guard.discard(base + 2)
    guard.discard(base + 5)
    guard.discard(base + 77)
    assert set(guardian.left(guard._table.descriptor)) == {base + 1, base + 3}
    guard.add(base + 6)
    guard.add(base + 7)
    assert set(guardian.left(guard._table.descriptor)) == {base + 1, base + 3, base + 7}


async def test_systems_without_shared_memory(mark, monkeypatch, nothing_more):
    """Where there is no such thing as nameless memory, the table is a nameless file."""
    same = nothing_more()
    monkeypatch.delattr(os, "memfd_create")
    guard = Guard()
    guard.add(2**22 + 1)  # before the start: it is written down then
    await guard.start()
    assert guardian.left(guard._table.descriptor) == [2**22 + 1]
    await guard.aclose()
    assert same()


async def test_it_is_not_ended_by_what_ends_everybody(guard):
    """SIGTERM, SIGINT and SIGHUP to all processes of a service do not end the guard before it."""
    process = guard._process
    settled = f"/proc/{process.pid}/status"

    def ignoring():
        with open(settled) as file:  # noqa: PTH123 - a line of /proc
            bits = int(next(line for line in file if line.startswith("SigIgn")).split()[1], 16)
        return all(bits >> (number - 1) & 1 for number in (1, 2, 15))

    await until(ignoring)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        process.send_signal(number)
    await trio.sleep(0.02)
    assert process.poll() is None


@pytest.mark.parametrize("lack", ["interpreter", "memory"])
async def test_where_no_guard_can_be_started_work_goes_on(
    mark, monkeypatch, caplog, nothing_more, lack
):
    """Without what it needs there is no guard, and a warning says what that means."""

    def refuse(*_):
        raise OSError(12, "Cannot allocate memory")

    if lack == "interpreter":
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
    else:
        monkeypatch.setattr(os, "ftruncate", refuse)
    same = nothing_more()
    guard = Guard()
    await guard.start()
    guard.add(2**22 + 1)
    guard.discard(2**22 + 1)
    await guard.aclose()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "no guard could be started" in caplog.text
    assert same()


# -- its own program --------------------------------------------------------------------------


@pytest.fixture
def pipe():
    """A pipe, and how to close its writing end."""
    reading, writing = os.pipe()
    ends = {reading, writing}
    yield reading, lambda: (os.close(writing), ends.remove(writing))
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("pidfd", [True, False])
def test_the_end_of_the_pipe_is_the_end_of_the_engine(pipe, pidfd):
    """The guard sleeps until nobody holds the other end of its pipe."""
    reading, close = pipe
    engine = os.pidfd_open(os.getpid()) if pidfd else -1
    thread = threading.Timer(0.3, close)
    thread.start()
    guardian.watch(reading, engine, os.getppid())
    thread.join()
    assert select.select([reading], [], [], 0)[0]
    if pidfd:
        os.close(engine)


def test_the_end_of_the_engine_is_seen_though_the_pipe_is_open(pipe):
    """A pidfd tells of the engine's end, whoever else holds the pipe."""
    process = subprocess.Popen(["/bin/true"])
    engine = os.pidfd_open(process.pid)
    guardian.watch(pipe[0], engine, os.getppid())
    assert groups.has_exited(process.pid)
    os.close(engine)
    process.wait()


def test_a_new_parent_is_the_end_of_the_engine(pipe):
    """Where there is no pidfd, the guard looks whether its parent is still the engine."""
    guardian.watch(pipe[0], -1, os.getppid() + 1)


async def test_main_kills_what_was_left(guard, leader, monkeypatch):
    """The program kills the groups that exist, and minds those that do not as little."""
    process = leader()
    guard.add(2**22 + 1)
    guard.add(process.pid)
    monkeypatch.setattr(guardian.signal, "signal", lambda *_: None)
    words = ["guardian", str(guard._table.descriptor), "-1", str(os.getppid() + 1)]
    monkeypatch.setattr(sys, "argv", words)
    guardian.main()
    assert process.wait(PATIENCE) == -signal.SIGKILL
