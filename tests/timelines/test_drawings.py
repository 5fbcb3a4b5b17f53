"""The drawings as text: what they say, and what they never say."""

import base64
import hashlib
import re
import subprocess
import sys
from html import unescape
from itertools import pairwise
from math import inf, nan
from xml.etree import ElementTree as ET

import attrs
import pytest
import trio
from rich.console import Console

from graceline import DefinitionError, Node, Pipeline, Stage, Status, open_engine, parallel
from graceline.telemetry import events
from graceline.telemetry.timeline import Timeline
from graceline.timelines import Row
from graceline.timelines.axis import share, ticks
from graceline.timelines.folding import without
from graceline.timelines.lines import density, legible
from graceline.timelines.look import DARK, LIGHT, MARKS
from graceline.timelines.sheet import fragment_css, script
from graceline.timelines.track import track

SVG = "{http://www.w3.org/2000/svg}"
TEXTS = ("ink", "soft", *MARKS)


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(tone, ground, part):
    channels = [
        round(part * int(tone[at : at + 2], 16) + (1 - part) * int(ground[at : at + 2], 16))
        for at in (1, 3, 5)
    ]
    return "#" + "".join(f"{channel:02x}" for channel in channels)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_can_be_read(palette):
    """Every colour of text has a contrast of 4.5:1 to every ground that it stands on."""
    for name in TEXTS:
        for ground in ("page", "card", "code"):
            assert contrast(palette[name], palette[ground]) >= 4.5, (name, ground)
    for tone in MARKS:  # a row that is blamed has a little of its tone as its ground
        ground = mixed(palette[tone], palette["card"], 0.1)
        for name in ("ink", "soft", tone):
            assert contrast(palette[name], ground) >= 4.5, (name, tone)


def test_colour_is_not_needed():
    """Statuses that differ in what to do about them have signs of their own."""
    marks = {MARKS[status] for status in ("ok", "timed_out", "failed", "cancelled", "skipped")}
    assert len(marks) == 5


def test_nothing_moves_and_nothing_is_fetched(cut):
    """No animation, no address: who wants less motion has none, and the page is all there is."""
    assert "transition" not in fragment_css()
    assert "animation" not in fragment_css()
    html = cut[1].timeline.to_html()
    assert not any(word in html for word in ("http:", "https:", "src=", "href=", "url(", "@import"))
    assert "default-src 'none'" in html
    assert "innerHTML" not in script()


def test_only_its_own_script_may_run(cut):
    """The policy of the page names the script by its hash, and allows no other one."""
    html = cut[1].timeline.to_html()
    [code] = re.findall("<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    [policy] = re.findall('"Content-Security-Policy" content="(.*?)"', html)
    assert re.findall("script-src([^;]*)", policy) == [f" 'sha256-{digest}'"]


def test_the_legend_names_what_is_used(observe, sleeper, cut, tried):
    """What does not occur in a page is not explained below it."""
    plain = observe(Pipeline("p", Stage("s", [sleeper("n", 1)])))
    unwinding = "unwinding, from its cancel to its end"
    for timeline, wanted in (
        (plain[1].timeline, ["work"]),
        (cut[1].timeline, ["work", unwinding, "its own limit", "a limit above it"]),
        (tried[0], ["work", "backoff"]),
    ):
        legend = timeline.to_html().split('class="legend"')[1]
        assert re.findall("</span>(.*?)</li>", legend) == wanted


def test_facts_are_bounded(observe):
    """Of many facts of a kind three are shown, and of a long one its beginning and its end."""

    async def boom(value):
        raise ValueError

    nodes = [Node(boom, name=f"{part}{'x' * 300}{part}", critical=False) for part in range(5)]
    _, result = observe(Pipeline("p", Stage("s", parallel(*nodes))))
    facts = re.findall("<dd><bdi>(.*?)</bdi></dd>", unescape(result.timeline.to_html()))
    *_, one, two, three, more = facts
    assert more == "and 2 more"
    for fact in (one, two, three):
        assert re.fullmatch(r"\dx+ … x+\d' raised ValueError", fact)
        assert len(fact) == 240 + len(" … ")


@pytest.mark.parametrize("run", ["cut", "tried", "thousand", "odd"])
def test_the_picture_is_well_formed(request, run):
    """The SVG is XML, with a text alternative for each line, and no values in it."""
    for timeline in (request.getfixturevalue(run)[0], request.getfixturevalue(run)[1].timeline):
        text = timeline.to_svg()
        root = ET.fromstring(text)  # noqa: S314 - our own
        lines = [group for group in root.iter(f"{SVG}g") if group.get("role") == "img"]
        assert all(group.get("aria-label") == group[0].text for group in lines)
        assert 3 <= len(lines) <= 40
        assert len(text) < 100_000


def test_a_picture_of_a_thousand_nodes_is_folded(thousand):
    """Stages say what became of their nodes; only those that did not succeed have lines."""
    root = ET.fromstring(thousand[1].timeline.to_svg())  # noqa: S314 - our own
    labels = [group.get("aria-label", "") for group in root.iter(f"{SVG}g")]
    names = [label.split(":")[0] for label in labels if label]
    assert names == ["stage 0", "stage 1", "job 1-007", "stage 2", "job 2-007", "job 2-008",
                     "stage 3"]  # fmt: skip
    assert "250 nodes: 248 ok, 2 timed out" in "".join(root.itertext())


def test_no_drawing_has_a_value(cut, tried):
    """Values, partial values and the texts of errors are in no page, picture or terminal."""
    for timeline, result in (cut, tried):
        console = Console(width=120)
        with console.capture() as captured:
            console.print(timeline)
            console.print(result.timeline)
        drawn = [captured.get()]
        for one in (timeline, result.timeline):
            drawn += [one.to_html(), one.to_svg(), one._repr_html_()]
        assert not any("secret" in text for text in drawn)
        assert "answer" in drawn[0] or "tried" in drawn[0]


async def test_a_reason_for_a_cancel_is_drawn(autojump_clock, sleeper):
    """What somebody gave as the reason of a cancel is in the blame, and so in every drawing."""
    timeline = Timeline()
    async with open_engine(sinks=[timeline]) as engine:
        run = engine.start(Pipeline("p", Stage("s", [sleeper("n", 9, timeout=9)]), timeout=9))
        await trio.sleep(1)
        run.cancel("asked by ada")
        result = await run.wait()
    for one in (timeline, result.timeline):
        for drawn in (one.to_html(), one.to_svg(), one._repr_html_()):
            assert "asked by ada" in drawn


@pytest.mark.parametrize("width", [399, 0, inf, nan, None, "x", True])
def test_a_picture_has_a_least_width(cut, width):
    """A width in which nothing can be read is refused, and what would be right is said."""
    with pytest.raises(DefinitionError, match=f"at least 400, not {width!r}"):
        cut[1].timeline.to_svg(width=width)
    with pytest.raises(DefinitionError, match="at least 800, not 799"):
        cut[1].timeline.beside(cut[1].timeline).to_svg(width=799)
    assert 'width="400"' in cut[1].timeline.to_svg(width=400)


def test_a_run_stands_beside_a_run(cut, tried):
    """The other run is given as its timeline or as its result; what is neither is refused."""
    timeline = cut[1].timeline
    pairs = [timeline.beside(other) for other in (tried[1], tried[1].timeline)]
    assert pairs[0].to_html() == pairs[1].to_html()
    for wrong in (None, "run", cut):
        with pytest.raises(DefinitionError, match="another timeline or result, not"):
            timeline.beside(wrong)
    for names in (("a",), (1, 2), "ab", None, ("a", "b", "c")):
        with pytest.raises(DefinitionError, match="names= must be two texts"):
            timeline.beside(tried[1], names=names)


def test_a_run_of_no_time(observe, sleeper):
    """A run that took no time at all is drawn, with bars that can be seen."""
    _, result = observe(Pipeline("p", Stage("s", [sleeper("n", 0)])))
    assert result.elapsed == 0
    assert "left:0.0%;width:0.0%" in result.timeline.to_html()
    ET.fromstring(result.timeline.to_svg())  # noqa: S314 - our own
    assert ticks(0.0)[0] == (0.0, "0s")


def test_a_run_that_goes_on():
    """A timeline that has not ended is drawn as of `now`: open bars, what unwinds, what is to come."""
    timeline = Timeline()
    about = {"run_id": "r", "pipeline": "p", "lane": "l"}
    limits = {"limit": 2.0, "source": None, "fires_at": 12.0}
    shape = (("s", ("on", "to come")),)
    timeline(events.RunStarted(at=10.0, queued=0.0, nodes=shape, **limits, **about))
    timeline(events.StageStarted(at=10.0, stage="s", **limits, **about))
    timeline(events.NodeStarted(at=10.5, stage="s", node="on", **limits, **about))
    html = timeline.to_html(now=1.5)
    assert 'aria-label="on: running, from 500ms on, limit at 2s"' in html
    assert 'aria-label="to come: not started, not started yet"' in html
    assert html.count('class="bar open"') == 1
    assert "<dt>so far</dt><dd><bdi>1.5s</bdi></dd>" in html
    later = timeline.to_html(now=2.5)
    assert "on: unwinding" in later
    assert 'class="bar open"' not in later
    assert "on: running" in timeline.to_svg(now=1.5)


def test_nothing_was_heard():
    """A timeline of nothing says so in every drawing."""
    said = "nothing was heard of a run"
    assert said in Timeline().to_html()
    assert said in Timeline().to_svg()
    console = Console(width=80)
    with console.capture() as captured:
        console.print(Timeline())
    assert said in captured.get()


def test_two_runs_in_a_terminal(observe, sleeper):
    """Where there is room two runs stand side by side, else one below the other; on one scale."""
    timelines = [
        observe(Pipeline("p", Stage("n", [sleeper("n", seconds)])))[1].timeline
        for seconds in (1, 4)
    ]
    drawn = []
    for width in (160, 80):
        console = Console(width=width)
        with console.capture() as captured:
            console.print(timelines[0].beside(timelines[1], names=("before", "after")))
        drawn.append(captured.get().splitlines())
    wide, narrow = drawn
    assert wide[0].split() == ["before", "after"]
    assert len(wide) < len(narrow)
    bars = [line.count("█") for line in narrow if line.startswith("n ")]
    assert bars[1] == pytest.approx(4 * bars[0], abs=3)


@pytest.mark.parametrize("width", [90, 120, 121, 130, 160, 200])
def test_two_runs_in_a_terminal_have_one_scale(observe, sleeper, width):
    """Whatever their names and limits are, the axes of both are as long, and so are equal bars."""
    timelines = [
        observe(Pipeline("p", Stage("s", parallel(*nodes))))[1].timeline
        for nodes in (
            [sleeper("n", 1)],
            [sleeper("n", 1), sleeper("a node with quite a long name", 0.5, timeout=2)],
        )
    ]
    console = Console(width=width)
    with console.capture() as captured:
        console.print(timelines[0].beside(timelines[1]))
    drawn = captured.get()
    axes = re.findall(r"0 +1s", drawn)
    assert len(axes) == 2
    assert len(axes[0]) == len(axes[1]) > 10
    bars = [length for length in map(len, re.findall("█+", drawn)) if length > len(axes[0]) * 0.7]
    assert bars == [len(axes[0]) - 1] * 2


def test_density_counts_who_is_at_it():
    """The area of a folded stage is how many nodes ran at once, over time."""
    row = Row(level="node", stage="s", name="n")
    rows = [attrs.evolve(row, started=0.0, ended=5.0), attrs.evolve(row, started=2.5, ended=10.0),
            row]  # fmt: skip
    counts, most = density(rows, 10.0, 10.0)
    assert most == 2
    assert [counts[at] for at in (0, 24, 25, 49, 50, 99)] == [1, 1, 2, 2, 1, 1]


def test_many_bad_nodes_do_not_hide_the_rest(observe):
    """Of hundreds of nodes that one failure cancelled, some are shown, and the one to blame."""

    async def boom(value):
        raise ValueError

    async def waits(value):
        import trio

        await trio.sleep(9)

    nodes = [Node(waits, name=f"n{part}") for part in range(99)]
    _, result = observe(Pipeline("p", Stage("s", parallel(*nodes, Node(boom, name="boom")))))
    html = result.timeline.to_html()
    assert "100 nodes: 99 cancelled, 1 failed" in html
    assert html.count('class="node is-cancelled"') == 25
    assert html.count('class="node is-cancelled hid"') == 74
    assert html.count('class="node is-failed blamed"') == 1


def test_a_track_says_what_was_cut_above():
    """A limit that others above it cut short looks like theirs; one out of sight is not drawn."""
    row = Row(level="node", stage="s", name="n", started=1.0, worked_until=3.0, ended=3.0,
              limit=9.0, limit_at=3.0, status=Status.OK)  # fmt: skip
    assert '<i class="limit above" style="left:75.0%">' in track(row, 4.0, 0.0, label="n")
    own = attrs.evolve(row, limit=2.0)
    assert '<i class="limit" style="left:75.0%">' in track(own, 4.0, 0.0, label="n")
    far = attrs.evolve(row, limit_at=9.0)
    assert "limit" not in track(far, 4.0, 0.0, label="n")
    assert 'aria-label="&lt;&quot;"' in track(row, 4.0, 0.0, label='<"')


def test_axis():
    """Marks lie at round instants, at most seven of them, whatever the scale is."""
    for scale in (1e-6, 0.003, 0.5, 1.11, 7.0, 59.0, 61.0, 4000.0, 1e6):
        found = ticks(scale)
        assert 2 <= len(found) <= 7
        assert all(one < other for (one, _), (other, _) in pairwise(found))
    assert (share(-1, 2), share(1, 2), share(5, 2)) == (0, 50, 100)


def test_legible():
    """What cannot be seen, or would turn the text around, is written as an escape."""
    assert legible("\ud800 half") == "\\ud800 half"
    assert legible("a\u202eb\n\x00\u200b") == "a\\u202eb\\n\\x00\\u200b"
    assert legible("שלום 👩\u200d👧 é") == "שלום 👩\u200d👧 é"


def test_pages_need_no_rich():
    """Pages, pictures and notebooks do without the extra of the terminal."""
    code = """
import sys
sys.modules["rich"] = None
import trio
from graceline import Node, Pipeline, Stage, open_engine
async def work(value):
    return 1
async def main():
    async with open_engine() as engine:
        result = await engine.run(Pipeline("p", Stage("s", [Node(work)])))
        assert "treegrid" in result.timeline.to_html() and "<svg" in result.timeline.to_svg()
        assert "treegrid" in result._repr_html_()
trio.run(main)
"""
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code


def test_a_terminal_folds_too(thousand):
    """In a terminal 1,000 nodes are a few lines: each stage, what did not succeed, and how many did."""
    console = Console(width=100)
    with console.capture() as captured:
        console.print(thousand[1].timeline)
    lines = captured.get().split("█ work")[0].splitlines()[2:]
    assert [line.split("  █")[0].split("  ─")[0].rstrip()[:12].rstrip() for line in lines[:-1]] == [
        "stage 0", "  … 250 more", "stage 1", "  job 1-007", "  … 249 more", "stage 2",
        "  job 2-007", "  job 2-008", "  … 248 more", "stage 3", "  … 250 more",
    ]  # fmt: skip
    assert "  … 248 more: 248 ok" in captured.get()


def test_many_small_stages_are_folded(observe, sleeper):
    """A run of many stages is folded by stage as well, however few nodes each of them has."""
    stages = [Stage(f"s{at}", parallel(*(sleeper(f"n{at}-{part}", 1) for part in range(5))))
              for at in range(30)]  # fmt: skip
    _, result = observe(Pipeline("p", stages))
    root = ET.fromstring(result.timeline.to_svg())  # noqa: S314 - our own
    names = [group.get("aria-label", "").split(":")[0] for group in root.iter(f"{SVG}g")]
    assert [name for name in names if name] == [f"s{at}" for at in range(30)]


def test_what_is_at_work_is_not_folded_away():
    """Of a large run that goes on, the nodes at work stay; those that ended well or wait go."""
    stage = [(0, Row(level="stage", stage="s", name="s", started=0.0))]
    node = Row(level="node", stage="s", name="n")
    kinds = {"ended": attrs.evolve(node, started=0.0, ended=1.0, status=Status.OK),
             "works": attrs.evolve(node, started=0.0), "waits": node}  # fmt: skip
    for kind, row in kinds.items():
        stage += [(1, attrs.evolve(row, name=kind))] * 30
    kept = [row.name for _, row in without(stage)]
    assert kept == ["s", *["works"] * 25, "65 more: 30 ok, 5 running, 30 to come"]


def test_everything_that_is_seldom(made):
    """Waiting, refusals, the middle of many attempts, late values and threads left behind are shown."""
    html, svg = made().to_html(), made().to_svg()
    for text in (html, svg):
        for said in ("late by 500ms", "left a thread behind", "waits for a slot", "backoff",
                     "4 more: 4 failed", "11 attempts"):  # fmt: skip
            assert said in text, said
    assert 'class="bar queue"' in html
    assert 'class="bar refused"' in html
    assert "<dt>queued</dt><dd><bdi>250ms</bdi></dd>" in html
    assert "✕" in "".join(ET.fromstring(svg).itertext())  # noqa: S314 - our own
    assert "waited in vain: timed out, from 500ms to 4s" in svg


def test_a_run_without_any_part(made):
    """A run whose rows are not known yet has its head, and no empty table."""
    assert "made" in made(rows=()).to_html()
    assert "<table" not in made(rows=())._repr_html_()
    assert "made" in made(rows=()).to_svg()
