"""The learner: which limit should the next call get?

The problem
===========

The obvious learner takes the p95 of the last successes, times a margin. It shrinks itself to death:
a call that it cuts is no success, so the slow half of the calls is never seen, and the p95 can only
fall. Once the service has slowed down past the limit, every call is cut and nothing can ever raise
it. The obvious repair, to record a cut call at the maximum, drags the limit to its ceiling as soon
as some calls hang. And an error after 2 ms is no proof that answers take 2 ms.

The equations
=============

Four parts, each of which answers one failure of the simpler ones:

1. *The censored window.* A cut call says that it would have taken at least so long. The product
   limit (Kaplan & Meier 1958) makes of such samples an honest quantile q, see `history`.
2. *The conformal margin.* The limit is q * e**u, and after every call whose outcome is known

       u += gain * (missed - alpha)

   where `missed` is 1 if the limit was too short for it. Whatever the tail looks like, u stands
   still only where the share of misses is alpha (Gibbs & Candes 2021, "Adaptive conformal inference
   under distribution shift"; Angelopoulos, Candes & Tibshirani 2023, "Conformal PID control for
   time series prediction", whose P-control this is, in the logarithm).
3. *Probes and certificates.* Below the limit, slow and hung look alike: how many calls would never
   finish is identified only by a follow-up that is long enough. So now and then a call runs to the
   ceiling. If it finishes, it is an event like others. If it does not, it certifies hangs for the
   next `reprobe` own timeouts: the mass of the tail counts as hung, and q is the quantile of those
   that do finish. Hangs stay cheap, and nobody needs to know in advance whether there are any.
4. *Alarm and boost.* A CUSUM (Page 1954, "Continuous inspection schemes", Biometrika 41) adds
   log(p1 / p0) for a miss and log((1 - p1) / (1 - p0)) for a call in time. At `alarm_at` the limit
   is multiplied by `boost` for a trial. Two calls that finish, and that the limit would have cut,
   confirm a shift: what came before it is forgotten. None, and it was a false alarm.

Until `warm_at` calls have completed, the way down from the configured limit is gradual, on the
logarithmic scale; the way up is never held back.

Which limit a call had, and whether that limit cut it, is told by its `lease`.

Why no clock and no chance
==========================

The same calls give the same limits: what a learner did can be replayed from its history. Reading a
limit (`peek`) changes nothing; a limit that drifts because somebody looked is a bug that only
monitoring provokes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import exp, inf, isfinite, log, pow  # noqa: A004 - the one for floats
from typing import Any

import attrs

from graceline.adaptive.history import DurationHistory
from graceline.adaptive.lease import Lease
from graceline.adaptive.settings import Settings

__all__ = ["Learner"]

_MOST_IN_FLIGHT = 64
"""Leases that are never settled must not make a learner wait for ever."""

_STATE: dict[str, Callable[[Any], float]] = {
    **dict.fromkeys(("margin", "alarm", "base", "boost", "held", "certified", "hang"), float),
    **dict.fromkeys(("run", "slow", "hold", "since_certificate"), int),
    "reprobe": float,
    "warm": bool,
    "wants_probe": bool,
}
"""What is dumped beside the history: the attribute without its underscore, and its type."""


class Learner:
    """Learns one limit from the calls that it is used for. Not thread-safe.

    Args:
        initial: the limit in seconds before anything is known; clamped to the bounds.
        floor: the lowest limit in seconds, above 0.
        ceiling: the highest limit in seconds; what takes longer counts as hung.
        alpha: the share of healthy calls that may be cut, above 0 and below 0.5.
        **constants: the other fields of `Settings`.

    Raises:
        ValueError: if one of them is out of its range.
        TypeError: for a constant that `Settings` does not have.
    """

    __slots__ = (
        "_alarm", "_base", "_boost", "_certified", "_hang", "_held", "_hold", "_in_flight",
        "_margin", "_patience", "_reprobe", "_run", "_since_certificate", "_slow", "_wants_probe",
        "_warm", "history", "listener", "settings",
    )  # fmt: skip

    def __init__(
        self,
        initial: float = 1.0,
        floor: float = 0.005,
        ceiling: float = 3.0,
        alpha: float = 0.01,
        **constants: float,
    ) -> None:
        self._begin(Settings(initial, floor, ceiling, alpha, **constants))  # type: ignore[arg-type]  # counts are floats to a type checker

    @classmethod
    def of(cls, settings: Settings) -> Learner:
        """A learner with all its constants in one object."""
        learner = cls.__new__(cls)
        learner._begin(settings)
        return learner

    def _begin(self, settings: Settings) -> None:
        self.settings: Settings = settings
        self.history: DurationHistory = DurationHistory(settings.window)
        self.listener: Callable[[Learner, Lease], object] | None = None
        """Called after every settled lease."""
        self._margin: float = settings.log_margin
        """u, the logarithm of the factor between quantile and limit."""
        self._alarm: float = 0.0
        """The CUSUM."""
        self._run: int = 0
        """Samples since the CUSUM left zero: those after a change, if there was one."""
        self._base: float = settings.start
        """The limit without boost."""
        self._boost: float = 1.0
        self._slow: int = 0
        """Calls under the boost that finished after `_base`; the second one confirms a shift."""
        self._held: float = 0.0
        """After a shift the limit is not below this while `_hold` lasts."""
        self._hold: int = 0
        """Calls that may still belong to the time before the last alarm or shift."""
        self._since_certificate: int = -1
        """Own timeouts since a call reached the ceiling; -1 without a certificate."""
        self._certified: float = 0.0
        """The mass of the tail when the last certificate was given."""
        self._hang: float = 0.0
        """The share of calls that are taken to be hung."""
        self._warm: bool = False
        self._wants_probe: bool = False
        self._reprobe: float = settings.reprobe
        # What is in flight is no part of what was learned: it is not dumped.
        self._in_flight: int = 0
        self._patience: int = 0
        """Settled leases after which a probe that nobody settled is given up."""

    def __repr__(self) -> str:
        return f"<limit {self.peek():g} s learned from {self.history!r}>"

    def peek(self) -> float:
        """The limit of an ordinary call that would start now, in seconds; changes nothing."""
        limit, ceiling = self._base * self._boost, self.settings.ceiling
        return limit if limit < ceiling else ceiling

    @property
    def boost(self) -> float:
        """The factor by which an alarm has raised the limit for a trial; 1 without one."""
        return self._boost

    def issue(self) -> Lease:
        """The limit for a call that starts now; now and then a probe, which runs to the ceiling."""
        self._in_flight += 1
        if self._wants_probe and not self._patience:
            self._patience = min(self._in_flight, _MOST_IN_FLIGHT)
            return Lease(self, self.settings.ceiling, True)
        limit, ceiling = self._base * self._boost, self.settings.ceiling  # `peek`, without a call
        return Lease(self, limit if limit < ceiling else ceiling, False)

    def _declined(self) -> float:
        """A probe was declined: the next call may be one. Returns the ordinary limit."""
        self._patience = 0
        return self.peek()

    def _settle(
        self, lease: Lease, elapsed: float, at: float | None, censored: bool, own: bool
    ) -> None:
        if lease.settled:
            raise RuntimeError("this lease has been settled; a call has one end")
        lease.settled = True
        self._in_flight -= 1
        if self._patience:
            self._patience -= 1
        if not censored and 0.0 <= elapsed <= self._base and self._boost == 1.0 and not self._alarm:
            self._in_time(elapsed, at)
        elif elapsed >= 0.0:  # NaN is not
            self._observe(lease.timeout, elapsed, at, censored, own)
        if self.listener is not None:
            self.listener(self, lease)

    def _in_time(self, duration: float, at: float | None) -> None:
        """What `_observe` comes to for nearly every call: it was in time, and nothing is odd."""
        settings, history = self.settings, self.history
        if self._hang == 0.0 and len(history) >= settings.warm_at:
            margin, low = self._margin - settings.gain * settings.alpha, settings.log_margin_low
            self._margin = margin if margin > low else low
        history.add(duration, at=at)
        self._run = 0
        if self._hold:
            self._hold -= 1
        if self._since_certificate < 0 and not self._certified and history.longest_censored < 0.0:
            self._hang, self._wants_probe = 0.0, False  # as `_update` has it, without a tail
            self._follow(history.quantile(settings.quantile))
        else:
            self._update(False)

    def _observe(
        self, issued: float, duration: float, at: float | None, censored: bool, own: bool
    ) -> None:
        settings = self.settings
        hung = duration > settings.ceiling or (censored and duration >= settings.hung_from)
        if hung:
            duration, censored = settings.ceiling, True
        slow = not censored and duration > self._base
        missed = slow or hung or own or (censored and duration >= 0.95 * min(self._base, issued))
        if missed or not censored:
            self._adapt(missed, slow or hung or (missed and duration >= 0.95 * self.peek()))
        kept = self.history.add(duration, censored=censored, at=at)
        if not (kept or missed):
            return  # an early cancel from outside says nothing at all
        self._run = self._run + 1 if self._alarm > 0.0 else 0
        if self._hold:
            self._hold -= 1
        if hung:
            self._certify()
        else:
            if missed and censored and self._since_certificate >= 0:
                self._since_certificate += 1
            if self._boost > 1.0:
                self._judge(slow)
            if self._alarm >= settings.alarm_at:
                self._raise_alarm()
        self._update(hung)

    def _adapt(self, missed: bool, current: bool) -> None:
        """Move the margin and the CUSUM by a call whose outcome is known.

        `current` says that a call missed the limit of now, boost and all.
        """
        settings = self.settings
        usual = self._boost == 1.0
        if usual and self._hang == 0.0 and len(self.history) >= settings.warm_at:
            margin = self._margin + settings.gain * (missed - settings.alpha)
            self._margin = min(max(margin, settings.log_margin_low), settings.log_margin_high)
        if missed:
            # A call that was cut by the limit before the boost must not boost it once more.
            if usual or current:
                hangs = min(self._hang, self._certified)
                rate = min(0.5, settings.alpha + hangs * (1.0 - settings.alpha))
                self._alarm += log((rate + settings.alarm_gap * (1.0 - rate)) / rate)
        elif self._alarm > 0.0 and (usual or not self._hold):
            self._alarm = max(0.0, self._alarm + settings.relief)

    def _certify(self) -> None:
        """A call has reached the ceiling: what the alarm and the margin made of it was wrong."""
        settings = self.settings
        self._since_certificate = 0
        self._boost = max(1.0, self._boost / settings.boost)
        self._slow = self._run = 0
        self._alarm = 0.0
        self._margin = min(self._margin, settings.log_margin)

    def _judge(self, slow: bool) -> None:
        """Another call under the boost: a shift, a false alarm, or too early to say."""
        self._slow += slow
        if self._slow >= 2:
            self._shift()
        elif self._alarm == 0.0:
            self._boost = 1.0
            self._slow = 0

    def _shift(self) -> None:
        """The service has changed: forget what was before, and do not fall back at once."""
        self.history.keep_last(max(1, self._run))
        self._held = self.peek()
        self._hold = self.settings.restart + min(self._in_flight, _MOST_IN_FLIGHT)
        self._warm = True
        self._boost = 1.0
        self._alarm = 0.0
        self._slow = self._run = 0

    def _raise_alarm(self) -> None:
        settings = self.settings
        self._alarm = settings.alarm_at / 2.0
        if not 0 <= self._since_certificate < self._reprobe:
            most = settings.boost * settings.ceiling / self._base
            self._boost = min(self._boost * settings.boost, most)
            self._hold = min(self._in_flight, _MOST_IN_FLIGHT)
            self._held = 0.0

    def _update(self, certify: bool) -> None:
        """The limit that follows from the window, the margin and the certificate."""
        settings, history = self.settings, self.history
        fresh = 0 <= self._since_certificate < self._reprobe
        certified = self._certified > 0.0
        if certified and not fresh and history.longest_censored < settings.hung_from:
            certified = False
            self._since_certificate = -1
            self._certified = 0.0
        # Without a certificate all that matters of the tail is whether it is too much.
        excess = settings.excess * settings.alpha
        asked = fresh or certified or history.censored_share > excess
        tail = history.tail() if asked else 0.0
        if certify:
            self._certified = tail
        hang = self._hang = tail if fresh or tail < self._certified else self._certified
        # Of the calls that do finish.
        self._follow(history.quantile(settings.quantile * (1.0 - hang)))
        self._wants_probe = not fresh and (
            self._boost > 1.0 or hang > 0.0 or (tail - hang > excess and len(history) >= 3)
        )

    def _follow(self, quantile: float | None) -> None:
        """The limit that follows from a quantile."""
        settings = self.settings
        if not self._warm:
            # Of calls that run at once the fast ones end first; those in flight may be slow.
            unheard = min(self._in_flight, _MOST_IN_FLIGHT)
            self._warm = self.history.completions >= settings.warm_at + unheard
        limit = self._base
        if quantile is not None:
            limit = quantile * exp(self._margin)
            spread = settings.ceiling / quantile if quantile else inf
            least, most = settings.reprobe, settings.reprobe_most
            self._reprobe = least if spread < least else most if spread > most else spread
            if not self._warm and limit < settings.initial:
                limit = self._blend(limit)
        if self._hold and limit < self._held:
            limit = self._held
        low, high = settings.floor, settings.ceiling  # spelled out: `min` and `max` are slow
        self._base = low if limit < low else high if limit > high else limit

    def _blend(self, limit: float) -> float:
        """The way down from `initial`, on the logarithmic scale."""
        settings = self.settings
        # Completions: if cut calls counted, a cut call could lower the limit.
        unheard = min(self._in_flight, _MOST_IN_FLIGHT)
        known = self.history.completions - settings.warm_from - unheard
        share = min(max(known / (settings.warm_at - settings.warm_from), 0.0), 1.0)
        return settings.initial * pow(max(limit, settings.floor) / settings.initial, share)

    def merge(self, other: DurationHistory) -> None:
        """Learn from calls of another replica: the newest samples of both make the new window."""
        self.history = self.history.merge(other)
        self._update(False)

    def state(self) -> dict[str, float]:
        """What was learned beside the history: a few numbers.

        `since` is the stamp from which on samples count: what came before was forgotten.
        """
        numbers: dict[str, float] = {name: getattr(self, f"_{name}") for name in _STATE}
        return {**numbers, "since": self.history.oldest if len(self.history) else 0.0}

    def restore(self, state: Mapping[str, float], history: DurationHistory) -> None:
        """Go on where another learner was, with one's own settings; calls in flight do not count.

        Raises:
            ValueError: if the state is none that `state` gave; nothing is changed then.
        """
        settings = self.settings
        try:
            values = {name: _STATE[name](state[name]) for name in _STATE}
            since = float(state["since"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"this is no state of a learner: {error!r}") from error
        if not all(map(isfinite, (since, *values.values()))):
            raise ValueError("this state of a learner has a number that is not finite")
        # The settings may have changed since; whatever stands there, the bounds hold.
        values["base"] = min(max(values["base"], settings.floor), settings.ceiling)
        most = settings.boost * settings.ceiling / settings.floor
        values["boost"] = min(max(values["boost"], 1.0), most)
        low, high = settings.log_margin_low, settings.log_margin_high
        values["margin"] = min(max(values["margin"], low), high)
        values["alarm"] = min(max(values["alarm"], 0.0), settings.alarm_at)
        values["hold"] = min(values["hold"], settings.restart + _MOST_IN_FLIGHT)
        for name, value in values.items():
            setattr(self, f"_{name}", value)
        self.history = history
        history.keep_from(since)

    def dump(self) -> dict[str, Any]:
        """Settings, state and history as plain JSON types; `load` gives back exactly the same."""
        return {
            "settings": attrs.asdict(self.settings),
            "state": self.state(),
            "history": self.history.dump(),
        }

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Learner:
        """Read what `dump` wrote.

        Raises:
            ValueError: if the document is something else.
        """
        try:
            learner = cls.of(Settings(**document["settings"]))
            state, history = document["state"], document["history"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no learner that was dumped: {error!r}") from error
        learner.restore(state, DurationHistory.load(history))
        return learner
