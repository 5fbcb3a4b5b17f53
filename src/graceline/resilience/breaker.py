"""The circuit breaker as a state machine: it counts and decides, and has neither clock nor tasks.

The problem
===========

A service that is down costs every caller its whole timeout, and the calls that pile up keep it
down. A breaker refuses calls at once while that is so (Nygard 2007, "Release It!"). The idea is
simple; what breaks in practice is the counting. A user who closes a browser tab is no failure of
the service, and neither is the caller's own impatience. An answer to a question from before the
trip says nothing about now. And a breaker that is half open and admits all who are waiting is open
in the wrong sense of the word: it knocks the service over again.

The machine
===========

    closed     --a rate is reached-->        open
    open       --open_for has passed-->      half open, with the next call
    half open  --a probe fails-->            open, for twice as long
    half open  --`probes` have succeeded-->  closed, with an empty window

- **Permits.** A call asks `admit(now)` and gets a `Permit`, which it settles exactly once when it
  ends, however it ends, or a `BreakerRefusal`. Ask last: who holds a permit should be about to
  start.
- **Leases.** A permit of a half-open breaker holds one of `probes` slots until it is settled: a
  probe that is cancelled frees its slot, and so does time after `probe_max`. Probes that have
  succeeded keep theirs, so that of any number of callers exactly `probes` get one.
- **Generations.** Each transition begins a new generation. A permit of an older one is settled
  without effect: a result from before the trip changes nothing.

What counts
===========

| outcome | closed | half open |
|---|---|---|
| ok | success; slow if past `slow_after` | success |
| error | failure | failure: open |
| ignored error | nothing | slot freed |
| own timeout | failure and slow | failure: open |
| ancestor's timeout, past `slow_after` | slow only | slot freed |
| ancestor's timeout, earlier | nothing | slot freed |
| nothing (cancelled by somebody) | nothing | slot freed |
| rejected (never started) | nothing | nothing but the slot of its permit |

The two rates have denominators of their own: that of failures is successes + failures; that of slow
calls includes those that are slow only. Both are judged after each call that counted, once their
denominator is `min_calls`, and open the breaker at `>=`. "In a row" means without a success in
between; what is neither success nor failure does not interrupt, and time does not either.

The time open is `open_for`, doubled with each failed probe up to `max_open_for`, times a factor
between 0.8 and 1.2, lest many breakers probe at once. It starts over when the breaker has closed.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from math import inf
from typing import TypeAlias

from graceline.definitions.breaker import Breaker, BreakerMode
from graceline.resilience.counting import Counted, SlidingCounts
from graceline.values import frozen

__all__ = [
    "BreakerRefusal",
    "BreakerSnapshot",
    "BreakerState",
    "CircuitBreaker",
    "OnChange",
    "Permit",
]

_JITTER = 0.2
"""The time open is varied by up to this share of it, up and down."""

_OK, _ERROR, _OWN_TIMEOUT = Counted.OK, Counted.ERROR, Counted.OWN_TIMEOUT
"""Compared by identity: the hash of an enum's member costs more than all else here."""

_CALLS, _FAILURES, _SLOW, _SLOW_ONLY = range(4)
"""What is counted: successes and failures; failures; slow calls; those that are neither."""


class BreakerState(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    """Calls go through, and are counted."""
    OPEN = "open"
    """Calls are refused, until the first one after its time has passed."""
    HALF_OPEN = "half_open"
    """A few probes go through; all else is refused."""


OnChange: TypeAlias = Callable[[BreakerState, BreakerState, float], None]
"""Told of a transition: the old state, the new one, and when."""


@frozen
class BreakerRefusal:
    """The call must not start.

    Attributes:
        retry_after: seconds until a call may be let through; while probes are under way, until one
            of their slots is free at the latest. None for a breaker that is forced open.
        last_error: the error that opened the breaker; None if a timeout or slow calls did.
    """

    retry_after: float | None
    last_error: BaseException | None


class Permit:
    """The call may start; settle it exactly once, in a `finally`.

    Attributes:
        is_probe: whether it holds a slot of a half-open breaker.
    """

    __slots__ = ("_breaker", "_generation", "is_probe")

    def __init__(
        self,
        breaker: CircuitBreaker,
        generation: int | None,
        is_probe: bool = False,  # noqa: FBT001, FBT002 - a keyword costs, once per call
    ) -> None:
        self._breaker: CircuitBreaker | None = breaker
        self._generation = generation
        self.is_probe: bool = is_probe

    def __repr__(self) -> str:
        settled = ", settled" if self._breaker is None else ""
        return f"<{'probe' if self.is_probe else 'permit'}{settled}>"

    def settle(
        self, now: float, counted: Counted, elapsed: float, error: BaseException | None = None
    ) -> None:
        """The call has ended.

        Args:
            now: when, in seconds on the clock of `admit`.
            counted: how.
            elapsed: seconds that it took.
            error: what it raised, to show it to those who are refused because of it.

        Raises:
            RuntimeError: if the permit was settled before.
        """
        breaker = self._breaker
        if breaker is None:
            raise RuntimeError("this permit has been settled; a call has one end")
        self._breaker = None
        if self._generation == breaker._generation:  # noqa: SLF001 - two halves of one thing
            breaker._settle(self, now, counted, elapsed, error)  # noqa: SLF001


@frozen(kw_only=True)
class BreakerSnapshot:
    """A breaker at one moment.

    Attributes:
        name: its name.
        mode: its mode.
        state: its state. One that is open stays so until somebody calls, however late that is.
        retry_after: seconds until a call may be let through, 0 if the next one would be a probe;
            None where calls are let through anyway, and for a breaker that is forced open.
        calls: successes and failures in the window.
        failures: failures in the window.
        slow: slow calls in the window.
        failures_in_a_row: failures since the last success.
        last_error: the error that opened it; None if a timeout or slow calls did, or it is closed.
    """

    name: str
    mode: BreakerMode
    state: BreakerState
    retry_after: float | None
    calls: int
    failures: int
    slow: int
    failures_in_a_row: int
    last_error: BaseException | None


class CircuitBreaker:
    """A breaker at work. Not thread-safe: one event loop uses it.

    Args:
        policy: what it goes by.
        name: what it is called in events and errors.
        random: a source of uniform random numbers in [0, 1), asked once per trip.
        on_change: told of each transition, once it has happened.

    Attributes:
        passing: while everybody is let through, what `count_ok` wants to know of a call that starts
            now, and needs no permit; else None.
    """

    __slots__ = (
        "_counts",
        "_failures_in_a_row",
        "_generation",
        "_last_error",
        "_leases",
        "_on_change",
        "_open_for",
        "_random",
        "_slow_after",
        "_state",
        "_succeeded",
        "_until",
        "name",
        "passing",
        "policy",
    )

    def __init__(
        self,
        policy: Breaker,
        name: str,
        random: Callable[[], float],
        on_change: OnChange | None = None,
    ) -> None:
        self.policy: Breaker = policy
        self.name: str = name
        self._random = random
        self._on_change = on_change
        self._state = BreakerState.CLOSED
        self._generation = 0
        self.passing: int | None = {"off": -1, "forced_open": None}.get(policy.mode, 0)
        self._counts = SlidingCounts(policy.window, counters=4)
        self._slow_after = inf if policy.slow_after is None else policy.slow_after
        self._failures_in_a_row = 0
        self._open_for = policy.open_for
        """How long the next trip lasts, jitter aside."""
        self._until = 0.0
        """When an open breaker may let a probe through."""
        self._leases: dict[Permit, float] = {}
        """The probes that are under way, and when each loses its slot."""
        self._succeeded = 0
        """How many probes have succeeded."""
        self._last_error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<breaker {self.name!r}, {self.policy.mode}, {self.state}>"

    @property
    def state(self) -> BreakerState:
        """Its state; in the modes `off` and `forced_open` closed and open for good."""
        return BreakerState.OPEN if self.policy.mode == "forced_open" else self._state

    @property
    def is_closed(self) -> bool:
        """Whether it holds nobody back, half open included; one that refuses nothing is closed."""
        return self.policy.mode != "on" or self._state is BreakerState.CLOSED

    def count_ok(self, generation: int | None, now: float, elapsed: float) -> None:
        """A call that started while it was `passing` has succeeded: as a permit's `settle`."""
        if generation != self._generation:
            return
        if elapsed > self._slow_after:
            self._settle_closed(now, _OK, elapsed, None)
            return
        counts = self._counts
        counts.add(now, _CALLS)
        self._failures_in_a_row = 0
        sums = counts.sums
        if (sums[_FAILURES] or sums[_SLOW]) and self._is_reached():
            self._trip(now, None)

    def admit(self, now: float) -> Permit | BreakerRefusal:
        """Whether a call may start now; may be the transition from open to half open."""
        if self._state is BreakerState.CLOSED:
            # A breaker that is off, or forced open, never leaves this state.
            mode = self.policy.mode
            if mode == "forced_open":
                return BreakerRefusal(None, None)
            return Permit(self, None if mode == "off" else self._generation)
        if self._state is BreakerState.OPEN and now >= self._until:
            self._move(BreakerState.HALF_OPEN, now)
        free_at = self._free_at(now)
        if free_at <= now:
            permit = Permit(self, self._generation, True)
            self._leases[permit] = now + self.policy.probe_max
            return permit
        if self.policy.mode == "metrics_only":
            return Permit(self, None)
        return BreakerRefusal(free_at - now, self._last_error)

    def snapshot(self, now: float) -> BreakerSnapshot:
        """What it counts and does now; asking changes nothing, so any thread may."""
        calls, failures, slow, _ = self._counts.at(now)
        shut = self._state is not BreakerState.CLOSED
        return BreakerSnapshot(
            name=self.name,
            mode=self.policy.mode,
            state=self.state,
            retry_after=max(0.0, self._free_at(now) - now) if shut else None,
            calls=calls,
            failures=failures,
            slow=slow,
            failures_in_a_row=self._failures_in_a_row,
            last_error=self._last_error,
        )

    def refused_for(self, now: float) -> float:
        """Seconds for which a call would be refused from now on: 0 if it would be let through."""
        if self.policy.mode == "forced_open":
            return inf
        if self.policy.mode != "on" or self._state is BreakerState.CLOSED:
            return 0.0
        return max(0.0, self._free_at(now) - now)

    def _free_at(self, now: float) -> float:
        """When a breaker that is not closed lets a probe through; `now` or earlier for at once."""
        if self._state is BreakerState.OPEN:
            return self._until
        held = [until for until in tuple(self._leases.values()) if until > now]
        return now if len(held) + self._succeeded < self.policy.probes else min(held)

    def _settle(
        self,
        permit: Permit,
        now: float,
        counted: Counted,
        elapsed: float,
        error: BaseException | None,
    ) -> None:
        """A call of this generation has ended. The breaker is not open: it has given no permit."""
        if self._state is BreakerState.CLOSED:
            self._settle_closed(now, counted, elapsed, error)
            return
        del self._leases[permit]
        if counted is _ERROR or counted is _OWN_TIMEOUT:
            self._trip(now, error)
        elif counted is _OK:
            self._succeeded += 1
            if self._succeeded == self.policy.probes:
                self._close(now)

    def _settle_closed(
        self, now: float, counted: Counted, elapsed: float, error: BaseException | None
    ) -> None:
        if self._count(now, counted, elapsed) and self._is_reached():
            self._trip(now, error)

    def _count(self, now: float, counted: Counted, elapsed: float) -> bool:
        """Count a call of a closed breaker; whether anything that is counted speaks against it."""
        counts = self._counts
        sums = counts.advance(now)
        slow = counted is _OWN_TIMEOUT or (
            elapsed > self._slow_after and (counted is _OK or counted is Counted.ANCESTORS_TIMEOUT)
        )
        if counted is _OK:
            counts.add(now, _CALLS)
            self._failures_in_a_row = 0
        elif counted is _ERROR or counted is _OWN_TIMEOUT:
            counts.add(now, _CALLS)
            counts.add(now, _FAILURES)
            self._failures_in_a_row += 1
        elif slow:
            counts.add(now, _SLOW_ONLY)
        else:
            return False
        if slow:
            counts.add(now, _SLOW)
        return bool(sums[_FAILURES] or sums[_SLOW])

    def _is_reached(self) -> bool:
        """Whether one of the thresholds is."""
        policy = self.policy
        calls, failures, slow, slow_only = self._counts.sums
        return (
            (policy.consecutive is not None and self._failures_in_a_row >= policy.consecutive)
            or (calls >= policy.min_calls and failures / calls >= policy.failure_rate)
            or (
                policy.slow_rate is not None
                and calls + slow_only >= policy.min_calls
                and slow / (calls + slow_only) >= policy.slow_rate
            )
        )

    def _trip(self, now: float, error: BaseException | None) -> None:
        self._until = now + self._open_for * (1.0 + _JITTER * (2.0 * self._random() - 1.0))
        self._open_for = min(2.0 * self._open_for, self.policy.max_open_for)
        self._last_error = error
        self._move(BreakerState.OPEN, now)

    def _close(self, now: float) -> None:
        self._counts.clear()
        self._failures_in_a_row = 0
        self._open_for = self.policy.open_for
        self._last_error = None
        self._move(BreakerState.CLOSED, now)

    def _move(self, new: BreakerState, now: float) -> None:
        old, self._state = self._state, new
        self._generation += 1
        self.passing = self._generation if new is BreakerState.CLOSED else None
        self._leases.clear()
        self._succeeded = 0
        if self._on_change is not None:
            self._on_change(old, new, now)
