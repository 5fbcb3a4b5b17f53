"""The recorder of one run of a suite: keeps its journal, and knows what is to be skipped.

Beginnings and ends come as events. A command's outcome, with all it wrote, comes through a handler
of its node: a plain function, which writes before it returns, so that the end of the grace period
cannot cut it, and nothing else of the run goes on before the line is on the disk.
"""

from __future__ import annotations

import re
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from graceline.bench.common import reason, runner, wall_clock, without_values
from graceline.bench.journal import Journal
from graceline.bench.ledger import Ledger, facts_of
from graceline.bench.suite import armed
from graceline.documents import to_document
from graceline.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from graceline.bench.suite import Suite
    from graceline.definitions import Pipeline
    from graceline.results import NodeOutcome, PipelineResult
    from graceline.telemetry.events import Event

__all__ = ["FORMAT", "Recorder", "event_name"]

FORMAT = 1
"""The number of the journal's form; another one means that older versions cannot read it."""


def event_name(kind: type[Event]) -> str:
    """The name of a kind of event in the journal: `NodeStarted` -> `node_started`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


class Recorder:
    """A sink for the engine that runs the suite.

    Args:
        suite: what is run.
        folder: the directory of results.
        timeout: seconds that are given with the call, instead of the suite's own limit.
        force: replace a journal that is there.

    Attributes:
        pipeline: what to run.

    Raises:
        GracelineError: if there is a journal already, or it cannot be written.
    """

    inline = True

    def __init__(
        self, suite: Suite, folder: Path, *, timeout: float | None = None, force: bool = False
    ) -> None:
        facts = facts_of(suite)
        self._ledger = Ledger(facts)
        self._written: set[tuple[str, str]] = set()
        self.pipeline: Pipeline = armed(suite, wanted=self._wanted, ended=self._handler)
        self._journal = Journal(folder, force=force)
        self._journal.write(
            {
                "event": "suite_begun",
                "format": FORMAT,
                "at": wall_clock(),
                "timeout": None if timeout == inf else timeout,
                "runner": runner(),
                "suite": to_document(facts),
            }
        )

    def wants_trace(self) -> bool:
        """It does: every beginning and every end is written down."""
        return True

    def __call__(self, event: Event) -> None:
        """Write an event of the run down."""
        if isinstance(event, events.LoopBlocked):  # it belongs to no run
            return
        if isinstance(event, events.NodeFinished):
            self._ledger.note(event.stage, event.node, event.status)
        elif isinstance(event, events.StageFinished):
            self._ledger.note(event.stage, "", event.status)
        entry = to_document(event)
        if entry.get("fires_at") == inf:
            entry["fires_at"] = None  # JSON has no infinity
        self._journal.write({"event": event_name(type(event)), **entry})

    def _wanted(self, phase: str, command: str) -> bool:
        return not self._ledger.unmet(phase, command)

    def _handler(self, phase: str, command: str) -> Callable[[Any], Any]:
        return partial(self._ended, phase, command)

    def _ended(self, phase: str, command: str, outcome: NodeOutcome) -> None:
        """Write the outcome of a command down, with all that it wrote."""
        entry = {"event": "command_ended", "phase": phase, "command": command}
        document = to_document(outcome)
        self._journal.write({**entry, "at": wall_clock(), "outcome": document})
        self._written.add((phase, command))

    def finish(self, result: PipelineResult) -> None:
        """Write the result down. The values of its commands are in the journal already.

        Raises:
            OSError: if it could not be written.
        """
        slim = without_values(result, lambda phase, command: (phase, command) in self._written)
        self._end({"result": to_document(slim)})

    def give_up(self, error: BaseException) -> None:
        """Write down that the run was torn down and has no result.

        Raises:
            OSError: if it could not be written.
        """
        self._end({"result": None, "reason": reason(error)})

    def _end(self, what: dict[str, Any]) -> None:
        self._journal.write({"event": "suite_ended", "at": wall_clock(), **what})

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
