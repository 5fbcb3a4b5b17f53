"""What a node can ask and say without changing its signature."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from graceline.deadlines import Level
from graceline.engine.cleanup import enclosing_cleanup
from graceline.engine.levels import CURRENT, LevelRun, current_level
from graceline.errors import GracelineError
from graceline.values import frozen
from graceline.work.here import current_job

if TYPE_CHECKING:
    from graceline.work.job import Job

__all__ = [
    "Current", "JobStopSignal", "StopSignal", "current", "partial_kind", "remaining",
    "save_partial", "stop_at", "stopping",
]  # fmt: skip


@frozen
class Current:
    """Where this code runs.

    Attributes:
        run_id: the run's id.
        pipeline: its pipeline's name.
        stage: the stage, or None in a handler of the pipeline.
        node: the node, or None in a handler of a stage or the pipeline.
        attempt: the number of the attempt, from 1.
        input: what this level got.
        lane: the engine's lane.
        hedge: whether this is the second copy of a hedged attempt.
    """

    run_id: str
    pipeline: str
    stage: str | None
    node: str | None
    attempt: int
    input: Any
    lane: str
    hedge: bool = False


def current() -> Current:
    """Where this code runs: run id, names, attempt, input, lane.

    Raises:
        GracelineError: outside of a run.
    """
    level = CURRENT.get()
    if level is None and (job := current_job()) is not None:
        order = job.order
        return Current(
            run_id=order.run_id,
            pipeline=order.pipeline,
            stage=order.stage,
            node=job.node,
            attempt=order.attempt,
            input=job.input,
            lane=order.lane,
            hedge=order.hedge,
        )
    level = current_level()
    plan, run = level.plan, level.run
    stage = getattr(plan, "stage", None)
    is_node = stage is not None
    if not is_node and level.limit.level == "stage":
        stage = plan.name
    return Current(
        run_id=run.run_id,
        pipeline=run.plan.name,
        stage=stage,
        node=plan.name if is_node else None,
        attempt=max(1, level.attempt),
        input=level.input,
        lane=run.shared.lane,
        hedge=level.hedge,
    )


def remaining() -> float:
    """Seconds until the work of this level is cancelled, whoever cancels it; never below 0.

    Inside a cleanup block, seconds until the block is cut. `inf` if nothing limits it. Works
    in worker threads and worker processes too.

    Raises:
        GracelineError: outside of a run.
    """
    level = CURRENT.get()
    if level is None and (job := current_job()) is not None:
        return job.remaining()
    level = current_level()
    block = enclosing_cleanup(level)
    end = level.fired() if block is None else block.deadline
    return max(0.0, end - level.run.clock())


def save_partial(value: Any) -> None:
    """Keep `value` as the node's partial value, in place of an earlier one.

    It appears in the outcome if the node does not finish. Works in worker threads and worker
    processes too; after the node has its outcome it does nothing.

    Raises:
        GracelineError: outside of a node, and inside an item of `each()`, where finished items are
            the partial value; in a worker process also for a value that cannot be pickled.
    """
    level = CURRENT.get()
    job = current_job() if level is None else None
    if job is not None and job.order.has_partial:
        job.save_partial(value)
        return
    kind = "item" if job is not None else partial_kind(level or current_level())
    if kind != "node":
        where = "an item of each()" if kind == "item" else f"a {kind}"
        raise GracelineError(
            f"save_partial() belongs in a node, and this is {where}"
            + ("; its finished items are the partial value" if "item" in where else "")
        )
    if level is not None and not level.ended:
        level.partial = value


def partial_kind(level: LevelRun) -> str:
    """Whose partial value is saved at a level: an attempt of an item belongs to the item."""
    kind = level.limit.level
    if kind not in ("attempt", "alternative"):
        return kind
    owner: Level = level
    while owner.limit.level in ("attempt", "alternative") and owner.parent is not None:
        owner = owner.parent
    # A copy that was superseded has left its item, and its definition remembers it.
    listed = owner.limit.level == "item" or getattr(level.plan, "item", None) is not None
    return "item" if listed else "node"


class StopSignal:
    """Whether polite work should end: set by `drain()`, or `stop_before` a deadline."""

    __slots__ = ("_at", "_level")

    def __init__(self, level: LevelRun) -> None:
        self._level = level
        self._at = stop_at(level)

    def is_set(self) -> bool:
        """Whether it is time to stop. Works in worker threads too."""
        return self._level.run.shared.drain.is_set() or self._level.run.clock() >= self._at

    async def wait(self) -> None:
        """Wait until it is time to stop."""
        with trio.CancelScope(deadline=self._at):
            await self._level.run.shared.drain.wait()
        await trio.lowlevel.checkpoint_if_cancelled()


def stop_at(level: LevelRun) -> float:
    """The earliest instant that `stop_before=` of this level or one above it asks for."""
    earliest = inf
    here: Level | None = level
    while here is not None:
        if isinstance(here, LevelRun) and here.plan.stop_before is not None:
            earliest = min(earliest, here.fired() - here.plan.stop_before)
        here = here.parent
    return earliest


class JobStopSignal:
    """The same for a job in a worker process, which has no event loop."""

    __slots__ = ("_job",)

    def __init__(self, job: Job) -> None:
        self._job = job

    def is_set(self) -> bool:
        """Whether it is time to stop."""
        return self._job.should_stop()

    async def wait(self) -> NoReturn:
        """There is nothing to wait with.

        Raises:
            GracelineError: always.
        """
        raise GracelineError(
            "stopping().wait() needs the engine's event loop; in a worker process ask is_set()"
        )


def stopping() -> StopSignal | JobStopSignal:
    """A signal that a loop may watch to finish politely; it is no part of the cancel path.

    Raises:
        GracelineError: outside of a run.
    """
    if CURRENT.get() is None and (job := current_job()) is not None:
        return JobStopSignal(job)
    return StopSignal(current_level())
