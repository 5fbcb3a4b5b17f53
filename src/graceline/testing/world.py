"""A world of its own for one run: a fresh virtual clock, a fresh engine, and the cancels it meets.

Nothing is shared between two worlds, so a run can be repeated: the seed also decides in which order
Trio takes the tasks that are ready at one instant.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import attrs
import trio

from graceline.definitions import Node, Pipeline, Stage, Timeouts
from graceline.definitions.checks import optional_duration
from graceline.durations import Duration
from graceline.engine import Engine, Mode, Run, open_engine
from graceline.errors import DefinitionError, DefinitionWarning
from graceline.results import PipelineResult
from graceline.telemetry.events import Event
from graceline.testing.nested import running_on
from graceline.testing.recording import RecordedTimeline, record
from graceline.virtual import order_within_an_instant, run_virtual

__all__ = ["Cancels", "Recording", "run_live", "simulate"]

_RUN_ID = "simulated"


def _accept(value: Duration | None) -> float | None:
    """Tells type checkers what may be given; `__attrs_post_init__` parses, and can say where."""
    return cast("float | None", value)


@attrs.frozen(kw_only=True)
class Cancels:
    """What cancels a run from outside. Instants are seconds from its submission; None: never.

    Attributes:
        user_at: when it is cancelled through the engine.
        caller_at: when the caller's own scope is cancelled.
        caller_deadline: the deadline of the caller's own scope.
        drain_at: when the engine is drained and waits for nothing.

    Raises:
        DefinitionError: for negative instants, NaN, booleans, strings without a unit.
    """

    user_at: float | None = attrs.field(default=None, converter=_accept)
    caller_at: float | None = attrs.field(default=None, converter=_accept)
    caller_deadline: float | None = attrs.field(default=None, converter=_accept)
    drain_at: float | None = attrs.field(default=None, converter=_accept)

    def __attrs_post_init__(self) -> None:
        for name in ("user_at", "caller_at", "caller_deadline", "drain_at"):
            seconds = optional_duration(getattr(self, name), f"Cancels({name}=)")
            object.__setattr__(self, name, seconds)

    def __repr__(self) -> str:
        """Only what is stated, for the reports of failing examples."""
        stated = attrs.asdict(self, filter=lambda _, value: value is not None)
        return f"Cancels({', '.join(f'{name}={value!r}' for name, value in stated.items())})"

    @property
    def caller_gone_at(self) -> float | None:
        """When the caller's scope is cancelled, by hand or by its deadline; None if never."""
        stated = [at for at in (self.caller_at, self.caller_deadline) if at is not None]
        return min(stated, default=None)


@attrs.frozen(kw_only=True)
class Recording:
    """A run that has ended, and everything that was seen of it.

    Attributes:
        pipeline: what was run.
        cancels: what came from outside.
        result: the result; also where the caller's `Cancelled` came through, if the engine said
            what the run came to. None if it was torn down without one.
        raised: whether the caller's `Cancelled` came through instead of the result.
        timeline: the rows and the steps.
        returned_at: when `engine.run` came back, in seconds from the submission.
    """

    pipeline: Pipeline
    cancels: Cancels
    result: PipelineResult | None
    raised: bool
    timeline: RecordedTimeline
    returned_at: float


def simulate(
    pipeline: Pipeline,
    input: Any = None,  # noqa: A002 - the contract's word
    *,
    cancels: Cancels = Cancels(),
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    mode: Mode = "enforce",
    max_concurrent_pipelines: float | None = 10,
    seed: int = 0,
) -> Recording:
    """Run a pipeline once in a fresh virtual world, and record it.

    Args:
        pipeline: what is run.
        input: what nodes without a predecessor get.
        cancels: what cancels it from outside.
        timeouts: the engine's defaults.
        mode: the engine's mode; the environment is not asked.
        max_concurrent_pipelines: the engine's slots.
        seed: decides the order of what is ready at the same instant, and the jitter of backoffs.

    Raises:
        DefinitionError: if `pipeline` is none, `cancels` are none, or the engine refuses an option.
        BaseException: what is for the program and never becomes a result.
    """
    world = _world("simulate()", pipeline, input, cancels)
    with order_within_an_instant(seed):
        return run_virtual(world.play, timeouts, mode, max_concurrent_pipelines)


def run_live(
    pipeline: Pipeline,
    input: Any = None,  # noqa: A002
    *,
    cancels: Cancels = Cancels(),
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    mode: Mode = "enforce",
    seed: int = 0,
) -> Recording:
    """As `simulate`, on the real clock: it takes as long as the run does. For `check_clocks_agree`.

    Raises:
        DefinitionError: as `simulate`.
        BaseException: as `simulate`.
    """
    world = _world("run_live()", pipeline, input, cancels)
    with order_within_an_instant(seed):
        return trio.run(world.play, timeouts, mode, 10)


def _world(where: str, pipeline: Pipeline, value: Any, cancels: Cancels) -> _World:
    if not isinstance(pipeline, Pipeline):
        raise DefinitionError(f"{where}: {pipeline!r} is not a Pipeline")
    if not isinstance(cancels, Cancels):
        raise DefinitionError(
            f"{where}: cancels= takes Cancels such as Cancels(user_at=0.1), not {cancels!r}"
        )
    return _World(pipeline, value, cancels)


@attrs.define(eq=False)
class _World:
    """One run, from the submission to the end of the engine."""

    pipeline: Pipeline
    input: Any
    cancels: Cancels
    run: Run | None = None

    async def play(
        self, timeouts: Timeouts, mode: Mode, max_concurrent_pipelines: float | None
    ) -> Recording:
        raised, result = True, None
        scope = trio.CancelScope()
        async with (
            open_engine(
                timeouts=timeouts,
                mode=mode,
                max_concurrent_pipelines=max_concurrent_pipelines,
                watchdog=None,
            ) as engine,
            trio.open_nursery() as nursery,
        ):
            engine.subscribe(_Finder(self, engine))
            with record(engine, _RUN_ID) as timeline, running_on(engine):
                pipeline = _watched(self.pipeline, timeline)
                origin = trio.current_time()
                self._arrange(engine, nursery, scope)
                try:
                    with scope:
                        result = await engine.run(pipeline, self.input, run_id=_RUN_ID)
                        raised = False
                finally:
                    returned_at = trio.current_time() - origin
                nursery.cancel_scope.cancel()
        if result is None and self.run is not None:
            result = self.run.result
        return Recording(
            pipeline=self.pipeline,
            cancels=self.cancels,
            result=result,
            raised=raised,
            timeline=timeline,
            returned_at=returned_at,
        )

    def _arrange(self, engine: Engine, nursery: trio.Nursery, scope: trio.CancelScope) -> None:
        """Have everything that comes from outside come at its instant."""
        now, cancels = trio.current_time(), self.cancels

        async def cancel_user(at: float) -> None:
            await trio.sleep_until(at)
            await engine.cancel(_RUN_ID, "the user cancels", wait=False)

        async def cancel_caller(at: float) -> None:
            await trio.sleep_until(at)
            scope.cancel()

        async def drain(at: float) -> None:
            await trio.sleep_until(at)
            await engine.drain(0)

        if cancels.caller_deadline is not None:
            scope.deadline = now + cancels.caller_deadline
        for at, act in (
            (cancels.user_at, cancel_user),
            (cancels.caller_at, cancel_caller),
            (cancels.drain_at, drain),
        ):
            if at is not None:
                nursery.start_soon(act, now + at)


@attrs.frozen(eq=False)
class _Finder:
    """A sink that finds the handle of the run, which has its result whatever the caller gets."""

    inline = True

    world: _World
    engine: Engine

    def wants_trace(self) -> bool:
        """The timeline does already."""
        return False

    def __call__(self, event: Event) -> None:
        """Whatever the event says: the run is live while it tells of itself."""
        known = {run.run_id: run for run in self.engine.runs()}
        if event.run_id == _RUN_ID:
            self.world.run = known[_RUN_ID]


def _watched(pipeline: Pipeline, timeline: RecordedTimeline) -> Pipeline:
    """The same pipeline, whose nodes' bodies tell the timeline what they return."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DefinitionWarning)  # the definition was told of it before
        stages = [
            attrs.evolve(
                stage,
                nodes=[
                    attrs.evolve(node, function=_witness(stage, node, timeline))
                    for node in stage.nodes
                ],
            )
            for stage in pipeline.stages
        ]
        return attrs.evolve(pipeline, stages=stages)


def _witness(stage: Stage, node: Node, timeline: RecordedTimeline) -> Callable[[Any], Any]:
    function: Any = node.function
    if node.runs_on != "coroutine":
        return cast(
            "Callable[[Any], Any]", function
        )  # what a thread returns may come when nobody waits for it any more

    async def witness(value: Any) -> Any:
        result = await function(value)
        timeline.note_return(stage.name, node.name, result, item=node.each is not None)
        return result

    return witness
