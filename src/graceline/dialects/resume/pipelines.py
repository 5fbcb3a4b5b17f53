"""Recorded pipelines: the definition of a file, changed so that each end is written down.

What is finished already is a node that returns what was kept: without its condition, its body, its
attempts and its breaker.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from graceline.definitions import Node, Pipeline
from graceline.dialects.resume.recorded import KeptItem, KeptStep, RecordedRun
from graceline.dialects.resume.recorder import Recorder
from graceline.dialects.resume.values import UnkeepableError, encode_value
from graceline.dialects.yaml.building import Built, Handlers, twin
from graceline.dialects.yaml.running import Item, Runs, kept_record
from graceline.engine.surrounded import Surrounded
from graceline.results import NodeOutcome
from graceline.work import Bound

__all__ = ["recorded_pipeline"]


def recorded_pipeline(built: Built, recorder: Recorder, before: RecordedRun | None) -> Pipeline:
    """The pipeline of a file for one run that is written down.

    Args:
        built: what the file stands for.
        recorder: writes.
        before: what is finished; None for nothing.
    """
    opening = _Opening(built.runs, recorder, None if before is None else before.execution)
    return built.changed(opening, _Maker(built.runs, recorder, before).node)


@attrs.frozen(eq=False)
class _Maker:
    runs: Runs
    recorder: Recorder
    before: RecordedRun | None

    def node(self, node: Node, handlers: Handlers) -> Node:
        """The node of a step, written down; or one that gives what is kept."""
        if handlers.cleanup is not None:
            cleaning = _Cleaning(self.recorder, node.name, handlers.cleanup)
            handlers = attrs.evolve(handlers, cleanup=cleaning)
        kept = None if self.before is None else self.before.steps.get(node.name)
        if kept is not None:
            assert self.before is not None  # noqa: S101 - it is from there
            if node.name in self.before.cleaned:
                handlers = attrs.evolve(handlers, cleanup=None)
            return self._finished(node, kept, handlers)
        handlers = attrs.evolve(handlers, written=_Ending(self.recorder, node.name))
        changed = twin(node, on_cleanup=tuple(handlers.in_order()))
        if node.each is None:
            return changed
        items = {} if self.before is None else self.before.items.get(node.name, {})
        function = _Itemwise(node.function, node.name, self.recorder, items)
        return twin(changed, function=function)

    def _finished(self, node: Node, kept: KeptStep, handlers: Handlers) -> Node:
        remembering = _Remembering(self.runs, node.name, kept.status)
        handlers = attrs.evolve(handlers, told=remembering)

        async def finished(_: Any) -> Any:
            return kept.value

        return twin(
            node, function=finished, runs_on="coroutine", each=None, when=None, limit=None,
            retry=None, breaker=None, hedge=None, attempt_timeout=None, timeout=None, reserve=None,
            idempotent=None, on_cleanup=tuple(handlers.in_order()),
        )  # fmt: skip


@attrs.frozen(eq=False)
class _Opening:
    """The condition of the first stage; a run that goes on is still the run that it was."""

    runs: Runs
    recorder: Recorder
    execution: Mapping[str, Any] | None

    def __call__(self, value: Any) -> bool:
        self.runs.open(value)
        records = self.runs.records()
        if self.execution is not None:
            records.execution = dict(self.execution)
        else:
            self.recorder.opened(records.execution)
        return True


@attrs.frozen(eq=False)
class _Ending:
    """A handler that writes down how a step ended."""

    recorder: Recorder
    step: str

    def __call__(self, outcome: NodeOutcome) -> None:
        self.recorder.ended(self.step, outcome)


@attrs.frozen(eq=False)
class _Remembering:
    """A handler that lets templates see a finished step as they did before."""

    runs: Runs
    step: str
    status: str

    def __call__(self, outcome: NodeOutcome) -> None:
        if outcome.completed:
            self.runs.records().steps[self.step] = kept_record(self.status, outcome.value)


@attrs.frozen(eq=False)
class _Cleaning:
    """The cleanup of a step, and a line when it has come to its end; a cut one has not."""

    recorder: Recorder
    step: str
    handler: Callable[[NodeOutcome], Any]

    async def __call__(self, outcome: NodeOutcome) -> None:
        try:
            await self.handler(outcome)
        except Exception as error:
            self.recorder.cleaned(self.step, error)
            raise
        self.recorder.cleaned(self.step, None)


@attrs.frozen(eq=False)
class _Itemwise(Surrounded):
    """The body of a step that runs over a list: items that are finished are not done again."""

    function: Any
    step: str
    recorder: Recorder
    kept: Mapping[int, KeptItem]

    @property
    def __name__(self) -> str:
        """The name of the step."""
        return self.step

    @property
    def inner(self) -> Any:
        """What runs, wherever it does."""
        return self.function.inner if isinstance(self.function, Surrounded) else self.function

    async def __call__(self, value: Any) -> Any:
        """What runs in the event loop."""
        return await self.function(value)

    def around(self, work: Bound) -> Bound:
        """Gives what is kept, and writes down what is new."""
        inner = self.function.around(work) if isinstance(self.function, Surrounded) else work

        async def taken(item: Item) -> Any:
            kept = self.kept.get(item.index)
            if kept is not None and _is_same(kept.item, item.value):
                return kept.value
            value = await inner(item)
            self.recorder.item_ended(self.step, item.index, item.value, value)
            return value

        return taken


def _is_same(kept: Any, item: Any) -> bool:
    try:
        document = encode_value(item)
    except UnkeepableError:
        return False
    # As texts: to Python `1` and `True` are equal.
    return json.dumps(kept, sort_keys=True) == json.dumps(document, sort_keys=True)
