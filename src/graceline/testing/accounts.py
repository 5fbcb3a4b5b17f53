"""The oracle's own tree: levels with the equations, what holds parts, and the accounts it gives.

Nothing here is shared with the package: see `graceline.testing.oracle`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from graceline.testing.models import PipelineModel, StageModel

__all__ = [
    "KEEP_INPUT",
    "Blamed",
    "Holder",
    "Level",
    "Node",
    "PartAccount",
    "Run",
    "RunAccount",
    "Stage",
    "TryAccount",
]

KEEP_INPUT: Any = type("KeepInput", (), {"__repr__": lambda _: "KEEP_INPUT"})()
"""The fallback of a part that states none: its dependents get its input."""

Blamed = tuple[str, str, str]
"""The blame's level, name and kind."""


@attrs.frozen
class TryAccount:
    """What happened in one attempt of a node with policies.

    Attributes:
        delay: seconds that were waited for the next attempt; None if there was to be none.
        stop: why there was to be none; `ok` for a success that took several attempts, None where
            nobody asked.
    """

    number: int
    status: str
    start: float
    end: float
    delay: float | None = None
    stop: str | None = None


@attrs.frozen
class PartAccount:
    """What happened to a node or a stage; the instants of a skipped part mean nothing.

    Attributes:
        attempts: how many were begun; of nodes only, as what follows.
        error: the text of the error that counts.
        secondary: the texts of the errors of earlier attempts; `timeout` for an attempt's limit.
        note: why there was no further attempt: a word, and for `deadline` the seconds left, those
            of the backoff and those that an attempt was expected to take.
        tries: the attempts one by one, of a node with policies.
    """

    status: str
    blame: Blamed | None = None
    start: float = 0.0
    end: float = 0.0
    value: Any = None
    attempts: int = attrs.field(default=0, kw_only=True)
    error: str | None = attrs.field(default=None, kw_only=True)
    secondary: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    note: tuple[Any, ...] = attrs.field(default=(), kw_only=True)
    tries: tuple[TryAccount, ...] = attrs.field(default=(), kw_only=True)


@attrs.frozen
class RunAccount:
    """What happened to a run.

    Attributes:
        raised: whether the caller's `Cancelled` passes through instead of a result.
        parts: the accounts of stages (`"stage"`) and nodes (`"stage.node"`).
    """

    status: str
    blame: Blamed | None
    start: float
    end: float
    value: Any
    completed: tuple[str, ...]
    degraded: tuple[str, ...]
    raised: bool
    parts: dict[str, PartAccount]


class Level:
    """A level of the tree, with the equations of the contract."""

    def __init__(
        self, kind: str, name: str, parent: Level | None, start: float, model: Any, grace: float
    ) -> None:
        self.kind: str = kind
        self.name: str = name
        self.parent: Level | None = parent
        self.start: float = start
        self.deadline: float = inf
        self.grace: float = grace if parent is None else parent.grace
        self.cancelled_at: float = inf
        self.cancel_kind: str = ""
        self.foreign_at: float = inf
        if model is None:
            return
        if model.timeout is not None:
            self.deadline = start + model.timeout - (model.reserve or 0.0)
        for stated in (model.grace, model.reserve):
            if stated is not None:
                self.grace = stated

    def line(self) -> list[Level]:
        """This level and those above it, outermost first."""
        return [*(self.parent.line() if self.parent else ()), self]

    def own(self) -> float:
        """When this level by itself cancels its work."""
        return min(self.deadline, self.cancelled_at)

    def fired(self) -> float:
        """When the work of this level is cancelled, whoever cancels it."""
        return min(level.own() for level in self.line())

    def hard(self) -> float:
        """When the cleanup of this level is cut."""
        above = self.parent.hard() if self.parent else inf
        return min(min(self.fired(), self.foreign_at) + self.grace, above)

    def cause(self, at: float) -> tuple[str, Blamed] | None:
        """Status and blame of what was cut by the earliest `own` up to `at`; outermost on ties."""
        passed = [level for level in self.line() if level.own() <= at]
        if not passed:
            return None
        level = min(passed, key=Level.own)  # min keeps the first of equals: the outermost
        if level.deadline <= level.cancelled_at:
            return "timed_out", (level.kind, level.name, "timeout")
        return "cancelled", (level.kind, level.name, level.cancel_kind)


class Holder:
    """A stage or a pipeline while it runs."""

    def __init__(self, model: Any, parts: tuple[Any, ...], level: Level, value: Any) -> None:
        self.level: Level = level
        self.value: Any = value
        self.strict: bool = bool(model.strict)
        self.fail_fast: bool = model.fail_fast is not False
        self.waiting: dict[Any, Any] = {part.name: part for part in parts}
        self.after: dict[str, tuple[str, ...]] = {}
        previous: tuple[str, ...] = ()
        for part in parts:
            self.after[part.name] = previous if part.after is None else part.after
            previous = (part.name,)
        needed = [name for names in self.after.values() for name in names]
        self.sinks: list[Any] = [part.name for part in parts if part.name not in needed]
        roots = [name for name, names in self.after.items() if not names]
        self.chain: bool = (
            len(roots) == 1
            and len(needed) == len(set(needed))
            and all(len(names) < 2 for names in self.after.values())
        )
        self.values: dict[str, Any] = {}
        self.failure: PartAccount | None = None
        self.last: float = level.start
        self.alive = 0

    def ready(self) -> list[Any]:
        """The parts whose predecessors are usable and that did not start yet."""
        return [
            part
            for name, part in self.waiting.items()
            if all(needed in self.values for needed in self.after[name])
        ]

    def input(self, name: str) -> Any:
        """What a part gets."""
        needed = self.after[name]
        if not needed:
            return self.value
        if len(needed) == 1:
            return self.values[needed[0]]
        return {other: self.values[other] for other in needed}

    def output(self) -> Any:
        """The value of the sink, or the values of the sinks by name."""
        if len(self.sinks) == 1:
            return self.values.get(self.sinks[0])
        return {name: self.values[name] for name in self.sinks if name in self.values}


class Run(Holder):
    """A run: the holder of its stages."""

    def __init__(
        self, model: PipelineModel, level: Level, above: Level, owner: Node | None, value: Any
    ) -> None:
        super().__init__(model, model.stages, level, value)
        self.model: PipelineModel = model
        self.above: Level = above
        self.owner: Node | None = owner
        self.start: float = level.start
        self.key: str = model.name
        names = [node.name for stage in model.stages for node in stage.nodes]
        self.repeated: set[str] = {name for name in names if names.count(name) > 1}
        self.noticed = inf  # when an explicit cancel of the caller's was first noticed
        self.plain = True  # whether every part so far was ok
        self.raised = False
        self.completed: list[str] = []
        self.degraded: list[str] = []
        self.parts: dict[str, PartAccount] = {}

    def label(self, stage: str, node: str) -> str:
        """The node's name, with that of its stage where it occurs in several."""
        return f"{stage}.{node}" if node in self.repeated else node


class Stage(Holder):
    """A stage: the holder of its nodes."""

    def __init__(self, model: StageModel, run: Run, level: Level, value: Any) -> None:
        super().__init__(model, model.nodes, level, value)
        self.model: StageModel = model
        self.run: Run = run
        self.strict: bool = run.strict if model.strict is None else model.strict
        self.fail_fast: bool = run.fail_fast if model.fail_fast is None else model.fail_fast


@attrs.define(eq=False)
class Node:
    """A node that is alive.

    `does` is what its attempt does and `at` the level of that: the node's own without policies.
    """

    model: Any
    stage: Stage
    level: Level
    input: Any
    rank: float
    does: Any = None
    at: Level = attrs.field(default=attrs.Factory(lambda self: self.level, takes_self=True))
    number: int = 0
    ends: float = inf
    absorbs: float = inf
    phase: str = "backoff"
    asked: bool = False
    ending: str = "value"
    inner: Any = None
    blocks: int = 0
    opened_cut: float = inf
    noticed: float = inf
    errors: tuple[str, ...] = ()
    tries: tuple[TryAccount, ...] = ()
    note: tuple[Any, ...] = ()
    retried_inside: bool = False
