import random
import re
import sys
import xml.etree.ElementTree as ET
from math import inf

import attrs
import pytest

from graceline.adaptive import DurationHistory, Key, Learners, MemoryStore, Record, Settings
from graceline.adaptive.course import course_of, summary_of
from graceline.cli.history.picture import draw_page, draw_svg
from graceline.testing.traffic import replay

chance = random.Random(3)  # noqa: S311 - the same in every run
NORMAL = [0.05 * chance.lognormvariate(0, 0.5) for _ in range(200)]
KEY = Key("blue", "shop", "<b>", "$x$")


def learned(calls):
    learners = Learners(MemoryStore())
    key = Key("default", "shop", "search", "rank")
    replay(learners.learner(key, Settings(initial=1.0, ceiling=3.0)), calls)
    learners.close()
    record = learners.store.load(key)
    return course_of(record), summary_of(record)


CASES = {
    "stationary": learned(NORMAL),
    "step": learned([*NORMAL, *(4 * one for one in NORMAL[:60])]),
    "hangs": learned([one if number % 10 else inf for number, one in enumerate(NORMAL)]),
    "three": learned(NORMAL[:3]),
    "one": learned(NORMAL[:1]),
    "censored": learned([inf] * 30),
}


@pytest.mark.parametrize("case", CASES)
def test_same_file(case):
    """The same calls give the same SVG, which is well-formed and needs nothing from anywhere else."""
    svg = draw_svg(KEY, *CASES[case])
    assert svg == draw_svg(KEY, *CASES[case])
    root = ET.fromstring(svg)  # noqa: S314 - our own
    links = [
        value for one in root.iter() for name, value in one.attrib.items() if name.endswith("href")
    ]
    assert all(link.startswith("#") for link in links)
    assert "<dc:date>" not in svg


def test_own_look(monkeypatch):
    """What the user has set for matplotlib does not change the picture, and is left as it was."""
    import matplotlib as mpl

    before = draw_svg(KEY, *CASES["step"])
    monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "red")
    assert draw_svg(KEY, *CASES["step"]) == before
    assert mpl.rcParams["axes.facecolor"] == "red"
    assert "matplotlib.pyplot" not in sys.modules


def test_page():
    """The page holds the picture and the numbers, and a name cannot break it."""
    page = draw_page(KEY, *CASES["step"])
    assert page.count("<svg") == page.count("</svg>") == 1
    assert "<h1>shop.&lt;b&gt;.$x$</h1>" in page
    assert "node, lane blue" in page
    assert "<dt>alarms</dt><dd>1</dd>" in page
    assert "the learner has forgotten the older ones" in page
    assert "<?xml" not in page
    for outside in ("<link", "<script", "src=", "@import"):
        assert outside not in page


def test_nothing_learned():
    """Durations without a limit are drawn, and the page does not speak of one that was learned."""
    record = Record(DurationHistory.of([(1.8e9, 0.1, False), (1.9e9, 0.2, True)]))
    page = draw_page(Key(pipeline="p"), course_of(record), summary_of(record))
    assert "that was learned" not in page
    assert "2030-03-17" in page


def test_letters_that_the_font_lacks():
    """A name in letters that the font does not have is no warning."""
    assert draw_svg(Key(pipeline="\u5546\u5e97"), *CASES["one"])


def comments(svg):
    """The texts of a picture: matplotlib writes each as a comment beside its outlines."""
    return re.findall(r"<!-- (.*?) -->", svg, re.DOTALL)


def test_heading():
    """The whole name is there, and below it what the key is and of which lane."""
    key = Key(
        "blue", "a_pipeline_with_a_long_name", "and_its_stage_of_work", "fetch_everything_now"
    )
    said = comments(draw_svg(key, *CASES["one"]))
    name = "a_pipeline_with_a_long_name.and_its_stage_of_work.fetch_everything_now"
    assert name in said
    assert "node, lane blue" in said


def test_legend():
    """It names what is seen: the limits of probes, and no line that is too short to be seen."""
    assert "limit of a probe" in comments(draw_svg(KEY, *CASES["step"]))
    assert "limit of a probe" not in comments(draw_svg(KEY, *CASES["one"]))
    points, summary = CASES["stationary"]
    said = "p95 of the calls so far"
    assert said in comments(draw_svg(KEY, points, summary))
    hardly = [attrs.evolve(point, p95=None) for point in points[1:]]
    assert said not in comments(draw_svg(KEY, [points[0], *hardly], summary))
