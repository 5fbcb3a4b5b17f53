"""From a definition to a plan, continued: the policies of one node, resolved over its levels."""

from __future__ import annotations

from math import inf

from graceline.deadlines import Limit, Source
from graceline.definitions import (
    INHERIT,
    Adaptive,
    Node,
    Pipeline,
    Retry,
    Stage,
    check_learned_limit,
    resolve,
)
from graceline.engine.learning import Recorded
from graceline.engine.policies import Policies
from graceline.engine.protections import Place
from graceline.engine.resources import Resources
from graceline.work import Bound

__all__ = ["compile_policies"]


def compile_policies(
    node: Node, stage: Stage, pipeline: Pipeline, place: Place, call: Bound, resources: Resources
) -> Policies | None:
    """The policies of the node at `place`, around `call`; None if it has none.

    Each comes from the innermost level that states it: the node, its stage, its pipeline, the
    engine.
    """
    levels = (node, stage, pipeline, resources.defaults)
    check_learned_limit(*levels)
    retry = resolve("retry", *levels)
    timeout = resolve("attempt_timeout", *levels)
    breaker = resolve("breaker", *levels)
    limit = resolve("limit", *levels)
    hedge = resolve("hedge", *levels) if node.idempotent else None
    if retry is timeout is breaker is limit is hedge is None:
        return None
    protections, learning = resources.protections, resources.learning
    durations: Recorded | None = None
    key = (pipeline.name, stage.name, node.name, "attempt")
    seconds, source = timeout, _source("attempt_timeout", node, stage, pipeline)
    if isinstance(timeout, Adaptive):
        seconds, source = timeout.initial, Source.ADAPTIVE
        if learning is not None:
            durations = learning.learned(timeout, *key, None, soft=False)
    elif learning is not None and hedge is not None:
        durations = learning.recorded(*key)
    return Policies(
        call=call,
        retry=retry or Retry(attempts=1),
        limit=Limit(
            "attempt",
            node.name,
            timeout=inf if seconds is None else seconds,
            source=None if seconds in (None, inf) else source,
            stated=True,
            enforced=resources.enforced,
        ),
        idempotent=node.idempotent,
        durations=durations,
        retry_budget=protections.budget(place),
        random=resources.random,
        breaker=None if breaker is None else protections.breaker(breaker, place),
        slots=None if limit is None else protections.bulkhead(limit, place),
        hedge=hedge,
        hedge_budget=None if hedge is None else protections.hedges(hedge, place),
        crowded=resources.crowded,
    )


def _source(field: str, node: Node, stage: Stage, pipeline: Pipeline) -> Source:
    """The level that states an inherited limit."""
    levels = ((Source.NODE, node), (Source.STAGE, stage), (Source.PIPELINE, pipeline))
    stated = (source for source, part in levels if getattr(part, field) is not INHERIT)
    return next(stated, Source.DEFAULT)
