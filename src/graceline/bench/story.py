"""The story of a run, read from its journal: whole, or as far as it had come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

import attrs

from graceline.bench.journal import in_use, journal_of, read_lines
from graceline.bench.ledger import CommandFacts, Ledger, SuiteFacts
from graceline.bench.recorder import FORMAT, event_name
from graceline.deadlines import Status
from graceline.documents import from_document
from graceline.errors import GracelineError, RecordedError
from graceline.results import NodeOutcome, PipelineResult
from graceline.telemetry import events
from graceline.telemetry.timeline import Timeline
from graceline.timelines import Row

__all__ = ["RUNNING", "Story", "Told", "read_story"]

RUNNING = "running"
_INTERRUPTED = "interrupted"
_NOT_STARTED = "not_started"
_KINDS = {
    event_name(kind): kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, events.Event)
}


@attrs.frozen(kw_only=True)
class Told:
    """What the story tells of one command, or of one phase, whose `command` is None.

    Attributes:
        row: when it ran, which limit stood over it, and whether it is to blame.
        status: a `Status`, or `running` or `not_started` for one that has not ended.
        phase: the name of its phase.
        command: the command as it was defined.
        outcome: how it ended, None if it has not.
        output: what a child program left, as a document of `CommandOutput`; None if there is none.
        why: why it was skipped, "" if it was not.
    """

    row: Row
    status: str
    phase: str
    command: CommandFacts | None = None
    outcome: NodeOutcome | None = None
    output: Mapping[str, Any] | None = None
    why: str = ""


@attrs.frozen(kw_only=True, eq=False)
class Story:
    """What the journal of a directory tells.

    Attributes:
        facts: the suite.
        timeout: seconds given with the call, None if there were none.
        runner: process, machine and versions.
        begun: date and time of the beginning.
        ended: date and time of the end, None if it has not ended in order.
        state: `ended`, `running` (somebody writes to the journal), or `interrupted`: whoever ran it
            was ended by force, or by an exception, before the suite had a result.
        reason: the name of that exception, "" if there is none.
        timeline: the events.
        last: seconds from the submission to the last line; to now, if it goes on.
        result: the result, None if there is none. Values of phases and of the suite are left out:
            they repeat those of the commands.
        outcomes: how commands ended, by phase and name, as far as they did.
    """

    facts: SuiteFacts
    timeout: float | None
    runner: Mapping[str, Any]
    begun: str
    ended: str | None
    state: str
    reason: str
    timeline: Timeline
    last: float
    result: PipelineResult | None
    outcomes: Mapping[tuple[str, str], NodeOutcome]

    @property
    def status(self) -> str:
        """The status of the suite, or its state if it has none."""
        return self.state if self.result is None else str(self.result.status)

    def told(self) -> Iterator[Told]:
        """What there is to tell of each phase, and after it of its commands."""
        ledger = Ledger(self.facts)
        rows = {
            (row.stage, row.name if row.level == "node" else ""): row
            for row in self.timeline.rows()
        }
        for key, row in rows.items():
            if row.status is not None:
                ledger.note(*key, row.status)
        for phase in self.facts.phases:
            yield self._told(rows, ledger, phase.name, None)
            for command in phase.commands:
                yield self._told(rows, ledger, phase.name, command)

    def _told(
        self,
        rows: Mapping[tuple[str, str], Row],
        ledger: Ledger,
        phase: str,
        command: CommandFacts | None,
    ) -> Told:
        name = "" if command is None else command.name
        level = "node" if name else "stage"
        row = rows.get((phase, name)) or Row(level=level, stage=phase, name=name or phase)
        status = str(row.status or (_NOT_STARTED if row.started is None else RUNNING))
        outcome = self.outcomes.get((phase, name))
        return Told(
            row=row,
            status=status,
            phase=phase,
            command=command,
            outcome=outcome,
            output=None if outcome is None else _output(outcome, command),
            why=self._why(ledger, rows, phase, name) if row.status is Status.SKIPPED else "",
        )

    def _why(
        self, ledger: Ledger, rows: Mapping[tuple[str, str], Row], phase: str, command: str
    ) -> str:
        unmet = (command and ledger.unmet(phase, command)) or ledger.unmet(phase)
        if unmet:
            return f"{' and '.join(unmet)} did not succeed"
        around = rows.get((phase, ""))
        if not command or around is None or around.started is None:
            return "the suite had ended"
        if around.status in (None, Status.OK, Status.LATE):
            return "its condition was false"
        return "the suite had ended" if around.ended == around.started else "its phase had ended"


def _output(outcome: NodeOutcome, command: CommandFacts | None) -> Mapping[str, Any] | None:
    found = outcome.partial if outcome.value is None else outcome.value
    is_program = command is not None and command.runs_on == "command"
    return found if is_program and isinstance(found, Mapping) and "stdout" in found else None


def read_story(folder: Path) -> Story:
    """Read the journal of a directory.

    Raises:
        GracelineError: if there is none, or if it is no journal of a suite.
    """
    used = in_use(folder)  # first: what ends while the lines are read has all of them
    lines = read_lines(folder, written_by=f"graceline bench SUITE --out {folder}")
    head = next(lines, {})
    if head.get("event") == "run_begun":
        raise GracelineError(
            f"{folder} holds the journal of a run of a file, and of no suite; "
            f"`graceline resume {folder}` goes on with it, or shows its result"
        )
    if head.get("event") != "suite_begun" or head.get("format") != FORMAT:
        raise GracelineError(
            f"{journal_of(folder)} is no journal of a suite in the form {FORMAT}, which this "
            "version of graceline reads"
        )
    reader = _Reader()
    try:
        for line in lines:
            reader.take(line)
        reader.complete()
        end = reader.end
        going = used and not end
        return Story(
            facts=from_document(SuiteFacts, head["suite"]),
            timeout=head["timeout"],
            runner=head["runner"],
            begun=head["at"],
            ended=end.get("at"),
            state="ended" if end.get("result") else RUNNING if going else _INTERRUPTED,
            reason=end.get("reason", ""),
            timeline=reader.timeline,
            last=max(reader.last, _since(head["at"])) if going else reader.last,
            result=_result(end["result"], reader.outcomes) if end.get("result") else None,
            outcomes=reader.outcomes,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise GracelineError(f"{journal_of(folder)} was changed by somebody: {error!r}") from error


def _since(at: str) -> float:
    """Seconds from a date and time until now, by the clock on the wall."""
    return (datetime.now().astimezone() - datetime.fromisoformat(at)).total_seconds()


class _Reader:
    """What the lines have told so far."""

    def __init__(self) -> None:
        self.timeline: Timeline = Timeline()
        self.outcomes: dict[tuple[str, str], NodeOutcome] = {}
        self.end: dict[str, Any] = {}
        self.last: float = 0.0
        self._finished: dict[tuple[str, str], events.NodeFinished] = {}
        self._begun: dict[tuple[str, str], events.NodeStarted] = {}
        self._origin = 0.0

    def take(self, line: dict[str, Any]) -> None:
        """Take one line; kinds of a later version are passed over."""
        name = line.pop("event", None)
        if name == "command_ended":
            outcome = from_document(NodeOutcome, line["outcome"])
            self.outcomes[line["phase"], line["command"]] = outcome
            self.last = max(self.last, outcome.started + outcome.elapsed)
        elif name == "suite_ended":
            self.end = line
        elif name in _KINDS:
            self._hear(from_document(_KINDS[name], line | _unbounded(line)))

    def _hear(self, event: events.Event) -> None:
        self.timeline(event)
        if isinstance(event, events.RunStarted):
            self._origin = event.at - event.queued
        elif isinstance(event, events.NodeStarted):
            self._begun[event.stage, event.node] = event
        elif isinstance(event, events.NodeFinished):
            self._finished[event.stage, event.node] = event
        self.last = max(self.last, self.timeline.elapsed(event.at))

    def complete(self) -> None:
        """Of a command that never started there is an event, and no outcome.

        The other way round, the end may have come between the outcome of a command and its event.
        """
        for key, event in self._finished.items():
            if key not in self.outcomes:
                self.outcomes[key] = _bare(event)
        for key, outcome in self.outcomes.items():
            if key not in self._finished:
                self.timeline(_finish(self._begun[key], outcome, self._origin))


def _unbounded(line: Mapping[str, Any]) -> dict[str, float]:
    return {"fires_at": inf} if line.get("fires_at", inf) is None else {}


def _bare(event: events.NodeFinished) -> NodeOutcome:
    """The outcome of a command that never started."""
    return NodeOutcome(
        name=event.node, status=event.status, value=None, partial=None, error=None,
        started=0.0, elapsed=event.elapsed, limit=event.limit, source=event.source,
        attempts=event.attempts, grace_used=event.grace_used, overrun=event.overrun,
        blame=event.blame, secondary=(),
    )  # fmt: skip


def _finish(begun: events.NodeStarted, outcome: NodeOutcome, origin: float) -> events.NodeFinished:
    """The event of an outcome that was written down, and nothing after it."""
    started = origin + outcome.started
    error = outcome.error
    return events.NodeFinished(
        at=started + outcome.elapsed, run_id=begun.run_id, pipeline=begun.pipeline,
        lane=begun.lane, stage=begun.stage, node=begun.node, status=outcome.status,
        started=started, elapsed=outcome.elapsed, limit=outcome.limit, source=outcome.source,
        grace_used=outcome.grace_used, overrun=outcome.overrun, blame=outcome.blame,
        error_type=error.type_name if isinstance(error, RecordedError) else None,
        attempts=outcome.attempts, partial=outcome.partial is not None,
    )  # fmt: skip


def _result(
    document: Mapping[str, Any], outcomes: Mapping[tuple[str, str], NodeOutcome]
) -> PipelineResult:
    """The result, with the values that its lines in the journal hold."""
    result = from_document(PipelineResult, document)
    stages, partial = {}, dict(result.partial)
    for name, stage in result.stages.items():
        nodes = {}
        for node in stage.nodes.values():
            kept = outcomes.get((name, node.name), node)
            nodes[node.name] = attrs.evolve(node, value=kept.value, partial=kept.partial)
            for label in (node.name, f"{name}.{node.name}"):
                if label in partial and kept.partial is not None:
                    partial[label] = kept.partial
        stages[name] = attrs.evolve(stage, nodes=nodes)
    return attrs.evolve(result, stages=stages, partial=partial)
