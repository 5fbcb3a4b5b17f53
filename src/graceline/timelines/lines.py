"""The lines of a drawing for a page: what each says, and which of many can be folded away."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from graceline.deadlines import Status
from graceline.timelines.arranging import arranged
from graceline.timelines.axis import brief
from graceline.timelines.burning import stopped_of
from graceline.timelines.facts import closing_facts, in_short
from graceline.timelines.folding import by_stage, hideable, is_big, is_full, told_attempts
from graceline.timelines.rows import Row
from graceline.timelines.track import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from graceline.timelines.drawn import Drawn

__all__ = ["Group", "Line", "density", "facts_of", "groups_of", "legible", "status_of", "word_of"]

_HARMLESS = (Status.OK, Status.SKIPPED, None)
_FACTS, _FACT = 3, 240  # facts of a kind, and characters of one, at most
_JOINER = "\u200d"
_BINS = 100


@attrs.frozen(kw_only=True)
class Line:
    """One line of a drawing.

    Attributes:
        row: the part.
        indent: 0 for a stage, 1 for its nodes, 2 for their attempts.
        name: its name, fit to be shown.
        status: its status, or what it is at.
        notes: what else there is to say, in a few words each.
        took: how long it took, so far if it goes on; "" if it has not started.
        label: the bar in words.
        hides: whether it is folded away with its stage.
    """

    row: Row
    indent: int
    name: str
    status: str
    notes: tuple[str, ...]
    took: str
    label: str
    hides: bool = False


@attrs.frozen(kw_only=True)
class Group:
    """A stage with its nodes: the first line is that of the stage.

    Attributes:
        lines: the stage, its nodes and their attempts.
        told: how many nodes of a stage that can be folded ended in which way; "" if it cannot.
        folded: whether it is folded at first.
        nodes: the rows of its nodes.
    """

    lines: tuple[Line, ...]
    told: str
    folded: bool
    nodes: tuple[Row, ...]


def groups_of(timeline: Drawn, now: float) -> list[Group]:
    """What a drawing shows, stage by stage."""
    placed = arranged(timeline.rows(), now, "attempt ")
    full, degraded = is_full(placed), set(timeline.degraded)
    return [_group(stage, now, full=full, degraded=degraded) for stage in by_stage(placed)]


def _group(stage: list[tuple[int, Row]], now: float, *, full: bool, degraded: set[str]) -> Group:
    nodes = tuple(row for _, row in stage if row.level == "node")
    big = is_big(stage, full=full)
    told = f"{len(nodes)} nodes: {_told(nodes, now)}" if big else ""
    lines = [
        _line(
            row,
            indent,
            now,
            degraded=bool({row.name, f"{row.stage}.{row.name}"} & degraded),
            hides=big and hidden,
            told=told,
        )
        for (indent, row), hidden in zip(stage, hideable(stage), strict=True)
    ]
    return Group(lines=tuple(lines), told=told, folded=big and full, nodes=nodes)


def _line(row: Row, indent: int, now: float, *, degraded: bool, hides: bool, told: str) -> Line:
    status = status_of(row, now)
    name = legible(row.name)
    notes = list(_notes(row, degraded=degraded))
    words = [f"{name}: {word_of(status)}", said(row), *notes]
    if row.level == "more":
        name = told_attempts(row.attempts)
        words = [name]
    elif indent == 0 and told:
        words.append(told)
    return Line(
        row=row,
        indent=indent,
        name=name,
        status=status,
        notes=tuple(notes),
        took=_took(row, now),
        label=", ".join(words),
        hides=hides,
    )


def _notes(row: Row, *, degraded: bool) -> Iterator[str]:
    if row.blamed:
        yield "to blame"
    if degraded and row.status not in _HARMLESS:
        yield "degraded"
    if row.tries > 1:
        yield f"{row.tries} attempts"
    if row.overrun > 0:
        yield f"late by {brief(row.overrun)}"
    if row.partial:
        yield "partial value"
    if row.abandoned:
        yield "left a thread behind"


def status_of(row: Row, now: float) -> str:
    """The status of a part, or what it is at."""
    if row.status is not None:
        return str(row.status)
    if row.started is None:
        return "not_started"
    return "running" if stopped_of(row, now) is None else "unwinding"


def word_of(status: str) -> str:
    """A status as people read it."""
    return status.replace("_", " ")


def _took(row: Row, now: float) -> str:
    if row.started is None:
        return ""
    if row.ended is None:
        return f"{brief(max(0.0, now - row.started))} …"
    return brief(max(0.0, row.ended - row.started))


def _told(nodes: Iterable[Row], now: float) -> str:
    times = Counter(status_of(row, now) for row in nodes)
    return ", ".join(f"{count} {word_of(word)}" for word, count in times.most_common())


def facts_of(run: Row, timeline: Drawn, now: float) -> list[tuple[str, str]]:
    """What stands under the title, each as a word and what it says; never a value."""
    found = [("so far", brief(now)) if run.ended is None else ("took", brief(run.ended))]
    if run.limit is not None:
        source = "" if run.source is None else f" ({run.source})"
        found.append(("limit", f"{brief(run.limit)}{source}"))
    if timeline.queued >= 1e-3:
        found.append(("queued", brief(timeline.queued)))
    closing = in_short(closing_facts(run, timeline, None), _FACTS)
    return [*found, *((word, _middle_cut(legible(what))) for word, what in closing)]


def _middle_cut(text: str) -> str:
    half = _FACT // 2
    return text if len(text) <= _FACT else f"{text[:half]} … {text[-half:]}"


def density(nodes: Iterable[Row], scale: float, now: float) -> tuple[list[int], int]:
    """How many nodes were at it in each hundredth of the scale, and the most at once."""
    steps = [0] * (_BINS + 1)
    for row in nodes:
        if row.started is not None:
            ended = now if row.ended is None else row.ended
            begin = min(_BINS - 1, int(row.started / scale * _BINS))
            end = min(_BINS, max(begin + 1, -int(-ended / scale * _BINS // 1)))
            steps[begin] += 1
            steps[end] -= 1
    counts, at = [], 0
    for step in steps[:_BINS]:
        at += step
        counts.append(at)
    return counts, max(counts)


def legible(text: str) -> str:
    """A text without anything that would move, hide or turn what stands around it."""
    return "".join(
        char
        if char.isprintable() or char == _JOINER
        else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )
