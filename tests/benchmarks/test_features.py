"""The costs of features: each contestant does what its row says. Nothing is timed."""

import logging
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest
import trio
from benchmarks.floors import HAND, yardstick
from benchmarks.groups.features import WITHOUT, Feature, contestants, features
from benchmarks.rows import amount, difference
from prometheus_client import CollectorRegistry

from graceline import Breaker, Bulkhead, Retry, Status
from graceline.telemetry.events import NodeFinished
from graceline.telemetry.timeline import Timeline

ALL = (Retry, Breaker, Bulkhead)
POLICIES = {
    "a retry": (Retry,),
    "a breaker": (Breaker,),
    "a retry and a breaker": (Retry, Breaker),
    "a bulkhead": (Bulkhead,),
}
CHANGED = {"save_partial()": "saving", "a cleanup() block": "cleaning"}


def pipeline_of(feature):
    """The pipeline that a feature runs with."""
    return feature.run.args[0]


def test_difference_is_taken_within_a_round():
    """What is added is divided by a node with hand-written scopes in the same round; that decides."""
    samples = {"a": [3e-6, 9e-6, 5e-6], "b": [1e-6, 8e-6, 1e-6], HAND: [4e-6, 1e-6, 2e-6]}
    made = difference(samples, "g", "w", figure="a", base="b", design=6.0)
    assert made.figure.median == pytest.approx(2.0)
    assert (made.floor.median, made.ratio.median) == (pytest.approx(2.0), pytest.approx(1.0))
    assert (made.bar, made.most, made.missed) == (0.98, None, True)


@pytest.mark.parametrize(("design", "bar"), [(6.0, 0.98), (5.0, 0.82), (3.0, 0.49), (0.5, 0.082)])
def test_the_bars_of_the_design_are_ratios(design, bar):
    """The microseconds that the design allows for are divided by those of its machine."""
    samples = {"a": [2.0], "b": [1.0], HAND: [10.0]}
    assert difference(samples, "g", "w", figure="a", base="b", design=design).bar == bar


def test_an_addition_without_a_promise_has_no_bar():
    """A ratio is shown all the same."""
    samples = {"a": [2.0], "b": [1.0], HAND: [10.0]}
    made = difference(samples, "g", "w", figure="a", base="b")
    assert (made.ratio.median, made.bar, made.verdict) == (0.1, None, "")


def test_an_amount_is_shown_alone():
    """It has no floor, and what is the same in both is taken off."""
    made = amount({"a": [3e-6], "b": [1e-6]}, "g", "w", figure="a", base="b")
    assert made.figure.median == pytest.approx(2.0)
    assert (made.floor, made.ratio, made.verdict) == (None, None, "")


async def test_the_yardstick_is_hand_written():
    """One contestant, by the name that differences look for."""
    assert list(yardstick()) == [HAND]


async def test_features_are_warm_and_surrounded(monkeypatch):
    """Each is warmed up as it needs, and what it needs around it is there while it is measured."""
    ran, inside = [], []

    async def run(name):
        ran.append((name, bool(inside)))

    @contextmanager
    def around():
        inside.append(None)
        yield
        inside.pop()

    @asynccontextmanager
    async def made_up(nodes):
        yield {
            WITHOUT: Feature(partial(run, WITHOUT), warm=0),
            "promised": Feature(partial(run, "promised"), design=3.0, warm=7),
            "free": Feature(partial(run, "free"), warm=0, during=around),
        }

    monkeypatch.setitem(features.__globals__, "contestants", made_up)
    rows = await features(Rounds())
    assert [(row.what, row.bar) for row in rows] == [
        ("promised, more per node of 5", 0.49),
        ("free, more per node of 5", None),
        ("promised, more per node of 50", 0.49),
        ("free, more per node of 50", None),
    ]
    assert ran[:7] == [("promised", False)] * 7
    assert {around for name, around in ran if name == "free"} == {True}
    assert ran.count(("promised", False)) == ran.count(("free", True)) + 14


class Rounds:
    """The least effort."""

    def rounds(self, usual):
        return 1


async def test_every_feature_does_its_work(autojump_clock):
    """Each contestant runs the same nodes, and its runs go well."""
    async with contestants(3) as known:
        for name, feature in known.items():
            with feature.during():
                result = await feature.run()
            if result is not None:
                nodes = [node for stage in result.stages.values() for node in stage.nodes.values()]
                assert (result.value, len(nodes)) == (1, 3), name
                assert {node.status for node in nodes} == {Status.OK}


async def test_a_feature_is_on_where_it_is_measured():
    """Policies are those of the row, and the contestant without any has none."""
    async with contestants(2) as known:
        pipelines = {name: pipeline_of(known[name]) for name in (WITHOUT, *POLICIES)}
        hedged = pipeline_of(known["a hedge that is armed and not sent"])
        changed = {name: pipeline_of(known[name]) for name in CHANGED}
    for name, kinds in (*POLICIES.items(), (WITHOUT, ())):
        pipeline = pipelines[name]
        have = (pipeline.retry, pipeline.breaker, pipeline.limit)
        assert tuple(type(one) for one in have if isinstance(one, ALL)) == kinds
    assert all(node.hedge and node.idempotent for node in hedged.stages[0].nodes)
    assert {
        name: pipeline.stages[0].nodes[0].function.__name__ for name, pipeline in changed.items()
    } == CHANGED


async def test_learned_limits_are_warm_before_they_are_measured(autojump_clock):
    """The contestants differ in where their limits come from, and the cold start is over."""
    async with contestants(3) as known:
        learned, stated = known["a learned limit"], await known[WITHOUT].run()
        for _ in range(learned.warm):
            result = await learned.run()
    limits = [
        {(node.source, node.limit) for node in one.stages["s0"].nodes.values()}
        for one in (stated, result)
    ]
    assert limits == [{("node", 1.0)}, {("adaptive", 0.005)}]


async def test_a_hedge_is_armed_before_it_is_measured():
    """After the warm-up an attempt has a task of its own, from which a copy could be told."""
    tasks = []

    async with contestants(1) as known:
        hedged = known["a hedge that is armed and not sent"]
        for _ in range(hedged.warm):
            await hedged.run()

        class Spawned(trio.abc.Instrument):
            def task_spawned(self, task):
                tasks.append(task)

        trio.lowlevel.add_instrument(Spawned())
        await hedged.run()
    assert tasks


async def test_the_log_is_built_while_it_is_measured(caplog):
    """Each node starts and ends in the log then, and the logger is as before afterwards."""
    log, seen = logging.getLogger("graceline.run"), []
    caplog.set_level(logging.ERROR, log.name)
    before = (logging.ERROR, True, list(log.handlers))
    async with contestants(2) as known:
        feature = known["the log at DEBUG"]
        with feature.during():
            log.handlers[-1].emit = seen.append
            await feature.run()
    assert sum(record.event_type == "node_finished" for record in seen) == 2
    assert (log.level, log.propagate, log.handlers) == before


async def test_metrics_and_timeline_see_the_runs(monkeypatch):
    """The registry has the runs of its contestant alone, and a timeline each node of each run."""
    registry, seen = CollectorRegistry(), []
    names = contestants.__wrapped__.__globals__
    monkeypatch.setitem(names, "CollectorRegistry", lambda: registry)
    monkeypatch.setattr(Timeline, "__call__", lambda _, event: seen.append(type(event)))
    async with contestants(2) as known:
        await known["metrics in a registry"].run()
        await known[WITHOUT].run()
        runs = [
            sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == "graceline_pipeline_duration_seconds_count"
        ]
        assert (runs, seen) == ([1.0], [])
        live = known["a timeline as a live sink"]
        with live.during():
            await live.run()
            await live.run()
        assert seen.count(NodeFinished) == 4
        await known["a timeline for each run, subscribed and removed"].run()
        await known[WITHOUT].run()
    assert seen.count(NodeFinished) == 6


async def test_a_live_timeline_begins_anew_for_each_run(monkeypatch):
    """So each run is heard by one that keeps it, and none is taken for another."""
    kept, made = [], Timeline.__init__
    monkeypatch.setattr(Timeline, "__init__", lambda it: (made(it), kept.append(it))[0])
    async with contestants(2) as known:
        live = known["a timeline as a live sink"]
        with live.during():
            for count in (1, 2):
                await live.run()
                assert len(kept) == 1 + count
                assert len([row for row in kept[-1].rows() if row.level == "node"]) == 2


async def test_spans_are_made_and_not_kept():
    """Each part of a run has one, and the next run finds none."""
    async with contestants(2) as known:
        run = known["spans of OpenTelemetry in memory"].run
        exporter = next(
            cell.cell_contents for cell in run.__closure__ if hasattr(cell.cell_contents, "clear")
        )
        made = []
        exporter.clear = lambda: made.append(len(exporter.get_finished_spans()))
        await run()
    assert made == [4]
