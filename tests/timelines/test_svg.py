"""The waterfall as SVG: where its marks lie, what they look like, and what its legend names."""

from xml.etree import ElementTree as ET

import pytest

from graceline import Pipeline, Stage

SVG = "{http://www.w3.org/2000/svg}"
LEGEND = {"work", "unwinding", "backoff", "waits for a slot", "refused", "its own limit",
          "a limit above it", "nodes at once"}  # fmt: skip
HATCH = "url(#graceline-hatch)"


def runs_of(svg):
    """The groups of the runs, with the left edge of each."""
    root = ET.fromstring(svg)  # noqa: S314 - our own
    return [
        (float(run.get("transform").removeprefix("translate(").split()[0]), run)
        for run in root.findall(f"{SVG}g")
    ]


def lines_of(run):
    """The lines of a run by the name of their part; later ones of a name replace earlier ones."""
    return {
        group.get("aria-label").split(":")[0]: group for group in run if group.get("role") == "img"
    }


def texts_of(line):
    return [text.text for text in line.iter(f"{SVG}text")]


def bars_of(line):
    """Left end, right end, class and fill of the bars of a line."""
    return [
        (float(bar.get("x")), float(bar.get("x")) + float(bar.get("width")), bar.get("class"),
         bar.get("fill"))
        for bar in line.findall(f"{SVG}rect")
        if bar.get("rx")
    ]  # fmt: skip


def marks_of(line, dashes):
    """Both ends of the lines that are dashed in one way."""
    return [
        (float(mark.get("x1")), float(mark.get("x2")))
        for mark in line.findall(f"{SVG}line")
        if mark.get("stroke-dasharray") == dashes
    ]


def legend_of(run):
    return {text.text for text in run.findall(f"{SVG}text")} & LEGEND


def test_what_is_to_blame_is_marked(cut):
    """One line has a ground of its colour, a bar at its edge, and says so; no other one does."""
    [(_, run)] = runs_of(cut[1].timeline.to_svg())
    marked = {
        name: [rect.get("class") for rect in line.findall(f"{SVG}rect") if not rect.get("rx")]
        for name, line in lines_of(run).items()
    }
    assert {name: found for name, found in marked.items() if found} == {
        "generate": ["f-timed_out", "f-timed_out"]
    }
    said = [name for name, line in lines_of(run).items() if "◄ to blame" in texts_of(line)]
    assert said == ["generate"]


def test_marks_lie_where_things_happened(cut):
    """Work, unwinding and limits have the places on the axis that their seconds have."""
    timeline = cut[1].timeline
    [(_, run)] = runs_of(timeline.to_svg(width=1000))
    lines = lines_of(run)
    left, right = bars_of(lines["auth"])[0][0], bars_of(lines["generate"])[-1][1]
    seen = 0
    for row in timeline.rows():
        if row.started is None:
            continue
        line = lines[row.name]
        bars = bars_of(line)
        wanted = [(row.started, row.worked_until, f"f-{row.status}", None)]
        if row.grace_used > 0:
            wanted += [
                (row.worked_until, row.ended, f"f-{row.status}", None),
                (row.worked_until, row.ended, f"s-{row.status}", HATCH),
            ]
        assert [bar[2:] for bar in bars] == [bar[2:] for bar in wanted]
        places = [place for bar in bars for place in bar[:2]]
        instants = [instant for bar in wanted for instant in bar[:2]]
        own, above = marks_of(line, "4 2"), marks_of(line, "1 3")
        assert (len(own), len(above)) == ((0, 1) if row.limit is None else (1, 0))
        for place, instant in zip(
            [*places, *(own + above)[0]], [*instants, row.limit_at, row.limit_at], strict=True
        ):
            share = instant / timeline.pipeline.ended
            assert place == pytest.approx(left + (right - left) * share, abs=0.3), row
            seen += 1
    assert seen >= 40


def test_attempts_have_their_colours_and_backoffs_between(tried):
    """What failed looks unlike what did not, and a dotted line leads from one to the next."""
    [(_, run)] = runs_of(tried[0].to_svg())
    flaky = lines_of(run)["flaky"]
    one, other, last = bars_of(flaky)
    assert [bar[2] for bar in (one, other, last)] == ["f-failed", "f-failed", "f-ok"]
    assert marks_of(flaky, "2 3") == [
        pytest.approx((one[1], other[0]), abs=0.2), pytest.approx((other[1], last[0]), abs=0.2),
    ]  # fmt: skip


def test_a_folded_stage_shows_how_many_were_at_work(thousand, cut):
    """An area under its bar, as wide as the axis and as high as the line; others have none."""
    [(_, run)] = runs_of(thousand[1].timeline.to_svg())
    lines = lines_of(run)
    areas = {name: line.findall(f"{SVG}path") for name, line in lines.items()}
    assert [name for name, found in areas.items() if found] == [f"stage {at}" for at in range(4)]
    shapes = [found[0].get("d") for found in areas.values() if found]
    assert len(set(shapes)) == 4
    assert shapes[0].startswith(f"M{bars_of(lines['stage 0'])[0][0]:.1f} ")
    [(_, run)] = runs_of(cut[1].timeline.to_svg())
    assert not list(run.iter(f"{SVG}path"))


def test_the_legend_names_what_is_used(observe, sleeper, cut, tried, thousand, made):
    """What does not occur in a picture is not explained below it."""
    plain = observe(Pipeline("p", Stage("s", [sleeper("n", 1)])))
    for timeline, wanted in (
        (plain[1].timeline, {"work"}),
        (cut[1].timeline, {"work", "unwinding", "its own limit", "a limit above it"}),
        (tried[0], {"work", "backoff"}),
        (thousand[1].timeline, {"work", "its own limit", "nodes at once"}),
    ):
        [(_, run)] = runs_of(timeline.to_svg())
        assert legend_of(run) == wanted
    [(_, run)] = runs_of(made().to_svg())
    assert {"refused", "waits for a slot"} < legend_of(run)


@pytest.mark.parametrize("width", [400, 960, 1400])
def test_the_picture_fills_its_width(cut, width):
    """There is as much room on its right as on its left, and nothing reaches into it."""
    [(x, run)] = runs_of(cut[1].timeline.to_svg(width=width))
    card = next(rect for rect in run.findall(f"{SVG}rect") if rect.get("class") == "f-card s-line")
    assert x + float(card.get("width")) == width - x
    for line in lines_of(run).values():
        assert all(right <= float(card.get("width")) for _, right, *_ in bars_of(line))


def test_two_runs_have_one_scale(observe, sleeper):
    """Side by side, a second is as long in one run as in the other."""
    one, other = (
        observe(Pipeline("p", Stage("s", [sleeper("n", seconds)])))[1].timeline
        for seconds in (1, 4)
    )
    (x, short), (far, long) = runs_of(one.beside(other).to_svg(width=1400))
    [(left, right, *_)], [(begin, end, *_)] = (bars_of(lines_of(run)["n"]) for run in (short, long))
    assert end - begin == pytest.approx(4 * (right - left), abs=0.5)
    assert x + right < far + begin
    assert far + end < 1400
