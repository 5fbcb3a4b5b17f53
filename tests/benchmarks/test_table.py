"""The table and the charts, of rows that were made up."""

import re
from io import StringIO
from xml.etree import ElementTree as ET

import pytest
from benchmarks.chart import CHARTS, draw_ratios, write_charts
from benchmarks.curves import _rounded
from benchmarks.measure import Spread
from benchmarks.rows import Row
from benchmarks.table import console, show


def row(ratio=0.5, bar=1.0, width=0.0, **fields):
    """A row with a ratio that was not measured."""
    spread = Spread(ratio, ratio - width, ratio + width, 7)
    made = {"group": "g", "what": "w", "unit": "us", "figure": spread, "floor": spread}
    return Row(**{**made, "ratio": spread, "bar": bar, **fields})


def printed(rows, width):
    stream = StringIO()
    show(rows, console(stream, width))
    return stream.getvalue()


def test_table_shows_the_bar_beside_the_ratio():
    """A line of the table has figure, floor, ratio, bar and verdict, and a gauge over its mark."""
    line = printed([row(2.0, 1.5, against="hand")], 150).splitlines()[-1]
    assert line.split() == [
        "w", "2.00", "us", "2.00", "us", "hand", "2.00", "(2.00-2.00)", "██████████┃███", "<=", "1.5",
        "x", "MISSED",
    ]  # fmt: skip
    assert ">= 2 x" in printed([row(2.0, None, least=2.0)], 150)


def test_gauge_is_over_its_mark_if_the_bar_is_missed_by_little():
    """Rounding never draws a figure on the other side of its bar."""
    assert "██████████┃█" in printed([row(1.001, 1.0)], 150)
    assert "██████████│ " in printed([row(1.0, 1.0)], 150)
    assert "█████     │ " in printed([row(4.0, None, least=2.0)], 150)


@pytest.mark.parametrize("width", [40, 64, 80, 100, 130, 200])
def test_table_fits_the_terminal(width):
    """At any width figure, ratio, bar and verdict are whole, and no line is longer."""
    rows = [row(1.25, 1.0, what="a long name " * 9, against="hand-written scopes", unit="us")]
    text = printed(rows, width)
    assert max(map(len, text.splitlines())) <= width
    for said in ("1.25 us", "<= 1 x", "MISSED"):
        assert said in text
    assert ("floor" in text, "(1.25-1.25)" in text, "┃" in text, "engine" in text) == (
        width >= 130, width >= 100, width >= 100, width >= 64,
    )  # fmt: skip


@pytest.mark.parametrize("name", CHARTS)
def test_charts_are_well_formed(name):
    """A chart is well-formed SVG whatever the names hold, also without any row."""
    series = {"10": Spread.of([1.0]), "1,000": Spread.of([2.0])}
    rows = [row(what="a < b & c, more per node of 5, 10 to 1,000", series=series), row(9.0, None)]
    drawn = ET.fromstring(CHARTS[name](rows))  # noqa: S314 - our own
    assert drawn.tag.endswith("svg")
    assert any("a < b & c" in (element.text or "") for element in drawn)
    assert ET.fromstring(CHARTS[name]([])).tag.endswith("svg")  # noqa: S314 - our own


def test_chart_draws_the_share_of_each_bar():
    """Half of a bar is half as long as the bar, a miss has its colour, and least is turned round."""
    rows = [row(0.5, 1.0), row(4.0, 2.0), row(4.0, None, least=2.0), row(0.5, None)]
    bars = re.findall(r'<rect [^>]*width="([\d.]+)" [^>]*class="f-(ok|failed)"', draw_ratios(rows))
    (half, one), (whole, two), (turned, three) = bars
    assert (one, two, three) == ("ok", "failed", "ok")
    assert float(half) == float(turned) == pytest.approx(float(whole) / 3, abs=0.2)


def test_a_bar_beyond_the_scale_has_an_arrow():
    """What the scale cuts has no end there, and so no cap either; what it holds has two."""
    caps, arrows = r'points="(\d+\.\d),\d+\.\d \1,', "<polygon"
    without = len(re.findall(caps, draw_ratios([row(1.0)])))
    for ratio, width, ends, heads in ((1.0, 0.2, 2, 0), (1.45, 0.2, 1, 0), (1.8, 0.1, 0, 1)):
        drawn = draw_ratios([row(ratio, width=width)])
        assert len(re.findall(caps, drawn)) == without + ends
        assert drawn.count(arrows) == heads


def test_what_features_cost_has_dots():
    """A scale of powers of ten has no zero at which a bar could begin."""
    drawn = CHARTS["features"]([row(what="a hedge, more per node of 5")])
    assert "<circle" in drawn
    assert drawn.count("<rect") == 1


def test_charts_are_written_into_a_directory(tmp_path):
    """A path that is no `.svg` becomes a directory with all charts."""
    write_charts([row()], tmp_path / "charts")
    assert sorted(path.stem for path in (tmp_path / "charts").iterdir()) == sorted(CHARTS)


@pytest.mark.parametrize(
    ("size", "end"), [(0.4, 1.0), (1.2, 1.5), (9.5, 10.0), (730, 800), (1e6, 1e6)]
)
def test_axis_of_a_curve_ends_at_a_round_figure(size, end):
    """The figure at the top of an axis is above all others, and round."""
    assert _rounded(size) == pytest.approx(end)
