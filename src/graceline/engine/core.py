"""The engine: what a program does with it."""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Literal

import trio

from graceline.deadlines import Verdict
from graceline.definitions import Defaults, Pipeline, Timeouts
from graceline.durations import Duration, parse_duration
from graceline.engine.admission import Admission
from graceline.engine.calls import limited, surroundings
from graceline.engine.catalogue import Catalogue
from graceline.engine.functions import Functions
from graceline.engine.handle import Run
from graceline.engine.header import MalformedHeaders
from graceline.engine.health import Health, abandoned_threads, run_health
from graceline.engine.late import LateWatch
from graceline.engine.learning import Learning
from graceline.engine.levels import CURRENT, LevelRun
from graceline.engine.metering import Metering, gauges
from graceline.engine.plan import Plan
from graceline.engine.portal import Portal
from graceline.engine.protections import Protections
from graceline.engine.register import Register
from graceline.engine.resources import Resources
from graceline.engine.runner import arrive, perform
from graceline.engine.scopes import DeadlineScope, TimeoutHandler
from graceline.engine.state import RunState, Shared
from graceline.engine.strand import slack_of
from graceline.engine.watchdog import LoopWatch, StuckWatch, Watchdog
from graceline.errors import GracelineError
from graceline.resilience import Malformed
from graceline.results import PipelineResult
from graceline.telemetry.checks import check_sink
from graceline.telemetry.hub import Hub, Listener
from graceline.telemetry.logs import LoggingSink
from graceline.telemetry.prometheus import Source
from graceline.telemetry.stats import Stats
from graceline.work import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Engine", "Mode"]

Mode = Literal["enforce", "observe", "off"]


class Engine(Functions):
    """Runs pipelines. Made by `open_engine`; use it in the event loop that opened it."""

    def __init__(
        self,
        *,
        timeouts: Timeouts,
        defaults: Defaults,
        mode: Mode,
        admission: Admission,
        workers: Workers,
        learning: Learning | None,
        stats: Stats,
        metering: Metering,
        lane: str,
        sinks: tuple[Listener, ...],
        log_payloads: bool,
        watchdog: Watchdog,
    ) -> None:
        super().__init__()
        self._nursery: trio.Nursery
        self._mode = mode
        self._admission = admission
        self._workers = workers
        self._learning = learning
        self._lane = lane
        self._stats = stats
        self._metering = metering
        self._hub = Hub((LoggingSink(payloads=log_payloads), *sinks), self._stats.exemplars)
        self._protections = Protections(
            self._hub, stats, lane, enforced=mode == "enforce", random=random.random
        )
        self._clock = trio.lowlevel.current_clock().current_time
        self._plans = Catalogue(
            Resources(
                timeouts=timeouts,
                defaults=defaults,
                enforced=mode == "enforce",
                stats=self._stats,
                workers=workers,
                learning=learning,
                protections=self._protections,
                random=random.random,
                crowded=lambda: admission.queued > 0,
                slack=slack_of(self._clock),
            )
        )
        self._malformed = MalformedHeaders(lane)
        self._register = Register()
        self._drain = trio.Event()
        self._late = LateWatch()
        self._shared = Shared(
            hub=self._hub,
            stats=stats,
            lane=lane,
            clock=self._clock,
            grace=timeouts.grace,
            enforced=mode == "enforce",
            watching=mode == "observe",
            drain=self._drain,
            token=trio.lowlevel.current_trio_token(),
            late=self._late,
            forget=self._register.forget,
            workers=workers,
        )
        self._closed = False
        self._portal = Portal(self)
        after, blocked = watchdog.stuck_after, watchdog.blocked_after
        self._stuck = (
            None if after is None else StuckWatch(after, self._register.runs, self._shared)
        )
        self._loop = None if blocked is None else LoopWatch(blocked, self._shared)

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
        return self._workers.threads.abandoned

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the endpoint for metrics; None if there is none."""
        return self._metering.address

    @property
    def portal(self) -> Portal:
        """This engine for other threads: submit, cancel, wait, follow events."""
        return self._portal

    def health(self) -> Health:
        """What the engine is doing: an immutable snapshot, which any thread may take."""
        now = self._clock()
        return Health(
            mode=self._mode,
            lane=self._lane,
            draining=self._drain.is_set(),
            runs=tuple(run_health(run) for run in tuple(self._register.runs.values())),
            active=self._admission.active,
            slots=self._admission.slots,
            queued=self._admission.queued,
            admission=self._admission.health(),
            abandoned_threads=abandoned_threads(self._workers.threads.hung()),
            breakers=self._protections.breakers(now),
            bulkheads=self._protections.bulkheads(),
            malformed_headers=self._malformed.count,
            alternatives=self._protections.alternatives(now),
            dropped_events=self._hub.dropped,
            stuck_nodes=() if self._stuck is None else self._stuck.found(),
            blocked=None if self._loop is None else self._loop.found(),
        )

    def runs(self) -> tuple[Run, ...]:
        """The runs that are queued or running, in order of submission."""
        return tuple(Run(state) for state in self._register.runs.values())

    def subscribe(self, sink: Listener, *, inline: bool | None = None) -> Callable[[], None]:
        """Add a sink for the events of all runs; call what is returned to remove it.

        Args:
            sink: an object, or a plain function, that is called with each event.
            inline: True to have it called in the event loop, at once; it must not block. False for
                a thread of its own. By default as its attribute `inline` says, else False.

        Raises:
            DefinitionError: for what can be no sink: what cannot be called, is a class, or async;
                for `inline=False` where the sink says that it has to be called in the event loop.
        """
        return self._hub.add(check_sink(sink, "engine.subscribe()"), inline=inline)

    def alter(self, change: Callable[[Pipeline], Pipeline]) -> Callable[[], None]:
        """Run `change(pipeline)` for each pipeline submitted from now on, as chaos does.

        It is asked once per pipeline. Runs in flight stay as they are. Call what is returned to
        remove it.
        """
        return self._plans.alter(change)

    def deadline(
        self,
        name: str,
        timeout: Duration | None,
        *,
        grace: Duration | None = None,
        on_timeout: TimeoutHandler | None = None,
    ) -> DeadlineScope:
        """A deadline for a block of code: `async with engine.deadline("import", "30s") as scope`.

        Args:
            name: for blame and health.
            timeout: seconds from its start; None for no limit of its own.
            grace: seconds that cleanup may use after a cancel; None takes that of the level above.
            on_timeout: called with the scope after the block has unwound, if it timed out.

        Raises:
            DefinitionError: for a bad name, duration or handler.
        """
        return DeadlineScope(self, name, timeout, grace, on_timeout)

    # -- running ------------------------------------------------------------------------------

    def register(self, pipeline: Pipeline) -> Pipeline:
        """Make a pipeline known by its name; returns it.

        Raises:
            DefinitionError: if another pipeline has this name.
        """
        return self._plans.register(pipeline)

    async def run(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002 - the contract's word
        *,
        run_id: str | None = None,
        timeout: Duration | None = None,
        budget: Duration | Malformed | None = None,
    ) -> PipelineResult:
        """Run a pipeline in the calling task and return its result, whatever happened.

        Args:
            pipeline: the pipeline, or the name it is registered under.
            input: what nodes without a predecessor get.
            run_id: the id for `cancel`; by default a fresh one.
            timeout: limit of this run in seconds, instead of the pipeline's; 0 or less is expired.
            budget: seconds that the requester still waits, as `incoming_budget` finds them; it can
                only shorten the limit.

        Raises:
            Cancelled: if the calling task is cancelled.
            DefinitionError: for an unknown name or a bad duration.
            GracelineError: if the engine is closed, or a live run has this id.
        """
        deadline, parent = surroundings()
        if deadline == -inf:
            await trio.lowlevel.checkpoint_if_cancelled()
        run = self._submit(pipeline, input, run_id, timeout, budget, parent, deadline)
        try:
            # Few engines drain: most runs are spared the question.
            refusal = self._refusal(run) if self._drain.is_set() else None
            verdict = arrive(run, self._admission, refusal)
            return await perform(run, self._admission, verdict)
        except BaseException:
            self._register.forget(run)  # a run that ended was forgotten when it ended
            raise

    async def execute(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        timeout: Duration | None = None,
        budget: Duration | Malformed | None = None,
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
        budget: Duration | Malformed | None = None,
    ) -> Run:
        """Start a run in the engine's own nursery; arguments and errors as for `run`.

        It is not bounded by the deadline of the task that starts it.
        """
        run = self._submit(pipeline, input, run_id, timeout, budget, None, inf)
        # Its place in the queue is that of its submission, whenever the task gets its turn.
        refusal = self._refusal(run) if self._drain.is_set() else None
        verdict = arrive(run, self._admission, refusal)
        self._nursery.start_soon(self._carry, run, verdict, name=f"graceline run {run.run_id}")
        return Run(run)

    async def _carry(self, run: RunState, verdict: Verdict | None) -> None:
        CURRENT.set(None)
        try:
            await perform(run, self._admission, verdict)
        finally:
            self._register.forget(run)

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
        run = self._register.runs.get(run_id)
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
        self._workers.drain()
        with trio.CancelScope(deadline=trio.current_time() + patience):
            await self.wait_idle()
        left = self.cancel_all("the engine is drained")
        await self.wait_idle()
        return left

    async def wait_idle(self) -> None:
        """Wait until no run is queued or running, but for those around the caller."""
        await self._register.wait_idle()

    def cancel_all(self, reason: str) -> int:
        """Cancel every run but those around the caller as `shutdown`; returns how many it were."""
        return self._register.cancel_all(reason)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Have the watchdog at work while the block runs."""
        with ExitStack() as stack:
            if self._loop is not None:
                stack.enter_context(self._loop.watching())
            if self._stuck is not None:
                stack.enter_context(self._stuck.watching())
            yield

    def _enter(self, nursery: trio.Nursery) -> None:
        """Start runs in `nursery` from now on."""
        self._nursery = nursery

    def _source(self) -> Source:
        """What a collector sees of the engine."""
        return Source(
            lane=self._lane,
            mode=self._mode,
            stats=self._stats,
            gauges=lambda: gauges(
                self._register.runs, self._admission, self._workers, self._protections, self._stuck,
                self._clock(),
            ),
        )  # fmt: skip

    def _shut(self) -> None:
        """Accept nothing any more; the block of `open_engine` has ended."""
        self._closed = True
        self._late.close()

    # -- inside -------------------------------------------------------------------------------

    def _refusal(self, run: RunState) -> str | None:
        """Why a draining engine refuses a run; what belongs to a run that goes on it does not."""
        belongs = run.parent is not None and run.parent.run.shared is self._shared
        return None if belongs else "draining"

    def _submit(
        self,
        pipeline: Pipeline | str,
        value: Any,
        run_id: str | None,
        timeout: Duration | None,
        budget: Duration | Malformed | None,
        parent: LevelRun | None,
        deadline: float,
    ) -> RunState:
        if self._closed:
            raise GracelineError("the engine is closed; run inside its `async with open_engine()`")
        name = self._register.id_for(run_id)
        stated = timeout is not None or (parent is not None and parent.limit.stated)
        if not isinstance(pipeline, Pipeline):
            pipeline = self._plans.find(pipeline)
        plan = self._plans.plan(pipeline, stated=stated)
        patience = None if budget is None else self._malformed.sift(budget)
        if timeout is not None or patience is not None:
            plan = limited(plan, timeout, patience)
        run = RunState(plan, value, self._shared, name, parent, deadline)
        self._register.runs[name] = run
        if self._stuck is not None:
            self._stuck.submitted()
        return run

    async def _enlist(self, plan: Plan) -> RunState:
        """A run without stages for a scope of this task; it takes no slot."""
        if self._closed:
            raise GracelineError("the engine is closed; run inside its `async with open_engine()`")
        deadline, parent = surroundings()
        if deadline == -inf:
            await trio.lowlevel.checkpoint_if_cancelled()
        name = self._register.id_for(None)
        run = RunState(plan, None, self._shared, name, parent, deadline)
        self._register.runs[name] = run
        if self._stuck is not None:
            self._stuck.submitted()
        return run
