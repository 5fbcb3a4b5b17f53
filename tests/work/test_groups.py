"""Process groups: who is in one, and how its end is learnt."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import trio

from graceline.work import groups

PATIENCE = 60


@pytest.fixture
def start(mark):
    """Start a line for the shell as the leader of a group, and wait until it says that it runs."""
    started = []

    def call(line):
        process = subprocess.Popen(  # noqa: S603 - our own line
            ["/bin/sh", "-c", line],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **mark.env},
        )
        process.stdout.readline()
        process.stdout.close()
        started.append(process)
        return process

    yield call
    for process in started:
        groups.send(process.pid, signal.SIGKILL)
        while groups.members(process.pid):
            time.sleep(0.001)
        process.wait()


async def test_members_are_those_that_run(start):
    """A group has its leader and its descendants in it, but nobody who has ended."""
    process = start("sleep 1000 & sleep 1000 & echo $!; exec sleep 1000")
    assert process.pid in groups.members(process.pid)
    assert len(groups.members(process.pid)) == 3
    process.kill()
    with trio.fail_after(PATIENCE):
        await groups.exited(process.pid)
    assert len(groups.members(process.pid)) == 2
    assert process.pid not in groups.members(process.pid)


async def test_a_session_has_other_groups(start):
    """What `timeout` runs is in the session of its leader, and not in the leader's group."""
    process = start("timeout 1000 sh -c 'echo; exec sleep 1000' & exec sleep 1000")
    assert groups.members(process.pid) == (process.pid,)
    assert len(groups.members(process.pid, session=True)) == 3
    groups.send_session(process.pid, signal.SIGKILL)
    with trio.fail_after(PATIENCE):
        for pause in groups.looks(process.pid, session=True):
            await trio.sleep(pause)


async def test_who_may_not_be_signalled_does_not_count(start, monkeypatch):
    """A process of another user's is nobody's to wait for."""
    process = start("echo; exec sleep 1000")
    kill = os.kill

    def refuse(pid, signal):
        if pid == process.pid:
            raise PermissionError
        kill(pid, signal)

    monkeypatch.setattr(os, "kill", refuse)
    assert not groups.may_signal(process.pid)
    assert groups.members(process.pid) == groups.members(process.pid, session=True) == ()
    monkeypatch.undo()
    assert groups.may_signal(process.pid)


def test_a_group_that_does_not_exist():
    """Nobody is in it, and nobody gets a signal."""
    assert groups.members(2**22 + 1) == ()
    assert not groups.send(2**22 + 1, signal.SIGTERM)


async def test_looks_end_with_the_last_member(start):
    """Looks go on while anybody is in the group, and end when the last member has ended."""
    process = start("(echo; exec sleep 1000) & exec sleep 1000")
    looks = groups.looks(process.pid)
    assert next(looks) > 0
    groups.send(process.pid, signal.SIGKILL)
    with trio.fail_after(PATIENCE):
        for pause in looks:
            await trio.sleep(pause)
    assert groups.members(process.pid) == ()


def test_looks_are_rarer_where_they_are_dear(start, monkeypatch):
    """A look takes no more than a twentieth of the time, and there are at least 50 looks a second."""
    process = start("echo; exec sleep 1000")
    times = iter([0.0, 0.00001, 1.0, 1.5])
    monkeypatch.setattr(groups.time, "perf_counter", lambda: next(times))
    looks = groups.looks(process.pid)
    assert next(looks) == 0.001
    assert next(looks) == pytest.approx(10)


@pytest.mark.parametrize("pidfd", [True, False])
async def test_exited_leaves_the_child_to_be_waited_for(start, monkeypatch, pidfd):
    """The end of a child is learnt without taking its exit code from whoever waits for it."""
    if not pidfd:
        monkeypatch.setattr(groups, "open_pidfd", lambda _: None)
    process = start("echo; sleep 0.05; exit 7")
    assert not groups.has_exited(process.pid)
    with trio.fail_after(PATIENCE):
        await groups.exited(process.pid)
    assert groups.has_exited(process.pid)
    assert process.wait() == 7
    assert groups.has_exited(process.pid)  # nobody can tell any more; it has certainly ended


async def test_a_cancelled_wait_leaves_no_descriptor(start, nothing_more):
    """A wait that is cancelled closes what it has opened."""
    process = start("echo; exec sleep 1000")
    same = nothing_more()
    with trio.move_on_after(0.01):
        await groups.exited(process.pid)
    assert same()


def test_systems_without_pidfd(monkeypatch):
    """Where the system has no pidfd, or does not give one, there is none."""
    with monkeypatch.context() as patch:
        patch.delattr(os, "pidfd_open")
        assert groups.open_pidfd(os.getpid()) is None
    assert groups.open_pidfd(2**22 + 1) is None


def test_systems_without_proc(start, monkeypatch, tmp_path):
    """Where there is no /proc, a group stands for itself as long as it exists."""
    monkeypatch.setattr(groups, "_PROC", tmp_path)
    process = start("echo; exec sleep 1000")
    assert groups.members(process.pid) == (process.pid,)
    process.kill()
    process.wait()
    assert groups.members(process.pid) == ()


@pytest.mark.parametrize("gone", ["getpgid", "read_bytes"])
def test_who_ends_during_a_look_is_not_there(start, monkeypatch, gone):
    """A process that has ended since it was listed is passed over."""
    process = start("echo; exec sleep 1000")

    def vanish(*_):
        raise ProcessLookupError

    monkeypatch.setattr(*((os, gone) if gone == "getpgid" else (Path, gone)), vanish)
    assert groups.members(process.pid) == ()
    monkeypatch.undo()
    assert groups.members(process.pid) == (process.pid,)
