"""Durations as people write them, to seconds and back."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceline import DefinitionError, format_duration, parse_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0),
        (3, 3.0),
        (0.25, 0.25),
        (math.inf, math.inf),
        (timedelta(milliseconds=250), 0.25),
        ("250ms", 0.25),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1d", 86400.0),
        ("1m30s", 90.0),
        (" 1 h 30 m ", 5400.0),
        ("0s", 0.0),
    ],
)
def test_every_way_to_write_a_duration_gives_seconds(written, seconds):
    """Numbers are seconds, strings have units, and a timedelta is what it is."""
    parsed = parse_duration(written)
    assert parsed == pytest.approx(seconds)
    assert type(parsed) is float


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (True, "True is a bool, not a duration"),
        (math.nan, "NaN is not a duration"),
        (-1, "-1 is negative; write 0 for 'already expired', or math.inf"),
        (-math.inf, "-inf is negative"),
        (timedelta(seconds=-1), "is negative"),
        ("-5s", "'-5s' is negative"),
        ("5", "'5' has no unit; write '5s', '5ms' or a number, without quotes"),
        ("1e3", "'1e3' has no unit; write '1000s', '1000ms'"),
        ("", "'' is not a duration; write '250ms'"),
        ("-", "'-' is not a duration"),
        ("soon", "'soon' is not a duration"),
        ("5 parsecs", "'5 parsecs' is not a duration"),
        ("5s later", "'5s later' is not a duration"),
        ("5ss", "'5ss' is not a duration"),
        ("5s5s", "'5s5s' repeats or reorders units; write '1m30s'"),
        ("30s1m", "'30s1m' repeats or reorders units"),
        (None, "None is of type NoneType, not a duration"),
        ([1], "[1] is of type list, not a duration"),
        ([1] * 100, "[1, 1, 1, 1, 1, 1, ...] is of type list"),
        ("long " * 100, "is not a duration"),
        ("1s" * 100, "repeats or reorders units"),
        ("1" * 100, "has no unit"),
        ("-" + "1" * 100 + "s", "is negative"),
        (10**400, "the number is too large; use math.inf"),
    ],
)
def test_a_bad_duration_is_refused_with_what_would_be_right(written, message):
    """The message opens with what the duration is for, and goes on with what is wrong."""
    with pytest.raises(DefinitionError) as caught:
        parse_duration(written, "grace=")
    assert str(caught.value).startswith("grace=: ")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("written", [-0.0, "-0s", timedelta(0)])
def test_zero_has_no_sign(written):
    """Results would show it."""
    assert str(parse_duration(written)) == "0.0"


@pytest.mark.parametrize(("written", "seconds"), [(-1, -1.0), ("-1m30s", -90.0), ("5s", 5.0)])
def test_a_signed_duration_may_be_negative(written, seconds):
    """A budget that is already spent is a number as well."""
    assert parse_duration(written, signed=True) == seconds


def test_a_signed_duration_is_still_a_number():
    """A sign does not make NaN a duration."""
    with pytest.raises(DefinitionError, match="NaN"):
        parse_duration(math.nan, signed=True)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (math.inf, "unlimited"),
        (0, "0s"),
        (0.25, "250ms"),
        (0.2504, "250ms"),
        (5e-5, "50us"),
        (0.0009996, "1ms"),
        (0.9994, "999ms"),
        (0.9996, "1s"),
        (1.5, "1.5s"),
        (59.94, "59.9s"),
        (59.96, "1m"),
        (90, "1m30s"),
        (3600, "1h"),
        (5400, "1h30m"),
        (90061, "25h1m1s"),
        (-0.25, "-250ms"),
        (-math.inf, "-unlimited"),
    ],
)
def test_seconds_are_written_as_people_read_them(seconds, written):
    """Three digits below a minute and whole seconds above, with a unit that fits."""
    assert format_duration(seconds) == written


@given(st.floats(-1e7, 1e7).filter(lambda seconds: abs(seconds) > 1e-8))
def test_what_is_written_can_be_read_back(seconds):
    """Reading back what was written loses no more than half a second or half a percent."""
    read = parse_duration(format_duration(seconds), signed=True)
    assert read == pytest.approx(seconds, rel=0.006, abs=0.0 if abs(seconds) < 59 else 0.51)
