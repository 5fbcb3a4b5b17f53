"""Learned limits as they are written down."""

import math

import pytest

from graceline import Adaptive, DefinitionError, Node


async def work(value):
    return value


def test_durations_are_written_as_everywhere():
    """Bounds are seconds or texts with a unit."""
    learned = Adaptive(initial="200ms", ceiling="3s", floor=0.01)
    assert (learned.initial, learned.ceiling, learned.floor, learned.alpha) == (
        0.2,
        3.0,
        0.01,
        0.01,
    )
    assert Node(work, timeout=learned).stated_timeout == 3.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial": 0, "ceiling": 1}, r"Adaptive\(initial=\) must be above 0"),
        ({"initial": -1, "ceiling": 1}, r"Adaptive\(initial=\) must be above 0 and finite, not -1"),
        ({"initial": 1, "ceiling": math.inf}, r"Adaptive\(ceiling=\) must be above 0 and finite"),
        ({"initial": 2, "ceiling": 1}, "floor 5ms <= initial 2s <= ceiling 1s is not"),
        ({"initial": 1, "ceiling": 2, "floor": 1.5}, "in order"),
        ({"initial": 1, "ceiling": 2, "alpha": 0.5}, r"Adaptive\(alpha=\) is a share"),
        ({"initial": 1, "ceiling": 2, "alpha": True}, r"Adaptive\(alpha=\) is a share"),
        ({"initial": "1", "ceiling": 2}, "has no unit"),
    ],
)
def test_bounds_that_make_no_sense(options, message):
    """The message says which bound is wrong, and what would be right."""
    with pytest.raises(DefinitionError, match=message):
        Adaptive(**options)


def test_a_learned_limit_keeps_nothing_for_cleanup():
    """`reserve=` beside a learned limit is refused: what is learned is how long the work takes."""
    with pytest.raises(DefinitionError, match=r"node 'work': a learned limit .* give grace="):
        Node(work, timeout=Adaptive(initial=1, ceiling=2), reserve=0.1)
