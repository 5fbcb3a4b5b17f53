"""Workflows: agents as the nodes of a pipeline, each of which sees the results before it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

import attrs

from graceline.definitions import PASS_INPUT, Command, Node, Pipeline
from graceline.definitions.checks import brief, check_callable, is_async
from graceline.definitions.choice import Choice
from graceline.errors import DefinitionError

__all__ = ["Agent", "Execute", "Request", "Workflow", "as_agent", "build_workflow"]

Agent: TypeAlias = Node | Pipeline
"""What does a step: a node of one function, or a pipeline."""

Execute: TypeAlias = Callable[[Pipeline, Any], Awaitable[Any]]
"""Runs a pipeline inside the run of a step, and gives its value."""


@attrs.frozen
class Request:
    """What an agent gets. Its `repr` leaves the contents out, so that they reach no log.

    Attributes:
        workflow_type: the type of the message.
        message: the message, in a copy of its own; the values in it are the sender's.
        results: what the steps before returned, by the names of the steps.
    """

    workflow_type: str
    message: Mapping[str, Any] = attrs.field(repr=False)
    results: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    def having(self, step: str, result: Any) -> Request:
        """The request for the steps that follow a step."""
        return attrs.evolve(self, results={**self.results, step: result})


@attrs.frozen
class Workflow:
    """What becomes of a message of one type.

    Attributes:
        pipeline: one stage, with a node for each step.
        steps: the names of the steps, in the order of definition.
        nested: the names of those that are pipelines.
    """

    pipeline: Pipeline
    steps: tuple[str, ...]
    nested: frozenset[str]


def _request(value: Any) -> Request:
    """The input of a step: after several steps, a dict of what each of them handed on."""
    if isinstance(value, Request):
        return value
    before = [_request(part) for part in value.values()]
    results = {step: result for part in before for step, result in part.results.items()}
    return attrs.evolve(before[0], results=results)


# Classes and no closures: the function of a node in a worker process is pickled.


@attrs.frozen
class _Plain:
    function: Callable[[Request], Any]
    step: str

    def __call__(self, value: Any) -> Request:
        request = _request(value)
        result = self.function(request)
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(
                f"agent {self.step!r} returned a coroutine; register the async function itself"
            )
        return request.having(self.step, result)


@attrs.frozen
class _Async:
    function: Callable[[Request], Awaitable[Any]]
    step: str

    async def __call__(self, value: Any) -> Request:
        request = _request(value)
        return request.having(self.step, await self.function(request))


@attrs.frozen
class _Nested:
    pipeline: Pipeline
    step: str
    execute: Execute

    async def __call__(self, value: Any) -> Request:
        request = _request(value)
        return request.having(self.step, await self.execute(self.pipeline, request))


@attrs.frozen
class _Condition:
    function: Callable[[Request], Any]

    def __call__(self, value: Any) -> Any:
        return self.function(_request(value))


@attrs.frozen
class _Fallback:
    fallback: Any
    step: str

    def __call__(self, value: Any) -> Request:
        request = _request(value)
        instead = self.fallback(request) if callable(self.fallback) else self.fallback
        return request.having(self.step, instead)


def as_agent(agent: object, where: str, name: str | None = None) -> Agent:
    """An agent out of a function, a node or a pipeline; `name` replaces its own.

    Raises:
        DefinitionError: for anything else; for a node that is not one function of one request, or
            that says itself what it runs after.
    """
    if isinstance(agent, Pipeline):
        return agent if name is None else attrs.evolve(agent, name=name)
    if isinstance(agent, Command):
        raise DefinitionError(
            f"{where}: a Command is no agent by itself; write Pipeline('name', [Command(...)])"
        )
    if not isinstance(agent, Node):
        options: dict[str, Any] = {} if name is None else {"name": name}
        return Node(check_callable(agent, where, "its Request"), **options)
    if isinstance(agent.function, Command | Choice) or agent.each is not None:
        raise DefinitionError(
            f"{where}: {brief(agent)} is more than one function of a request; wrap it: "
            f"Pipeline({agent.name!r}, [...])"
        )
    if agent.after:
        raise DefinitionError(
            f"{where}: {brief(agent)} says after={list(agent.after)!r} itself; the workflow says "
            "the order"
        )
    return agent if name is None else attrs.evolve(agent, name=name)


def build_workflow(
    workflow_type: str,
    steps: Iterable[Any],
    find: Callable[[str], Agent],
    execute: Execute,
) -> Workflow:
    """Put agents in order.

    Args:
        workflow_type: the type of the messages, and the name of the pipeline.
        steps: names of agents, functions, nodes or pipelines; those in a list or a tuple run at the
            same time.
        find: finds an agent by its name, or raises a `DefinitionError`.
        execute: runs the pipelines among them.

    Raises:
        DefinitionError: for no steps, a step used twice, and what is no agent.
    """
    where = f"workflow {workflow_type!r}"
    if isinstance(steps, str | bytes | Mapping) or not isinstance(steps, Iterable):
        raise DefinitionError(f"{where}: its steps must be a list, not {brief(steps)}")
    nodes: list[Node] = []
    nested: set[str] = set()
    before: tuple[str, ...] = ()
    for entry in steps:
        group = entry if isinstance(entry, list | tuple) else (entry,)
        if not group:
            raise DefinitionError(f"{where}: a group of steps is empty; give at least one")
        placed = []
        for part in group:
            agent = find(part) if isinstance(part, str) else as_agent(part, where)
            if isinstance(agent, Pipeline):
                nested.add(agent.name)
            placed.append(_place(agent, before, execute))
        before = tuple(node.name for node in placed)
        nodes += placed
    pipeline = Pipeline(workflow_type, nodes)
    return Workflow(pipeline, tuple(node.name for node in nodes), frozenset(nested))


def _place(agent: Agent, before: tuple[str, ...], execute: Execute) -> Node:
    """The node of a step: its functions take a request, and hand one on."""
    step = agent.name
    if isinstance(agent, Pipeline):
        return Node(_Nested(agent, step, execute), name=step, after=before)
    function = cast("Callable[[Any], Any]", agent.function)
    changes: dict[str, Any] = {
        "function": _Async(function, step) if is_async(function) else _Plain(function, step),
        "after": before,
    }
    if agent.when is not None:
        changes["when"] = _Condition(agent.when)
    if agent.fallback is not PASS_INPUT:
        changes["fallback"] = _Fallback(agent.fallback, step)
    return attrs.evolve(agent, **changes)
