"""A pipeline of your own with modelled bodies: its limits are tested without its services."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from graceline.definitions import Choice, Node, Pipeline, Stage
from graceline.definitions.checks import brief, nearest, no_pipeline
from graceline.durations import Duration
from graceline.errors import DefinitionError, DefinitionWarning
from graceline.testing.behaviours import Behaviour, ModelledFunction, Obeys
from graceline.testing.latency import Latency, as_latency

__all__ = ["Model", "NodeModelling", "replace_latencies"]

NodeModelling: TypeAlias = (
    Latency | Duration | Behaviour | ModelledFunction | tuple[Latency | Duration, Behaviour]
)
"""What one node does: a latency, a behaviour that takes no time of its own, or both."""

Model: TypeAlias = NodeModelling | Mapping[str, NodeModelling] | Callable[[Node], NodeModelling]
"""What all nodes do: the same, by name, or by a function of the node."""

_WHERE = "replace_latencies()"
_REST = "*"


def replace_latencies(
    pipeline: Pipeline,
    model: Model,
    *,
    values: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Pipeline:
    """The same definition, its node bodies replaced by modelled ones.

    Limits, policies, graph, `each`, handlers, `when` and fallbacks stay. Plain functions become
    async ones.

    Args:
        pipeline: the definition.
        model: what the nodes do; of a choice each alternative is one, called `node.alternative`. A
            duration or a `Latency`; a `Behaviour` (it takes no time); a `(latency, behaviour)`
            tuple; a `modelled(...)` function; a mapping of node name (`"node"`, or `"stage.node"`,
            which goes first) to one of these, with `"*"` for the rest; or a function of the `Node`
            that gives one of these.
        values: by name of the node, the value it returns or a function of its input that gives it.
            The other nodes return their input.
        seed: decides the random numbers; each node has its own.

    Raises:
        DefinitionError: for a model that is none, a name that no node has, and a node for which
            the mapping has nothing.
    """
    if not isinstance(pipeline, Pipeline):
        raise DefinitionError(f"{_WHERE}: {no_pipeline(pipeline)}")
    names = [
        (stage.name, body.name)
        for stage in pipeline.stages
        for node in stage.nodes
        for body in node.alternatives or (node,)
    ]
    if isinstance(model, Mapping):
        _check_names(model, names, "model", _REST)
    if values is not None:
        if not isinstance(values, Mapping):
            raise DefinitionError(f"{_WHERE}: values= must be a mapping, not {brief(values)}")
        _check_names(values, names, "values=")

    def modelled(stage: Stage, node: Node) -> ModelledFunction:
        function = _function(_model_of(stage, node, model), stage, node, seed)
        for key in (f"{stage.name}.{node.name}", node.name):
            if values is not None and key in values:
                return attrs.evolve(function, returns=_giver(values[key]))
        return function

    def replaced(stage: Stage, node: Node) -> Node:
        if not isinstance(node.function, Choice):
            return attrs.evolve(node, function=modelled(stage, node), runs_on=None)
        alternatives = zip(node.function.alternatives, node.alternatives, strict=True)
        choice = Choice(
            tuple(
                attrs.evolve(given, function=modelled(stage, one), runs_on=None)
                for given, one in alternatives
            )
        )
        return attrs.evolve(node, function=choice)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DefinitionWarning)  # the definition was told of it before
        stages = [
            attrs.evolve(stage, nodes=[replaced(stage, node) for node in stage.nodes])
            for stage in pipeline.stages
        ]
        return attrs.evolve(pipeline, stages=stages)


def _check_names(
    given: Mapping[str, Any], names: Iterable[tuple[str, str]], what: str, *more: str
) -> None:
    known = {name for stage, node in names for name in (node, f"{stage}.{node}")}
    for name in given:
        if name not in known and name not in more:
            raise DefinitionError(
                f"{_WHERE}: {what}: no node is called {name!r}; {nearest(name, sorted(known))}"
            )


def _model_of(stage: Stage, node: Node, model: Any) -> Any:
    """What is said of one node."""
    if isinstance(model, Mapping):
        for key in (f"{stage.name}.{node.name}", node.name, _REST):
            if key in model:
                return model[key]
        raise DefinitionError(
            f"{_WHERE}: model: it says nothing of node {node.name!r} of stage {stage.name!r}; "
            f"add it, or {_REST!r} for the rest ({nearest(node.name, model)})"
        )
    if callable(model) and not isinstance(model, ModelledFunction | type):
        return model(node)
    return model


def _function(model: Any, stage: Stage, node: Node, seed: int) -> ModelledFunction:
    if isinstance(model, ModelledFunction):
        return model
    latency: Any = model
    behaviour: Any = Obeys()
    if isinstance(model, tuple):
        if len(model) != 2:
            raise _bad(node, model)
        latency, behaviour = model
    elif isinstance(model, Behaviour):
        latency, behaviour = 0.0, model
    if not isinstance(behaviour, Behaviour) or isinstance(behaviour, type):
        raise _bad(node, model)
    try:
        checked = as_latency(latency)
    except DefinitionError as error:
        raise DefinitionError(f"{_WHERE}: node {node.name!r}: {error}") from None
    return ModelledFunction(checked, behaviour, seed=seed, name=f"{stage.name}.{node.name}")


def _bad(node: Node, model: object) -> DefinitionError:
    return DefinitionError(
        f"{_WHERE}: node {node.name!r}: {brief(model)} is no model; give a latency such as "
        "'250ms', a behaviour such as Raises(), or a tuple of both"
    )


def _giver(value: Any) -> Callable[[Any], Any]:
    return value if callable(value) else lambda _: value
