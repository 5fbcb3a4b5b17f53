"""From a definition to a plan: limits, policies, work and aggregates, resolved once per engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import inf
from typing import Any

from graceline.adaptive import Outlooks
from graceline.deadlines import Limit, Source, Status
from graceline.definitions import (
    Adaptive,
    Choice,
    Each,
    Graph,
    Node,
    Part,
    Pipeline,
    Stage,
)
from graceline.definitions.part import Step
from graceline.engine.attempts import attempted
from graceline.engine.choosing import bind_choice
from graceline.engine.compiling_policies import compile_policies
from graceline.engine.learning import Recorded
from graceline.engine.plan import Alternative, NodePlan, PipelinePlan, StagePlan, Tempo
from graceline.engine.policies import Policies
from graceline.engine.protections import Place
from graceline.engine.resources import Resources
from graceline.engine.sharing import Share
from graceline.engine.site import current_site
from graceline.engine.strand import SHARE
from graceline.engine.surrounded import Surrounded
from graceline.telemetry.stats import HEDGES, STOPS, PartStats, PipelineStats, expect
from graceline.work import Bound, bind_coroutine

__all__ = ["compile_pipeline"]

_SOURCES = {
    "alternative": Source.NODE,
    "node": Source.NODE,
    "stage": Source.STAGE,
    "pipeline": Source.PIPELINE,
}


def compile_pipeline(pipeline: Pipeline, resources: Resources, *, stated: bool) -> PipelinePlan:
    """Compile a pipeline; `stated`: a level above it, or the call, states a limit."""
    return _Compiler(pipeline, resources).pipeline_plan(stated=stated)


class _Compiler:
    """Compiles one pipeline."""

    def __init__(self, pipeline: Pipeline, resources: Resources) -> None:
        self._pipeline = pipeline
        self._resources = resources
        self._shared = pipeline.budget != "fixed"
        self._histories: dict[tuple[str, str], Recorded] = {}
        self._outlooks = (
            Outlooks(pipeline, self._histories) if pipeline.budget == "reserve" else None
        )
        self._hedged = False
        self._names = Counter(node.name for stage in pipeline.stages for node in stage.nodes)

    def pipeline_plan(self, *, stated: bool) -> PipelinePlan:
        """The plan of the pipeline."""
        pipeline, timeouts = self._pipeline, self._resources.timeouts
        limit = self._limit(pipeline, "pipeline", timeouts.pipeline, stated_above=stated)
        strict = timeouts.strict if pipeline.strict is None else pipeline.strict
        fail_fast = timeouts.fail_fast if pipeline.fail_fast is None else pipeline.fail_fast
        stats = self._resources.stats.pipeline(pipeline.name)
        _publish(stats, pipeline, limit)
        stages = {
            stage.name: self._stage(stage, limit, strict=strict, fail_fast=fail_fast)
            for stage in pipeline.stages
        }
        first_span, first_tempo = _first(pipeline.graph, stages)
        return PipelinePlan(
            name=pipeline.name,
            label=pipeline.name,
            limit=limit,
            strict=strict,
            stop_before=pipeline.stop_before,
            handlers=pipeline.on_cleanup,
            slo=pipeline.slo,
            stats=stats,
            graph=pipeline.graph,
            fail_fast=fail_fast,
            roots=_roots(pipeline.graph),
            heads=_heads(pipeline.graph, stages),
            parts=stages,
            chain=_chain(pipeline.graph, stages),
            first_span=first_span,
            first_tempo=first_tempo,
            ordered=pipeline.graph.segments == (tuple(stages),),
            history=self._history(pipeline, stats, "", "", "pipeline"),
            hedged=self._hedged,
            shape=tuple((stage.name, tuple(stage.parts)) for stage in stages.values()),
        )

    def _stage(self, stage: Stage, above: Limit, *, strict: bool, fail_fast: bool) -> StagePlan:
        soft = self._pipeline.is_soft(stage)
        limit = self._limit(
            stage, "stage", self._resources.timeouts.stage,
            stated_above=above.stated or self._shared, soft=soft,
        )  # fmt: skip
        strict = strict if stage.strict is None else stage.strict
        nodes = {node.name: self._node(node, stage, limit, strict=strict) for node in stage.nodes}
        stats = self._resources.stats.part(self._pipeline.name, stage.name)
        _publish(stats, stage, limit)
        history = self._history(stage, stats, stage.name, "", "stage", soft=soft)
        share = self._share(stage, stage.name, "", soft=soft)
        plain = not stage.on_cleanup and stage.when is None and history is None and share is None
        return StagePlan(
            name=stage.name,
            label=stage.name,
            limit=limit,
            strict=strict,
            stop_before=stage.stop_before,
            handlers=stage.on_cleanup,
            slo=stage.slo,
            stats=stats,
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
            plain=plain and self._resources.enforced,
            history=history,
            share=share,
            ok=stats[Status.OK],
        )

    def _node(self, node: Node, stage: Stage, above: Limit, *, strict: bool) -> NodePlan:
        soft = self._pipeline.is_soft(stage, node)
        stats = self._resources.stats.part(self._pipeline.name, stage.name, node.name)
        history = self._history(node, stats, stage.name, node.name, "node", soft=soft)
        if history is not None:
            self._histories[stage.name, node.name] = history
        share = self._share(node, stage.name, node.name, soft=soft)
        limit = self._limit(
            node, "node", self._resources.timeouts.node, stated_above=above.stated, soft=soft
        )
        _publish(stats, node, limit)
        alternatives = tuple(
            self._alternative(name, one, node, stage, limit) for name, one in _alternatives(node)
        )
        policies: Policies | None = None
        if alternatives:
            call = bind_choice(alternatives)
        else:
            place = (self._pipeline.name, stage.name, node.name)
            call, policies = self._called(node, stage, place, stats)
        item = None if node.each is None else self._item(node, node.each)
        special = node.on_cleanup or node.when or item or share or alternatives
        return NodePlan(
            name=node.name,
            label=node.name if self._names[node.name] == 1 else f"{stage.name}.{node.name}",
            limit=limit,
            strict=strict if node.strict is None else node.strict,
            stop_before=node.stop_before,
            handlers=node.on_cleanup,
            slo=node.slo,
            stats=stats,
            when=node.when,
            critical=node.critical,
            fallback=node.fallback,
            call=call,
            stage=stage.name,
            item=item,
            max_parallel=1 if node.each is None else node.each.max_parallel,
            items=None if node.each is None else node.each.items,
            plain=self._resources.enforced and not special,
            bare=policies is None and history is None,
            policies=policies,
            history=history,
            share=share,
            ok=stats[Status.OK],
            alternatives=alternatives,
            tempo=Tempo(min(self._resources.slack, limit.span * SHARE)),
        )

    def _called(
        self, node: Node, stage: Stage, place: Place, stats: PartStats
    ) -> tuple[Bound, Policies | None]:
        """The work of a node with its policies around it, and these."""
        work = self._work(node)
        policies = compile_policies(node, stage, self._pipeline, place, work, self._resources)
        if policies is None:
            return work, None
        if policies.retry.attempts > 1:
            expect(stats.retries, STOPS)
        if policies.hedge is not None:
            self._hedged = True
            expect(stats.hedges, HEDGES)
        return attempted(policies), policies

    def _alternative(
        self, name: str, one: Node, node: Node, stage: Stage, above: Limit
    ) -> Alternative:
        """One of the alternatives of a choice. Its limit is hard: others stand in for it."""
        stats = self._resources.stats.part(self._pipeline.name, stage.name, one.name)
        place = (self._pipeline.name, stage.name, node.name, name)
        call, policies = self._called(one, stage, place, stats)
        limit = self._limit(one, "alternative", inf, stated_above=above.stated)
        _publish(stats, one, limit)
        plan = NodePlan(
            name=one.name,
            label=one.name,
            limit=limit,
            strict=False,
            stop_before=one.stop_before,
            handlers=(),
            stats=stats,
            call=call,
            stage=stage.name,
            item=None,
            max_parallel=1,
            plain=False,
            bare=False,
            policies=policies,
            history=self._history(one, stats, stage.name, one.name, "node"),
            ok=stats[Status.OK],
        )
        stated = one.stated_timeout
        return Alternative(
            name=name,
            plan=plan,
            health=self._resources.protections.alternative(place),
            limit=inf if stated is None else stated - (one.reserve or 0.0),
            once=one.idempotent is False,
        )

    def _work(self, node: Node) -> Bound:
        function: Any = node.function
        if node.runs_on == "coroutine":
            call = bind_coroutine(function)
        else:
            inner = function.inner if isinstance(function, Surrounded) else function
            call = self._resources.workers.bind(inner, node.runs_on, current_site)
        return function.around(call) if isinstance(function, Surrounded) else call

    def _item(self, node: Node, each: Each) -> Limit:
        span = inf if each.item_timeout is None else each.item_timeout
        source = None if span == inf else Source.NODE
        return Limit(
            "item", node.name, timeout=span, source=source, enforced=self._resources.enforced
        )

    def _limit(
        self, part: Part, level: str, default: float, *, stated_above: bool, soft: bool = False
    ) -> Limit:
        """Resolve a limit: stated on the part, else in its metadata, else the engine's default.

        A default applies only where neither the level nor any level above it states a limit. A
        soft limit is none.
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
            enforced=self._resources.enforced,
        )

    def _history(
        self,
        part: Part,
        stats: PartStats | PipelineStats,
        stage: str,
        node: str,
        level: str,
        *,
        soft: bool = False,
    ) -> Recorded | None:
        learning, name = self._resources.learning, self._pipeline.name
        if learning is None:
            return None
        if isinstance(part.timeout, Adaptive):
            return learning.learned(part.timeout, name, stage, node, level, stats, soft=soft)
        if level == "node" and (self._shared or learning.kept):
            return learning.recorded(name, stage, node)
        return None

    def _share(self, part: Part, stage: str, node: str, *, soft: bool) -> Share | None:
        if not self._shared or self._resources.learning is None:
            return None
        late_after = None
        if soft and not isinstance(part.timeout, Adaptive) and part.stated_timeout != inf:
            late_after = part.stated_timeout
        return Share(stage, node, late_after, self._outlooks if node else None)


def _publish(stats: PartStats | PipelineStats, part: Part, limit: Limit) -> None:
    """Write down what a collector shows of a definition."""
    stats.slo = part.slo
    if limit.source is Source.ADAPTIVE:
        stats.learned = stats.learned or limit.timeout
    elif limit.shown is not None:
        stats.limit = limit.shown
    if isinstance(part, Step) and isinstance(stats, PartStats) and not part.critical:
        stats.degraded = stats.degraded or 0


def _alternatives(node: Node) -> tuple[tuple[str, Node], ...]:
    """The alternatives of a choice, each with the name that it was given."""
    if not isinstance(node.function, Choice):
        return ()
    return tuple(
        (given.name, one)
        for given, one in zip(node.function.alternatives, node.alternatives, strict=True)
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


def _first(graph: Graph, stages: Mapping[str, StagePlan]) -> tuple[float, Tempo]:
    first = stages[graph.order[0]]
    if len(graph.segments) > 1 or first.chain is None:
        return inf, Tempo()
    limit, node = first.limit, first.chain[0]
    if limit.span <= node.limit.span:
        return limit.span, Tempo()
    return node.limit.span, node.tempo
