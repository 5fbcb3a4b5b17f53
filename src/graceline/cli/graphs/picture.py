"""A sketch as SVG: stages as frames one below the other, in each its boxes from left to right.

In a light and a dark scheme, with the colours of the waterfall; every part says what it is to
programs that read aloud.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from graceline.cli.graphs.layered import Layout, Size, Spot, place
from graceline.timelines.lines import legible
from graceline.timelines.printing import BOLD, cropped, style, wide

if TYPE_CHECKING:
    from graceline.cli.graphs.sketch import Box, Frame, Sketch

__all__ = ["draw"]

_PAD, _INSIDE, _HEAD, _BETWEEN = 20.0, 16.0, 30.0, 30.0
_LINE, _TOP = 15.0, 30.0
_LEAST, _MOST = 84.0, 230.0
_LANE = 12.0
_ASIDE = {"font-weight": "400"}


def draw(sketch: Sketch) -> str:
    """The picture as the text of an SVG file."""
    return _Picture(sketch).text()


class _Picture:
    def __init__(self, sketch: Sketch) -> None:
        self._sketch = sketch
        self._layouts = [_layout(frame) for frame in sketch.frames]
        self._lanes = _lanes(sketch)
        self._left = _PAD + _LANE * (1 + max(self._lanes.values(), default=-1))
        inner = max(
            max(layout.width, _wide_head(frame))
            for frame, layout in zip(sketch.frames, self._layouts, strict=True)
        )
        self._wide = inner + 2 * _INSIDE
        self._root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "group"})

    def text(self) -> str:
        sketch, root = self._sketch, self._root
        title = f"pipeline {legible(sketch.name)}"
        head = wide(sketch.name, 19 * BOLD) + 24 + wide(", ".join(sketch.facts), 13)
        width = max(self._left + self._wide, _PAD + min(head, 900)) + _PAD
        root.set("aria-label", legible(", ".join((title, *sketch.facts))))
        ET.SubElement(root, "title").text = title
        ET.SubElement(root, "style").text = style()
        arrow = ET.SubElement(ET.SubElement(root, "defs"), "marker", {
            "id": "graceline-arrow", "viewBox": "0 0 8 8", "refX": "7", "refY": "4",
            "markerWidth": "8", "markerHeight": "8", "orient": "auto",
            "markerUnits": "userSpaceOnUse",
        })  # fmt: skip
        ET.SubElement(arrow, "path", {"class": "f-soft", "d": "M0 0.5L8 4L0 7.5Z"})
        ET.SubElement(root, "rect", {"class": "f-page", "width": "100%", "height": "100%"})
        y = _PAD
        name = _write(root, _PAD, y + 18, cropped(legible(sketch.name), 600, 19 * BOLD), "f-ink h")
        facts = ET.SubElement(name, "tspan", {**_ASIDE, "dx": "14", "class": "f-soft c"})
        facts.text = legible(", ".join(sketch.facts))
        y += 40
        spots: dict[str, Spot] = {}
        for frame, layout in zip(sketch.frames, self._layouts, strict=True):
            height = layout.height + _HEAD + _INSIDE
            spots[frame.name] = Spot(self._left, y, self._wide, height)
            y += height + _BETWEEN
        y -= _BETWEEN
        self._edges(spots)
        for frame, layout in zip(sketch.frames, self._layouts, strict=True):
            self._frame(frame, layout, spots[frame.name])
        y = self._notes(y + 14)
        height = y + _PAD
        root.set("width", f"{width:g}")
        root.set("height", f"{height:g}")
        root.set("viewBox", f"0 0 {width:g} {height:g}")
        return ET.tostring(root, encoding="unicode")

    def _edges(self, spots: dict[str, Spot]) -> None:
        """What waits for what among the stages: straight down, or beside those in between."""
        group = ET.SubElement(self._root, "g", {"aria-hidden": "true"})
        for frame in self._sketch.frames:
            end = spots[frame.name]
            for name in frame.after:
                start, lane = spots[name], self._lanes.get((name, frame.name))
                if lane is None:
                    x = start.x + 40
                    _line(group, f"M{x:g} {start.y + start.height:g}V{end.y - 1:g}")
                    continue
                x, low, high = (
                    self._left - _LANE * (lane + 1),
                    start.y + start.height - 12,
                    end.y + 15,
                )
                _line(
                    group,
                    f"M{start.x:g} {low:g}H{x + 6:g}Q{x:g} {low:g} {x:g} {low + 6:g}"
                    f"V{high - 6:g}Q{x:g} {high:g} {x + 6:g} {high:g}H{end.x - 1:g}",
                )

    def _frame(self, frame: Frame, layout: Layout, spot: Spot) -> None:
        group = _part(self._root, f"stage {legible(frame.name)}", frame.facts, role="group")
        _rect(group, spot, "f-card s-line", 10, dashed=frame.soft)
        x, y = spot.x + _INSIDE, spot.y
        name = _write(group, x, y + 20, cropped(legible(frame.name), 400, 13 * BOLD), "f-ink b")
        facts = ET.SubElement(name, "tspan", {**_ASIDE, "dx": "10", "class": "f-soft m"})
        facts.text = legible(", ".join(frame.facts))
        inside = ET.SubElement(group, "g", {"transform": f"translate({x:g} {y + _HEAD:g})"})
        for run in layout.edges.values():
            _line(inside, _curve(run))
        for box in frame.boxes:
            self._box(inside, box, layout.boxes[box.name])

    def _box(self, parent: ET.Element, box: Box, spot: Spot) -> None:
        facts = (*box.facts, *([f"after {', '.join(box.after)}"] if box.after else []), *_uses(box))
        group = _part(parent, legible(box.name), facts, role="img")
        _rect(group, spot, f"f-page s-{'late' if box.soft else 'soft'}", 6, dashed=box.soft)
        room = spot.width - 20
        shown = cropped(legible(box.name), room, 13 * BOLD)
        _write(group, spot.x + 10, spot.y + 20, shown, "f-ink b")
        for number, fact in enumerate((*box.facts, *_uses(box))):
            y = spot.y + 20 + _LINE * (number + 1)
            _write(group, spot.x + 10, y, cropped(legible(fact), room, 11), "f-soft m")

    def _notes(self, y: float) -> float:
        """What dashes mean, and what is not drawn."""
        frames = self._sketch.frames
        if any(frame.soft or any(box.soft for box in frame.boxes) for frame in frames):
            y += 14
            _rect(self._root, Spot(_PAD, y - 9, 26, 12), "n s-late", 3, dashed=True)
            _write(self._root, _PAD + 34, y + 1, "the run goes on without it", "f-soft m")
        hidden = sum(layout.hidden for layout in self._layouts)
        if hidden:
            y += 18
            said = f"{hidden:,} edges are not drawn: others imply them, or there are too many"
            _write(self._root, _PAD, y + 1, said, "f-soft m")
        return y


def _layout(frame: Frame) -> Layout:
    sizes = {box.name: _size(box) for box in frame.boxes}
    return place(sizes, {box.name: box.after for box in frame.boxes})


def _size(box: Box) -> Size:
    lines = (*box.facts, *_uses(box))
    texts = [wide(legible(box.name), 13 * BOLD), *(wide(legible(line), 11) for line in lines)]
    width = min(max(_LEAST, *texts) + 20, _MOST)
    return Size(width, _TOP + _LINE * len(lines) + 2 * bool(lines))


def _uses(box: Box) -> list[str]:
    return [f"uses {', '.join(box.uses)}"] if box.uses else []


def _wide_head(frame: Frame) -> float:
    return min(wide(frame.name, 13 * BOLD), 400) + 10 + wide(", ".join(frame.facts), 11)


def _lanes(sketch: Sketch) -> dict[tuple[str, str], int]:
    """The lanes of edges that pass other stages: those that overlap lie side by side."""
    at = {frame.name: number for number, frame in enumerate(sketch.frames)}
    long = [
        (at[name], at[frame.name])
        for frame in sketch.frames
        for name in frame.after
        if at[frame.name] - at[name] > 1
    ]
    names = [frame.name for frame in sketch.frames]
    ends: list[int] = []
    lanes: dict[tuple[str, str], int] = {}
    for start, end in sorted(long):
        lane = next((number for number, one in enumerate(ends) if one <= start), len(ends))
        ends[lane : lane + 1] = [end]
        lanes[names[start], names[end]] = lane
    return lanes


def _curve(run: list[tuple[float, float, float]]) -> str:
    """A path that is curved between the columns only, where nothing is in its way."""
    _, x, y = run[0]
    path = f"M{x:.1f} {y:.1f}"
    for left, right, height in run[1:]:
        middle = (x + left) / 2
        path += f"C{middle:.1f} {y:.1f} {middle:.1f} {height:.1f} {left:.1f} {height:.1f}"
        if right > left:
            path += f"H{right:.1f}"
        x, y = right, height
    return path


def _part(parent: ET.Element, name: str, facts: tuple[str, ...], *, role: str) -> ET.Element:
    label = ", ".join((name, *map(legible, facts)))
    group = ET.SubElement(parent, "g", {"role": role, "aria-label": label})
    ET.SubElement(group, "title").text = label
    return group


def _rect(
    parent: ET.Element, spot: Spot, classes: str, radius: float, *, dashed: bool = False
) -> None:
    found = ET.SubElement(parent, "rect", {
        "x": f"{spot.x:.1f}", "y": f"{spot.y:.1f}", "width": f"{spot.width:.1f}",
        "height": f"{spot.height:.1f}", "rx": f"{radius:g}", "class": classes,
    })  # fmt: skip
    if dashed:
        found.set("stroke-dasharray", "5 4")


def _line(parent: ET.Element, path: str) -> None:
    ET.SubElement(parent, "path", {
        "d": path, "class": "n s-soft", "stroke-width": "1.2",
        "marker-end": "url(#graceline-arrow)",
    })  # fmt: skip


def _write(parent: ET.Element, x: float, y: float, text: str, classes: str) -> ET.Element:
    found = ET.SubElement(parent, "text", {
        "x": f"{x:.1f}", "y": f"{y:.1f}", "class": classes, "unicode-bidi": "isolate",
    })  # fmt: skip
    found.text = legible(text)
    return found
