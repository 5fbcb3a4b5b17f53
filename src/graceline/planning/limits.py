"""Other limits for a pipeline, and the pipeline whose nodes do nothing but take their time."""

from __future__ import annotations

import math
import warnings
from array import array
from collections.abc import Callable, Mapping
from typing import Any, cast

import attrs
import trio

from graceline.definitions import Adaptive, Node, Pipeline, Stage
from graceline.definitions.part import PASS_INPUT, Part
from graceline.errors import DefinitionWarning
from graceline.planning.places import Place
from graceline.planning.recorded import Draws

__all__ = ["Cursor", "Limits", "in_force", "stand_in"]

_TIE = 1e-9
"""Seconds that each call takes longer than was drawn: what takes as long as its limit is then cut
by it, whatever the rounding of sums."""


@attrs.frozen
class Limits:
    """Limits in place of those of a definition, in seconds.

    Attributes:
        pipeline: of the run; None leaves that of the definition.
        stages: by name.
        nodes: by stage and name.
        alone: whether other fixed limits of stages and nodes that cut are dropped. Learned ones
            stay, and so do those that cut nothing, since the pipeline shares its time.
    """

    pipeline: float | None = None
    stages: Mapping[str, float] = attrs.field(factory=dict)
    nodes: Mapping[Place, float] = attrs.field(factory=dict)
    alone: bool = False


@attrs.define
class Cursor:
    """Which run goes on."""

    run: int = 0


def in_force(
    pipeline: Pipeline, limits: Limits, stage: Stage, node: Node | None = None
) -> float | Adaptive | None:
    """The limit that applies to a part: a given one, else its own, unless that is dropped."""
    if node is None:
        part, given = cast("Part", stage), limits.stages.get(stage.name)
    else:
        part, given = node, limits.nodes.get((stage.name, node.name))
    if given is not None:
        return given
    if isinstance(part.timeout, Adaptive):
        return part.timeout
    return math.inf if limits.alone and not pipeline.is_soft(stage, node) else part.stated_timeout


def stand_in(pipeline: Pipeline, limits: Limits, draws: Draws, cursor: Cursor) -> Pipeline:
    """The pipeline with these limits, in which nothing of the user's is called.

    Each node sleeps as long as was drawn for the run. Conditions count as true, fallbacks are the
    input, and there are no handlers. A node that runs over a list takes its time once.

    Raises:
        DefinitionError: for a limit that does not fit to the `reserve` of its part.
    """

    def node(stage: Stage, node: Node) -> Node:
        place = (stage.name, node.name)
        return attrs.evolve(
            node,
            function=_sleeper(draws[place], cursor),
            runs_on=None,
            each=None,
            when=None,
            fallback=PASS_INPUT,
            on_cleanup=(),
            **_options(node, in_force(pipeline, limits, stage, node)),
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DefinitionWarning)  # the definition was told of it before
        stages = [
            attrs.evolve(
                stage,
                nodes=[node(stage, inner) for inner in stage.nodes],
                when=None,
                fallback=PASS_INPUT,
                on_cleanup=(),
                **_options(stage, in_force(pipeline, limits, stage)),
            )
            for stage in pipeline.stages
        ]
        return attrs.evolve(pipeline, stages=stages, on_cleanup=(), sum_must_fit=False)


def _options(part: Part, limit: float | Adaptive | None) -> dict[str, Any]:
    """The options of a part that make up its limit; without one there is nothing to keep back."""
    if limit == math.inf != part.stated_timeout:
        return {"timeout": limit, "reserve": None}
    return {"timeout": limit}


def _sleeper(seconds: array[float], cursor: Cursor) -> Callable[[Any], Any]:
    async def sleeper(value: Any) -> Any:
        await trio.sleep(seconds[cursor.run] + _TIE)
        return value

    return sleeper
