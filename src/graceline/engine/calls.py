"""What a call brings along: the level it is made from, the caller's deadline, its own limit."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING

import attrs
import trio

from graceline.deadlines import Source
from graceline.definitions.pipeline import BUDGETS
from graceline.durations import Duration, parse_duration
from graceline.engine.cleanup import enclosing_cleanup
from graceline.engine.learning import Learned
from graceline.engine.levels import CURRENT, LevelRun
from graceline.errors import DefinitionError

if TYPE_CHECKING:
    from graceline.engine.plan import PipelinePlan
    from graceline.engine.state import RunState

__all__ = ["limited", "runs_around", "surroundings"]


def surroundings() -> tuple[float, LevelRun | None]:
    """The deadline of the calling task, `-inf` if it is cancelled, and the level it works for.

    No coroutine, since it would have to wait only where it is cancelled: that is for the caller.
    """
    parent = CURRENT.get()
    if parent is not None and parent.ended and enclosing_cleanup(parent) is None:
        parent = None  # a background task that outlived its node starts a run of its own
    return trio.current_effective_deadline(), parent


def runs_around() -> set[RunState]:
    """The runs that the calling task works for: who waits for them waits for itself."""
    around: set[RunState] = set()
    level = CURRENT.get()
    while level is not None:
        around.add(level.run)
        level = level.run.parent
    return around


def limited(plan: PipelinePlan, timeout: Duration | None, budget: Duration | None) -> PipelinePlan:
    """The plan with the limit that the call gives."""
    limit, history = plan.limit, plan.history
    if timeout is not None:
        if isinstance(history, Learned):  # the given limit replaces the learned one
            history = history.softened()
        seconds = parse_duration(timeout, "timeout=", signed=True)
        source = None if seconds == inf else Source.CALL
        limit = attrs.evolve(limit, timeout=seconds, source=source)
    if budget is not None:
        if budget in BUDGETS:
            raise DefinitionError(
                f"budget= of a run is how long the requester still waits, such as 0.25; how the "
                f"parts share the time is said by Pipeline(budget={budget!r})"
            )
        if isinstance(budget, Mapping | list | tuple):
            raise DefinitionError(
                "budget= of a run is a number of seconds, and these are headers; write "
                "budget=incoming_budget(headers)"
            )
        seconds = parse_duration(budget, "budget=", signed=True)
        # A learned limit may yet be anything up to its ceiling.
        most = limit.timeout
        if timeout is None and isinstance(history, Learned):
            most = history.ceiling
        if seconds < most:
            limit = attrs.evolve(limit, timeout=seconds, source=Source.HEADER)
    return attrs.evolve(plan, limit=limit, history=history)
