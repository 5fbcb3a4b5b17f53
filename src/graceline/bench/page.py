"""The page: the report for people, one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import json
import math
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
from graceline.timelines.burning import scale_of

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
_MINUTES = tuple(60.0 * part for part in (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 720))
_TAIL = 4000  # characters of output that a command which succeeded shows
_MARKS = {
    "ok": "✓", "late": "✓", "timed_out": "◷", "failed": "✗", "cancelled": "⊘", "skipped": "»",
    "rejected": "⊘", "running": "…", "not_started": "·", "interrupted": "!",
}  # fmt: skip


@attrs.frozen(kw_only=True)
class _Bar:
    """Where things are on the time axis, in percent of its length."""

    left: float = 0.0
    work: float = 0.0
    unwinding: float = 0.0
    limit: float | None = None
    above: bool = False
    shown: bool = False
    open: bool = False
    said: str = ""


@attrs.frozen(kw_only=True)
class _Line:
    """One line of the page: a phase or a command."""

    is_phase: bool
    name: str
    status: str
    mark: str
    word: str
    bar: _Bar
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
            mark="!" if degraded else _MARKS[story.status],
            facts=list(_facts(story, told)),
            counts=[(*key, number) for key, number in counts.most_common()],
            lines=lines,
            ticks=_ticks(scale),
            step=_share(_step(scale), scale or 1.0),
            state=story.state,
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
        yield "took", _brief(result.elapsed)
    else:
        yield "known", f"up to {_brief(story.last)} after the beginning"
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
        mark=_MARKS[told.status],
        word=_word(told.status, story),
        bar=_bar(row, scale, story.last),
        took=_took(row),
        limit="" if row.limit is None else format_duration(row.limit),
        blamed=row.blamed,
        summary=_summary(told, inside),
        details=details,
        texts=texts,
    )


def _step(scale: float) -> float:
    """The distance of two marks on the time axis: a round number, at most six of it."""
    for size in (*_MINUTES, math.inf) if scale > 60 else ():
        if scale <= 6 * size:
            return size if size < math.inf else scale / 4
    unit = 10.0 ** math.floor(math.log10(scale)) if scale > 0 else 1.0
    return next(unit * part for part in (0.2, 0.5, 1, 2) if scale <= 6 * unit * part)


def _ticks(scale: float) -> list[tuple[float, str]]:
    """The marks on the time axis, in percent of its length."""
    step = _step(scale)
    count = math.floor(scale / step * (1 + 1e-9))
    return [(_share(part * step, scale or 1.0), _brief(part * step)) for part in range(count + 1)]


def _word(status: str, story: Story) -> str:
    """A status as people read it."""
    if status == RUNNING and story.state != RUNNING:
        return "was running"
    return status.replace("_", " ")


def _took(row: Row) -> str:
    if row.started is None or row.ended is None:
        return ""
    return _brief(row.ended - row.started)


def _brief(seconds: float) -> str:
    return format_duration(0.0 if seconds < 1e-6 else seconds)


def _bar(row: Row, scale: float, now: float) -> _Bar:
    limit = None
    if row.limit_at is not None and row.limit_at <= scale * (1 + 1e-9):
        limit = _share(row.limit_at, scale)
    if row.started is None:
        return _Bar(limit=limit, said="never started")
    ended = now if row.ended is None else row.ended
    worked = ended if row.worked_until is None else min(row.worked_until, ended)
    return _Bar(
        left=_share(row.started, scale),
        work=_share(worked - row.started, scale),
        unwinding=_share(ended - worked, scale),
        limit=limit,
        above=_cut_above(row) is not None or row.limit is None,
        shown=True,
        open=row.ended is None,
        said=_said(row),
    )


def _cut_above(row: Row) -> float | None:
    """The seconds to which limits above a part cut its own limit; None if they do not."""
    if row.limit is None or row.limit_at is None or row.started is None:
        return None
    left = row.limit_at - row.started
    return left if left < row.limit * (1 - 1e-9) else None


def _said(row: Row) -> str:
    """A bar in words, for whoever cannot see it."""
    begun = f"from {_brief(row.started or 0.0)} on"
    said = begun if row.ended is None else f"{begun[:-3]} to {_brief(row.ended)}"
    return said if row.limit_at is None else f"{said}, limit at {_brief(row.limit_at)}"


def _share(seconds: float, scale: float) -> float:
    return round(100 * max(0.0, min(1.0, seconds / scale)), 3)


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
    cut = _cut_above(row)
    if row.limit is not None and cut is not None:
        said = f"{format_duration(row.limit)}, of which limits above it left {_brief(cut)}"
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
        found.append(("unwinding", f"{_brief(row.grace_used)} after its cancel"))
    if row.overrun > 0:
        found.append(("late by", _brief(row.overrun)))
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
