"""Folding: which lines of a waterfall stay where there are more of them than fit or can be read.

Where there is a height, what is at work is looked at, so it stays longest. Attempts go first; then
the nodes of stages that have ended, those of stages to come, single nodes beside running ones, and
whole stages. Without one, large stages of large runs keep what did not succeed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graceline.deadlines import Status
from graceline.timelines.rows import Row
from graceline.timelines.trying import numbers_of

if TYPE_CHECKING:
    from graceline.timelines.rows import AttemptRow

__all__ = [
    "by_stage",
    "folded",
    "hideable",
    "is_big",
    "is_full",
    "told",
    "told_attempts",
    "without",
]

_MANY, _SOME = 12, 3  # a stage with more nodes than this can be folded; the second if it is
_FULL = 60  # with more lines than this, such stages are folded
_SHOWN = 25  # nodes of a folded stage that did not succeed, of each status, are shown at most

_ENDED, _WAITS, _RUNS = range(3)
_NODES, _STAGES = 2, 4  # ranks, to which the state of a line is added; 0 and 1 are nodes of a stage
_TRIED, _TRYING = -2, -1  # ranks of attempts: of a node that has ended, and of one at work
_FROM_THE_TOP = (_TRIED, _TRYING, _ENDED, _NODES + _ENDED, _STAGES + _ENDED)


def folded(lines: list[tuple[int, Row]], height: int) -> tuple[list[tuple[int, Row]], list[Row]]:
    """Split lines, each with its indent, into those that are shown and those that are not.

    Args:
        lines: stages, each before its nodes, which are indented.
        height: how many lines there is room for, the one that tells of the others included.
    """
    if len(lines) <= height:
        return lines, []
    stages = {row.stage: _state(row) for indent, row in lines if not indent}
    groups: dict[tuple[int, str | int], list[int]] = {}
    node, parent = Row(level="node", stage="", name=""), 0
    for index, (indent, row) in enumerate(lines):
        if row.level in ("attempt", "more"):
            ended = node.status is not None
            rank, group = (_TRIED, parent) if ended else (_TRYING, index)
            groups.setdefault((rank, group), []).append(index)
            continue
        node, parent = row, index
        state = _state(row)
        rank = _rank(indent, state, stages.get(row.stage, _RUNS))
        # The nodes of a stage that is not at work go together.
        groups.setdefault((rank, row.stage if rank < _NODES else index), []).append(index)
    # Of what has ended the first goes first, of the others the last.
    order = sorted(
        (rank, indices[0] if rank in _FROM_THE_TOP else -indices[0], indices)
        for (rank, _), indices in groups.items()
    )
    gone: set[int] = set()
    for _, _, indices in order:
        if len(lines) - len(gone) <= max(0, height - 1):
            break
        gone.update(indices)
    shown = [line for index, line in enumerate(lines) if index not in gone]
    return shown, [lines[index][1] for index in sorted(gone)]


def is_full(lines: list[tuple[int, Row]]) -> bool:
    """Whether a drawing has so many lines that its large stages are folded."""
    return len(lines) > _FULL


def is_big(stage: list[tuple[int, Row]], *, full: bool) -> bool:
    """Whether the lines are those of a stage with so many nodes that it can be folded."""
    return sum(row.level == "node" for _, row in stage) > (_SOME if full else _MANY)


def by_stage(lines: list[tuple[int, Row]]) -> list[list[tuple[int, Row]]]:
    """The lines of each stage: its own comes first."""
    stages: list[list[tuple[int, Row]]] = []
    for indent, row in lines:
        if indent == 0 or not stages:
            stages.append([])
        stages[-1].append((indent, row))
    return stages


def hideable(stage: list[tuple[int, Row]]) -> list[bool]:
    """Which lines of a large stage go if it is folded: nodes that ended well, or have not begun.

    Of those that did not succeed, or are at work, the first of each kind stay. What is to blame
    stays in any case, and attempts go with their node.
    """
    found, hides = [], False
    times = Counter[Status | None]()
    for indent, row in stage:
        if row.level in ("node", "stage"):
            waits = row.status is None and row.started is None
            well = waits or row.status in (Status.OK, Status.SKIPPED)
            times[row.status] += indent
            hides = indent > 0 and not row.blamed and (well or times[row.status] > _SHOWN)
        found.append(hides)
    return found


def without(lines: list[tuple[int, Row]]) -> list[tuple[int, Row]]:
    """The lines of a drawing without those that are folded away; one line tells how many went."""
    if not is_full(lines):
        return lines
    kept: list[tuple[int, Row]] = []
    for stage in by_stage(lines):
        hides = hideable(stage) if is_big(stage, full=True) else [False] * len(stage)
        kept += [line for line, hidden in zip(stage, hides, strict=True) if not hidden]
        gone = [row for (_, row), hidden in zip(stage, hides, strict=True) if hidden]
        if gone:
            kept.append((1, Row(level="more", stage=stage[0][1].stage, name=told(gone))))
    return kept


def told(rows: list[Row]) -> str:
    """How many lines are not shown, and what their parts are at."""
    words = {_ENDED: "", _WAITS: "to come", _RUNS: "running"}
    parts = [row for row in rows if row.level in ("node", "stage")]
    attempts = sum(len(row.attempts) or 1 for row in rows if row.level in ("attempt", "more"))
    times = Counter(words[_state(row)] or str(row.status) for row in parts)
    if attempts:
        times["attempt" if attempts == 1 else "attempts"] = attempts
    said = ", ".join(f"{count} {word}" for word, count in times.items())
    return f"{len(parts) + attempts} more: {said}"


def told_attempts(attempts: tuple[AttemptRow, ...]) -> str:
    """How many attempts are not shown, and how they ended."""
    return f"{len(attempts)} more: {numbers_of(attempts)}"


def _state(row: Row) -> int:
    if row.status is not None:
        return _ENDED
    return _WAITS if row.started is None else _RUNS


def _rank(indent: int, state: int, around: int) -> int:
    """How long a line stays: its own state, and that of its stage, decide."""
    if indent and around != _RUNS:
        return around
    if state == _RUNS:
        return 6 if indent else 7
    return state + (_NODES if indent else _STAGES)
