"""Cleanup: what a file wants to be run when a step has ended, as a handler of its node.

The engine shields a handler, and cuts it at the end of the grace period.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import trio

from graceline.definitions import Command
from graceline.dialects.tools import understand
from graceline.dialects.yaml.bodies import PlainCall, ToolSource, work_of
from graceline.dialects.yaml.running import Runs
from graceline.dialects.yaml.schema import BodyKeys
from graceline.engine.site import current_guard, current_site
from graceline.work.program import bind_command

__all__ = ["cleanup_of"]


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
        return _Program(work)
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
    """A program, run and ended as that of a step; its end is that of the handler."""

    command: Command

    async def __call__(self, _: Any) -> Any:
        return await bind_command(self.command, current_site, current_guard())(None)
