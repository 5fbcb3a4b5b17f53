"""The driver's end of a worker: a process that answers lines of JSON, each within a limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from tempfile import TemporaryFile
from typing import IO, Any

import trio

from benchmarks.peers.environments import Contestant

__all__ = ["NoAnswerError", "Worker", "open_worker"]


class NoAnswerError(Exception):
    """A worker said nothing in time, died, or could not do what it was asked."""


class Worker:
    """A worker that runs."""

    def __init__(self, process: trio.Process, log: IO[bytes]) -> None:
        self._process = process
        self._log = log
        self._read = b""

    async def ask(self, within: float, **request: Any) -> dict[str, Any]:
        """Send a request, and wait for its answer.

        Raises:
            NoAnswerError: if there is none; the worker is of no use after that, unless it refused.
        """
        stdin = self._process.stdin
        assert stdin is not None
        with trio.move_on_after(within) as scope, suppress(trio.BrokenResourceError):
            await stdin.send_all(json.dumps(request).encode() + b"\n")
            line = await self._line()
            if line:
                return self._answer(line)
        if scope.cancelled_caught:
            raise NoAnswerError(f"no answer within {within:g} s")
        status = await self._process.wait()
        raise NoAnswerError(f"its process ended with status {status}{self._last_words()}")

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise NoAnswerError(f"its answer is no JSON: {line[:80]!r}") from None
        if "error" in answer:
            raise NoAnswerError(answer["error"])
        return answer

    async def _line(self) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        while b"\n" not in self._read:
            more = await stdout.receive_some()
            if not more:
                return b""
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f": {said[-1][:200]}" if said else ""


@asynccontextmanager
async def open_worker(contestant: Contestant) -> AsyncIterator[Worker]:
    """Start the worker of a contestant; it ends with the block, and all that it has started too.

    Raises:
        NoAnswerError: if it cannot be started.
    """
    with TemporaryFile() as log:
        try:
            process = await trio.lowlevel.open_process(
                list(contestant.argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env=contestant.env, cwd=contestant.home, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise NoAnswerError(f"could not be started: {error.strerror}") from None
        try:
            yield Worker(process, log)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with trio.CancelScope(shield=True):
                    await pipe.aclose()
