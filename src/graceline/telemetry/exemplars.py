"""Exemplars: for each bucket of a histogram the latest traced run whose duration fell into it.

A sink that makes traces notes them; the collector puts them beside the buckets, so that a slow one
leads to a trace of what was slow. There is one per part, status and bucket, however many runs there
are.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graceline.deadlines import Status

__all__ = ["Exemplar", "Exemplars"]


class Exemplar(NamedTuple):
    """One duration and the span that took it.

    Attributes:
        value: the duration in seconds.
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        at: when it ended, in seconds since the epoch.
    """

    value: float
    trace_id: str
    span_id: str
    at: float


class Exemplars:
    """The exemplars of one engine. They are noted in the event loop; any thread may find them.

    Args:
        bounds: upper bounds of the buckets in seconds, in ascending order.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._kept: dict[tuple[str, str, str, Status], list[Exemplar | None]] = {}

    def note(
        self,
        pipeline: str,
        stage: str,
        node: str,
        status: Status,
        value: float,
        trace_id: str,
        span_id: str,
        at: float,
    ) -> None:
        """Keep an exemplar in place of the one before in its bucket.

        `stage` and `node` are "" for what is above them; the rest is as in `Exemplar`.
        """
        key = (pipeline, stage, node, status)
        kept = self._kept.get(key)
        if kept is None:  # complete before another thread can find it, and of this length for good
            kept = self._kept[key] = [None] * (len(self._bounds) + 1)
        kept[bisect_left(self._bounds, value)] = Exemplar(value, trace_id, span_id, at)

    def find(self, pipeline: str, stage: str, node: str, status: Status) -> tuple[Exemplar, ...]:
        """What was noted of a part with this status, by ascending duration; names as in `note`."""
        kept = self._kept.get((pipeline, stage, node, status), ())
        return tuple(one for one in kept if one is not None)
