"""The waterfall as SVG: one picture that stands alone, in a light and a dark scheme.

Stages of a large run are folded, as in the page; what did not succeed is shown all the same.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from graceline.errors import DefinitionError
from graceline.timelines.axis import brief, share, ticks
from graceline.timelines.burning import common_scale, known_until
from graceline.timelines.lines import density, facts_of, groups_of, legible, status_of, word_of
from graceline.timelines.look import MARKS
from graceline.timelines.printing import BOLD, cropped, style, wide
from graceline.timelines.segments import Segment
from graceline.timelines.track import cut_above, limit_share, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graceline.timelines.drawn import Drawn
    from graceline.timelines.lines import Group, Line

__all__ = ["picture"]

_LEAST = 400
_PAD, _GAP = 20.0, 32.0
_HEIGHTS = {"attempt": 20.0, "more": 20.0}
_HEIGHT, _TALL, _FACT, _AXIS = 26.0, 38.0, 20.0, 28.0


def picture(
    timelines: Sequence[Drawn], names: Sequence[str] = (), *, width: int, now: float = 0.0
) -> str:
    """The waterfalls of one run, or of two side by side.

    Raises:
        DefinitionError: for less than 400 pixels for each, and for what is no finite number.
    """
    least = _LEAST * len(timelines)
    given: object = width  # whatever was given
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not least <= given < inf:
        raise DefinitionError(f"width= must be a number of pixels, at least {least}, not {width!r}")
    scale = common_scale(timelines, now)
    each = (width - 2 * _PAD - _GAP * (len(timelines) - 1)) / len(timelines)
    runs = [_Run(each, scale or 1.0, known_until(timeline, now)) for timeline in timelines]
    # The axes lie on one line, however much there is to say above them.
    heads = [
        run.head(timeline, name)
        for run, timeline, name in zip(runs, timelines, names or [""] * len(timelines), strict=True)
    ]
    for run, timeline in zip(runs, timelines, strict=True):
        run.body(timeline, max(heads))
    height = max(run.y for run in runs) + 2 * _PAD
    root = ET.Element("svg", {
        "xmlns": "http://www.w3.org/2000/svg", "width": f"{width}", "height": f"{height:g}",
        "viewBox": f"0 0 {width} {height:g}", "role": "group",
        "aria-label": " and ".join(run.title for run in runs),
    })  # fmt: skip
    ET.SubElement(root, "style").text = style()
    hatch = ET.SubElement(ET.SubElement(root, "defs"), "pattern", {
        "id": "graceline-hatch", "width": "5", "height": "5", "patternUnits": "userSpaceOnUse",
        "patternTransform": "rotate(45)",
    })  # fmt: skip
    ET.SubElement(hatch, "rect", {"class": "f-card", "width": "3", "height": "5"})
    ET.SubElement(root, "rect", {"class": "f-page", "width": "100%", "height": "100%"})
    for number, run in enumerate(runs):
        x = _PAD + number * (each + _GAP)
        run.group.set("transform", f"translate({x:g} {_PAD:g})")
        root.append(run.group)
    return ET.tostring(root, encoding="unicode")


class _Run:
    """The picture of one run, from the top down; `y` is how far it has come."""

    def __init__(self, width: float, scale: float, now: float) -> None:
        self._width = width
        self._scale = scale
        self._now = now
        self.group = ET.Element("g")
        self.y = 0.0
        self.title = "no run"
        narrow = width < 560
        self._left = width * (0.26 if narrow else 0.23)
        self._right = 176.0 if narrow else 190.0
        self._track = width - self._left - self._right - 12

    def head(self, timeline: Drawn, called: str) -> float:
        """Title and facts; where they end."""
        run = timeline.pipeline
        if run is None:
            self._text(0, 15, "nothing was heard of a run", "f-soft")
            return 24.0
        status, name = status_of(run, self._now), legible(run.name)
        self.title = f"{name}: {word_of(status)}"
        if called:
            self._text(0, self.y + 12, legible(called), "f-soft b")
            self.y += 22
        soft = ", degraded" if timeline.degraded and status in ("ok", "late") else ""
        shown = cropped(name, self._width * 0.6, 19 * BOLD)
        tone = "late" if soft else status
        title = self._text(0, self.y + 18, shown, "f-ink h", name)
        badge = ET.SubElement(title, "tspan", {"dx": "14", "class": f"f-{tone} c"})
        badge.text = f"{MARKS[status]} {word_of(status)}{soft}"
        self.y += 30
        before = ""
        for word, what in facts_of(run, timeline, self._now):
            if word != before:
                self._text(0, self.y + 14, word, "f-soft")
            self._text(84, self.y + 14, cropped(what, self._width - 84), "f-ink")
            self.y, before = self.y + _FACT, word
        return self.y

    def body(self, timeline: Drawn, top: float) -> None:
        """Axis, rows and legend, from `top` on."""
        self.y = top + 10
        groups = groups_of(timeline, self._now)
        lines = [
            (line, group if number == 0 else None)
            for group in groups
            for number, line in enumerate(group.lines)
            if not (group.folded and line.hides)
        ]
        if not lines:
            return
        card = ET.SubElement(self.group, "rect", {
            "class": "f-card s-line", "x": "0", "y": f"{self.y:g}", "width": f"{self._width:g}",
            "rx": "8",
        })  # fmt: skip
        start = self.y
        grid = self._axis()
        seen: set[str] = set()
        for line, group in lines:
            seen |= self._row(line, group)
        for rule in grid:
            rule.set("y2", f"{self.y:g}")
        card.set("height", f"{self.y - start:g}")
        self._legend(seen)

    def _axis(self) -> list[ET.Element]:
        grid = []
        end = 0.0
        for at, word in ticks(self._scale):
            x = self._at(at)
            grid.append(self._rule(x, self.y + _AXIS, 0, "s-grid"))
            size = wide(word, 11)
            left = min(max(x - size / 2, self._left), self._left + self._track - size)
            if left >= end or at == 0:  # labels must not touch
                self._text(left, self.y + 18, word, "f-soft m")
                end = left + size + 10
        self.y += _AXIS
        return grid

    def _row(self, line: Line, group: Group | None) -> set[str]:
        row = line.row
        folds = group is not None and bool(group.told)
        told = group.told if group is not None else ""
        tall = folds or row.blamed or bool(line.notes) or row.limit is not None
        height = _TALL if tall else _HEIGHTS.get(row.level, _HEIGHT)
        parent = self.group
        self.group = ET.SubElement(parent, "g", {"role": "img", "aria-label": line.label})
        ET.SubElement(self.group, "title").text = line.label
        if row.blamed:
            self._rect(0.5, self.y, self._width - 1, height, f"f-{line.status}", opacity=0.1)
            self._rect(0.5, self.y, 4, height, f"f-{line.status}")
        middle = self.y + height / 2
        indent = 12 + 14 * line.indent
        weight = "f-ink b" if line.indent == 0 else "f-soft" if line.indent == 2 else "f-ink"
        up = 5 if folds else 0
        name = f"… {line.name}" if row.level == "more" else line.name
        room = self._left - indent - 10
        size = 13 if line.indent else 13 * BOLD
        self._text(indent, middle + 4 - up, cropped(name, room, size), weight)
        if folds:
            self._text(indent, middle + 14, cropped(told, room, 10), "f-soft m")
        seen = self._bar(line, group, middle) if row.level != "more" else set[str]()
        if folds and group is not None:
            self._density(group, line.status, self.y + 3, height - 6)
            seen.add("area")
        if row.level != "more":
            self._says(line, middle)
        self.group = parent
        self.y += height
        return seen

    def _says(self, line: Line, middle: float) -> None:
        row = line.row
        x, end = self._left + self._track + 14, self._width - 12
        said = f"{MARKS[line.status]} {word_of(line.status)}"
        notes = [note for note in line.notes if note != "to blame"]
        blame = ["◄ to blame"] * row.blamed
        up = 5 if blame or notes else 0
        self._text(x, middle + 4 - up, said, f"f-{line.status} b")
        if blame:
            self._text(x, middle + 14, blame[0], f"f-{line.status} b")
        elif notes:
            more = ", …" if len(notes) > 1 else ""
            beside = 0 if row.limit is None else wide(f"limit {brief(row.limit)}", 11)
            text = cropped(notes[0] + more, end - x - beside - 6, 11)
            self._text(x, middle + 13, text, "f-soft m", ", ".join(notes))
        up = 5 if row.limit is not None and line.took else 0
        self._text(end, middle + 4 - up, line.took, "f-ink e")
        if row.limit is not None:
            down = 13 if line.took else 4
            self._text(end, middle + down, f"limit {brief(row.limit)}", "f-soft m e")

    def _bar(self, line: Line, group: Group | None, middle: float) -> set[str]:
        row, seen = line.row, set[str]()
        holds = group is not None and bool(group.nodes) and row.level == "stage"
        for piece in visible(row, self._scale, self._now):
            tone = line.status if piece.status is None else str(piece.status)
            self._piece(piece, tone, middle, 4 if holds else 8 if row.level == "attempt" else 12)
            seen.add(piece.kind)
        at = limit_share(row, self._scale)
        if at is not None:
            own = row.limit is not None and cut_above(row) is None
            seen.add("limit" if own else "above")
            self._limit(self._at(at), middle, own=own)
        return seen

    def _piece(self, piece: Segment, tone: str, middle: float, height: float) -> None:
        x = self._at(share(piece.start, self._scale))
        width = self._at(share(piece.end, self._scale)) - x
        top = middle - height / 2
        if piece.kind == "backoff":
            self._line(x, x + width, middle, "s-soft", "2 3")
        elif piece.kind == "queue":
            self._rect(x, middle - 4, width, 8, "n s-soft").set("stroke-dasharray", "3 2")
        elif piece.kind == "refused":
            self._text(x - 5, middle + 4, "✕", f"f-{tone} b")
        else:
            self._rect(x, top, max(2.0, width), height, f"f-{tone}", radius=2)
            if piece.kind == "unwinding":
                outline = self._rect(x, top, max(2.0, width), height, f"s-{tone}", radius=2)
                outline.set("fill", "url(#graceline-hatch)")

    def _limit(self, x: float, middle: float, *, own: bool) -> None:
        line = self._rule(x, middle - 11, middle + 11, "s-ink" if own else "s-soft")
        line.set("stroke-dasharray", "4 2" if own else "1 3")
        line.set("stroke-width", "2" if own else "1")

    def _density(self, group: Group, tone: str, top: float, height: float) -> None:
        counts, most = density(group.nodes, self._scale, self._now)
        if most == 0:
            return
        cell, bottom = self._track / len(counts), top + height
        steps = "".join(
            f"V{bottom - height * count / most:.1f}H{self._left + (at + 1) * cell:.1f}"
            for at, count in enumerate(counts)
        )
        ET.SubElement(self.group, "path", {
            "class": f"f-{tone}", "opacity": "0.28",
            "d": f"M{self._left:.1f} {bottom:.1f}{steps}V{bottom:.1f}Z",
        })  # fmt: skip

    def _legend(self, seen: set[str]) -> None:
        words = {
            "work": "work", "unwinding": "unwinding", "backoff": "backoff",
            "queue": "waits for a slot", "refused": "refused", "limit": "its own limit",
            "above": "a limit above it", "area": "nodes at once",
        }  # fmt: skip
        x, self.y = 2.0, self.y + 20
        for kind, word in words.items():
            if kind not in seen:
                continue
            if x + 34 + wide(word, 11) > self._width:
                x, self.y = 2.0, self.y + 20
            self._sample(kind, x)
            self._text(x + 28, self.y + 4, word, "f-soft m")
            x += 46 + wide(word, 11)
        self.y += 8

    def _sample(self, kind: str, x: float) -> None:
        if kind in ("limit", "above"):
            self._limit(x + 11, self.y, own=kind == "limit")
        elif kind == "area":
            self._rect(x, self.y - 7, 22, 14, "f-soft", opacity=0.28)
        else:
            begin = self._left
            self._left = x
            self._piece(Segment(kind, 0.0, self._scale * 22 / self._track), "soft", self.y, 10)
            self._left = begin

    def _at(self, percent: float) -> float:
        return self._left + self._track * percent / 100

    def _text(self, x: float, y: float, text: str, classes: str, whole: str = "") -> ET.Element:
        found = ET.SubElement(self.group, "text", {
            "x": f"{x:.1f}", "y": f"{y:.1f}", "class": classes, "unicode-bidi": "isolate",
        })  # fmt: skip
        found.text = text
        if whole not in ("", text):
            ET.SubElement(found, "title").text = whole
        return found

    def _rect(
        self, x: float, y: float, width: float, height: float, classes: str,
        *, radius: float = 0, opacity: float = 1,
    ) -> ET.Element:  # fmt: skip
        found = ET.SubElement(self.group, "rect", {
            "x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}", "height": f"{height:.1f}",
            "class": classes,
        })  # fmt: skip
        if radius:
            found.set("rx", f"{radius:g}")
        if opacity < 1:
            found.set("opacity", f"{opacity:g}")
        return found

    def _rule(self, x: float, top: float, bottom: float, classes: str) -> ET.Element:
        return ET.SubElement(self.group, "line", {
            "x1": f"{x:.1f}", "x2": f"{x:.1f}", "y1": f"{top:.1f}", "y2": f"{bottom:.1f}",
            "class": classes,
        })  # fmt: skip

    def _line(self, left: float, right: float, y: float, classes: str, dashes: str) -> None:
        ET.SubElement(self.group, "line", {
            "x1": f"{left:.1f}", "x2": f"{right:.1f}", "y1": f"{y:.1f}", "y2": f"{y:.1f}",
            "class": classes, "stroke-width": "2", "stroke-dasharray": dashes,
        })  # fmt: skip
