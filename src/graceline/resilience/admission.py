"""Predicted admission: a run that cannot be in time is refused before it takes anybody's time.

Beyond its capacity a queue, first in first out, keeps everybody waiting until nearly all of their
time is gone, and then the slots work for runs that will be cut: at twice the capacity a fifth of
the runs finish in time and four fifths of the slot time are wasted. So a run is looked at twice.

*On arrival.* With q runs in the queue of c busy slots it starts at the (q + 1)-th end of a run, and
c slots end c runs in the time that one holds its slot on average. Sums of durations go by the mean
of those in line, of whatever pipeline; what the run itself needs is of its own:

    wait = (q + 1) * held / c, or 0 if a slot is free
    refuse, if wait + p50 > remaining
    refuse, if there is a wait, and wait + worth > remaining

How long the active runs have run already is left out: with many slots their ends are spread evenly,
and with one slot it is a part of one run.

*What is worth a slot.* Under overload the queue grows until those who are let in can just make it;
so all of them start with what the rule asks for. If that is the p50, half of them are cut: the
simulation of the tests then finishes 42 % of the runs and wastes 36 % of the time. Slots that start
runs with r left finish this many per second:

    F(r) / (integral of 1 - F from 0 to r),    F(r) the share of durations of at most r

`worth` is the least r, from the p50 upwards, that comes within 2 % of the best of these. With
lognormal durations of sigma 0.5 it is about the p93: 49 % finish, and 11 % of the time are wasted.
A fixed p90 would do that, too. But where the tail is long (sigma 1), it asks for so much that of
those who would have finished 5 % are refused at nine tenths of the load already; there `worth` is
about the p70, and nobody is.

*At the head of the queue.* Now the wait is known. A run is dropped if it finishes in what remains
with a probability below 5 % by the learned durations, that is if less than their p5 remains. (To
ask for the p50 there drops many that would have finished: nearly half of those that have just less
than the p50 left.)

Both say nothing before 20 runs have completed. And both let some of those through that they would
refuse, one in ten on arrival and one in 16 at the head: what is refused is never measured, and a
pipeline that was slow for a while would be refused for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from graceline.deadlines import Gate
from graceline.durations import format_duration
from graceline.values import frozen

__all__ = [
    "ENOUGH_RUNS",
    "Expected",
    "Load",
    "Predictor",
    "Refusal",
    "expected_wait",
    "retry_after",
]

ENOUGH_RUNS = 20
"""Runs that must have completed before their durations say anything."""

_STEPS = 20
"""The distribution of durations is looked at in steps of one twentieth: p5, p10, ... p95."""

_NEAR = 0.98
"""What comes so near to the best yield of a slot is as good, and asks for less time."""


@frozen
class Expected:
    """What is expected of the runs of one pipeline, by the durations of those before.

    All in seconds, from the slot to the end.

    Attributes:
        least: the p5; with less than this left, a run at the head of the queue is dropped.
        typical: the p50.
        worth: what a run should have left that is given a slot for which others wait.
        held: the mean.
    """

    least: float
    typical: float
    worth: float
    held: float

    @classmethod
    def of(
        cls, quantile: Callable[[float], float | None], longest: float, completed: int
    ) -> Expected | None:
        """Sum up durations; None below 20 that completed.

        Args:
            quantile: the shortest duration that a share of them does not exceed, None if that is
                not known.
            longest: the longest duration seen, cut ones included. What takes longer is taken to
                take so long: it is the least that it can be, and what it is cut at.
            completed: how many were not cut.
        """
        if completed < ENOUGH_RUNS:
            return None
        known = [quantile(step / _STEPS) for step in range(1, _STEPS)]
        points = [longest if point is None else point for point in known]
        half = _STEPS // 2
        worth = typical = points[half - 1]
        best = 0.0
        spent, before = 0.0, points[0]  # seconds per run up to this point, by the trapezoidal rule
        yields: list[tuple[float, float]] = []
        for step, point in enumerate(points, start=1):
            spent += (before + point) / 2 / _STEPS
            before = point
            if step >= half and known[step - 1] is not None:
                share = step / _STEPS
                # Per second of a slot; durations of 0 yield more than can be counted.
                rate = share / max(spent + (1 - share) * point, 1e-12)
                yields.append((rate, point))
                best = max(best, rate)
        if yields:
            worth = next(point for rate, point in yields if rate >= _NEAR * best)
        return cls(points[0], typical, worth, spent + (before + longest) / 2 / _STEPS)


@frozen
class Load:
    """How busy an engine is.

    Attributes:
        active: runs that hold a slot.
        slots: how many may, at least 1; `inf` for any number.
        queued: runs that wait for one.
        held: seconds from the slot to the end of a run, the mean over those that are active or
            queued. Runs that were cut count as they would have ended, or the wait comes out too
            short.
    """

    active: int
    slots: float
    queued: int
    held: float


@frozen
class Refusal:
    """Why a run is refused.

    Attributes:
        reason: in two or three words, the same for all runs.
        detail: the sum that was done, for people; empty if there was none.
        retry_after: seconds after which a new try makes sense, None if it never does.
    """

    reason: str
    detail: str = ""
    retry_after: float | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def expected_wait(load: Load) -> float:
    """Seconds until a run that comes now would have a slot; `load` is without it."""
    if load.active < load.slots:
        return 0.0
    return (load.queued + 1) * load.held / load.slots


def retry_after(
    load: Load, expected: Expected | None, budget: float, *, queue_full: bool = False
) -> float | None:
    """Seconds after which a run that was refused would be let in, if nobody else came meanwhile.

    Args:
        load: without the run.
        expected: of its pipeline; None if it is not known.
        budget: seconds that the run has in all.
        queue_full: whether it was refused since there was no place in the queue; it then has to
            wait for one at least.

    Returns:
        None if nobody can tell, or if the budget does not even suffice for an idle engine.
    """
    if expected is None or expected.typical > budget:
        return None
    place = load.held / load.slots if queue_full else 0.0
    return max(place, expected_wait(load) - max(0.0, budget - expected.worth))


class Predictor:
    """Looks at the runs of one pipeline, and counts whom it lets through after all.

    In the mode that only observes, ask it in the same way and count the refusals.
    """

    __slots__ = ("_arrival", "_head")

    def __init__(self) -> None:
        self._arrival = Gate(10)
        self._head = Gate(16)

    def on_arrival(
        self, load: Load, *, remaining: float, expected: Expected | None
    ) -> Refusal | None:
        """Whether to refuse a run that has just been submitted; None lets it in.

        Args:
            load: without the run.
            remaining: seconds that the run has left, `inf` without a limit.
            expected: of its pipeline; None if too few runs have completed.
        """
        if expected is None:
            return None
        wait = expected_wait(load)
        takes = expected.worth if wait > 0.0 else expected.typical
        if remaining >= wait + takes or not self._arrival.refuses():
            return None
        left, waits, needs = map(format_duration, (max(remaining, 0.0), wait, takes))
        return Refusal(
            "predicted too late",
            f"{left} are left, and about {waits} in the queue and {needs} for its work are needed",
            retry_after(load, expected, remaining),
        )

    def at_head(
        self, load: Load, *, remaining: float, budget: float, expected: Expected | None
    ) -> Refusal | None:
        """Whether to drop a run that is about to get a slot; None lets it have the slot.

        Args:
            load: without the run.
            remaining: seconds that the run has left, `inf` without a limit.
            budget: seconds that it had when it was submitted.
            expected: of its pipeline; None if too few runs have completed.
        """
        if expected is None or remaining >= expected.least or not self._head.refuses():
            return None
        left, takes = format_duration(max(remaining, 0.0)), format_duration(expected.least)
        return Refusal(
            "too late to start",
            f"{left} are left after the queue, and 95 % of the runs take more than {takes}",
            retry_after(load, expected, budget),
        )
