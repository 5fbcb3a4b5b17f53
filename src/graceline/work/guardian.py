"""The program of the guard: it waits for the end of the engine's process, and kills what is left.

It is run by its path, in a bare interpreter: it imports nothing of the package, so that it starts
soon and stays small. The numbers of the process groups stand in a table in memory that both share.
Nobody has to tell the guard anything, and it sleeps until the engine's process has ended.

It learns that from a pipe whose other end only the engine has. That is not enough to go by: a
process that the engine's program has forked may hold the pipe for as long as it likes. So it also
gets a pidfd of the engine's process; where there is none, it looks now and then whether its parent
is still the same.
"""

from __future__ import annotations

import os
import select
import signal
import sys

__all__ = ["kill", "left", "main", "watch"]

_LOOK = 200
"""Milliseconds between two looks at the parent, where there is no pidfd."""


def watch(pipe: int, engine: int, parent: int) -> None:
    """Wait until the engine's process has ended.

    Args:
        pipe: the reading end of a pipe that the engine never writes to.
        engine: a pidfd of the engine's process, or -1.
        parent: the engine's process id.
    """
    poll = select.poll()
    poll.register(pipe, 0)  # the end of a pipe is told of unasked
    if engine >= 0:
        poll.register(engine, select.POLLIN)
    while os.getppid() == parent and not poll.poll(None if engine >= 0 else _LOOK):
        pass


def left(table: int) -> list[int]:
    """The process groups that stand in the table."""
    size = os.fstat(table).st_size
    return [group for group in memoryview(os.pread(table, size, 0)).cast("i") if group > 0]


def kill(leaders: list[int]) -> None:
    """Kill the groups of these leaders, and the other groups of the sessions that they lead."""
    found = set(leaders)
    for _ in range(2):  # somebody may have started another group while the others were killed
        found |= _others(leaders)
        for group in found:
            try:
                os.killpg(group, signal.SIGKILL)
            except OSError:  # it has ended by itself, or is not ours to kill
                continue
        found.clear()  # from now on the number of a group may be another's


def _others(leaders: list[int]) -> set[int]:
    """The groups of those who are in the sessions of these leaders, where the system tells."""
    groups = set()
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH112, PTH208 - it would have to be imported
        if entry.isdecimal():
            try:
                if os.getsid(int(entry)) in leaders:
                    groups.add(os.getpgid(int(entry)))
            except OSError:  # it has ended meanwhile
                continue
    return groups


def main() -> None:
    """Outlive the engine's process, whatever is sent to everybody, and kill what it left."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    table, engine, parent = map(int, sys.argv[1:])
    watch(0, engine, parent)
    kill(left(table))


if __name__ == "__main__":
    main()
