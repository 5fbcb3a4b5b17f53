"""What learners know, kept for the next one: what a store can do, and the one in memory.

A store holds a *record* per key: the history, and the few numbers of the learner's state. Histories
merge, so several writers and several machines may feed one store in any order. Of two states the
one that comes with the newer sample wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import (
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    runtime_checkable,
)

import attrs

from graceline.adaptive.history import DurationHistory, Sample
from graceline.values import frozen

__all__ = [
    "Applied",
    "Key",
    "MemoryStore",
    "Record",
    "Records",
    "Store",
    "Why",
    "checked_window",
    "newest_limits",
]


@attrs.frozen(cache_hash=True)  # looked up with every call
class Key:
    """Whose limit it is. Parts that do not apply are empty: a stage has no node.

    Attributes:
        lane: keeps apart what must not learn from each other, such as tenants.
        pipeline: its name.
        stage: its name.
        node: its name.
        level: `pipeline`, `stage` or `node`.
    """

    lane: str = ""
    pipeline: str = ""
    stage: str = ""
    node: str = ""
    level: str = "node"


Why: TypeAlias = Literal["learned", "probe", "alarm"]
"""What a limit was: what was learned, a probe; or its call was the miss that raised an alarm."""


class Applied(NamedTuple):
    """The limit that the call of one sample had, for those who want to see it afterwards.

    Attributes:
        at: the stamp of the sample.
        limit: seconds.
        why: `learned`, `probe` or `alarm`.
    """

    at: float
    limit: float
    why: Why


@frozen
class Record:
    """What is known for one key.

    Attributes:
        history: the samples.
        state: as `Learner.state` gives it; empty if only samples are known.
        limits: those that were applied, as far as they are known; oldest first.
    """

    history: DurationHistory
    state: Mapping[str, float] = attrs.field(factory=dict)
    limits: tuple[Applied, ...] = ()

    def merge(self, other: Record) -> Record:
        """Both histories in one, and the state that came with the newer sample."""
        # Ties are broken by content, so that the order of merging does not matter.
        newer = max(self, other, key=lambda one: (one.history.newest, sorted(one.state.items())))
        history = self.history.merge(other.history)
        return Record(
            history,
            newer.state or self.state or other.state,
            newest_limits((*self.limits, *other.limits), history.window),
        )


def checked_window(window: int) -> int:
    """A number of samples as it is.

    Raises:
        ValueError: if it is below 1.
    """
    if window < 1:
        raise ValueError(f"window: {window!r} samples are too few; write at least 1")
    return window


def newest_limits(limits: Iterable[Applied], window: int) -> tuple[Applied, ...]:
    """The newest of some limits, oldest first; equal ones count once."""
    return tuple(sorted(set(limits))[-window:])


@runtime_checkable
class Records(Protocol):
    """Where records can be read, such as a store. Both may wait for a disk."""

    def load(self, key: Key) -> Record | None:
        """What is known for a key; None if nothing is."""

    def keys(self) -> list[Key]:
        """All keys that something is known for."""


@runtime_checkable
class Store(Protocol):
    """Where registries of learners put what was learned.

    `put` and `forget` return at once. The others may wait for a disk: call them from a thread.
    """

    def load(self, key: Key) -> Record | None:
        """What is known for a key, everything that was put before included; None if nothing is."""

    def put(
        self,
        key: Key,
        samples: Iterable[Sample],
        state: Mapping[str, float],
        limits: Iterable[Applied] = (),
    ) -> None:
        """Add new samples of a key, and the state that a learner has after them."""

    def keys(self) -> list[Key]:
        """All keys that something is known for."""

    def forget(self, key: Key) -> None:
        """Drop what is known for a key."""

    def flush(self) -> None:
        """Wait until everything that was put is as safe as it gets here."""


class MemoryStore:
    """Keeps records as long as the process lives.

    Args:
        window: how many samples are kept per key, at least 1.

    Raises:
        ValueError: for a window below 1.
    """

    def __init__(self, window: int = 256) -> None:
        self._window = checked_window(window)
        self._records: dict[Key, Record] = {}

    def load(self, key: Key) -> Record | None:
        """What is known for a key; None if nothing is."""
        return self._records.get(key)

    def put(
        self,
        key: Key,
        samples: Iterable[Sample],
        state: Mapping[str, float],
        limits: Iterable[Applied] = (),
    ) -> None:
        """Add new samples of a key, and the state that a learner has after them."""
        before = self._records.get(key) or Record(DurationHistory(self._window))
        self._records[key] = Record(
            before.history.merge(DurationHistory.of(samples, self._window)),
            dict(state) if state else before.state,
            newest_limits((*before.limits, *limits), self._window),
        )

    def keys(self) -> list[Key]:
        """All keys that something is known for."""
        return list(self._records)

    def forget(self, key: Key) -> None:
        """Drop what is known for a key."""
        self._records.pop(key, None)

    def flush(self) -> None:
        """There is nothing to wait for."""
