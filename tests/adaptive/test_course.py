from datetime import UTC, datetime
from math import inf, isclose

import pytest

from graceline.adaptive import (
    Applied,
    DurationHistory,
    Key,
    Learners,
    MemoryStore,
    Record,
    Settings,
)
from graceline.adaptive.course import (
    Summary,
    course_of,
    quantiles,
    summary_of,
    time_of,
)
from graceline.testing.traffic import Call, replay

KEY = Key("default", "shop", "search", "rank")


def record_of(samples, limits=(), **state):
    return Record(DurationHistory.of(samples), state, tuple(limits))


def learned(calls):
    """What a learner with some calls leaves in a store."""
    learners = Learners(MemoryStore())
    replay(learners.learner(KEY, Settings(initial=1.0, ceiling=3.0)), calls)
    learners.close()
    return learners.store.load(KEY)


MIXED = [(1.0, 0.5, False), (2.0, 0.3, True), (3.0, 0.1, False), (4.0, 0.9, False)]


@pytest.mark.parametrize("p", [0.5, 0.95])
def test_quantiles(p):
    """Each is the quantile of the samples up to its own, a censored one that counts only later included."""
    expected = [DurationHistory.of(MIXED[:number]).quantile(p) for number in (1, 2, 3, 4)]
    assert quantiles(MIXED, p) == expected
    assert quantiles(MIXED, 0.5) == [0.5, 0.5, 0.5, 0.5]
    assert quantiles([], p) == []


def test_unknown_quantiles():
    """Where too much is censored for a quantile there is None, and it comes back with more completions."""
    samples = [(0.0, 9.0, True), *((float(at), 1.0, False) for at in range(1, 40))]
    p95 = quantiles(samples, 0.95)
    assert p95[0] is None
    assert p95[1] is None
    assert p95[-1] == 1.0


def test_limits_are_those_of_their_calls():
    """A point has the limit with the stamp of its sample, and none where none is known."""
    limits = [Applied(2.0, 0.3, "alarm"), Applied(2.5, 8.0, "learned"), Applied(4.0, 3.0, "probe")]
    points = course_of(record_of(MIXED, limits))
    assert [(point.at, point.duration, point.censored) for point in points] == MIXED
    assert [(point.limit, point.why) for point in points] == [
        (None, None), (0.3, "alarm"), (None, None), (3.0, "probe"),
    ]  # fmt: skip


def test_summary_of_a_learner():
    """A step of the latency leaves an alarm, finished probes and a count of what is not forgotten."""
    record = learned([0.05] * 200 + [0.2 + 0.001 * (number % 7) for number in range(60)])
    summary = summary_of(record)
    points = course_of(record)
    assert summary.samples == len(points)
    assert (summary.alarms, summary.newest) == (1, None)
    assert summary.probes == sum(point.why == "probe" for point in points) > 0
    assert summary.unfinished == 0
    assert 0 < summary.counted < summary.samples
    assert summary.low < 0.2 < summary.limit <= summary.high
    assert isclose(summary.p95, record.history.quantile(0.95))


def test_summary_of_hangs():
    """Calls that hang are censored, leave the p95 unknown, and a probe that reached the ceiling is told."""
    summary = summary_of(learned([0.05, inf] * 60))
    assert summary.censored > 50
    assert (summary.p95, summary.p99) == (None, None)
    assert 0 < summary.unfinished <= summary.probes


def test_summary_of_outside_cancels():
    """Cancels from outside are censored samples, also those of probes, and raise no alarm."""
    summary = summary_of(learned([Call(0.05), Call(0.2, outside=0.1)] * 10))
    assert (summary.censored, summary.alarms) == (10, 0)
    assert summary.unfinished < summary.probes


def test_summary_of_recorded_durations():
    """Without limits there are samples and quantiles, all of them counted, and nothing else."""
    assert summary_of(record_of(MIXED)) == Summary(
        samples=4, censored=1, p50=0.5, p95=0.9, p99=0.9, limit=None, low=None, high=None, probes=0,
        unfinished=0, alarms=0, counted=4, newest=None,
    )  # fmt: skip


def test_the_current_limit_is_no_probe():
    """A probe's limit is for one call: the newest other one is the current limit, if there is any."""
    probe = Applied(4.0, 3.0, "probe")
    assert summary_of(record_of(MIXED, [Applied(1.0, 0.4, "learned"), probe])).limit == 0.4
    assert summary_of(record_of(MIXED, [probe])).limit == 3.0


def test_summary_is_of_the_samples():
    """Limits whose samples are gone count only if there are no others."""
    old = Applied(0.5, 7.0, "alarm")
    summary = summary_of(record_of(MIXED, [old, Applied(4.0, 0.4, "learned")]))
    assert (summary.alarms, summary.high) == (0, 0.4)
    assert summary_of(record_of(MIXED, [old])).limit == 7.0


def test_forgotten():
    """Samples before the stamp from which the learner counts are not counted."""
    assert summary_of(record_of(MIXED, since=3.0)).counted == 2


def test_time():
    """A stamp that can be Unix time is a time in UTC; a number of an order is none."""
    assert time_of(1.8e9) == datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert time_of(256.0) is None
    assert time_of(1e18) is None
    assert summary_of(record_of([(1.8e9, 0.1, False)])).newest == time_of(1.8e9)
