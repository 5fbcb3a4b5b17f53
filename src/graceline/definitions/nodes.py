"""Nodes: one unit of work each, and how they are written down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, TypedDict, Unpack, cast, overload

import attrs

from graceline.definitions.adaptive import Adaptive
from graceline.definitions.arguments import explained_class
from graceline.definitions.breaker import Breaker
from graceline.definitions.bulkhead import Bulkhead
from graceline.definitions.checks import brief, check_callable, check_flag, check_options, is_async
from graceline.definitions.choice import Choice
from graceline.definitions.command import Command
from graceline.definitions.hedge import Hedge
from graceline.definitions.part import Part, Step, warn_clamped, warn_part, where_of
from graceline.definitions.retry import Retry
from graceline.durations import Duration
from graceline.errors import DefinitionError
from graceline.values import frozen

__all__ = ["Each", "Node", "NodeOptions", "as_node", "node"]

_Kind: TypeAlias = Literal["coroutine", "thread", "process", "command", "choice"]


def _runs_on(value: _Kind | None) -> _Kind:
    return cast("_Kind", value)


@frozen
class Each:
    """How a node runs over a list.

    Attributes:
        max_parallel: items that run at once, at least 1.
        item_timeout: limit of one item in seconds, None for none.
        items: a plain function of the input that gives the list; None for the input itself.
    """

    max_parallel: int = 8
    item_timeout: float | None = None
    items: Callable[[Any], Iterable[Any]] | None = None


@explained_class
@frozen(eq=False)
class Node(Step):
    """One unit of work: a function of one input, with a limit.

    An async function runs in the event loop. A plain function runs in a worker thread, which is
    abandoned at the node's deadline, or with `runs_on="process"` in a worker process, which is
    ended. A `Command` is a child program, and `choose()` makes a node of several others.

    Attributes:
        function: called with the input; its return value is the node's value. Or a `Command`, or
            the alternatives of a choice.
        name: unique within its stage; by default the name of the function or the program.
        runs_on: `coroutine`, `thread`, `process`, `command` or `choice`; None chooses by the
            function.
        each: set by `each()`: run over a list.
        idempotent: whether its work may be done twice. False retries only what had not started;
            True lets it be hedged.

    Raises:
        DefinitionError: for anything that is not a function of one argument, a generator, a
            negative or unit-less limit, both `grace` and `reserve`, a fallback on a critical node.
    """

    function: Callable[[Any], Any] | Command | Choice
    name: str = attrs.field(default="", kw_only=True)
    runs_on: _Kind = attrs.field(default=None, converter=_runs_on, kw_only=True)
    each: Each | None = attrs.field(default=None, kw_only=True)
    idempotent: bool | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if isinstance(self.function, Node):
            raise DefinitionError(
                f"{where_of(self.function)} is a node already; "
                "attrs.evolve(node, timeout=...) copies one with other options"
            )
        own_name = getattr(self.function, "__name__", "")
        if not isinstance(self.function, Command | Choice):
            check_callable(self.function, f"node {self.name or own_name or '?'!r}")
        if not self.name and not own_name:
            raise DefinitionError(
                f"node of {brief(self.function)}: it has no name of its own; state name="
            )
        object.__setattr__(self, "name", self.name or own_name)
        super().__attrs_post_init__()
        what, kinds = _kinds(self.function)
        if self.runs_on is not None and self.runs_on not in kinds:
            raise DefinitionError(
                f"node {self.name!r}: runs_on={self.runs_on!r} does not fit; "
                f"{what} runs on {' or '.join(map(repr, kinds))}"
            )
        object.__setattr__(self, "runs_on", self.runs_on or kinds[0])
        if self.idempotent is not None:
            check_flag(self.idempotent, f"node {self.name!r}, idempotent=")
        if isinstance(self.hedge, Hedge) and self.idempotent is not True:
            raise DefinitionError(
                f"node {self.name!r}: hedge= does the work twice; say idempotent=True if it may"
            )
        if isinstance(self.attempt_timeout, float):
            warn_clamped("each attempt", self.attempt_timeout, self)
        if self.each is not None:
            if not isinstance(self.each, Each):
                raise DefinitionError(f"node {self.name!r}: write each(node, ...), not each=")
            warn_clamped("each item", self.each.item_timeout, self)
        for one in self.alternatives:
            warn_part(one, self)

    def __call__(self, value: Any) -> Any:
        """Call the bare function, without any limit: for its own unit tests."""
        if isinstance(self.function, Command | Choice):
            what = _kinds(self.function)[0]
            raise DefinitionError(f"node {self.name!r}: {what} is no function; run a pipeline")
        return self.function(value)

    @property
    def alternatives(self) -> tuple[Node, ...]:
        """Those of a choice, as they run in this node; of any other node there are none."""
        return self.function.within(self) if isinstance(self.function, Choice) else ()


def _kinds(function: Callable[[Any], Any] | Command | Choice) -> tuple[str, tuple[_Kind, ...]]:
    """What a node runs, in words, and where that may run; by default on the first."""
    if isinstance(function, Command):
        return "a Command", ("command",)
    if isinstance(function, Choice):
        return "a choice", ("choice",)
    if is_async(function):
        return "an async function", ("coroutine",)
    return "a plain function", ("thread", "process")


class NodeOptions(TypedDict, total=False):
    """The options of `Node` that `@node(...)` and `each(...)` take too; see `Node`."""

    name: str
    timeout: Duration | Adaptive | None
    grace: Duration | None
    reserve: Duration | None
    strict: bool | None
    stop_before: Duration | None
    slo: Duration | None
    metadata: Mapping[str, Any] | None
    on_cleanup: Callable[[Any], Any] | Iterable[Callable[[Any], Any]] | None
    after: str | Part | Iterable[str | Part] | None
    when: Callable[[Any], Any] | None
    critical: bool
    fallback: Any
    runs_on: Literal["coroutine", "thread", "process"] | None
    retry: Retry | None
    attempt_timeout: Duration | Adaptive | None
    breaker: Breaker | None
    limit: Bulkhead | int | None
    hedge: Hedge | None
    idempotent: bool | None


@overload
def node(function: Callable[[Any], Any], /, **options: Unpack[NodeOptions]) -> Node: ...
@overload
def node(**options: Unpack[NodeOptions]) -> Callable[[Callable[[Any], Any]], Node]: ...
def node(
    function: Callable[[Any], Any] | None = None, /, **options: Unpack[NodeOptions]
) -> Node | Callable[[Callable[[Any], Any]], Node]:
    """Make a node of a function: `@node`, or `@node(timeout=0.05, ...)` with `Node`'s options.

    `node(function, timeout=0.05, ...)` is the same without a decorator.

    Raises:
        DefinitionError: as `Node`, and for options that it does not have.
    """
    check_options(options, NodeOptions.__annotations__, "@node")
    if function is None:
        return lambda function: Node(function, **options)
    return Node(function, **options)


def as_node(part: object, where: str) -> Node:
    """A node as it is, or a function or a command as a node."""
    if isinstance(part, Node):
        return part
    if isinstance(part, Part):
        raise DefinitionError(f"{where}: {where_of(part)} is neither a node nor a function")
    return Node(part if isinstance(part, Command) else check_callable(part, where))
