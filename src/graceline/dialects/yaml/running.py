"""Running: what the templates of one run can see, kept while it runs.

The engine hands values from a node to those that wait for it; a template may ask for any step that
has ended, and for its error. So each run has its records: they are opened by the condition of the
first stage, which gets the input of the run, and closed by a handler of the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from graceline.deadlines import Status
from graceline.dialects.templates import Value
from graceline.dialects.tools import ToolFailedError
from graceline.engine import current
from graceline.engine.surrounded import StandIn
from graceline.errors import GracelineError
from graceline.results import CommandOutput, NodeOutcome

__all__ = ["Absence", "Item", "Records", "Runs", "StepHooks", "kept_record"]


@attrs.frozen
class Item:
    """One entry of the list that a step runs over.

    Attributes:
        value: the entry.
        index: its place, from 0.
        length: how many there are.
    """

    value: Any
    index: int
    length: int

    def names(self) -> dict[str, Any]:
        """What templates know of it."""
        return {
            "item": self.value,
            "index": self.index,
            "is_first": self.index == 0,
            "is_last": self.index == self.length - 1,
            "length": self.length,
        }


def _record(status: str, result: Any = None, error: str | None = None) -> dict[str, Any]:
    return {"status": status, "result": result, "value": result, "error": error}


def kept_record(status: str, value: Any) -> dict[str, Any]:
    """What templates see of a step that ended well in an earlier run."""
    return _record(status, _plain(value))


@attrs.define(eq=False)
class Records:
    """What is known of one run.

    Attributes:
        inputs: what it was given.
        execution: its id, and when it began.
        steps: what became of each step; those that have not ended, or not begun, are `skipped`.
        blocked: steps that were skipped since something that they need did not succeed.
    """

    inputs: dict[str, Any]
    execution: dict[str, Any]
    steps: dict[str, dict[str, Any]]
    blocked: set[str] = attrs.field(factory=set)

    def scope(self, value: Any = None) -> dict[str, Any]:
        """What the names of a template stand for; `value` may be an item."""
        names = value.names() if isinstance(value, Item) else {}
        return {
            **self.steps,
            **self.inputs,
            "inputs": self.inputs,
            "steps": self.steps,
            "execution": self.execution,
            **names,
        }


class Runs:
    """The records of the runs of one pipeline that are going on.

    Args:
        steps: the ids of its steps.
        coerce: what a run is given, as the inputs that the file declares.
    """

    def __init__(self, steps: tuple[str, ...], coerce: Callable[[Any], dict[str, Any]]) -> None:
        self._steps = steps
        self._coerce = coerce
        self._going: dict[str, Records] = {}

    def open(self, value: Any) -> bool:
        """The condition of the first stage: open the records of a run; always true.

        Raises:
            FileError: if it is not given what it needs.
        """
        run_id = current().run_id
        execution = {"id": run_id, "timestamp": datetime.now(UTC).isoformat(timespec="seconds")}
        steps = {name: _record("skipped") for name in self._steps}
        self._going[run_id] = Records(self._coerce(value), execution, steps)
        return True

    def close(self, _: Any) -> None:
        """The handler of the pipeline: forget the run."""
        self._going.pop(current().run_id, None)

    def records(self) -> Records:
        """Those of the run that goes on here."""
        return self._going[current().run_id]

    def evaluate(self, value: Value, item: Any = None) -> Any:
        """What a template says here and now."""
        return value.evaluate(self.records().scope(item))


@attrs.frozen(eq=False)
class StepHooks:
    """What the engine asks of a step, and tells it, besides its work.

    Attributes:
        runs: the runs of its pipeline.
        id: the step.
        condition: whether it is wanted; None for always.
        blockers: what it needs that may have to be skipped for: `on_error: skip`, and what those
            may block.
        skippers: those of them that state `on_error: skip`.
    """

    runs: Runs
    id: str
    condition: Value | bool | None
    blockers: tuple[str, ...]
    skippers: frozenset[str]

    def wanted(self, _: Any) -> bool:
        """Whether the step is to run.

        Raises:
            TemplateError: if its condition cannot be evaluated.
            GracelineError: if it is neither true nor false.
        """
        records = self.runs.records()
        for name in self.blockers:
            lost = name in self.skippers and records.steps[name]["error"] is not None
            if lost or name in records.blocked:
                records.blocked.add(self.id)
                return False
        if self.condition is None or isinstance(self.condition, bool):
            return self.condition is not False
        try:
            return _truth(self.condition.evaluate(records.scope()))
        except GracelineError as error:
            records.steps[self.id] = _record(str(Status.FAILED), error=str(error))
            raise

    def ended(self, outcome: NodeOutcome) -> None:
        """The handler of the step: write down what became of it."""
        result = outcome.value if outcome.completed else _left(outcome)
        error = None if outcome.completed else _why(outcome)
        self.runs.records().steps[self.id] = _record(str(outcome.status), _plain(result), error)


@attrs.frozen(eq=False)
class Absence(StandIn):
    """What dependents get of a step that has failed and may: nothing.

    Of a step that never started no handler is told: what became of it is written down here.
    """

    hooks: StepHooks

    def __call__(self, outcome: NodeOutcome) -> None:
        """Write down why it never started, if that is so."""
        record = self.hooks.runs.records().steps[self.hooks.id]
        if record["status"] == Status.SKIPPED:
            record.update(_record(str(outcome.status), error=_why(outcome)))


def _truth(value: Any) -> bool:
    if isinstance(value, str):
        words = {"true": True, "false": False}
        if value.strip().lower() in words:
            return words[value.strip().lower()]
        raise GracelineError(f"a condition is true or false, and this one gives {value!r}")
    return bool(value)


def _left(outcome: NodeOutcome) -> Any:
    """What a step that did not succeed has left: the answer of its tool, or a partial value."""
    if isinstance(outcome.error, ToolFailedError) and outcome.error.result is not None:
        return outcome.error.result
    return outcome.partial


def _why(outcome: NodeOutcome) -> str:
    if outcome.error is not None:
        return str(outcome.error) or type(outcome.error).__name__
    return str(outcome.status) if outcome.blame is None else outcome.blame.message


def _plain(value: Any) -> Any:
    """A value as templates see it: what a program left is a mapping."""
    if isinstance(value, CommandOutput):
        fields: Mapping[str, Any] = attrs.asdict(value, recurse=False)
        return {**fields, "argv": list(value.argv), "artifacts": list(value.artifacts)}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value
