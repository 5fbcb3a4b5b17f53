"""Folding: which lines of a waterfall stay where there are more of them than fit.

What is at work is looked at, so it stays longest. Attempts go first; then the nodes of stages that
have ended, those of stages to come, single nodes beside running ones, and whole stages.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graceline.timelines.rows import Row
from graceline.timelines.trying import numbers_of

if TYPE_CHECKING:
    from graceline.timelines.rows import AttemptRow

__all__ = ["folded", "told", "told_attempts"]

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
