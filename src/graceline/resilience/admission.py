"""Predicted admission: a run that cannot be in time is refused before it takes anybody's time.

Beyond its capacity a queue, first in first out, keeps everybody waiting until nearly all of their
time is gone, and then the slots work for runs that will be cut. In the simulation of the tests, at
twice the capacity, a fifth of the runs finish in time and four fifths of the slot time are wasted.
With what follows here it is nine in twenty of the runs, of the half that is possible, and a quarter
of the time. So a run is looked at twice.

*On arrival.* With q runs in the queue of c busy slots it starts at the (q + 1)-th end of a run, and
c slots end c runs in the time that one holds its slot on average. Sums of durations go by the mean,
and the queue holds runs of all pipelines; what the run itself needs is the p50 of its own:

    wait = (q + 1) * held / c, or 0 if a slot is free
    refuse, if wait + p50 > remaining

How long the active runs have run already is left out: with many slots their ends are spread evenly,
and with one slot it is a part of one run.

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

import attrs

from graceline.deadlines import Gate
from graceline.durations import format_duration

__all__ = ["Load", "Predictor", "Refusal", "expected_wait", "retry_after"]

_ENOUGH = 20
"""Runs that must have completed before their durations say anything."""

_HOPELESS = 0.05
"""Below this probability of being in time a run at the head of the queue is dropped."""


@attrs.frozen
class Load:
    """How busy an engine is.

    Attributes:
        active: runs that hold a slot.
        slots: how many may, at least 1; `inf` for any number.
        queued: runs that wait for one.
        held: seconds from the slot to the end of a run, the mean over all pipelines. Runs that were
            cut count as they would have ended, or the wait comes out too short.
    """

    active: int
    slots: float
    queued: int
    held: float


@attrs.frozen
class Refusal:
    """Why a run is refused.

    Attributes:
        reason: in two or three words, the same for all runs.
        detail: the sum that was done, for people.
        retry_after: seconds after which a new try makes sense, None if it never does.
    """

    reason: str
    detail: str
    retry_after: float | None


def expected_wait(load: Load) -> float:
    """Seconds until a run that comes now would have a slot; `load` is without it."""
    if load.active < load.slots:
        return 0.0
    return (load.queued + 1) * load.held / load.slots


def retry_after(
    load: Load, p50: float | None, budget: float, *, queue_full: bool = False
) -> float | None:
    """Seconds after which a run that was refused could be in time, if nobody else came meanwhile.

    Args:
        load: without the run.
        p50: seconds from the slot to the end of a run; None if it is not known.
        budget: seconds that the run has in all.
        queue_full: whether it was refused since there was no place in the queue; it then has to
            wait for one at least.

    Returns:
        None if nobody can tell, or if the budget does not even suffice for an idle engine.
    """
    if p50 is None or p50 > budget:
        return None
    place = load.held / load.slots if queue_full else 0.0
    return max(place, expected_wait(load) + p50 - budget)


class Predictor:
    """Looks at the runs of one pipeline, and counts whom it lets through after all.

    In the mode that only observes, ask it in the same way and count the refusals.
    """

    __slots__ = ("_arrival", "_head")

    def __init__(self) -> None:
        self._arrival = Gate(10)
        self._head = Gate(16)

    def on_arrival(
        self, load: Load, *, remaining: float, p50: float | None, samples: int
    ) -> Refusal | None:
        """Whether to refuse a run that has just been submitted; None lets it in.

        Args:
            load: without the run.
            remaining: seconds that the run has left, `inf` without a limit.
            p50: seconds from the slot to the end of a run; None if it is not known.
            samples: how many runs have completed.
        """
        if p50 is None or samples < _ENOUGH:
            return None
        wait = expected_wait(load)
        if remaining >= wait + p50 or not self._arrival.refuses():
            return None
        left, waits, takes = map(format_duration, (max(remaining, 0.0), wait, p50))
        return Refusal(
            "predicted too late",
            f"{left} are left, and about {waits} in the queue and {takes} of work are expected",
            retry_after(load, p50, remaining),
        )

    def at_head(
        self,
        load: Load,
        *,
        remaining: float,
        budget: float,
        quantile: Callable[[float], float | None],
        samples: int,
    ) -> Refusal | None:
        """Whether to drop a run that is about to get a slot; None lets it have the slot.

        Args:
            load: without the run.
            remaining: seconds that the run has left, `inf` without a limit.
            budget: seconds that it had when it was submitted.
            quantile: of the durations from the slot to the end of a run: the shortest one, in
                seconds, that a share of them does not exceed, None if that is not known.
            samples: how many runs have completed.
        """
        least = quantile(_HOPELESS) if samples >= _ENOUGH else None
        if least is None or remaining >= least or not self._head.refuses():
            return None
        left, takes = format_duration(max(remaining, 0.0)), format_duration(least)
        return Refusal(
            "too late to start",
            f"{left} are left after the queue, and 95 % of the runs take more than {takes}",
            retry_after(load, quantile(0.5), budget),
        )
