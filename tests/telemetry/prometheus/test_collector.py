"""The collector: several engines, engines that close, other threads, and how much it shows."""

import threading
from bisect import bisect_left
from itertools import pairwise
from math import ceil, inf

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from graceline import (
    BlockingEngine,
    Metrics,
    Node,
    Pipeline,
    Stage,
    Status,
    choose,
    open_engine,
)
from graceline.telemetry.prometheus.collector import collector_of
from graceline.telemetry.prometheus.families import Families, Lane
from graceline.telemetry.prometheus.sources import Gauges, Source
from graceline.telemetry.stats import BUCKETS, Histogram, Stats
from graceline.testing import run_virtual


async def brief(_):
    return 1


PIPELINE = Pipeline("p", [brief])
NODE = {"pipeline": "p", "stage": "s", "node": "n"}


async def test_engines_of_a_lane_are_added_up(autojump_clock, metrics, shown):
    """What two engines of one lane count is one series; another lane has series of its own."""
    async with (
        open_engine(metrics=metrics) as one,
        open_engine(metrics=metrics) as two,
        open_engine(metrics=metrics, lane="night", mode="observe") as night,
    ):
        for engine in (one, two, two, night):
            await engine.run(PIPELINE)
        runs = [engine.start(Pipeline("q", [trio.sleep]), 0.1) for engine in (one, two, night)]
        await trio.testing.wait_all_tasks_blocked()
        flight = {
            dict(labels)["lane"]: value
            for (name, labels), value in shown.samples().items()
            if name == "runs_in_flight" and dict(labels)["pipeline"] == "q"
        }
        for run in runs:
            await run.wait()
        counts = shown.samples()
    assert flight == {"default": 2, "night": 1}
    for lane, number in (("default", 3), ("night", 1)):
        labels = (("lane", lane), ("pipeline", "p"))
        assert counts["pipeline_nodes_count", labels] == number


async def test_a_closed_engine_takes_nothing_back(autojump_clock, metrics, shown):
    """Counters and histograms keep what closed engines counted, and go on from there."""
    for number in (1, 2, 3):
        async with open_engine(metrics=metrics) as engine:
            await engine.run(PIPELINE)
            assert shown.value("pipeline_nodes_count", pipeline="p") == number
            assert shown.value("runs_in_flight", pipeline="p") == 0
        assert shown.value("pipeline_nodes_count", pipeline="p") == number
        assert shown.value("queue_wait_seconds_count") == number
        assert shown.value("runs_in_flight", pipeline="p") is None


async def test_an_engine_that_fails_is_kept_too(autojump_clock, metrics, shown):
    """However its block is left, an engine's counts stay and its gauges go."""
    with pytest.raises(KeyError):
        async with open_engine(metrics=metrics) as engine:
            await engine.run(PIPELINE)
            raise KeyError
    assert shown.value("pipeline_nodes_count", pipeline="p") == 1
    assert shown.value("queue_depth") is None


def source(stats, **doing):
    """An engine that has counted this, and is doing that."""
    nothing = {
        "in_flight": {}, "queued": 0, "abandoned_threads": 0, "stuck_nodes": 0, "breakers": {},
        "health": {},
    }  # fmt: skip
    now = Gauges(**(nothing | doing))
    return Source(lane="default", mode="enforce", stats=stats, gauges=lambda: now)


def test_what_several_engines_do_is_put_together(metrics, shown):
    """Numbers are added up; of breakers and alternatives the worst is shown, whoever has it."""
    one, two = Stats(), Stats()
    one.blocked.add(0.25)
    two.blocked.add(0.5)
    good, bad = ("p", "s", "c.good"), ("p", "s", "c.bad")
    collector = collector_of(metrics)
    for stats, threads, nodes, queued, states, healths in (
        (one, 1, 2, 3, (2, 0), (0.9, 0.2)),
        (two, 4, 5, 6, (1, 2), (0.7, 0.4)),
    ):
        collector.attach(
            source(
                stats,
                in_flight={"p": threads},
                queued=queued,
                abandoned_threads=threads,
                stuck_nodes=nodes,
                breakers=dict(zip(("a", "b"), states, strict=True)),
                health=dict(zip((good, bad), healths, strict=True)),
            )
        )
    one.pipeline("p")
    assert shown.value("abandoned_threads") == 1 + 4
    assert shown.value("stuck_nodes") == 2 + 5
    assert shown.value("queue_depth") == 3 + 6
    assert shown.value("runs_in_flight", pipeline="p") == 1 + 4
    assert shown.counts("breaker_state", "breaker") == {"a": 2, "b": 2}
    assert shown.counts("node_health", "node") == {"c.good": 0.7, "c.bad": 0.2}
    assert shown.observed("loop_blocked_seconds") == (2, 0.75)


class Awaited:
    """A lock that tells when somebody has to wait for it."""

    def __init__(self, waits):
        self._lock = threading.Lock()
        self._waits = waits

    def __enter__(self):
        if not self._lock.acquire(blocking=False):
            self._waits.set()
            self._lock.acquire()

    def __exit__(self, *error):
        self._lock.release()


def test_an_engine_that_closes_during_a_scrape_is_counted_once(metrics, shown):
    """It waits for the end of the scrape: what it has counted is neither left out nor there twice."""
    collector = collector_of(metrics)
    on = threading.Event()
    """Set once the other thread has to wait, or has not had to."""
    collector._lock = Awaited(on)
    engines = [source(Stats()) for _ in range(3)]

    def close():
        for one in engines[1:]:
            collector.detach(one)
        on.set()

    closing = threading.Thread(target=close)
    now = engines[0].gauges()

    def gauges():
        if closing.ident is None:
            closing.start()
            assert on.wait(60)
        return now

    engines[0] = attrs.evolve(engines[0], gauges=gauges)
    for number, engine in enumerate(engines):
        engine.stats.part("p", "s", "n").add(Status.OK, number, None, None)
        collector.attach(engine)
    during = shown.observed("node_duration_seconds", **NODE, status="ok")
    closing.join(60)
    after = shown.observed("node_duration_seconds", **NODE, status="ok")
    assert during == after == (3, 0 + 1 + 2)


def test_classes_of_errors_keep_their_names(metrics, shown):
    """Once a class is shown by its name, no engine that closes makes it one of the others."""
    collector = collector_of(metrics)
    one, two = source(Stats()), source(Stats())
    for engine, letter in ((one, "A"), (two, "B")):
        for number in range(15):
            error = type(f"{letter}{number}", (Exception,), {})()
            engine.stats.part("p", "s", "n").add(Status.FAILED, 1.0, None, error)
        collector.attach(engine)
    before = shown.counts("node_failures_total", "error_type")
    assert (len(before), before["other"]) == (21, 10)
    collector.detach(two)
    assert shown.counts("node_failures_total", "error_type") == before
    collector.detach(one)
    assert shown.counts("node_failures_total", "error_type") == before


def test_other_threads_count_while_it_is_scraped(metrics, registry):
    """Scrapes during the work of two engines in threads of their own never see counts go back."""
    stop, ready = threading.Event(), threading.Barrier(3)
    seen = []

    def work(name):
        with BlockingEngine(metrics=metrics, lane=name) as engine:
            engine.run(PIPELINE)
            ready.wait(30)
            number = 0
            while not stop.is_set():
                number += 1
                engine.run(Pipeline(f"p{number % 9}", [brief]))

    workers = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for worker in workers:
        worker.start()
    try:
        ready.wait(30)
        for _ in range(5):
            found = {
                (sample.name, *sorted(sample.labels.items())): sample.value
                for family in registry.collect()
                for sample in family.samples
            }
            seen.append(
                {
                    key: value
                    for key, value in found.items()
                    if key[0].endswith(("_total", "_count"))
                }
            )
            for (name, *labels), value in found.items():
                if name.endswith("_count"):
                    top = sorted((*labels, ("le", "+Inf")))
                    assert found[f"{name.removesuffix('_count')}_bucket", *top] == value
    finally:
        stop.set()
        for worker in workers:
            worker.join(30)
    for before, after in pairwise(seen):
        assert before.keys() <= after.keys()
        assert all(after[key] >= value for key, value in before.items())


def quantile(share, buckets):
    """`histogram_quantile` as Prometheus documents it: linear within the bucket of the rank."""
    rank = share * buckets[-1][1]
    index = next(number for number, (_, count) in enumerate(buckets) if count >= rank)
    bound, count = buckets[index]
    if bound == inf:
        return buckets[-2][0]
    low, below = buckets[index - 1] if index else (0.0, 0)
    return low + (bound - low) * (rank - below) / (count - below)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0.0, 3.0), min_size=1, max_size=40),
    st.floats(0.05, 2.0),
    st.sampled_from([0.5, 0.95, 0.99]),
)
def test_quantiles_are_within_a_bucket_of_the_exact_ones(durations, limit, share):
    """p95 by `histogram_quantile` lies in the bucket of the exact p95, timeouts included."""
    registry = CollectorRegistry()
    took = []

    async def main():
        pipeline = Pipeline("p", [trio.sleep], timeout=limit, grace=0)
        async with open_engine(metrics=Metrics(registry=registry), watchdog=None) as engine:
            took.extend([(await engine.run(pipeline, one)).elapsed for one in durations])

    run_virtual(main)
    summed = dict.fromkeys((*BUCKETS, inf), 0.0)
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == "graceline_pipeline_duration_seconds_bucket":
                summed[float(sample.labels["le"])] += sample.value
    exact = sorted(took)[ceil(share * len(took)) - 1]
    number = bisect_left(BUCKETS, exact)
    low = BUCKETS[number - 1] if number else 0.0
    assert low <= quantile(share, list(summed.items())) <= BUCKETS[number]


async def test_two_thousand_runs_add_no_series(autojump_clock, metrics, shown):
    """Ids, inputs, errors, messages and reasons of 2,000 runs add not one series to those of 500."""

    async def vary(number):
        if number % 3 == 0:
            raise type(f"Error{number}", (ValueError,), {})(f"message {number}")
        await trio.sleep(number % 7)
        return number

    async def fail(number):
        raise ValueError(number)

    nodes = [Node(vary, name="n", timeout=3, critical=False), choose(fail, brief, name="c")]
    pipeline = Pipeline("p", [Stage("s", nodes)], timeout=5)

    async def runs(first, last):
        for number in range(first, last):
            run = engine.start(pipeline, number, run_id=f"run-{number}")
            if number % 5 == 0:
                with trio.move_on_after(number % 4):
                    await run.wait()
                run.cancel(f"reason {number}")
            await run.wait()

    async with open_engine(metrics=metrics) as engine:
        await runs(0, 500)
        before = set(shown.samples())
        await runs(500, 2000)
        assert set(shown.samples()) == before
    assert not any(word in shown.text() for word in ("run-", "message", "reason 5"))


async def test_a_hundred_thousand_runs_add_no_series(autojump_clock, metrics, shown):
    """How long runs took, what they raised and whom they blame makes no series of its own."""

    async def fail(_):
        raise ValueError

    async with open_engine() as engine:
        ends = [
            await engine.run(Pipeline("p", [Stage("s", [Node(fail, name="n")])])),
            await engine.run(Pipeline("p", [trio.sleep], timeout=1), 9),
            await engine.run(PIPELINE),
        ]
    stats = Stats()
    collector_of(metrics).attach(source(stats))
    runs, node = stats.pipeline("p"), stats.part("p", "s", "n")

    def run(number):
        end = ends[number % 3]
        took = number % 997 / 7
        runs.add(attrs.evolve(end, run_id=f"run-{number}", elapsed=took), number % 8)
        blame = end.blame and attrs.evolve(end.blame, name=f"name-{number}", message="message")
        error = end.error and type(f"Error{number}", (Exception,), {})()
        node.add(end.status, took, blame, error)

    for number in range(1_000):
        run(number)
    before = set(shown.samples())
    for number in range(1_000, 100_000):
        run(number)
    assert set(shown.samples()) == before
    ends_shown = shown.counts("pipelines_total", "status", "within_budget")
    assert sum(ends_shown.values()) == 100_000


def test_exemplars_lead_to_traces(registry):
    """A bucket has the latest traced duration in it, in the OpenMetrics format and nowhere else."""
    stats = Stats((1.0, 2.0))
    stats.part("p", "s", "n").add(Status.OK, 1.5, None, None)
    stats.pipeline("p").add_ok(0.5, None, 1)
    trace, span = "a" * 32, "b" * 16
    stats.exemplars.note("p", "s", "n", Status.OK, 1.5, trace, span, 1000.0)
    stats.exemplars.note("p", "", "", Status.OK, 0.5, trace, span, 1001.0)
    stats.exemplars.note("p", "", "", Status.OK, 9.0, trace, span, 1002.0)  # of a degraded run
    collector = collector_of(Metrics(buckets=(1.0, 2.0), registry=registry))
    collector.attach(source(stats))
    found = {
        (sample.name.partition("_")[2], sample.labels["le"]): sample.exemplar
        for family in text_string_to_metric_families(generate_openmetrics(registry).decode())
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert set(found) == {
        ("node_duration_seconds_bucket", "2.0"),
        ("pipeline_duration_seconds_bucket", "1.0"),
    }
    exemplar = found["node_duration_seconds_bucket", "2.0"]
    assert exemplar.labels == {"trace_id": trace, "span_id": span}
    assert (exemplar.value, float(exemplar.timestamp)) == (1.5, 1000.0)


def test_buckets_are_cumulative():
    """Each bucket counts what is at most its bound, and the last one everything."""
    stats = Stats((1.0, 2.0))
    for seconds in (0.5, 1.5, 1.6, 9.0):
        stats.queue_wait.add(seconds)
    families = Families("x", (1.0, 2.0)).filled([Lane("l", stats)])
    wait = next(family for family in families if family.name == "x_queue_wait_seconds")
    assert [sample.value for sample in wait.samples] == [1, 3, 4, 4, 12.6]


def test_the_buckets_of_the_table_ascend():
    """Numbers of nodes have buckets that a bisection can search."""
    from graceline.telemetry.prometheus.families import _SIZES

    assert all(low < high for low, high in pairwise(_SIZES))
    assert Histogram(_SIZES).count == 0
