"""The stages and nodes of a pipeline, and what is given for them by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from graceline.definitions import Node, Pipeline, Stage
from graceline.definitions.checks import brief, nearest
from graceline.durations import Duration, parse_duration
from graceline.errors import DefinitionError

__all__ = ["Place", "by_place", "by_stage", "nodes_of"]

Place: TypeAlias = tuple[str, str]
"""A node: the names of its stage and of itself."""


def nodes_of(pipeline: Pipeline) -> dict[Place, tuple[Stage, Node]]:
    """All nodes of a pipeline with their stages, in order."""
    return {
        (stage.name, node.name): (stage, node) for stage in pipeline.stages for node in stage.nodes
    }


def by_stage(
    pipeline: Pipeline, given: Mapping[str, Duration] | None, what: str
) -> dict[str, float]:
    """Limits by name of a stage, in seconds.

    Raises:
        DefinitionError: for a name that no stage has, and for a bad duration.
    """
    names = [stage.name for stage in pipeline.stages]
    for name in given or {}:
        if name not in names:
            raise DefinitionError(
                f"{what}: no stage is called {brief(name)}; {nearest(name, names)}"
            )
    return {name: parse_duration(value, f"{what} {name}") for name, value in (given or {}).items()}


def by_place(
    pipeline: Pipeline, given: Mapping[str, Duration] | None, what: str
) -> dict[Place, float]:
    """Durations by node of those that are given by name: `node` or `stage.node`, which goes first.

    Raises:
        DefinitionError: for a name that no node has, and for a bad duration.
    """
    given = given or {}
    places = nodes_of(pipeline)
    known = {name for stage, node in places for name in (node, f"{stage}.{node}")}
    seconds = {}
    for name, value in given.items():
        if name not in known:
            raise DefinitionError(
                f"{what}: no node is called {brief(name)}; {nearest(name, sorted(known))}"
            )
        seconds[name] = parse_duration(value, f"{what} {name}")
    return {
        (stage, node): seconds[name]
        for stage, node in places
        for name in (node, f"{stage}.{node}")
        if name in seconds
    }
