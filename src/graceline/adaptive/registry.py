"""All learners and recorders of an engine: found by key, bounded in number, kept in a store.

The least recently used one leaves when there are too many; what it knew is in the store, and comes
back with the next call of its key. Nothing here reads a clock: new samples go to the store after
every `batch` observations, and whenever somebody calls `checkpoint`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from math import inf
from typing import TypeAlias, TypeVar

from graceline.adaptive.history import DurationHistory, Sample
from graceline.adaptive.learner import Learner
from graceline.adaptive.lease import Lease
from graceline.adaptive.recorder import Recorder
from graceline.adaptive.settings import Settings
from graceline.adaptive.stores import Applied, Key, MemoryStore, Record, Store, Why
from graceline.saying import say

__all__ = ["Learners"]

_log = logging.getLogger("graceline.adaptive")

_Entry: TypeAlias = Learner | Recorder
_EntryT = TypeVar("_EntryT", Learner, Recorder)


class _Unsaved:
    """What the store does not know of an entry: the samples since then, and their limits.

    They are noted one by one: a learner that forgets them must not keep them from the store.
    """

    __slots__ = ("key", "limits", "newest", "samples")

    def __init__(self, key: Key, newest: float) -> None:
        self.key = key
        self.newest = newest
        """The newest stamp that was noted."""
        self.samples: list[Sample] = []
        self.limits: list[Applied] = []


class Learners:
    """Learners by key. Not thread-safe: one event loop uses it.

    A store that raises is reported once, as a warning in the log, and stops nobody.

    A lease whose learner has left is settled as usual: its sample goes to the store, and counts
    when the key is loaded again.

    Args:
        store: where learners come from and go to; it is not closed. None for a `MemoryStore` that
            gets only those that leave.
        most: how many learners are held at once, at least 1.
        batch: after so many observations new samples go to the store, at least 1.

    Raises:
        ValueError: if `most` or `batch` is below 1.
    """

    def __init__(self, store: Store | None = None, *, most: int = 1000, batch: int = 64) -> None:
        for name, value in (("most", most), ("batch", batch)):
            if value < 1:
                raise ValueError(f"{name}: {value!r} is too few; write at least 1")
        self.store: Store = MemoryStore() if store is None else store
        self._kept = store is not None
        self._failed = False
        self._most = most
        self._batch = batch
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._unsaved: dict[_Entry, _Unsaved] = {}
        """Entries with observations that are not in the store."""
        self._waiting = 0
        """Observations since the store was last handed something."""
        self._records: dict[Key, Record | None] | None = None
        """What was read in advance; None if nothing was."""
        self._left: set[Key] = set()
        """Keys whose entry has left: the store knows more of them than was read in advance."""

    def __len__(self) -> int:
        """How many learners and recorders are held."""
        return len(self._entries)

    def preload(self) -> None:
        """Read all that the store knows, so that no call has to wait for a disk.

        It may take a while: call it from a thread, before anything else. What other processes add
        to the store afterwards is seen by those that open it later.
        """
        self._records = {key: self.store.load(key) for key in self.store.keys()}  # noqa: SIM118 - no mapping

    def issue(self, key: Key, settings: Settings) -> Lease:
        """The limit for a call that starts now; see `Learner.issue`."""
        return self.learner(key, settings).issue()

    def learner(self, key: Key, settings: Settings) -> Learner:
        """The learner of a key, from the store if it is not held; it is now the most recent one.

        Changed settings hold from now on: the learner goes on with what it has learned.
        """
        held = self._entries.get(key)
        # Identity first: comparing two dozen numbers is a part of the cost of a call.
        if not isinstance(held, Learner) or (
            held.settings is not settings and held.settings != settings
        ):
            held = self._enter(key, _new_learner(self._known(key), settings))
        self._entries.move_to_end(key)
        return held

    def recorder(self, key: Key) -> Recorder:
        """The recorder of a key, as `learner`, for a part whose limit is not learned."""
        held = self._entries.get(key)
        if not isinstance(held, Recorder):
            held = self._enter(key, _new_recorder(self._known(key)))
        self._entries.move_to_end(key)
        return held

    def _known(self, key: Key) -> Record | None:
        """What is known of a key, from the entry that is held or from the store."""
        held = self._entries.get(key)
        if held is not None:
            self._save(held)
            return Record(held.history, held.state())
        if self._records is None or key in self._left:
            try:
                return self.store.load(key)
            except Exception as error:  # noqa: BLE001 - whatever a store raises, the calls go on
                self._complain(error)
                return None
        return self._records.pop(key, None)

    def _enter(self, key: Key, entry: _EntryT) -> _EntryT:
        self._entries[key] = entry
        if self._kept:
            self._listen(key, entry)
        while len(self._entries) > self._most:
            name, left = self._entries.popitem(last=False)
            self._left.add(name)
            if not self._kept:
                unsaved = self._unsaved[left] = _Unsaved(name, left.history.newest)
                unsaved.samples = left.history.samples()
            self._save(left)
        return entry

    def _listen(self, key: Key, entry: _Entry) -> None:
        """Note what is new of an entry from now on."""
        known = entry.history.newest
        boost = entry.boost if isinstance(entry, Learner) else 1.0

        def note(entry: _Entry) -> _Unsaved | None:
            """Note the newest sample; None if there is none, as after an early cancel."""
            unsaved = self._unsaved.get(entry)
            if unsaved is None:
                unsaved = self._unsaved[entry] = _Unsaved(key, known)
            self._waiting += 1
            sample = entry.history.last
            if sample is None or sample[0] <= unsaved.newest:
                return None
            unsaved.newest = sample[0]
            unsaved.samples.append(sample)
            return unsaved

        def settled(learner: Learner, lease: Lease) -> None:
            nonlocal boost
            unsaved = note(learner)
            why: Why = "probe" if lease.is_probe else "learned"
            if learner.boost > boost:
                why = "alarm"
            boost = learner.boost
            if unsaved is not None:
                if lease.took is not None and learner.settings.ceiling < lease.took < inf:
                    # Hung, as far as the learner is concerned; the store is told what happened.
                    unsaved.samples[-1] = (unsaved.newest, lease.took, False)
                if lease.in_force:
                    unsaved.limits.append(Applied(unsaved.newest, lease.timeout, why))
            if self._waiting >= self._batch:
                self.checkpoint()

        def recorded(recorder: Recorder) -> None:
            note(recorder)
            if self._waiting >= self._batch:
                self.checkpoint()

        if isinstance(entry, Learner):
            entry.listener = settled
        else:
            entry.listener = recorded

    def _complain(self, error: Exception) -> None:
        """Report what a store raised, once."""
        if not self._failed:
            self._failed = True
            say(
                _log, logging.WARNING, "history_lost",
                "history cannot be kept in %r: what is learned from now on is lost when this "
                "process ends", self.store, exc_info=error, store=type(self.store).__name__,
            )  # fmt: skip

    def checkpoint(self) -> None:
        """Hand everything that is new to the store; returns without waiting for a disk."""
        for entry in list(self._unsaved):
            self._save(entry)
        self._waiting = 0

    def _save(self, entry: _Entry) -> None:
        unsaved = self._unsaved.pop(entry, None)
        if unsaved is None:
            return
        key = unsaved.key
        held = self._entries.get(key, entry) is entry
        # One that has left may be older than the one that came after it: samples only.
        try:
            self.store.put(key, unsaved.samples, entry.state() if held else {}, unsaved.limits)
        except Exception as error:  # noqa: BLE001 - as above
            self._complain(error)
        self._listen(key, entry)

    def keys(self) -> list[Key]:
        """The keys that are held, least recently used first."""
        return list(self._entries)

    def forget(self, key: Key) -> None:
        """Drop what is known for a key, here and in the store."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._unsaved.pop(entry, None)
            entry.listener = None
        self.store.forget(key)

    def close(self) -> None:
        """Hand over what is new, and wait until the store has it; the store stays open."""
        self.checkpoint()
        self.store.flush()


def _new_learner(record: Record | None, settings: Settings) -> Learner:
    learner = Learner.of(settings)
    if record is not None:
        ceiling = settings.ceiling
        history = DurationHistory.of(
            [
                (at, min(duration, ceiling), censored or duration > ceiling)
                for at, duration, censored in record.history.samples()
            ],
            settings.window,
        )
        try:
            learner.restore(record.state, history)
        except ValueError:
            # Samples without a state, or with that of another version: what they say counts.
            learner.merge(history)
    return learner


def _new_recorder(record: Record | None) -> Recorder:
    recorder = Recorder()
    if record is not None:
        recorder.history = DurationHistory.of(record.history.samples(), recorder.history.window)
    return recorder
