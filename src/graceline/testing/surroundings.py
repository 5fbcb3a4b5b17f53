"""What a run owes its surroundings: I8, the caller's own cancel, and I11, the engine's capacity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graceline.deadlines import Status
from graceline.durations import format_duration
from graceline.engine import Engine
from graceline.errors import DefinitionError
from graceline.testing.breach import InvariantError, Promise, label_of, outcomes_of

if TYPE_CHECKING:
    from graceline.testing.world import Recording

__all__ = ["check_foreign_cancel_passes", "check_full_capacity"]

_SAME = 1e-9  # seconds; sums of durations are rounded


def check_foreign_cancel_passes(recording: Recording) -> None:
    """I8: the caller's cancel passes through, and no other cancel of a node's own is taken for it.

    Args:
        recording: a run from `simulate`, with or without `Cancels` of the caller's.

    Raises:
        InvariantError: if a `Cancelled` of the caller's was kept, or came from nowhere.
    """
    result, timeline = recording.result, recording.timeline
    promise = Promise("I8", "foreign cancels pass through", result, timeline)
    gone, back = recording.cancels.caller_gone_at, recording.returned_at
    if gone is None or gone > back + _SAME:
        if recording.raised:
            promise.broken("a Cancelled left the run, and nobody cancelled the caller", "a result")
        for key, outcome in () if result is None else outcomes_of(result):
            if outcome.blame is not None and outcome.blame.level == "caller":
                promise.broken(
                    f"{label_of(key)} blames the caller, who was not cancelled",
                    "a cancel that a node's own scope absorbs changes no status",
                    node=key[1],
                )
        return
    if recording.raised or result is None:
        return
    parts = [outcome for _, outcome in outcomes_of(result)]
    plainly = all(part.status in (Status.OK, Status.SKIPPED) for part in (result, *parts))
    blamed = any(part.blame is not None and part.blame.level == "caller" for part in parts)
    if blamed or (not plainly and timeline.beyond(back, gone)):
        promise.broken(
            f"the caller was cancelled at {format_duration(gone)}, and got a result at "
            f"{format_duration(back)}",
            "its Cancelled, since the run did not end plainly ok",
            at=back,
        )


def check_full_capacity(engine: Engine) -> None:
    """I11: an engine in which nothing runs has its full capacity: slots, queue, workers.

    Call it in the engine's event loop, when every run is meant to be over.

    Raises:
        InvariantError: if a run, a slot, a worker thread or a worker process is still taken.
    """
    if not isinstance(engine, Engine):
        raise DefinitionError(f"check_full_capacity(): {engine!r} is not an Engine")
    admission, workers = engine._admission, engine._workers  # noqa: SLF001 - no public figure
    taken = {
        "runs are queued or running": len(engine.runs()),
        "slots are taken": admission.active,
        "places in the queue are taken": len(admission._queue),  # noqa: SLF001
        "abandoned worker threads go on": engine.abandoned_threads,
        "worker threads are taken": workers.threads._limiter.borrowed_tokens,  # noqa: SLF001
        "worker processes are taken": workers.busy_processes,
    }
    left = [f"{number} {what}" for what, number in taken.items() if number]
    if left:
        raise InvariantError(
            "I11",
            "an engine in which nothing runs has its full capacity",
            f"{', '.join(left)} (limit: {admission.slots:g} slots)",
            "wait for every run (engine.wait_idle()), and let worker threads poll "
            "trio.from_thread.check_cancelled()",
        )
