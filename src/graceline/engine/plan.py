"""A pipeline compiled for one engine: limits, work and aggregates are resolved once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, cast

import attrs

from graceline.adaptive import Outlooks
from graceline.deadlines import Limit, Source, Status
from graceline.definitions import (
    PASS_INPUT,
    Adaptive,
    Command,
    Graph,
    Node,
    Part,
    Pipeline,
    Stage,
    Timeouts,
)
from graceline.engine.learning import Learning, Recorded
from graceline.engine.sharing import Share
from graceline.engine.site import current_site
from graceline.telemetry.stats import Durations, Stats
from graceline.work import Bound, Workers, bind_coroutine

__all__ = ["NodePlan", "PipelinePlan", "Plan", "StagePlan", "Surrounded", "compile_pipeline"]

_SOURCES = {"node": Source.NODE, "stage": Source.STAGE, "pipeline": Source.PIPELINE}


class Surrounded:
    """A node's function that has something done around its work, in the event loop.

    What runs elsewhere, in a worker thread for instance, could do nothing there that a cancel
    reaches. It is asked once, when its pipeline is compiled.

    """

    @property
    def inner(self) -> Callable[[Any], Any] | Command:
        """What the node runs, without what is done around it."""
        return cast("Callable[[Any], Any]", self)

    def around(self, work: Bound) -> Bound:
        """What is awaited in place of `work`, which is this function, bound."""
        return work


@attrs.frozen(kw_only=True, eq=False)
class Plan:
    """What the plans of nodes, stages and pipelines have in common.

    `history` takes the durations, and gives a learned limit; `share` that of a shared budget.
    """

    name: str
    label: str
    limit: Limit
    strict: bool
    stop_before: float | None
    handlers: tuple[Callable[[Any], Any], ...]
    stats: Mapping[Status, Durations]
    when: Callable[[Any], Any] | None = None
    critical: bool = True
    fallback: Any = PASS_INPUT
    history: Recorded | None = None
    share: Share | None = None


@attrs.frozen(kw_only=True, eq=False)
class NodePlan(Plan):
    """A node, ready to run.

    Attributes:
        call: awaited with the input.
        stage: the name of its stage.
        item: the limit of one item, for a node that runs over a list.
        max_parallel: how many items run at once.
        plain: nothing but its limit has to be looked at: the hot path may take it.
        add_ok: counts the duration of a run that ended well.
    """

    call: Bound
    stage: str
    item: Limit | None
    max_parallel: int
    plain: bool
    add_ok: Callable[[float], None]


@attrs.frozen(kw_only=True, eq=False)
class _Holder(Plan):
    """A plan that holds parts; `heads` are the segments of its graph, `roots` start it.

    `singles` are those roots that are one plain node, on which no other waits.
    """

    graph: Graph
    fail_fast: bool
    roots: tuple[str, ...]
    heads: Mapping[str, tuple[Any, ...]]
    singles: Mapping[str, NodePlan] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True, eq=False)
class StagePlan(_Holder):
    """A stage, ready to run. `chain` holds its nodes in order if they are one sequence.

    `plain` and `add_ok` are as for a node; `ordered` says that a chain runs in definition order.
    """

    add_ok: Callable[[float], None]

    parts: Mapping[str, NodePlan]
    chain: tuple[NodePlan, ...] | None
    plain: bool
    ordered: bool


@attrs.frozen(kw_only=True, eq=False)
class PipelinePlan(_Holder):
    """A pipeline, ready to run. `chain` holds its stages in order if they are one sequence.

    `first_span` is the tightest limit of the first stage and its first node in seconds, `inf` where
    the run begins with branches.
    """

    first_span: float
    add_ok: Callable[[float], None]

    parts: Mapping[str, StagePlan]
    chain: tuple[StagePlan, ...] | None
    ordered: bool
    shape: tuple[tuple[str, tuple[str, ...]], ...]


def _limit(
    part: Part,
    level: str,
    default: float,
    *,
    stated_above: bool,
    enforced: bool,
    soft: bool = False,
) -> Limit:
    """Resolve a limit: stated on the part, else in its metadata, else the engine's default.

    A default applies only where neither the level nor any level above it states a limit. A soft
    limit is none.
    """
    stated = part.stated_timeout
    source: Source | None
    if soft:
        timeout, source = inf, None
    elif isinstance(part.timeout, Adaptive):
        timeout, source = part.timeout.initial, Source.ADAPTIVE
    elif stated is not None:
        timeout = stated
        source = _SOURCES[level] if part.timeout is not None else Source.METADATA
    else:
        timeout = inf if stated_above else default
        source = Source.DEFAULT
    return Limit(
        level,
        part.name,
        timeout=timeout,
        reserve=0.0 if soft else part.reserve or 0.0,
        grace=part.reserve if part.reserve is not None else part.grace,
        source=None if timeout == inf else source,
        stated=stated_above or stated is not None,
        enforced=enforced,
    )


def compile_pipeline(
    pipeline: Pipeline,
    timeouts: Timeouts,
    *,
    stated: bool,
    enforced: bool,
    stats: Stats,
    workers: Workers,
    learning: Learning | None,
) -> PipelinePlan:
    """Compile a pipeline.

    Args:
        pipeline: the definition.
        timeouts: the engine's defaults.
        stated: whether a level above the pipeline, or the call, states a limit.
        enforced: whether limits cut anything.
        stats: where the aggregates live.
        workers: where work runs that does not run in the event loop.
        learning: gives learned limits; None does not learn.
    """
    shared = pipeline.budget != "fixed"
    histories: dict[tuple[str, str], Recorded] = {}
    outlooks = Outlooks(pipeline, histories) if pipeline.budget == "reserve" else None

    def history_of(
        part: Part, stage: str, node: str, level: str, *, soft: bool = False
    ) -> Recorded | None:
        if learning is None:
            return None
        if isinstance(part.timeout, Adaptive):
            return learning.learned(part.timeout, pipeline.name, stage, node, level, soft=soft)
        if level == "node" and (shared or learning.kept):
            return learning.recorded(pipeline.name, stage, node)
        return None

    def share_of(part: Part, stage: str, node: str, *, soft: bool) -> Share | None:
        if not shared or learning is None:
            return None
        late_after = None
        if soft and not isinstance(part.timeout, Adaptive) and part.stated_timeout != inf:
            late_after = part.stated_timeout
        return Share(stage, node, late_after, outlooks if node else None)

    root = _limit(pipeline, "pipeline", timeouts.pipeline, stated_above=stated, enforced=enforced)
    strict = timeouts.strict if pipeline.strict is None else pipeline.strict
    fail_fast = timeouts.fail_fast if pipeline.fail_fast is None else pipeline.fail_fast
    names = Counter(node.name for stage in pipeline.stages for node in stage.nodes)

    def plan_stage(stage: Stage) -> StagePlan:
        soft_stage = pipeline.is_soft(stage)
        limit = _limit(
            stage, "stage", timeouts.stage, stated_above=root.stated or shared,
            enforced=enforced, soft=soft_stage,
        )  # fmt: skip
        stage_strict = strict if stage.strict is None else stage.strict

        def plan_node(node: Node) -> NodePlan:
            soft = pipeline.is_soft(stage, node)
            node_limit = _limit(
                node, "node", timeouts.node, stated_above=limit.stated, enforced=enforced, soft=soft
            )
            part_stats = stats.part(pipeline.name, stage.name, node.name)
            function: Any = node.function
            if node.runs_on == "coroutine":
                call = bind_coroutine(function)
            else:
                inner = function.inner if isinstance(function, Surrounded) else function
                call = workers.bind(inner, node.runs_on, current_site)
            if isinstance(function, Surrounded):
                call = function.around(call)
            history = history_of(node, stage.name, node.name, "node", soft=soft)
            if history is not None:
                histories[stage.name, node.name] = history
            share = share_of(node, stage.name, node.name, soft=soft)
            item = None
            if node.each is not None:
                span = inf if node.each.item_timeout is None else node.each.item_timeout
                source = None if span == inf else Source.NODE
                item = Limit("item", node.name, timeout=span, source=source, enforced=enforced)
            return NodePlan(
                name=node.name,
                label=node.name if names[node.name] == 1 else f"{stage.name}.{node.name}",
                limit=node_limit,
                strict=stage_strict if node.strict is None else node.strict,
                stop_before=node.stop_before,
                handlers=node.on_cleanup,
                stats=part_stats,
                when=node.when,
                critical=node.critical,
                fallback=node.fallback,
                call=call,
                stage=stage.name,
                item=item,
                max_parallel=1 if node.each is None else node.each.max_parallel,
                plain=(
                    enforced
                    and not node.on_cleanup
                    and node.when is None
                    and item is None
                    and share is None
                ),
                history=history,
                share=share,
                add_ok=part_stats[Status.OK].add,
            )

        nodes = {node.name: plan_node(node) for node in stage.nodes}
        stage_history = history_of(stage, stage.name, "", "stage", soft=soft_stage)
        stage_share = share_of(stage, stage.name, "", soft=soft_stage)
        stage_stats = stats.part(pipeline.name, stage.name)
        return StagePlan(
            name=stage.name,
            label=stage.name,
            limit=limit,
            strict=stage_strict,
            stop_before=stage.stop_before,
            handlers=stage.on_cleanup,
            stats=stage_stats,
            when=stage.when,
            critical=stage.critical,
            fallback=stage.fallback,
            graph=stage.graph,
            fail_fast=fail_fast if stage.fail_fast is None else stage.fail_fast,
            roots=_roots(stage.graph),
            heads=_heads(stage.graph, nodes),
            singles=_singles(stage.graph, nodes),
            parts=nodes,
            chain=_chain(stage.graph, nodes),
            ordered=stage.graph.segments == (tuple(nodes),),
            plain=(
                enforced
                and not stage.on_cleanup
                and stage.when is None
                and stage_history is None
                and stage_share is None
            ),
            history=stage_history,
            share=stage_share,
            add_ok=stage_stats[Status.OK].add,
        )

    root_stats = stats.part(pipeline.name)
    stages = {stage.name: plan_stage(stage) for stage in pipeline.stages}
    return PipelinePlan(
        name=pipeline.name,
        label=pipeline.name,
        limit=root,
        strict=strict,
        stop_before=pipeline.stop_before,
        handlers=pipeline.on_cleanup,
        stats=root_stats,
        add_ok=root_stats[Status.OK].add,
        graph=pipeline.graph,
        fail_fast=fail_fast,
        roots=_roots(pipeline.graph),
        heads=_heads(pipeline.graph, stages),
        parts=stages,
        chain=_chain(pipeline.graph, stages),
        first_span=_first_span(pipeline.graph, stages),
        ordered=pipeline.graph.segments == (tuple(stages),),
        history=history_of(pipeline, "", "", "pipeline"),
        shape=tuple((stage.name, tuple(stage.parts)) for stage in stages.values()),
    )


def _roots(graph: Graph) -> tuple[str, ...]:
    return tuple(segment[0] for segment in graph.segments if not graph.before[segment[0]])


def _heads(graph: Graph, parts: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {segment[0]: tuple(parts[name] for name in segment) for segment in graph.segments}


def _singles(graph: Graph, parts: Mapping[str, NodePlan]) -> dict[str, NodePlan]:
    heads = (segment[0] for segment in graph.segments if len(segment) == 1)
    return {
        name: parts[name]
        for name in heads
        if parts[name].plain and not graph.before[name] and not graph.next[name]
    }


def _chain(graph: Graph, parts: Mapping[str, Any]) -> tuple[Any, ...] | None:
    if len(graph.segments) > 1:
        return None
    return tuple(parts[name] for name in graph.segments[0])


def _first_span(graph: Graph, stages: Mapping[str, StagePlan]) -> float:
    first = stages[graph.order[0]]
    if len(graph.segments) > 1 or first.chain is None:
        return inf
    return min(first.limit.span, first.chain[0].limit.span)
