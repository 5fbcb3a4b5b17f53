"""What groups make of their samples: clocks count the work, so each figure is known beforehand."""

import gc
import json
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import trio
from benchmarks import measure
from benchmarks.crowd import PLAIN, Gate, contestants
from benchmarks.effort import Effort
from benchmarks.floors import HAND, hand_written
from benchmarks.groups.capacity import Load, capacity
from benchmarks.groups.crowds import _reading, crowds
from benchmarks.groups.features import WITHOUT, Feature, features
from benchmarks.groups.growing import growing
from benchmarks.groups.stalls import stalls
from benchmarks.groups.storms import CALLER, makers, open_for_storms, storm, storms
from benchmarks.instructions import counting, scenarios
from benchmarks.instructions.counting import count
from benchmarks.instructions.scenarios import ENGINE, Scenario, Steps, play
from benchmarks.measure import interleave, timed
from benchmarks.shapes import straight

from graceline import open_engine

QUICK = Effort(quick=True)


class Counted:
    """A node that counts its calls, and a clock that shows how many there were."""

    def __init__(self):
        self.calls = 0

    async def __call__(self, value):
        self.calls += 1
        return value

    def clock(self):
        return float(self.calls)


async def test_growth_is_per_node(monkeypatch):
    """A clock that a node moves by a second shows a second per node, in each size and shape."""
    node, names = Counted(), growing.__globals__
    monkeypatch.setitem(names, "_AT_ONCE", 20)
    monkeypatch.setitem(names, "plain", node)
    monkeypatch.setitem(names, "timed", partial(timed, clock=node.clock))
    rows = await growing(SimpleNamespace(rounds=lambda _: 1, sizes=lambda *_: (1, 10, 20)))
    assert {row.figure.median for row in rows} == {1e6}
    assert {row.ratio.median for row in rows} == {1.0}


async def test_capacity_is_one_over_the_seconds_of_a_run(monkeypatch):
    """Where a run takes two seconds, there is half a run per second, however many are at once."""
    node, names = Counted(), capacity.__globals__
    monkeypatch.setitem(names, "timed", partial(timed, clock=lambda: 2.0 * node.calls))
    load = Load(straight([[node]]), partial(hand_written, [[node]], 1), times=3)
    loads = {"alone": load, "at once": Load(load.pipeline, load.by_hand, at_once=4, times=3)}
    monkeypatch.setitem(names, "LOADS", loads)
    rows = await capacity(QUICK)
    assert [(row.what, row.figure.median, row.floor.median) for row in rows] == [
        ("alone", 0.5, 0.5),
        ("at once", 0.5, 0.5),
    ]


async def test_features_are_held_against_the_run_without(monkeypatch):
    """What the same run without the feature takes is taken off, and the yardstick is the floor."""
    names = features.__globals__
    samples = {HAND: [4e-6], WITHOUT: [3e-6], "feature": [5e-6]}

    class MadeUp:
        async def __aenter__(self):
            nothing = partial(trio.sleep, 0)
            return {name: Feature(nothing, warm=0) for name in (WITHOUT, "feature")}

        async def __aexit__(self, *_):
            pass

    async def known(asked, rounds, warmup=1):
        assert set(asked) == set(samples)
        return samples

    monkeypatch.setitem(names, "contestants", lambda _: MadeUp())
    monkeypatch.setitem(names, "interleave", known)
    for row in await features(QUICK):
        assert row.figure.median == pytest.approx(2.0)
        assert row.ratio.median == pytest.approx(0.5)


@pytest.mark.parametrize("nodes", [5, 50])
async def test_a_feature_is_sampled_per_node(monkeypatch, nodes):
    """A clock that a node moves by a second shows a second per node."""
    node = Counted()
    monkeypatch.setitem(features.__globals__, "timed", partial(timed, clock=node.clock))
    run = partial(hand_written, [[node] * nodes], 1)
    assert await Feature(run).sample(nodes)() == 1.0


async def test_a_crowd_is_read_per_run_and_outside_the_collector(monkeypatch):
    """Twelve runs in twelve seconds, six of them the collector's, are half a second each."""
    node, names, gate = Counted(), crowds.__globals__, Gate()

    class Collector:
        seconds = 6.0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setitem(names, "time", SimpleNamespace(process_time=node.clock))
    monkeypatch.setitem(names, "Collector", Collector)
    async with open_engine() as engine:
        for run in contestants(engine, [[node, gate.wait]]).values():
            figures = await _reading(gate, 4, 3, run)
            assert figures == {names["ALL"]: 1.0, names["OUTSIDE"]: 0.5}


async def test_crowds_compare_what_they_say(monkeypatch):
    """Growth outside the collector is of that, and growth beside hand-written scopes of all of it."""
    names = crowds.__globals__
    sizes = (10, 20)
    everything = {"engine": (2.0, 12.0), HAND: (1.0, 3.0), PLAIN: (1.0, 1.5)}

    async def lives(asked, rounds, warmup=1):
        return {name: [1.0] for name in asked}

    async def known(asked, rounds):
        by_size = {
            f"{who} {size}": [figure]
            for who, figures in everything.items()
            for size, figure in zip(sizes, figures, strict=True)
        }
        outside = {name: [1.0 if name.endswith("10") else 1.25] for name in by_size}
        return {names["ALL"]: by_size, names["OUTSIDE"]: outside}

    monkeypatch.setitem(names, "interleave", lives)
    monkeypatch.setitem(names, "readings", known)
    effort = SimpleNamespace(rounds=lambda _: 1, sizes=lambda *_: sizes, quick=True)
    found = {(row.what, row.against): row.ratio.median for row in await crowds(effort)}
    what, pair = "CPU per run in flight", "10 -> 20"
    assert found == {
        ("per run, one after another, 10 to 20", pair): 1.0,
        ("CPU per run, 20 in flight", HAND): 4.0,
        ("CPU per run, 20 in flight", PLAIN): 8.0,
        **{
            (f"{what} outside the collector{who}, 10 to 20", pair): 1.25
            for who in ("", f", {HAND}", f", {PLAIN}")
        },
        (f"{what}, 10 to 20", pair): 6.0,
        (f"{what}, {HAND}, 10 to 20", pair): 3.0,
        (f"{what}, {PLAIN}, 10 to 20", pair): 1.5,
        (f"{what}, times that of {HAND}, 10 to 20", pair): 2.0,
        (f"{what}, times that of {PLAIN}, 10 to 20", pair): 4.0,
    }


@pytest.mark.parametrize("contestant", [HAND, "engine"])
async def test_a_storm_is_read_per_run(autojump_clock, monkeypatch, contestant):
    """Five runs that unwind in ten seconds are two seconds each."""
    names, readings = storm.__globals__, iter([100.0, 110.0])
    monkeypatch.setitem(names, "time", SimpleNamespace(process_time=lambda: next(readings)))
    gate = Gate()
    async with open_for_storms() as engine:
        figures = await storm(gate, makers(engine, gate, CALLER)[contestant](), 5, CALLER)
    assert figures[names["CPU"]] == 2.0


@pytest.mark.parametrize(
    ("group", "units"), [(storms, {"us": 2000.0, "ms": 2.0}), (stalls, {"ms": 2.0})]
)
async def test_seconds_are_shown_in_their_unit(monkeypatch, group, units):
    """Two milliseconds are 2 ms or 2,000 us, and twice what the floor takes."""

    async def known(asked, rounds):
        names = group.__globals__
        figures = {name: [0.002 if name == "engine" else 0.001] for name in asked}
        kinds = ("CPU", "STALL", "START", "END", "SPREAD", "COLLECTOR")
        return {names[kind]: figures for kind in kinds if kind in names}

    monkeypatch.setitem(group.__globals__, "readings", known)
    rows = await group(QUICK)
    assert {row.unit for row in rows} == set(units)
    for row in rows:
        assert row.figure.median == pytest.approx(units[row.unit])
        assert row.ratio.median == pytest.approx(2.0)


def test_instructions_are_counted_per_unit(tmp_path, monkeypatch):
    """What stands between two marks is divided by the runs and by the units of each."""
    script = tmp_path / "valgrind"
    script.write_text(
        """#!/bin/sh
        for one in "$@"; do case $one in --callgrind-out-file=*) out=${one#*=};; esac; done
        number=0
        for total in 7 6000 9 12000; do
            number=$((number + 1))
            echo "totals: $total" > "$out.$number"
        done
        echo '[["made-up", "hand"], ["made-up", "engine"]]'
        """
    )
    script.chmod(0o755)
    monkeypatch.setattr(counting.shutil, "which", lambda _: str(script))
    made_up = {"made-up": Scenario("w", "node", dict, units=5, runs=12)}
    assert count(["made-up"], made_up) == {"made-up": {"hand": 100.0, "engine": 200.0}}


def test_each_run_that_is_counted_stands_between_the_marks(monkeypatch):
    """As many runs as the scenario says, after some that are not counted."""
    node, at_marks = Counted(), []
    monkeypatch.setattr(scenarios, "_mark", lambda: at_marks.append(node.calls))
    made_up = {"made-up": Scenario("w", "run", lambda _: {ENGINE: partial(node, 1)}, runs=12)}
    trio.run(play, made_up, ["made-up"], clock=Steps())
    assert at_marks[1] - at_marks[0] == 12
    assert at_marks[0] > 0


def test_nothing_is_collected_while_instructions_are_counted(monkeypatch, capsys):
    """A collection more or less would be seen in the count."""
    seen = []

    async def played(made_up, names):
        seen.append((gc.isenabled(), names))
        return [("one", ENGINE)]

    monkeypatch.setattr(scenarios, "play", played)
    monkeypatch.setattr(sys, "argv", ["scenarios", "one"])
    try:
        scenarios.main({})
    finally:
        gc.enable()
    assert seen == [(False, ["one"])]
    assert json.loads(capsys.readouterr().out) == [["one", ENGINE]]


async def test_nobody_pays_for_the_sample_before(monkeypatch):
    """The young generations are emptied and Trio gets a tick before each sample."""
    seen = []

    class Ticks(trio.abc.Instrument):
        def after_io_wait(self, timeout):
            seen.append("tick")

    async def sample():
        seen.append("sample")
        return 1.0

    collect = lambda generation: seen.append(f"collect {generation}")
    monkeypatch.setattr(measure, "gc", SimpleNamespace(collect=collect))
    ticks = Ticks()
    trio.lowlevel.add_instrument(ticks)
    await interleave({"a": sample, "b": sample}, 2, warmup=1)
    trio.lowlevel.remove_instrument(ticks)
    assert seen == ["collect 1", "tick", "sample"] * 6
