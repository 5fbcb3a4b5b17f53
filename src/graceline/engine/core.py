"""The engine: what a program does with it."""

from __future__ import annotations

import os
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import attrs
import trio

from graceline.deadlines import Kind, Source, Verdict
from graceline.definitions import Pipeline, Timeouts
from graceline.definitions.checks import check_name, nearest, no_pipeline
from graceline.durations import Duration, parse_duration
from graceline.engine.admission import Admission
from graceline.engine.cleanup import enclosing_cleanup
from graceline.engine.handle import Run
from graceline.engine.levels import CURRENT, LevelRun
from graceline.engine.plan import PipelinePlan, compile_pipeline
from graceline.engine.runner import arrive, perform
from graceline.engine.state import RunState, Shared
from graceline.errors import DefinitionError, GracelineError
from graceline.results import PipelineResult
from graceline.telemetry.hub import Hub, Sink
from graceline.telemetry.logs import LoggingSink
from graceline.telemetry.stats import Stats
from graceline.work import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Engine", "Mode"]

Mode = Literal["enforce", "observe", "off"]


class Engine:
    """Runs pipelines. Made by `open_engine`; use it in the event loop that opened it."""

    def __init__(
        self,
        *,
        timeouts: Timeouts,
        mode: Mode,
        admission: Admission,
        threads: ThreadPool,
        lane: str,
        sinks: tuple[Sink, ...],
    ) -> None:
        self._nursery: trio.Nursery
        self._timeouts = timeouts
        self._mode = mode
        self._admission = admission
        self._threads = threads
        self._lane = lane
        self._hub = Hub((LoggingSink(), *sinks))
        self._stats = Stats()
        self._changes: tuple[Callable[[Pipeline], Pipeline], ...] = ()
        self._plans: tuple[WeakKeyDictionary[Pipeline, PipelinePlan], ...]
        self._set_changes(())
        self._registered: dict[str, Pipeline] = {}
        self._live: dict[str, RunState] = {}
        self._prefix = os.urandom(4).hex()
        self._numbers = count(1)
        self._drain = trio.Event()
        self._shared = Shared(
            hub=self._hub,
            lane=lane,
            grace=timeouts.grace,
            enforced=mode == "enforce",
            watching=mode == "observe",
            drain=self._drain,
        )
        self._idle: trio.Event | None = None
        self._closed = False

    # -- facts --------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """`enforce`, `observe` or `off`."""
        return self._mode

    @property
    def lane(self) -> str:
        """The lane under which telemetry shows this engine."""
        return self._lane

    @property
    def stats(self) -> Stats:
        """The aggregates of everything that ran here."""
        return self._stats

    @property
    def abandoned_threads(self) -> int:
        """How many worker threads go on although their node was cancelled."""
        return self._threads.abandoned

    def runs(self) -> tuple[Run, ...]:
        """The runs that are queued or running, in order of submission."""
        return tuple(Run(state) for state in self._live.values())

    def subscribe(self, sink: Sink) -> Callable[[], None]:
        """Add a sink for the events of all runs; call what is returned to remove it."""
        return self._hub.add(sink)

    def alter(self, change: Callable[[Pipeline], Pipeline]) -> Callable[[], None]:
        """Run `change(pipeline)` for each pipeline submitted from now on, as chaos does.

        It is asked once per pipeline. Runs in flight stay as they are. Call what is returned to
        remove it.
        """
        self._set_changes((*self._changes, change))

        def remove() -> None:
            self._set_changes(tuple(other for other in self._changes if other is not change))

        return remove

    def _set_changes(self, changes: tuple[Callable[[Pipeline], Pipeline], ...]) -> None:
        """Change pipelines so from now on; what was compiled otherwise is forgotten."""
        self._changes = changes
        self._plans = (WeakKeyDictionary(), WeakKeyDictionary())

    # -- running ------------------------------------------------------------------------------

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

    async def run(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002 - the contract's word
        *,
        run_id: str | None = None,
        timeout: Duration | None = None,
        budget: Duration | None = None,
    ) -> PipelineResult:
        """Run a pipeline in the calling task and return its result, whatever happened.

        Args:
            pipeline: the pipeline, or the name it is registered under.
            input: what nodes without a predecessor get.
            run_id: the id for `cancel`; by default a fresh one.
            timeout: limit of this run in seconds, instead of the pipeline's; 0 or less is expired.
            budget: seconds that the requester still waits; it can only shorten the limit.

        Raises:
            Cancelled: if the calling task is cancelled.
            DefinitionError: for an unknown name or a bad duration.
            GracelineError: if the engine is closed, or a live run has this id.
        """
        deadline = trio.current_effective_deadline()
        if deadline == -inf:
            await trio.lowlevel.checkpoint_if_cancelled()
        parent = CURRENT.get()
        if parent is not None and parent.ended and enclosing_cleanup(parent) is None:
            parent = None  # a background task that outlived its node starts a run of its own
        run = self._submit(pipeline, input, run_id, timeout, budget, parent, deadline)
        try:
            verdict = arrive(run, self._admission, self._refusal(run))
            return await perform(run, self._admission, verdict)
        finally:
            self._forget(run)

    async def execute(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        timeout: Duration | None = None,
        budget: Duration | None = None,
    ) -> Any:
        """Run a pipeline and return its value; arguments as for `run`.

        Raises:
            DeadlineExceededError: if a limit passed; the subclass names the level.
            NodeFailedError: if a node raised; its exception is the cause.
            PipelineCancelledError: if the run was cancelled.
            OverloadedError: if the run, or a node it needs, was refused.
        """
        result = await self.run(pipeline, input, run_id=run_id, timeout=timeout, budget=budget)
        return result.unwrap()

    def start(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        timeout: Duration | None = None,
        budget: Duration | None = None,
    ) -> Run:
        """Start a run in the engine's own nursery; arguments and errors as for `run`.

        It is not bounded by the deadline of the task that starts it.
        """
        run = self._submit(pipeline, input, run_id, timeout, budget, None, inf)
        # Its place in the queue is that of its submission, whenever the task gets its turn.
        verdict = arrive(run, self._admission, self._refusal(run))
        self._nursery.start_soon(self._carry, run, verdict, name=f"graceline run {run.run_id}")
        return Run(run)

    async def _carry(self, run: RunState, verdict: Verdict | None) -> None:
        CURRENT.set(None)
        try:
            await perform(run, self._admission, verdict)
        finally:
            self._forget(run)

    async def cancel(
        self,
        run_id: str,
        reason: str = "cancelled",
        *,
        wait: bool = True,
        force_after: Duration | None = None,
    ) -> bool:
        """Cancel a run by its id; returns whether there was such a run.

        Args:
            run_id: the id; of a run that has ended it is not an error.
            reason: for the blame of the result.
            wait: return when the run has unwound, cleanup included. Inside the run itself there is
                nothing to wait for.
            force_after: seconds after which cleanup is cut, grace or not.
        """
        run = self._live.get(run_id)
        if run is None:
            await trio.lowlevel.checkpoint()
            return False
        Run(run).cancel(reason, force_after=force_after)
        current = CURRENT.get()
        inside = current is not None and current.within(run.root)
        if wait and not inside:
            await run.wait()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        return True

    async def drain(self, timeout: Duration | None = None) -> int:
        """Refuse new runs, tell `stopping()`, wait for what runs, then cancel the rest.

        Args:
            timeout: seconds to wait before the rest is cancelled as `shutdown`; None waits.

        Returns:
            How many runs had to be cancelled.
        """
        patience = inf if timeout is None else parse_duration(timeout, "drain(timeout=)")
        self._drain.set()
        with trio.move_on_after(patience):
            await self.wait_idle()
        left = self.cancel_all("the engine is drained")
        await self.wait_idle()
        return left

    async def wait_idle(self) -> None:
        """Wait until no run is queued or running."""
        while self._live:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()
        await trio.lowlevel.checkpoint()

    def cancel_all(self, reason: str) -> int:
        """Cancel every run as `shutdown`, without waiting; returns how many there were."""
        left = list(self._live.values())
        for run in left:
            run.cancel(Kind.SHUTDOWN, reason, force_after=None)
        return len(left)

    def enter(self, nursery: trio.Nursery) -> None:
        """Start runs in `nursery` from now on."""
        self._nursery = nursery

    def shut(self) -> None:
        """Accept nothing any more; the block of `open_engine` has ended."""
        self._closed = True

    # -- inside -------------------------------------------------------------------------------

    def _refusal(self, run: RunState) -> str | None:
        """Why a run is refused; what belongs to a run that goes on is not."""
        if not self._drain.is_set():
            return None
        belongs = run.parent is not None and run.parent.run.shared is self._shared
        return None if belongs else "draining"

    def _submit(
        self,
        pipeline: Pipeline | str,
        value: Any,
        run_id: str | None,
        timeout: Duration | None,
        budget: Duration | None,
        parent: LevelRun | None,
        deadline: float,
    ) -> RunState:
        if self._closed:
            raise GracelineError("the engine is closed; run inside its `async with open_engine()`")
        name = f"{self._prefix}-{next(self._numbers)}" if run_id is None else run_id
        while run_id is None and name in self._live:
            name = f"{self._prefix}-{next(self._numbers)}"
        if run_id is not None:
            check_name(run_id, "run_id=")
            if run_id in self._live:
                raise GracelineError(f"a run with the id {run_id!r} is live; ids must be unique")
        stated = timeout is not None or (parent is not None and parent.limit.stated)
        plan = self._plan(self._find(pipeline), stated=stated)
        if timeout is not None or budget is not None:
            plan = _limited(plan, timeout, budget)
        run = RunState(plan, value, self._shared, name, parent, deadline)
        self._live[name] = run
        return run

    def _forget(self, run: RunState) -> None:
        del self._live[run.run_id]
        if self._idle is not None and not self._live:
            self._idle.set()
            self._idle = None

    def _find(self, pipeline: Pipeline | str) -> Pipeline:
        if isinstance(pipeline, Pipeline):
            return pipeline
        if not isinstance(pipeline, str):
            raise DefinitionError(no_pipeline(pipeline))
        found = self._registered.get(pipeline)
        if found is None:
            hint = nearest(pipeline, self._registered)
            raise DefinitionError(f"no pipeline is registered as {pipeline!r}; {hint}")
        return found

    def _plan(self, pipeline: Pipeline, *, stated: bool) -> PipelinePlan:
        plans = self._plans[stated]
        plan = plans.get(pipeline)
        if plan is None:
            changed = pipeline
            for change in self._changes:
                changed = change(changed)
            plan = plans[pipeline] = compile_pipeline(
                changed,
                self._timeouts,
                stated=stated,
                enforced=self._mode == "enforce",
                stats=self._stats,
                threads=self._threads,
            )
        return plan


def _limited(plan: PipelinePlan, timeout: Duration | None, budget: Duration | None) -> PipelinePlan:
    """The plan with the limit that the call gives."""
    limit = plan.limit
    if timeout is not None:
        seconds = parse_duration(timeout, "timeout=", signed=True)
        source = None if seconds == inf else Source.CALL
        limit = attrs.evolve(limit, timeout=seconds, source=source)
    if budget is not None:
        seconds = parse_duration(budget, "budget=", signed=True)
        if seconds < limit.timeout:
            limit = attrs.evolve(limit, timeout=seconds, source=Source.HEADER)
    return attrs.evolve(plan, limit=limit)
