"""A layered layout: boxes in columns from left to right, edges that run through none of them.

It is Sugiyama's: an edge that passes columns gets a place in each of them, as a box does; the order
in the columns is improved by the mean place of the neighbours, and the heights by least squares.
(K. Sugiyama, S. Tagawa, M. Toda 1981, "Methods for Visual Understanding of Hierarchical System
Structures", IEEE Trans. Syst. Man Cybern. 11:2.)
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping

import attrs

from graceline.cli.graphs.sketch import layers_of

__all__ = ["Layout", "Size", "Spot", "place"]

_SWEEPS = 8
_GAP, _THIN = 18.0, 10.0
_NARROW, _WIDE = 44.0, 140.0
_MOST = 6000
"""So many pieces of edges are drawn in a frame; edges that others imply are left out first."""

_Item = tuple[str, str, int]
"""A box (its name), or the place of an edge in a column: from, to, and the number of the column."""


@attrs.frozen
class Size:
    """How large a box is, in pixels."""

    width: float
    height: float


@attrs.frozen
class Spot:
    """Where a box is: its upper left corner, and its size."""

    x: float
    y: float
    width: float
    height: float


@attrs.frozen
class Layout:
    """Where everything is.

    Attributes:
        boxes: by name.
        edges: for each edge the lines that it runs along, from left to right: those in between are
            the columns that it passes. The first one and the last one are points.
        width: of it all.
        height: of it all.
        hidden: edges that are not drawn, since there are too many.
    """

    boxes: dict[str, Spot]
    edges: dict[tuple[str, str], list[tuple[float, float, float]]]
    width: float
    height: float
    hidden: int


def place(sizes: Mapping[str, Size], after: Mapping[str, Iterable[str]]) -> Layout:
    """Lay a graph out; the time is bounded, however many edges there are.

    Args:
        sizes: of each box.
        after: for each box those that it comes after.
    """
    layers = layers_of(after)
    depth = {name: number for number, layer in enumerate(layers) for name in layer}
    edges = [(before, name) for name in sizes for before in after[name]]
    drawn = _bounded(edges, after, depth)
    return _Layered(sizes, layers, depth, drawn, len(edges) - len(drawn)).layout()


def _bounded(
    edges: list[tuple[str, str]], after: Mapping[str, Iterable[str]], depth: Mapping[str, int]
) -> list[tuple[str, str]]:
    """The edges that are drawn: all, or those that no others imply, the short ones first."""
    if _pieces(edges, depth) <= _MOST:
        return edges
    bits = {name: 1 << number for number, name in enumerate(depth)}
    above: dict[str, int] = {}
    for name in depth:  # by layers: what is before a box has been looked at
        above[name] = 0
        for before in after[name]:
            above[name] |= above[before] | bits[before]
    needed = []
    for name in depth:
        implied = 0
        for before in after[name]:
            implied |= above[before]
        needed += [(before, name) for before in after[name] if not implied & bits[before]]
    needed.sort(key=lambda edge: depth[edge[1]] - depth[edge[0]])
    kept, pieces = [], 0
    for edge in needed:
        pieces += depth[edge[1]] - depth[edge[0]]
        if pieces > _MOST:
            break
        kept.append(edge)
    return kept


def _pieces(edges: Iterable[tuple[str, str]], depth: Mapping[str, int]) -> int:
    return sum(depth[name] - depth[before] for before, name in edges)


class _Layered:
    def __init__(
        self,
        sizes: Mapping[str, Size],
        layers: list[list[str]],
        depth: Mapping[str, int],
        edges: list[tuple[str, str]],
        hidden: int,
    ) -> None:
        self._sizes = sizes
        self._edges = edges
        self._hidden = hidden
        self._columns: list[list[_Item]] = [[(name, "", -1) for name in layer] for layer in layers]
        self._left: dict[_Item, list[_Item]] = {}
        self._right: dict[_Item, list[_Item]] = {}
        self._paths: dict[tuple[str, str], list[_Item]] = {}
        for before, name in edges:
            path: list[_Item] = [(before, "", -1)]
            for number in range(depth[before] + 1, depth[name]):
                path.append((before, name, number))
                self._columns[number].append(path[-1])
            path.append((name, "", -1))
            self._paths[before, name] = path
            for one, other in itertools.pairwise(path):
                self._right.setdefault(one, []).append(other)
                self._left.setdefault(other, []).append(one)

    def layout(self) -> Layout:
        """Order, heights, columns, and what comes of them."""
        self._order()
        heights = self._heights()
        boxes: dict[str, Spot] = {}
        spans: list[tuple[float, float]] = []
        x = 0.0
        for number, column in enumerate(self._columns):
            width = max(self._sizes[name].width for name, to, _ in column if not to)
            spans.append((x, x + width))
            for item in column:
                if not item[1]:
                    size = self._sizes[item[0]]
                    top = heights[item] - size.height / 2
                    boxes[item[0]] = Spot(x, top, width, size.height)
            x += width + self._gap(number)
        edges = {}
        for (before, name), path in self._paths.items():
            start, end = boxes[before], boxes[name]
            run = [(start.x + start.width, start.x + start.width, heights[path[0]])]
            run += [(*spans[item[2]], heights[item]) for item in path[1:-1]]
            run.append((end.x, end.x, heights[path[-1]]))
            edges[before, name] = run
        bottom = max(spot.y + spot.height for spot in boxes.values())
        lowest = max((y for run in edges.values() for _, _, y in run), default=0.0)
        return Layout(boxes, edges, spans[-1][1], max(bottom, lowest), self._hidden)

    def _gap(self, number: int) -> float:
        """Room between two columns; steep edges need more."""
        pieces = sum(len(self._right.get(item, ())) for item in self._columns[number])
        return min(_WIDE, _NARROW + 3 * pieces)

    def _order(self) -> None:
        """Sort the columns by their neighbours, to and fro, and keep the best."""
        best, fewest = [list(column) for column in self._columns], self._crossings()
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            columns = self._columns if sweep % 2 == 0 else self._columns[::-1]
            sides = self._left if sweep % 2 == 0 else self._right
            for fixed, column in itertools.pairwise(columns):
                at = {item: number for number, item in enumerate(fixed)}
                own = {item: number for number, item in enumerate(column)}
                share = len(fixed) / max(1, len(column))

                def mean(item: _Item) -> float:
                    near = sides.get(item)  # noqa: B023 - it is called in the same turn
                    if not near:
                        return own[item] * share  # noqa: B023
                    return sum(at[one] for one in near) / len(near)  # noqa: B023

                column.sort(key=mean)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(column) for column in self._columns], crossings
        self._columns = best

    def _crossings(self) -> int:
        """How many pieces of edges cross."""
        found = 0
        for one, other in itertools.pairwise(self._columns):
            at = {item: number for number, item in enumerate(other)}
            seen: list[int] = []
            for item in one:
                ends = sorted(at[end] for end in self._right.get(item, ()))
                found += sum(len(seen) - bisect.bisect_right(seen, end) for end in ends)
                for end in ends:
                    bisect.insort(seen, end)
        return found

    def _heights(self) -> dict[_Item, float]:
        """The middle of each item: near those of its neighbours, and clear of those beside it."""
        heights: dict[_Item, float] = {}
        for column in self._columns:
            tall = [self._tall(item) for item in column]
            y = -sum(tall) / 2
            for item, height in zip(column, tall, strict=True):
                heights[item] = y + height / 2
                y += height
        for sweep in range(_SWEEPS):
            columns = self._columns if sweep % 2 == 0 else self._columns[::-1]
            for column in columns:
                self._settle(column, heights)
        top = min(heights[item] - self._tall(item) / 2 + _GAP / 2 for item in heights)
        return {item: height - top for item, height in heights.items()}

    def _settle(self, column: list[_Item], heights: dict[_Item, float]) -> None:
        """Least squares with the order kept: neighbours that want to pass share the mean."""
        blocks: list[tuple[float, float, int]] = []
        offsets: list[float] = []
        offset = 0.0
        for number, item in enumerate(column):
            if number:
                offset += (self._tall(column[number - 1]) + self._tall(item)) / 2
            offsets.append(offset)
            near = [*self._left.get(item, ()), *self._right.get(item, ())]
            wish = sum(heights[one] for one in near) / len(near) if near else heights[item]
            weight = 4.0 if item[1] else 1.0
            blocks.append((wish - offset, weight, 1))
            while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
                (one, heavy, count), (other, light, more) = blocks[-2:]
                both = heavy + light
                blocks[-2:] = [((one * heavy + other * light) / both, both, count + more)]
        place = 0
        for wish, _, count in blocks:
            for number in range(place, place + count):
                heights[column[number]] = wish + offsets[number]
            place += count

    def _tall(self, item: _Item) -> float:
        """The room that an item takes in its column, gaps included."""
        return _THIN if item[1] else self._sizes[item[0]].height + _GAP
