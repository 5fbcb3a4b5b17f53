"""A layout is one that can be read: nothing lies on anything else, whatever the graph."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline.cli.graphs.layered import _MOST, Size, place
from graceline.cli.graphs.sketch import layers_of


@st.composite
def graphs(draw):
    """Boxes of several sizes, each after some of those before it."""
    names = [f"n{number}" for number in range(draw(st.integers(1, 14)))]
    sizes = {
        name: Size(draw(st.sampled_from([60, 90, 200])), draw(st.sampled_from([30, 80])))
        for name in names
    }
    after = {
        name: tuple(before for before in names[:number] if draw(st.integers(0, 3)) == 0)
        for number, name in enumerate(names)
    }
    order = draw(st.permutations(names))
    return {name: sizes[name] for name in order}, {name: after[name] for name in order}


def apart(one, other):
    """Whether two boxes leave room between them."""
    across = one.x + one.width < other.x or other.x + other.width < one.x
    return across or one.y + one.height < other.y or other.y + other.height < one.y


def points_of(run):
    """Points along an edge, as it is drawn: lines within the columns, curves between them."""
    for (_, x, y), (left, right, height) in itertools.pairwise(run):
        for step in range(1, 20):
            t = step / 20
            yield (
                x + (left - x) * (1.5 * t * (1 - t) + t**3 + 1.5 * t**2 * (1 - t)),
                y * ((1 - t) ** 3 + 3 * t * (1 - t) ** 2) + height * (3 * t**2 * (1 - t) + t**3),
            )
        for step in range(5):
            yield left + (right - left) * step / 4, height


@given(graph=graphs())
@settings(deadline=None)
def test_nothing_lies_on_anything_else(graph):
    """No box touches another one, and no edge runs through a box that is not one of its ends."""
    sizes, after = graph
    layout = place(sizes, after)
    assert set(layout.boxes) == set(sizes)
    assert set(layout.edges) == {(before, name) for name in after for before in after[name]}
    assert layout.hidden == 0
    for one, other in itertools.combinations(layout.boxes.values(), 2):
        assert apart(one, other)
    for ends, run in layout.edges.items():
        others = [spot for name, spot in layout.boxes.items() if name not in ends]
        for x, y in points_of(run):
            assert not any(
                spot.x <= x <= spot.x + spot.width and spot.y <= y <= spot.y + spot.height
                for spot in others
            )


@given(graph=graphs())
@settings(deadline=None)
def test_edges_lead_from_left_to_right(graph):
    """What waits stands further to the right; an edge begins and ends at the sides of its boxes."""
    sizes, after = graph
    layout = place(sizes, after)
    for (before, name), run in layout.edges.items():
        start, end = layout.boxes[before], layout.boxes[name]
        assert run[0][:2] == (start.x + start.width, start.x + start.width)
        assert run[-1][:2] == (end.x, end.x)
        assert start.y <= run[0][2] <= start.y + start.height
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(run))
    for spot in layout.boxes.values():
        assert spot.x >= 0
        assert spot.y > -0.001
        assert spot.x + spot.width < layout.width + 0.001
        assert spot.y + spot.height < layout.height + 0.001


def test_a_straight_line_stays_straight():
    """A chain is drawn on one height, and a fan symmetrically."""
    size = Size(100, 30)
    chain = place(dict.fromkeys("abc", size), {"a": (), "b": "a", "c": "b"})
    assert len({spot.y for spot in chain.boxes.values()}) == 1
    fan = place(dict.fromkeys("axyze", size), {"a": (), **dict.fromkeys("xyz", "a"), "e": "xyz"})
    heights = {name: spot.y for name, spot in fan.boxes.items()}
    assert heights["a"] == pytest.approx(heights["e"])
    assert heights["y"] == pytest.approx(heights["a"])
    assert heights["x"] + heights["z"] == pytest.approx(2 * heights["y"])


def test_crossings_are_taken_out():
    """Two edges that cross in the order of the file do not in the picture."""
    size = Size(100, 30)
    layout = place(dict.fromkeys("abcd", size), {"a": (), "b": (), "c": "b", "d": "a"})
    y = {name: spot.y for name, spot in layout.boxes.items()}
    assert (y["a"] < y["b"]) == (y["d"] < y["c"])


def test_layers():
    """Each name is in the first layer after all that it waits for, in the order of writing."""
    assert layers_of({"d": "ac", "b": (), "a": (), "c": "a"}) == [["b", "a"], ["c"], ["d"]]
    assert layers_of({}) == []


@pytest.mark.parametrize(
    ("after", "hidden"),
    [
        (lambda number: range(max(0, number - 1), number), 0),  # a chain
        (lambda number: range(min(number, 1)), 0),  # a fan
        (range, 499_500 - 999),  # all that is possible: a chain is left
        (lambda number: range(500) if number >= 500 else (), 250_000 - _MOST),  # two rows
    ],
)
def test_huge_graphs_stay_bounded(after, hidden):
    """Of a thousand boxes all are drawn, and of their edges as many as can be looked at."""
    sizes = {str(number): Size(100, 30) for number in range(1000)}
    graph = {str(number): tuple(map(str, after(number))) for number in range(1000)}
    layout = place(sizes, graph)
    assert len(layout.boxes) == 1000
    assert layout.hidden == hidden
    assert sum(map(len, layout.edges.values())) <= 2 * _MOST
