"""One run under the command: the signals that cancel it, and the live view while it goes on."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import attrs
import trio

from graceline.definitions import Timeouts
from graceline.engine import open_engine
from graceline.results import PipelineResult
from graceline.telemetry.events import Event, RunningLate
from graceline.telemetry.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.console import Console

    from graceline.adaptive import Store
    from graceline.definitions import Pipeline
    from graceline.engine import Engine
    from graceline.telemetry.hub import Sink

__all__ = ["GRACE", "Session", "run_session"]

GRACE = 5.0
"""Seconds of cleanup after a cancel, where the pipeline states none."""


@attrs.frozen
class Session:
    """What came of a run.

    Attributes:
        result: its result.
        timeline: its events.
        signal: the number of the first signal that came, None if none did.
        mode: the mode of the engine: only `enforce` cuts anything.
        late: each part that passed its soft deadline, in that order.
    """

    result: PipelineResult
    timeline: Timeline
    signal: int | None
    mode: str
    late: tuple[RunningLate, ...]


@attrs.define
class _Received:
    first: int | None = None
    count: int = 0


@attrs.define
class _Late:
    """A sink that keeps what it hears of soft deadlines."""

    inline = True

    heard: list[RunningLate] = attrs.field(factory=list)

    def wants_trace(self) -> bool:
        return False

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunningLate):
            self.heard.append(event)


async def run_session(
    pipeline: Pipeline,
    value: Any,
    timeout: float | None,
    screen: Console | None,
    grace: float = GRACE,
    sinks: tuple[Sink, ...] = (),
    history: Store | None = None,
) -> Session:
    """Run a pipeline; an interrupt or a termination signal cancels it, with its cleanup.

    Limits are those of the pipeline: a command that states none runs until it ends. A second signal
    cuts the cleanup, a third one ends the process.

    Args:
        pipeline: what to run.
        value: its input.
        timeout: limit of this run in seconds, instead of the pipeline's own.
        screen: the terminal on which to show the run while it goes on; None shows nothing.
        grace: seconds of cleanup after a cancel, where the pipeline states none.
        sinks: subscribers of its events.
        history: where learned limits come from and go to; it stays open.

    Raises:
        BaseException: what a node raised that is for the program, such as `SystemExit`.
    """
    if screen is not None:
        # Here, since only a terminal needs it, and not in the run's time.
        from graceline.cli.live import show_live  # noqa: PLC0415
    timeline, received, late = Timeline(), _Received(), _Late()
    defaults = Timeouts(node=None, stage=None, pipeline=None, grace=grace)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with (
            open_engine(
                timeouts=defaults, sinks=[timeline, late, *sinks], history=history
            ) as engine,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_watch, signals, engine, received)
            if screen is not None:
                nursery.start_soon(show_live, screen, timeline)
            # In this task, so that the run starts at once; the others wait for a checkpoint.
            result = await engine.run(pipeline, value, timeout=timeout)
            nursery.cancel_scope.cancel("the run has ended")
    return Session(result, timeline, received.first, engine.mode, tuple(late.heard))


async def _watch(signals: AsyncIterator[int], engine: Engine, received: _Received) -> None:
    async for number in signals:
        received.first = received.first or number
        received.count += 1
        if received.count == 1:
            word, force_after = "interrupted" if number == signal.SIGINT else "terminated", None
        else:
            word, force_after = "interrupted again", 0.0
        for run in engine.runs():
            run.cancel(word, force_after=force_after)
        if received.count > 2:  # a node that swallows its cancel cannot be ended in any other way
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
