"""Which limit holds for a step, and where it comes from: the first match wins, exactly."""

import itertools

import pytest

from graceline.dialects.yaml.files import parts_of
from graceline.dialects.yaml.problems import Position

FILE = """
id: p
config: {{{config}}}
stages:
  - id: s
    {stage}
    steps:
      - {{id: a, tool: work, parameters: {{seconds: 60}}{step}{metadata}}}
"""
PLACES = {
    "step": ", timeout: 11",
    "metadata": ", metadata: {timeout: 13}",
    "stage": "default_timeout: 17",
    "config": "default_timeout: 19",
}
SECONDS = {"step": 11, "metadata": 13, "stage": 17, "config": 19}


@pytest.mark.keys(
    "config.default_timeout", "stage.default_timeout", "step.timeout", "step.metadata"
)
@pytest.mark.parametrize("stated", list(itertools.product([False, True], repeat=4)))
async def test_the_first_match_wins(autojump_clock, read, engine, stated):
    """For each combination of places the limit that is resolved is the one that cuts."""
    given = dict(zip(PLACES, stated, strict=True))
    file = read(FILE.format(**{name: PLACES[name] if given[name] else "" for name in PLACES}))
    expected = next((SECONDS[name] for name in PLACES if given[name]), None)
    assert parts_of(file).limits["a"].attempt.limit == expected
    result = await engine.run(file.pipeline())
    if expected is None:
        assert (result.status, result.elapsed) == ("ok", 60)
    else:
        assert (result.blame.level, result.blame.limit) == ("attempt", expected)
        assert result.elapsed == expected


def test_every_limit_has_its_place(read):
    """For people who ask: each place where a limit may stand, with what it says and where."""
    file = read(
        """
        id: p
        config: {timeout: 2m, default_timeout: 30}
        stages:
          - id: s
            timeout: 1m
            grace: 3
            steps:
              - {id: a, tool: note, total_timeout: 50, metadata: {timeout: 20}}
        """
    )
    limits = parts_of(file).limits["a"]
    assert [(one.key, one.limit, one.at) for one in limits.attempt.candidates] == [
        ("step timeout", None, None),
        ("step metadata.timeout", 20, Position(9, 68)),
        ("stage default_timeout", None, None),
        ("config default_timeout", 30, Position(3, 40)),
    ]
    assert limits.attempt.winner.key == "step metadata.timeout"
    assert (limits.total.limit, limits.stage.limit, limits.pipeline.limit) == (50, 60, 120)
    assert (limits.cleanup.winner.key, limits.cleanup.limit) == ("stage grace", 3)


def test_what_is_not_stated(read):
    """Without any statement nothing limits a step, and cleanup has the 5 seconds of files."""
    file = read("id: p\nsteps: [{id: a, tool: note, for_each: [1]}]")
    limits = parts_of(file).limits["a"]
    assert limits.attempt.what == "one attempt of one item"
    found = (limits.attempt, limits.total, limits.stage, limits.pipeline)
    assert [one.limit for one in found] == [None] * 4
    assert (limits.cleanup.winner.key, limits.cleanup.limit) == ("the default for files", 5)


def test_no_limit_can_be_stated(read):
    """`.inf` takes away what a level above would fill in."""
    file = read("id: p\nconfig: {default_timeout: 3}\nsteps: [{id: a, tool: note, timeout: .inf}]")
    limits = parts_of(file).limits["a"]
    assert limits.attempt.limit is None
    assert limits.attempt.winner.key == "step timeout"
