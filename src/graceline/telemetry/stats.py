"""Plain aggregates that the hot path adds to; a collector reads them at scrape.

A node costs two additions and a bisection. There are no labels here: the aggregate of a node is
found once, when its pipeline is compiled.
"""

from __future__ import annotations

from bisect import bisect_left

from graceline.deadlines import Status
from graceline.telemetry.exemplars import Exemplars

__all__ = ["BUCKETS", "Durations", "Stats"]

BUCKETS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
"""Upper bounds in seconds: dense from 1 ms to 1 s, then to 10 min."""


class Durations:
    """Durations of one status of one part: a histogram that is not cumulative."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * (len(BUCKETS) + 1)
        self.total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)


class Stats:
    """All aggregates of one engine, by (pipeline, stage, node); "" stands for the whole.

    Attributes:
        exemplars: traced durations, beside those that are counted here.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str, str], dict[Status, Durations]] = {}
        self.exemplars: Exemplars = Exemplars(BUCKETS)

    def part(self, pipeline: str, stage: str = "", node: str = "") -> dict[Status, Durations]:
        """The aggregates of a part by status, shared by all who ask."""
        key = (pipeline, stage, node)
        found = self._parts.get(key)
        if found is None:
            found = self._parts[key] = {status: Durations() for status in Status}
        return found

    def parts(self) -> dict[tuple[str, str, str], dict[Status, Durations]]:
        """A snapshot of what there is."""
        return dict(self._parts)
