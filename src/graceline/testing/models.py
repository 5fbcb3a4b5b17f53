"""A run as plain data: what each node does, its limits, and the cancels from outside.

A model says everything that decides the course of a run, and nothing else. The oracle computes from
it what has to happen; `build` turns it into a real pipeline. Times are seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import attrs
import trio

from graceline.definitions import Node, Pipeline, Stage
from graceline.engine import cleanup
from graceline.errors import DefinitionWarning
from graceline.testing.accounts import KEEP_INPUT

__all__ = [
    "ModelError",
    "NodeModel",
    "PipelineModel",
    "RunNested",
    "Scenario",
    "StageModel",
    "build",
]


class ModelError(Exception):
    """What a modelled node raises."""


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
class NodeModel(_PartModel):
    """One node.

    Attributes:
        name: unique in the whole scenario.
        latency: seconds that its work sleeps, before its nested run if it has one.
        ending: `value` returns, `raises` raises `ModelError`, `swallows` catches a cancel and
            returns a value after `tail` seconds in a shield of its own.
        tail: see `ending`.
        cleanups: durations of the cleanup blocks in its `finally`, one after the other.
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
    ending: Literal["value", "raises", "swallows"] = "value"
    tail: float = 0.0
    cleanups: tuple[float, ...] = ()
    critical: bool = attrs.field(default=True, kw_only=True)
    after: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    absorb_after: float | None = attrs.field(default=None, kw_only=True)
    nested: PipelineModel | None = attrs.field(default=None, kw_only=True)
    returns: Callable[[Any], Any] | None = attrs.field(default=None, kw_only=True)
    when: Callable[[Any], Any] | None = attrs.field(default=None, kw_only=True)
    fallback: Any = attrs.field(default=KEEP_INPUT, kw_only=True)


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
    """

    pipeline: PipelineModel
    engine_grace: float = attrs.field(default=1.0, kw_only=True)
    user_cancel_at: float | None = attrs.field(default=None, kw_only=True)
    caller_cancel_at: float | None = attrs.field(default=None, kw_only=True)
    caller_deadline: float | None = attrs.field(default=None, kw_only=True)
    drain_at: float | None = attrs.field(default=None, kw_only=True)
    input: Any = attrs.field(default="input", kw_only=True)


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


def _fallback(model: NodeModel | StageModel) -> dict[str, Any]:
    return {} if model.fallback is KEEP_INPUT else {"fallback": model.fallback}


def _body(model: NodeModel, run_nested: RunNested) -> Callable[[Any], Awaitable[Any]]:
    nested = None if model.nested is None else build(model.nested, run_nested)

    def given(value: Any, inner: Any) -> Any:
        return (model.name, value, inner) if model.returns is None else model.returns(value)

    async def work(value: Any) -> Any:
        inner = None
        with trio.CancelScope() as scope:
            if model.absorb_after is not None:
                scope.deadline = trio.current_time() + model.absorb_after
            await trio.sleep(model.latency)
            if nested is not None:
                inner = await run_nested(nested, value)
        if model.ending == "raises":
            raise ModelError(model.name)
        return given(value, inner)

    async def body(value: Any) -> Any:
        try:
            try:
                return await work(value)
            except BaseException as error:
                if model.ending != "swallows" or not _is_cancel(error):
                    raise
            with trio.CancelScope(shield=True):
                await trio.sleep(model.tail)
            return given(value, "swallowed")
        finally:
            for duration in model.cleanups:
                with cleanup():
                    await trio.sleep(duration)

    return body


def _is_cancel(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancel(inner) for inner in error.exceptions)
    return isinstance(error, trio.Cancelled)
