"""Retries as they are written down."""

import functools
import math
from datetime import timedelta

import pytest

from graceline import DefinitionError
from graceline.definitions import Retry


async def ask(error):
    return True


def test_the_defaults_are_those_of_the_docstring():
    """Three attempts in all, and a backoff from 100 ms that doubles up to 10 s."""
    retry = Retry()
    assert (retry.attempts, retry.backoff, retry.factor, retry.max_backoff) == (3, 0.1, 2, 10.0)
    assert (retry.on, retry.min_attempt, retry.nested, retry.retry_after) == (
        (Exception,),
        0.05,
        False,
        None,
    )


def test_durations_are_written_as_everywhere():
    """Seconds, texts with a unit and timedeltas are understood, and 0 is no backoff at all."""
    retry = Retry(backoff="250ms", max_backoff=timedelta(minutes=1), min_attempt=0)
    assert (retry.backoff, retry.max_backoff, retry.min_attempt) == (0.25, 60.0, 0.0)
    assert Retry(backoff=0, max_backoff=0).backoff == 0.0


def test_one_class_or_several_or_a_function():
    """`on` is kept as a tuple of classes, or as the function that it is."""
    assert Retry(on=OSError).on == (OSError,)
    assert Retry(on=[OSError, ValueError]).on == (OSError, ValueError)
    function = functools.partial(isinstance, OSError())
    assert Retry(on=function).on is function
    assert Retry(retry_after=function).retry_after is function


@pytest.mark.parametrize("attempts", [0, -1, True, 2.0, math.inf, "3", None])
def test_attempts_count_the_first_one(attempts):
    """Anything but an integer of at least 1 is refused, and the message says what is counted."""
    with pytest.raises(
        DefinitionError, match=r"^Retry\(attempts=\) counts all attempts, the first"
    ):
        Retry(attempts=attempts)


@pytest.mark.parametrize("field", ["backoff", "max_backoff", "min_attempt"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, "5", None])
def test_a_bad_duration_is_refused_with_its_name(field, value):
    """The message names the option that is wrong."""
    with pytest.raises(DefinitionError, match=rf"^Retry\({field}=\)"):
        Retry(**{field: value})


@pytest.mark.parametrize("field", ["backoff", "max_backoff", "min_attempt"])
@pytest.mark.parametrize("value", [-1, "-1s", math.inf])
def test_a_duration_out_of_range_is_told_the_range(field, value):
    """What is suggested is nothing that would be refused itself."""
    with pytest.raises(
        DefinitionError, match=rf"{field}=\) must be at least 0 and finite, not '?-?"
    ):
        Retry(**{field: value})


@pytest.mark.parametrize("factor", [0.5, 0, -2, math.nan, math.inf, True, "2", None])
def test_a_backoff_does_not_shrink(factor):
    """A factor below 1, or one that is no number, is refused."""
    with pytest.raises(DefinitionError, match=r"^Retry\(factor=\) is a number of at least 1"):
        Retry(factor=factor)


def test_the_longest_backoff_is_not_below_the_first():
    """Bounds in the wrong order are shown as they are."""
    with pytest.raises(DefinitionError, match="backoff 20s is above max_backoff 10s; raise"):
        Retry(backoff=20)


@pytest.mark.parametrize(
    ("on", "message"),
    [
        (BaseException, "takes subclasses of Exception, .* cancels and exits are never retried"),
        ((OSError, KeyboardInterrupt), "not <class 'KeyboardInterrupt'>"),
        ((OSError, OSError()), r"not OSError\(\)"),
        ("OSError", "takes subclasses of Exception, .* not 'OSError'; write the class itself"),
        (["OSError"], "not 'OSError'; write the class itself, without quotes"),
        (OSError("x"), r"takes subclasses of Exception, .* not OSError\('x'\)"),
        ((), r"names no exception; write attempts=1"),
        (3, "or one plain function of the exception, not 3"),
        (ask, "must be a plain function, not an async one"),
        (lambda: True, "exactly one argument, the exception"),
    ],
)
def test_what_is_retried_is_checked(on, message):
    """Only exceptions can be retried; a predicate is a plain function of one."""
    with pytest.raises(DefinitionError, match=rf"^Retry\(on=\).*{message}"):
        Retry(on=on)


def test_a_hint_comes_from_a_plain_function():
    """An async function is refused by name."""
    with pytest.raises(DefinitionError, match=r"^Retry\(retry_after=\) must be a plain function"):
        Retry(retry_after=ask)
    with pytest.raises(DefinitionError, match="exactly one argument, the exception"):
        Retry(retry_after=lambda: 1)


def test_a_flag_is_a_flag():
    """`nested` is True or False."""
    with pytest.raises(DefinitionError, match=r"^Retry\(nested=\) must be True or False"):
        Retry(nested=1)
