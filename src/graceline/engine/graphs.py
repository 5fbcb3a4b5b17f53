"""Graphs: the parts of a stage or a pipeline of which several run at once.

A graph is cut into segments, in which one part follows the other; each has a task of its own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import attrs
import trio

from graceline.deadlines import Blame, Kind, Status
from graceline.engine.levels import OVER, SEATED, LevelRun, level_of
from graceline.engine.outcomes import Outcome
from graceline.engine.plan import NodePlan, PipelinePlan, StagePlan
from graceline.engine.settling import Book, route, settle_node
from graceline.engine.state import RunState
from graceline.engine.strand import Strand

__all__ = ["run_graph"]

_ENDED = {
    Status.FAILED: "failed",
    Status.TIMED_OUT: "timed out",
    Status.CANCELLED: "was cancelled",
    Status.REJECTED: "was refused",
}
_checkpoint_if_cancelled = trio.lowlevel.checkpoint_if_cancelled

_RunChain = Callable[[RunState, Strand, LevelRun, Any, Any, Book, float], Awaitable[Any]]


async def run_graph(
    run: RunState,
    strand: Strand,
    level: LevelRun,
    plan: StagePlan | PipelinePlan,
    value: Any,
    book: Book,
    run_chain: _RunChain,
) -> Any:
    """Run the parts of a holder in a nursery, each segment of its graph in a task of its own."""
    strand.aim(inf)  # every branch has a scope of its own
    strand.idle = True
    graph = _GraphRun(run, level, plan, value, book, run_chain, level.fired(), run.top.strands)
    book.values = {}
    try:
        # The branches settle every cancel that reaches them, and a nursery keeps its own to itself.
        async with trio.open_nursery() as nursery:
            for head in plan.roots:
                single = plan.singles.get(head)
                if single is None:
                    nursery.start_soon(graph.branch, nursery, head, name=head)
                else:
                    nursery.start_soon(graph.branch_of_one, single, name=head)
    finally:
        strand.idle = False
        strand.now = run.clock()
    if book.failure is not None:
        return None
    sinks = plan.graph.sinks
    if len(sinks) == 1:
        return book.values.get(sinks[0])
    return {name: book.values[name] for name in sinks if name in book.values}


@attrs.define(eq=False)
class _GraphRun:
    """A graph while it runs: a segment starts when the parts that it needs are usable."""

    run: RunState
    level: LevelRun
    plan: StagePlan | PipelinePlan
    value: Any
    book: Book
    run_chain: _RunChain
    bound: float
    registry: dict[Strand, None]

    @trio.lowlevel.enable_ki_protection
    async def branch(self, nursery: trio.Nursery, head: str) -> None:
        """Run the segment that begins with `head`, then one that it makes ready, and so on."""
        run, level, heads, before = self.run, self.level, self.plan.heads, self.plan.graph.before
        registry = self.registry
        now = run.clock()
        # Opened with the deadline of its first part, the scope need not be moved for it.
        first = now + heads[head][0].span
        strand = Strand(level, now, min(self.bound, first))
        registry[strand] = None
        strand.scope.__enter__()  # spelled out, as below: `strand.open` is one more call
        try:
            upcoming: str | None = head
            while upcoming is not None:
                parts = heads[upcoming]
                value = self._input(upcoming) if before[upcoming] else self.value
                bound = level.fired()  # another branch may have failed meanwhile
                value = await self.run_chain(run, strand, level, parts, value, self.book, bound)
                upcoming = self._advance(nursery, parts[-1].name, value, strand.now)
        finally:
            strand.scope.__exit__(None, None, None)
            del registry[strand]

    @trio.lowlevel.disable_ki_protection
    async def branch_of_one(self, plan: NodePlan) -> None:  # noqa: PLR0915 - see below
        """Run a branch that is one plain node, on which no other waits.

        As `branch`, with `run_nodes` spelled out for one node: most branches are like that, and
        each coroutine and each call in between is a measurable part of what a branch costs.
        """
        run, holder, book, value = self.run, self.level, self.book, self.value
        clock, registry = run.clock, self.registry
        start = now = clock()
        level: LevelRun | None = None
        history = plan.history
        fires = now + plan.span
        bound = holder.fired()  # another branch may have failed before this one had its first turn
        if bound < fires:
            fires = bound
        slow = now >= fires or run.traced  # then `run_nodes` makes a level of its own
        if history is not None and not slow:
            level = LevelRun(run, plan, holder, now, value)
            history.begin(level)
            fires = min(level.deadline, bound)
        strand = Strand(holder, now, fires)
        strand.scope.__enter__()
        try:
            registry[strand] = None
            if slow:
                value = await self.run_chain(run, strand, holder, (plan,), value, book, bound)
            else:
                seat = [level, run, plan, holder, now, value, None]
                SEATED.set(seat)
                try:
                    await _checkpoint_if_cancelled()  # see `run_nodes`
                    result = await plan.call(value)
                except BaseException as error:  # noqa: BLE001 - settled, or raised again there
                    strand.now = clock()
                    level = level_of(seat)
                    outcome = await settle_node(run, strand, level, book, error=error)
                else:
                    strand.now = now = clock()
                    level = seat[0]
                    fast = now < fires and not (strand.dirty or run.traced)
                    if fast and (level is None or plan.bare or not level.errors):
                        if level is None:
                            seat[0], lease = OVER, None
                        else:
                            level.ended = True
                            lease = level.lease
                            if history is not None:
                                history.ended_well(level, now)
                        book.outcomes[plan.name] = (result, start, now, lease)
                        book.values[plan.name] = result
                        run.completed.append(plan.label)
                        elapsed, ok = now - start, plan.ok
                        ok.counts[bisect_left(ok.bounds, elapsed)] += 1  # `add`, without the call
                        ok.total += elapsed
                        if plan.critical:
                            book.last = now
                        return
                    level = level_of(seat)
                    outcome = await settle_node(run, strand, level, book, value=result)
                _, value, book.outcomes[plan.name] = route(run, strand, level, outcome, book)
            self._note(plan.name, value, strand.now)
        finally:
            strand.scope.__exit__(None, None, None)
            registry.pop(strand, None)

    def _note(self, tail: str, value: Any, now: float) -> None:
        """After a segment: cancel its siblings if it failed, else write down what it gives."""
        book = self.book
        if book.failure is not None and self.plan.fail_fast and self.level.reason is None:
            self._fail_fast(book.failure, now)
        outcome = book.outcomes.get(tail)
        if outcome is not None and (type(outcome) is tuple or outcome.completed):
            book.give(tail, value)

    def _advance(self, nursery: trio.Nursery, tail: str, value: Any, now: float) -> str | None:
        """After a segment: start what it makes ready.

        Returns one of the segments that are ready, for the task that is free now.
        """
        book, graph = self.book, self.plan.graph
        self._note(tail, value, now)
        # `route` has written down what dependents get of a soft failure.
        if not graph.next[tail] or tail not in book.values:
            return None
        ready = [
            name
            for name in graph.next[tail]
            if all(needed in book.values for needed in graph.before[name])
        ]
        for name in ready[1:]:
            nursery.start_soon(self.branch, nursery, name, name=name)
        return ready[0] if ready else None

    def _input(self, name: str) -> Any:
        needed = self.plan.graph.before[name]
        if len(needed) == 1:
            return self.book.values[needed[0]]
        return {other: self.book.values[other] for other in needed}

    def _fail_fast(self, failure: Outcome, now: float) -> None:
        limit = self.level.limit
        kind = "stage" if limit.level == "pipeline" else "node"
        by = f"{kind} {failure.name!r}"
        blame = Blame(
            limit.level, limit.name, Kind.SIBLING_FAILED, limit.shown, limit.source,
            now - self.level.start, f"cancelled because {by} {_ENDED[failure.status]}", by,
        )  # fmt: skip
        self.run.cut(self.level, now, blame)
