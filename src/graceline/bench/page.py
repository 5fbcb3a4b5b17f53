"""The page: the report for people, one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import json
import shlex
import signal
from collections import Counter
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from graceline.bench.story import RUNNING
from graceline.durations import format_duration
from graceline.errors import RecordedError
from graceline.timelines.axis import brief, share, step_of, ticks
from graceline.timelines.burning import scale_of
from graceline.timelines.look import DARK, LIGHT, MARKS, colours, tones
from graceline.timelines.sheet import track_css
from graceline.timelines.track import cut_above, said, track

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from graceline.bench.story import Story, Told
    from graceline.timelines.rows import Row

__all__ = ["render"]

_SHELL = ("/bin/sh", "-c")
_SUCCESS = ("ok", "late")
_HARMLESS = (*_SUCCESS, "skipped")
_BAD = ("failed", "timed_out", "cancelled", "rejected")
_NAMED = 4  # parts that the head names of those that did not succeed
_TAIL = 4000  # characters of output that a command which succeeded shows


@attrs.frozen(kw_only=True)
class _Line:
    """One line of the page: a phase or a command."""

    is_phase: bool
    name: str
    status: str
    mark: str
    word: str
    track: str
    took: str
    limit: str
    blamed: bool
    summary: str
    details: list[tuple[str, str]]
    texts: list[tuple[str, str]]


def render(story: Story) -> str:
    """The page of a story."""
    told = list(story.told())
    rows = [entry.row for entry in told]
    run = story.timeline.pipeline
    scale = scale_of(run, rows, story.last) if run is not None else 0.0
    inside = {phase.name: Counter[str]() for phase in story.facts.phases}
    for entry in told:
        if entry.command is not None:
            inside[entry.phase][entry.status] += 1
    lines = [_line(entry, scale or 1.0, story, inside[entry.phase]) for entry in told]
    degraded = story.status in _SUCCESS and bool(story.result and story.result.degraded)
    counts = Counter((line.status, line.word) for line in lines if not line.is_phase)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=story.facts.name,
            status="late" if degraded else story.status,
            word=f"{_word(story.status, story)}, degraded"
            if degraded
            else _word(story.status, story),
            mark="!" if degraded else MARKS[story.status],
            facts=list(_facts(story, told)),
            counts=[(*key, number) for key, number in counts.most_common()],
            lines=lines,
            ticks=ticks(scale),
            step=share(step_of(scale), scale or 1.0),
            state=story.state,
            light=colours(LIGHT),
            dark=colours(DARK),
            bars=track_css(),
            tones=tones(),
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _facts(story: Story, told: Iterable[Told]) -> Iterable[tuple[str, str]]:
    """What stands under the title, each as a word and what it says."""
    result, run = story.result, story.timeline.pipeline
    if result is not None and result.blame is not None:
        yield "to blame", result.blame.message
    bad = [
        f"{entry.phase} / {entry.command.name}"
        for entry in told
        if entry.command is not None and entry.status in _BAD
    ]
    if bad:
        more = len(bad) - _NAMED
        names = ", ".join(bad[:_NAMED])
        yield "did not succeed", names + (f" and {more} more" if more > 0 else "")
    if story.state == RUNNING:
        yield "state", "the suite was running when this page was made"
    elif story.state != "ended":
        why = f" by {story.reason}" if story.reason else ""
        yield "state", f"the runner was ended{why} before the suite was; what had finished is here"
    yield "begun", datetime.fromisoformat(story.begun).strftime("%Y-%m-%d %H:%M:%S %z")
    if result is not None:
        yield "took", brief(result.elapsed)
    else:
        yield "known", f"up to {brief(story.last)} after the beginning"
    if run is not None and run.limit is not None:
        given = " (given with the call)" if story.timeout is not None else ""
        yield "limit", format_duration(run.limit) + given
    yield "machine", f"{story.runner['host']}, Python {story.runner['python']}"


def _line(told: Told, scale: float, story: Story, inside: Counter[str]) -> _Line:
    row = told.row
    details, texts = _details(told), _texts(told)
    return _Line(
        is_phase=told.command is None,
        name=row.name,
        status=told.status,
        mark=MARKS[told.status],
        word=_word(told.status, story),
        track=track(row, scale, story.last, label=said(row), thin=told.command is None),
        took=_took(row),
        limit="" if row.limit is None else format_duration(row.limit),
        blamed=row.blamed,
        summary=_summary(told, inside),
        details=details,
        texts=texts,
    )


def _word(status: str, story: Story) -> str:
    """A status as people read it."""
    if status == RUNNING and story.state != RUNNING:
        return "was running"
    return status.replace("_", " ")


def _took(row: Row) -> str:
    if row.started is None or row.ended is None:
        return ""
    return brief(row.ended - row.started)


def _summary(told: Told, inside: Counter[str]) -> str:
    """What became of a part, in a few words beside its status."""
    if told.why:
        return told.why
    if told.status in _SUCCESS and told.command is None:
        bad = sum(number for word, number in inside.items() if word not in _HARMLESS)
        return f"{bad} of {inside.total()} did not succeed" if bad else ""
    output = told.output or {}
    if output.get("signal") is not None:
        return f"ended by {_signal_name(output['signal'])}"
    if output.get("exit_code"):
        return f"exit code {output['exit_code']}"
    if told.outcome is not None and isinstance(told.outcome.error, RecordedError):
        return "artifact missing" if _lacks(told) else told.outcome.error.type_name
    return ""


def _lacks(told: Told) -> bool:
    """Whether a program ended well, and did not leave what it must."""
    facts, output = told.command, told.output or {}
    return facts is not None and bool(facts.artifacts) and output.get("exit_code") is not None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _details(told: Told) -> list[tuple[str, str]]:
    """What one sees on opening a command."""
    row, facts, output = told.row, told.command, told.output or {}
    found: list[tuple[str, str]] = []
    if row.blame is not None:
        found.append(("to blame" if row.blamed else "why", row.blame.message))
    if told.outcome is not None:
        if told.outcome.error is not None:
            found.append(("error", str(told.outcome.error)))
        found += [("cleanup", str(error)) for error in told.outcome.secondary]
    cut = cut_above(row)
    if row.limit is not None and cut is not None:
        said = f"{format_duration(row.limit)}, of which limits above it left {brief(cut)}"
        found.append(("limit", said))
    if facts is None:
        return found
    argv = tuple(output.get("argv") or facts.argv)
    if argv:
        found.append(("command", _shell(argv)))
    if facts.cwd:
        found.append(("directory", facts.cwd))
    if output.get("exit_code") is not None:
        found.append(("exit code", str(output["exit_code"])))
    if output.get("signal") is not None:
        found.append(("signal", _signal_name(output["signal"])))
    if facts.artifacts:
        found.append(("expects", ", ".join(facts.artifacts)))
    if output.get("artifacts"):
        found.append(("artifacts", "\n".join(output["artifacts"])))
    if row.grace_used > 0:
        found.append(("unwinding", f"{brief(row.grace_used)} after its cancel"))
    if row.overrun > 0:
        found.append(("late by", brief(row.overrun)))
    return found


def _shell(argv: tuple[str, ...]) -> str:
    return argv[2] if argv[:2] == _SHELL and len(argv) == 3 else shlex.join(argv)


def _texts(told: Told) -> list[tuple[str, str]]:
    """What a command wrote, or the value of a function."""
    output: Mapping[str, Any] = told.output or {}
    good = told.status in _SUCCESS
    found = []
    for stream in ("stdout", "stderr"):
        text = output.get(stream, "")
        dropped = output.get(f"{stream}_dropped", 0)
        if not text:
            continue
        head = stream
        if dropped:
            head += f" ({dropped:,} bytes were left out of its middle)"
        if good and len(text) > _TAIL:
            head += " (the end of it; report.json has all that was kept)"
            text = text[-_TAIL:]
        found.append((head, text))
    if told.output is None and told.outcome is not None:
        value = told.outcome.partial if told.outcome.value is None else told.outcome.value
        if value is not None:
            found.append(("value" if good else "partial value", _value(value)))
    return found


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
