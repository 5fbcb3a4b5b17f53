"""A run as plain data: what each node does, its limits, and the cancels from outside.

A model says everything that decides the course of a run, and nothing else. The oracle computes from
it what has to happen; `build` turns it into a real pipeline. Times are seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

import attrs
import trio

from graceline.definitions import Breaker, Node, Pipeline, Retry, Stage
from graceline.engine import Mode, cleanup, current
from graceline.errors import DefinitionWarning
from graceline.testing.accounts import KEEP_INPUT

__all__ = [
    "AttemptModel",
    "Ending",
    "ModelError",
    "NodeModel",
    "PipelineModel",
    "RetryModel",
    "RunNested",
    "Scenario",
    "StageModel",
    "build",
]


Ending: TypeAlias = Literal["value", "raises", "final", "unstarted", "several", "mixed", "swallows"]
"""What modelled work does at its end.

`value` returns; `raises` raises `ModelError`, `final` one that is not retryable, `unstarted` one
that says that nothing was done yet, `several` a group of retryable ones, `mixed` a group of which
one is not retryable; `swallows` catches a cancel and returns a value after `tail` seconds in a
shield of its own.
"""


class ModelError(Exception):
    """What a modelled node raises."""

    retryable = True
    retry_after: float | None = None
    started = True


class _Short:
    """A repr without the fields that have their default, for the reports of failing examples."""

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in attrs.fields(type(self))  # type: ignore[arg-type]
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@attrs.frozen(kw_only=True, repr=False)
class _PartModel(_Short):
    """What the models of nodes, stages and pipelines have in common: names of `graceline.Part`."""

    timeout: float | None = None
    grace: float | None = None
    reserve: float | None = None
    strict: bool | None = None


@attrs.frozen(repr=False)
class RetryModel(_Short):
    """A retry policy: what the oracle has to know of a `Retry`; names and defaults are shared.

    Attributes:
        on: whether a `ModelError` is retried.
    """

    attempts: int = 3
    backoff: float = attrs.field(default=0.0, kw_only=True)
    factor: float = attrs.field(default=2.0, kw_only=True)
    max_backoff: float = attrs.field(default=10.0, kw_only=True)
    min_attempt: float = attrs.field(default=0.05, kw_only=True)
    nested: bool = attrs.field(default=False, kw_only=True)
    on: bool = attrs.field(default=True, kw_only=True)


@attrs.frozen(repr=False)
class AttemptModel(_Short):
    """What one attempt of a node does; the attributes are those of `NodeModel`."""

    latency: float
    ending: Ending = "value"
    tail: float = 0.0
    cleanups: tuple[float, ...] = ()
    hint: float | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(repr=False)
class NodeModel(_PartModel):
    """One node.

    Attributes:
        name: unique in the whole scenario.
        latency: seconds that its work sleeps, before its nested run if it has one.
        ending: see `Ending`.
        tail: see `Ending`.
        cleanups: durations of the cleanup blocks in its `finally`, one after the other.
        hint: seconds after which its errors want another attempt, as their `retry_after`.
        later: what the second attempt does, and so on; the last one stands for all that follow.
        text: of its errors; None for its name and the number of the attempt.
        retry: its policy.
        attempt_timeout: as of `Node`.
        idempotent: as of `Node`.
        guarded: whether it has a breaker and a bulkhead, too generous to refuse anything.
        critical: as of `Node`.
        after: as of `Node`.
        absorb_after: seconds of a `move_on_after` of its own around the work; None for none.
        nested: a pipeline that it runs.
        returns: makes its value of its input; None for a tuple that tells of it.
        when: as of `Node`.
        fallback: as of `Node`.
    """

    name: str
    latency: float
    ending: Ending = "value"
    tail: float = 0.0
    cleanups: tuple[float, ...] = ()
    hint: float | None = attrs.field(default=None, kw_only=True)
    later: tuple[AttemptModel, ...] = attrs.field(default=(), kw_only=True)
    text: str | None = attrs.field(default=None, kw_only=True)
    retry: RetryModel | None = attrs.field(default=None, kw_only=True)
    attempt_timeout: float | None = attrs.field(default=None, kw_only=True)
    idempotent: bool | None = attrs.field(default=None, kw_only=True)
    guarded: bool = attrs.field(default=False, kw_only=True)
    critical: bool = attrs.field(default=True, kw_only=True)
    after: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    absorb_after: float | None = attrs.field(default=None, kw_only=True)
    nested: PipelineModel | None = attrs.field(default=None, kw_only=True)
    returns: Callable[[Any], Any] | None = attrs.field(default=None, kw_only=True)
    when: Callable[[Any], Any] | None = attrs.field(default=None, kw_only=True)
    fallback: Any = attrs.field(default=KEEP_INPUT, kw_only=True)

    def attempt(self, number: int) -> AttemptModel:
        """What the attempt of that number does, from 1."""
        if number == 1 or not self.later:
            return AttemptModel(self.latency, self.ending, self.tail, self.cleanups, hint=self.hint)
        return self.later[min(number - 2, len(self.later) - 1)]

    def error_text(self, number: int) -> str:
        """The text of the error that an attempt raises."""
        if self.text is not None:
            return self.text
        return self.name if number == 1 else f"{self.name}#{number}"


@attrs.frozen(repr=False)
class StageModel(_PartModel):
    """One stage; `after=None` puts it behind the stage before it, as in `Pipeline`."""

    name: str
    nodes: tuple[NodeModel, ...]
    critical: bool = attrs.field(default=True, kw_only=True)
    after: tuple[str, ...] | None = attrs.field(default=None, kw_only=True)
    fail_fast: bool | None = attrs.field(default=None, kw_only=True)
    when: Callable[[Any], Any] | None = attrs.field(default=None, kw_only=True)
    fallback: Any = attrs.field(default=KEEP_INPUT, kw_only=True)


@attrs.frozen(repr=False)
class PipelineModel(_PartModel):
    """One pipeline; its name is unique in the whole scenario."""

    name: str
    stages: tuple[StageModel, ...]
    fail_fast: bool | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(repr=False)
class Scenario(_Short):
    """A run at instant 0, and what comes to it from outside.

    Attributes:
        pipeline: what is run.
        engine_grace: the engine's default grace.
        user_cancel_at: when the run is cancelled through the engine; None for never.
        caller_cancel_at: when the caller's scope is cancelled explicitly; None for never.
        caller_deadline: the deadline of the caller's scope; None for none.
        drain_at: when the engine is drained and waits for nothing; None for never.
        input: what the run gets.
        jitter: what the random source gives for every backoff: a share of the longest one.
        mode: the engine's mode. Without limits a caller's deadline is a cancel like any other, so
            only `enforce` has one.
    """

    pipeline: PipelineModel
    engine_grace: float = attrs.field(default=1.0, kw_only=True)
    user_cancel_at: float | None = attrs.field(default=None, kw_only=True)
    caller_cancel_at: float | None = attrs.field(default=None, kw_only=True)
    caller_deadline: float | None = attrs.field(default=None, kw_only=True)
    drain_at: float | None = attrs.field(default=None, kw_only=True)
    input: Any = attrs.field(default="input", kw_only=True)
    jitter: float = attrs.field(default=1.0, kw_only=True)
    mode: Mode = attrs.field(default="enforce", kw_only=True)


RunNested = Callable[[Pipeline, Any], Awaitable[Any]]
"""Runs a nested pipeline with an input and gives its value."""


def build(model: PipelineModel, run_nested: RunNested) -> Pipeline:
    """The real pipeline of a model; `run_nested` is called for the runs inside its nodes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DefinitionWarning)  # clamped limits are part of the subject
        stages = [_stage(stage, run_nested) for stage in model.stages]
        return Pipeline(model.name, stages, fail_fast=model.fail_fast, **_limits(model))


def _limits(model: _PartModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in ("timeout", "grace", "reserve", "strict")}


def _stage(model: StageModel, run_nested: RunNested) -> Stage:
    nodes = tuple(
        Node(
            _body(node, run_nested),
            name=node.name,
            after=node.after,
            critical=node.critical,
            when=node.when,
            idempotent=node.idempotent,
            **_policies(node),
            **_fallback(node),
            **_limits(node),
        )
        for node in model.nodes
    )
    return Stage(
        model.name,
        nodes,
        after=model.after,
        critical=model.critical,
        fail_fast=model.fail_fast,
        when=model.when,
        **_fallback(model),
        **_limits(model),
    )


def _policies(model: NodeModel) -> dict[str, Any]:
    policies: dict[str, Any] = {}
    if model.retry is not None:
        stated = attrs.asdict(model.retry) | {"on": ModelError if model.retry.on else LookupError}
        policies["retry"] = Retry(**stated)
    if model.attempt_timeout is not None:
        policies["attempt_timeout"] = model.attempt_timeout
    if model.guarded:
        policies |= {"breaker": Breaker(min_calls=1000), "limit": 100}
    return policies


def _fallback(model: NodeModel | StageModel) -> dict[str, Any]:
    return {} if model.fallback is KEEP_INPUT else {"fallback": model.fallback}


def _body(model: NodeModel, run_nested: RunNested) -> Callable[[Any], Awaitable[Any]]:
    nested = None if model.nested is None else build(model.nested, run_nested)

    def given(value: Any, inner: Any) -> Any:
        return (model.name, value, inner) if model.returns is None else model.returns(value)

    async def work(value: Any, number: int) -> Any:
        does, inner = model.attempt(number), None
        with trio.CancelScope() as scope:
            if model.absorb_after is not None:
                scope.deadline = trio.current_time() + model.absorb_after
            await trio.sleep(does.latency)
            if nested is not None:
                inner = await run_nested(nested, value)
        if does.ending not in ("value", "swallows"):
            raise _error(model.error_text(number), does)
        return given(value, inner)

    async def body(value: Any) -> Any:
        number = current().attempt
        does = model.attempt(number)
        try:
            try:
                return await work(value, number)
            except BaseException as error:
                if does.ending != "swallows" or not _is_cancel(error):
                    raise
            with trio.CancelScope(shield=True):
                await trio.sleep(does.tail)
            return given(value, "swallowed")
        finally:
            for duration in does.cleanups:
                with cleanup():
                    await trio.sleep(duration)

    return body


def _error(text: str, does: AttemptModel) -> Exception:
    error = ModelError(text)
    error.retry_after = does.hint
    error.retryable = does.ending != "final"
    error.started = does.ending != "unstarted"
    if does.ending in ("raises", "final", "unstarted"):
        return error
    other = ModelError(text)
    other.retryable = does.ending != "mixed"
    return ExceptionGroup(text, [error, other])


def _is_cancel(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancel(inner) for inner in error.exceptions)
    return isinstance(error, trio.Cancelled)
