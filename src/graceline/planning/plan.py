"""The plan of a pipeline: what its limits come to, and which ones would be better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs
import trio

from graceline.adaptive import Records
from graceline.adaptive.lanes import default_lane
from graceline.definitions import Node, Pipeline, stated_policies
from graceline.definitions.checks import brief, no_pipeline
from graceline.documents import to_document
from graceline.durations import Duration, format_duration, parse_duration
from graceline.errors import DefinitionError, GracelineError
from graceline.planning.limits import Limits
from graceline.planning.places import Place, by_place, by_stage, nodes_of
from graceline.planning.projection import Projection, projection_of
from graceline.planning.recommend import recommend
from graceline.planning.recorded import Recorded, read_durations
from graceline.planning.replay import Replayed, World, replay

__all__ = ["Known", "Plan", "Recommendation", "Watch", "make_plan"]

Watch: TypeAlias = Callable[[str, int, int], None]
"""Is told how far it is: what is replayed, how many runs have ended, and of how many."""

_FEW = 20
_HIDDEN = 0.01


@attrs.frozen
class Known:
    """What is known of a node. Durations are seconds.

    Attributes:
        stage: the name of its stage.
        node: its name.
        samples: how many calls were recorded; 0 if its duration is assumed.
        censored: how many of them would have taken longer: they were cut, or failed.
        p50: that half of its calls do not exceed; None if it is not known.
        p95: that 95 % of its calls do not exceed; None if it is not known.
        hangs: the share of its calls of which no end is known. In a replay they never end.
    """

    stage: str
    node: str
    samples: int
    censored: int
    p50: float | None
    p95: float | None
    hangs: float


@attrs.frozen
class Recommendation:
    """Other limits, and what came of them.

    Attributes:
        target: the share of runs that should have an answer.
        reached: whether they have one with these limits.
        reachable: the share that can have one, with any limit of the pipeline.
        kept: whether these are the limits as they are, since no others lead to more answers.
        stopped_by: labels of the critical nodes that hang, if the target is not reached.
        projection: what the replay of these limits came to, with the limits.
    """

    target: float
    reached: bool
    reachable: float
    kept: bool
    stopped_by: tuple[str, ...]
    projection: Projection


@attrs.frozen
class Plan:
    """What limits come to, and which ones would be better.

    Attributes:
        pipeline: its name.
        lane: whose durations were replayed.
        seed: what the random numbers started with.
        nodes: what is known of each node.
        now: the projection for the limits as they are.
        recommended: other limits.
        notes: what to know before one believes it, a sentence each.
    """

    pipeline: str
    lane: str
    seed: int
    nodes: tuple[Known, ...]
    now: Projection
    recommended: Recommendation
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The plan as a document of plain JSON types; the names are those of the attributes."""
        return to_document(self)


def make_plan(
    pipeline: Pipeline,
    store: Records,
    *,
    timeout: Duration | None = None,
    stages: Mapping[str, Duration] | None = None,
    nodes: Mapping[str, Duration] | None = None,
    assume: Mapping[str, Duration] | None = None,
    target: float = 0.99,
    runs: int = 10_000,
    seed: int = 0,
    lane: str | None = None,
    watch: Watch = lambda *_: None,
) -> Plan:
    """Replay recorded durations through the engine, with the limits as they are and better ones.

    It opens event loops of its own, so it is called outside of `trio.run`. Ten thousand runs of a
    few nodes take up to a minute. Nothing of the pipeline's functions is called, and nothing is
    written to the store. Meanwhile the logger `graceline.run` is disabled.

    Args:
        pipeline: the definition.
        store: where durations were recorded, such as a `SqliteStore`.
        timeout: limit of the runs, instead of the pipeline's own.
        stages: limits by name of a stage, instead of theirs.
        nodes: limits by name of a node, `node` or `stage.node`, instead of theirs.
        assume: how long nodes take, by name, instead of what is recorded.
        target: the share of runs that should have an answer, above 0 and at most 1.
        runs: how many runs are replayed, at least 1.
        seed: the same seed gives the same plan.
        lane: the lane of the engine that recorded; by default the environment variable
            `GRACELINE_LANE`, else `default`.
        watch: is told how far it is.

    Raises:
        DefinitionError: for a bad argument, for names that no stage or node has, and for a
            pipeline with policies: `retry=`, `attempt_timeout=`, `breaker=` or `limit=`.
        MissingHistoryError: if nothing is known of a node and nothing is assumed.
        GracelineError: if it is called within `trio.run`.
    """
    if not isinstance(pipeline, Pipeline):
        raise DefinitionError(f"make_plan(): {no_pipeline(pipeline)}")
    if isinstance(store, type) or not isinstance(store, Records):
        raise DefinitionError(
            f"make_plan(): the durations come from a store such as SqliteStore('history.db'), not "
            f"{brief(store)}"
        )
    if trio.lowlevel.in_trio_run():
        raise GracelineError(
            "make_plan() opens event loops of its own, which does not work within trio.run(): call "
            "it before or after, or in a program of its own"
        )
    _refuse_policies(pipeline)
    if not 0 < target <= 1:
        raise DefinitionError(f"target: {brief(target)} is no share above 0 and at most 1")
    if isinstance(runs, bool) or not isinstance(runs, int) or runs < 1:
        raise DefinitionError(f"runs: {brief(runs)} is no whole number of at least 1")
    as_given = Limits(
        None if timeout is None else parse_duration(timeout, "timeout", signed=True),
        by_stage(pipeline, stages, "stages"),
        by_place(pipeline, nodes, "nodes"),
    )
    lane = default_lane() if lane is None else lane
    recorded = read_durations(pipeline, store, lane=lane, assume=assume)
    world = World.of(pipeline, recorded, store, runs=runs, seed=seed, lane=lane)

    def play(what: str, limits: Limits, count: int) -> Replayed:
        ended = 0

        def advance(more: int) -> None:
            nonlocal ended
            ended += more
            watch(what, ended, count)

        watch(what, 0, count)
        return replay(world, limits, count, advance)

    done = play("as it is", as_given, runs)
    now = projection_of(pipeline, as_given, done)
    advice = recommend(pipeline, recorded, target, (as_given, done), play)
    return Plan(
        pipeline=pipeline.name,
        lane=lane,
        seed=seed,
        nodes=tuple(_known(one) for one in recorded.values()),
        now=now,
        recommended=Recommendation(
            target=target,
            reached=advice.reached,
            reachable=advice.reachable,
            kept=advice.kept,
            stopped_by=() if advice.reached else tuple(_hanging(pipeline, recorded)),
            projection=projection_of(pipeline, advice.limits, advice.done),
        ),
        notes=tuple(_notes(pipeline, recorded, now)),
    )


def _known(one: Recorded) -> Known:
    p50, p95 = (one.quantile(share) for share in (0.50, 0.95))
    return Known(
        stage=one.stage,
        node=one.node,
        samples=one.samples,
        censored=one.censored,
        p50=p50 if p50 < math.inf else None,
        p95=p95 if p95 < math.inf else None,
        hangs=one.hangs,
    )


def _hanging(pipeline: Pipeline, recorded: Mapping[Place, Recorded]) -> Iterator[str]:
    for place, (stage, node) in nodes_of(pipeline).items():
        if stage.critical and node.critical and recorded[place].hangs:
            yield recorded[place].label


def _notes(
    pipeline: Pipeline, recorded: Mapping[Place, Recorded], now: Projection
) -> Iterator[str]:
    for one in recorded.values():
        if one.hangs >= _HIDDEN and one.longest_cut is not None:
            yield (
                f"{one.label}: {one.hangs:.1%} of its calls were cut at up to "
                f"{format_duration(one.longest_cut)} and are longer than any that finished; here "
                "they never finish. Whether they are slow or hang, a history with longer limits "
                "would tell"
            )
    few = [f"{one.label} ({one.samples})" for one in recorded.values() if 0 < one.samples < _FEW]
    if few:
        yield f"fewer than {_FEW} samples: {', '.join(few)}; take the numbers for a hint"
    assumed = [one.label for one in recorded.values() if not one.samples]
    if assumed:
        yield f"assumed, not recorded: {', '.join(assumed)}"
    conditions = [
        part.name
        for stage in pipeline.stages
        for part in (stage, *stage.nodes)
        if part.when is not None
    ]
    if conditions:
        yield f"taken as true: when= of {', '.join(conditions)}"
    items = [
        node.name
        for _, node in nodes_of(pipeline).values()
        if node.each is not None and node.each.item_timeout is not None
    ]
    if items:
        yield f"limits of single items are not replayed: {', '.join(items)}"
    if now.limit is None:
        yield "the pipeline has no limit: a run with a call that hangs never ends"


def _refuse_policies(pipeline: Pipeline) -> None:
    """What is recorded of a node is the sum of its attempts, and no replay takes it apart."""
    for part in (pipeline, *pipeline.stages, *(n for s in pipeline.stages for n in s.nodes)):
        for field in stated_policies(part):
            raise DefinitionError(
                f"make_plan(): {type(part).__name__.lower()} {part.name!r} states {field}=, which "
                "cannot be replayed: durations are recorded per node, all attempts, backoffs and "
                f"waiting included; plan a copy without {field}="
            )
        if isinstance(part, Node) and part.alternatives:
            raise DefinitionError(
                f"make_plan(): node {part.name!r} is a choice, which cannot be replayed: its "
                "durations are those of all alternatives that were tried; plan a copy with one of "
                "them in its place"
            )
