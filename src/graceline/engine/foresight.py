"""Foresight: what an engine knows of the runs that come, and which it would refuse by that."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import ceil, inf
from typing import TYPE_CHECKING

from graceline.adaptive import DurationHistory
from graceline.resilience import (
    ENOUGH_RUNS,
    Expected,
    Load,
    Predictor,
    Refusal,
    retry_after,
)

if TYPE_CHECKING:
    from graceline.engine.state import RunState

__all__ = ["Foresight"]

_WINDOW = 256
"""Runs whose durations are kept, the newest ones."""

_EVERY = 16
"""Durations are summed up when a quarter of them is new, but not before so many are."""


class _Course:
    """The durations of one pipeline, from the slot to the end, and what follows from them.

    To keep them in order all the time would cost each run more than to sort them now and then.
    """

    __slots__ = ("_completed", "_new", "_signed", "expected", "predictor")

    def __init__(self) -> None:
        self._signed: deque[float] = deque(maxlen=_WINDOW)  # the sign says that it was cut
        self._completed = 0
        self._new = 0
        self.expected: Expected | None = None
        self.predictor = Predictor()

    def cut(self, seconds: float) -> None:
        """Add the duration of a run that was cut, after more than 0 s: it would have taken longer.

        A flood of early cancels, which say nothing, would push out what does.
        """
        if self.expected is None or seconds >= self.expected.least:
            self.add(-seconds)

    def add(self, signed: float) -> None:
        """Add the duration of a run that came to its end by itself; a negative one was cut."""
        if signed >= 0:
            self._completed += 1
        self._signed.append(signed)
        self._new += 1
        if (self._new >= _EVERY and 4 * self._new >= len(self._signed)) or (
            self.expected is None and self._completed == ENOUGH_RUNS
        ):
            self._new = 0
            self.expected = _summed_up(self._signed)


def _summed_up(signed: Iterable[float]) -> Expected | None:
    completed = [seconds for seconds in signed if seconds >= 0]
    count = len(completed)
    if count < ENOUGH_RUNS:
        return None
    completed.sort()
    shortest, longest = completed[0], completed[-1]
    # What was cut earlier than that says nothing.
    cut = [-seconds for seconds in signed if -seconds >= shortest and seconds < 0]
    if not cut:
        return Expected.of(lambda share: completed[ceil(count * share) - 1], longest, count)
    history = DurationHistory(count + len(cut))
    for seconds in completed:
        history.add(seconds)
    for seconds in cut:
        history.add(seconds, censored=True)
    return Expected.of(history.quantile, max(longest, *cut), count)


class Foresight:
    """Predicts for each run whether it can be in time, by the runs of its pipeline before it.

    Each pipeline name has its own durations. The wait is counted by those who are in line, each
    with the mean of its own pipeline.
    """

    def __init__(self) -> None:
        self._courses: dict[str, _Course] = {}
        # Those who hold a slot or wait for one, and of whose pipeline enough is known.
        self._known = 0
        self._seconds = 0.0

    def on_arrival(self, run: RunState, active: int, slots: float, queued: int) -> Refusal | None:
        """Why a run that has just been submitted should be refused.

        It is in line from now on, until `leaves` is called for it.
        """
        course = self._courses.get(run.plan.name)
        if course is None or course.expected is None:
            return None
        expected = course.expected
        refusal = None
        remaining = run.root.fired() - run.origin
        if active >= slots or remaining < expected.typical:
            # Else the predictor would let it in; that is told here without the sum and the call.
            refusal = course.predictor.on_arrival(
                self._load(expected, active, slots, queued), remaining=remaining, expected=expected
            )
        run.expected = expected.held
        self._known += 1
        self._seconds += expected.held
        return refusal

    def at_head(
        self, run: RunState, now: float, active: int, slots: float, queued: int
    ) -> Refusal | None:
        """Why a run that is about to get a slot should be dropped."""
        course = self._courses.get(run.plan.name)
        if course is None or course.expected is None:
            return None
        fires = run.root.fired()
        return course.predictor.at_head(
            self._load(course.expected, active, slots, queued),
            remaining=fires - now,
            budget=fires - run.origin,
            expected=course.expected,
        )

    def retry_after(self, run: RunState, active: int, slots: float, queued: int) -> float | None:
        """Seconds after which a run makes sense that found no place in the queue."""
        course = self._courses.get(run.plan.name)
        if course is None or course.expected is None:
            return None
        return retry_after(
            self._load(course.expected, active, slots, queued),
            course.expected,
            run.root.fired() - run.origin,
            queue_full=True,
        )

    def leaves(self, run: RunState) -> None:
        """A run has neither a slot nor a place in the queue any more."""
        if run.expected is not None:
            self._known -= 1
            # Sums of floats drift; nobody in line is a sum of nothing.
            self._seconds = self._seconds - run.expected if self._known else 0.0

    def ended(self, run: RunState, end: float, *, well: bool) -> None:
        """A run that had a slot has ended at `end`; `well`: with a value.

        What came to its end by itself took that long; what was cut by its own limit, by one above
        it or by a cancel would have taken longer.
        """
        name, began = run.plan.name, run.admitted_at
        course = self._courses.get(name)
        if course is None:
            course = self._courses[name] = _Course()
        cancelled = inf if well else min(run.root.fired(), run.root.foreign_at)
        if cancelled > end:
            course.add(end - began)
        elif cancelled > began:
            course.cut(cancelled - began)

    def _load(self, expected: Expected, active: int, slots: float, queued: int) -> Load:
        held = self._seconds / self._known if self._known else expected.held
        return Load(active, slots, queued, held)
