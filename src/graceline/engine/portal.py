"""The portal: what threads other than the event loop's do with an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from math import inf
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from graceline.definitions import Pipeline
from graceline.durations import Duration, format_duration, parse_duration
from graceline.engine.handle import Run
from graceline.engine.levels import CURRENT
from graceline.engine.line import EngineClosedError, Flag, Line, see_out
from graceline.engine.state import RunState
from graceline.errors import GracelineError
from graceline.resilience import Malformed
from graceline.results import PipelineResult
from graceline.telemetry.events import Event
from graceline.values import define, frozen

if TYPE_CHECKING:
    from graceline.engine.core import Engine

__all__ = ["Portal", "PortalRun"]

T = TypeVar("T")
_INTERRUPTED = "interrupted"


@frozen(eq=False)
class _Tap:
    """A sink that passes the events of one run on to another thread."""

    run_id: str
    box: SimpleQueue[Event | None]
    output: bool
    inline = True

    def wants_output(self) -> bool:
        """As it was asked for."""
        return self.output

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        if event.run_id == self.run_id:
            self.box.put(event)


@define(eq=False, repr=False)
class PortalRun:
    """One run of a pipeline, for any thread but the loop's; made by `start` and `runs`."""

    _line: Line
    _owned: bool
    _state: RunState = attrs.field(init=False)  # the loop sets it before anybody gets this
    _ended: Flag = attrs.field(init=False, factory=Flag)
    _submitted: bool = attrs.field(init=False, default=False)
    _watched: bool = attrs.field(init=False, default=False)

    def __repr__(self) -> str:
        return f"<PortalRun {self.run_id!r} of {self.pipeline!r}>"

    @property
    def run_id(self) -> str:
        """The id for `cancel`."""
        return self._state.run_id

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""
        return self._state.plan.name

    @property
    def done(self) -> bool:
        """Whether the run has ended, cleanup included."""
        return self._state.ended or self._ended.is_set

    @property
    def result(self) -> PipelineResult | None:
        """The result, or None while the run goes on."""
        return self._state.result

    def wait(self, timeout: Duration | None = None) -> PipelineResult:
        """Block until the run has ended, cleanup included, and return its result.

        If the waiting thread is interrupted (`KeyboardInterrupt`, or whatever a signal handler
        raises), a run that was made by `start` is cancelled as `interrupted`, its cleanup is
        awaited, and the interrupt is raised. A second interrupt cuts the cleanup, a third does not
        wait for it.

        Args:
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            TimeoutError: if the run has not ended by then. It goes on: cancel it if it should not.
            GracelineError: in the loop's own thread; or if the run was torn down without a result.
        """
        patience = inf if timeout is None else parse_duration(timeout, "wait(timeout=)")
        try:
            ended = self.await_end(patience)
        except GracelineError:
            raise
        except BaseException:
            if self._owned:
                self.see_out()
            raise
        if not ended:
            raise TimeoutError(
                f"run {self.run_id!r} goes on after {format_duration(patience)} of waiting; "
                "cancel() it if nobody needs it any more"
            )
        result = self._state.result
        if result is None:
            raise GracelineError(f"run {self.run_id!r} was torn down and has no result")
        return result

    def cancel(self, reason: str = "cancelled", *, force_after: Duration | None = None) -> bool:
        """Cancel the run without waiting for its end; returns whether this was the first cancel.

        Args:
            reason: for the blame of the result.
            force_after: seconds after which cleanup is cut, grace or not.
        """
        return self._ask(False, partial(Run(self._state).cancel, reason, force_after=force_after))

    def events(self, *, output: bool = False) -> Iterator[Event]:
        """The events of this run from now on; blocks for the next one, and ends with the run.

        Args:
            output: whether to hand on what child programs write, as `OutputReceived` events. They
                wait in memory until they are read.
        """
        box: SimpleQueue[Event | None] = SimpleQueue()
        remove = self._ask(None, partial(self._follow, box, output))
        return iter(()) if remove is None else self._read(box, remove)

    # -- inside -------------------------------------------------------------------------------

    def bind(self, state: RunState) -> PortalRun:
        """In the loop: this is the run."""
        self._state = state
        self._submitted = True
        return self

    def await_end(self, patience: float) -> bool:
        """Block until the run has ended, or for some seconds; an interrupt leaves it alone."""
        self._line.check()
        if not self._watched:
            self._ask(None, self.watch)
        return self.done or self._ended.wait(patience)

    def watch(self) -> Flag:
        """In the loop: have `wait` wake up at the end of the run; returns the flag for it."""
        self._watched = True
        self._line.expect(self, self._ended.set)
        self._at_end(self._end)
        return self._ended

    def _end(self) -> None:
        self._line.met(self)
        self._ended.set()

    def _at_end(self, *calls: Callable[[], object]) -> None:
        if self._state.ended:
            for call in calls:
                call()
        else:
            self._state.at_end += calls

    def _follow(self, box: SimpleQueue[Event | None], output: bool) -> Callable[[], object]:  # noqa: FBT001 - as `events` has it
        """In the loop: from now on, put the run's events into `box`, and None at its end."""
        state = self._state
        state.follow()
        remove = state.shared.hub.add(_Tap(state.run_id, box, output))
        end = partial(box.put, None)
        self._line.expect(box, end)
        self._at_end(remove, partial(self._line.met, box), end)
        return remove

    def _read(
        self, box: SimpleQueue[Event | None], remove: Callable[[], object]
    ) -> Iterator[Event]:
        try:
            while (event := box.get()) is not None:
                yield event
        finally:  # a reader that breaks off is not written to any more
            self._line.met(box)
            with suppress(EngineClosedError):
                self._line.post(remove)

    def _ask(self, gone: T, function: Callable[[], T]) -> T:
        """Ask the loop; `gone` is the answer once it has ended, and the run with it."""
        try:
            return self._line.ask(function)
        except EngineClosedError:
            self._ended.set()
            return gone

    def see_out(self) -> None:
        """After an interrupt: cancel the run and wait for its end; see `wait`."""
        see_out((partial(self._stop, None), partial(self._stop, 0.0)), self._ended.wait)

    def _stop(self, force_after: float | None) -> None:
        def job() -> None:
            # A submission that was posted at all came before this.
            if self._submitted:
                Run(self._state).cancel(_INTERRUPTED, force_after=force_after)
            else:
                self._ended.set()

        self._line.post(job)


class Portal:
    """An engine for the threads other than that of its event loop; get it as `engine.portal`.

    Every method may be called from any number of threads at once. Runs are started as by
    `engine.start`: no deadline and no node of the calling thread bounds them. They see the calling
    thread's context variables.
    """

    __slots__ = ("_engine", "_refusing", "line")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._refusing = False
        self.line: Line = Line()

    def run(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002 - the contract's word
        *,
        run_id: str | None = None,
        timeout: Duration | None = None,
        budget: Duration | Malformed | None = None,
    ) -> PipelineResult:
        """Run a pipeline, block until it has ended, and return its result, whatever happened.

        Arguments and errors as for `engine.run`; an interrupt of the calling thread cancels the
        run, as in `PortalRun.wait`.
        """
        options = {"run_id": run_id, "timeout": timeout, "budget": budget}
        return self._begin(pipeline, input, options, wait=True).wait()

    def execute(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        timeout: Duration | None = None,
        budget: Duration | Malformed | None = None,
    ) -> Any:
        """Run a pipeline and return its value; arguments as for `run`.

        Errors as for `engine.execute`.
        """
        return self.run(pipeline, input, run_id=run_id, timeout=timeout, budget=budget).unwrap()

    def start(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        timeout: Duration | None = None,
        budget: Duration | Malformed | None = None,
    ) -> PortalRun:
        """Submit a run and return as soon as it has its place; arguments as for `engine.run`.

        Raises:
            DefinitionError: for an unknown name or a bad duration.
            GracelineError: in the loop's own thread; if the engine is closed or closing; if a live
                run has this id.
        """
        options = {"run_id": run_id, "timeout": timeout, "budget": budget}
        return self._begin(pipeline, input, options, wait=False)

    def cancel(
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
            wait: block until the run has unwound, cleanup included. In a thread of the run itself
                there is nothing to wait for.
            force_after: seconds after which cleanup is cut, grace or not.
        """
        found = self.line.ask(self._cancel, run_id, reason, force_after)
        if found is None:
            return False
        ended, inside = found
        if wait and not inside:
            ended.wait()
        return True

    def runs(self) -> tuple[PortalRun, ...]:
        """The runs that are queued or running, in order of submission.

        An interrupted `wait` for one of these leaves it alone: somebody else started it.
        """
        return self.line.ask(self._runs)

    def drain(self, timeout: Duration | None = None) -> int:
        """Refuse new runs and wait for what runs, as `engine.drain`.

        An interrupt cancels what runs, with its grace; a second one cuts the grace, a third does
        not wait.

        Args:
            timeout: seconds to wait before the rest is cancelled as `shutdown`; None waits.

        Returns:
            How many runs had to be cancelled.
        """
        try:
            ended = self.line.outcome_of_task(self._engine.drain, timeout)
        except GracelineError:
            raise
        except BaseException:
            idle = partial(self.line.outcome_of_task, self._engine.wait_idle)
            steps = [partial(self._stop_all, force=force) for force in (False, True)]
            see_out([partial(self.line.post, step) for step in steps], idle)
            raise
        return ended.unwrap()

    # -- inside -------------------------------------------------------------------------------

    def _refuse(self) -> None:
        """In the loop: the engine is closing. Other threads could keep it open for ever."""
        self._refusing = True

    def _stop_all(self, *, force: bool) -> None:
        """In the loop: cancel every run because somebody was interrupted."""
        self._engine.cancel_all(_INTERRUPTED)
        if force:
            for run in self._engine.runs():
                run.cancel(_INTERRUPTED, force_after=0)

    def _begin(
        self, pipeline: Pipeline | str, value: Any, options: dict[str, Any], *, wait: bool
    ) -> PortalRun:
        """Submit a run, and wait for its end before anybody else has the handle, if `wait`."""
        run = PortalRun(self.line, owned=True)
        try:
            self.line.ask(self._submit, run, pipeline, value, options)
            if wait:
                run.await_end(inf)
        except GracelineError:
            raise
        except BaseException:  # interrupted: the run may have started, and nobody has its handle
            run.see_out()
            raise
        return run

    def _submit(
        self, run: PortalRun, pipeline: Pipeline | str, value: Any, options: dict[str, Any]
    ) -> None:
        if self._refusing:
            raise EngineClosedError
        started = self._engine.start(pipeline, value, **options)
        run.bind(_state(started)).watch()

    def _cancel(
        self, run_id: str, reason: str, force_after: Duration | None
    ) -> tuple[Flag, bool] | None:
        for run in self._engine.runs():
            if run.run_id == run_id:
                break
        else:
            return None
        run.cancel(reason, force_after=force_after)
        state = _state(run)
        ended = PortalRun(self.line, owned=False).bind(state).watch()
        current = CURRENT.get()
        return ended, current is not None and current.within(state.root)

    def _runs(self) -> tuple[PortalRun, ...]:
        runs = self._engine.runs()
        return tuple(PortalRun(self.line, owned=False).bind(_state(run)) for run in runs)


def _state(run: Run) -> RunState:
    return run._state
