"""Cleanup: what a file wants to be run when a step has ended, as a handler of its node.

The engine shields a handler, and cuts it at the end of the grace period.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import trio

from graceline.definitions import Command
from graceline.dialects.tools import understand
from graceline.dialects.yaml.bodies import PlainCall, ToolSource, work_of
from graceline.dialects.yaml.running import Runs
from graceline.dialects.yaml.schema import BodyKeys
from graceline.errors import CommandFailedError

__all__ = ["cleanup_of"]

_SHOWN = 200
"""Characters of the last words of a program in a message."""


def cleanup_of(
    body: BodyKeys, name: str, runs: Runs, tools: ToolSource, root: Path | None
) -> Callable[[Any], Awaitable[Any]]:
    """What is run when a step has ended, as a handler of its node.

    Args:
        body: what the file says.
        name: the id of the step.
        runs: gives the scope of its templates.
        tools: where its tool is found.
        root: the directory of programs.

    Raises:
        GracelineError: if there is no such tool.
        CallError: if that does not take what it is given.
    """
    work = work_of(body, name, runs, tools, root, None)
    if isinstance(work, Command):
        return _Program(name, work)
    return _InThread(work) if isinstance(work, PlainCall) else work


@attrs.frozen(eq=False)
class _InThread:
    """A plain function; if it still runs when its time is over it is left to itself."""

    call: PlainCall

    async def __call__(self, _: Any) -> Any:
        parameters = self.call.rendered(None)
        inner = self.call.inner
        return understand(await trio.to_thread.run_sync(inner, parameters, abandon_on_cancel=True))


@attrs.frozen(eq=False)
class _Program:
    """A program; it is killed, with its group, when its time is over."""

    name: str
    command: Command

    async def __call__(self, _: Any) -> None:
        argv = self.command.resolve(None)
        changes, cwd = self.command.surroundings(None)
        env = {**os.environ, **changes}
        where = f"cleanup of {self.name!r}"
        try:
            done = await trio.run_process(
                list(argv),
                env={name: text for name, text in env.items() if text is not None},
                cwd=cwd,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                start_new_session=True,
                deliver_cancel=_kill,
            )
        except OSError as error:
            raise CommandFailedError(f"{where}: {argv[0]!r} did not start: {error}") from error
        if done.returncode:
            words = done.stderr.decode("utf-8", "replace").strip()[-_SHOWN:]
            said = f"; its last words: {words!r}" if words else ""
            raise CommandFailedError(f"{where}: {argv[0]!r} exited with {done.returncode}{said}")


async def _kill(process: trio.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
