"""The engine's default limits, and the four presets."""

import math
from datetime import timedelta

import attrs
import pytest

from graceline import DefinitionError, Timeouts


def limits(timeouts):
    return (timeouts.node, timeouts.stage, timeouts.pipeline, timeouts.grace)


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [
        (Timeouts(), (0.2, math.inf, 0.5, 0.1)),
        (Timeouts.realtime(), (0.2, math.inf, 0.5, 0.1)),
        (Timeouts.interactive(), (math.inf, math.inf, 30.0, 1.0)),
        (Timeouts.batch(), (math.inf, 3600.0, 7200.0, 30.0)),
        (Timeouts.none(), (math.inf, math.inf, math.inf, math.inf)),
    ],
)
def test_the_presets_are_what_their_docstrings_say(timeouts, expected):
    """Each preset states its four limits in seconds, and is fail-fast and lenient."""
    assert limits(timeouts) == expected
    assert (timeouts.fail_fast, timeouts.strict) == (True, False)


def test_limits_are_written_as_any_duration():
    """Numbers, strings with units, timedeltas and None are all understood."""
    timeouts = Timeouts(node="250ms", stage=timedelta(seconds=2), pipeline=None, grace=1)
    assert limits(timeouts) == (0.25, 2.0, math.inf, 1.0)


def test_zero_is_a_limit():
    """A default of zero is valid, and is not mistaken for none."""
    assert Timeouts(node=0).node == 0.0


@pytest.mark.parametrize("field", ["node", "stage", "pipeline", "grace"])
@pytest.mark.parametrize("value", [-1, math.nan, True, "5", [1]])
def test_a_bad_limit_is_refused_with_its_name(field, value):
    """The message names the option that is wrong."""
    with pytest.raises(DefinitionError, match=rf"^Timeouts\({field}=\): "):
        Timeouts(**{field: value})


@pytest.mark.parametrize("field", ["fail_fast", "strict"])
def test_a_bad_flag_is_refused_with_its_name(field):
    """A flag is True or False, and the message says which one is not."""
    with pytest.raises(DefinitionError, match=rf"^Timeouts\({field}=\) must be True or False"):
        Timeouts(**{field: 1})


def test_evolve_keeps_the_rest():
    """A changed copy differs in what was changed and in nothing else."""
    assert attrs.evolve(Timeouts.batch(), node="1s") == Timeouts(
        node=1.0, stage=3600.0, pipeline=7200.0, grace=30.0
    )
