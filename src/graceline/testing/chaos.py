"""Chaos: a share of all calls of nodes is delayed, fails or hangs, to see what limits are worth.

It is off unless somebody asks for it. A pipeline is copied, and only the copy misbehaves. An engine
misbehaves for the length of a `with` block; before and after it runs exactly what it always runs,
and nothing looks whether chaos is on. Each fault is decided by a random stream of its own, named
after the seed, the node and the number of the call: so the order in which tasks run decides
nothing, and a seed gives the same faults again.
"""

from __future__ import annotations

import copy
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import attrs
import trio

from graceline.definitions import Choice, Node, Part, Pipeline, Stage
from graceline.definitions.checks import check_flag, nearest
from graceline.engine import Engine
from graceline.engine.levels import CURRENT
from graceline.engine.surrounded import Surrounded
from graceline.errors import DefinitionError, GracelineError
from graceline.saying import say
from graceline.telemetry import events
from graceline.testing.latency import Latency, as_latency

if TYPE_CHECKING:
    from graceline.work import Bound

__all__ = ["Chaos", "ChaosError", "chaos"]

_log = logging.getLogger("graceline.chaos")
_MESSAGE = "injected by chaos"
PartT = TypeVar("PartT", bound=Part)


class ChaosError(GracelineError):
    """The default of the errors that chaos raises in place of a node's work."""


@overload
def chaos(
    engine_or_pipeline: Pipeline,
    rate: float,
    *,
    latency: Any = None,
    error: type[Exception] | Exception | None = None,
    hang: bool = False,
    nodes: str | Iterable[str] | None = None,
    seed: int | str | None = None,
) -> Pipeline: ...
@overload
def chaos(
    engine_or_pipeline: Engine,
    rate: float,
    *,
    latency: Any = None,
    error: type[Exception] | Exception | None = None,
    hang: bool = False,
    nodes: str | Iterable[str] | None = None,
    seed: int | str | None = None,
) -> Chaos: ...
def chaos(
    engine_or_pipeline: Engine | Pipeline,
    rate: float,
    *,
    latency: Any = None,
    error: type[Exception] | Exception | None = None,
    hang: bool = False,
    nodes: str | Iterable[str] | None = None,
    seed: int | str | None = None,
) -> Chaos | Pipeline:
    """Put faults into a share of all calls of nodes; each is told as a `FaultInjected` event.

    Of a pipeline it returns a copy that misbehaves, wherever it runs. Of an engine it returns a
    context manager: `with chaos(engine, 0.05, latency="200ms") as monkey:` is in force for the runs
    that are submitted inside the block, and `monkey.injected` counts. When the block ends, no call
    is hit any more, and those that are still delayed or hang go on with their work at once.

    A call that is hit gets one of the faults that are asked for, each as likely as the others. If
    none is asked for, it is a `ChaosError`. In a node made by `each()` every item is a call.

    Args:
        engine_or_pipeline: an engine that is open, or a pipeline.
        rate: the share of calls that are hit, from 0 to 1.
        latency: seconds to wait before the work, or a `Latency` that gives them.
        error: an exception, or a class of exceptions, raised in place of the work. Of an exception
            each call raises a copy.
        hang: wait for ever; what ends it is a limit, a cancel, or the end of the block.
        nodes: which nodes are hit, as names or patterns of names (`"fetch"`, `"load.*"`,
            `"assist.load.fetch"`, `"quote.primary"` for an alternative of a choice); None: all.
        seed: the same seed gives the same faults to the same calls; None draws one.

    Raises:
        DefinitionError: for anything else, and for names that no node of the pipeline has.
    """
    faults = _Faults(
        rate=_check_rate(rate),
        latency=None if latency is None else as_latency(latency),
        make_error=_error_maker(error, wanted=latency is None and not hang),
        hang=check_flag(hang, "chaos(hang=)"),
        patterns=_check_patterns(nodes),
        seed=_check_seed(seed),
    )
    if isinstance(engine_or_pipeline, Engine):
        return Chaos(engine_or_pipeline, faults)
    if not isinstance(engine_or_pipeline, Pipeline):
        raise DefinitionError(
            f"chaos() takes an open engine or a Pipeline, not {engine_or_pipeline!r}"
        )
    _check_known(faults.patterns, engine_or_pipeline)
    return _spoilt(engine_or_pipeline, faults)


class Chaos:
    """The faults of one engine for the length of a block; made by `chaos(engine, ...)`."""

    def __init__(self, engine: Engine, faults: _Faults) -> None:
        self._engine = engine
        self._faults = faults
        self._remove: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<Chaos in lane {self._engine.lane!r}: {self._faults}>"

    @property
    def calls(self) -> int:
        """How many calls could have been hit; 0 says that no node of that name was called."""
        return self._faults.calls

    @property
    def injected(self) -> int:
        """How many calls were hit."""
        return self._faults.hits.total()

    @property
    def faults(self) -> Mapping[str, int]:
        """How many calls were hit by each fault: `latency`, `error`, `hang`."""
        return MappingProxyType({kind: self._faults.hits[kind] for kind in self._faults.kinds})

    @property
    def seed(self) -> int | str:
        """The seed, so that a drawn one can be given again."""
        return self._faults.seed

    def __enter__(self) -> Self:
        """Begin: the runs that are submitted from now on are hit."""
        if self._faults.over is not None:
            raise GracelineError("this chaos has had its block; call chaos() again for another")
        self._faults.over = trio.Event()
        self._remove = self._engine.alter(lambda pipeline: _spoilt(pipeline, self._faults))
        self._say("begins", str(self._faults))
        return self

    def __exit__(self, *_: object) -> None:
        """End it for every run, and let go of the calls that wait."""
        assert self._remove is not None  # noqa: S101 - the block was entered
        assert self._faults.over is not None  # noqa: S101
        self._remove()
        self._faults.over.set()
        self._say("ends", f"{self.injected} of {self.calls} calls were hit")

    def _say(self, what: str, more: str) -> None:
        lane = self._engine.lane
        say(
            _log, logging.WARNING, f"chaos_{what}",
            "chaos %s in lane %r: %s", what, lane, more, lane=lane, injected=self.injected,
        )  # fmt: skip


@attrs.define(eq=False, kw_only=True)
class _Faults:
    """What is injected, how often, and what has been.

    Attributes:
        kinds: the faults that are asked for.
        over: set when the block of an engine has ended; None outside of any block.
        hits: the calls that were hit, by fault.
    """

    rate: float
    latency: Latency | None
    make_error: Callable[[], Exception] | None
    hang: bool
    patterns: tuple[str, ...] | None
    seed: int | str
    kinds: tuple[str, ...] = attrs.field(init=False)
    over: trio.Event | None = None
    calls: int = 0
    hits: Counter[str] = attrs.field(factory=Counter)
    numbers: dict[str, count[int]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        wanted = {
            "latency": self.latency is not None,
            "error": self.make_error is not None,
            "hang": self.hang,
        }
        self.kinds = tuple(kind for kind, asked in wanted.items() if asked)

    def __str__(self) -> str:
        return f"rate {self.rate:g}, {' or '.join(self.kinds)}, seed {self.seed!r}"

    def covers(self, pipeline: str, stage: str, node: str) -> bool:
        """Whether a node is one of those that are hit."""
        if self.patterns is None:
            return True
        names = _names(pipeline, stage, node)
        return any(_fits(name, pattern) for pattern in self.patterns for name in names)

    async def strike(self, pipeline: str, stage: str, node: str) -> None:
        """Before a call: let it be, or wait, or raise."""
        if self.over is not None and self.over.is_set():
            return
        self.calls += 1
        where = f"{pipeline}.{stage}.{node}"
        number = next(self.numbers.setdefault(where, count(1)))
        dice = random.Random(f"{self.seed}/{where}/{number}")  # noqa: S311 - no secret
        if dice.random() >= self.rate:
            return
        fault = dice.choice(self.kinds)
        self.hits[fault] += 1
        level = CURRENT.get()
        if level is not None:
            level.run.emit(
                events.FaultInjected, level.run.clock(), stage=stage, node=node, fault=fault
            )
        if fault == "latency" and self.latency is not None:
            with trio.move_on_after(self.latency.sample(dice)):
                await self._wait()
        elif fault == "error" and self.make_error is not None:
            raise self.make_error()
        else:
            await self._wait()

    async def _wait(self) -> None:
        """Wait until the block is over, or for ever."""
        if self.over is None:
            await trio.sleep_forever()
        else:
            await self.over.wait()


@attrs.define(eq=False)
class _Spoilt(Surrounded):
    """A node's function with faults before its work."""

    function: Any
    faults: _Faults
    pipeline: str
    stage: str
    node: str

    @property
    def inner(self) -> Any:
        """What the node runs; other chaos may be around it."""
        return self.function.inner if isinstance(self.function, Surrounded) else self.function

    @property
    def __name__(self) -> str:
        """The name of the function itself."""
        return str(getattr(self.function, "__name__", self.node))

    async def strike(self) -> None:
        """Have the faults decide about one call."""
        await self.faults.strike(self.pipeline, self.stage, self.node)


class _SpoiltCoroutine(_Spoilt):
    async def __call__(self, value: Any) -> Any:
        await self.strike()
        return await self.function(value)


class _SpoiltElsewhere(_Spoilt):
    """The faults come before a thread or a process: there a cancel reaches them, none is lost."""

    def __call__(self, value: Any) -> Any:
        return self.function(value)

    def around(self, work: Bound) -> Bound:
        inner = self.function.around(work) if isinstance(self.function, Surrounded) else work

        async def struck(value: Any) -> Any:
            await self.strike()
            return await inner(value)

        return struck


def _spoilt(pipeline: Pipeline, faults: _Faults) -> Pipeline:
    """The same definition with other bodies; nothing is checked, or warned of, a second time."""

    def spoil(stage: Stage, node: Node) -> Node:
        if isinstance(node.function, Choice):
            alternatives = zip(node.function.alternatives, node.alternatives, strict=True)
            spoilt = tuple(hit(stage, given, node.name, one.name) for given, one in alternatives)
            return _changed(node, function=Choice(spoilt))
        return hit(stage, node, node.name)

    def hit(stage: Stage, node: Node, *names: str) -> Node:
        if not any(faults.covers(pipeline.name, stage.name, name) for name in names):
            return node
        kind = _SpoiltCoroutine if node.runs_on == "coroutine" else _SpoiltElsewhere
        function = kind(node.function, faults, pipeline.name, stage.name, names[-1])
        return _changed(node, function=function)

    stages = tuple(
        _changed(stage, nodes=tuple(spoil(stage, node) for node in stage.nodes))
        for stage in pipeline.stages
    )
    return _changed(pipeline, stages=stages)


def _changed(part: PartT, **fields: Any) -> PartT:
    twin = copy.copy(part)
    for name, value in fields.items():
        object.__setattr__(twin, name, value)
    return twin


def _names(pipeline: str, stage: str, node: str) -> tuple[str, str, str]:
    """What a node may be called, from short to long."""
    return node, f"{stage}.{node}", f"{pipeline}.{stage}.{node}"


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _check_rate(rate: float) -> float:
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise DefinitionError(f"chaos(rate=) is a share of all calls, from 0 to 1, not {rate!r}")
    return float(rate)


def _check_seed(seed: int | str | None) -> int | str:
    if seed is None:
        return random.SystemRandom().getrandbits(32)
    if isinstance(seed, bool) or not isinstance(seed, int | str):
        raise DefinitionError(f"chaos(seed=) takes a whole number or a string, not {seed!r}")
    return seed


def _check_patterns(nodes: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if nodes is None:
        return None
    patterns = (nodes,) if isinstance(nodes, str) or not isinstance(nodes, Iterable) else nodes
    found = tuple(patterns)
    if not found:
        raise DefinitionError("chaos(nodes=) names no node; leave it out to hit all of them")
    for pattern in found:
        if not isinstance(pattern, str) or not pattern.strip():
            raise DefinitionError(f"chaos(nodes=) takes names of nodes, not {pattern!r}")
    return found


def _check_known(patterns: tuple[str, ...] | None, pipeline: Pipeline) -> None:
    """Raise for a name that no node has. Of an engine's pipelines nobody can know that."""
    names = [
        name
        for stage in pipeline.stages
        for node in stage.nodes
        for part in (node, *node.alternatives)
        for name in _names(pipeline.name, stage.name, part.name)
    ]
    for pattern in patterns or ():
        if not any(_fits(name, pattern) for name in names):
            raise DefinitionError(
                f"chaos(nodes=): no node of pipeline {pipeline.name!r} is {pattern!r}; "
                f"{nearest(pattern, names)}"
            )


def _error_maker(
    error: type[Exception] | Exception | None, *, wanted: bool
) -> Callable[[], Exception] | None:
    """What gives a fresh exception for each call: a shared one would tie calls to one another."""
    if error is None:
        return (lambda: ChaosError(_MESSAGE)) if wanted else None
    if isinstance(error, Exception):
        return lambda: _copied(error)
    if not isinstance(error, type) or not issubclass(error, Exception):
        raise DefinitionError(f"chaos(error=) takes an Exception or a class of them, not {error!r}")
    try:
        error(_MESSAGE)
    except Exception as refusal:
        raise DefinitionError(
            f"chaos(error=): {error.__name__} cannot be made from a message alone; "
            "give an exception instead of its class"
        ) from refusal
    return lambda: error(_MESSAGE)


def _copied(error: Exception) -> Exception:
    """A copy without traceback and context, made without `__init__`, whatever that asks for."""
    kind = type(error)
    twin = kind.__new__(kind, *error.args)
    twin.args = error.args
    twin.__dict__.update(error.__dict__)
    twin.__cause__ = error.__cause__
    return twin
