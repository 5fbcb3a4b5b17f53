"""All learners of an engine: found by key, bounded in number, kept in a store.

The least recently used learner leaves when there are too many; what it knew is in the store, and
comes back with the next call of its key. Nothing here reads a clock: new samples go to the store
after every `batch` observations, and whenever somebody calls `checkpoint`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from graceline.adaptive.history import DurationHistory
from graceline.adaptive.learner import Learner, Lease
from graceline.adaptive.settings import Settings
from graceline.adaptive.stores import Key, MemoryStore, Record, Store

__all__ = ["Learners"]


class Learners:
    """Learners by key. Not thread-safe: one event loop uses it.

    A lease whose learner has left is settled as usual: its sample goes to the store, and counts
    when the key is loaded again.

    Args:
        store: where learners come from and go to; a `MemoryStore` by default. It is not closed.
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
        self._most = most
        self._batch = batch
        self._learners: OrderedDict[Key, Learner] = OrderedDict()
        self._saved: dict[Learner, tuple[Key, float]] = {}
        """Learners with observations that are not in the store, and the last stamp that is."""
        self._unsaved = 0
        self._records: dict[Key, Record | None] | None = None
        """What was read in advance; None if nothing was."""
        self._left: set[Key] = set()
        """Keys whose learner has left: the store knows more of them than was read in advance."""

    def __len__(self) -> int:
        """How many learners are held."""
        return len(self._learners)

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
        learner = self._learners.get(key)
        if learner is None or learner.settings is not settings:
            learner = self._fitting(key, settings, learner)
        self._learners.move_to_end(key)
        return learner

    def _fitting(self, key: Key, settings: Settings, held: Learner | None) -> Learner:
        if held is not None:
            if held.settings == settings:
                return held
            self._save(held)
        learner = self._load(key, settings)
        self._learners[key] = learner
        while len(self._learners) > self._most:
            name, left = self._learners.popitem(last=False)
            self._left.add(name)
            self._save(left)
        return learner

    def _load(self, key: Key, settings: Settings) -> Learner:
        learner = Learner.of(settings)
        if self._records is None or key in self._left:
            record = self.store.load(key)
        else:
            record = self._records.pop(key, None)
        if record is not None:
            history = DurationHistory.of(record.history.samples(), settings.window)
            try:
                learner.restore(record.state, history)
            except ValueError:
                # Samples without a state, or with that of another version: what they say counts.
                learner.merge(history)
        learner.listener = self._listener(key, learner.history.newest)
        return learner

    def _listener(self, key: Key, newest: float) -> Callable[[Learner], None]:
        start = (key, newest)

        def settled(learner: Learner) -> None:
            self._saved.setdefault(learner, start)
            self._unsaved += 1
            if self._unsaved >= self._batch:
                self.checkpoint()

        return settled

    def checkpoint(self) -> None:
        """Hand everything that is new to the store; returns without waiting for a disk."""
        for learner in list(self._saved):
            self._save(learner)
        self._unsaved = 0

    def _save(self, learner: Learner) -> None:
        found = self._saved.pop(learner, None)
        if found is None:
            return
        key, saved = found
        held = self._learners.get(key, learner) is learner
        # A learner that has left may be older than the one that came after it: samples only.
        self.store.put(key, learner.history.samples(after=saved), learner.state() if held else {})
        learner.listener = self._listener(key, learner.history.newest)

    def keys(self) -> list[Key]:
        """The keys of the learners that are held, least recently used first."""
        return list(self._learners)

    def forget(self, key: Key) -> None:
        """Drop what is known for a key, here and in the store."""
        learner = self._learners.pop(key, None)
        if learner is not None:
            self._saved.pop(learner, None)
            learner.listener = None
        self.store.forget(key)

    def close(self) -> None:
        """Hand over what is new, and wait until the store has it; the store stays open."""
        self.checkpoint()
        self.store.flush()
