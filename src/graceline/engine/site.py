"""The site of work: what a thread, a process or a program knows of the node it is for."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from graceline.engine.cleanup import Cleanup
from graceline.engine.context import partial_kind, stop_at
from graceline.engine.levels import LevelRun, current_level
from graceline.telemetry import events
from graceline.work.base import Facts
from graceline.work.luggage import Luggage

if TYPE_CHECKING:
    from graceline.work.guard import Guard

__all__ = ["Site", "current_guard", "current_site"]


class Site:
    """See `graceline.work.base.WorkContext`. Made in the event loop, in the task of the node."""

    __slots__ = ("_level",)

    def __init__(self, level: LevelRun) -> None:
        self._level = level

    @property
    def run_id(self) -> str:
        """See `WorkContext`."""
        return self._level.run.run_id

    @property
    def node(self) -> str:
        """See `WorkContext`."""
        return self._level.limit.name

    def remaining(self) -> float:
        """See `WorkContext`."""
        return max(0.0, self._level.fired() - self._level.run.clock())

    def facts(self) -> Facts:
        """See `WorkContext`."""
        level = self._level
        run = level.run
        now = run.clock()
        return (
            run.run_id, run.plan.name, self._stage, level.limit.name, run.shared.lane,
            self._has_partial, max(0.0, level.fired() - now), stop_at(level) - now,
            level.grace if run.shared.enforced else inf, max(1, level.attempt), level.hedge,
        )  # fmt: skip

    def carrier(self) -> dict[str, str]:
        """See `WorkContext`."""
        return self._level.run.shared.hub.carrier()

    def luggage(self) -> Luggage:
        """See `WorkContext`."""
        return self._level.run.shared.hub.luggage()

    def cleanup(self) -> Cleanup:
        """See `WorkContext`."""
        return Cleanup()

    def save_partial(self, value: Any) -> None:
        """See `WorkContext`."""
        if self._has_partial and not self._level.ended:
            self._level.partial = value

    def cleanup_overran(self) -> None:
        """See `WorkContext`."""
        self._level.run.cleanup_overran(self._level)

    def thread_abandoned(self, abandoned: int) -> None:
        """See `WorkContext`."""
        self._tell(events.ThreadAbandoned, abandoned=abandoned)

    def thread_ended(self, abandoned: int) -> None:
        """See `WorkContext`."""
        self._tell(events.ThreadEnded, abandoned=abandoned)

    def signal_sent(self, signal: int, pid: int) -> None:
        """See `WorkContext`."""
        self._tell(events.SignalSent, signal=signal, pid=pid)

    def output_received(self, stream: str, text: str) -> None:
        """See `WorkContext`."""
        run = self._level.run

        def build() -> events.OutputReceived:
            return events.OutputReceived(
                at=run.clock(), run_id=run.run_id, pipeline=run.plan.name, lane=run.shared.lane,
                stage=self._stage, node=self.node, stream=stream, text=text,
            )  # fmt: skip

        run.shared.hub.emit_output(build)

    @property
    def _stage(self) -> str:
        return str(getattr(self._level.plan, "stage", ""))

    @property
    def _has_partial(self) -> bool:
        """The finished items of a list are the partial value of its node."""
        return partial_kind(self._level) == "node"

    def _tell(self, kind: type[events.Event], **fields: Any) -> None:
        run = self._level.run
        run.emit(kind, run.clock(), stage=self._stage, node=self.node, **fields)


def current_site() -> Site:
    """The site of the work that is being started here."""
    return Site(current_level())


def current_guard() -> Guard:
    """The guard of the engine whose run goes on here."""
    return current_level().run.shared.workers.guard
