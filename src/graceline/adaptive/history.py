"""The durations of the last calls, some of them censored, and their exact Kaplan-Meier quantiles.

A call that was cut is *right-censored*: all we know is that it would have taken at least so long.
The product-limit estimate (Kaplan & Meier 1958, J. Am. Stat. Assoc. 53:457) uses that knowledge.
With `r` samples that have lasted at least until the event at time x, `e` of which end there,

    S(x) = product over the event times up to x of (r - e) / r

is the share of calls that take longer than x. Between two censored samples the product telescopes,
so one step per censored sample is enough, with one binary search among the events: O(k log n) for
k censored samples. A quantile that lies below all of them, as most do, needs none: up to there the
estimate is the plain share of samples, so it is the n-th shortest event.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from math import ceil, copysign, inf, isfinite, nextafter
from typing import Any, ClassVar, TypeAlias

__all__ = ["DurationHistory", "Sample", "Survival"]

Sample: TypeAlias = tuple[float, float, bool]
"""When (any number that grows), how long (seconds), and whether that is only a lower bound."""

_ROUNDING = 1.0 + 1e-9
"""Two ways to multiply the same fractions differ in the last digits; a tie must stay a tie."""


class DurationHistory:
    """A window over the newest samples, with the quantiles of their product-limit estimate.

    Every sample has a stamp `at`, by which histories are merged; stamps grow strictly within one
    history. Nothing here reads a clock: without a stamp from the caller (such as Unix time, to be
    comparable between machines) a sample gets the number after the newest one.

    Args:
        window: how many samples are kept, at least 1.

    Raises:
        ValueError: for a window below 1.
    """

    __slots__ = ("_ats", "_censored", "_curve", "_events", "_signed", "window")

    def __init__(self, window: int = 256) -> None:
        if window < 1:
            raise ValueError(f"window: {window!r} samples are too few; write at least 1")
        self.window: int = window
        # Arrays instead of lists of tuples: a quarter of the memory. The sign says `censored`.
        self._ats: array[float] = array("d")
        self._signed: array[float] = array("d")
        self._events: array[float] = array("d")
        self._censored: array[float] = array("d")
        self._curve: Survival | None = None
        """The estimate, from the first question that needs it to the next sample."""

    def __len__(self) -> int:
        """How many samples are in the window."""
        return len(self._ats)

    def __eq__(self, other: object) -> bool:
        """Whether the other history has the same window and the same samples."""
        if not isinstance(other, DurationHistory):
            return NotImplemented
        return self.window == other.window and self.samples() == other.samples()

    __hash__: ClassVar[None]  # type: ignore[assignment]  # it changes with every sample

    def __repr__(self) -> str:
        return f"<{len(self)} of {self.window} durations, {len(self._censored)} censored>"

    @property
    def completions(self) -> int:
        """How many samples are not censored."""
        return len(self._events)

    @property
    def newest(self) -> float:
        """The stamp of the newest sample; `-inf` if there is none."""
        return self._ats[-1] if self._ats else -inf

    @property
    def last(self) -> Sample | None:
        """The newest sample; None if there is none."""
        if not self._ats:
            return None
        signed = self._signed[-1]
        return self._ats[-1], abs(signed), copysign(1.0, signed) < 0

    @property
    def oldest(self) -> float:
        """The stamp of the oldest sample; `-inf` if there is none."""
        return self._ats[0] if self._ats else -inf

    @property
    def longest_censored(self) -> float:
        """The longest censored sample in seconds; `-inf` if there is none."""
        return self._censored[-1] if self._censored else -inf

    @property
    def censored_share(self) -> float:
        """The share of samples that are censored, which the tail cannot exceed; 0 if empty."""
        return len(self._censored) / len(self._ats) if self._ats else 0.0

    def samples(self, after: float = -inf) -> list[Sample]:
        """The samples with a stamp above `after`, oldest first."""
        start = bisect_right(self._ats, after)
        return [
            (at, abs(signed), copysign(1.0, signed) < 0)
            for at, signed in zip(self._ats[start:], self._signed[start:], strict=True)
        ]

    def add(self, duration: float, *, censored: bool = False, at: float | None = None) -> bool:
        """Add a sample; the oldest leaves a full window. Returns whether it was kept.

        A censored sample below the shortest event is not kept: it cannot move any quantile, and a
        flood of early cancels would push out what can.

        Args:
            duration: seconds, `>= 0` and finite.
            censored: whether the call would have taken longer.
            at: its stamp; one that is not above the newest becomes the next number after that.

        Raises:
            ValueError: for a negative or infinite duration or NaN, or a stamp that is not finite.
        """
        if not 0.0 <= duration < inf:
            raise ValueError(f"duration: {duration!r} is not a number of seconds >= 0")
        if at is not None and not isfinite(at):
            raise ValueError(f"at: {at!r} is no stamp; write a finite number")
        duration += 0.0  # -0.0 has the sign of its opposite
        if censored:
            if self._events and duration < self._events[0]:
                return False
            ordered = self._censored
            self._signed.append(-duration)
        else:
            ordered = self._events
            self._signed.append(duration)
        self._curve = None
        # `insort` calls the method of an array by its name, which takes half as long again.
        ordered.insert(bisect_right(ordered, duration), duration)
        ats = self._ats
        newest = ats[-1] if ats else 0.0
        if at is None:
            at = newest + 1.0
        if at <= newest and ats:
            at = nextafter(newest, inf)
        ats.append(at)
        if len(ats) > self.window:
            self._drop_oldest()
        return True

    def keep_last(self, count: int) -> None:
        """Forget all but the newest `count` samples."""
        self._curve = None
        while len(self._ats) > count:
            self._drop_oldest()

    def keep_from(self, at: float) -> None:
        """Forget all samples with a stamp below `at`."""
        self.keep_last(len(self._ats) - bisect_left(self._ats, at))

    def _drop_oldest(self) -> None:
        signed = self._signed.pop(0)
        del self._ats[0]
        if signed > 0.0 or copysign(1.0, signed) > 0.0:
            del self._events[bisect_left(self._events, signed)]
        else:
            del self._censored[bisect_left(self._censored, -signed)]

    def quantile(self, p: float) -> float | None:
        """The shortest duration that a share `p` of all calls does not exceed, in seconds.

        `p` lies between 0 and 1. None if the window does not say: nothing has completed, or too
        much is censored.
        """
        events, censored = self._events, self._censored
        needed = ceil((len(events) + len(censored)) * (1.0 - (1.0 - p) * _ROUNDING))
        if 0 < needed <= len(events):
            duration = events[needed - 1]
            if not censored or duration <= censored[0]:
                return duration
        return self.curve().quantile(p)

    def tail(self) -> float:
        """The share of calls that outlast the longest sample; 0 if that one has completed."""
        events, censored = self._events, self._censored
        if not censored or (events and censored[-1] < events[-1]):
            return 0.0
        return self.curve().tail

    def curve(self) -> Survival:
        """The product-limit estimate of the window as it is now."""
        if self._curve is None:
            self._curve = self._product_limit()
        return self._curve

    def _product_limit(self) -> Survival:
        """The estimate, in one pass."""
        events, censored = self._events, self._censored
        count = len(events)
        survival, at_risk, done = 1.0, count + len(censored), 0
        survivals: list[float] = []
        ends: list[int] = []
        following = events[0] if count else inf
        for duration in censored:
            if following <= duration:
                end = done + 1
                following = events[end] if end < count else inf
                if following <= duration:
                    end = bisect_right(events, duration, end)
                    following = events[end] if end < count else inf
                left = at_risk - end + done
                survival *= left / at_risk
                survivals.append(survival)
                ends.append(end)
                at_risk, done = left, end
            at_risk -= 1
        if done < count:
            survivals.append(0.0)
            ends.append(count)
            survival = 0.0
        return Survival(events, censored, survivals, ends, survival if censored else 0.0)

    def merge(self, other: DurationHistory) -> DurationHistory:
        """The newest samples of both, as a new history; equal samples count once.

        The window is the smaller one. Merging is commutative, associative and idempotent, so
        replicas may exchange histories in any order and as often as they like.
        """
        window = min(self.window, other.window)
        if self.newest < other.oldest:
            return self._followed_by(other, window)
        if other.newest < self.oldest:
            return other._followed_by(self, window)
        return DurationHistory.of((*self.samples(), *other.samples()), window)

    def _followed_by(self, later: DurationHistory, window: int) -> DurationHistory:
        """The merge with samples that are all newer, such as those since the last time."""
        merged = DurationHistory(window)
        merged._ats = self._ats + later._ats
        merged._signed = self._signed + later._signed
        merged._events = array("d", sorted(self._events + later._events))
        merged._censored = array("d", sorted(self._censored + later._censored))
        merged.keep_last(window)
        return merged

    @classmethod
    def of(cls, samples: Iterable[Sample], window: int = 256) -> DurationHistory:
        """A history of the newest of some samples, exactly as they are; equal ones count once.

        Raises:
            ValueError: for a duration or a stamp that is no finite number.
        """
        distinct = set(samples)
        if not all(isfinite(at) and 0.0 <= duration < inf for at, duration, _ in distinct):
            raise ValueError("this history has a duration or a stamp that is no finite number")
        history = cls(window)
        history._fill(distinct)
        return history

    def _fill(self, samples: Iterable[Sample]) -> None:
        """Take over the newest samples, as they are."""
        newest = sorted(samples)[-self.window :]
        self._ats = array("d", [at for at, _, _ in newest])
        self._signed = array("d", [-length if open_ else length for _, length, open_ in newest])
        self._events = array("d", sorted(length for _, length, open_ in newest if not open_))
        self._censored = array("d", sorted(length for _, length, open_ in newest if open_))

    def dump(self) -> dict[str, Any]:
        """The history as plain JSON types; `load` gives back exactly the same."""
        samples = [[at, duration, int(censored)] for at, duration, censored in self.samples()]
        return {"window": self.window, "samples": samples}

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> DurationHistory:
        """Read what `dump` wrote.

        Raises:
            ValueError: if the document is something else.
        """
        try:
            window = int(document["window"])
            samples = [
                (float(at), float(duration) + 0.0, bool(censored))  # + 0.0 makes -0.0 positive
                for at, duration, censored in document["samples"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no history that was dumped: {document!r:.80}") from error
        return cls.of(samples, window)


class Survival:
    """The share of calls that take longer than so long: a product-limit estimate.

    It is for use at once: it looks at the samples of its history, which go on changing.

    Attributes:
        tail: what is left of it after the longest sample; 0 if that one has completed.
    """

    __slots__ = ("_censored", "_ends", "_events", "_survivals", "tail")

    def __init__(
        self,
        events: array[float],
        censored: array[float],
        survivals: list[float],
        ends: list[int],
        tail: float,
    ) -> None:
        self._events = events
        self._censored = censored
        # One entry per run of events without a censored sample in between.
        self._survivals = survivals
        self._ends = ends
        self.tail: float = tail

    def quantile(self, p: float) -> float | None:
        """The shortest duration that a share `p` of all calls does not exceed, in seconds.

        `p` lies between 0 and 1. None if the estimate does not reach that share, or nothing has
        completed.
        """
        threshold = (1.0 - p) * _ROUNDING
        survivals, ends, events = self._survivals, self._ends, self._events
        at = len(survivals)
        # From the end, where the quantiles lie that are asked for.
        while at and survivals[at - 1] <= threshold:
            at -= 1
        if at == len(survivals):
            return None
        before, start = (survivals[at - 1], ends[at - 1]) if at else (1.0, 0)
        left_early = bisect_left(self._censored, events[start])
        at_risk = len(events) - start + len(self._censored) - left_early
        needed = ceil(at_risk * (1.0 - threshold / before))
        return events[min(max(start + needed, start + 1), ends[at]) - 1]
