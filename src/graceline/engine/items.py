"""A node that runs over a list: items in parallel, in order, each with a limit of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import trio

from graceline.deadlines import Status, blame_level
from graceline.engine.endings import classify
from graceline.engine.levels import CURRENT, ItemRun, LevelRun
from graceline.engine.plan import NodePlan
from graceline.engine.settling import InnerTimeoutError, judge, kept, refusal
from graceline.engine.state import RunState
from graceline.engine.strand import Strand
from graceline.values import define
from graceline.work import WorkRefusedError

__all__ = ["run_items"]


async def run_items(run: RunState, level: LevelRun, plan: NodePlan, value: Any) -> list[Any]:
    """Run a node over the items of its input; finished items are its partial value.

    Raises:
        TypeError: if the input is no list of items, nor what `items=` gives of it.
        InnerTimeoutError: if an item exceeded its own limit.
        BaseException: what an item raised; the other items were cancelled.
    """
    what = "its input"
    if plan.items is not None:
        value, what = plan.items(value), "what items= gives"
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise TypeError(
            f"node {plan.name!r} runs over a list, and {what} is of type {type(value).__name__}"
        )
    items = list(value)
    loop = _Loop(run, level, plan, iter(enumerate(items)))
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(min(plan.max_parallel, len(items))):
                nursery.start_soon(loop.work, nursery, name=plan.name)
    except BaseException:
        if loop.failure is not None:  # the node was cut before it could be its failure
            level.errors += (kept(loop.failure),)
        raise
    finally:
        level.partial = [loop.done[index] for index in sorted(loop.done)]
    if isinstance(loop.failure, WorkRefusedError) and loop.begun:
        raise refusal(loop.failure, plan.name)  # the node itself was not: it has begun
    if loop.failure is not None:
        raise loop.failure
    return [loop.done[index] for index in range(len(items))]


@define(eq=False)
class _Loop:
    run: RunState
    level: LevelRun
    plan: NodePlan
    items: Iterator[tuple[int, Any]]
    done: dict[int, Any] = attrs.field(factory=dict)
    failure: Exception | None = None
    begun: int = 0

    @trio.lowlevel.enable_ki_protection
    async def work(self, nursery: trio.Nursery) -> None:
        """One worker: takes items until there are no more."""
        strand = Strand(self.level, self.run.clock())
        registry = self.run.top.strands
        registry[strand] = None
        strand.open()
        try:
            await self._work(strand)
        finally:
            strand.close()
            del registry[strand]
        if self.failure is not None:
            nursery.cancel_scope.cancel(f"an item of {self.plan.name!r} failed")

    @trio.lowlevel.disable_ki_protection
    async def _work(self, strand: Strand) -> None:
        assert self.plan.item is not None  # noqa: S101 - or this would not run
        for index, item in self.items:
            if self.failure is not None:
                return
            level = ItemRun(self.run, self.plan, self.level, strand.now, item, index)
            level.limit = attrs.evolve(self.plan.item, name=f"{self.plan.name}[{index}]")
            level.deadline = level.start + level.limit.span
            fires = min(level.deadline, self.level.fired())
            if strand.now >= fires:
                if level.cause(strand.now) is level:
                    blame = blame_level(level, strand.now)
                    self._keep(InnerTimeoutError(blame))
                    return
                strand.dirty = True  # a fresh scope is cancelled from its start
            strand.aim(fires)
            CURRENT.set(level)
            self.begun += 1
            try:
                await trio.lowlevel.checkpoint_if_cancelled()
                self.done[index] = await self.plan.call(item)
            except BaseException as error:
                strand.now = self.run.clock()
                if not await self._fails(strand, level, error):
                    raise
                return
            finally:
                level.ended = True
                self.level.errors += level.errors
            strand.now = self.run.clock()
            if self.run.shared.watching:
                self.run.watch(level, strand.now)

    async def _fails(self, strand: Strand, level: LevelRun, error: BaseException) -> bool:
        """Whether the item itself is to blame; else the exception goes on to the node."""
        ending, failure = classify(error)
        verdict, noticed = await judge(strand, level, ending, error)
        seen = strand.now if noticed is None else noticed
        if isinstance(failure, WorkRefusedError):
            self.begun -= 1
        if verdict.status is Status.FAILED and failure is not None:
            self._keep(failure)
            return True
        blame = verdict.blame
        if blame and level.cause(seen) is level:
            self._keep(InnerTimeoutError(blame, failure, verdict.grace_used))
            return True
        if verdict.foreign and self.failure is None:
            self.level.inherit_notice(seen, error)
        return False

    def _keep(self, failure: Exception) -> None:
        """The first failure is the node's, the others are kept."""
        if self.failure is None:
            self.failure = failure
        else:
            self.level.errors += (kept(failure),)
