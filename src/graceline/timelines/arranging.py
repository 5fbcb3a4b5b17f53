"""Arranging: which lines a drawing has, in which order, and how far each is indented."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import attrs

from graceline.timelines.burning import stopped_of
from graceline.timelines.rows import Row
from graceline.timelines.trying import going_since, is_retried

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["arranged"]

_FIRST, _LAST = 3, 4  # of many attempts these are shown


def arranged(rows: tuple[Row, ...], now: float, word: str) -> list[tuple[int, Row]]:
    """The rows with their indent; a stage and its only node of the same name share a line.

    Args:
        rows: stages, each before its nodes.
        now: for a run that goes on, seconds since its submission.
        word: stands before the number of an attempt.
    """
    stages = {row.stage: row for row in rows if row.level == "stage"}
    nodes: dict[str, list[Row]] = {}
    for row in rows:
        if row.level == "node":
            nodes.setdefault(row.stage, []).append(row)
    lines: list[tuple[int, Row]] = []
    for name in dict.fromkeys(row.stage for row in rows):
        stage, inside = stages.get(name), nodes.get(name, [])
        if stage is not None and _repeats(stage, inside):
            only = inside[0]
            limit = stage if only.limit is None else only
            lines.append((0, attrs.evolve(
                only, blamed=only.blamed or stage.blamed, limit=limit.limit, source=limit.source
            )))  # fmt: skip
            lines += [(1, attempt) for attempt in _attempts(only, now, word)]
            continue
        if stage is not None:
            lines.append((0, stage))
        for node in inside:
            lines.append((1, node))
            lines += [(2, attempt) for attempt in _attempts(node, now, word)]
    return lines


def _attempts(node: Row, now: float, word: str) -> Iterator[Row]:
    """A line for each attempt of a node that has more than one, the middle of many on one line."""
    if not is_retried(node):
        return
    end = inf if node.limit_at is None else node.limit_at
    many = len(node.attempts) > _FIRST + _LAST + 1
    cut = len(node.attempts) - _LAST if many else 0
    for index, one in enumerate(node.attempts):
        if _FIRST <= index < cut:
            if index == _FIRST:
                hidden = node.attempts[_FIRST:cut]
                yield Row(level="more", stage=node.stage, name="", attempts=hidden)
            continue
        worked = one.worked_until if node.worked_until is None else node.worked_until
        yield Row(
            level="attempt",
            stage=node.stage,
            name=f"hedge {one.number}" if one.hedge else f"{word}{one.number}",
            started=one.started,
            worked_until=max(one.started, min(one.worked_until, worked)),
            ended=one.ended,
            limit=one.limit,
            limit_at=None if one.limit is None else min(end, one.started + one.limit),
            source=one.source,
            status=one.status,
        )
    since = going_since(node)
    if since is not None:
        number = max((one.number for one in node.attempts if not one.hedge), default=0)
        yield Row(
            level="attempt",
            stage=node.stage,
            name=f"{word}{number + 1}",
            started=since if since <= now else None,
            worked_until=stopped_of(node, now),
        )


def _repeats(stage: Row, inside: list[Row]) -> bool:
    return len(inside) == 1 and inside[0].name == stage.name and inside[0].status is stage.status
