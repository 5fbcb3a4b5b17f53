"""The register: the runs of one engine that are queued or running, by their ids."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

import trio

from graceline.deadlines import Kind
from graceline.definitions.checks import check_name
from graceline.engine.calls import runs_around
from graceline.errors import GracelineError

if TYPE_CHECKING:
    from graceline.engine.state import RunState

__all__ = ["Register"]


class Register:
    """What is alive in one engine.

    Attributes:
        runs: by their ids, in order of submission; other threads may copy it.
    """

    def __init__(self) -> None:
        self.runs: dict[str, RunState] = {}
        self._prefix = os.urandom(4).hex()
        self._numbers = count(1)
        self._idle: trio.Event | None = None

    def id_for(self, wanted: str | None) -> str:
        """The id of a new run: the one that is wanted, else a fresh one.

        Raises:
            DefinitionError: for what cannot be an id.
            GracelineError: if a live run has it.
        """
        if wanted is not None:
            check_name(wanted, "run_id=")
            if wanted in self.runs:
                raise GracelineError(f"a run with the id {wanted!r} is live; ids must be unique")
            return wanted
        name = f"{self._prefix}-{next(self._numbers)}"
        return self.id_for(None) if name in self.runs else name

    def forget(self, run: RunState) -> None:
        """The run has ended; called again, it changes nothing."""
        if self.runs.get(run.run_id) is not run:
            return
        del self.runs[run.run_id]
        if self._idle is not None:
            self._idle.set()
            self._idle = None

    async def wait_idle(self) -> None:
        """Wait until no run is left, but for those around the caller."""
        await trio.lowlevel.checkpoint()
        around = runs_around()
        while any(run not in around for run in self.runs.values()):
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    def cancel_all(self, reason: str) -> int:
        """Cancel every run but those around the caller as `shutdown`; returns how many it were."""
        around = runs_around()
        left = [run for run in self.runs.values() if run not in around]
        for run in left:
            run.cancel(Kind.SHUTDOWN, reason, force_after=None)
        return len(left)
