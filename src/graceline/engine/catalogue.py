"""The pipelines of one engine: known by name, compiled once, changed while somebody wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from graceline.deadlines import Limit, Source
from graceline.definitions import Pipeline
from graceline.definitions.checks import nearest, no_pipeline
from graceline.engine.compiling import compile_pipeline
from graceline.engine.plan import PipelinePlan
from graceline.engine.resources import Resources
from graceline.errors import DefinitionError
from graceline.telemetry.logs import log_sub_second

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = ["Catalogue"]

_STATED = (Source.NODE, Source.STAGE, Source.PIPELINE, Source.METADATA)


class Catalogue:
    """Finds the plan of a pipeline.

    Args:
        resources: what plans are made with.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._registered: dict[str, Pipeline] = {}
        self._changes: tuple[Callable[[Pipeline], Pipeline], ...] = ()
        self._known: tuple[WeakKeyDictionary[Pipeline, PipelinePlan], ...]
        self._set_changes(())

    def register(self, pipeline: Pipeline) -> Pipeline:
        """Make a pipeline known by its name; returns it.

        Raises:
            DefinitionError: if another pipeline has this name.
        """
        if not isinstance(pipeline, Pipeline):
            raise DefinitionError(f"register(): {no_pipeline(pipeline)}")
        if self._registered.setdefault(pipeline.name, pipeline) is not pipeline:
            raise DefinitionError(
                f"another pipeline is registered as {pipeline.name!r}; give one of them another "
                "name, or hand the pipeline itself to run()"
            )
        return pipeline

    def find(self, name: str) -> Pipeline:
        """The pipeline that is registered under a name.

        Raises:
            DefinitionError: for anything else.
        """
        if not isinstance(name, str):
            raise DefinitionError(no_pipeline(name))
        found = self._registered.get(name)
        if found is None:
            hint = nearest(name, self._registered)
            raise DefinitionError(f"no pipeline is registered as {name!r}; {hint}")
        return found

    def plan(self, pipeline: Pipeline, *, stated: bool) -> PipelinePlan:
        """The plan of a pipeline; `stated`: a level above it, or the call, states a limit."""
        plans = self._known[stated]
        plan = plans.get(pipeline)
        if plan is None:
            changed = pipeline
            for change in self._changes:
                changed = change(changed)
            plan = plans[pipeline] = compile_pipeline(changed, self._resources, stated=stated)
            if pipeline not in self._known[not stated]:
                log_sub_second(pipeline.name, _sub_second(plan))
        return plan

    def alter(self, change: Callable[[Pipeline], Pipeline]) -> Callable[[], None]:
        """See `Engine.alter`."""
        self._set_changes((*self._changes, change))

        def remove() -> None:
            self._set_changes(tuple(other for other in self._changes if other is not change))

        return remove

    def _set_changes(self, changes: tuple[Callable[[Pipeline], Pipeline], ...]) -> None:
        """Change pipelines so from now on; what was compiled otherwise is forgotten."""
        self._changes = changes
        self._known = (WeakKeyDictionary(), WeakKeyDictionary())


def _sub_second(plan: PipelinePlan) -> Iterator[tuple[str, float]]:
    """The limits below one second that the definition states, by the name of their part."""
    parts: list[tuple[str, Limit]] = [(plan.name, plan.limit)]
    for stage in plan.parts.values():
        parts.append((stage.name, stage.limit))
        parts += [(f"{stage.name}.{node.name}", node.limit) for node in stage.parts.values()]
    for name, limit in parts:
        if limit.shown is not None and limit.shown < 1 and limit.source in _STATED:
            yield name, limit.shown
