"""Hedges as they are written down."""

import math

import pytest

from graceline import DefinitionError, Node, choose, each, node
from graceline.definitions import Hedge


def test_the_defaults_are_those_of_the_design():
    """A copy at the p95 of 50 samples, for one call in twenty, and 250 ms for the loser."""
    hedge = Hedge()
    assert (hedge.delay, hedge.min_samples, hedge.max_extra, hedge.loser_grace) == (
        None,
        50,
        0.05,
        0.25,
    )


def test_durations_are_written_as_everywhere():
    """Texts with a unit become seconds, and a loser may be granted none."""
    hedge = Hedge(delay="20ms", loser_grace="0s")
    assert (hedge.delay, hedge.loser_grace) == (0.02, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay": 0}, r"Hedge\(delay=\) must be above 0 and finite, not 0"),
        ({"delay": math.inf}, r"Hedge\(delay=\) must be above 0 and finite"),
        ({"delay": "20"}, r"Hedge\(delay=\): .* has no unit"),
        ({"min_samples": 0}, r"Hedge\(min_samples=\) must be a whole number, at least 1"),
        ({"delay": -1}, r"Hedge\(delay=\) must be above 0 and finite, not -1$"),
        ({"max_extra": 0}, r"Hedge\(max_extra=\) is a share above 0 .* such as 0\.05, not 0"),
        ({"max_extra": 5}, r"Hedge\(max_extra=\) is a share above 0 .* such as 0\.05, not 5"),
        ({"loser_grace": -1}, r"Hedge\(loser_grace=\) must be at least 0 and finite, not -1; the"),
        (
            {"loser_grace": math.inf},
            r"Hedge\(loser_grace=\) must .* finite, not inf; the run waits",
        ),
    ],
)
def test_options_that_make_no_sense(options, message):
    """The message says which option is wrong, and what would be right."""
    with pytest.raises(DefinitionError, match=message):
        Hedge(**options)


async def work(value):
    return value


async def other(value):
    return value


@pytest.mark.parametrize(
    "write",
    [
        lambda **said: Node(work, **said),
        lambda **said: node(work, **said),
        lambda **said: each(work, **said),
        lambda **said: each(Node(work, idempotent=True, hedge=said.pop("hedge")), idempotent=None),
        lambda **said: choose(work, other, **said),
        lambda **said: choose(Node(work, **said), other, idempotent=True),
        lambda **said: choose(work, each(other, **said)),
    ],
)
def test_work_that_may_not_be_done_twice_is_not_hedged(write):
    """However the node is written: `hedge=` on it needs its own `idempotent=True`."""
    for said in ({}, {"idempotent": False}):
        with pytest.raises(DefinitionError, match="hedge= does the work twice; say idempotent=Tr"):
            write(hedge=Hedge(), **said)
