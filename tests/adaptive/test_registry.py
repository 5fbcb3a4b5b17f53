from math import inf, nan

import pytest

from graceline.adaptive import (
    DurationHistory,
    Key,
    Learner,
    Learners,
    MemoryStore,
    Settings,
    SqliteStore,
)
from graceline.testing.traffic import replay

SETTINGS = Settings()
KEYS = [Key(node=name) for name in "abcd"]


class Counting(MemoryStore):
    """A store that counts what reaches it."""

    def __init__(self):
        super().__init__()
        self.puts = []
        self.flushes = 0

    def put(self, key, samples, state, limits=()):
        samples = list(samples)
        self.puts.append((key, len(samples), bool(state)))
        super().put(key, samples, state, limits)

    def flush(self):
        self.flushes += 1


def use(learners, key, *latencies, settings=SETTINGS):
    for latency in latencies:
        learners.issue(key, settings).completed(latency)


def test_each_key_learns_for_itself():
    """One key's calls do not move another key's limit."""
    learners = Learners()
    use(learners, KEYS[0], *[0.05] * 40)
    assert learners.learner(KEYS[0], SETTINGS).peek() < 0.1
    assert learners.learner(KEYS[1], SETTINGS).peek() == 1.0
    assert learners.keys() == KEYS[:2]


def test_the_least_recently_used_leaves_and_comes_back_as_it_was():
    """Beyond `most` the longest unused learner leaves, and its key goes on where it was."""
    learners = Learners(most=2)
    use(learners, KEYS[0], *[0.05] * 40)
    before = learners.learner(KEYS[0], SETTINGS).dump()
    use(learners, KEYS[1], 0.1)
    use(learners, KEYS[0])
    learners.learner(KEYS[0], SETTINGS)
    use(learners, KEYS[2], 0.1)
    assert learners.keys() == [KEYS[0], KEYS[2]]
    use(learners, KEYS[3], 0.1)
    assert len(learners) == 2
    assert learners.learner(KEYS[0], SETTINGS).dump() == before


def test_a_learner_that_forgot_stays_so_in_the_store():
    """What was before a shift does not come back with the samples from the store."""
    learners = Learners(most=1)
    replay(learners.learner(KEYS[0], SETTINGS), [0.05] * 200 + [1.0] * 10)
    learner = learners.learner(KEYS[0], SETTINGS)
    before = learner.dump()
    assert len(learner.history) < 20
    learners.learner(KEYS[1], SETTINGS)
    assert learners.learner(KEYS[0], SETTINGS).dump() == before


@pytest.mark.parametrize("in_advance", [False, True])
@pytest.mark.parametrize("make", [lambda path: MemoryStore(), SqliteStore], ids=["memory", "file"])
def test_what_was_before_a_shift_stays_forgotten_after_a_restart(tmp_path, make, in_advance):
    """The store keeps the samples before a shift; a learner that comes from it does not count them."""
    store = make(tmp_path / "h.db")
    learners = Learners(store)
    learner = learners.learner(KEYS[0], SETTINGS)
    replay(learner, [0.05] * 200 + [1.0] * 10)
    learners.close()
    assert (len(store.load(KEYS[0]).history), len(learner.history)) == (210, 10)
    again = Learners(store)
    if in_advance:
        again.preload()
    assert again.learner(KEYS[0], SETTINGS).dump() == learner.dump()
    if isinstance(store, SqliteStore):
        store.close()


def test_more_keys_than_are_held_come_back_though_they_were_read_in_advance():
    """Each key that leaves and returns knows what was read in advance, and all that came since."""
    store = MemoryStore()
    for key in KEYS[:3]:
        store.put(key, [(float(at), 0.05, False) for at in range(40)], {})
    learners = Learners(store, most=2)
    learners.preload()
    for _ in range(3):
        for key in KEYS[:3]:
            use(learners, key, 0.05)
        learners.recorder(KEYS[3]).add(0.05)
    assert len(learners) == 2
    assert [len(learners.learner(key, SETTINGS).history) for key in KEYS] == [43, 43, 43, 3]


def test_new_samples_go_to_the_store_in_batches():
    """After `batch` observations, and at a checkpoint, exactly what is new goes to the store."""
    store = Counting()
    learners = Learners(store, batch=4)
    use(learners, KEYS[0], 0.1, 0.1)
    use(learners, KEYS[1], 0.1)
    assert store.puts == []
    use(learners, KEYS[1], 0.1)
    assert store.puts == [(KEYS[0], 2, True), (KEYS[1], 2, True)]
    use(learners, KEYS[1], 0.1)
    learners.checkpoint()
    learners.checkpoint()
    assert store.puts[2:] == [(KEYS[1], 1, True)]
    use(learners, KEYS[0], 0.1)
    assert store.flushes == 0
    learners.close()
    assert (store.puts[3:], store.flushes) == ([(KEYS[0], 1, True)], 1)
    assert len(store.load(KEYS[0]).history) == 3


def test_a_call_that_outlives_its_learner_counts():
    """A lease whose learner has left is settled as usual, and its sample reaches the store without the old state."""
    store = Counting()
    learners = Learners(store, most=1)
    use(learners, KEYS[0], 0.1)
    late = learners.issue(KEYS[0], SETTINGS)
    use(learners, KEYS[1], 0.1)
    use(learners, KEYS[0], 0.2)
    late.completed(0.3)
    learners.checkpoint()
    assert sorted(d for _, d, _ in store.load(KEYS[0]).history.samples()) == [0.1, 0.2, 0.3]
    assert (KEYS[0], 1, False) in store.puts


def test_changed_settings_hold_for_what_was_learned():
    """A key whose definition has changed goes on with its history, within the new bounds."""
    learners = Learners()
    use(learners, KEYS[0], *[0.05] * 40)
    higher = Settings(floor=0.5)
    assert learners.learner(KEYS[0], higher).peek() == 0.5
    assert len(learners.learner(KEYS[0], higher).history) == 40
    assert learners.learner(KEYS[0], Settings(floor=0.5)) is learners.learner(KEYS[0], higher)


def test_changed_settings_lose_nothing_for_the_store():
    """What a learner saw before its settings changed reaches the store with the state after it."""
    store = MemoryStore()
    learners = Learners(store)
    use(learners, KEYS[0], *[0.05] * 40)
    before = learners.learner(KEYS[0], SETTINGS).state()
    learners.learner(KEYS[0], Settings(ceiling=2.0))
    learners.close()
    record = store.load(KEYS[0])
    assert (len(record.history), record.state) == (40, before)


def test_changed_settings_hold_for_what_was_read_in_advance():
    """A learner that came from a preloaded store keeps what it knows when its settings change."""
    store = MemoryStore()
    store.put(KEYS[0], [(float(at), 0.05, False) for at in range(100)], {})
    learners = Learners(store)
    learners.preload()
    before = learners.learner(KEYS[0], SETTINGS).peek()
    assert learners.learner(KEYS[0], Settings(ceiling=2.0)).peek() == before == pytest.approx(0.075)


def test_the_limit_of_each_call_is_kept_with_its_sample():
    """The store knows which limit each sample had, and whether it was learned, a probe, or raised an alarm."""
    store = MemoryStore()
    learners = Learners(store)
    learner = learners.learner(KEYS[0], SETTINGS)
    issued = replay(learner, [0.05] * 60 + [0.4] * 40)
    learners.checkpoint()
    record = store.load(KEYS[0])
    known = {at: limit for at, limit, _ in record.limits}
    assert [known[at] for at, _, _ in record.history.samples()] == [call.limit for call in issued][
        -len(record.history) :
    ]
    assert all(limit.limit == 3.0 for limit in record.limits if limit.why == "probe")
    whys = [limit.why for limit in record.limits]
    assert (whys.count("alarm"), set(whys)) == (1, {"learned", "probe", "alarm"})


def test_what_a_learner_forgets_reaches_the_store():
    """The samples before a shift are in the store, with the limits that they had, whatever the learner forgot."""
    store = MemoryStore()
    learners = Learners(store)
    learner = learners.learner(KEYS[0], SETTINGS)
    replay(learner, [0.05] * 150 + [0.4] * 60)
    learners.checkpoint()
    record = store.load(KEYS[0])
    assert len(learner.history) < len(record.history) == len(record.limits) == 210
    assert [at for at, _, _ in record.history.samples()] == [limit.at for limit in record.limits]


def test_the_store_knows_what_took_longer_than_the_ceiling():
    """To its learner a call above the ceiling hung; the store has its true duration, and a learner that is loaded from it is as before."""
    store = MemoryStore()
    learners = Learners(store)
    use(learners, KEYS[0], *[0.05] * 60, 4.0, *[0.05] * 10)
    learners.learner(KEYS[0], SETTINGS).issue().completed(inf)
    learners.checkpoint()
    kept = [sample[1:] for sample in store.load(KEYS[0]).history.samples()]
    assert ((4.0, False) in kept, (3.0, True) in kept) == (True, True)
    held = learners.learner(KEYS[0], SETTINGS)
    assert Learners(store).learner(KEYS[0], SETTINGS).dump() == held.dump()


def test_a_limit_that_was_not_in_force_is_not_kept():
    """Where the caller did not apply the limit, the store has the duration and no limit."""
    store = MemoryStore()
    learners = Learners(store)
    lease = learners.issue(KEYS[0], SETTINGS)
    lease.in_force = False
    lease.completed(0.05)
    learners.checkpoint()
    assert (len(store.load(KEYS[0]).history), store.load(KEYS[0]).limits) == (1, ())


def test_a_recorder_keeps_durations_and_learns_nothing():
    """A part without a learned limit has its durations in the store, with neither state nor limits."""
    store = Counting()
    learners = Learners(store, batch=2)
    recorder = learners.recorder(KEYS[0])
    assert learners.recorder(KEYS[0]) is recorder
    recorder.add(0.05)
    recorder.add(nan)
    recorder.add(inf)
    recorder.add(0.08, censored=True)
    assert store.puts == [(KEYS[0], 2, False)]
    record = store.load(KEYS[0])
    assert [sample[1:] for sample in record.history.samples()] == [(0.05, False), (0.08, True)]
    assert (record.state, record.limits) == ({}, ())
    assert repr(recorder) == "<records <2 of 256 durations, 1 censored>>"


def test_a_recorder_that_is_used_stays():
    """Where too many are held, the recorder that was used last is not the one that leaves."""
    learners = Learners(MemoryStore(), most=2)
    for key in (KEYS[0], KEYS[1], KEYS[0], KEYS[2]):
        learners.recorder(key).add(0.05)
    assert learners.keys() == [KEYS[0], KEYS[2]]


def test_a_part_may_begin_and_cease_to_learn():
    """What was recorded is what a learner begins with, and what a learner saw is not lost by a recorder."""
    learners = Learners(MemoryStore())
    for _ in range(100):
        learners.recorder(KEYS[0]).add(0.05)
    assert learners.learner(KEYS[0], SETTINGS).peek() == pytest.approx(0.075)
    use(learners, KEYS[0], 0.06)
    assert len(learners.recorder(KEYS[0]).history) == 101
    again = Learners(learners.store)
    learners.close()
    assert len(again.recorder(KEYS[0]).history) == 101


def test_samples_without_a_state_are_learned_from():
    """A store that knows only samples, such as imported ones, gives a learner that knows them."""
    store = MemoryStore()
    store.put(KEYS[0], [(float(at), 0.05, False) for at in range(100)], {})
    learner = Learners(store).learner(KEYS[0], SETTINGS)
    assert learner.peek() == pytest.approx(0.075)
    assert learner.history == DurationHistory.of([(float(at), 0.05, False) for at in range(100)])


def test_a_forgotten_key_starts_afresh():
    """Forgetting drops the learner and its record; a call that still runs does not bring them back."""
    store = Counting()
    learners = Learners(store)
    use(learners, KEYS[0], *[0.05] * 40)
    late = learners.issue(KEYS[0], SETTINGS)
    learners.forget(KEYS[0])
    learners.forget(KEYS[1])
    late.completed(0.05)
    learners.close()
    assert store.keys() == []
    assert learners.learner(KEYS[0], SETTINGS).dump() == Learner().dump()


@pytest.mark.parametrize("name", ["most", "batch"])
def test_a_registry_needs_room(name):
    """A registry that could hold nothing is refused by the name of the argument."""
    with pytest.raises(ValueError, match=f"{name}: 0 is too few"):
        Learners(**{name: 0})
