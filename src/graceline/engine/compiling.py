"""From a definition to a plan: limits, policies, work and aggregates, resolved once per engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import attrs

from graceline.adaptive import Outlooks
from graceline.deadlines import Limit, Source, Status
from graceline.definitions import (
    INHERIT,
    Adaptive,
    Choice,
    Defaults,
    Each,
    Graph,
    Node,
    Part,
    Pipeline,
    Retry,
    Stage,
    Timeouts,
    check_learned_limit,
    resolve,
)
from graceline.definitions.part import Step
from graceline.engine.attempts import attempted
from graceline.engine.choosing import bind_choice
from graceline.engine.learning import Learning, Recorded
from graceline.engine.plan import Alternative, NodePlan, PipelinePlan, StagePlan
from graceline.engine.policies import Policies
from graceline.engine.protections import Place, Protections
from graceline.engine.sharing import Share
from graceline.engine.site import current_site
from graceline.engine.surrounded import Surrounded
from graceline.telemetry.stats import HEDGES, STOPS, PartStats, PipelineStats, Stats, expect
from graceline.work import Bound, Workers, bind_coroutine

__all__ = ["Resources", "compile_pipeline"]

_SOURCES = {
    "alternative": Source.NODE,
    "node": Source.NODE,
    "stage": Source.STAGE,
    "pipeline": Source.PIPELINE,
}


@attrs.frozen(kw_only=True, eq=False)
class Resources:
    """What all plans of one engine are made with.

    Attributes:
        timeouts: the engine's default limits.
        defaults: the engine's default policies.
        enforced: whether limits cut anything.
        stats: where the aggregates live.
        workers: where work runs that does not run in the event loop.
        learning: gives learned limits; None does not learn.
        protections: breakers, bulkheads and retry budgets.
        random: gives numbers in [0, 1), for the jitter of backoffs.
        crowded: whether runs wait for a slot of the engine.
    """

    timeouts: Timeouts
    defaults: Defaults
    enforced: bool
    stats: Stats
    workers: Workers
    learning: Learning | None
    protections: Protections
    random: Callable[[], float]
    crowded: Callable[[], bool]


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
            first_span=_first_span(pipeline.graph, stages),
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
            add_ok=stats[Status.OK].add,
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
            plain=self._resources.enforced and not special,
            policies=policies,
            history=history,
            share=share,
            add_ok=stats[Status.OK].add,
            alternatives=alternatives,
        )

    def _called(
        self, node: Node, stage: Stage, place: Place, stats: PartStats
    ) -> tuple[Bound, Policies | None]:
        """The work of a node with its policies around it, and these."""
        work = self._work(node)
        policies = self._policies(node, stage, place, work)
        if policies is None:
            return work, None
        if policies.retry.attempts > 1:
            expect(stats.retries, STOPS)
        if policies.hedge is not None:
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
            policies=policies,
            history=self._history(one, stats, stage.name, one.name, "node"),
            add_ok=stats[Status.OK].add,
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

    def _source(self, field: str, node: Node, stage: Stage) -> Source:
        """The level that states an inherited limit."""
        levels = (
            (Source.NODE, node), (Source.STAGE, stage), (Source.PIPELINE, self._pipeline),
        )  # fmt: skip
        stated = (source for source, part in levels if getattr(part, field) is not INHERIT)
        return next(stated, Source.DEFAULT)

    def _policies(self, node: Node, stage: Stage, place: Place, call: Bound) -> Policies | None:
        levels = (node, stage, self._pipeline, self._resources.defaults)
        check_learned_limit(*levels)
        retry = resolve("retry", *levels)
        timeout = resolve("attempt_timeout", *levels)
        breaker = resolve("breaker", *levels)
        limit = resolve("limit", *levels)
        hedge = resolve("hedge", *levels) if node.idempotent else None
        if retry is timeout is breaker is limit is hedge is None:
            return None
        protections = self._resources.protections
        learning = self._resources.learning
        durations: Recorded | None = None
        key = (self._pipeline.name, stage.name, node.name, "attempt")
        seconds, source = timeout, self._source("attempt_timeout", node, stage)
        if isinstance(timeout, Adaptive):
            seconds, source = timeout.initial, Source.ADAPTIVE
            if learning is not None:
                durations = learning.learned(timeout, *key, None, soft=False)
        elif learning is not None and hedge is not None:
            durations = learning.recorded(*key)
        if hedge is not None:
            self._hedged = True
        return Policies(
            call=call,
            retry=retry or Retry(attempts=1),
            limit=Limit(
                "attempt",
                node.name,
                timeout=inf if seconds is None else seconds,
                source=None if seconds in (None, inf) else source,
                stated=True,
                enforced=self._resources.enforced,
            ),
            idempotent=node.idempotent,
            durations=durations,
            retry_budget=protections.budget(place),
            random=self._resources.random,
            breaker=None if breaker is None else protections.breaker(breaker, place),
            slots=None if limit is None else protections.bulkhead(limit, place),
            hedge=hedge,
            hedge_budget=None if hedge is None else protections.hedges(hedge, place),
            crowded=self._resources.crowded,
        )


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


def _first_span(graph: Graph, stages: Mapping[str, StagePlan]) -> float:
    first = stages[graph.order[0]]
    if len(graph.segments) > 1 or first.chain is None:
        return inf
    return min(first.limit.span, first.chain[0].limit.span)
