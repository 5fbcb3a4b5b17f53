"""Explanations: what is said of a step and its limits; each class is a part of the document."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from graceline.definitions import Adaptive, Breaker, Hedge
from graceline.dialects.yaml.course import Ended
from graceline.documents import to_document

__all__ = [
    "Backoff",
    "Cleanup",
    "Cut",
    "Explanation",
    "ForEach",
    "LevelLimit",
    "Retries",
    "Standing",
    "Statement",
]

Standing = Literal["holds", "stands back", "not stated"]
"""What becomes of a place where a limit may be stated."""


@attrs.frozen
class Statement:
    """A place where a limit may be stated, and what became of it.

    Attributes:
        key: the key, such as `stage default_timeout`.
        says: what stands there, for people.
        limit: seconds, of a learned limit those that it begins with; None if it is not stated, or
            stated to be unlimited.
        at: `file:line:column`; None if it is not stated, or is no key of the file.
        standing: whether it `holds`, `stands back` for one before it, or is `not stated`.
    """

    key: str
    says: str
    limit: float | None
    at: str | None
    standing: Standing


@attrs.frozen
class LevelLimit:
    """The limit of one level around a step.

    Attributes:
        level: `attempt`, `node` (all attempts and items), `stage` or `pipeline`, as in a blame.
        name: the name of the level, as in a blame; that of an item has its index besides.
        what: what it limits, for people.
        counted_from: since when it is counted, for people.
        limit: seconds; None for none. Of a learned one it is the limit that it begins with.
        reserve: seconds of it that are kept for cleanup.
        cut_after: seconds after which work is cut: the limit without the reserve; None for never.
        learned: the bounds of a limit that learns; None for one that does not.
        clamped_by: the level above whose limit comes first in any case; None if there is none.
        overtakes_after: of a level above the one that cuts first: if that one starts so many
            seconds after this level, or later, this level cuts first. None if it has no limit.
        candidates: where the limit may be stated; the first one that is holds.
    """

    level: str
    name: str
    what: str
    counted_from: str
    limit: float | None
    reserve: float
    cut_after: float | None
    learned: Adaptive | None
    clamped_by: str | None
    overtakes_after: float | None
    candidates: tuple[Statement, ...]


@attrs.frozen
class Cut:
    """What cuts a step that hangs in its first attempt.

    Attributes:
        level: the level that is to blame.
        name: its name.
        limit: its limit in seconds.
        after: seconds from the start of the step to the cut.
        key: the key that states the limit.
        at: `file:line:column` of it.
    """

    level: str
    name: str
    limit: float
    after: float
    key: str
    at: str | None


@attrs.frozen
class Backoff:
    """What is waited before a retry: a random share of a time that grows up to a bound.

    Attributes:
        initial: seconds, the most before the second attempt.
        factor: by how much that grows with each attempt.
        max: seconds, the most before any.
    """

    initial: float
    factor: float
    max: float


@attrs.frozen
class Retries:
    """How often a step is tried, and how long that takes at most, cleanup aside.

    Attributes:
        attempts: how many there may be, the first one included.
        backoff: None without retries.
        idempotent: as the step states it; with False nothing that had started is tried again.
        hanging: what becomes of a step whose attempts all hang.
        failing: what becomes of a step whose attempts all fail at once.
    """

    attempts: int
    backoff: Backoff | None
    idempotent: bool | None
    hanging: Ended
    failing: Ended


@attrs.frozen
class Cleanup:
    """The time for cleanup after a cut.

    Attributes:
        grace: seconds of the step.
        after_first: seconds that are left after the first cut, the graces above included; None if
            nothing cuts the step.
        clamped_by: the level above that ends it earlier than `grace` then; None if none does.
        candidates: where it may be stated.
    """

    grace: float
    after_first: float | None
    clamped_by: str | None
    candidates: tuple[Statement, ...]


@attrs.frozen
class ForEach:
    """The list that a step runs over.

    Attributes:
        items: how many there are; None if a template says so.
        max_parallel: how many run at once.
    """

    items: int | None
    max_parallel: int


@attrs.frozen
class Explanation:
    """Which limit applies to a step, where it comes from, and what else decides what becomes of it.

    Attributes:
        file: the name of the file.
        pipeline: the name of the pipeline.
        stage: its stage; None in a file without stages.
        step: its id.
        at: `file:line:column` of the step.
        summary: what cuts it first, in one line.
        first: the same as data; None if nothing ever cuts it.
        levels: every level around it, from the inside out.
        retries: how often it is tried.
        cleanup: the time for cleanup.
        breaker: its circuit breaker.
        hedge: when a second copy of an attempt is sent; the copy has the limit of an attempt, too.
        max_parallel: attempts of steps that run at once in all runs of the file; None for any
            number. Waiting for a place does not count for an attempt, and for all else it does.
        on_error: what its failure does: `fail`, `continue` or `skip`.
        condition: the step is skipped where it is false; None for always.
        for_each: the list that it runs over.
        waits_for: the steps that it needs.
        waits_for_stages: the stages before its own, which end first.
        waited_for_by: the steps that need it.
    """

    file: str
    pipeline: str
    stage: str | None
    step: str
    at: str
    summary: str
    first: Cut | None
    levels: tuple[LevelLimit, ...]
    retries: Retries
    cleanup: Cleanup
    breaker: Breaker | None
    hedge: Hedge | None
    max_parallel: int | None
    on_error: str
    condition: str | bool | None
    for_each: ForEach | None
    waits_for: tuple[str, ...]
    waits_for_stages: tuple[str, ...]
    waited_for_by: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain JSON types; the names are those of the attributes."""
        document = to_document(attrs.evolve(self, breaker=None, hedge=None))
        for name, hidden in (("breaker", ("ignore",)), ("hedge", ())):
            policy = getattr(self, name)
            if policy is not None:
                fields = attrs.asdict(policy)
                document[name] = {key: fields[key] for key in fields if key not in hidden}
        return document
