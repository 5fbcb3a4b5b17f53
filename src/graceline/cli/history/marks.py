"""What a picture of calls shows: the kinds of marks, their words, and what there is room for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graceline.adaptive.course import Point

__all__ = ["CALLS", "WORDS", "drawn", "kind_of", "lasting", "probing"]

WORDS = {
    "completed": "completed",
    "censored": "censored: would have taken longer",
    "probe": "probe, completed",
    "hung": "probe, censored",
    "alarm": "raised an alarm",
    "p95": "p95 of the calls so far",
    "limit": "limit",
    "probing": "limit of a probe",
}
"""What the legend says of each kind of mark."""

CALLS = ("completed", "censored", "probe", "hung", "alarm")
"""The kinds that stand for one call."""


def kind_of(point: Point) -> str:
    """The kind of mark of a call; one of `CALLS`."""
    if point.why == "alarm":
        return "alarm"
    if point.why == "probe":
        return "hung" if point.censored else "probe"
    return "censored" if point.censored else "completed"


def lasting(points: Sequence[Point]) -> list[float | None]:
    """The limit at each point in seconds; a probe has the one before it, which held for the rest.

    None where no limit is known.
    """
    line: list[float | None] = []
    for point in points:
        if point.why == "probe":
            line.append(line[-1] if line else None)
        else:
            line.append(point.limit)
    return line


def probing(points: Sequence[Point]) -> list[float | None]:
    """The limit of each probe in seconds, which held for that call only; None for other calls."""
    return [point.limit if point.why == "probe" else None for point in points]


def drawn(points: Sequence[Point]) -> Iterator[float]:
    """The seconds that a picture of some points has room for: durations, p95s, limits."""
    for point in points:
        yield point.duration
        if point.p95 is not None:
            yield point.p95
        if point.limit is not None:
            yield point.limit
