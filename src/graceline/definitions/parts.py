"""What is run: nodes, stages that hold nodes, and the pipeline that holds stages.

All frozen: a definition can be shared by engines, tasks and threads.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, TypedDict, Unpack, cast, overload

import attrs

from graceline.definitions.adaptive import Adaptive
from graceline.definitions.checks import (
    as_callables,
    brief,
    check_callable,
    check_cleanup,
    check_flag,
    check_name,
    check_options,
    check_plain,
    frozen_metadata,
    is_async,
    optional_duration,
)
from graceline.definitions.command import Command
from graceline.definitions.graph import Graph, build_graph
from graceline.durations import Duration, format_duration, parse_duration
from graceline.errors import DefinitionError, DefinitionWarning

__all__ = [
    "BUDGETS",
    "PASS_INPUT",
    "Each",
    "Node",
    "NodeOptions",
    "Part",
    "Pipeline",
    "Stage",
    "as_node",
    "node",
]

PASS_INPUT: Any = type("PassInput", (), {"__repr__": lambda _: "PASS_INPUT"})()
"""The default fallback: what depends on a failed part gets that part's input."""

_Function: TypeAlias = Callable[[Any], Any]
_Names: TypeAlias = "str | Part | Iterable[str | Part] | None"
_Kind: TypeAlias = Literal["coroutine", "thread", "process", "command"]

# A constructor takes more than its attribute holds, and type checkers read what it takes off the
# converter. The conversion itself waits for `__attrs_post_init__`: only there is the name of the
# part known, which belongs into every message.


def _limit(value: Duration | Adaptive | None) -> float | Adaptive | None:
    return cast("float | Adaptive | None", value)


def _seconds(value: Duration | None) -> float | None:
    return cast("float | None", value)


def _metadata(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value)


def _handlers(value: _Function | Iterable[_Function] | None) -> tuple[_Function, ...]:
    return cast("tuple[_Function, ...]", value)


def _after(value: _Names) -> tuple[str, ...] | None:
    return cast("tuple[str, ...] | None", value)


def _runs_on(value: _Kind | None) -> _Kind:
    return cast("_Kind", value)


def _nodes(value: Node | _Function | Iterable[Any]) -> tuple[Node, ...]:
    return cast("tuple[Node, ...]", value)


def _stages(value: Stage | Node | _Function | Iterable[Any]) -> tuple[Stage, ...]:
    return cast("tuple[Stage, ...]", value)


def _where(part: Part) -> str:
    return f"{type(part).__name__.lower()} {part.name!r}"


@attrs.frozen(kw_only=True, eq=False)
class Part:
    """What nodes, stages and pipelines have in common.

    Attributes:
        timeout: seconds from its start; None = not stated, `math.inf` = stated to be unlimited,
            0 = already expired. A limit above the parent's is clamped, with a warning. Or an
            `Adaptive`, which learns it.
        grace: seconds that cleanup may use after a cancel; None takes the parent's.
        reserve: instead of `grace`, seconds of `timeout` that are kept for cleanup, so that the
            limit is exact.
        strict: whether a late value counts as timed out or cancelled; None takes the parent's.
        stop_before: seconds before the deadline at which `stopping()` is set; None: never.
        slo: latency objective in seconds; it cuts nothing, and telemetry compares with it.
        metadata: free-form; only its key `timeout` has a meaning, where `timeout=` is not given.
        on_cleanup: functions of the outcome, called after the work has unwound, in a bounded
            shielded scope. A handler that raises is attached to the outcome and replaces nothing.
    """

    name: str
    timeout: float | Adaptive | None = attrs.field(default=None, converter=_limit)
    grace: float | None = attrs.field(default=None, converter=_seconds)
    reserve: float | None = attrs.field(default=None, converter=_seconds)
    strict: bool | None = None
    stop_before: float | None = attrs.field(default=None, converter=_seconds)
    slo: float | None = attrs.field(default=None, converter=_seconds)
    metadata: Mapping[str, Any] = attrs.field(default=None, converter=_metadata)
    on_cleanup: tuple[Callable[[Any], Any], ...] = attrs.field(default=None, converter=_handlers)

    def __attrs_post_init__(self) -> None:
        kind = type(self).__name__
        hint = "" if isinstance(self.name, str) else f"the name comes first: {kind}('name', [...])"
        check_name(self.name, kind.lower(), hint if kind != "Node" else "")
        where = _where(self)
        put = object.__setattr__
        for field in ("timeout", "grace", "reserve", "stop_before", "slo"):
            value = getattr(self, field)
            if field != "timeout" or not isinstance(value, Adaptive):
                put(self, field, optional_duration(value, f"{where}, {field}="))
        if isinstance(self.timeout, Adaptive) and self.reserve is not None:
            raise DefinitionError(
                f"{where}: a learned limit is about how long the work takes; give grace= with "
                "timeout=Adaptive(...), and not reserve="
            )
        if isinstance(self.timeout, Adaptive) and self.stop_before is not None:
            raise DefinitionError(
                f"{where}: work that stops politely before a learned limit would teach it to "
                "become ever shorter; state a timeout with stop_before="
            )
        if self.strict is not None:
            check_flag(self.strict, f"{where}, strict=")
        put(self, "metadata", frozen_metadata(self.metadata, where))
        put(self, "on_cleanup", as_callables(self.on_cleanup, f"{where}, on_cleanup="))
        check_cleanup(where, self.limit, self.grace, self.reserve)

    @property
    def limit(self) -> float | None:
        """The stated timeout in seconds: `timeout`, else `metadata["timeout"]`, else None.

        Of a learned one it is the ceiling.
        """
        if isinstance(self.timeout, Adaptive):
            return self.timeout.ceiling
        if self.timeout is not None:
            return self.timeout
        stated = self.metadata.get("timeout")
        return None if stated is None else parse_duration(stated)


@attrs.frozen(kw_only=True, eq=False)
class _Step(Part):
    """What nodes and stages have in common: they stand in a graph.

    Attributes:
        after: names of what must have finished first; None leaves it to the holder.
        when: a plain function of the input; where it returns false the part is `skipped` and its
            input passes through.
        critical: whether its failure stops what holds it.
        fallback: for a non-critical part, what its dependents get instead of its value: a value,
            or a plain function of its input. By default its input passes through.
    """

    after: tuple[str, ...] | None = attrs.field(default=None, converter=_after)
    when: Callable[[Any], Any] | None = None
    critical: bool = True
    fallback: Any = PASS_INPUT

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        where = _where(self)
        if self.after is not None:
            object.__setattr__(self, "after", _names(self.after, where))
        check_flag(self.critical, f"{where}, critical=")
        if self.when is not None:
            check_plain(self.when, f"{where}, when=")
        if self.fallback is not PASS_INPUT:
            if self.critical:
                raise DefinitionError(f"{where}: fallback= is used only with critical=False")
            if callable(self.fallback):
                check_plain(self.fallback, f"{where}, fallback=")


def _names(value: object, where: str) -> tuple[str, ...]:
    entries = (value,) if isinstance(value, str | Part) else value
    if not isinstance(entries, Iterable):
        raise DefinitionError(f"{where}: after= takes names, not {brief(value)}")
    names = tuple(entry.name if isinstance(entry, Part) else entry for entry in entries)
    for name in names:
        if not isinstance(name, str):
            raise DefinitionError(f"{where}: after= takes names, not {brief(name)}")
    return tuple(dict.fromkeys(names))


@attrs.frozen
class Each:
    """How a node runs over a list.

    Attributes:
        max_parallel: items that run at once, at least 1.
        item_timeout: limit of one item in seconds, None for none.
    """

    max_parallel: int = 8
    item_timeout: float | None = None


@attrs.frozen(eq=False)
class Node(_Step):
    """One unit of work: a function of one input, with a limit.

    An async function runs in the event loop. A plain function runs in a worker thread, which is
    abandoned at the node's deadline, or with `runs_on="process"` in a worker process, which is
    ended. A `Command` is a child program.

    Attributes:
        function: called with the input; its return value is the node's value. Or a `Command`.
        name: unique within its stage; by default the name of the function or the program.
        runs_on: `coroutine`, `thread`, `process` or `command`; None chooses by the function.
        each: set by `each()`: run over a list.

    Raises:
        DefinitionError: for anything that is not a function of one argument, a generator, a
            negative or unit-less limit, both `grace` and `reserve`, a fallback on a critical node.
    """

    function: Callable[[Any], Any] | Command
    name: str = attrs.field(default="", kw_only=True)
    runs_on: _Kind = attrs.field(default=None, converter=_runs_on, kw_only=True)
    each: Each | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        own_name = getattr(self.function, "__name__", "")
        if not isinstance(self.function, Command):
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
        if self.each is not None:
            if not isinstance(self.each, Each):
                raise DefinitionError(f"node {self.name!r}: write each(node, ...), not each=")
            _warn_clamped("each item", self.each.item_timeout, self)

    def __call__(self, value: Any) -> Any:
        """Call the bare function, without any limit: for its own unit tests."""
        if isinstance(self.function, Command):
            raise DefinitionError(f"node {self.name!r}: a Command is no function; run a pipeline")
        return self.function(value)


def _kinds(function: Callable[[Any], Any] | Command) -> tuple[str, tuple[_Kind, ...]]:
    """What a node runs, in words, and where that may run; by default on the first."""
    if isinstance(function, Command):
        return "a Command", ("command",)
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


@overload
def node(function: Callable[[Any], Any], /) -> Node: ...
@overload
def node(**options: Unpack[NodeOptions]) -> Callable[[Callable[[Any], Any]], Node]: ...
def node(
    function: Callable[[Any], Any] | None = None, /, **options: Unpack[NodeOptions]
) -> Node | Callable[[Callable[[Any], Any]], Node]:
    """Make a node of a function: `@node`, or `@node(timeout=0.05, ...)` with `Node`'s options.

    Raises:
        DefinitionError: as `Node`, and for options that it does not have.
    """
    check_options(options, NodeOptions.__annotations__, "@node")
    if function is None:
        return lambda function: Node(function, **options)
    return Node(function)


def as_node(part: object, where: str) -> Node:
    """A node as it is, or a function or a command as a node."""
    if isinstance(part, Node):
        return part
    if isinstance(part, Part):
        raise DefinitionError(f"{where}: {_where(part)} is neither a node nor a function")
    return Node(part if isinstance(part, Command) else check_callable(part, where))


def _flat(parts: object, where: str) -> list[Any]:
    """The parts of a list that may hold groups made by `sequence` and `parallel`."""
    single = isinstance(parts, Part | Command) or callable(parts)
    if single or inspect.iscoroutine(parts):
        parts = [parts]
    if not isinstance(parts, Iterable) or isinstance(parts, str | bytes | Mapping):
        raise DefinitionError(f"{where}: its parts must be a list, not {brief(parts)}")
    flat: list[Any] = []
    for part in parts:
        flat += _flat(part, where) if isinstance(part, list | tuple) else [part]
    return flat


def _warn_clamped(what: str, limit: float | None, parent: Part, word: str = "limit") -> None:
    """Warn of a limit above the parent's, at the line that wrote the definition down."""
    above = parent.limit
    if above is None or limit is None or not above < limit < math.inf:
        return
    frame = inspect.currentframe()
    while frame and frame.f_back and _is_inner(frame.f_globals):
        frame = frame.f_back
    assert frame is not None  # noqa: S101 - CPython has frames
    warnings.warn_explicit(
        f"{what}: its {word} of {format_duration(limit)} is above the {format_duration(above)} of "
        f"{_where(parent)}, which clamps it",
        DefinitionWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _warn_part(part: Part, parent: Part) -> None:
    word = "ceiling" if isinstance(part.timeout, Adaptive) else "limit"
    _warn_clamped(_where(part), part.limit, parent, word)


def _is_inner(module: Mapping[str, Any]) -> bool:
    """Whether these are the globals of graceline, of attrs, or of code that attrs wrote."""
    return str(module.get("__name__", "attr")).partition(".")[0] in ("attr", "graceline")


@attrs.frozen(eq=False)
class Stage(_Step):
    """Nodes that belong together, with a limit for all of them.

    Nodes without `after` start together; `sequence(...)` and `parallel(...)` fill `after`.

    Attributes:
        name: unique within the pipeline.
        nodes: nodes or plain functions; groups made by `sequence` and `parallel` are welcome.
        fail_fast: whether the first critical failure cancels the siblings; None takes the
            pipeline's.

    Raises:
        DefinitionError: for no nodes, a name used twice, an unknown name in `after`, a cycle, and
            everything that `Part` refuses.
    """

    name: str
    nodes: tuple[Node, ...] = attrs.field(default=(), converter=_nodes)
    fail_fast: bool | None = attrs.field(default=None, kw_only=True)
    graph: Graph = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        where = _where(self)
        nodes = tuple(as_node(part, where) for part in _flat(self.nodes, where))
        object.__setattr__(self, "nodes", nodes)
        if self.fail_fast is not None:
            check_flag(self.fail_fast, f"{where}, fail_fast=")
        before = {node.name: node.after or () for node in nodes}
        object.__setattr__(self, "graph", build_graph(before, [n.name for n in nodes], where))
        for part in nodes:
            _warn_part(part, self)


BUDGETS = ("fixed", "remaining", "reserve")
"""How the time of a pipeline may be shared."""


@attrs.frozen(eq=False)
class Pipeline(Part):
    """Stages, with a limit for the whole.

    The stages are a sequence unless they say otherwise with `after`. Nodes or functions in place of
    stages form one stage of the pipeline's name.

    Attributes:
        name: the name under which an engine knows it.
        stages: stages, or nodes and functions.
        fail_fast: whether the first critical failure cancels the siblings; None takes the engine's.
        budget: how the time of the whole is shared. `fixed`: each part by its own limit.
            `remaining`: each part may use all that is left. `reserve`: all but what the parts after
            it usually need. In the latter two the limits of parts that nothing could stand in for
            are soft: passing one is told, and cuts nothing.
        sum_must_fit: refuse the definition if the limits along the longest path of stages (of nodes
            in a stage) add up to more than the limit above them.

    Raises:
        DefinitionError: as `Stage`, and where `sum_must_fit` is violated.
    """

    name: str
    stages: tuple[Stage, ...] = attrs.field(default=(), converter=_stages)
    fail_fast: bool | None = attrs.field(default=None, kw_only=True)
    budget: Literal["fixed", "remaining", "reserve"] = attrs.field(default="fixed", kw_only=True)
    sum_must_fit: bool = attrs.field(default=False, kw_only=True)
    graph: Graph = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        where = _where(self)
        stages = _as_stages(_flat(self.stages, where), self)
        object.__setattr__(self, "stages", stages)
        if self.fail_fast is not None:
            check_flag(self.fail_fast, f"{where}, fail_fast=")
        if self.budget not in BUDGETS:
            raise DefinitionError(
                f"{where}: budget= is one of {', '.join(map(repr, BUDGETS))}, not "
                f"{brief(self.budget)}"
            )
        check_flag(self.sum_must_fit, f"{where}, sum_must_fit=")
        before: dict[str, tuple[str, ...]] = {}
        for previous, stage in zip((None, *stages), stages, strict=False):
            if stage.after is not None:
                before[stage.name] = stage.after
            else:
                before[stage.name] = () if previous is None else (previous.name,)
        object.__setattr__(self, "graph", build_graph(before, [s.name for s in stages], where))
        for stage in stages:
            if not self.is_soft(stage):  # a soft limit is not clamped
                _warn_part(stage, self)
            if stage.limit in (None, math.inf):
                for part in stage.nodes:
                    if not self.is_soft(stage, part):
                        _warn_part(part, self)
        if self.sum_must_fit:
            _check_sum(self, self.graph, {stage.name: stage for stage in stages})
            for stage in stages:
                _check_sum(stage, stage.graph, {node.name: node for node in stage.nodes})

    def is_soft(self, stage: Stage, node: Node | None = None) -> bool:
        """Whether passing the limit of a stage, or of a node in it, is told and cuts nothing."""
        return self.budget != "fixed" and stage.critical and (node is None or node.critical)


def _as_stages(parts: list[Any], pipeline: Pipeline) -> tuple[Stage, ...]:
    where = _where(pipeline)
    stages = [part for part in parts if isinstance(part, Stage)]
    if len(stages) == len(parts):
        return tuple(stages)
    if stages:
        raise DefinitionError(f"{where}: it mixes stages and nodes; put the nodes into a stage")
    return (Stage(pipeline.name, [as_node(part, where) for part in parts]),)


def _check_sum(holder: Stage | Pipeline, graph: Graph, parts: Mapping[str, Part]) -> None:
    above = holder.limit
    if above is None:
        return
    longest: dict[str, float] = {}
    for name in graph.order:
        own = parts[name].limit or 0.0
        longest[name] = (0.0 if own == math.inf else own) + max(
            (longest[needed] for needed in graph.before[name]), default=0.0
        )
    worst = max(longest.values())
    if worst > above and not math.isclose(worst, above):
        raise DefinitionError(
            f"{_where(holder)}: the limits of its parts add up to {format_duration(worst)}, "
            f"which does not fit into {format_duration(above)} (sum_must_fit=True)"
        )
