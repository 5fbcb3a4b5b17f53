"""An engine for programs without an event loop: Trio runs in a thread of the engine's own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import outcome
import trio

from graceline.definitions import Pipeline
from graceline.durations import Duration
from graceline.engine.core import Engine, Mode
from graceline.engine.health import Health
from graceline.engine.line import EngineClosedError, Flag, Line, see_out
from graceline.engine.opening import open_engine
from graceline.engine.portal import Portal, PortalRun
from graceline.errors import GracelineError
from graceline.resilience import Malformed
from graceline.results import PipelineResult
from graceline.telemetry.hub import Listener
from graceline.telemetry.stats import Stats

__all__ = ["BlockingEngine"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class _LeftByError(Exception):
    """Stands in the loop for the exception that left the caller's block."""


class BlockingEngine:
    """An engine for plain functions: `with BlockingEngine() as engine`.

    Any number of threads may use it at once. Leaving the block normally refuses new runs and waits
    for started ones; leaving it by an exception cancels them as `shutdown`, with their grace. Then
    the engine's thread has ended.

    While the block waits for its end, an interrupt (`KeyboardInterrupt`, or whatever a signal
    handler raises) cancels what runs, one more cuts its grace, and the last one leaves the thread
    behind, which the exception says in a note.

    Args:
        options: those of `open_engine`.

    Raises:
        TypeError: for an unknown option.
    """

    def __init__(self, **options: Any) -> None:
        self._opening = open_engine(**options)
        self._engine: Engine | None = None
        self._line: Line | None = None
        self._closing: trio.Event
        self._thread: threading.Thread | None = None
        self._process = 0
        self._ready = Flag()
        self._ended = Flag()
        self._quit = False
        self._failed = False
        self._outcome: outcome.Outcome[None] | None = None

    def __enter__(self) -> Self:
        """Open the engine.

        Raises:
            DefinitionError: for a bad option.
            GracelineError: if it was opened before.
        """
        if self._thread is not None:
            raise GracelineError("a BlockingEngine is used for one block; make another one")
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._serve, name="graceline engine", daemon=True)
        try:
            self._thread.start()
            self._ready.wait()
        except BaseException:
            see_out((partial(self._stop, force=True),), self._join)
            raise
        if self._engine is None:
            self._join()
            self._take_outcome().unwrap()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the engine, as the end of the block of `open_engine` does."""
        if os.getpid() != self._process:
            return  # in a fork, the engine belongs to somebody else
        interrupt = self._leave(failed=error is not None)
        raised = [found for found in (error, interrupt) if found is not None]
        ended = self._take_outcome()
        loop = ended.error if isinstance(ended, outcome.Error) else None
        if isinstance(loop, BaseExceptionGroup):
            loop = loop.split(_LeftByError)[1]
        if loop is not None and not isinstance(loop, _LeftByError):
            raised.append(loop)
            if len(raised) > 1:
                raise BaseExceptionGroup("the engine was closed", raised) from None
        if raised and raised[-1] is not error:
            raise raised[-1]

    # -- facts --------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """`enforce`, `observe` or `off`."""
        return self._opened.mode

    @property
    def lane(self) -> str:
        """The lane under which telemetry shows this engine."""
        return self._opened.lane

    @property
    def stats(self) -> Stats:
        """The aggregates of everything that ran here; they stay after the block."""
        return self._opened.stats

    @property
    def abandoned_threads(self) -> int:
        """How many worker threads go on although their node was cancelled."""
        return self._opened.abandoned_threads

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the endpoint for metrics; None if there is none."""
        return self._opened.metrics_address

    def runs(self) -> tuple[PortalRun, ...]:
        """The runs that are queued or running, in order of submission; see `Portal.runs`."""
        return self._opened.portal.runs()

    def health(self) -> Health:
        """What the engine is doing: an immutable snapshot."""
        return self._opened.health()

    @property
    def tools(self) -> Mapping[str, Callable[..., Any]]:
        """The registered functions by their names; see `Engine.tools`."""
        return self._opened.tools

    @property
    def portal(self) -> Portal:
        """The engine for threads that are handed no more than this."""
        return self._opened.portal

    def subscribe(self, sink: Listener, *, inline: bool | None = None) -> Callable[[], None]:
        """Add a sink for the events of all runs; call what is returned to remove it.

        Args:
            sink: an object, or a plain function, that is called with each event.
            inline: True to have it called in the engine's own thread, at once; it must not block.
                False for a thread of its own. By default as its attribute `inline` says, else
                False.

        Raises:
            DefinitionError: for what can be no sink: what cannot be called, is a class, or async.
        """
        remove = self._ask(partial(self._opened.subscribe, sink, inline=inline))

        def unsubscribe() -> None:
            with suppress(EngineClosedError):
                self._ask(remove)

        return unsubscribe

    # -- running ------------------------------------------------------------------------------

    def register(self, pipeline: Pipeline) -> Pipeline:
        """Make a pipeline known by its name; returns it.

        Raises:
            DefinitionError: if another pipeline has this name.
        """
        return self._ask(self._opened.register, pipeline)

    def tool(self, name: str) -> Callable[[F], F]:
        """Register a function under a name, as a decorator; see `Engine.tool`.

        Raises:
            DefinitionError: for what cannot be called, a bad name, and one that was registered
                before.
        """
        return self._opened.tool(name)

    def run(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002 - the contract's word
        *,
        run_id: str | None = None,
        timeout: Duration | None = None,
        budget: Duration | Malformed | None = None,
    ) -> PipelineResult:
        """Run a pipeline, block until it has ended, and return its result; see `Portal.run`."""
        return self._opened.portal.run(
            pipeline, input, run_id=run_id, timeout=timeout, budget=budget
        )

    def execute(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        timeout: Duration | None = None,
        budget: Duration | Malformed | None = None,
    ) -> Any:
        """Run a pipeline and return its value or raise its error; see `Portal.execute`."""
        return self._opened.portal.execute(
            pipeline, input, run_id=run_id, timeout=timeout, budget=budget
        )

    def start(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        timeout: Duration | None = None,
        budget: Duration | Malformed | None = None,
    ) -> PortalRun:
        """Submit a run and return its handle; see `Portal.start`."""
        return self._opened.portal.start(
            pipeline, input, run_id=run_id, timeout=timeout, budget=budget
        )

    def cancel(
        self,
        run_id: str,
        reason: str = "cancelled",
        *,
        wait: bool = True,
        force_after: Duration | None = None,
    ) -> bool:
        """Cancel a run by its id; returns whether there was such a run; see `Portal.cancel`."""
        return self._opened.portal.cancel(run_id, reason, wait=wait, force_after=force_after)

    def drain(self, timeout: Duration | None = None) -> int:
        """Refuse new runs, wait for what runs, then cancel the rest; see `Portal.drain`."""
        return self._opened.portal.drain(timeout)

    # -- inside -------------------------------------------------------------------------------

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise GracelineError("the engine is not open; use `with BlockingEngine() as engine`")
        return self._engine

    def _ask(self, function: Callable[..., T], *args: Any) -> T:
        return self._opened.portal.line.ask(function, *args)

    def _serve(self) -> None:
        """Run the loop, in a thread of its own."""
        self._outcome = outcome.capture(trio.run, self._main)
        # Whoever still waits for the loop, which may have crashed, is told that it has ended.
        if self._engine is not None:
            self._engine.portal.line.cut()
        self._ready.set()
        self._ended.set()

    async def _main(self) -> None:
        self._closing = trio.Event()
        self._line = Line()
        if self._quit:  # interrupted before there was a line
            return
        async with self._opening as engine:
            self._engine = engine
            self._ready.set()
            await self._closing.wait()
            engine.portal._refuse()
            self._end()

    def _end(self) -> None:
        """Leave the block of the engine as that of the caller was left."""
        if self._failed:
            raise _LeftByError

    def _leave(self, *, failed: bool) -> BaseException | None:
        """Have the loop end and wait for its thread; returns what interrupted the wait, if so."""
        try:
            self._failed = failed
            self._close(self._noted)
            self._join()
        except BaseException as interrupt:  # noqa: BLE001 - raised when the block has ended
            steps = (True,) if failed else (False, True)
            see_out((partial(self._stop, force=force) for force in steps), self._join)
            if self._outcome is None:
                interrupt.add_note("graceline: the engine's thread did not end and is left behind")
            return interrupt
        return None

    def _stop(self, *, force: bool) -> None:
        """Cancel what runs, and have the loop end."""

        def job() -> None:
            self._closing.set()
            if self._engine is not None:
                self._engine.portal._stop_all(force=force)

        self._close(job)

    def _noted(self) -> None:
        self._closing.set()

    def _close(self, job: Callable[[], object]) -> None:
        self._quit = True
        if self._line is not None:
            with suppress(EngineClosedError):
                self._line.post(job)

    def _join(self) -> None:
        # CPython 3.11 takes a thread whose `join` was interrupted for stopped: `join` comes last.
        if self._thread is not None and self._thread.ident is not None:
            self._ended.wait()
            self._thread.join()

    def _take_outcome(self) -> outcome.Outcome[None]:
        """How the loop ended; taken once, since an exception holds on to its frames."""
        ended, self._outcome = self._outcome, None
        return ended if ended is not None else outcome.Value(None)
