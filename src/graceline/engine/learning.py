"""Durations: every start of a part that learns takes a lease, every end is written down."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import nan
from typing import TYPE_CHECKING

import trio

from graceline.adaptive import DurationHistory, Key, Learners, Settings, Store
from graceline.deadlines import Source, Status, Verdict
from graceline.definitions import Adaptive
from graceline.saying import say

if TYPE_CHECKING:
    from graceline.engine.levels import LevelRun
    from graceline.telemetry.stats import PartStats, PipelineStats

__all__ = ["Learned", "Learning", "Recorded"]

_log = logging.getLogger("graceline.adaptive")


class Learning:
    """The durations of one engine.

    Args:
        store: where they come from and go to; None keeps them for the life of the engine.
        lane: whose durations they are.
    """

    def __init__(self, store: Store | None, lane: str) -> None:
        self._learners = Learners(store)
        self._store = store
        self._lane = lane
        self.kept: bool = store is not None
        # Histories of several processes merge by their stamps, so these must be of one clock.
        self._stamp = time.time if self.kept else None

    async def begin(self) -> None:
        """Read what the store knows."""
        if self.kept:
            await trio.to_thread.run_sync(self._learners.preload)

    async def end(self) -> None:
        """Hand what was learned to the store, and wait until it is safe there."""
        if self.kept:
            try:
                await trio.to_thread.run_sync(self._learners.close)
            except Exception as error:  # noqa: BLE001 - whatever a store raises, all ends well
                say(
                    _log, logging.WARNING, "history_lost",
                    "what was learned cannot be kept in %r", self._store,
                    exc_info=error, store=type(self._store).__name__,
                )  # fmt: skip

    def learned(
        self,
        policy: Adaptive,
        pipeline: str,
        stage: str,
        node: str,
        level: str,
        stats: PartStats | PipelineStats | None,
        *,
        soft: bool,
    ) -> Learned:
        """The learned limit of one part; `soft`: it cuts nothing. `stats` shows it."""
        settings = Settings(policy.initial, policy.floor, policy.ceiling, policy.alpha)
        key = Key(self._lane, pipeline, stage, node, level)
        return Learned(self._learners, key, self._stamp, settings, stats, soft=soft)

    def recorded(self, pipeline: str, stage: str, node: str, level: str = "node") -> Recorded:
        """The durations of a node, or of its attempts, whose limit is not learned."""
        key = Key(self._lane, pipeline, stage, node, level)
        return Recorded(self._learners, key, self._stamp)


class Recorded:
    """The durations of one part whose limit is not learned."""

    __slots__ = ("_key", "_learners", "_stamp")

    def __init__(self, learners: Learners, key: Key, stamp: Callable[[], float] | None) -> None:
        self._learners = learners
        self._key = key
        self._stamp = stamp

    @property
    def history(self) -> DurationHistory:
        """The durations so far."""
        return self._learners.recorder(self._key).history

    def begin(self, level: LevelRun) -> None:
        """Nothing is asked for."""

    def ended_well(self, level: LevelRun, now: float) -> None:
        """Write down the duration of a level that returned at `now`, in time."""
        at = None if self._stamp is None else self._stamp()
        self._learners.recorder(self._key).add(now - level.start, at=at)

    def settle(self, level: LevelRun, verdict: Verdict, now: float, *, returned: bool) -> None:
        """Write down how long a level took, or took at least, that ended at `now`.

        `returned` says that it returned a value, whatever became of that. What was refused has not
        worked, and teaches nothing.
        """
        if returned:
            self.ended_well(level, now)
        elif verdict.status is Status.REJECTED:
            self._refused(level)
        else:
            at = None if self._stamp is None else self._stamp()
            self._cut_short(level, verdict, now, at)

    def _refused(self, level: LevelRun) -> None:
        """Nothing was learned."""

    def _cut_short(
        self,
        level: LevelRun,
        verdict: Verdict,  # noqa: ARG002 - for whoever learns
        now: float,
        at: float | None,
    ) -> None:
        worked = _worked(level, now)
        if worked > 0.0:
            self._learners.recorder(self._key).add(worked, censored=True, at=at)


class Learned(Recorded):
    """The learned limit of one part of a pipeline.

    Args:
        learners: find the learner.
        key: whose durations they are.
        stamp: gives the stamps of samples; None numbers them.
        settings: the bounds.
        stats: takes the limit that was applied last; None for that of attempts.
        soft: the limit is not applied; it is what the part is late after.
    """

    __slots__ = ("_settings", "_soft", "_stats")

    def __init__(
        self,
        learners: Learners,
        key: Key,
        stamp: Callable[[], float] | None,
        settings: Settings,
        stats: PartStats | PipelineStats | None,
        *,
        soft: bool,
    ) -> None:
        super().__init__(learners, key, stamp)
        self._settings = settings
        self._stats = stats
        self._soft = soft

    @property
    def history(self) -> DurationHistory:
        """The durations so far."""
        return self._learners.learner(self._key, self._settings).history

    @property
    def ceiling(self) -> float:
        """The highest limit in seconds."""
        return self._settings.ceiling

    def softened(self) -> Learned:
        """The same, but its limit is not applied."""
        return Learned(self._learners, self._key, self._stamp, self._settings, None, soft=True)

    def begin(self, level: LevelRun) -> None:
        """Give a level that starts the limit that is learned now.

        A budget that is lower stays: then the level's end teaches how long it took at least. What
        has too little time left for a probe is none.
        """
        lease = level.lease = self._learners.learner(self._key, self._settings).issue()
        if lease.is_probe and level.parent is not None:
            left = level.parent.fired() - level.start
            if left < self._settings.hung_from:
                lease.decline()
        stated = level.limit
        if not self._soft and (
            stated.source is Source.ADAPTIVE  # else it is a budget
            or lease.timeout < stated.timeout
        ):
            level.apply(lease)
            if self._stats is not None:
                self._stats.learned = lease.timeout
        else:
            lease.in_force = False

    def ended_well(self, level: LevelRun, now: float) -> None:
        """Settle the lease of a level that returned at `now`, in time."""
        lease = level.lease
        assert lease is not None  # noqa: S101 - what returned has started
        lease.completed(now - level.start, None if self._stamp is None else self._stamp())

    def _refused(self, level: LevelRun) -> None:
        lease = level.lease
        assert lease is not None  # noqa: S101 - it is refused after it asked for its limit
        lease.censored(nan)

    def _cut_short(self, level: LevelRun, verdict: Verdict, now: float, at: float | None) -> None:
        lease = level.lease
        if lease is None:  # it never started
            return
        if _cut_by_itself(level, verdict, now):
            lease.cut(lease.timeout, at)
        else:
            lease.censored(max(0.0, _worked(level, now)), at)


def _worked(level: LevelRun, now: float) -> float:
    """Seconds that a level worked, without what it did after its cancel."""
    return min(now, level.fired(), level.foreign_at) - level.start


def _cut_by_itself(level: LevelRun, verdict: Verdict, now: float) -> bool:
    """Whether it was the learned limit that cut the level, and not one above it or a cancel."""
    return (
        verdict.status in (Status.TIMED_OUT, Status.OK)  # ok, if only fail-soft parts were left
        and level.applied is not None
        and level.cause(now) is level
        and level.deadline <= level.cancelled_at
    )
