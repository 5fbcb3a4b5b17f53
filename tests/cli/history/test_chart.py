import pytest
from rich.cells import cell_len
from rich.console import Console

from graceline.adaptive.course import Point
from graceline.cli.history.chart import Chart

PLAIN = Point(1.0, 0.2, censored=False, p95=0.2, limit=0.5, why="learned")
POINTS = [
    PLAIN,
    Point(2.0, 0.3, censored=False, p95=0.3, limit=0.5, why="learned"),
    Point(3.0, 0.5, censored=True, p95=0.3, limit=0.5, why="learned"),
    Point(4.0, 0.9, censored=False, p95=0.8, limit=3.0, why="probe"),
    Point(5.0, 0.6, censored=True, p95=None, limit=0.6, why="alarm"),
    Point(6.0, 0.1, censored=False, p95=None, limit=0.6, why="learned"),
]


def drawn(points, width=80, encoding="utf-8", height=10):
    console = Console(width=width, color_system=None, force_terminal=False)
    options = console.options.update()
    options.encoding = encoding
    lines = console.render_lines(Chart(points, height), options, pad=False)
    return ["".join(segment.text for segment in line) for line in lines]


def test_picture():
    """Marks lie at the duration of their call, lines at the p95 and at the limit that holds for the others."""
    assert drawn(POINTS, width=34, encoding="ascii") == [
        "       duration, logarithmic",
        "   3s |            ~",
        "      |",
        "      |",
        "   1s |            P",
        "      |            ----A=======",
        "      |========x=======",
        "      |    .-------",
        "      |.---",
        "      |",
        "100ms |                    .",
        "      +------------------------",
        "       oldest            newest",
        "       . completed",
        "       x censored: would have t...",
        "       P probe, completed",
        "       A raised an alarm",
        "       - p95 of the calls so far",
        "       = limit  ~ limit of a probe",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
@pytest.mark.parametrize("width", [1, 12, 40, 80, 200])
@pytest.mark.parametrize("points", [POINTS, POINTS[:1], POINTS[2:3], POINTS * 90])
def test_any_console(points, width, encoding):
    """Whatever the console, no line is too wide, each can be encoded, and the height is what was asked."""
    lines = drawn(points, width, encoding)
    assert max(map(cell_len, lines)) <= width
    "\n".join(lines).encode(encoding)
    if width >= 12:
        assert sum("|" in line or "│" in line for line in lines) >= 10


def test_marks_are_told_apart_without_colour():
    """Each kind of call has a mark of its own, and the legend names those that are seen and no other."""
    text = "\n".join(drawn(POINTS))
    for said in (
        "· completed",
        "\xd7 censored",
        "◆ probe",
        "▲ raised an alarm",
        "═ limit of a probe",
        "┄ p95",
        "━ limit",
    ):
        assert said in text
    plain = "\n".join(drawn([PLAIN]))
    assert "probe" not in plain
    assert "censored" not in plain


def test_only_the_frame_is_dim():
    """What was measured stands out from the axis and the labels."""
    console = Console(width=80, force_terminal=True, color_system="standard")
    segments = [part for line in console.render_lines(Chart(POINTS, 10))[:11] for part in line]
    dim = {part.text.strip() for part in segments if part.style and part.style.dim}
    assert dim - {""} == {"duration, logarithmic", "│", "100ms", "1s", "3s"}


def test_rare_marks_are_seen():
    """Among very many calls the few that were cut, probes or alarms are not hidden by others."""
    calls = [PLAIN] * 400
    calls[200:203] = POINTS[2:5]
    picture = "\n".join(drawn(calls)[:11])
    assert all(mark in picture for mark in "\xd7◆═▲")


def test_only_censored():
    """Without any completion there is no p95, and the cut calls and the limit are drawn."""
    text = "\n".join(
        drawn([Point(1.0, 1.0, censored=True, p95=None, limit=1.0, why="learned")] * 9)
    )
    assert "\xd7" in text
    assert "━" in text
    assert "p95" not in text


def test_times():
    """Stamps that are Unix time are shown as times in UTC, the date once where it is one day."""
    at = [1.8e9, 1.8e9 + 5400, 1.8e9 + 200000]
    points = [Point(stamp, 0.1, censored=False, p95=0.1, limit=None, why=None) for stamp in at]
    assert drawn(points[:2])[12].split() == ["2027-01-15", "08:00", "UTC", "09:30"]
    assert drawn(points)[12].split()[-2:] == ["2027-01-17", "15:33"]
    assert drawn(points[:1])[12].split() == ["2027-01-15", "08:00", "UTC"]


def test_the_scale_is_named():
    """The picture says whether equal steps upwards are equal durations or equal factors."""
    assert drawn(POINTS)[0].strip() == "duration, logarithmic"
    assert drawn([PLAIN])[0].strip() == "duration, linear"


def test_a_probe_that_hung():
    """A probe that did not finish is not taken for one that did."""
    hung = Point(4.0, 3.0, censored=True, p95=0.8, limit=3.0, why="probe")
    text = "\n".join(drawn([PLAIN, hung]))
    assert "◇ probe, censored" in text
    assert "◆" not in text
