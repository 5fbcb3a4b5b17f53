"""Health: what an engine is doing, as an immutable snapshot that any thread may take."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from graceline.engine.admission import AdmissionHealth
from graceline.engine.bulkhead import BulkheadHealth
from graceline.engine.stacks import thread_stack
from graceline.engine.watchdog import Blocked, Stuck
from graceline.resilience import AlternativeSnapshot, BreakerSnapshot
from graceline.values import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graceline.engine.state import RunState
    from graceline.work.thread import Hung

__all__ = ["AbandonedThread", "Health", "RunHealth", "abandoned_threads", "run_health"]


@frozen(kw_only=True)
class RunHealth:
    """A run that is queued or running.

    Attributes:
        run_id: its id.
        pipeline: its pipeline.
        elapsed: seconds since its submission.
        remaining: seconds until its work is cancelled, 0 if it is; `inf` if nothing limits it.
        queued: whether it still waits for a slot.
        completed: how many of its nodes have completed.
    """

    run_id: str
    pipeline: str
    elapsed: float
    remaining: float
    queued: bool
    completed: int


@frozen(kw_only=True)
class AbandonedThread:
    """A worker thread that goes on although its node was cancelled.

    Attributes:
        run_id: the run it worked for.
        node: the node it worked for.
        seconds: how long ago it was abandoned.
        stack: where it is now, outermost call first; empty if it is about to end.
    """

    run_id: str
    node: str
    seconds: float
    stack: tuple[str, ...]


@frozen(kw_only=True)
class Health:
    """An engine at one moment.

    Attributes:
        mode: `enforce`, `observe` or `off`.
        lane: the lane under which telemetry shows the engine.
        draining: whether new runs are refused.
        runs: the runs that are queued or running, with their budgets.
        active: how many runs have a slot.
        slots: how many may have one; `inf` for any number.
        queued: how many runs wait for a slot.
        admission: how many runs were refused, or would have been.
        abandoned_threads: worker threads that nobody waits for.
        breakers: the circuit breakers, and what they count.
        bulkheads: the bulkheads, and who waits for a slot.
        malformed_headers: deadline headers so far that said nothing, and were ignored.
        alternatives: the alternatives of choices, and how healthy they are.
        dropped_events: events so far that a slow sink lost, because its queue was full.
        stuck_nodes: nodes that do not end, as the watchdog last saw them.
        blocked: what blocks the event loop at this moment; None if nothing does.
    """

    mode: str
    lane: str
    draining: bool
    runs: tuple[RunHealth, ...]
    active: int
    slots: float
    queued: int
    admission: AdmissionHealth
    abandoned_threads: tuple[AbandonedThread, ...]
    breakers: tuple[BreakerSnapshot, ...]
    bulkheads: tuple[BulkheadHealth, ...]
    malformed_headers: int
    alternatives: tuple[AlternativeSnapshot, ...]
    dropped_events: int
    stuck_nodes: tuple[Stuck, ...]
    blocked: Blocked | None

    @property
    def ok(self) -> bool:
        """Whether nothing is stuck, hung or blocked. A full queue is no illness."""
        return not (self.abandoned_threads or self.stuck_nodes or self.blocked)


def run_health(run: RunState) -> RunHealth:
    """The health of a run; it may end while it is looked at."""
    now = run.clock()
    root = getattr(run, "root", None)  # a run that has ended forgets it
    fired = inf if root is None else root.fired()
    return RunHealth(
        run_id=run.run_id,
        pipeline=run.plan.name,
        elapsed=now - run.origin,
        remaining=max(0.0, fired - now),
        queued=run.waiter is not None,
        completed=len(run.completed),
    )


def abandoned_threads(hung: Iterable[Hung]) -> tuple[AbandonedThread, ...]:
    """What is known of threads that were abandoned."""
    return tuple(
        AbandonedThread(
            run_id=one.run_id,
            node=one.node,
            seconds=one.seconds,
            stack=thread_stack(one.ident),
        )
        for one in hung
    )
