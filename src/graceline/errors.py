"""The exception tree: everything that graceline raises on purpose.

`engine.run()` returns results; only `engine.execute()` and `result.unwrap()` turn an outcome into
one of these. Each is raised from the real cause, and carries the whole result. Those whose
`retryable` is False are never retried by a layer around: nobody wants an answer any more, somebody
refused, or the call itself is wrong.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AttemptTimeoutError",
    "CircuitOpenError",
    "CommandFailedError",
    "DeadlineExceededError",
    "DeadlineSpentError",
    "DefinitionError",
    "DefinitionWarning",
    "GracelineError",
    "NodeFailedError",
    "NodeTimeoutError",
    "OverloadedError",
    "PipelineCancelledError",
    "PipelineTimeoutError",
    "RecordedError",
    "StageTimeoutError",
    "StoreFileError",
    "StoreVersionError",
    "WorkerDiedError",
]


class GracelineError(Exception):
    """The root of every error that graceline raises on purpose.

    Attributes:
        told: what a blame may say of it besides its type: never a value of a run.
    """

    told: str = ""


class DefinitionError(GracelineError, ValueError):
    """A definition or an argument is wrong: says what, where, and what would be right."""

    retryable: ClassVar[bool] = False


class StoreFileError(GracelineError):
    """A file is no store, or cannot be used as one; says which file, and why."""


class StoreVersionError(StoreFileError):
    """A file was written by a newer version of graceline; says which, and what to do."""


class DefinitionWarning(UserWarning):
    """A definition is valid but hardly what was meant, such as a child limit that is clamped."""


class _OutcomeError(GracelineError):
    """Common to the errors that stand for an outcome.

    Attributes:
        name: the pipeline, stage or node that the outcome blames.
        result: the whole `PipelineResult`, partial values included.
    """

    def __init__(self, message: str, *, name: str, result: Any) -> None:
        super().__init__(message)
        self.name = name
        self.result = result


class DeadlineExceededError(_OutcomeError, TimeoutError):
    """A limit in the tree passed; the subclass says on which level.

    Attributes:
        name: the level that is to blame.
        limit: that level's limit in seconds.
        source: where the limit was stated (`node`, `stage`, `pipeline`, `default`, `call`, ...).
        completed: names of the nodes that had completed, in completion order.
        result: the whole `PipelineResult`, partial values included.
    """

    def __init__(
        self, message: str, *, name: str, limit: float | None, source: str | None, result: Any
    ) -> None:
        super().__init__(message, name=name, result=result)
        self.limit = limit
        self.source = source
        self.completed: tuple[str, ...] = () if result is None else result.completed


class DeadlineSpentError(GracelineError):
    """`outgoing_headers()` has nothing to hand on: the deadline has passed, or the work is over."""

    retryable: ClassVar[bool] = False


class AttemptTimeoutError(DeadlineExceededError):
    """One attempt of a node exceeded its limit.

    Among the errors of a node that was tried again, its `result` is None: the run went on. What the
    attempt raised while it was cut is its `__cause__`.
    """


class NodeTimeoutError(DeadlineExceededError):
    """A node exceeded its limit, or one item of its list, or one of its alternatives.

    Among the errors of a choice that went on its `result` is None, as for an attempt.
    """


class StageTimeoutError(DeadlineExceededError):
    """A stage exceeded its limit."""


class PipelineTimeoutError(DeadlineExceededError):
    """The pipeline exceeded its limit, in the queue or while it ran."""


class PipelineCancelledError(_OutcomeError):
    """The run was cancelled: by the user, or by the engine's shutdown.

    Attributes:
        kind: who cancelled (`user`, `shutdown`, ...).
        reason: the reason that was given.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, name: str, kind: str, result: Any) -> None:
        super().__init__(message, name=name, result=result)
        self.kind = kind
        self.reason = message


class NodeFailedError(_OutcomeError):
    """A node raised; its own exception is the `__cause__`."""


class CommandFailedError(GracelineError):
    """A child program did not start, ended with an unexpected exit code, or left no artifact.

    Attributes:
        exit_code: what it exited with, None if a signal ended it or it never started.
        signal: the number of the signal that ended it, None if none did.
        output: its `CommandOutput`, None if it never started.
    """

    def __init__(self, message: str, *, output: Any = None) -> None:
        super().__init__(message)
        self.exit_code: int | None = None if output is None else output.exit_code
        self.signal: int | None = None if output is None else output.signal
        self.output = output


class WorkerDiedError(GracelineError):
    """The worker process of a node ended while it worked; the pool goes on with another one.

    Attributes:
        exit_code: what it exited with, None if a signal ended it or nobody can tell.
        signal: the number of the signal that ended it, None if none did. SIGKILL without a cancel
            is often the kernel's answer to a lack of memory.
    """

    def __init__(
        self, message: str, *, exit_code: int | None = None, signal: int | None = None
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal


class OverloadedError(_OutcomeError):
    """The run, or a node that it needs, was refused and never started.

    Attributes:
        reason: why (`draining`, `queue full`, `predicted too late: ...`, `thread limit`, ...).
        retry_after: seconds after which a new try makes sense, or None if nobody can tell.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self, reason: str, *, name: str, result: Any, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{name!r} was refused: {reason}", name=name, result=result)
        self.reason = reason
        self.retry_after = retry_after


class CircuitOpenError(GracelineError):
    """A circuit breaker refused a call, which therefore never started. A retry makes no sense.

    Attributes:
        retryable: False: whoever retries leaves this error alone.
        retry_after: seconds after which a new call may be let through, or None if nobody can tell.
        breaker: the name of the breaker.
        last_error: the error that opened it; None if a timeout or slow calls did.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self, retry_after: float | None, breaker: str, last_error: BaseException | None = None
    ) -> None:
        when = (
            " by mode='forced_open'"
            if retry_after is None
            else f"; try again in {retry_after:.3g} s"
        )
        # Only the class: its text may hold what must not reach a log.
        why = "" if retry_after is None else ", after timeouts or slow calls"
        if last_error is not None:
            why = f", last error: {type(last_error).__name__}"
        super().__init__(f"breaker {breaker!r} is open{when}{why}")
        self.retry_after = retry_after
        self.breaker = breaker
        self.last_error = last_error


class RecordedError(GracelineError):
    """Stands for an exception in a result that was read back from a document.

    Attributes:
        type_name: the class name of the original exception.
        message: its text.
    """

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(f"{type_name}: {message}" if message else type_name)
        self.type_name = type_name
        self.message = message
