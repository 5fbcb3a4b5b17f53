"""Soft deadlines: when a part is still running at the time at which it should have been done.

Nothing is cut; whoever listens is told, while there is still something to be done about it.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING

import trio

from graceline.telemetry import events

if TYPE_CHECKING:
    from graceline.engine.levels import LevelRun

__all__ = ["LateWatch"]

_FEW = 64
"""Entries that are not worth a pass over the heap."""


class LateWatch:
    """Tells of parts that run late. One system task sleeps until the earliest soft deadline.

    Parts that end in time leave their entry behind; it is dropped when it comes to the top.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, LevelRun, str, str]] = []
        self._prune_at = _FEW
        self._serial = count()
        self._pause: trio.CancelScope | None = None
        self._scope: trio.CancelScope | None = None
        self._closed = False

    def watch(self, level: LevelRun, late_at: float, stage: str, node: str) -> None:
        """Tell at `late_at`, absolute seconds, if the level has not ended by then."""
        if self._closed or not level.run.trouble_heard():
            return
        if len(self._heap) >= self._prune_at:  # else what has ended would live as long as its entry
            self._heap = [entry for entry in self._heap if not _is_over(entry[2])]
            heapify(self._heap)
            self._prune_at = 2 * len(self._heap) + _FEW
        heappush(self._heap, (late_at, next(self._serial), level, stage, node))
        if self._scope is None:
            self._scope = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._work, name="graceline soft deadlines")
        elif self._pause is not None and late_at < self._pause.deadline:
            self._pause.deadline = late_at

    def close(self) -> None:
        """End the task; nothing is told any more."""
        self._closed = True
        self._heap.clear()
        if self._scope is not None:
            self._scope.cancel()

    async def _work(self) -> None:
        assert self._scope is not None  # noqa: S101 - made before the task
        with self._scope:
            while True:
                with trio.CancelScope(deadline=self._next()) as self._pause:
                    await trio.sleep_forever()
                self._tell(trio.current_time())

    def _next(self) -> float:
        """The earliest soft deadline of a part that has not ended; `inf` if there is none."""
        while self._heap and _is_over(self._heap[0][2]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    def _tell(self, now: float) -> None:
        while self._next() <= now:
            late_at, _, level, stage, node = heappop(self._heap)
            fires_at = level.fired()
            if fires_at <= now:  # it is cancelled, and unwinds
                continue
            level.run.emit(
                events.RunningLate,
                now,
                stage=stage,
                node=node,
                late_after=late_at - level.start,
                fires_at=fires_at,
            )


def _is_over(level: LevelRun) -> bool:
    """Whether a part has ended, or its run was torn down around it."""
    return level.ended or level.run.ended
