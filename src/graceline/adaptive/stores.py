"""What learners know, kept for the next one: what a store can do, and the one in memory.

A store holds a *record* per key: the history, and the few numbers of the learner's state. Histories
merge, so several writers and several machines may feed one store in any order. Of two states the
one that comes with the newer sample wins.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TextIO, runtime_checkable

import attrs

from graceline.adaptive.history import DurationHistory, Sample

__all__ = ["Key", "MemoryStore", "Record", "Store", "export_records", "import_records"]

_FORMAT = 1
"""The version of an exported line; a reader refuses a newer one."""


@attrs.frozen
class Key:
    """Whose limit it is. Parts that do not apply are empty: a stage has no node.

    Attributes:
        lane: keeps apart what must not learn from each other, such as tenants.
        pipeline: its name.
        stage: its name.
        node: its name.
        level: `pipeline`, `stage`, `node`, `item` or `attempt`.
    """

    lane: str = ""
    pipeline: str = ""
    stage: str = ""
    node: str = ""
    level: str = "node"


@attrs.frozen
class Record:
    """What is known for one key.

    Attributes:
        history: the samples.
        state: as `Learner.state` gives it; empty if only samples are known.
    """

    history: DurationHistory
    state: Mapping[str, float] = attrs.field(factory=dict)

    def merge(self, other: Record) -> Record:
        """Both histories in one, and the state that came with the newer sample."""
        # Ties are broken by content, so that the order of merging does not matter.
        newer = max(self, other, key=lambda one: (one.history.newest, sorted(one.state.items())))
        return Record(self.history.merge(other.history), newer.state or self.state or other.state)


@runtime_checkable
class Store(Protocol):
    """Where registries of learners put what was learned.

    `put` and `forget` return at once. The others may wait for a disk: call them from a thread.
    """

    def load(self, key: Key) -> Record | None:
        """What is known for a key, everything that was put before included; None if nothing is."""

    def put(self, key: Key, samples: Iterable[Sample], state: Mapping[str, float]) -> None:
        """Add new samples of a key, and the state that a learner has after them."""

    def keys(self) -> list[Key]:
        """All keys that something is known for."""

    def forget(self, key: Key) -> None:
        """Drop what is known for a key."""

    def flush(self) -> None:
        """Wait until everything that was put is as safe as it gets here."""

    def close(self) -> None:
        """Flush, and let go of what the store holds."""


class MemoryStore:
    """Keeps records as long as the process lives.

    Args:
        window: how many samples are kept per key.
    """

    def __init__(self, window: int = 256) -> None:
        self._window = window
        self._records: dict[Key, Record] = {}

    def load(self, key: Key) -> Record | None:
        """What is known for a key; None if nothing is."""
        return self._records.get(key)

    def put(self, key: Key, samples: Iterable[Sample], state: Mapping[str, float]) -> None:
        """Add new samples of a key, and the state that a learner has after them."""
        new = DurationHistory.of(samples, self._window)
        before = self._records.get(key)
        history = new if before is None else before.history.merge(new)
        kept = dict(state) if state or before is None else before.state
        self._records[key] = Record(history, kept)

    def keys(self) -> list[Key]:
        """All keys that something is known for."""
        return list(self._records)

    def forget(self, key: Key) -> None:
        """Drop what is known for a key."""
        self._records.pop(key, None)

    def flush(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to let go of."""


def export_records(store: Store, file: TextIO) -> int:
    """Write everything as JSON lines, one key per line; returns how many."""
    count = 0
    for key in store.keys():  # noqa: SIM118 - a store is no mapping
        record = store.load(key)
        if record is None:  # forgotten meanwhile, by another process
            continue
        line = {
            "format": _FORMAT,
            **attrs.asdict(key),
            "state": dict(record.state),
            "history": record.history.dump(),
        }
        file.write(json.dumps(line, allow_nan=False) + "\n")
        count += 1
    return count


def import_records(store: Store, lines: Iterable[str]) -> int:
    """Merge JSON lines that `export_records` wrote into a store; returns how many.

    All lines are read before the first one is merged, so a file that is broken changes nothing.

    Raises:
        ValueError: names the line that is none of ours, or is of a newer format.
    """
    records = list(_parse(lines))
    for key, record in records:
        known = store.load(key)
        merged = record if known is None else known.merge(record)
        store.put(key, record.history.samples(), merged.state)
    return len(records)


def _parse(lines: Iterable[str]) -> Iterator[tuple[Key, Record]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document: dict[str, Any] = json.loads(line)
            version = document.pop("format")
            state = {str(name): _number(value) for name, value in document.pop("state").items()}
            history = DurationHistory.load(document.pop("history"))
            key = Key(**{name: str(document[name]) for name in document})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"line {number} is no exported history: {error}") from error
        if version != _FORMAT:
            raise ValueError(
                f"line {number} has format {version!r}; this version of graceline reads {_FORMAT}"
            )
        yield key, Record(history, state)


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value
