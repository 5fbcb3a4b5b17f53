"""Building: the definitions that a file stands for. Nothing it names is imported or run."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import attrs

from graceline.definitions import Bulkhead, Each, Node, Pipeline, Stage, each
from graceline.definitions.part import Part
from graceline.dialects.templates import compile_value
from graceline.dialects.yaml.bodies import ToolSource, items_of, work_of
from graceline.dialects.yaml.calls import CallError
from graceline.dialects.yaml.cleaning import cleanup_of
from graceline.dialects.yaml.inputs import coerce_inputs
from graceline.dialects.yaml.limits import GRACE, StepLimits
from graceline.dialects.yaml.linking import OUTPUTS
from graceline.dialects.yaml.links import Links
from graceline.dialects.yaml.policies import AdaptiveKeys, BackoffKeys
from graceline.dialects.yaml.problems import FileError, Position, Problem
from graceline.dialects.yaml.reading import Tree
from graceline.dialects.yaml.running import Absence, Runs, StepHooks
from graceline.dialects.yaml.schema import FileKeys, StageKeys, StepKeys
from graceline.errors import DefinitionWarning, GracelineError
from graceline.results import NodeOutcome

__all__ = ["Built", "Handlers", "build", "twin"]

PartT = TypeVar("PartT", bound=Part)

_Path: TypeAlias = tuple[str | int, ...]
_Handler: TypeAlias = Callable[[NodeOutcome], Any]


@attrs.frozen(eq=False)
class Handlers:
    """The handlers of a step.

    Attributes:
        told: lets templates see how it ended.
        cleanup: its cleanup; None if it has none.
        written: writes down how it ended; None if nobody does.
    """

    told: _Handler
    cleanup: _Handler | None = None
    written: _Handler | None = None

    def in_order(self) -> list[_Handler]:
        """As they are called: cleanup may take long, and may be cut, so it comes last."""
        all_of_them = (self.told, self.written, self.cleanup)
        return [handler for handler in all_of_them if handler is not None]


@attrs.frozen(eq=False)
class Built:
    """What a file stands for.

    Attributes:
        pipeline: the definition.
        runs: the records of the runs that go on.
        handlers: those of each step.
        outputs: the stage that makes the outputs, which is no step's; None if there are none.
    """

    pipeline: Pipeline
    runs: Runs
    handlers: dict[str, Handlers]
    outputs: Stage | None

    def changed(
        self, opening: Callable[[Any], bool], step: Callable[[Node, Handlers], Node]
    ) -> Pipeline:
        """The pipeline with other nodes for its steps.

        Args:
            opening: the condition of the first stage; it calls `runs.open`, which is that now.
            step: makes of the node of a step, and its handlers, the new one.
        """
        stages = [
            stage
            if stage is self.outputs
            else twin(
                stage, nodes=tuple(step(node, self.handlers[node.name]) for node in stage.nodes)
            )
            for stage in self.pipeline.stages
        ]
        stages[0] = twin(stages[0], when=opening)
        return twin(self.pipeline, stages=tuple(stages))


def build(
    keys: FileKeys,
    tree: Tree,
    links: Links,
    limits: Mapping[str, StepLimits],
    file: str,
    tools: ToolSource,
    root: Path | None,
) -> Built:
    """Build the pipeline of a file.

    Args:
        keys: the file, structured.
        tree: the file, as it was read.
        links: what refers to what in it; without problems.
        limits: for each step, its limits.
        file: what messages call it.
        tools: where tools are found.
        root: the directory of programs; None for this process's.

    Raises:
        FileError: for tools that do not exist, and for what the definitions refuse.
    """
    with warnings.catch_warnings():
        # What is hardly meant is told by `check`, with its place in the file.
        warnings.simplefilter("ignore", DefinitionWarning)
        return _Builder(keys, tree, links, limits, file, tools, root).build()


class _Builder:
    def __init__(
        self,
        keys: FileKeys,
        tree: Tree,
        links: Links,
        limits: Mapping[str, StepLimits],
        file: str,
        tools: ToolSource,
        root: Path | None,
    ) -> None:
        self._keys = keys
        self._tree = tree
        self._links = links
        self._limits = limits
        self._file = file
        self._tools = tools
        self._root = root
        self._name = keys.id or keys.name or ""
        self._problems: list[Problem] = []
        self._handlers: dict[str, Handlers] = {}
        self._runs = Runs(tuple(links.steps), lambda given: coerce_inputs(keys.inputs, given, file))
        self._skipping = frozenset(
            step.id for _, steps in keys.groups() for step in steps if step.on_error == "skip"
        )
        self._blocking = links.with_dependents(self._skipping)

    def build(self) -> Built:
        """The pipeline, or all that is wrong with it."""
        stages = [
            stage
            for number, (keys, steps) in enumerate(self._keys.groups())
            for stage in self._stage(number, keys, steps)
        ]
        if self._problems:
            raise FileError(self._problems)
        outputs = None if self._keys.outputs is None else self._outputs()
        if outputs is not None:
            stages.append(outputs)
        config = self._keys.config
        grace = GRACE if config.grace is None and config.reserve is None else config.grace
        slots = config.max_parallel
        name = f"max_parallel of {self._name}"
        pipeline = Pipeline(
            self._name,
            stages,
            timeout=math.inf if config.timeout is None else _limit(config.timeout),
            grace=grace,
            reserve=config.reserve,
            fail_fast=config.fail_fast is not False,
            strict=False,
            limit=None if slots is None else Bulkhead(slots, name=name),
            retry=None,
            attempt_timeout=None,
            breaker=None,
            hedge=None,
            on_cleanup=self._runs.close,
        )
        return Built(pipeline, self._runs, self._handlers, outputs)

    def _made(self, make: Callable[[], Any], body: _Path, path: _Path) -> Any:
        """What is made, or None if it is refused, which is noted.

        Args:
            make: makes it.
            body: the way to what it is made of.
            path: where it stands if nobody knows better.
        """
        try:
            return make()
        except CallError as error:
            for way, message in error.wrong:
                at = self._at((*body, *way)) if way else self._at(path)
                self._problems.append(Problem(message, self._file, at or self._at(path)))
        except GracelineError as error:
            self._problems.append(Problem(str(error), self._file, self._at(path)))
        return None

    def _at(self, path: _Path) -> Position | None:
        """Where something stands: a parameter at its name, all else at its value."""
        *above, last = path
        holder = self._tree.get(*above)
        if holder is not None and "parameters" in above and last in holder.keys:
            return holder.keys[str(last)]
        found = self._tree.get(*path)
        return None if found is None else found.at

    def _stage(
        self, number: int, keys: StageKeys | None, steps: tuple[StepKeys, ...]
    ) -> Iterator[Stage]:
        nodes = [node for step in steps for node in self._step(step)]
        if len(nodes) < len(steps):
            return  # what is missing is a problem already
        options: dict[str, Any] = {}
        if keys is not None:
            options = {
                "timeout": None if keys.timeout is None else _limit(keys.timeout),
                "grace": keys.grace,
                "reserve": keys.reserve,
                "critical": keys.critical,
            }
        if number == 0:
            options["when"] = self._runs.open
        name = self._name if keys is None else keys.id
        yield Stage(name, nodes, **options)

    def _step(self, step: StepKeys) -> Iterator[Node]:
        place = self._links.steps[step.id]
        limits = self._limits[step.id]
        key = next((key for key in ("command", "tool", "action") if getattr(step, key)), "")
        work = self._made(
            lambda: work_of(step, step.id, self._runs, self._tools, self._root, step.runs_on),
            place.path,
            (*place.path, key),
        )
        cleanup = None
        body = step.cleanup
        if body is not None:
            cleanup = self._made(
                lambda: cleanup_of(body, step.id, self._runs, self._tools, self._root),
                (*place.path, "cleanup"),
                (*place.path, "cleanup"),
            )
        if work is None or (cleanup is None and body is not None):
            return
        hooks = self._hooks(step)
        self._handlers[step.id] = Handlers(hooks.ended, cleanup)
        yield self._node(step, limits, work, hooks)

    def _node(self, step: StepKeys, limits: StepLimits, work: Any, hooks: StepHooks) -> Node:
        options: dict[str, Any] = {}
        if step.on_error != "fail":
            options |= {"critical": False, "fallback": Absence(hooks)}
        if step.condition is not None or hooks.blockers:
            options["when"] = hooks.wanted
        if step.max_retries:
            backoff = step.backoff or BackoffKeys()
            options["retry"] = backoff.build(attempts=step.max_retries + 1)
        for name in ("breaker", "hedge"):
            policy = getattr(step, name)
            if policy is not None:
                options[name] = policy.build()
        if step.runs_on is not None:
            options["runs_on"] = step.runs_on
        if limits.attempt.limit is not None:
            options["attempt_timeout"] = limits.attempt.limit
        node = Node(
            work,
            name=step.id,
            timeout=step.total_timeout,
            grace=step.grace,
            reserve=step.reserve,
            idempotent=step.idempotent,
            after=self._links.after[step.id],
            on_cleanup=self._handlers[step.id].in_order(),
            metadata={
                name: value for name, value in (step.metadata or {}).items() if name != "timeout"
            },
            **options,
        )
        if step.for_each is None:
            return node
        parallel = step.max_parallel or Each().max_parallel
        return each(node, max_parallel=parallel, items=items_of(step.for_each, self._runs))

    def _hooks(self, step: StepKeys) -> StepHooks:
        needs = self._links.needs[step.id]
        condition = step.condition
        return StepHooks(
            runs=self._runs,
            id=step.id,
            condition=compile_value(condition) if isinstance(condition, str) else condition,
            blockers=tuple(name for name in needs if name in self._blocking),
            skippers=self._skipping.intersection(needs),
        )

    def _outputs(self) -> Stage:
        value = compile_value(self._keys.outputs)
        runs = self._runs

        async def outputs(_: Any) -> Any:
            return runs.evaluate(value)

        return Stage(OUTPUTS, [Node(outputs, limit=None)])


def twin(part: PartT, **fields: Any) -> PartT:
    """The same definition with other parts; nothing is checked, or warned of, a second time."""
    one = copy.copy(part)
    for name, value in fields.items():
        object.__setattr__(one, name, value)
    return one


def _limit(stated: float | AdaptiveKeys) -> Any:
    """Seconds, or a learned limit."""
    return stated.build() if isinstance(stated, AdaptiveKeys) else stated
