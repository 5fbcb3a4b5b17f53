"""Admission: slots for runs, and a bounded queue in front of them, first in first out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import trio

from graceline.deadlines import Status
from graceline.engine.foresight import Foresight
from graceline.resilience import Refusal
from graceline.telemetry import events
from graceline.telemetry.stats import Stats, count
from graceline.values import frozen

if TYPE_CHECKING:
    from graceline.engine.state import RunState

__all__ = ["Admission", "AdmissionHealth", "AdmissionMode", "Waiter"]

_OK, _LATE = Status.OK, Status.LATE

AdmissionMode = Literal["observe", "enforce", "off"]


@frozen
class AdmissionHealth:
    """Whom an engine has refused so far.

    Attributes:
        mode: `observe`, `enforce` or `off`.
        rejected: how many runs were refused, by the reason.
        would_reject: in `observe`, how many would have been refused by a prediction, by the reason.
    """

    mode: str
    rejected: Mapping[str, int]
    would_reject: Mapping[str, int]


class Waiter:
    """A place in the queue."""

    __slots__ = ("event", "granted", "refusal", "scope")

    def __init__(self, deadline: float) -> None:
        self.event: trio.Event = trio.Event()
        self.scope: trio.CancelScope = trio.CancelScope(deadline=deadline)
        self.granted: bool = False
        self.refusal: Refusal | None = None


class Admission:
    """Slots and queue of one engine.

    Args:
        slots: how many runs may be active, `inf` for any number.
        max_queue: how many may wait, `inf` for any number.
        mode: what becomes of runs that can hardly be in time: `enforce` refuses them, `observe`
            counts them, `off` predicts nothing.
        stats: counts whom it refuses, and how long the others wait.
    """

    def __init__(self, slots: float, max_queue: float, mode: AdmissionMode, stats: Stats) -> None:
        self.slots: float = slots
        self.max_queue: float = max_queue
        self.active: int = 0
        self._mode = mode
        self._foresight = None if mode == "off" else Foresight()
        self._queue: dict[RunState, Waiter] = {}
        self._rejected = stats.rejections
        self._waits = stats.queue_wait
        self._would_reject: dict[str, int] = {}

    @property
    def queued(self) -> int:
        """How many runs wait for a slot."""
        return len(self._queue)

    def health(self) -> AdmissionHealth:
        """Whom it has refused so far."""
        return AdmissionHealth(self._mode, dict(self._rejected), dict(self._would_reject))

    def refuse(self, refusal: Refusal) -> Refusal:
        """Count a refusal; returns it."""
        count(self._rejected, refusal.reason)
        return refusal

    def enter(self, run: RunState) -> Refusal | None:
        """Take a slot if one is free, else a place at the end of the queue; or say why not."""
        foresight = self._foresight
        if foresight is not None:
            refusal = foresight.on_arrival(run, self.active, self.slots, len(self._queue))
            if refusal is not None and self._stands(run, refusal, run.origin):
                foresight.leaves(run)
                return self.refuse(refusal)
        if self.active < self.slots:  # then nobody waits
            self.active += 1
            run.slot = True
            self._waits.counts[0] += 1  # for 0 s
        elif len(self._queue) < self.max_queue:
            run.waiter = self._queue[run] = Waiter(run.root.fired())
        else:
            later = None
            if foresight is not None:
                foresight.leaves(run)
                later = foresight.retry_after(run, self.active, self.slots, len(self._queue))
            return self.refuse(Refusal("queue full", retry_after=later))
        return None

    @trio.lowlevel.enable_ki_protection
    async def wait(self, run: RunState) -> Refusal | None:
        """Wait for a slot until the run fires; `run.slot` says whether there is one.

        A slot may have come already, between joining the queue and this.

        Returns:
            why the run was dropped at the head of the queue, if it was.

        Raises:
            Cancelled: if the caller was cancelled; a slot that came at the same time is given back.
        """
        waiter = run.waiter
        assert waiter is not None  # noqa: S101 - it joined the queue
        try:
            with waiter.scope:
                await waiter.event.wait()
        except BaseException:
            if waiter.granted:
                self._pass_on(run)
                waiter.granted = False
            raise
        finally:
            run.waiter = None
            self._waits.add(run.clock() - run.origin)
            self._queue.pop(run, None)
            run.slot = waiter.granted
            if not run.slot and self._foresight is not None:
                self._foresight.leaves(run)
        return waiter.refusal

    def ended(self, run: RunState, end: float, status: Status) -> None:
        """Learn how long a run had its slot, and whether it was cut."""
        if self._foresight is not None:
            self._foresight.ended(run, end, well=status is _OK or status is _LATE)

    def leave(self, run: RunState) -> None:
        """Give the slot of a run back: the first in the queue that can use it gets it."""
        if run.expected is not None and self._foresight is not None:
            self._foresight.leaves(run)
        if self._queue:
            self._pass_on(run)
        else:  # spared a call: it is the end of every run
            self.active -= 1

    def _pass_on(self, run: RunState) -> None:
        now = run.clock()
        while self._queue:
            following = next(iter(self._queue))
            waiter = self._queue.pop(following)
            if following.root.fired() <= now:
                continue  # it is about to leave by itself: timed out, or cancelled
            waiter.refusal = self._drop(following, now)
            waiter.granted = waiter.refusal is None
            waiter.event.set()
            if waiter.granted:
                return
        self.active -= 1

    def _drop(self, run: RunState, now: float) -> Refusal | None:
        """Why the first in the queue does not get the slot."""
        if self._foresight is None:
            return None
        # One slot is about to be free, and the run itself is in the queue no longer.
        refusal = self._foresight.at_head(run, now, self.active, self.slots, len(self._queue))
        if refusal is None or not self._stands(run, refusal, now):
            return None
        return self.refuse(refusal)

    def _stands(self, run: RunState, refusal: Refusal, now: float) -> bool:
        """Whether a refusal by prediction is one; else it is counted and told of."""
        if self._mode == "enforce":
            return True
        if not run.counted:
            run.counted = True
            self._would_reject[refusal.reason] = self._would_reject.get(refusal.reason, 0) + 1
            if run.trouble_heard():
                run.emit(
                    events.WouldReject,
                    now,
                    reason=refusal.reason,
                    remaining=max(0.0, run.root.fired() - now),
                    retry_after=refusal.retry_after,
                )
        return False
