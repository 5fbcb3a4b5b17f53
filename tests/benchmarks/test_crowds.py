"""Many runs at once: what is counted before anything is measured. Nothing here is timed."""

import gc

import pytest
import trio
from benchmarks.crowd import PLAIN, Gate, contestants, crowd, readings
from benchmarks.floors import HAND
from benchmarks.pauses import Collector
from benchmarks.rows import growth
from benchmarks.shapes import plain
from benchmarks.worker import CONTESTANTS, bytes_per_run

from graceline import open_engine


async def test_all_runs_of_a_crowd_are_in_flight_at_the_same_moment():
    """When the gate is full, every run has started and none has ended."""
    gate = Gate()
    async with open_engine(max_concurrent_pipelines=None) as engine:
        for name, run in contestants(engine, [[plain, gate.wait]]).items():
            gate.shut(20)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(crowd, 20, run)
                await gate.full()
                assert gate.waiting == 20
                assert len(engine.runs()) == (20 if name == "engine" else 0)
                gate.open()
            assert gate.waiting == 0
        assert {PLAIN, HAND, "engine"} == set(contestants(engine, [[plain]]))


async def test_each_sample_starts_with_nothing_to_collect():
    """The collector's idea of how much is alive does not come from the sample before."""
    seen = []

    def sample(name):
        async def read():
            gc.disable()
            seen.append((name, gc.get_count()[2], gc.collect() < 1_000))
            for _ in range(2_000):
                garbage = []
                garbage.append(garbage)
            gc.enable()
            return {"one": float(len(seen)), "other": 0.0}

        return read

    figures = await readings({"a": sample("a"), "b": sample("b")}, 2)
    assert seen == [("a", 0, True), ("b", 0, True)] * 2
    assert figures == {
        "one": {"a": [1.0, 3.0], "b": [2.0, 4.0]},
        "other": {"a": [0.0, 0.0], "b": [0.0, 0.0]},
    }


def test_collector_is_timed_while_the_block_runs():
    """What the garbage collector takes is summed up, and the longest collection kept."""
    readings = iter([1.0, 3.0, 10.0, 11.0])
    before = list(gc.callbacks)
    gc.disable()
    with Collector(lambda: next(readings)) as collector:
        gc.collect()
        gc.collect()
    gc.collect()
    gc.enable()
    assert (collector.seconds, collector.longest) == (3.0, 2.0)
    assert gc.callbacks == before


def test_growth_of_a_ratio_is_no_time():
    """How a ratio grows is shown as it is, not in microseconds."""
    made = growth({"10": [1.0], "100": [1.2]}, "g", "w", bar=1.3, unit="x", scale=1.0)
    assert (made.figure.median, made.floor.median, made.unit) == (1.2, 1.0, "x")
    assert made.ratio.median == pytest.approx(1.2)


@pytest.mark.parametrize("contestant", CONTESTANTS)
@pytest.mark.parametrize("shape", ["sequence", "parallel"])
async def test_memory_is_read_while_all_wait(contestant, shape):
    """The process that reads its memory ends by itself, whatever it is filled with."""
    assert await bytes_per_run(contestant, shape, 30) > -1e6
