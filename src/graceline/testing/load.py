"""Load: many runs against few slots, in one virtual world, and an engine that is whole afterwards.

load = Load(slots=2, arrivals=[(0.0, checkout), (0.5, checkout, Cancels(user_at=1))])
first, second = simulate_load(load)
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, TypeAlias, cast

import attrs
import trio

from graceline.definitions import Pipeline, Timeouts
from graceline.definitions.checks import brief, no_pipeline
from graceline.durations import parse_duration
from graceline.engine import Engine, Mode, Run, open_engine
from graceline.errors import DefinitionError
from graceline.results import PipelineResult
from graceline.telemetry.events import Event
from graceline.testing.nested import running_on
from graceline.testing.surroundings import check_full_capacity
from graceline.testing.world import Cancels
from graceline.virtual import run_virtual

__all__ = ["Arrival", "Load", "LoadedRun", "simulate_load"]

Arrival: TypeAlias = tuple[float, Pipeline, Cancels]
"""When a run arrives in seconds, what is run, and what cancels it, counted from its arrival."""


def _arrivals(value: Iterable[Any]) -> tuple[Arrival, ...]:
    """Tells type checkers what may be given; `__attrs_post_init__` checks, and can say where."""
    return cast("tuple[Arrival, ...]", value)


@attrs.frozen
class Load:
    """Runs that arrive, and the slots that they have.

    Attributes:
        slots: runs that are active at once, at least 1; None for any number.
        max_queue: runs that may wait, at least 0; None for any number.
        arrivals: `(seconds, pipeline)` or `(seconds, pipeline, cancels)`; `cancels` are `Cancels`,
            or the instant of a user's cancel, or None. A `drain_at` drains the whole engine.

    Raises:
        DefinitionError: for bad numbers, no arrivals, and an arrival that is none.
    """

    slots: int | None = 1
    max_queue: int | None = None
    arrivals: tuple[Arrival, ...] = attrs.field(default=(), converter=_arrivals)

    def __attrs_post_init__(self) -> None:
        for name, least in (("slots", 1), ("max_queue", 0)):
            number = getattr(self, name)
            whole = isinstance(number, int) and not isinstance(number, bool)
            if number is not None and not (whole and number >= least):
                raise DefinitionError(
                    f"Load({name}=) must be a whole number of at least {least}, or None, "
                    f"not {brief(number)}"
                )
        given: Any = self.arrivals
        if isinstance(given, str | bytes) or not isinstance(given, Iterable):
            raise DefinitionError(f"Load(arrivals=) must be a list, not {brief(given)}")
        arrivals = tuple(_arrival(index, entry) for index, entry in enumerate(given))
        if not arrivals:
            raise DefinitionError("Load(arrivals=) needs at least one: [(0.0, pipeline)]")
        object.__setattr__(self, "arrivals", arrivals)


def _arrival(index: int, entry: Any) -> Arrival:
    where = f"Load(arrivals=), arrival {index}"
    if not isinstance(entry, tuple) or len(entry) not in (2, 3):
        raise DefinitionError(
            f"{where}: {brief(entry)} is none; write (seconds, pipeline) or "
            "(seconds, pipeline, Cancels(user_at=...))"
        )
    seconds = parse_duration(entry[0], where)
    if seconds == float("inf"):
        raise DefinitionError(f"{where}: it must come at some time; give finite seconds")
    if not isinstance(entry[1], Pipeline):
        raise DefinitionError(f"{where}: {no_pipeline(entry[1])}")
    cancels = entry[2] if len(entry) == 3 else None
    if not isinstance(cancels, Cancels):
        cancels = Cancels(user_at=cancels)
    return (seconds, entry[1], cancels)


@attrs.frozen(kw_only=True)
class LoadedRun:
    """One run of a load. Instants are seconds from the start of the load.

    Attributes:
        pipeline: what was run.
        cancels: what came from outside.
        result: the result; also where the caller's `Cancelled` came through, if the engine said
            what the run came to.
        raised: whether the caller's `Cancelled` came through instead of the result.
        submitted_at: when it arrived.
        returned_at: when `engine.run` came back.
    """

    pipeline: Pipeline
    cancels: Cancels
    result: PipelineResult | None
    raised: bool
    submitted_at: float
    returned_at: float


def simulate_load(
    load: Load,
    input: Any = None,  # noqa: A002 - the contract's word
    *,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    mode: Mode = "enforce",
) -> tuple[LoadedRun, ...]:
    """Run a load in a fresh virtual world; afterwards the engine must have its full capacity.

    Args:
        load: what arrives.
        input: what nodes without a predecessor get, in every run.
        timeouts: the engine's defaults.
        mode: the engine's mode; the environment is not asked.

    Returns:
        What became of each run, in the order of `load.arrivals`.

    Raises:
        DefinitionError: if `load` is none, or the engine refuses an option.
        InvariantError: I11, if a slot, a place in the queue or a run is left over.
    """
    if not isinstance(load, Load):
        raise DefinitionError(f"simulate_load(): {brief(load)} is not a Load")
    return run_virtual(_play, load, input, timeouts, mode)


async def _play(load: Load, value: Any, timeouts: Timeouts, mode: Mode) -> tuple[LoadedRun, ...]:
    done: dict[int, LoadedRun] = {}
    async with open_engine(
        timeouts=timeouts, mode=mode, max_concurrent_pipelines=load.slots, max_queue=load.max_queue
    ) as engine:
        runs: dict[str, Run] = {}
        engine.subscribe(_Finder(engine, runs))
        with running_on(engine):
            async with trio.open_nursery() as nursery:
                for index, arrival in enumerate(load.arrivals):
                    run = _OneRun(engine, runs, f"load-{index}", value, arrival)
                    nursery.start_soon(run.play, partial(done.__setitem__, index))
        check_full_capacity(engine)
    return tuple(done[index] for index in range(len(load.arrivals)))


@attrs.frozen(eq=False)
class _Finder:
    """A sink that keeps the handles of the runs, which have their results whatever callers get."""

    inline = True

    engine: Engine
    found: dict[str, Run]

    def wants_trace(self) -> bool:
        """What does not end well is told anyway."""
        return False

    def __call__(self, event: Event) -> None:
        """A run is live while it tells of itself."""
        if event.run_id not in self.found:
            self.found.update((run.run_id, run) for run in self.engine.runs())


@attrs.frozen(eq=False)
class _OneRun:
    """One arrival, its caller, and what cancels it."""

    engine: Engine
    runs: dict[str, Run]
    run_id: str
    value: Any
    arrival: Arrival

    async def play(self, tell: Any) -> None:
        """Wait for the arrival, run, and tell what became of it."""
        at, pipeline, cancels = self.arrival
        await trio.sleep_until(at)
        result: PipelineResult | None = None
        raised = True
        scope = trio.CancelScope()
        if cancels.caller_deadline is not None:
            scope.deadline = at + cancels.caller_deadline
        async with trio.open_nursery() as nursery:
            self._arrange(nursery, scope)
            try:
                with scope:
                    result = await self.engine.run(pipeline, self.value, run_id=self.run_id)
                    raised = False
            finally:
                returned_at = trio.current_time()
            nursery.cancel_scope.cancel()
        if result is None and self.run_id in self.runs:
            result = self.runs[self.run_id].result
        tell(
            LoadedRun(
                pipeline=pipeline,
                cancels=cancels,
                result=result,
                raised=raised,
                submitted_at=at,
                returned_at=returned_at,
            )
        )

    def _arrange(self, nursery: trio.Nursery, scope: trio.CancelScope) -> None:
        at, _, cancels = self.arrival

        async def cancel_user() -> None:
            await self.engine.cancel(self.run_id, "the user cancels", wait=False)

        async def cancel_caller() -> None:
            scope.cancel()

        async def drain() -> None:
            await self.engine.drain(0)

        async def wait(until: float, act: Any) -> None:
            await trio.sleep_until(until)
            await act()

        for after, act in (
            (cancels.user_at, cancel_user),
            (cancels.caller_at, cancel_caller),
            (cancels.drain_at, drain),
        ):
            if after is not None:
                nursery.start_soon(wait, at + after, act)
