"""Sharing the time of a pipeline among its nodes, by what is left and what the others need.

The rule is that of `deadlines.budget`, what the others need is that of `adaptive.outlook`. Here is
the moment at which a part starts.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from graceline.adaptive import Outlook, Outlooks
from graceline.deadlines import (
    Gate,
    Kind,
    Level,
    Limit,
    Source,
    Status,
    Verdict,
    blame_failure,
    eqf_share,
    shared_limit,
)
from graceline.durations import format_duration

if TYPE_CHECKING:
    from graceline.engine.levels import LevelRun

__all__ = ["Share"]


class Share:
    """The share of one part in the budget of its pipeline.

    Args:
        stage: its stage's name.
        node: its name; empty for a stage.
        late_after: seconds from its start after which it is late; None if that is not stated.
        outlooks: what the parts are expected to take; None if nothing is kept for the others.
    """

    def __init__(
        self, stage: str, node: str, late_after: float | None, outlooks: Outlooks | None
    ) -> None:
        self._stage = stage
        self._node = node
        self._late_after = late_after
        self._outlooks = outlooks
        self._gate = Gate()

    def begin(self, level: LevelRun) -> Verdict | None:
        """Give a level that starts its limit, and see when it is late; returns a refusal if any."""
        late_after = self._late_after
        lease, limit = level.lease, level.limit
        if lease is not None and level.applied is None:
            late_after = lease.timeout
        if self._outlooks is not None:
            outlook = self._outlooks.of(self._stage, self._node)
            own, rest = outlook.own, outlook.rest
            left = _due(level.run.root) - level.start
            if limit.enforced:
                refusal = self._refuse(level, left, outlook)
                if refusal is not None:
                    return refusal
            p50 = own.p50 or None
            seconds = shared_limit(left, p50, rest.p50)
            if seconds < limit.timeout - limit.reserve:
                level.restrict(
                    Limit(
                        limit.level, limit.name, seconds, 0.0, limit.grace, Source.ADAPTIVE,
                        stated=True, enforced=limit.enforced,
                    )
                )  # fmt: skip
            if late_after is None and p50 is not None and rest.p50 > 0.0 and 0.0 < left < inf:
                late_after = eqf_share(left, p50, rest.p50)
        if late_after is not None and level.start + late_after < level.fired():
            level.run.shared.late.watch(level, level.start + late_after, self._stage, self._node)
        return None

    def _refuse(self, level: LevelRun, left: float, outlook: Outlook) -> Verdict | None:
        least = outlook.needed.least
        if least is None or left >= least or level.run.excused:
            return None
        if not self._gate.refuses():
            level.run.excused = True  # else a node after this one would refuse it 15 times in 16
            return None
        least_said = "for ever" if least == inf else f"more than {format_duration(least)}"
        message = (
            f"node {self._node!r} was not started: {format_duration(max(left, 0.0))} are left, and "
            f"with what follows it takes {least_said} in 95 % of the runs"
        )
        return Verdict(Status.REJECTED, blame_failure(level, level.start, Kind.REJECTED, message))


def _due(level: Level) -> float:
    """When the work of a level is to be cancelled, also where limits cut nothing."""
    due = level.fired()
    above: Level | None = level
    while above is not None and not above.limit.enforced:
        due = min(due, above.start + (above.limit.timeout - above.limit.reserve))
        above = above.parent
    return due
