from math import inf, log, nan

import pytest

from graceline.adaptive import Learner, Settings


@pytest.mark.parametrize("name", ["initial", "floor", "ceiling"])
@pytest.mark.parametrize("value", [0.0, -1.0, nan, inf])
def test_bounds_are_seconds_above_zero(name, value):
    """A bound that is no number of seconds above zero is refused by its name."""
    with pytest.raises(ValueError, match=f"{name}: .* is not a number of seconds above 0"):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", 0.0),
        ("alpha", 0.5),
        ("quantile", 1.0),
        ("gain", 0.0),
        ("alarm_at", nan),
        ("alarm_gap", 1.0),
        ("boost", 1.0),
        ("excess", -1.0),
    ],
)
def test_constants_have_ranges(name, value):
    """A constant that is out of its range is refused by its name."""
    with pytest.raises(ValueError, match=f"{name}: .* is not above"):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("constants", "says"),
    [
        ({"floor": 2.0, "ceiling": 1.0}, "floor: 2.0 is above the ceiling, 1.0"),
        ({"margin": 5.0}, "margin_low <= margin <= margin_high"),
        ({"margin_low": 0.5}, "1 <= margin_low"),
        ({"window": 20}, "warm_at <= window"),
        ({"warm_from": 30}, "warm_from < warm_at"),
        ({"reprobe": 300}, "reprobe <= reprobe_most"),
        ({"restart": -1}, "restart: -1 is below 0"),
    ],
)
def test_constants_fit_together(constants, says):
    """Constants that contradict each other are refused, with the order that they must have."""
    with pytest.raises(ValueError, match=says):
        Settings(**constants)


def test_the_first_limit_lies_within_the_bounds():
    """An initial limit outside the bounds is clamped to them."""
    assert Settings(initial=9.0).start == 3.0
    assert Settings(initial=0.001).start == 0.005
    assert Settings(initial=0.2).start == 0.2


def test_what_is_derived():
    """Logarithms and thresholds are those of the stated numbers."""
    settings = Settings(ceiling=2.0, margin=2.0, margin_low=1.0, margin_high=3.0, alarm_gap=0.2)
    assert settings.hung_from == 1.9
    assert (settings.log_margin_low, settings.log_margin) == (0.0, log(2.0))
    assert settings.log_margin_high == log(3.0)
    assert settings.relief == log(0.8)


def test_constants_are_keywords_of_the_learner():
    """Every constant can be given to a learner by its name; an unknown one is a TypeError."""
    assert Learner(0.2, window=64, boost=2.0).settings == Settings(0.2, window=64, boost=2.0)
    with pytest.raises(TypeError, match="speed"):
        Learner(speed=3)
