"""Mermaid text is read back by a reader of its own, which knows no more than the text may hold."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from graceline.cli.graphs.mermaid import mermaid
from graceline.cli.graphs.sketch import Box, Frame, Sketch

LABEL = re.compile(r'^(?:subgraph )?(\w+)\["([^"]*)"\]$')
EDGE = re.compile(r"^(\w+) (-->|-\.->) (\w+)$")
MEANS_SOMETHING = set("\"'`[]{}()<>|&;#%\\~^@!?*$\n")


def read(text):
    """The names by their ids, the frame of each box, the edges, and what is soft."""
    title, head, *lines = text.splitlines()
    assert title.startswith("%% ")
    assert head == "flowchart LR"
    names, inside, edges, soft = {}, {}, [], set()
    frame = None
    for line in map(str.strip, lines):
        label, edge = LABEL.match(line), EDGE.match(line)
        if label:
            parts = label[2].split("<br/>")
            assert not any(MEANS_SOMETHING & set(re.sub(r"#\d+;", "", part)) for part in parts)
            names[label[1]] = [re.sub(r"#(\d+);", lambda one: chr(int(one[1])), p) for p in parts]
            if line.startswith("subgraph"):
                frame = label[1]
            else:
                inside[label[1]] = frame
        elif edge:
            edges.append(edge.groups())
        elif line.startswith("class "):
            soft = set(line.split()[1].split(","))
        else:
            assert line in ("end", "classDef soft stroke-dasharray: 5 4")
    return names, inside, edges, soft


names = st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True)


@st.composite
def sketches(draw):
    """Stages and boxes with all names that there are."""
    frames, seen = [], []
    for name in draw(names):
        boxes = []
        for one in draw(names):
            after = tuple(box.name for box in boxes if draw(st.booleans()))
            uses = tuple(used for used in seen if used != one and draw(st.booleans()))
            facts = tuple(draw(st.lists(st.text(), max_size=2)))
            boxes.append(Box(one, facts, after, uses, draw(st.booleans())))
        after = tuple(frame.name for frame in frames if draw(st.booleans()))
        frames.append(Frame(name, (), after, tuple(boxes), draw(st.booleans())))
        known = {box.name for frame in frames[:-1] for box in frame.boxes}
        seen += [box.name for box in boxes if box.name not in known]
    return Sketch(draw(st.text()), (), tuple(frames))


@given(sketch=sketches())
@settings(deadline=None, max_examples=50)
def test_it_can_be_read_back(sketch):
    """Names, facts, frames, edges and softness survive, whatever characters there are."""
    names, inside, edges, soft = read(mermaid(sketch))
    frames = [key for key in names if key not in inside]
    assert [names[key][0] for key in frames] == [frame.name for frame in sketch.frames]
    for key, frame in zip(frames, sketch.frames, strict=True):
        boxes = [one for one, holder in inside.items() if holder == key]
        assert [names[one] for one in boxes] == [[box.name, *box.facts] for box in frame.boxes]
        for one, box in zip(boxes, frame.boxes, strict=True):
            before = [start for start, kind, end in edges if end == one and kind == "-->"]
            assert sorted(names[start][0] for start in before) == sorted(box.after)
            assert all(inside[start] == key for start in before)
            used = [start for start, kind, end in edges if end == one and kind == "-.->"]
            assert [names[start][0] for start in used] == list(box.uses)
            assert (one in soft) == box.soft
        assert [names[start][0] for start, _, end in edges if end == key] == list(frame.after)
        assert (key in soft) == frame.soft
