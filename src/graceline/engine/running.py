"""Running: the nodes of a stage and the stages of a pipeline, one after the other.

`run_nodes` is the hot path. It is one function on purpose: in a sequence each call, each look at
the clock and each move of a deadline is a measurable part of the cost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import trio

from graceline.deadlines import Ending, Status, Verdict, settle
from graceline.engine.graphs import run_graph
from graceline.engine.items import run_items
from graceline.engine.levels import OVER, SEATED, LevelRun, level_of
from graceline.engine.plan import NodePlan, StagePlan
from graceline.engine.settling import Book, enter, finish, route, settle_node
from graceline.engine.state import RunState
from graceline.engine.strand import TIGHT, Strand
from graceline.engine.telling import (
    tell_node_ended_well,
    tell_node_started,
    tell_payloads,
    tell_stage_ended_well,
    tell_stage_started,
)

__all__ = ["BREATHE", "came_back", "run_nodes", "run_stages", "settle_holder"]

_COMPLETED = (Status.OK, Status.LATE)
_VALUE = Ending.VALUE  # to look it up costs as much as all else that is done with it
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
    bound: float,
) -> Any:
    """Run a chain of nodes in this task; returns the last value, if `book` has no new failure.

    `bound` is when the stage fires, as things are.
    """
    clock = run.clock
    outcomes = book.outcomes
    completed = run.completed
    now = strand.now
    for plan in nodes:
        strand.ticks += 1
        plain = plan.plain
        history = plan.history
        fires = now + plan.span
        if bound < fires:  # `min`, without a call
            fires = bound
        level: LevelRun | None = None  # few nodes ask for theirs: see `level_of`
        if not plain or now >= fires or strand.dirty or strand.ticks >= BREATHE:
            # The slow start: expired, cancelled, a condition, a due checkpoint, a watcher.
            if strand.ticks >= BREATHE:
                await _breathe(run, strand, stage, bound)
            now = strand.now
            level = LevelRun(run, plan, stage, now, value)
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
        else:
            # Moving a deadline costs more than all else here: quick nodes share one, see `Tempo`.
            latest = fires + plan.tempo.slack
            if history is not None:  # only now: whoever takes a lease has to start
                level = LevelRun(run, plan, stage, now, value)
                history.begin(level)
                fires = min(level.deadline, bound)
                latest = fires if fires - now < TIGHT else fires + plan.tempo.slack
            if bound < latest:
                latest = bound
            if not fires <= strand.deadline <= latest:
                strand.scope.deadline = strand.deadline = latest
        if run.traced:
            limit = plan.limit if level is None else level.limit
            tell_node_started(run, plan, limit, now, fires)
        loose = strand if fires < strand.deadline else None
        seat = [level, run, plan, stage, now, value, loose]
        SEATED.set(seat)
        try:
            # Inside the `try`, after the deadline was moved: a cancel that lands here counts.
            await _checkpoint_if_cancelled()
            if plain or plan.item is None:
                result = await plan.call(value)
            else:
                result = await run_items(run, level_of(seat), plan, value)
        except BaseException as error:  # noqa: BLE001 - settled, or raised again by `settle_node`
            strand.now = clock()
            level = level_of(seat)
            outcome = await settle_node(run, strand, level, book, error=error)
        else:
            strand.now = now = clock()
            level = seat[0]
            fast = plain and now < fires and not strand.dirty
            if fast and (level is None or plan.bare or not level.errors):
                # The fast end: certainly alive, certainly ok. Only a record of it is kept.
                if level is None:
                    seat[0], lease = OVER, None
                else:
                    level.ended = True
                    lease = level.lease
                    if history is not None:
                        history.ended_well(level, now)
                start = seat[4]
                outcomes[plan.name] = (result, start, now, lease)
                completed.append(plan.label)
                elapsed, ok = now - start, plan.ok
                ok.counts[bisect_left(ok.bounds, elapsed)] += 1  # `add`, without the call
                ok.total += elapsed
                tempo = plan.tempo
                tempo.slack = tempo.most if elapsed < tempo.most else 0.0
                if run.traced:
                    if run.shared.hub.curious:
                        tell_payloads(run, level_of(seat), Status.OK, now, value=result)
                    limit = plan.limit if level is None else level.limit
                    tell_node_ended_well(run, plan, limit, start, now)
                if plan.critical:
                    book.last = now
                value = result
                continue
            level = level_of(seat)
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


@trio.lowlevel.disable_ki_protection
async def run_stages(
    run: RunState,
    strand: Strand,
    root: LevelRun,
    stages: Sequence[StagePlan],
    value: Any,
    book: Book,
    bound: float,
) -> Any:
    """Run a chain of stages in this task; returns the last value, if `book` has no new failure.

    `bound` is when the pipeline fires, as things are.
    """
    holder = strand.holder
    for plan in stages:
        start = strand.now
        level = LevelRun(run, plan, root, start, value)
        fires = level.deadline
        if bound < fires:
            fires = bound
        plain = plan.plain and not strand.dirty
        if not plain or start >= fires:
            early = await enter(run, strand, level, book)
            if early is not None:
                usable, value, book.outcomes[plan.name] = route(run, strand, level, early, book)
                if not usable:
                    return None
                bound = root.fired()
                continue
            fires = level.fired()
        if run.traced:
            tell_stage_started(run, level)
        inner = Book(start)
        strand.holder = level
        if plan.chain is not None:
            result = await run_nodes(run, strand, level, plan.chain, value, inner, fires)
        else:
            result = await run_graph(run, strand, level, plan, value, inner, run_nodes)
        strand.holder = holder
        now = strand.now
        if plain and inner.failure is None and now < fires and not strand.dirty:
            # The fast end, as for a node: nothing fired, nothing failed.
            level.ended = True
            book.outcomes[plan.name] = (plan, result, start, now, inner.outcomes)
            plan.ok.add(now - start)
            if run.traced:
                tell_stage_ended_well(run, level, result, now)
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
            returned=inner.failure is None and came_back(level, verdict, now),
        )
        usable, value, book.outcomes[plan.name] = route(run, strand, level, outcome, book)
        if not usable:
            return None
        bound = root.fired()  # a cut may have come meanwhile
    return value


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
        return settle(level, _VALUE, book.last, strict=strict), None
    used = max(0.0, now - min(level.fired(), level.foreign_at))
    return Verdict(failure.status, failure.blame, 0.0, used), failure.error


def came_back(level: LevelRun, verdict: Verdict, now: float) -> bool:
    """Whether a stage or a pipeline without a failure came to its end by itself.

    One that was cut while only non-critical parts were left is ok, and has not.
    """
    return verdict.status is not Status.OK or now < level.fired()
