"""The picture of a sketch: valid, in two schemes, and legible for those who do not see it."""

from xml.etree import ElementTree as ET

import pytest

from graceline.cli.graphs.picture import draw
from graceline.cli.graphs.sketch import Box, Frame, Sketch

SVG = "{http://www.w3.org/2000/svg}"


def parts(text):
    """The labels of all parts, in order."""
    root = ET.fromstring(text)  # noqa: S314 - our own
    return [one.get("aria-label") for one in root.iter(f"{SVG}g") if one.get("aria-label")]


def test_every_part_says_what_it_is():
    """Stages and boxes have a label and a title with their facts, and what they wait for."""
    text = draw(
        Sketch(
            "shop",
            ("limit 2s",),
            (
                Frame("find", ("limit 1s",), (), (Box("a"), Box("b", ("limit 5ms",), ("a",)))),
                Frame("rank", (), ("find",), (Box("c", uses=("a",), soft=True),)),
            ),
        )
    )
    assert parts(text) == [
        "stage find, limit 1s",
        "a",
        "b, limit 5ms, after a",
        "stage rank",
        "c, uses a",
    ]
    root = ET.fromstring(text)  # noqa: S314
    assert root.get("aria-label") == "pipeline shop, limit 2s"
    for group in root.iter(f"{SVG}g"):
        if group.get("aria-label"):
            assert group.find(f"{SVG}title").text == group.get("aria-label")
    assert "the run goes on without it" in text
    assert "@media (prefers-color-scheme: dark)" in text


def test_names_that_mean_something_to_xml():
    """Whatever a name holds, the picture is valid; what cannot be seen is written out."""
    name = "a<b>&\"'\x00\n\u202e" + "x" * 300
    text = draw(Sketch(name, (name,), (Frame(name, (name,), (), (Box(name, (name,)),)),)))
    assert parts(text)[1].startswith("a<b>&\"'\\x00\\n\\u202exx")


@pytest.mark.parametrize("stages", [1, 40, 1000])
def test_a_thousand_boxes(stages):
    """All of them are there, whether they are in one stage or in many."""
    boxes = 1000 // stages
    frames = tuple(
        Frame(
            f"s{number}",
            after=tuple({f"s{max(0, number - 1)}", f"s{number // 2}"} if number else ()),
            boxes=tuple(
                Box(f"n{one}", after=tuple({f"n{one // 2}"} if one else ())) for one in range(boxes)
            ),
        )
        for number in range(stages)
    )
    assert len(parts(draw(Sketch("huge", (), frames)))) == stages * (boxes + 1)


def test_what_is_not_drawn_is_counted():
    """Edges that others imply, or that are too many, are left out and counted."""
    boxes = tuple(
        Box(str(one), after=tuple(str(before) for before in range(one))) for one in range(150)
    )
    text = draw(Sketch("dense", (), (Frame("s", boxes=boxes),)))
    assert "11,026 edges are not drawn" in text


def test_edges_of_stages_that_pass_others_have_lanes():
    """Those that overlap lie beside each other, left of the stages."""
    box = (Box("x"),)
    frames = (
        Frame("a", boxes=box),
        Frame("b", after=("a",), boxes=box),
        Frame("c", after=("a",), boxes=box),
        Frame("d", after=("b", "c"), boxes=box),
    )
    root = ET.fromstring(draw(Sketch("p", (), frames)))  # noqa: S314
    paths = [one.get("d") for one in root.iter(f"{SVG}path") if one.get("marker-end")]
    assert len(paths) == 4
    straight = [path for path in paths if "Q" not in path]
    assert len(straight) == 2
    lanes = {path.split("H")[1].split("Q")[0] for path in paths if "Q" in path}
    assert len(lanes) == 2
