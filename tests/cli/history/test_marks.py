import pytest

from graceline.adaptive.course import Point
from graceline.cli.history.marks import CALLS, WORDS, drawn, kind_of, lasting, probing

POINTS = [
    Point(1.0, 0.5, censored=False, p95=0.5, limit=3.0, why="probe"),
    Point(2.0, 0.3, censored=True, p95=None, limit=0.6, why="learned"),
    Point(3.0, 0.1, censored=True, p95=0.7, limit=3.0, why="probe"),
    Point(4.0, 0.9, censored=False, p95=0.9, limit=None, why=None),
]


def test_a_probe_does_not_bend_the_line():
    """The limit that lasts is that of the other calls; a probe's own one is a mark of its own."""
    assert lasting(POINTS) == [None, 0.6, 0.6, None]
    assert probing(POINTS) == [3.0, None, 3.0, None]


def test_room_for_all():
    """A picture has room for every duration, p95 and limit, those of probes included."""
    assert set(drawn(POINTS)) == {0.1, 0.3, 0.5, 0.6, 0.7, 0.9, 3.0}


@pytest.mark.parametrize(
    ("why", "censored", "kind"),
    [
        (None, False, "completed"),
        ("learned", True, "censored"),
        ("probe", False, "probe"),
        ("probe", True, "hung"),
        ("alarm", True, "alarm"),
    ],
)
def test_kinds(why, censored, kind):
    """Each way in which a call may end has a mark of its own, and words for it."""
    assert kind_of(Point(1.0, 0.5, censored=censored, p95=None, limit=0.6, why=why)) == kind
    assert kind in CALLS
    assert kind in WORDS
