"""Exemplars: the latest traced duration of each bucket."""

from graceline.deadlines import Status
from graceline.telemetry.exemplars import Exemplar, Exemplars
from graceline.telemetry.stats import BUCKETS, Stats


def note(store, value, number=1, *, node="n", status=Status.OK):
    store.note("p", "s", node, status, value, f"{number:032x}", f"{number:016x}", float(number))


def test_the_latest_of_a_bucket_is_kept():
    """In each bucket a later exemplar takes the place of the one before."""
    store = Exemplars((0.1, 1.0))
    for number, value in enumerate((0.5, 0.02, 0.7, 3.0)):
        note(store, value, number)
    found = store.find("p", "s", "n", Status.OK)
    assert [one.value for one in found] == [0.02, 0.7, 3.0]
    assert found[1] == Exemplar(0.7, f"{2:032x}", f"{2:016x}", 2.0)


def test_a_bound_belongs_to_the_bucket_below_it():
    """As in Prometheus, a bucket includes its upper bound."""
    store = Exemplars((0.1, 1.0))
    note(store, 0.1, 1)
    note(store, 0.05, 2)
    assert [one.value for one in store.find("p", "s", "n", Status.OK)] == [0.05]


def test_parts_and_statuses_have_their_own():
    """What is noted of one part, or with one status, is not found for another."""
    store = Exemplars((0.1, 1.0))
    note(store, 0.5, node="n")
    note(store, 0.6, node="")
    note(store, 0.7, status=Status.TIMED_OUT)
    assert [one.value for one in store.find("p", "s", "n", Status.OK)] == [0.5]
    assert [one.value for one in store.find("p", "s", "", Status.OK)] == [0.6]
    assert [one.value for one in store.find("p", "s", "n", Status.TIMED_OUT)] == [0.7]
    assert store.find("p", "", "", Status.OK) == ()


def test_many_runs_keep_few():
    """However many are noted, no more than one per bucket is kept."""
    store = Stats().exemplars
    for number in range(10_000):
        note(store, (number % 1000) * 0.9, number)
    assert len(store.find("p", "s", "n", Status.OK)) <= len(BUCKETS) + 1
