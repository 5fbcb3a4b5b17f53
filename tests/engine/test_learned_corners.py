"""Learned limits where other rules meet them: fail-soft parts, short parents, limits of the call, broken stores."""

import logging
import random

import pytest
import trio

from graceline import Adaptive, DefinitionError, Node, Pipeline, Stage, node, open_engine
from graceline.adaptive import Key, MemoryStore, SqliteStore
from graceline.telemetry import events

LEARNED = Adaptive(initial=0.3, ceiling=30)


class Hanging:
    """Takes 50 ms, but hangs in one of so many calls."""

    __name__ = "extra"

    def __init__(self, every):
        self.every = every
        self.calls = 0

    async def __call__(self, value):
        self.calls += 1
        await trio.sleep(1e6 if self.calls % self.every == 0 else 0.05)
        return value


async def quick(value):
    await trio.sleep(0.05)
    return value


def on_the_pipeline(extra):
    return Pipeline("p", [quick, extra], timeout=LEARNED)


def on_a_stage(extra):
    return Pipeline("p", [Stage("s", [quick, extra], timeout=LEARNED)], timeout=1000)


@pytest.mark.parametrize("build", [on_the_pipeline, on_a_stage])
async def test_a_cut_that_only_fail_soft_parts_felt_is_a_cut(autojump_clock, engine, build):
    """A level that its learned limit ends while only non-critical parts are left is ok, and does not learn that it took so long."""
    pipeline = build(Node(Hanging(5), critical=False))
    results = [await engine.run(pipeline) for _ in range(200)]
    assert {str(result.status) for result in results} == {"ok"}
    assert sum(bool(result.degraded) for result in results) == 40
    ordinary = sorted(result.elapsed for result in results[100:])
    assert ordinary[89] <= 0.3


async def test_what_has_no_time_for_a_probe_is_none(autojump_clock, engine):
    """Under a limit that no probe can outlast a node keeps its learned limit, so that its fallback has a turn."""
    extra = Node(Hanging(10), critical=False, timeout=Adaptive(initial=0.2, ceiling=3))
    pipeline = Pipeline("p", [Stage("a", [extra]), Stage("b", [quick])], timeout=40)
    short = [(await engine.run(pipeline, timeout=0.5)).node("extra").limit for _ in range(300)]
    assert 3.0 not in short
    roomy = [(await engine.run(pipeline)).node("extra").limit for _ in range(300)]
    assert 3.0 in roomy


@pytest.mark.parametrize(
    ("given", "limit", "source"),
    [
        ({"timeout": 10, "budget": 5}, 5.0, "header"),
        ({"timeout": 1, "budget": 2}, 1.0, "call"),
        ({"timeout": 0.02, "budget": 1}, 0.02, "call"),
        ({"budget": 0.1}, 0.1, "header"),
        ({"budget": 4}, 0.2, "adaptive"),
        ({}, 0.2, "adaptive"),
    ],
)
async def test_the_call_has_the_last_word(autojump_clock, engine, given, limit, source):
    """A timeout of the call replaces a learned limit, and a budget only ever shortens what applies."""
    pipeline = Pipeline("p", [Hanging(1)], timeout=Adaptive(initial=0.2, ceiling=3))
    result = await engine.run(pipeline, **given)
    assert (result.limit, result.source, result.elapsed) == (limit, source, limit)


class Broken(MemoryStore):
    """A store whose disk is gone."""

    def put(self, *what):
        raise OSError("no such device")


async def test_a_store_that_raises_stops_no_run(autojump_clock, caplog):
    """Runs go on when the store fails, and so does the end of the engine; one warning says so."""
    caplog.set_level(logging.WARNING, "graceline.adaptive")
    async with open_engine(history=Broken()) as engine:
        pipeline = Pipeline("p", [quick])
        for _ in range(200):
            assert (await engine.run(pipeline)).ok
    said = [record for record in caplog.records if record.name == "graceline.adaptive"]
    assert ["history cannot be kept" in record.getMessage() for record in said] == [True]


class _Unreadable(MemoryStore):
    def load(self, key):
        raise OSError("no such device")


async def test_a_store_that_cannot_be_read_stops_no_run(autojump_clock, caplog):
    """A part whose durations cannot be read begins without them; one warning says so."""
    caplog.set_level(logging.WARNING, "graceline.adaptive")
    async with open_engine(history=_Unreadable()) as engine:
        engine._learning._learners._records = None  # as for a part that has left
        pipeline = Pipeline("p", [quick, Node(quick, name="other")])
        assert all([(await engine.run(pipeline)).ok for _ in range(5)])
    assert caplog.text.count("history cannot be kept") == 1


async def test_a_store_that_was_closed_does_not_hide_an_error(caplog, tmp_path):
    """An exception that leaves the engine's block arrives as it is, whatever became of the store."""
    store = SqliteStore(tmp_path / "h.db")
    with pytest.raises(ValueError, match="mine"):
        async with open_engine(history=store) as engine:
            await engine.run(Pipeline("p", [quick]))
            store.close()
            raise ValueError("mine")
    assert "history cannot be kept" in caplog.text


class _FailsToFlush(MemoryStore):
    def flush(self):
        raise OSError("no such device")


async def test_a_store_that_cannot_flush_lets_the_engine_end(caplog):
    """The engine ends well although its store cannot say that all is safe; a warning says so."""
    async with open_engine(history=_FailsToFlush()) as engine:
        assert (await engine.run(Pipeline("p", [quick]))).ok
    assert "what was learned cannot be kept" in caplog.text


async def test_a_history_is_an_object(autojump_clock):
    """The class of a store in place of a store is refused at once."""
    with pytest.raises(DefinitionError, match="history= takes a store such as SqliteStore, not"):
        async with open_engine(history=SqliteStore):
            pass


async def test_soft_deadlines_do_not_keep_ended_runs(autojump_clock, engine):
    """However far away its soft deadline is, a part that has ended is forgotten before long."""
    engine.subscribe(lambda event: None, inline=True)
    pipeline = Pipeline("p", [Node(quick, timeout="30m")], timeout="1h", budget="remaining")
    for _ in range(500):
        await engine.run(pipeline)
    assert len(engine._late._heap) <= 130


def test_polite_stops_do_not_go_with_a_learned_limit():
    """Work that stops before its limit would teach that limit to shrink, so that is refused."""
    with pytest.raises(DefinitionError, match="stops politely before a learned limit"):
        node(timeout=LEARNED, stop_before=0.1)(quick)


async def test_a_budget_of_a_run_is_no_way_to_share(autojump_clock, engine):
    """Who mistakes `budget=` of a run for that of a pipeline is told the difference."""
    with pytest.raises(DefinitionError, match=r"Pipeline\(budget='reserve'\)"):
        await engine.run(Pipeline("p", [quick]), budget="reserve")


async def test_what_optional_parts_may_take_is_bounded_by_their_limits(autojump_clock, engine):
    """Optional parts that hang are cut by their own limits, so a run that can be answered is not refused for them."""
    chance = random.Random(1)  # noqa: S311 - latencies
    down = [False]

    def optional(name):
        async def work(value):
            await trio.sleep(1e6 if down[0] else 0.01 * chance.lognormvariate(0, 0.2))
            return value

        return Node(work, name=name, critical=False, timeout=0.05)

    parts = [
        Stage("a", [Node(quick, name="a")]),
        Stage("b", [optional("b1"), optional("b2")]),
        Stage("c", [optional("c")], critical=False, timeout=0.08),
        Stage("d", [Node(quick, name="d")]),
    ]
    pipeline = Pipeline("p", parts, timeout=1, budget="reserve")
    for _ in range(60):
        await engine.run(pipeline)
    down[0] = True
    results = [await engine.run(pipeline) for _ in range(400)]
    assert {str(result.status) for result in results} == {"ok"}


async def test_late_values_of_soft_limits_are_kept_as_they_are(autojump_clock, tmp_path):
    """Where a learned limit cuts nothing, the store has the true durations, and no limit that applied."""
    key = Key("default", "p", "p", "quick", "node")
    store = MemoryStore()
    async with open_engine(history=store) as engine:
        soft = Node(quick, timeout=Adaptive(initial=0.02, ceiling=0.04))
        pipeline = Pipeline("p", [soft], timeout=1, budget="remaining")
        for _ in range(40):
            assert (await engine.run(pipeline)).ok
    record = store.load(key)
    assert [(round(took, 6), cut) for _, took, cut in record.history.samples()] == [
        (0.05, False)
    ] * 40
    assert record.limits == ()


async def test_blame_says_that_a_limit_was_learned(autojump_clock, engine):
    """The sentence that people read says where the limit came from."""
    heard = []
    engine.subscribe(heard.append, inline=True)
    pipeline = Pipeline("p", [Node(Hanging(1), timeout=Adaptive(initial=0.2, ceiling=3))])
    result = await engine.run(pipeline)
    assert result.blame.message == (
        "node 'extra' exceeded its limit of 200ms, learned from the durations of calls"
    )
    ended = next(event for event in heard if isinstance(event, events.NodeFinished))
    assert ended.source == "adaptive"
