"""Running: the nodes of a stage, the stages of a pipeline, and graphs of either.

`run_nodes` is the hot path. It is one function on purpose: in a sequence each call, each look at
the clock and each move of a deadline is a measurable part of the cost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any

import attrs
import trio

from graceline.deadlines import Blame, Ending, Kind, Status, Verdict, settle
from graceline.engine.items import run_items
from graceline.engine.levels import CURRENT, LevelRun
from graceline.engine.outcomes import Outcome
from graceline.engine.plan import NodePlan, PipelinePlan, StagePlan
from graceline.engine.settling import Book, enter, finish, route, settle_node
from graceline.engine.state import NOTHING, RunState
from graceline.engine.strand import Strand
from graceline.telemetry import events

__all__ = ["BREATHE", "came_back", "run_graph", "run_nodes", "run_stages", "settle_holder"]

_COMPLETED = (Status.OK, Status.LATE)
_ENDED = {
    Status.FAILED: "failed",
    Status.TIMED_OUT: "timed out",
    Status.CANCELLED: "was cancelled",
    Status.REJECTED: "was refused",
}
_checkpoint_if_cancelled = trio.lowlevel.checkpoint_if_cancelled
BREATHE = 64  # parts between two full checkpoints: stale deadlines are pruned only on a tick


@trio.lowlevel.disable_ki_protection
async def run_nodes(  # noqa: PLR0915 - see above
    run: RunState,
    strand: Strand,
    stage: LevelRun,
    nodes: Sequence[NodePlan],
    value: Any,
    book: Book,
) -> Any:
    """Run a chain of nodes in this task; returns the last value, if `book` has no new failure."""
    clock = run.clock
    outcomes = book.outcomes
    completed = run.completed
    bound = stage.fired()
    now = strand.now
    for plan in nodes:
        level = LevelRun(run, plan, stage, now, value)
        strand.ticks += 1
        plain = plan.plain and not run.traced
        history = plan.history
        fires = level.deadline
        if bound < fires:
            fires = bound
        if not plain or now >= fires or strand.dirty or strand.ticks >= BREATHE:
            # The slow start: expired, cancelled, a condition, a due checkpoint, a watcher.
            if strand.ticks >= BREATHE:
                await _breathe(run, strand, stage, bound)
                level = LevelRun(run, plan, stage, strand.now, value)
            early = await enter(run, strand, level, book)
            bound = stage.fired()
            fires = min(level.deadline, bound)
            if early is not None:
                usable, value, outcomes[plan.name] = route(run, strand, level, early, book)
                if not usable:
                    return None
                now = strand.now
                continue
            strand.aim(fires)
            if run.traced:
                _tell_started(run, level, fires)
        else:
            if history is not None:  # only now: whoever takes a lease has to start
                history.begin(level)
                fires = min(level.deadline, bound)
            if fires != strand.deadline:  # moving a deadline costs more than this look
                strand.scope.deadline = strand.deadline = fires
        CURRENT.set(level)
        try:
            # Inside the `try`, after the deadline was moved: a cancel that lands here counts.
            await _checkpoint_if_cancelled()
            if plain:
                result = await plan.call(value)
            elif plan.item is not None:
                result = await run_items(run, level, plan, value)
            else:
                result = await plan.call(value)
        except BaseException as error:  # noqa: BLE001 - settled, or raised again by `settle_node`
            strand.now = clock()
            outcome = await settle_node(run, strand, level, book, error=error)
        else:
            strand.now = now = clock()
            if plain and now < fires and not (strand.dirty or run.traced or level.errors):
                # The fast end: certainly alive, certainly ok. Only a record of it is kept.
                level.ended = True
                outcomes[plan.name] = (plan, result, level.start, now, level.lease or plan.limit)
                completed.append(plan.label)
                plan.add_ok(now - level.start)
                if history is not None:
                    history.ended_well(level, now)
                if plan.critical:
                    book.last = now
                value = result
                continue
            outcome = await settle_node(run, strand, level, book, value=result)
        usable, value, outcomes[plan.name] = route(run, strand, level, outcome, book)
        if not usable:
            return None
        bound = stage.fired()  # a cut may have come while the slow path waited
        now = strand.now
    return value


async def _breathe(run: RunState, strand: Strand, holder: LevelRun, bound: float) -> None:
    """A full checkpoint between two parts, for the other tasks and for Trio's heap of deadlines."""
    strand.ticks = 0
    strand.aim(bound)
    try:
        await trio.lowlevel.checkpoint()
    except trio.Cancelled as error:
        now = run.clock()
        if not strand.dirty and now < bound:
            run.caller_cancelled(holder, now, error)
        strand.dirty = True
    strand.now = run.clock()


def _tell_started(run: RunState, level: LevelRun, fires: float) -> None:
    limit = level.limit
    run.emit(
        events.NodeStarted,
        level.start,
        stage=level.plan.stage,  # type: ignore[attr-defined]
        node=level.plan.name,
        limit=limit.shown,
        source=limit.source,
        fires_at=fires,
    )


@trio.lowlevel.disable_ki_protection
async def run_stages(
    run: RunState,
    strand: Strand,
    root: LevelRun,
    stages: Sequence[StagePlan],
    value: Any,
    book: Book,
) -> Any:
    """Run a chain of stages in this task; returns the last value, if `book` has no new failure."""
    holder = strand.holder
    for plan in stages:
        start = strand.now
        level = LevelRun(run, plan, root, start, value)
        fires = level.fired()
        plain = plan.plain and not run.traced and not strand.dirty
        if not plain or start >= fires:
            early = await enter(run, strand, level, book)
            if early is not None:
                usable, value, book.outcomes[plan.name] = route(run, strand, level, early, book)
                if not usable:
                    return None
                continue
            if run.traced:
                _tell_stage_started(run, level)
        inner = Book(start)
        strand.holder = level
        if plan.chain is not None:
            result = await run_nodes(run, strand, level, plan.chain, value, inner)
        else:
            result = await run_graph(run, strand, level, plan, value, inner, run_nodes)
        strand.holder = holder
        now = strand.now
        if plain and inner.failure is None and now < fires and not strand.dirty and not run.traced:
            # The fast end, as for a node: nothing fired, nothing failed, nobody watches.
            level.ended = True
            book.outcomes[plan.name] = (plan, result, start, now, inner.outcomes)
            plan.add_ok(now - start)
            if plan.critical:
                book.last = now
            value = result
            continue
        verdict, error = settle_holder(run, level, inner, now, strict=plan.strict)
        if verdict.status not in _COMPLETED:
            result = None
        outcome = await finish(
            run,
            strand,
            level,
            verdict,
            book,
            value=result,
            error=error,
            nodes=inner.outcomes,
            last=inner.last,
            returned=came_back(level, inner, verdict, now),
        )
        usable, value, book.outcomes[plan.name] = route(run, strand, level, outcome, book)
        if not usable:
            return None
    return value


def _tell_stage_started(run: RunState, level: LevelRun) -> None:
    limit = level.limit
    run.emit(
        events.StageStarted,
        level.start,
        stage=limit.name,
        limit=limit.shown,
        source=limit.source,
        fires_at=level.fired(),
    )


def settle_holder(
    run: RunState, level: LevelRun, book: Book, now: float, *, strict: bool
) -> tuple[Verdict, Any]:
    """The verdict on a stage or a pipeline, from what its parts did.

    The first critical part in order of finishing that is not usable decides. Else it is late if its
    own `fired` passed before its last critical part returned.
    """
    if run.shared.watching:
        run.watch(level, now)
    failure = book.failure
    if failure is None:
        return settle(level, Ending.VALUE, book.last, strict=strict), None
    used = max(0.0, now - min(level.fired(), level.foreign_at))
    return Verdict(failure.status, failure.blame, grace_used=used), failure.error


def came_back(level: LevelRun, book: Book, verdict: Verdict, now: float) -> bool:
    """Whether a stage or a pipeline came to its end by itself.

    One that was cut while only non-critical parts were left is ok, and has not.
    """
    return book.failure is None and (verdict.status is not Status.OK or now < level.fired())


_RunChain = Callable[[RunState, Strand, LevelRun, Any, Any, Book], Awaitable[Any]]


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
    if book.values is NOTHING:
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
        first = now + heads[head][0].limit.span
        strand = Strand(level, now, min(self.bound, first))
        registry[strand] = None
        strand.open()
        try:
            upcoming: str | None = head
            while upcoming is not None:
                parts = heads[upcoming]
                value = self._input(upcoming) if before[upcoming] else self.value
                value = await self.run_chain(run, strand, level, parts, value, self.book)
                upcoming = self._advance(nursery, parts[-1].name, value, strand.now)
        finally:
            strand.close()
            del registry[strand]

    @trio.lowlevel.disable_ki_protection
    async def branch_of_one(self, plan: NodePlan) -> None:
        """Run a branch that is one plain node, on which no other waits.

        As `branch`, with `run_nodes` spelled out for one node: most branches are like that, and
        each coroutine and each call in between is a measurable part of what a branch costs.
        """
        run, holder, book, value = self.run, self.level, self.book, self.value
        clock, registry = run.clock, self.registry
        now = clock()
        level = LevelRun(run, plan, holder, now, value)
        history = plan.history
        fires = level.deadline
        bound = holder.fired()  # another branch may have failed before this one had its first turn
        if bound < fires:
            fires = bound
        slow = now >= fires or run.traced  # then `run_nodes` makes a level of its own
        if history is not None and not slow:
            history.begin(level)
            fires = min(level.deadline, bound)
        strand = Strand(holder, now, fires)
        strand.open()
        try:
            registry[strand] = None
            if slow:
                value = await self.run_chain(run, strand, holder, (plan,), value, book)
            else:
                CURRENT.set(level)
                try:
                    await _checkpoint_if_cancelled()  # see `run_nodes`
                    result = await plan.call(value)
                except BaseException as error:  # noqa: BLE001 - settled, or raised again there
                    strand.now = clock()
                    outcome = await settle_node(run, strand, level, book, error=error)
                else:
                    strand.now = now = clock()
                    if now < fires and not (strand.dirty or run.traced or level.errors):
                        level.ended = True
                        book.outcomes[plan.name] = (
                            plan,
                            result,
                            level.start,
                            now,
                            level.lease or plan.limit,
                        )
                        book.values[plan.name] = result
                        run.completed.append(plan.label)
                        plan.add_ok(now - level.start)
                        if history is not None:
                            history.ended_well(level, now)
                        if plan.critical:
                            book.last = now
                        return
                    outcome = await settle_node(run, strand, level, book, value=result)
                _, value, book.outcomes[plan.name] = route(run, strand, level, outcome, book)
            self._note(plan.name, value, strand.now)
        finally:
            strand.close()
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
