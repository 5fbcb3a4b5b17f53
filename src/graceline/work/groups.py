"""Process groups and sessions: who is in one, how to signal it, and how to learn of its end.

A group keeps its number while anybody is in it, a process that has ended and was not waited for
included. So a leader is waited for only after its group was killed: until then the number cannot
belong to strangers.

A leader of a session may have descendants in other groups of it: a shell with job control starts
such, and so does the program `timeout`. To find them is to look at every process there is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import trio

__all__ = [
    "exited",
    "has_exited",
    "looks",
    "may_signal",
    "members",
    "open_pidfd",
    "send",
    "send_session",
]

_PROC = Path("/proc")
_PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02)
"""Seconds between two looks; the last one is repeated."""
_SHARE = 20
"""A look may take a twentieth of the time: where there are many processes, looks are rarer."""


def members(group: int, *, session: bool = False) -> tuple[int, ...]:
    """The processes of a group that have not ended; on systems without /proc the group itself.

    Those of another user do not count: nobody here can end them, so nobody may wait for that.

    Args:
        group: its number.
        session: whether to count everybody in the session of that number too.
    """
    exists = send(group, 0)
    if not exists and not session:
        return ()
    if not (_PROC / "self" / "stat").exists():
        return (group,) if exists else ()
    return tuple(pid for pid, _ in _found(group, session=session) if may_signal(pid) and _runs(pid))


def may_signal(pid: int) -> bool:
    """Whether there is such a process, and this one may send it signals."""
    try:
        os.kill(pid, 0)
    except OSError:  # there is none, or it runs as another user
        return False
    return True


def _found(group: int, *, session: bool) -> list[tuple[int, int]]:
    """The processes of a group or a session, each with its own group, ended ones included."""
    found = []
    for entry in os.listdir(_PROC):  # noqa: PTH208 - names are enough, and there are many
        if entry.isdecimal():
            pid = int(entry)
            try:  # the kernel is asked: to read what /proc says of each would take much longer
                own = os.getpgid(pid)
                if own == group or (session and os.getsid(pid) == group):
                    found.append((pid, own))
            except OSError:  # it has ended meanwhile, or nobody may ask
                continue
    return found


def _runs(pid: int) -> bool:
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:  # it has ended meanwhile
        return False
    # The name in parentheses may hold anything; behind it stands the state.
    return stat[stat.rindex(b")") + 2 :][:1] not in (b"Z", b"X")


def send(group: int, signal: int) -> bool:
    """Send a signal to every process of a group; returns whether there was one to send it to."""
    try:
        os.killpg(group, signal)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def send_session(leader: int, signal: int) -> None:
    """Send a signal to the group of a session's leader, and to every other group of the session."""
    send(leader, signal)
    if _PROC.exists():
        for other in {own for _, own in _found(leader, session=True)} - {leader}:
            send(other, signal)


def looks(group: int, *, session: bool = False) -> Iterator[float]:
    """Look whether a group has ended; gives the seconds to wait before the next look.

    Ends when every process of the group has ended; with `session` also everybody in the session of
    that number.
    """
    for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
        began = time.perf_counter()
        if not members(group, session=session):
            return
        yield max(pause, _SHARE * (time.perf_counter() - began))


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when a process ends; None where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # another system, an old kernel, a strict container
        return None


def has_exited(child: int) -> bool:
    """Whether a child process has ended; it is left to be waited for."""
    try:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # somebody else has waited for it
        return True


async def exited(child: int) -> None:
    """Wait until a child process has ended; it is left to be waited for."""
    pidfd = open_pidfd(child)
    if pidfd is not None:
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)
        return
    for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
        if has_exited(child):
            return
        await trio.sleep(pause)
