"""What a journal says of a run of a file: what it began with, and what is finished of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from graceline.bench.journal import read_lines
from graceline.definitions.checks import brief
from graceline.dialects.resume.values import decode_value
from graceline.errors import GracelineError
from graceline.results import PipelineResult

__all__ = ["FORMAT", "KeptItem", "KeptStep", "RecordedRun", "read_run"]

FORMAT = 1
"""The number of the journal's form; a higher one cannot be read by this version."""

_FINISHED = ("ok", "late")
_ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@attrs.frozen
class KeptStep:
    """A step that is finished.

    Attributes:
        status: `ok` or `late`.
        value: what it returned.
    """

    status: str
    value: Any


@attrs.frozen
class KeptItem:
    """An item of a list that is finished.

    Attributes:
        item: the item, as the journal has it.
        value: what came of it.
    """

    item: Any
    value: Any


@attrs.define(eq=False)
class RecordedRun:
    """A run, as far as its journal tells of it.

    Attributes:
        folder: the directory of the journal.
        file: the file of the pipeline, with its whole path.
        text: what it said.
        directory: where the process ran that began the run.
        root: the directory of programs.
        inputs: what it was given.
        timeout: seconds that were given with the run; None for the pipeline's own limit.
        tools: the modules with tools, as they were given.
        execution: the id of the run and when it began; None if it never did.
        steps: what is finished, by step.
        items: finished items of steps that are not, by step and index.
        unkept: finished steps whose values, or those of their items, are not in the journal, and
            why.
        cleaned: steps whose cleanup has ended.
        status: how the run ended; None if its process was ended before it.
        document: its result; that of a run that is ok has all values.
        degraded: the parts of it that did not succeed.
    """

    folder: Path
    file: Path
    text: str
    directory: Path
    root: Path
    inputs: dict[str, Any]
    timeout: float | None
    tools: tuple[str, ...]
    execution: dict[str, Any] | None = None
    steps: dict[str, KeptStep] = attrs.field(factory=dict)
    items: dict[str, dict[int, KeptItem]] = attrs.field(factory=dict)
    unkept: dict[str, str] = attrs.field(factory=dict)
    cleaned: set[str] = attrs.field(factory=set)
    status: str | None = None
    document: dict[str, Any] | None = None
    degraded: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether nothing of it is left to be done."""
        return self.status in _FINISHED and not self.degraded

    def result(self) -> PipelineResult | None:
        """The result of a run that has ended; its errors and values are as in documents.

        Raises:
            GracelineError: if it cannot be read.
        """
        if self.document is None:
            return None
        try:
            return PipelineResult.from_dict(self.document)
        except GracelineError as error:
            raise _unreadable(self.folder, f"it was changed by somebody: {error}") from error

    def forget(self, names: set[str]) -> None:
        """Let steps be done again."""
        for name in names:
            self.steps.pop(name, None)
            self.items.pop(name, None)
            self.unkept.pop(name, None)
            self.cleaned.discard(name)

    def take(self, entry: Mapping[str, Any]) -> None:
        """Take a line of the journal into account."""
        take = _TAKES.get(str(entry.get("event")))
        if take is not None:
            take(self, entry)

    def _opened(self, entry: Mapping[str, Any]) -> None:
        self.execution = {name: _text(entry["execution"][name]) for name in ("id", "timestamp")}

    def _item_ended(self, entry: Mapping[str, Any]) -> None:
        name = entry["step"]
        if "unkept" in entry:
            self.unkept[name] = f"item {entry['index']}: {entry['unkept']}"
        else:
            kept = KeptItem(entry["item"], entry["value"])
            self.items.setdefault(name, {})[entry["index"]] = kept

    def _step_ended(self, entry: Mapping[str, Any]) -> None:
        name, status = entry["step"], entry["status"]
        self.cleaned.discard(name)
        if status not in _FINISHED:
            return
        self.items.pop(name, None)
        self.unkept.pop(name, None)
        if "unkept" in entry:
            self.unkept[name] = entry["unkept"]
        else:
            self.steps[name] = KeptStep(status, entry["value"])

    def _cleanup_ended(self, entry: Mapping[str, Any]) -> None:
        self.cleaned.add(entry["step"])

    def _resumed(self, entry: Mapping[str, Any]) -> None:
        self.text = _text(entry.get("text", self.text))
        self.forget(set(entry["again"]))
        self.status, self.document, self.degraded = None, None, ()

    def _ended(self, entry: Mapping[str, Any]) -> None:
        self.status = entry["status"]
        self.document = entry.get("result")
        self.degraded = tuple(entry.get("degraded", ()))


_TAKES = {
    "run_opened": RecordedRun._opened,  # noqa: SLF001 - this is their table
    "item_ended": RecordedRun._item_ended,  # noqa: SLF001
    "step_ended": RecordedRun._step_ended,  # noqa: SLF001
    "cleanup_ended": RecordedRun._cleanup_ended,  # noqa: SLF001
    "run_resumed": RecordedRun._resumed,  # noqa: SLF001
    "run_ended": RecordedRun._ended,  # noqa: SLF001
}


def read_run(folder: Path) -> RecordedRun:
    """Read the journal of a run of a file.

    Raises:
        GracelineError: if there is none, if it is that of a suite or of a newer version, or if
            nothing can be read of it.
    """
    lines = read_lines(folder, written_by=f"graceline run FILE.yaml --journal {folder}")
    first = next(lines, {})
    if first.get("event") == "suite_begun":
        raise GracelineError(
            f"{folder} holds the journal of a suite, which cannot be resumed; "
            f"`graceline report {folder}` shows it"
        )
    number = first.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise GracelineError(
            f"{folder} was written by graceline {brief(_version(first))}, whose journals this "
            "version cannot read; take that one, or a newer one"
        )
    try:
        return _read(folder, first, lines)
    except _ODD as error:
        if not first:
            what = "its run ended before it had begun"
        elif isinstance(error, KeyError):
            what = f"it lacks {error}"
        else:
            what = f"it was changed by somebody: {error}"
        raise _unreadable(folder, what) from None


def _unreadable(folder: Path, what: str) -> GracelineError:
    return GracelineError(
        f"{folder} holds no journal that can be resumed: {what}; run the file again, with "
        f"--journal {folder} --force"
    )


def _version(first: Mapping[str, Any]) -> Any:
    runner = first.get("runner")
    return runner.get("graceline") if isinstance(runner, Mapping) else None


def _read(folder: Path, first: Mapping[str, Any], lines: Any) -> RecordedRun:
    if first["event"] != "run_begun" or not isinstance(first["format"], int):
        raise KeyError("run_begun")
    run = RecordedRun(
        folder=folder,
        file=Path(first["file"]),
        text=_text(first["text"]),
        directory=Path(first["directory"]),
        root=Path(first["root"]),
        inputs=dict(_given(first["inputs"], "the inputs").items()),
        timeout=_seconds(_given(first["timeout"], "the limit")),
        tools=tuple(map(_text, first["tools"])),
    )
    for entry in lines:
        run.take(entry)
    for name, kept in run.steps.items():
        value = _given(kept.value, f"the value of step {name!r}")
        run.steps[name] = attrs.evolve(kept, value=value)
    for name, items in run.items.items():
        for index, item in items.items():
            value = _given(item.value, f"the value of step {name!r}, item {index}")
            items[index] = attrs.evolve(item, value=value)
    return run


def _given(document: Any, what: str) -> Any:
    """A value of the journal as it was; whoever edits a journal may make one that never was."""
    try:
        return decode_value(document)
    except _ODD as error:
        raise ValueError(f"{what} cannot be read: {error!r}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{brief(value)} is no text")
    return value


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) in (int, float) and value >= 0:
        return float(value)
    raise TypeError(f"{brief(value)} is no limit in seconds")
