"""The report: `report.json` and `report.html`, made from the journal, at any time and again."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from graceline.bench.story import read_story
from graceline.documents import to_document
from graceline.errors import GracelineError
from graceline.results import PipelineResult, StageOutcome

if TYPE_CHECKING:
    from graceline.bench.story import Story, Told
    from graceline.bench.suite import Suite
    from graceline.timelines.rows import Row

__all__ = ["check_installed", "discard_report", "report_document", "write_report"]

_FORMAT = 1
_NAMES = ("report.json", "report.html")


def check_installed(suite: Suite | None = None) -> None:
    """Raise where the page cannot be made, or a suite cannot be run.

    Raises:
        GracelineError: if Jinja2 or trio-parallel is missing; says how to install it.
    """
    nodes = [] if suite is None else [node for phase in suite.phases for node in phase.stage.nodes]
    for node in nodes:
        if node.runs_on == "process" and importlib.util.find_spec("trio_parallel") is None:
            raise GracelineError(
                f"command {node.name!r}: runs_on='process' needs trio-parallel: "
                "pip install 'graceline[process]'"
            )
    if importlib.util.find_spec("jinja2") is None:
        raise GracelineError(
            "the report needs Jinja2, which is not installed; run: pip install 'graceline[cli]'"
        )


def write_report(folder: Path) -> Story:
    """Read the journal of a directory, and write the report beside it.

    Raises:
        GracelineError: if there is no journal, or Jinja2 is missing.
        OSError: if the report cannot be written.
    """
    check_installed()
    from graceline.bench.page import render  # noqa: PLC0415 - Jinja2 is needed here alone

    story = read_story(folder)
    document = json.dumps(report_document(story), indent=2, allow_nan=False) + "\n"
    for name, text in zip(_NAMES, (document, render(story)), strict=True):
        _replace(folder / name, text)
    return story


def discard_report(folder: Path) -> None:
    """Remove the report of an earlier run, which the journal does not belong to any more."""
    for name in _NAMES:
        (folder / name).unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    """Write a file so that there is either the old one or the new one, and nothing in between."""
    file, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(file, "w", encoding="utf-8", errors="backslashreplace") as stream:  # noqa: PTH123 - a descriptor
            os.fchmod(stream.fileno(), 0o644)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def report_document(story: Story) -> dict[str, Any]:
    """The report as a document of plain JSON types.

    `result` is that of the run, `PipelineResult.from_dict` reads it. Without one it has the same
    form, as far as it is known: null stands for what has not ended.
    """
    told = list(story.told())
    result = _unfinished(story, told) if story.result is None else story.result.to_dict()
    return {
        "format": _FORMAT,
        "state": story.state,
        "status": story.status,
        "begun": story.begun,
        "ended": story.ended,
        "reason": story.reason,
        "timeout": story.timeout,
        "runner": dict(story.runner),
        "suite": to_document(story.facts),
        "commands": [_line(entry) for entry in told if entry.command is not None],
        "result": result,
    }


def _line(told: Told) -> dict[str, Any]:
    """A command in short, for whoever wants a table."""
    row, output = told.row, told.output or {}
    return {
        "phase": told.phase,
        "command": row.name,
        "status": told.status,
        "why": told.why,
        "started": row.started,
        "elapsed": _took(row),
        "limit": row.limit,
        "exit_code": output.get("exit_code"),
        "signal": output.get("signal"),
        "artifacts": list(output.get("artifacts", ())),
    }


def _took(row: Row) -> float | None:
    return None if row.ended is None or row.started is None else row.ended - row.started


def _unfinished(story: Story, told: list[Told]) -> dict[str, Any]:
    """What there is of the result of a run that has none."""
    fields = [field.name for field in attrs.fields(PipelineResult)]
    stages: dict[str, Any] = {}
    for entry in told:
        if entry.command is None:
            stages[entry.phase] = _phase_document(entry) | {"nodes": {}}
        else:
            nodes = stages[entry.phase]["nodes"]
            nodes[entry.row.name] = None if entry.outcome is None else to_document(entry.outcome)
    known = {
        "run_id": story.timeline.run_id,
        "pipeline": story.facts.name,
        "stages": stages,
        "elapsed": story.last,
    }
    return dict.fromkeys(fields) | known


def _phase_document(told: Told) -> dict[str, Any]:
    row = told.row
    return dict.fromkeys(field.name for field in attrs.fields(StageOutcome)) | {
        "name": row.name,
        "status": row.status,
        "started": row.started,
        "elapsed": _took(row),
        "limit": row.limit,
        "source": row.source,
        "blame": None if row.blame is None else to_document(row.blame),
    }
