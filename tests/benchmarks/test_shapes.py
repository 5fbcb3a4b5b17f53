"""Sizes, shapes and places: floors and engine do the same work. Nothing is timed."""

import attrs
import pytest
import trio
from benchmarks.floors import HAND, hand_graph
from benchmarks.groups import elsewhere
from benchmarks.groups.capacity import LOADS, capacity
from benchmarks.groups.defining import defining
from benchmarks.groups.growing import SHAPES, _rows, growing
from benchmarks.shapes import in_thread, layered, levels_of, threaded

from graceline import open_engine


class Least:
    """The least effort, for these sizes."""

    def __init__(self, *sizes):
        self._sizes = sizes

    def rounds(self, usual):
        return 1

    def sizes(self, *_):
        return self._sizes


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("size", [1, 10])
async def test_each_shape_has_so_many_nodes(name, size):
    """The engine and the floor do the same work, in the number of nodes that the row says."""
    shape = SHAPES[name]
    async with open_engine() as engine:
        result = await engine.run(shape.pipeline(size), 1)
    assert result.ok
    assert sum(len(stage.nodes) for stage in result.stages.values()) == size
    by_hand = await shape.by_hand(size)()
    assert by_hand == 1 or len(by_hand) == size


def test_only_what_is_promised_has_a_bar():
    """Growth counts from 10 nodes on, and the floors have no bar."""
    samples = {f"{who} {size}": [1.0] for who in ("engine", HAND) for size in ("1", "10", "100")}
    rows = _rows(samples, "shape", ["1", "10", "100"], 1.3)
    assert [(row.bar, row.against) for row in rows] == [
        (None, HAND), (None, HAND), (None, HAND), (1.3, "10 -> 100"), (None, "10 -> 100")
    ]  # fmt: skip
    assert [shape.bar for shape in SHAPES.values()] == [1.3, 1.3, None, 1.3]


async def test_each_shape_is_measured_in_each_size(monkeypatch):
    """One row for each beside the same by hand, and two that say how the costs grow."""
    monkeypatch.setitem(growing.__globals__, "_AT_ONCE", 1)
    monkeypatch.setitem(growing.__globals__, "SHAPES", {"in one stage": SHAPES["in one stage"]})
    rows = await growing(Least(10, 20, 40))
    assert [row.what for row in rows] == [
        "node of 10 in one stage",
        "node of 20 in one stage",
        "node of 40 in one stage",
        "per node, in one stage, 20 to 40",
        f"per node, in one stage, {HAND}, 20 to 40",
    ]


async def test_a_definition_is_compiled_in_the_first_run(monkeypatch):
    """Each first run is one of a definition that no engine has seen."""
    made = []

    def make(size):
        made.append(SHAPES["in one stage"].pipeline(size))
        return made[-1]

    shapes = {"in one stage": attrs.evolve(SHAPES["in one stage"], pipeline=make)}
    monkeypatch.setitem(defining.__globals__, "SHAPES", shapes)
    rows = await defining(Least(10))
    assert [row.what for row in rows] == [
        "definition, node of 10 in one stage",
        "compilation, node of 10 in one stage",
    ]
    again, times, rounds = 1, 20, 2  # one pipeline is known, and the warm-up is a round
    assert len(made) == again + 2 * times * rounds


async def test_a_graph_by_hand_waits_for_its_predecessors(autojump_clock):
    """A node gets the values of those above it, once both have one."""
    seen = []

    async def node(value):
        await trio.sleep(1)
        seen.append((trio.current_time(), value))
        return len(seen)

    values = await hand_graph(levels_of(node, 2), 0)
    assert [time for time, _ in seen] == [1.0, 1.0, 2.0, 2.0]
    above = {0: values[0], 1: values[1]}
    assert [given for _, given in seen] == [0, 0, above, above]


async def test_a_graph_by_hand_ends_where_a_node_is_cut(autojump_clock):
    """Those that wait for it do not wait for ever."""

    async def stuck(_):
        await trio.sleep_forever()

    start = trio.current_time()
    assert await hand_graph(levels_of(stuck, 2), 0) == {}
    assert trio.current_time() == start + 100


def test_a_graph_needs_all_of_the_level_above():
    """In both spellings."""
    work = levels_of(threaded, 2, 3)
    assert [list(before) for _, before in work] == [[], [], [], [0, 1, 2], [0, 1, 2], [0, 1, 2]]
    assert layered(in_thread, 2, 3).stages[0].graph.before["n5"] == ("n0", "n1", "n2")


@pytest.mark.parametrize("group", [elsewhere.threads, elsewhere.commands])
async def test_what_runs_elsewhere_is_measured_in_both_ways(group, monkeypatch):
    """One after another and all at once, each beside the same by hand."""
    monkeypatch.setattr(elsewhere, "NODES", 2)
    rows = await group(Least())
    assert [row.what.rpartition(", ")[2] for row in rows] == ["2 one after another", "2 at once"]
    assert {(row.against, row.bar) for row in rows} == {(HAND, None)}


async def test_capacity_is_in_runs_per_second(monkeypatch):
    """Each load has its own row, with no floor where nobody would write it by hand."""
    chosen = ("1 plain node", "50 nodes with retry, breaker and learned limit")
    for other in set(LOADS) - set(chosen):
        monkeypatch.delitem(LOADS, other)
    for name in chosen:
        monkeypatch.setitem(LOADS, name, attrs.evolve(LOADS[name], times=1, warm=0))
    rows = await capacity(Least())
    assert [(row.what, row.unit, row.against) for row in rows] == [
        (chosen[0], "runs/s", HAND),
        (chosen[1], "runs/s", ""),
    ]
    assert all(row.bar is None and row.figure.median > 0 for row in rows)


@pytest.mark.parametrize("name", LOADS)
async def test_each_load_goes_well(name):
    """What is counted are runs that succeed."""
    async with open_engine() as engine:
        assert (await engine.run(LOADS[name].pipeline, 1)).ok
