"""The one stream of events: frozen, without payloads, in the order in which things happen.

Each event names its run and carries `at`, absolute seconds of the run's clock. Inputs, values and
error texts never appear in an event: only names, times, statuses and class names. There are two
exceptions, for sinks that ask for them: the output of a child program, and `PayloadsSeen`.
"""

from __future__ import annotations

from graceline.deadlines import Blame, Source, Status
from graceline.values import frozen

__all__ = [
    "AlternativeFinished",
    "AlternativeStarted",
    "AttemptFinished",
    "AttemptRefused",
    "AttemptStarted",
    "BreakerChanged",
    "CancelRequested",
    "CleanupOverran",
    "DeadlineEnded",
    "Event",
    "FaultInjected",
    "HedgeSettled",
    "LoopBlocked",
    "NodeFinished",
    "NodeStarted",
    "NodeStuck",
    "OutputReceived",
    "PayloadsSeen",
    "RunAborted",
    "RunFinished",
    "RunStarted",
    "RunningLate",
    "SignalSent",
    "StageFinished",
    "StageStarted",
    "ThreadAbandoned",
    "ThreadEnded",
    "WouldReject",
    "WouldTimeOut",
]


@frozen(kw_only=True)
class Event:
    """Something that happened in a run.

    Attributes:
        at: when, in absolute seconds of the run's clock.
        run_id: the run.
        pipeline: its pipeline's name.
        lane: the engine's lane.
    """

    at: float
    run_id: str
    pipeline: str
    lane: str


@frozen(kw_only=True)
class RunStarted(Event):
    """A run was admitted. `queued` is the time since its submission; limits are in seconds.

    `slo` is its latency objective in seconds; so it is in the events of stages and nodes.
    """

    queued: float
    limit: float | None
    source: Source | None
    fires_at: float
    nodes: tuple[tuple[str, tuple[str, ...]], ...]
    slo: float | None = None


@frozen(kw_only=True)
class StageStarted(Event):
    """A stage started; `fires_at` is when its work is cancelled."""

    stage: str
    limit: float | None
    source: Source | None
    fires_at: float
    critical: bool = True
    slo: float | None = None


@frozen(kw_only=True)
class NodeStarted(Event):
    """A node's work started; `fires_at` is when it is cancelled, whoever cancels it."""

    stage: str
    node: str
    limit: float | None
    source: Source | None
    fires_at: float
    critical: bool = True
    slo: float | None = None


@frozen(kw_only=True)
class _Finished(Event):
    status: Status
    started: float
    """When it started, in absolute seconds."""
    elapsed: float
    limit: float | None
    source: Source | None
    grace_used: float
    overrun: float
    blame: Blame | None
    error_type: str | None


@frozen(kw_only=True)
class NodeFinished(_Finished):
    """A node has its outcome. `partial` says whether it saved a partial value."""

    stage: str
    node: str
    attempts: int
    partial: bool


@frozen(kw_only=True)
class AttemptStarted(Event):
    """An attempt of a node with policies begins; told in the task that makes it.

    It is known by `node`, `attempt`, `hedge` and `index`, which is that of the item of a node that
    runs over a list. Either `AttemptFinished` or `AttemptRefused` follows.
    """

    stage: str
    node: str
    attempt: int
    limit: float | None
    source: Source | None
    fires_at: float
    hedge: bool = False
    index: int | None = None


@frozen(kw_only=True)
class AttemptRefused(Event):
    """What would have made an attempt refused it, for want of a thread: it counts for nothing."""

    stage: str
    node: str
    attempt: int
    hedge: bool = False
    index: int | None = None


@frozen(kw_only=True)
class AttemptFinished(Event):
    """An attempt of a node with policies has ended.

    `delay` is how many seconds later the next one starts, None if there is none; `stop` then says
    why: `ok` after a retry, `attempts`, `budget`, `deadline`, `not_retryable`. `hedge` says that it
    is the second copy of an attempt, with the number of the first.
    """

    stage: str
    node: str
    attempt: int
    status: Status
    started: float
    elapsed: float
    limit: float | None
    source: Source | None
    blame: Blame | None
    error_type: str | None
    delay: float | None
    stop: str | None
    hedge: bool = False
    index: int | None = None


@frozen(kw_only=True)
class HedgeSettled(Event):
    """What became of the hedge of a slow attempt.

    `result` is `won` if the second copy was faster, `lost` if the first was or both failed, and
    `suppressed` if no copy was sent; `reason` then says why.
    """

    stage: str
    node: str
    attempt: int
    result: str
    reason: str | None


@frozen(kw_only=True)
class AlternativeStarted(Event):
    """An alternative of a choice begins; its attempts are those of `{node}.{alternative}`."""

    stage: str
    node: str
    alternative: str
    limit: float | None
    source: Source | None
    fires_at: float
    index: int | None = None


@frozen(kw_only=True)
class AlternativeFinished(Event):
    """An alternative of a choice has ended, all its attempts included.

    `health` is what it has now, in [0, 1]. If its status is not `ok` or `late`, and the node was
    not cut, the next alternative comes.
    """

    stage: str
    node: str
    alternative: str
    status: Status
    started: float
    elapsed: float
    limit: float | None
    source: Source | None
    blame: Blame | None
    error_type: str | None
    health: float
    index: int | None = None


@frozen(kw_only=True)
class StageFinished(_Finished):
    """A stage has its outcome."""

    stage: str


@frozen(kw_only=True)
class RunFinished(_Finished):
    """A run has its result."""

    queued: float
    degraded: tuple[str, ...]
    completed: int


@frozen(kw_only=True)
class RunAborted(Event):
    """A run was torn down by what is for the program, such as `KeyboardInterrupt`: no result."""


@frozen(kw_only=True)
class RunningLate(Event):
    """A part goes on past its soft deadline, `late_after` seconds from its start; nothing is cut.

    `node` is empty for a stage. `fires_at` is when it will be cancelled, whoever cancels it.
    """

    stage: str
    node: str
    late_after: float
    fires_at: float


@frozen(kw_only=True)
class CancelRequested(Event):
    """Somebody cancelled the run through the engine."""

    blame: Blame


@frozen(kw_only=True)
class CleanupOverran(Event):
    """A cleanup block or a handler was cut at its end."""

    level: str
    name: str


@frozen(kw_only=True)
class BreakerChanged(Event):
    """A circuit breaker changed from one state to another; it belongs to no run.

    `old` and `new` are `closed`, `open` or `half_open`.
    """

    breaker: str
    old: str
    new: str


@frozen(kw_only=True)
class DeadlineEnded(Event):
    """The block of `engine.deadline(name)` was cut; its name stands for the pipeline, too."""

    name: str
    status: str
    elapsed: float
    limit: float | None
    blame: Blame | None


@frozen(kw_only=True)
class NodeStuck(Event):
    """A node goes on after `hard_at`, the end of its grace period; `stack` says where it waits."""

    stage: str
    node: str
    hard_at: float
    stack: tuple[str, ...]


@frozen(kw_only=True)
class SignalSent(Event):
    """A process of a node was sent a signal: a child program's group, or a worker process.

    `signal` is its number: SIGTERM when the node is cancelled, SIGKILL at the end of its grace
    period.
    """

    stage: str
    node: str
    signal: int
    pid: int


@frozen(kw_only=True)
class OutputReceived(Event):
    """A child program wrote `text` to `stream`, which is `stdout` or `stderr`.

    Only a sink whose `wants_output()` is true gets it.
    """

    stage: str
    node: str
    stream: str
    text: str


@frozen(kw_only=True)
class PayloadsSeen(Event):
    """What went into a part that ends, and what came out of it, each as a short text.

    Only a sink whose `wants_payloads()` was true when it was subscribed gets it, before the event
    of the end itself; of what ends well only if a trace is wanted. `stage` and `node` are empty for
    the pipeline, `node` for a stage. What there is not, is None; `secondary` has further errors.
    """

    stage: str
    node: str
    status: Status
    input: str
    value: str | None
    partial_value: str | None
    error: str | None
    secondary: tuple[str, ...]


@frozen(kw_only=True)
class LoopBlocked(Event):
    """The event loop was blocked for at least `seconds`, at `stack`; it belongs to no run."""

    seconds: float
    stack: tuple[str, ...]


@frozen(kw_only=True)
class FaultInjected(Event):
    """Chaos put a fault into a call of a node's work: `latency`, `error` or `hang`."""

    stage: str
    node: str
    fault: str


@frozen(kw_only=True)
class WouldReject(Event):
    """Admission, which only observes, would have refused the run, with `remaining` seconds left.

    `reason` is `predicted too late`, on arrival, or `too late to start`, at the head of the queue.
    `retry_after` is in seconds, None if a new try never makes sense.
    """

    reason: str
    remaining: float
    retry_after: float | None


@frozen(kw_only=True)
class WouldTimeOut(Event):
    """In `observe` mode: a limit passed. `follows`: an earlier one would have cut first."""

    blame: Blame
    follows: bool


@frozen(kw_only=True)
class ThreadAbandoned(Event):
    """A worker thread went on after its node was cancelled; `abandoned` is how many there are."""

    stage: str
    node: str
    abandoned: int


@frozen(kw_only=True)
class ThreadEnded(Event):
    """An abandoned worker thread has ended; `abandoned` is how many are left."""

    stage: str
    node: str
    abandoned: int
