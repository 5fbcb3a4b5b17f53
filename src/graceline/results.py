"""What a run gives back: one outcome for every node and stage, and the result of the pipeline.

Immutable attrs objects. Times are seconds; `started` counts from the submission of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from graceline.deadlines import Blame, Source, Status
from graceline.durations import format_duration
from graceline.errors import (
    AttemptTimeoutError,
    DeadlineExceededError,
    GracelineError,
    NodeFailedError,
    NodeTimeoutError,
    OverloadedError,
    PipelineCancelledError,
    PipelineTimeoutError,
    StageTimeoutError,
)
from graceline.values import frozen

if TYPE_CHECKING:
    from graceline.timelines import RunTimeline

__all__ = [
    "CommandOutput",
    "NodeOutcome",
    "PipelineResult",
    "StageOutcome",
    "freeze",
    "timeout_class",
]

T = TypeVar("T")

_TIMEOUTS: dict[str, type[DeadlineExceededError]] = {
    "alternative": NodeTimeoutError,
    "attempt": AttemptTimeoutError,
    "item": NodeTimeoutError,
    "node": NodeTimeoutError,
    "stage": StageTimeoutError,
}


@frozen(kw_only=True)
class CommandOutput:
    """What a child program left: the value of its node, or the partial value of a cancelled one.

    Attributes:
        argv: the program and its arguments.
        exit_code: what it exited with; None if a signal ended it, or if nobody can tell.
        signal: the number of the signal that ended it, None if it exited, or if nobody can tell.
        stdout: what it wrote to its standard output, as UTF-8 text; bytes that are no UTF-8 appear
            as U+FFFD.
        stderr: what it wrote to its standard error.
        stdout_dropped: bytes of `stdout` that were left out of its middle, 0 for none.
        stderr_dropped: bytes of `stderr` that were left out of its middle, 0 for none.
        artifacts: paths of the files that the patterns of the command match.
    """

    argv: tuple[str, ...]
    exit_code: int | None = None
    signal: int | None = None
    stdout: str = attrs.field(default="", repr=False)
    stderr: str = attrs.field(default="", repr=False)
    stdout_dropped: int = 0
    stderr_dropped: int = 0
    artifacts: tuple[str, ...] = ()


@frozen(weakref_slot=False)
class NodeOutcome:
    """How one node ended.

    Attributes:
        name: the node's name.
        status: exactly one `Status`.
        value: what it returned; None unless `ok` or `late`.
        partial: the last value it gave to `save_partial`, if it did not finish.
        error: what it raised, if it failed.
        started: seconds from the submission of the run to the node's start.
        elapsed: seconds it took, cleanup included.
        limit: its own limit in seconds, None if it has none.
        source: where that limit was stated.
        attempts: how often its work was started; 0 if it never was.
        grace_used: seconds between its cancel and its end.
        overrun: seconds past the cancel at which it returned a value (`late`).
        blame: the one level to blame; None if it is `ok`, or `skipped` by its condition.
        secondary: errors of its cleanup and its handlers, and of attempts and alternatives that
            others came after; they never replace the outcome.
        alternative: which alternative of a choice gave the value; None if none did.
    """

    name: str
    status: Status
    value: Any
    partial: Any
    error: BaseException | None
    started: float
    elapsed: float
    limit: float | None
    source: Source | None
    attempts: int
    grace_used: float
    overrun: float
    blame: Blame | None
    secondary: tuple[BaseException, ...]
    alternative: str | None = None

    @property
    def completed(self) -> bool:
        """Whether it returned a value that was kept."""
        return _completed(self.status)

    def __str__(self) -> str:
        """One line: what became of it, and whose fault it was."""
        return _line(self.name, self)


_OK, _LATE = Status.OK, Status.LATE


def _completed(status: Status) -> bool:
    return status is _OK or status is _LATE  # a set would hash the enum, which is slow


def timeout_class(level: str | None) -> type[DeadlineExceededError]:
    """The class of the error that stands for a limit of a level, as its blame names it."""
    return _TIMEOUTS.get(level or "", PipelineTimeoutError)


@frozen(weakref_slot=False)
class StageOutcome:
    """How one stage ended. The attributes are those of `NodeOutcome`, and one more.

    Attributes:
        nodes: the outcome of every node, by name, in the order of definition.
    """

    name: str
    status: Status
    value: Any
    error: BaseException | None
    started: float
    elapsed: float
    limit: float | None
    source: Source | None
    grace_used: float
    overrun: float
    blame: Blame | None
    secondary: tuple[BaseException, ...]
    nodes: Mapping[str, NodeOutcome]

    @property
    def completed(self) -> bool:
        """Whether it gave a value."""
        return _completed(self.status)

    def __str__(self) -> str:
        """One line: what became of it, and whose fault it was."""
        return _line(self.name, self)


@frozen(weakref_slot=False)
class PipelineResult:
    """How a run ended, with everything that it finished.

    Attributes:
        run_id: the id of the run.
        pipeline: the pipeline's name.
        status: exactly one `Status`.
        value: the pipeline's output; None unless `ok` or `late`.
        stages: the outcome of every stage, by name, in the order of definition.
        completed: names of the completed nodes, in completion order (`stage.node` where a node
            name occurs in several stages).
        degraded: names of the non-critical parts that did not succeed.
        partial: the last partial value of each node that saved one and did not finish, by name.
        blame: the one level to blame; None if the run is `ok`.
        error: what the node that ended the run raised, if it failed.
        elapsed: seconds from submission to the end, cleanup included.
        queued: seconds of `elapsed` before it was admitted.
        limit: the pipeline's own limit in seconds, None if it has none.
        source: where that limit was stated.
        grace_used: seconds between the cancel of the run and its end.
        overrun: seconds past the cancel at which the last critical part returned (`late`).
        secondary: errors of the pipeline's handlers.
        would_time_out: in `observe` mode, the first limit that would have cut the run.
    """

    run_id: str
    pipeline: str
    status: Status
    value: Any
    stages: Mapping[str, StageOutcome]
    completed: tuple[str, ...]
    degraded: tuple[str, ...]
    partial: Mapping[str, Any]
    blame: Blame | None
    error: BaseException | None
    elapsed: float
    queued: float
    limit: float | None
    source: Source | None
    grace_used: float
    overrun: float
    secondary: tuple[BaseException, ...] = ()
    would_time_out: Blame | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a value: the status is `ok` or `late`."""
        return _completed(self.status)

    def __str__(self) -> str:
        """One line: status, time, whom to blame, how much was finished. `repr` has everything."""
        said = f"{_line(self.pipeline, self)}; completed nodes: {len(self.completed)}"
        return f"{said}; degraded: {', '.join(self.degraded)}" if self.degraded else said

    @property
    def timeline(self) -> RunTimeline:
        """The run as rows and as a waterfall: `rich.print`, `to_html`, `to_svg`, `beside`.

        It is made from the outcomes when somebody looks at it. A `Timeline` that heard the run as a
        sink also has each attempt, and what goes on in a run that has not ended.
        """
        from graceline.timelines import RunTimeline  # noqa: PLC0415 - it knows results

        return RunTimeline(self)

    def _repr_html_(self) -> str:
        """One line and the waterfall, for notebooks."""
        from graceline.timelines.html import fragment  # noqa: PLC0415

        return fragment((self.timeline,))

    def node(self, name: str) -> NodeOutcome:
        """The outcome of a node by its name, or by `stage.node`.

        Raises:
            KeyError: if no node, or more than one, has this name.
        """
        found = [
            outcome
            for stage in self.stages.values()
            for outcome in stage.nodes.values()
            if name in (outcome.name, f"{stage.name}.{outcome.name}")
        ]
        if len(found) == 1:
            return found[0]
        if found:
            where = [f"{s.name}.{name}" for s in self.stages.values() if name in s.nodes]
            raise KeyError(f"several nodes are called {name!r}: ask for one of {where}")
        from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

        labels = [f"{s.name}.{node}" for s in self.stages.values() for node in s.nodes]
        names = dict.fromkeys(node for s in self.stages.values() for node in s.nodes)
        close = get_close_matches(str(name), [*names, *labels], n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(labels)}"
        raise KeyError(f"no node is called {name!r}; {hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and copies: a view of the partial values is made anew."""
        fields = {field.name: getattr(self, field.name) for field in attrs.fields(PipelineResult)}
        return _restored, ({**fields, "partial": dict(self.partial)},)

    def unwrap(self) -> Any:
        """The value of a run that has one.

        Raises:
            DeadlineExceededError: if a limit passed; the subclass names the level.
            NodeFailedError: if a node raised; its exception is the cause.
            PipelineCancelledError: if the run was cancelled.
            OverloadedError: if it, or a node it needs, was refused.
        """
        if self.ok:
            return self.value
        raise self._error() from self._cause()

    def _cause(self) -> BaseException | None:
        """What the part that ended the run raised, else what was raised while it unwound."""
        if self.error is not None:
            return self.error
        nodes = [outcome for stage in self.stages.values() for outcome in stage.nodes.values()]
        blamed = [outcome for outcome in nodes if _same(outcome.blame, self.blame)]
        return next((error for outcome in blamed for error in outcome.secondary), None)

    def _error(self) -> GracelineError:
        blame = self.blame
        if blame is None:  # only a document that was put together by hand
            return GracelineError(f"the run is {self.status}, and nothing says why")
        name, message = blame.name, blame.message
        if self.status is Status.TIMED_OUT:
            error = timeout_class(blame.level)
            return error(message, name=name, limit=blame.limit, source=blame.source, result=self)
        if self.status is Status.FAILED:
            return NodeFailedError(message, name=name, result=self)
        if self.status is Status.REJECTED:
            later = blame.retry_after
            return OverloadedError(message, name=name, result=self, retry_after=later)
        return PipelineCancelledError(message, name=name, kind=blame.kind, result=self)

    def to_dict(self) -> dict[str, Any]:
        """The result as a document of plain JSON types; the names are those of the attributes.

        Exceptions become `{"type", "message"}`. Values that JSON does not know become their attrs
        or dataclass fields, else `{"repr": ...}`.
        """
        from graceline.documents import to_document  # noqa: PLC0415 - cattrs only when asked for

        return to_document(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> PipelineResult:
        """Read a document of `to_dict` back; exceptions come back as `RecordedError`.

        Raises:
            GracelineError: if the document is not one of a result: every problem with its path.
        """
        from graceline.documents import from_document  # noqa: PLC0415

        return from_document(cls, document)


def _restored(fields: dict[str, Any]) -> PipelineResult:
    return PipelineResult(**{**fields, "partial": freeze(fields["partial"])})


def _line(name: str, outcome: NodeOutcome | StageOutcome | PipelineResult) -> str:
    """What became of a part, in words."""
    said = f"{name} {outcome.status}"
    if outcome.elapsed > 0:
        said += f" after {format_duration(outcome.elapsed)}"
    return said if outcome.blame is None else f"{said}: {outcome.blame.message}"


def _same(one: Blame | None, other: Blame | None) -> bool:
    """Whether two outcomes blame the same level; how long it had run may differ."""
    if one is None or other is None:
        return False
    return (one.level, one.name, one.kind) == (other.level, other.name, other.kind)


def freeze(mapping: Mapping[str, T]) -> Mapping[str, T]:
    """A read-only view, for results."""
    return MappingProxyType(mapping)
