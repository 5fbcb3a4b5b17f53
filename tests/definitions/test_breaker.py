"""Breakers as they are written down."""

import math
from datetime import timedelta

import pytest

from graceline import DefinitionError
from graceline.definitions import Breaker


def test_the_defaults_are_those_of_the_design():
    """Half of ten calls within 30 s open it, for 10 s up to 5 min, and one probe closes it."""
    breaker = Breaker()
    assert (breaker.failure_rate, breaker.min_calls, breaker.window) == (0.5, 10, 30.0)
    assert (breaker.open_for, breaker.max_open_for, breaker.probes) == (10.0, 300.0, 1)
    assert (breaker.consecutive, breaker.slow_rate, breaker.slow_after) == (None, None, None)
    assert (breaker.ignore, breaker.mode, breaker.name) == ((), "on", None)


def test_durations_are_written_as_everywhere():
    """Texts with a unit and timedeltas become seconds."""
    breaker = Breaker(
        window="1m",
        open_for="500ms",
        max_open_for=timedelta(minutes=1),
        probe_max="2s",
        slow_rate=1,
        slow_after="250ms",
    )
    assert (breaker.window, breaker.open_for, breaker.max_open_for) == (60.0, 0.5, 60.0)
    assert (breaker.probe_max, breaker.slow_after) == (2.0, 0.25)


@pytest.mark.parametrize("name", ["window", "open_for", "max_open_for", "probe_max", "slow_after"])
@pytest.mark.parametrize("value", [0, math.inf, -1, "5", True])
def test_a_duration_that_makes_no_sense_is_refused_with_its_name(name, value):
    """Each must be above 0 and finite, and the message says which one is not."""
    options = {"slow_rate": 0.5} if name == "slow_after" else {}
    with pytest.raises(DefinitionError, match=rf"^Breaker\({name}=\)"):
        Breaker(**{name: value}, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"failure_rate": 0}, r"Breaker\(failure_rate=\) is a share above 0 and at most 1"),
        ({"failure_rate": 50}, r"such as 0\.5, not 50"),
        ({"failure_rate": True}, r"Breaker\(failure_rate=\)"),
        ({"failure_rate": "half"}, r"not 'half'"),
        ({"min_calls": 0}, r"Breaker\(min_calls=\) must be a whole number, at least 1, not 0"),
        ({"min_calls": 2.0}, r"Breaker\(min_calls=\) .* not 2\.0"),
        ({"probes": True}, r"Breaker\(probes=\) must be a whole number"),
        ({"consecutive": 0}, r"Breaker\(consecutive=\) must be a whole number"),
        ({"slow_rate": 0.5}, "slow_rate= and slow_after= go together"),
        ({"slow_after": 0.5}, "slow_rate= and slow_after= go together"),
        ({"slow_rate": 2, "slow_after": 1}, r"Breaker\(slow_rate=\) is a share"),
        (
            {"open_for": 20, "max_open_for": 10},
            "open_for 20s must not be longer than max_open_for 10s",
        ),
        ({"mode": "metric_only"}, "'metric_only' is unknown; did you mean 'metrics_only'?"),
        ({"mode": 7}, r"Breaker\(mode=\): 7 is unknown; valid are: 'on'"),
        ({"name": ""}, r"Breaker\(name=\): its name must be a non-empty string"),
        ({"mode": None}, r"Breaker\(mode=\): None is unknown; valid are: 'on', 'metrics_only'"),
        ({"window": -1}, r"Breaker\(window=\) must be above 0 and finite, not -1$"),
        ({"ignore": 3}, r"Breaker\(ignore=\) takes subclasses .* plain function of .*, not 3"),
        ({"ignore": "KeyError"}, r"Breaker\(ignore=\) takes .* not 'KeyError'; write the class it"),
        (
            {"ignore": (ValueError, "KeyError")},
            r"Breaker\(ignore=\) takes .* not 'KeyError'; write",
        ),
        ({"ignore": lambda: True}, r"Breaker\(ignore=\): .* exactly one argument, the exception"),
        ({"ignore": KeyboardInterrupt}, r"Breaker\(ignore=\) takes .* not <class 'KeyboardInt"),
    ],
)
def test_options_that_make_no_sense(options, message):
    """The message says which option is wrong, and what would be right."""
    with pytest.raises(DefinitionError, match=message):
        Breaker(**options)


def test_a_predicate_that_must_be_awaited_is_refused():
    """Nobody could await it where errors are counted."""

    async def predicate(error):
        return True

    with pytest.raises(DefinitionError, match=r"Breaker\(ignore=\) must be a plain function"):
        Breaker(ignore=predicate)


@pytest.mark.parametrize(
    "ignore",
    [KeyError, [KeyError], (KeyError, OSError), lambda error: isinstance(error, KeyError)],
    ids=["class", "list", "tuple", "predicate"],
)
def test_errors_to_ignore_are_classes_or_a_predicate(ignore):
    """However it is written: what matches is ignored, and nothing else."""
    breaker = Breaker(ignore=ignore)
    assert breaker.ignores(KeyError("k"))
    assert not breaker.ignores(ValueError("v"))


def test_nothing_is_ignored_by_default():
    """An error counts unless somebody says otherwise."""
    assert not Breaker().ignores(ValueError("v"))


def test_a_group_is_ignored_if_all_of_it_is():
    """One error that counts makes the group count, however deep it lies."""
    breaker = Breaker(ignore=KeyError)
    inner = ExceptionGroup("inner", [KeyError("a")])
    assert breaker.ignores(ExceptionGroup("outer", [inner, KeyError("b")]))
    assert not breaker.ignores(ExceptionGroup("outer", [inner, ValueError("b")]))
    assert Breaker(ignore=ExceptionGroup).ignores(ExceptionGroup("all", [ValueError("v")]))


def test_equal_definitions_are_equal():
    """However an option is written: nodes that share a breaker can be compared."""
    assert Breaker(ignore=[KeyError], window="30s") == Breaker(ignore=KeyError)
