"""Explaining: which limit cuts a step first, where it is stated, and all that was looked at for it.

What is said of retries is found by the rule that the engine retries by, for a step of which nothing
is known yet: so it cannot say anything else than what runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import attrs

from graceline.definitions import Adaptive, Each
from graceline.definitions.checks import nearest
from graceline.dialects.yaml.course import Course
from graceline.dialects.yaml.explanations import (
    Backoff,
    Cleanup,
    Cut,
    Explanation,
    ForEach,
    LevelLimit,
    Retries,
    Standing,
    Statement,
)
from graceline.dialects.yaml.limits import Resolved, StepLimits
from graceline.dialects.yaml.links import Links
from graceline.dialects.yaml.policies import BackoffKeys
from graceline.dialects.yaml.problems import Position
from graceline.dialects.yaml.schema import FileKeys, StageKeys, StepKeys
from graceline.durations import format_duration
from graceline.errors import DefinitionError

__all__ = ["explain_step", "retries_of"]

_COUNTED = {
    "attempt": "its start",
    "node": "the start of the step",
    "stage": "the start of the stage",
    "pipeline": "the start of the run",
}


def explain_step(
    keys: FileKeys,
    links: Links,
    limits: Mapping[str, StepLimits],
    file: str,
    name: str,
    *,
    into_stage: float = 0.0,
    into_run: float = 0.0,
    backoff: float = 1.0,
) -> Explanation:
    """Explain one step of a file.

    Args:
        keys: the file, structured.
        links: which step needs which.
        limits: for each step, its limits.
        file: what the file is called.
        name: the step.
        into_stage: seconds of its stage that have passed when it starts.
        into_run: the same of the run, at least `into_stage`.
        backoff: the share of each backoff that is waited, from 0 to 1.

    Raises:
        DefinitionError: if there is no such step; names the nearest one.
    """
    for number, (stage, steps) in enumerate(keys.groups()):
        for step in steps:
            if step.id == name:
                before = tuple(one.id for one in keys.stages[:number])
                own = limits[name]
                asked = _Asked(keys, links, own, file, stage, step, into_stage, into_run)
                return asked.explain(backoff, before)
    raise DefinitionError(f"there is no step {name!r} in {file}; {nearest(name, links.steps)}")


def retries_of(
    keys: FileKeys,
    links: Links,
    limits: StepLimits,
    file: str,
    stage: StageKeys | None,
    step: StepKeys,
) -> Retries:
    """How often a step is tried that begins with the run, if each backoff is as long as it can be.

    Args:
        keys: the file, structured.
        links: which step needs which.
        limits: those of the step.
        file: what the file is called.
        stage: its stage; None in a file without stages.
        step: the step.
    """
    asked = _Asked(keys, links, limits, file, stage, step, 0.0, 0.0)
    return asked.retries(tuple(asked.levels()), 1.0)


@attrs.frozen
class _Asked:
    keys: FileKeys
    links: Links
    limits: StepLimits
    file: str
    stage: StageKeys | None
    step: StepKeys
    into_stage: float
    into_run: float

    def explain(self, backoff: float, before: tuple[str, ...]) -> Explanation:
        levels = tuple(self.levels())
        first = self._first(levels)
        step, links = self.step, self.links
        waited_for_by = tuple(name for name, needs in links.needs.items() if step.id in needs)
        return Explanation(
            file=self.file,
            pipeline=self._pipeline,
            stage=None if self.stage is None else self.stage.id,
            step=step.id,
            at=f"{self.file}:{links.steps[step.id].tree.at}",
            summary=_summary(first, levels),
            first=first,
            levels=tuple(self._related(levels, first)),
            retries=self.retries(levels, backoff),
            cleanup=self._cleanup(levels, first),
            breaker=None if step.breaker is None else step.breaker.build(),
            hedge=None if step.hedge is None else step.hedge.build(),
            max_parallel=self.keys.config.max_parallel,
            on_error=step.on_error,
            condition=step.condition,
            for_each=self._for_each(),
            waits_for=links.needs[step.id],
            waits_for_stages=before,
            waited_for_by=waited_for_by,
        )

    @property
    def _pipeline(self) -> str:
        return self.keys.id or self.keys.name or ""

    def levels(self) -> Iterator[LevelLimit]:
        """Every level, from the inside out, without what they are to each other."""
        limits, step, config = self.limits, self.step, self.keys.config
        yield self._level("attempt", step.id, limits.attempt, 0.0)
        yield self._level("node", step.id, limits.total, step.reserve or 0.0)
        if self.stage is not None:
            yield self._level("stage", self.stage.id, limits.stage, self.stage.reserve or 0.0)
        yield self._level("pipeline", self._pipeline, limits.pipeline, config.reserve or 0.0)

    def _level(self, level: str, name: str, resolved: Resolved, reserve: float) -> LevelLimit:
        limit = resolved.limit
        learned = limit if isinstance(limit, Adaptive) else None
        seconds = learned.initial if learned else limit
        assert not isinstance(seconds, Adaptive)  # noqa: S101 - that was asked in the line before
        return LevelLimit(
            level=level,
            name=name,
            what=resolved.what if level != "node" or self.step.for_each else "all attempts",
            counted_from=_COUNTED[level],
            limit=seconds,
            reserve=reserve,
            cut_after=None if seconds is None else seconds - reserve,
            learned=learned,
            clamped_by=None,
            overtakes_after=None,
            candidates=self._statements(resolved),
        )

    def _statements(self, resolved: Resolved) -> tuple[Statement, ...]:
        winner = resolved.winner

        def standing(stated: object, *, wins: bool) -> Standing:
            return "holds" if wins else "not stated" if stated is None else "stands back"

        return tuple(
            Statement(
                key=one.key,
                says=_said(one.limit),
                limit=_seconds(one.limit),
                at=self._place(one.at),
                standing=standing(one.limit, wins=one is winner),
            )
            for one in resolved.candidates
        )

    def _place(self, at: Position | None) -> str | None:
        return None if at is None else f"{self.file}:{at}"

    def _left(self, one: LevelLimit) -> float:
        """Seconds from the start of the step to the end of a level; `inf` for no end."""
        passed = {"stage": self.into_stage, "pipeline": self.into_run}.get(one.level, 0.0)
        return math.inf if one.cut_after is None else one.cut_after - passed

    def _first(self, levels: tuple[LevelLimit, ...]) -> Cut | None:
        """The level that ends first; of two that end at once the outer one is to blame."""
        one = min(reversed(levels), key=self._left)
        after = self._left(one)
        if one.limit is None:
            return None
        holds = next(each for each in one.candidates if each.standing == "holds")
        return Cut(one.level, one.name, one.limit, after, holds.key, holds.at)

    def _related(self, levels: tuple[LevelLimit, ...], first: Cut | None) -> Iterator[LevelLimit]:
        """The levels, with what they are to each other."""
        names = [one.level for one in levels]
        for place, one in enumerate(levels):
            above = min(reversed(levels[place:]), key=self._left)
            clamped = None if one.limit is None or above is one else above.level
            later = None
            if first and one.cut_after is not None and place > max(1, names.index(first.level)):
                passed = self.into_stage if first.level == "stage" else 0.0
                later = one.cut_after - first.after - passed
            yield attrs.evolve(one, clamped_by=clamped, overtakes_after=later)

    def retries(self, levels: tuple[LevelLimit, ...], share: float) -> Retries:
        """How often it is tried, with a share of each backoff."""
        step = self.step
        retry = (step.backoff or BackoffKeys()).build(attempts=(step.max_retries or 0) + 1)
        course = Course(
            retry=retry,
            idempotent=step.idempotent,
            attempt=levels[0].limit,
            above=[(one.level, one.name, self._left(one)) for one in reversed(levels[1:])],
            copy=self._copy(levels[0].limit or 0.0),
            share=share,
            start=self.into_run,
        )
        return Retries(
            attempts=retry.attempts,
            backoff=Backoff(retry.backoff, retry.factor, retry.max_backoff)
            if step.max_retries
            else None,
            idempotent=step.idempotent,
            hanging=course.end(step.id),
            failing=course.end(step.id, takes=0.0),
        )

    def _copy(self, limit: float) -> float:
        """Seconds that a second copy prolongs an attempt that hangs, since it has its own limit."""
        if self.step.hedge is None:
            return 0.0
        delay = self.step.hedge.delay
        if delay is None:  # what is learned is shorter than the limit
            return limit
        return delay if delay < limit else 0.0

    def _cleanup(self, levels: tuple[LevelLimit, ...], first: Cut | None) -> Cleanup:
        grace = _seconds(self.limits.cleanup.limit) or 0.0
        statements = self._statements(self.limits.cleanup)
        if first is None:
            return Cleanup(grace, None, None, statements)
        ends, by = first.after + grace, None
        graces = list(self._graces())
        for place, one in enumerate(levels[1:], 1):
            # A level that is cut with the one above has its own grace from that instant on.
            fired = min(self._left(above) for above in levels[place:])
            end = fired + graces[place]
            if end < ends:
                ends, by = end, one.level
        return Cleanup(grace, ends - first.after, by, statements)

    def _graces(self) -> Iterator[float]:
        """The grace of each level, from the inside out."""
        statements = self._statements(self.limits.cleanup)

        def stated(least: Callable[[str], bool]) -> float:
            return next(
                one.limit or 0.0
                for one in statements
                if one.standing != "not stated" and least(one.key)
            )

        yield stated(lambda _: True)
        yield stated(lambda _: True)
        if self.stage is not None:
            yield stated(lambda key: not key.startswith("step "))
        yield stated(lambda key: not key.startswith(("step ", "stage ")))

    def _for_each(self) -> ForEach | None:
        items = self.step.for_each
        if items is None:
            return None
        count = len(items) if isinstance(items, list) else None
        return ForEach(count, self.step.max_parallel or Each().max_parallel)


def _seconds(limit: float | Adaptive | None) -> float | None:
    if isinstance(limit, Adaptive):
        return limit.initial
    return None if limit is None or math.isinf(limit) else limit


def _said(limit: float | Adaptive | None) -> str:
    if limit is None:
        return "not stated"
    if isinstance(limit, Adaptive):
        initial, floor, ceiling = map(format_duration, (limit.initial, limit.floor, limit.ceiling))
        return f"{initial}, learned: {floor} to {ceiling}"
    return format_duration(limit)


def _summary(first: Cut | None, levels: tuple[LevelLimit, ...]) -> str:
    if first is None:
        return "nothing cuts it: no limit is stated"
    learned = next(one.learned for one in levels if one.level == first.level)
    place = "" if first.at is None else f", {first.at}"
    after = format_duration(max(first.after, 0.0))
    return f"cut after {after} by {first.key}{' (learned)' * (learned is not None)}{place}"
