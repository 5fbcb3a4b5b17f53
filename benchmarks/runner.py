"""Groups under graceline's own benchmark runner: a phase each, one after the other.

Each has a process of its own, a limit and a grace period: one that hangs or crashes leaves the
others alone. After Ctrl-C or SIGTERM there are the rows of what had finished.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import cattrs
import trio
from rich.console import Console

from benchmarks.report import rows_from
from benchmarks.rows import Row
from graceline import Status
from graceline.bench import Phase, Suite, command
from graceline.bench.running import recording
from graceline.cli.session import run_session
from graceline.results import CommandOutput
from graceline.telemetry.events import Event, StageFinished

if TYPE_CHECKING:
    from benchmarks.effort import Effort
    from graceline.results import NodeOutcome

__all__ = ["Measured", "programs", "run", "suite_of"]

ROOT = Path(__file__).parents[1]
GRACE = 5.0
"""Seconds for a group to end after SIGTERM."""


@attrs.frozen
class Measured:
    """What came of a suite.

    Attributes:
        rows: of the groups that finished.
        unfinished: why a group did not, by its name.
        signal: the number of the signal that ended it, None if none did.
    """

    rows: tuple[Row, ...]
    unfinished: Mapping[str, str]
    signal: int | None


def programs(names: Iterable[str], effort: Effort) -> dict[str, list[str]]:
    """The command line that measures a group, by its name."""
    child = [sys.executable, "-m", "benchmarks.child"]
    return {name: [*child, name, *effort.options] for name in names}


def suite_of(name: str, programs: Mapping[str, Sequence[str]], limit: str) -> Suite:
    """The suite: a phase per program, each with the same limit."""
    phases = [
        Phase(
            group,
            command(argv, name="measure", cwd=ROOT, timeout=limit, grace=GRACE),
            continue_on_failure=True,
        )
        for group, argv in programs.items()
    ]
    return Suite(name, phases)


def run(suite: Suite) -> Measured:
    """Run a suite; a terminal shows how far it is, anything else gets a line per group."""
    err = Console(stderr=True)
    screen = err if err.is_terminal else None
    with tempfile.TemporaryDirectory() as folder, recording(suite, Path(folder)) as recorder:
        sinks = (recorder,) if screen else (recorder, _Progress())
        session = trio.run(run_session, recorder.pipeline, None, None, screen, GRACE, sinks)
        recorder.finish(session.result)
    rows: list[Row] = []
    unfinished = {}
    for group, stage in session.result.stages.items():
        (outcome,) = stage.nodes.values()
        found = _rows(outcome)
        if found is None:
            unfinished[group] = _why(outcome)
        else:
            rows += found
    return Measured(tuple(rows), unfinished, session.signal)


class _Progress:
    """A sink that says which groups have ended."""

    inline = True

    def wants_trace(self) -> bool:
        """It does: a beginning and an end are said at once."""
        return True

    def __call__(self, event: Event) -> None:
        """Say it."""
        if isinstance(event, StageFinished) and event.status is not Status.SKIPPED:
            print(f"{event.stage}: ended after {event.elapsed:.0f} s", file=sys.stderr)


def _output(outcome: NodeOutcome) -> CommandOutput | None:
    found = getattr(outcome.error, "output", outcome.value or outcome.partial)
    return found if isinstance(found, CommandOutput) else None


def _rows(outcome: NodeOutcome) -> tuple[Row, ...] | None:
    """The rows, None without them; a program that exits with 1 may have missed a bar."""
    output = _output(outcome)
    if output is None or output.exit_code not in (0, 1):
        return None
    try:
        return rows_from(json.loads(output.stdout))
    except (ValueError, cattrs.BaseValidationError):
        return None


def _why(outcome: NodeOutcome) -> str:
    output = _output(outcome)
    if outcome.status is Status.FAILED:
        return str(outcome.error)
    if outcome.status is Status.OK:
        return "it printed no rows"
    end = output.stderr.rstrip().splitlines()[-1:] if output else []
    limit = f" after {outcome.limit:g} s" if outcome.status is Status.TIMED_OUT else ""
    said = f"; its last words: {end[0]!r}" if end else ""
    return f"{outcome.status}{limit}{said}".replace("_", " ")
