"""Stages that hold nodes, and the pipeline that holds stages."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, cast

import attrs

from graceline.definitions.adaptive import Adaptive
from graceline.definitions.advice import advise
from graceline.definitions.arguments import explained_class
from graceline.definitions.checks import brief, check_flag, check_names
from graceline.definitions.command import Command
from graceline.definitions.graph import Graph, build_graph
from graceline.definitions.inherit import Inheritable, resolve
from graceline.definitions.nodes import Node, as_node
from graceline.definitions.part import Part, Step, warn_part, where_of
from graceline.durations import format_duration
from graceline.errors import DefinitionError
from graceline.values import frozen

__all__ = ["BUDGETS", "Pipeline", "Stage", "check_learned_limit"]

_Function: TypeAlias = Callable[[Any], Any]


def _nodes(value: Node | _Function | Iterable[Any]) -> tuple[Node, ...]:
    return cast("tuple[Node, ...]", value)


def _stages(value: Stage | Node | _Function | Iterable[Any]) -> tuple[Stage, ...]:
    return cast("tuple[Stage, ...]", value)


def _flat(parts: object, where: str) -> list[Any]:
    """The parts of a list that may hold groups made by `sequence` and `parallel`."""
    single = isinstance(parts, Part | Command) or callable(parts)
    if single or inspect.iscoroutine(parts):
        parts = [parts]
    if not isinstance(parts, Iterable) or isinstance(parts, str | bytes | Mapping):
        raise DefinitionError(f"{where}: its parts must be a list, not {brief(parts)}")
    flat: list[Any] = []
    for part in parts:
        flat += _flat(part, where) if isinstance(part, list | tuple) else [part]
    return flat


@explained_class
@frozen(eq=False)
class Stage(Step):
    """Nodes that belong together, with a limit for all of them.

    Nodes without `after` start together; `sequence(...)` and `parallel(...)` fill `after`.

    Attributes:
        name: unique within the pipeline.
        nodes: nodes or plain functions; groups made by `sequence` and `parallel` are welcome.
        fail_fast: whether the first critical failure cancels the siblings; None takes the
            pipeline's.

    Raises:
        DefinitionError: for no nodes, a name used twice (alternatives are named `node.alternative`
            too), an unknown name in `after`, a cycle, and everything that `Part` refuses.
    """

    name: str
    nodes: tuple[Node, ...] = attrs.field(default=(), converter=_nodes)
    fail_fast: bool | None = attrs.field(default=None, kw_only=True)
    graph: Graph = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        where = where_of(self)
        nodes = tuple(as_node(part, where) for part in _flat(self.nodes, where))
        object.__setattr__(self, "nodes", nodes)
        if self.fail_fast is not None:
            check_flag(self.fail_fast, f"{where}, fail_fast=")
        before = {node.name: node.after or () for node in nodes}
        object.__setattr__(self, "graph", build_graph(before, [n.name for n in nodes], where))
        placed = [one.name for part in nodes for one in (part, *part.alternatives)]
        check_names(placed, f"{where}, its alternatives included")
        for part in nodes:
            warn_part(part, self)


BUDGETS = ("fixed", "remaining", "reserve")
"""How the time of a pipeline may be shared."""


@explained_class
@frozen(eq=False)
class Pipeline(Part):
    """Stages, with a limit for the whole.

    The stages are a sequence unless they say otherwise with `after`. Nodes or functions in place of
    stages form one stage of the pipeline's name.

    Attributes:
        name: the name under which an engine knows it.
        stages: stages, or nodes and functions.
        fail_fast: whether the first critical failure cancels the siblings; None takes the engine's.
        budget: how the time of the whole is shared. `fixed`: each part by its own limit.
            `remaining`: each part may use all that is left. `reserve`: all but what the parts after
            it usually need. In the latter two the limits of parts that nothing could stand in for
            are soft: passing one is told, and cuts nothing.
        sum_must_fit: refuse the definition if the limits along the longest path of stages (of nodes
            in a stage) add up to more than the limit above them.

    Raises:
        DefinitionError: as `Stage`, and where `sum_must_fit` is violated.
    """

    name: str
    stages: tuple[Stage, ...] = attrs.field(default=(), converter=_stages)
    fail_fast: bool | None = attrs.field(default=None, kw_only=True)
    budget: Literal["fixed", "remaining", "reserve"] = attrs.field(default="fixed", kw_only=True)
    sum_must_fit: bool = attrs.field(default=False, kw_only=True)
    graph: Graph = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        where = where_of(self)
        stages = _as_stages(_flat(self.stages, where), self)
        object.__setattr__(self, "stages", stages)
        if self.fail_fast is not None:
            check_flag(self.fail_fast, f"{where}, fail_fast=")
        if self.budget not in BUDGETS:
            raise DefinitionError(
                f"{where}: budget= is one of {', '.join(map(repr, BUDGETS))}, not "
                f"{brief(self.budget)}; how long a requester still waits is said by the call: "
                "engine.run(..., budget=0.25)"
            )
        check_flag(self.sum_must_fit, f"{where}, sum_must_fit=")
        before: dict[str, tuple[str, ...]] = {}
        for previous, stage in zip((None, *stages), stages, strict=False):
            if stage.after is not None:
                before[stage.name] = stage.after
            else:
                before[stage.name] = () if previous is None else (previous.name,)
        object.__setattr__(self, "graph", build_graph(before, [s.name for s in stages], where))
        for stage in stages:
            if not self.is_soft(stage):  # a soft limit is not clamped
                warn_part(stage, self)
            if stage.stated_timeout in (None, math.inf):
                for part in stage.nodes:
                    if not self.is_soft(stage, part):
                        warn_part(part, self)
            for part in stage.nodes:
                check_learned_limit(part, stage, self)
                for one in part.alternatives:
                    check_learned_limit(one, stage, self)
        advise(self)
        if self.sum_must_fit:
            _check_sum(self, self.graph, {stage.name: stage for stage in stages})
            for stage in stages:
                _check_sum(stage, stage.graph, {node.name: node for node in stage.nodes})

    def is_soft(self, stage: Stage, node: Node | None = None) -> bool:
        """Whether passing the limit of a stage, or of a node in it, is told and cuts nothing."""
        return self.budget != "fixed" and stage.critical and (node is None or node.critical)


def _as_stages(parts: list[Any], pipeline: Pipeline) -> tuple[Stage, ...]:
    where = where_of(pipeline)
    stages = [part for part in parts if isinstance(part, Stage)]
    if len(stages) == len(parts):
        return tuple(stages)
    if stages:
        raise DefinitionError(f"{where}: it mixes stages and nodes; put the nodes into a stage")
    return (Stage(pipeline.name, [as_node(part, where) for part in parts]),)


def check_learned_limit(part: Node, *above: Inheritable) -> None:
    """Raise where a node that is retried learns its own limit, and not that of an attempt."""
    retry = resolve("retry", part, *above)
    if retry is not None and isinstance(part.timeout, Adaptive):
        raise DefinitionError(
            f"{where_of(part)}: with retry= the limit that learns is that of an attempt; write "
            "attempt_timeout=Adaptive(...), or retry=None"
        )


def _check_sum(holder: Stage | Pipeline, graph: Graph, parts: Mapping[str, Part]) -> None:
    above = holder.stated_timeout
    if above is None:
        return
    longest: dict[str, float] = {}
    for name in graph.order:
        own = parts[name].stated_timeout or 0.0
        longest[name] = (0.0 if own == math.inf else own) + max(
            (longest[needed] for needed in graph.before[name]), default=0.0
        )
    worst = max(longest.values())
    if worst > above and not math.isclose(worst, above):
        raise DefinitionError(
            f"{where_of(holder)}: the limits of its parts add up to {format_duration(worst)}, "
            f"which does not fit into {format_duration(above)} (sum_must_fit=True)"
        )
