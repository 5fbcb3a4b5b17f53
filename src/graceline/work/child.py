"""A child program that runs: its group, its pipes, and what it has written.

One task does everything for it: it waits for whichever of its descriptors is ready, the end of the
program among them. So there is one place where a cancel can arrive, and no other task to end.

A program starts behind a *gate*. What is started first is a shell that waits for a line on its
standard input and then becomes the program. The line is written after the guard was told of the
group; if this process dies before, the shell reads the end of the file, and ends. So there is no
program of which the guard does not know.

The shell goes by a name that nobody can guess. If it cannot become the program it says so under
this name, which tells its complaint from whatever a program may write.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from math import inf
from typing import IO, cast

import trio

from graceline.saying import say
from graceline.work import groups
from graceline.work.guard import Guard
from graceline.work.output import Kept

__all__ = ["Child"]

_log = logging.getLogger("graceline.work")

_CHUNK = 1 << 16
_REST = 64
"""Pieces that are read after everybody has ended: a stranger may hold the pipe, and write on."""
_LOOK = 0.02
"""Seconds between two looks at the program where the system has no pidfd."""
_LAST = 1.0
"""Seconds for the kernel to end a killed process, where the wait must be bounded: outside of the
event loop, and for a process of another user, which nobody here can kill."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OWN = frozenset({"BASHOPTS", "EUID", "IFS", "OPTIND", "PPID", "SHELLOPTS", "UID"})
"""Variables that a shell has for itself: it would not hand them on as they are."""
_WHERE = re.compile(r"(?:line )?[0-9]+: (?:exec: )?")
"""Where in its line the shell found the error, which is of no interest."""

_left: list[subprocess.Popen[bytes]] = []
"""Programs that could not be killed; they are waited for when they have ended."""


class Child:
    """A child program, the leader of a session and a process group of its own.

    Args:
        argv: the program and its arguments.
        env: its whole environment.
        cwd: the directory in which it runs.
        stdin: what it can read; None for an empty input.
        max_output: bytes that are kept of each stream.
        guard: told of the group before the program runs.
        received: called with the stream's name and a text, as the text comes.

    Attributes:
        pid: its process id, which is the number of its group too.
        exited: whether the program itself has ended.
        gone: whether everybody was seen to have ended.
        returncode: as of `subprocess`; None before `end`, and if nobody can tell.
        stdout: what it wrote to its standard output.
        stderr: what it wrote to its standard error.
        refusal: why the shell could not become the program; empty if it could.

    Raises:
        OSError: if it could not be started; nothing is left of it then.
        ValueError: for an argument that cannot be encoded.
    """

    def __init__(
        self,
        argv: tuple[str, ...],
        *,
        env: Mapping[str, str],
        cwd: str | os.PathLike[str] | None,
        stdin: bytes | None,
        max_output: int,
        guard: Guard,
        received: Callable[[str, str], None],
    ) -> None:
        self.exited: bool = False
        self.gone: bool = False
        self.returncode: int | None = None
        self.stdout: Kept = Kept(max_output)
        self.stderr: Kept = Kept(max_output)
        self._complaint: bytes | None = None
        self._guard = guard
        self._guarded: int | None = None
        self._received = received
        self._ended = False
        self._killed = False
        self._wide = False
        self._writers = 0
        self._pidfd: int | None = None
        self._selector = selectors.DefaultSelector()
        try:
            self._process, self._word = _start(argv, env, cwd, stdin, guard)
        except BaseException:
            self._selector.close()
            raise
        self.pid: int = self._process.pid
        try:
            self._watch(stdin)
        except BaseException:
            self.close()
            raise

    @property
    def refusal(self) -> str:
        """Why the shell could not become the program; empty if it could."""
        text = (self._complaint or b"").decode("utf-8", "replace")
        line = text.removeprefix(f"{self._word}: ").split("\n")[0]
        return _WHERE.sub("", line, count=1)

    async def turn(self) -> None:
        """Wait for what comes next, and take it in."""
        with trio.move_on_after(_LOOK if self._pidfd is None else inf):
            await trio.lowlevel.wait_readable(self._selector)
        self.collect()

    def collect(self) -> bool:
        """Take in what is there, a piece of each stream; returns whether anything was."""
        found = self._selector.select(0)
        for key, _ in found:
            key.data()
        if self._pidfd is None and not self.exited:
            self.exited = groups.has_exited(self.pid)
        return bool(found)

    async def until_exited(self) -> None:
        """Until the program itself has ended."""
        while not self.exited:
            await self.turn()

    async def until_eof(self, patience: float) -> None:
        """Until nobody can write any more, `patience` seconds at most."""
        with trio.move_on_after(patience):
            while self._writers:
                await self.turn()

    async def until_gone(self) -> None:
        """Until everybody in its group has ended; after `stop`, everybody in its session."""
        await self.until_exited()
        await self._until_alone()
        self.gone = True

    def stop(self) -> None:
        """Ask everybody in its session to end."""
        self._wide = True
        groups.send_session(self.pid, signal.SIGTERM)

    async def end(self) -> None:
        """Kill what is left, wait for the end of that, and read the rest.

        What is left is its group. After `stop`, and while somebody holds the pipes, it is worth the
        search for other groups of its session. A program that has become another user's is left
        alone: then `exited` and `gone` stay false.
        """
        self._wide = self._wide or self._writers > 0
        self._kill()
        while not await self._exits(_LAST) and groups.may_signal(self.pid):
            self._kill()  # it was another user's when it was tried before
        if self.exited:
            self._reap()
            await self.until_gone()
        else:
            self._abandon()
            await self._until_alone()
        for _ in range(_REST):
            if not self.collect():
                break
        self._guard.discard(self.pid)
        self._ended = True

    def close(self) -> None:
        """Let go of everything. What has not ended is killed: this program is in a hurry."""
        if not self._ended:
            self._wide = True
            self._kill()
            try:
                self._process.wait(_LAST)
            except subprocess.TimeoutExpired:
                self._abandon()
            self._guard.discard(self.pid)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._selector.close()
        for descriptor in (self._pidfd, self._guarded):
            if descriptor is not None:
                os.close(descriptor)

    # -- inside -------------------------------------------------------------------------------

    def _watch(self, data: bytes | None) -> None:
        """Have the selector tell of everything that can happen."""
        watch = self._selector.register
        process = self._process
        streams = ((process.stdout, self.stdout, "stdout"), (process.stderr, self.stderr, "stderr"))
        for stream, kept, name in streams:
            pipe = cast("IO[bytes]", stream)
            os.set_blocking(pipe.fileno(), False)
            watch(pipe, selectors.EVENT_READ, partial(self._read, pipe, kept, name))
            self._writers += 1
        if data and process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            write = partial(self._write, process.stdin, _Feed(data))
            watch(process.stdin, selectors.EVENT_WRITE, write)
        elif process.stdin is not None:
            process.stdin.close()
        self._pidfd = groups.open_pidfd(self.pid)
        if self._pidfd is not None:
            watch(self._pidfd, selectors.EVENT_READ, self._exit)
        self._watch_guard()

    def _watch_guard(self) -> None:
        self._guarded = self._guard.watch()
        if self._guarded is not None:
            self._selector.register(self._guarded, selectors.EVENT_READ, self._replace_guard)

    def _replace_guard(self) -> None:
        """The guard has died: whoever of the running programs sees it first starts another."""
        guarded = cast("int", self._guarded)
        self._selector.unregister(guarded)
        os.close(guarded)
        self._guarded = None
        if self._guard.replace():
            self._watch_guard()

    def _read(self, pipe: IO[bytes], kept: Kept, name: str) -> None:
        data = os.read(pipe.fileno(), _CHUNK)
        if name == "stderr" and self._complains(data):
            return
        text = kept.feed(data)
        if text:
            self._received(name, text)
        if not data:
            self._writers -= 1
            self._leave(pipe)

    def _complains(self, data: bytes) -> bool:
        """Whether this is the shell, which could not become the program; no program's output."""
        if not data or not self._word:
            return False
        if self._complaint is None:
            if not data.startswith(self._word.encode()):
                self._word = ""  # the program has begun to write: the shell is gone
                return False
            self._complaint = b""
        self._complaint += data
        return True

    def _write(self, pipe: IO[bytes], feed: _Feed) -> None:
        try:
            feed.written += os.write(pipe.fileno(), feed.data[feed.written :][:_CHUNK])
        except BrokenPipeError:  # it does not read to the end, which is its own affair
            self._leave(pipe)
        else:
            if feed.written == len(feed.data):
                self._leave(pipe)

    def _leave(self, pipe: IO[bytes]) -> None:
        self._selector.unregister(pipe)
        pipe.close()

    def _exit(self) -> None:
        self._selector.unregister(cast("int", self._pidfd))
        self.exited = True

    async def _exits(self, patience: float) -> bool:
        """Whether the program itself ends within so many seconds."""
        with trio.move_on_after(patience):
            await self.until_exited()
        return self.exited

    async def _until_alone(self) -> None:
        """Until everybody has ended whom somebody here can end."""
        for pause in groups.looks(self.pid, session=self._wide):
            if self._killed:
                self._kill()  # somebody may have started another group meanwhile
            with trio.move_on_after(pause):
                while True:
                    await self.turn()

    def _abandon(self) -> None:
        """Let a program run on that cannot be killed, and wait for its end some other time."""
        say(
            _log, logging.WARNING, "program_left",
            "program %d could not be killed (another user's?), and runs on", self.pid, pid=self.pid,
        )  # fmt: skip
        _left.append(self._process)

    def _kill(self) -> None:
        self._killed = True
        kill = groups.send_session if self._wide else groups.send
        kill(self.pid, signal.SIGKILL)

    def _reap(self) -> None:
        try:
            status = os.waitpid(self.pid, 0)[1]
        except ChildProcessError:  # SIGCHLD is ignored here, or somebody waits for every child
            self._process.returncode = 0  # it knows no other way to say that it is done
        else:
            self.returncode = self._process.returncode = os.waitstatus_to_exitcode(status)


class _Feed:
    """What a program can read, and how much of that was written to its pipe."""

    __slots__ = ("data", "written")

    def __init__(self, data: bytes) -> None:
        self.data: memoryview = memoryview(data)
        self.written: int = 0


def _start(
    argv: tuple[str, ...],
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    stdin: bytes | None,
    guard: Guard,
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a program behind its gate, and open it; gives the name of its shell too.

    Plain and without an await, so that nothing can come in between. It takes no longer than in a
    worker thread: this process stands still while the other one begins.
    """
    for process in tuple(_left):
        if process.poll() is not None:
            with suppress(ValueError):  # another thread was faster
                _left.remove(process)
    gated = all(_PLAIN.fullmatch(name) and name not in _OWN for name in env) and _has_place()
    word = f"graceline_{secrets.token_hex(8)}" if gated else ""
    if gated:
        pwd = (env["PWD"],) if "PWD" in env else ()
        words: tuple[str, ...] = ("/bin/sh", "-c", _gate(env, stdin, word), word, *pwd, *argv)
    else:  # a shell would change what the program sees; so the guard learns of it an instant later
        words = argv
    wanted = gated or stdin is not None
    process = subprocess.Popen(  # noqa: S603 - to run programs is what it is for
        words, env=env, cwd=cwd, bufsize=0, start_new_session=True,
        stdin=subprocess.PIPE if wanted else subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    guard.add(process.pid)
    if gated:
        with suppress(BrokenPipeError):  # somebody has killed it already
            cast("IO[bytes]", process.stdin).write(b"\n")
    return process, word


def _gate(env: Mapping[str, str], stdin: bytes | None, word: str) -> str:
    """The line for the shell; a variable that it would add or correct is put back as it was."""
    restore = "PWD=$1; shift; " if "PWD" in env else "unset PWD; "
    source = " </dev/null" if stdin is None else ""
    return f'read -r {word} && {{ {restore}exec "$@"{source}; }}'


def _has_place() -> bool:
    """Whether the directory of this process still exists; a shell complains if it does not."""
    try:
        os.getcwd()  # noqa: PTH109 - asked before each start
    except OSError:
        return False
    return True
