"""A file as `graceline plan` can replay it: durations are known per step, and not per attempt."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import attrs

from graceline.definitions.inherit import stated_policies
from graceline.errors import DefinitionWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.definitions import Node, Pipeline

__all__ = ["plannable"]

_WORDS = {
    "retry": "max_retries",
    "attempt_timeout": "timeout",
    "breaker": "breaker",
    "hedge": "hedge",
    "limit": "max_parallel",
}


def plannable(pipeline: Pipeline) -> tuple[Pipeline, tuple[str, ...]]:
    """The pipeline of a file without what cannot be replayed, and what to know of that.

    The limit of the only attempt of a step is the limit of the step. Other policies are left out:
    what they add to a step is part of its duration.
    """
    left: dict[str, list[str]] = {}

    def without(node: Node) -> Node:
        stated = set(stated_policies(node))
        options: dict[str, Any] = dict.fromkeys(stated)
        once = node.each is None and not stated & {"retry", "hedge"}
        if once and isinstance(node.attempt_timeout, float):
            whole = node.timeout if isinstance(node.timeout, float) else math.inf
            options["timeout"] = min(node.attempt_timeout, whole)
            stated.remove("attempt_timeout")
        for name in stated:
            left.setdefault(_WORDS[name], []).append(node.name)
        return attrs.evolve(node, **options)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DefinitionWarning)  # `graceline check` tells of it
        stages = [
            # The condition of the first stage is no condition: with it a run of a file begins.
            attrs.evolve(stage, nodes=[without(node) for node in stage.nodes], when=None)
            for stage in pipeline.stages
        ]
        if pipeline.limit is not None:
            left[_WORDS["limit"]] = ["config"]
        made = attrs.evolve(pipeline, stages=stages, limit=None)
    return made, tuple(_notes(left))


def _notes(left: dict[str, list[str]]) -> Iterator[str]:
    for key, names in sorted(left.items()):
        yield f"{key} is not replayed, what it adds is part of the durations: {', '.join(names)}"
