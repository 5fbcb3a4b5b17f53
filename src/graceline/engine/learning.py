"""Learned limits: each start of a part takes a lease, each outcome settles it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from graceline.adaptive import Key, Learners, Settings, Store
from graceline.deadlines import Limit, Source, Status, Verdict
from graceline.definitions import Adaptive

if TYPE_CHECKING:
    from graceline.engine.levels import LevelRun

__all__ = ["Learned", "Learning"]

_RETURNED = (Status.OK, Status.LATE)


class Learning:
    """The learners of one engine.

    Args:
        store: where they come from and go to; None keeps them for the life of the engine.
        lane: whose durations they are.
    """

    def __init__(self, store: Store | None, lane: str) -> None:
        self._learners = Learners(store)
        self._lane = lane
        self._kept = store is not None
        # Histories of several processes merge by their stamps, so these must be of one clock.
        self._stamp = time.time if self._kept else None

    async def begin(self) -> None:
        """Read what the store knows."""
        if self._kept:
            await trio.to_thread.run_sync(self._learners.preload)

    async def end(self) -> None:
        """Hand what was learned to the store, and wait until it is safe there."""
        if self._kept:
            await trio.to_thread.run_sync(self._learners.close)

    def of(self, policy: Adaptive, pipeline: str, stage: str, node: str, level: str) -> Learned:
        """The learned limit of one part."""
        settings = Settings(policy.initial, policy.floor, policy.ceiling, policy.alpha)
        key = Key(self._lane, pipeline, stage, node, level)
        return Learned(self._learners, key, settings, self._stamp)


class Learned:
    """The learned limit of one part of a pipeline."""

    __slots__ = ("_key", "_learners", "_settings", "_stamp")

    def __init__(
        self,
        learners: Learners,
        key: Key,
        settings: Settings,
        stamp: Callable[[], float] | None,
    ) -> None:
        self._learners = learners
        self._key = key
        self._settings = settings
        self._stamp = stamp

    @property
    def ceiling(self) -> float:
        """The highest limit in seconds."""
        return self._settings.ceiling

    def limit(self, level: LevelRun) -> None:
        """Give a level that starts the limit that is learned now.

        A budget that is lower stays, and so does a limit that was given with the call: then the
        level's end teaches how long it took, and nothing else.
        """
        lease = level.lease = self._learners.issue(self._key, self._settings)
        plan = level.limit
        budget = plan.source is Source.HEADER and lease.timeout < plan.timeout
        if budget or plan.source is Source.ADAPTIVE:  # a limit given with the call counts alone
            level.limit = Limit(
                plan.level, plan.name, lease.timeout, 0.0, plan.grace, Source.ADAPTIVE, plan.stated,
                plan.enforced,
            )  # fmt: skip
            level.deadline = level.start + level.limit.span

    def settle(self, level: LevelRun, verdict: Verdict, now: float, *, returned: bool) -> None:
        """Tell the learner how the work of a level ended at `now`.

        `returned` says that it returned a value, whatever became of that.
        """
        lease, level.lease = level.lease, None
        if lease is None:  # it never started
            return
        elapsed = now - level.start
        at = None if self._stamp is None else self._stamp()
        if returned or verdict.status in _RETURNED:
            lease.completed(elapsed, at)
        elif _cut_by_itself(level, verdict, now):
            lease.cut(lease.timeout, at)
        else:
            worked = min(now, level.fired(), level.foreign_at) - level.start
            lease.censored(max(0.0, worked), at)


def _cut_by_itself(level: LevelRun, verdict: Verdict, now: float) -> bool:
    """Whether it was the learned limit that cut the level, and not one above it or a cancel."""
    return (
        verdict.status is Status.TIMED_OUT
        and level.limit.source is Source.ADAPTIVE
        and level.cause(now) is level
        and level.deadline <= level.cancelled_at
    )
