"""The handle of one run: look at it, cancel it, wait for it, follow its events."""

from __future__ import annotations

from math import inf

import trio

from graceline.deadlines import Kind
from graceline.durations import Duration, parse_duration
from graceline.engine.state import RunState
from graceline.errors import GracelineError
from graceline.results import PipelineResult
from graceline.telemetry.events import Event
from graceline.values import define, frozen

__all__ = ["Run"]


@frozen(eq=False, repr=False)
class Run:
    """One run of a pipeline; made by `engine.start` and `engine.runs`."""

    _state: RunState

    def __repr__(self) -> str:
        return f"<Run {self.run_id!r} of {self.pipeline!r}>"

    @property
    def run_id(self) -> str:
        """The id for `engine.cancel`."""
        return self._state.run_id

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""
        return self._state.plan.name

    @property
    def result(self) -> PipelineResult | None:
        """The result, or None while the run goes on."""
        return self._state.result

    def remaining(self) -> float:
        """Seconds until the run is cancelled, never below 0; `inf` if nothing limits it."""
        if self._state.ended:
            return 0.0
        return max(0.0, self._state.root.fired() - self._state.clock())

    def cancel(self, reason: str = "cancelled", *, force_after: Duration | None = None) -> bool:
        """Cancel the run without waiting; returns whether this was the first cancel.

        Args:
            reason: for the blame of the result.
            force_after: seconds after which cleanup is cut, grace or not.
        """
        seconds = None if force_after is None else parse_duration(force_after, "force_after=")
        if self._state.ended:
            return False
        return self._state.cancel(Kind.USER, reason, force_after=seconds)

    async def wait(self) -> PipelineResult:
        """Wait for the end of the run, cleanup included, and return its result.

        Raises:
            GracelineError: if the run was torn down by an exception of the program itself, such as
                `KeyboardInterrupt`, and has no result.
        """
        await self._state.wait()
        result = self._state.result
        if result is None:
            raise GracelineError(f"run {self.run_id!r} was torn down and has no result")
        return result

    def events(self, *, output: bool = False) -> trio.MemoryReceiveChannel[Event]:
        """The events of this run from now on, to be read with `async for`; ends with the run.

        Args:
            output: whether to hand on what child programs write, as `OutputReceived` events. They
                wait in memory until they are read.
        """
        state = self._state
        send, receive = trio.open_memory_channel[Event](inf)
        if state.ended:
            send.close()
            return receive
        state.follow()
        remove = state.shared.hub.add(_Follower(state.run_id, send, output))
        state.at_end += (remove, send.close)
        return receive


@define(eq=False)
class _Follower:
    """A sink that passes the events of one run on to a channel."""

    run_id: str
    channel: trio.MemorySendChannel[Event]
    output: bool
    inline = True

    def wants_output(self) -> bool:
        """As it was asked for."""
        return self.output

    def __call__(self, event: Event) -> None:
        """Pass an event on, unless the reader has gone."""
        if event.run_id != self.run_id:
            return
        try:
            self.channel.send_nowait(event)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
