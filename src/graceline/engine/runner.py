"""One run from submission to result: admission, the stages, the pipeline's own outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import outcome
import trio

from graceline.deadlines import Blame, Kind, Status, Verdict, blame_failure, expired
from graceline.engine.cleanup import run_handlers
from graceline.engine.graphs import run_graph
from graceline.engine.levels import CURRENT
from graceline.engine.outcomes import Outcomes, skipped_stage
from graceline.engine.running import BREATHE, came_back, run_stages, settle_holder
from graceline.engine.settling import Book
from graceline.engine.state import NOTHING
from graceline.engine.strand import Strand
from graceline.engine.telling import tell_payloads, tell_run_ended, tell_run_started
from graceline.resilience import Refusal
from graceline.results import PipelineResult, freeze
from graceline.telemetry import events
from graceline.values import draft_of

if TYPE_CHECKING:
    from graceline.engine.admission import Admission
    from graceline.engine.state import RunState

__all__ = ["arrive", "perform"]

_Draft: Any = draft_of(PipelineResult)
_OK = Status.OK
_WELL = Verdict(Status.OK)


def arrive(run: RunState, admission: Admission, refusal: str | None) -> Verdict | None:
    """At submission: take a slot or a place in the queue; returns a verdict if there is neither.

    Args:
        run: the run.
        admission: the slots; a run inside a node takes none.
        refusal: why the engine refuses it, if it does.
    """
    if refusal is not None:
        return _refused(run, admission.refuse(Refusal(refusal)))
    verdict = expired(run.root, run.origin)
    if verdict is not None or run.parent is not None:
        return verdict
    refused = admission.enter(run)
    return None if refused is None else _refused(run, refused)


@trio.lowlevel.enable_ki_protection
async def perform(  # noqa: PLR0915 - one coroutine on purpose, see below
    run: RunState, admission: Admission, verdict: Verdict | None
) -> PipelineResult:
    """Carry out a run. An interrupt may hit the user's code, never the engine's own books.

    Args:
        run: the run.
        admission: the slots.
        verdict: what `arrive` said.

    Raises:
        Cancelled: if the caller was cancelled, as it was caught or in the group it came in.
    """
    if run.plan.hedged and run.nursery is None:
        return await _with_nursery(run, admission, verdict)
    try:
        if verdict is None and run.waiter is not None:
            dropped = await _queue(run, admission)
            verdict = _left_queue(run, run.clock()) if dropped is None else _refused(run, dropped)
        run.admitted_at = run.clock()
        if verdict is None and run.foreign is None:
            # Opened with the deadline of the first node, the scope need not be moved for it.
            now, root = run.admitted_at, run.root
            bound = root.fired()
            fires = now + run.plan.first_span + run.plan.first_tempo.slack
            strand = Strand(root, now, min(bound, fires))
            pace = run.shared.pace
            strand.ticks = pace.ticks
            # `top` of most runs is the run itself: no call for that, and none to open a strand.
            registry = run.top.strands if run.parent is not None else run.strands
            registry[strand] = None
            token = CURRENT.set(root)
            strand.scope.__enter__()
            try:
                # The pipeline's parts run in this coroutine: one more would cost each run in
                # flight its frame.
                spared = run.shared.hub.spared(wanted=run.traced)
                if spared is not None:
                    run.traced, run.spared = True, spared
                if run.traced:
                    tell_run_started(run)
                book = Book(now)
                chain = run.plan.chain
                if chain is not None:
                    value = await run_stages(run, strand, root, chain, run.input, book, bound)
                else:
                    value = await run_graph(
                        run, strand, root, run.plan, run.input, book, run_stages
                    )
                if run.copies:
                    strand.now = await run.wait_unwound()
                result = _settle(run, strand, book, value)
                if run.plan.handlers:
                    result = await _handle(run, result)
                if run.watched:
                    result = attrs.evolve(result, would_time_out=run.report_watched(strand.now))
            finally:
                strand.scope.__exit__(None, None, None)
                pace.ticks = strand.ticks + 1
                del registry[strand]
                CURRENT.reset(token)
            if run.slot:
                admission.ended(run, run.origin + result.elapsed, result.status)
            if run.foreign is None and not (run.plain and result.status is _OK):
                await _look_outside(run, strand.now)
        else:
            run.shared.pace.ticks += 1
            if run.shared.pace.ticks >= BREATHE or (verdict is not None and verdict.foreign):
                run.shared.pace.ticks = 0
                await _tick(run)
            result = _never_started(run, verdict or Verdict(Status.CANCELLED, _by_caller(run)))
        _tell(run, result)
        run.finish(result)
    finally:
        if run.slot:
            admission.leave(run)
        if not run.ended:
            if run.traced:
                run.trace(events.RunAborted, run.clock())
            run.finish(None)
    if run.foreign is not None:
        raise run.foreign
    return result


async def _with_nursery(
    run: RunState, admission: Admission, verdict: Verdict | None
) -> PipelineResult:
    """Carry out a run with a nursery for the copies of attempts that may outlive these.

    A nursery wraps whatever leaves it in a group, so nothing does.
    """
    async with trio.open_nursery() as run.nursery:
        ended = await outcome.acapture(perform, run, admission, verdict)
    return ended.unwrap()


async def _tick(run: RunState) -> None:
    """Give Trio a tick: the caller's deadline has passed by the clock, or it was long ago."""
    try:
        await trio.lowlevel.checkpoint()
    except trio.Cancelled as error:
        run.foreign = error


async def _queue(run: RunState, admission: Admission) -> Refusal | None:
    try:
        return await admission.wait(run)
    except trio.Cancelled as error:
        run.foreign = error
        return None


def _refused(run: RunState, refusal: Refusal) -> Verdict:
    blame = blame_failure(run.root, run.clock(), Kind.REJECTED, str(refusal))
    return Verdict(Status.REJECTED, attrs.evolve(blame, retry_after=refusal.retry_after))


def _by_caller(run: RunState) -> Blame:
    waited = run.clock() - run.origin
    return Blame("caller", "caller", Kind.CALLER, None, None, waited, "the caller was cancelled")


def _left_queue(run: RunState, now: float) -> Verdict | None:
    """Why a run left the queue other than to start: its limit passed, or somebody cancelled it."""
    verdict = expired(run.root, now)
    if verdict is None:
        return None if run.slot else Verdict(Status.CANCELLED, _by_caller(run))
    blame = verdict.blame
    if verdict.status is Status.TIMED_OUT and blame is not None and not verdict.foreign:
        message = f"{blame.message}, all of it in the queue"
        blame = attrs.evolve(blame, kind=Kind.QUEUE, message=message)
    return Verdict(verdict.status, blame, foreign=verdict.foreign)


def _never_started(run: RunState, verdict: Verdict) -> PipelineResult:
    now = run.clock()
    if run.plan.history is not None:
        run.plan.history.settle(run.root, verdict, now, returned=False)
    stages = {plan.name: skipped_stage(run, plan, now) for plan in run.plan.parts.values()}
    return _result(run, stages, verdict, None, None, now)


def _settle(run: RunState, strand: Strand, book: Book, value: Any) -> PipelineResult:
    """Settle the pipeline from what its stages did; those that had no turn are `skipped`."""
    plan, root, now = run.plan, run.root, strand.now
    verdict, error = _WELL, None
    watched = plan.history is not None or run.shared.watching
    if watched or book.failure is not None or now >= root.fired():  # else a fast end, as a stage's
        verdict, error = settle_holder(run, root, book, now, strict=plan.strict)
        if plan.history is not None:
            returned = book.failure is None and came_back(root, verdict, now)
            plan.history.settle(root, verdict, now, returned=returned)
        if verdict.status is not _OK and verdict.status is not Status.LATE:
            value = None
    root.ended = True
    stages = book.outcomes
    if len(stages) < len(plan.parts) or not plan.ordered:
        stages = {
            name: stages[name] if name in stages else skipped_stage(run, part, now)
            for name, part in plan.parts.items()
        }
    return _result(run, stages, verdict, value, error, now)


async def _handle(run: RunState, result: PipelineResult) -> PipelineResult:
    """Run the pipeline's handlers; they count for its time, and their errors are kept."""
    root = run.root
    errors = await run_handlers(root, run.plan.handlers, result)
    now = run.clock()
    used = result.grace_used
    if result.blame is not None and result.status is not Status.LATE:
        used = max(used, now - min(root.fired(), root.foreign_at), 0.0)
    return attrs.evolve(
        result, elapsed=now - run.origin, grace_used=used,
        secondary=(*result.secondary, *errors),
    )  # fmt: skip


async def _look_outside(run: RunState, now: float) -> None:
    """After a run that did not go smoothly: was it the caller who was cancelled?

    The strand is closed, so what is cancelled here is not ours. If a deadline above has passed by
    our books, Trio gets a tick to notice.
    """
    above = run.root.parent
    passed = above is not None and above.fired() <= now
    look = trio.lowlevel.checkpoint if passed else trio.lowlevel.checkpoint_if_cancelled
    try:
        await look()
    except trio.Cancelled as error:
        run.foreign = run.original or error


def _result(
    run: RunState,
    stages: dict[str, Any],
    verdict: Verdict,
    value: Any,
    error: BaseException | None,
    now: float,
) -> PipelineResult:
    limit = run.root.limit
    origin = run.origin
    partial = run.partial if run.partial is NOTHING else freeze(run.partial)
    # By position, in the order of the fields: keywords take three times as long.
    draft = _Draft(
        run.run_id, run.plan.name, verdict.status, value, Outcomes(stages, origin),
        tuple(run.completed), run.degraded, partial, verdict.blame, error,
        now - origin, run.admitted_at - origin, limit.shown, limit.source, verdict.grace_used,
        verdict.overrun, run.stray, None,
    )  # fmt: skip
    draft.__class__ = PipelineResult
    result: PipelineResult = draft
    return result


def _tell(run: RunState, result: PipelineResult) -> None:
    """Count the result, and tell of it if anybody may want to know."""
    trouble = result.status is not _OK or bool(result.degraded)
    nodes = len(run.completed) + run.unfinished
    if trouble:
        run.plan.stats.add(result, nodes)
    else:
        run.plan.stats.add_ok(result.elapsed, result.limit, nodes)
    if run.traced or (trouble and run.trouble_heard()):
        if run.shared.hub.curious:
            tell_payloads(
                run, run.root, result.status, run.origin + result.elapsed, value=result.value,
                error=result.error, secondary=result.secondary,
            )  # fmt: skip
        tell_run_ended(run, result)
