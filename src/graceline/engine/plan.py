"""The plan of a pipeline: what the engine interprets, everything in it resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from graceline.deadlines import Limit
from graceline.definitions import PASS_INPUT, Graph
from graceline.engine.learning import Recorded
from graceline.engine.policies import Policies
from graceline.engine.sharing import Share
from graceline.resilience import AlternativeHealth
from graceline.telemetry.stats import Histogram, PartStats, PipelineStats
from graceline.values import frozen
from graceline.work import Bound

__all__ = ["Alternative", "NodePlan", "PipelinePlan", "Plan", "StagePlan", "Tempo"]


@frozen(kw_only=True, eq=False)
class Plan:
    """What the plans of nodes, stages and pipelines have in common.

    `history` takes the durations, and gives a learned limit; `share` that of a shared budget. `slo`
    is the latency objective in seconds. `span` is that of the limit: where there are a thousand
    nodes, each object that is looked at comes from memory.
    """

    name: str
    label: str
    limit: Limit
    span: float = attrs.field(init=False)
    strict: bool
    stop_before: float | None
    handlers: tuple[Callable[[Any], Any], ...]
    stats: PartStats | PipelineStats
    when: Callable[[Any], Any] | None = None
    critical: bool = True
    fallback: Any = PASS_INPUT
    history: Recorded | None = None
    share: Share | None = None
    slo: float | None = None

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "span", self.limit.span)


class Tempo:
    """How a node went the last time.

    Attributes:
        most: the slack of a node that took less than that.
        slack: seconds by which its scope may fire too late.
    """

    __slots__ = ("most", "slack")

    def __init__(self, most: float = 0.0) -> None:
        self.most: float = most
        self.slack: float = 0.0


@frozen(kw_only=True, eq=False)
class NodePlan(Plan):
    """A node, ready to run.

    Attributes:
        call: awaited with the input.
        stage: the name of its stage.
        item: the limit of one item, for a node that runs over a list.
        max_parallel: how many items run at once.
        items: gives the list of a node that runs over one, where its input is none.
        plain: nothing but its limit has to be looked at: the hot path may take it.
        bare: a level of it never has a lease or errors of attempts; they need not be looked for.
        ok: counts the durations of runs that ended well.
        alternatives: those that `call` chooses from; empty for a node that is no choice.
        tempo: how it went the last time, in any run.
    """

    stats: PartStats
    call: Bound
    stage: str
    item: Limit | None
    max_parallel: int
    plain: bool
    bare: bool
    policies: Policies | None
    ok: Histogram
    items: Callable[[Any], Any] | None = None
    alternatives: tuple[Alternative, ...] = ()
    tempo: Tempo = attrs.field(factory=Tempo)


@frozen(kw_only=True, eq=False)
class Alternative:
    """One of the alternatives of a choice.

    Attributes:
        name: its own name; that of its plan has the name of the node in front.
        plan: what runs.
        health: how well it did of late, in all runs of the engine.
        limit: its own limit in seconds, by which its health is measured; of a learned one the
            ceiling, `inf` for none.
        once: what it has begun must not be done again, by another alternative either.
    """

    name: str
    plan: NodePlan
    health: AlternativeHealth
    limit: float
    once: bool


@frozen(kw_only=True, eq=False)
class _Holder(Plan):
    """A plan that holds parts; `heads` are the segments of its graph, `roots` start it.

    `singles` are those roots that are one plain node, on which no other waits.
    """

    graph: Graph
    fail_fast: bool
    roots: tuple[str, ...]
    heads: Mapping[str, tuple[Any, ...]]
    singles: Mapping[str, NodePlan] = attrs.field(factory=dict)


@frozen(kw_only=True, eq=False)
class StagePlan(_Holder):
    """A stage, ready to run. `chain` holds its nodes in order if they are one sequence.

    `plain` and `ok` are as for a node.
    """

    stats: PartStats
    ok: Histogram

    parts: Mapping[str, NodePlan]
    chain: tuple[NodePlan, ...] | None
    plain: bool


@frozen(kw_only=True, eq=False)
class PipelinePlan(_Holder):
    """A pipeline, ready to run. `chain` holds its stages in order if they are one sequence.

    `first_span` is the tightest limit of the first stage and its first node in seconds, `inf` where
    the run begins with branches; `first_tempo` is that of the node, if its limit is the tightest.
    `ordered` says that a chain runs in definition order, `hedged`
    that a node in it may be hedged.
    """

    stats: PipelineStats
    first_span: float
    first_tempo: Tempo
    hedged: bool

    parts: Mapping[str, StagePlan]
    chain: tuple[StagePlan, ...] | None
    ordered: bool
    shape: tuple[tuple[str, tuple[str, ...]], ...]
