"""What a run that goes on looks like at one instant: what is cancelled, and what is left of limits.

The events say when a part was to be cancelled, not that it was: a limit that has passed did it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graceline.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graceline.timelines.drawn import Drawn
    from graceline.timelines.rows import Row

__all__ = [
    "common_scale",
    "known_until",
    "left_of",
    "scale_of",
    "share_of",
    "stopped_of",
    "ticking",
    "urgency_of",
]

_ROOM = 1.5  # a limit is drawn if it lies within this multiple of what was used
_AHEAD = 8  # the same while a run goes on: its bars grow towards the limits
_SCALES = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18_000,
    43_200, 86_400,
)  # fmt: skip


def stopped_of(row: Row, now: float) -> float | None:
    """When the work of a part that has not ended was cancelled; None if it was not."""
    if row.status is not None or row.started is None:
        return None
    stops = [at for at in (row.worked_until, row.limit_at) if at is not None and at <= now]
    return min(stops, default=None)


def left_of(row: Row, now: float) -> float | None:
    """Seconds until the work of a part is cancelled; None if it is not at work, or has no limit."""
    waits = row.status is not None or row.started is None
    if waits or row.limit_at is None or stopped_of(row, now) is not None:
        return None
    return row.limit_at - now


def share_of(row: Row, left: float) -> float:
    """How much of its time a part has left, at most 1."""
    return min(1.0, left / max(left, (row.limit_at or 0.0) - (row.started or 0.0)))


def urgency_of(share: float) -> str:
    """The colour of what is left."""
    return "green" if share > 0.3 else "yellow" if share > 0.1 else "red"


def scale_of(run: Row, rows: list[Row], now: float) -> float:
    """The instant at the right end. While a run goes on it changes seldom, so that bars grow."""
    used = max([now, *(row.ended for row in rows if row.ended is not None)])
    if run.status is not None or stopped_of(run, now) is not None:
        limits = [row.limit_at for row in rows if row.limit_at is not None]
        return max([used, *(at for at in limits if at <= used * _ROOM)])
    limits = [row.limit_at for row in rows if row.limit_at and left_of(row, now) is not None]
    ahead = [at for at in limits if at <= used * _AHEAD]
    return max(ahead) if ahead else next((at for at in _SCALES if at >= used), used)


def known_until(timeline: Drawn, now: float) -> float:
    """The last instant of a timeline at which something is known to have happened, at least `now`.

    It is `now` itself for a run that goes on while one looks.
    """
    run = timeline.pipeline
    rows = [*timeline.rows(), *([] if run is None else [run])]
    found = [at for row in rows for at in (row.started, row.ended) if at is not None]
    return max([now, *found])


def common_scale(timelines: Iterable[Drawn], now: float = 0.0) -> float:
    """The instant at the right end of drawings of several runs; 0 if nothing took any time."""
    scales = [0.0]
    for timeline in timelines:
        run = timeline.pipeline
        if run is not None:
            rows = [run, *timeline.rows()]
            scales.append(scale_of(run, rows, known_until(timeline, now)))
    return max(scales)


def ticking(seconds: float) -> str:
    """Seconds that change while one looks: always as many digits."""
    if seconds < 0.9995:
        return f"{max(0, round(seconds * 1000))}ms"
    return f"{seconds:.1f}s" if seconds < 59.95 else format_duration(round(seconds))
