"""The deadline header: what is written can be read, and no time is ever won by it."""

import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graceline.resilience import DEFAULT_HEADER, Malformed, decode, encode

repeatable = settings(max_examples=300, derandomize=True, database=None, deadline=None)

LONGEST = 99_999_999 * 3600.0
UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "S": 1.0, "M": 60.0, "H": 3600.0}
positive = st.floats(1.01e-7, LONGEST) | st.floats(-6.99, 11).map(lambda power: 10**power)


def test_the_name_is_that_of_grpc():
    """Services that speak gRPC understand it as it is."""
    assert DEFAULT_HEADER == "grpc-timeout"


@pytest.mark.parametrize(
    ("remaining", "text"),
    [
        (0.25, "250000u"),
        (0.0625, "62500000n"),
        (1, "1000000u"),
        (99.999999, "99999999u"),
        (100.0, "100000m"),
        (86400.0, "86400000m"),
        (99_999.9995, "99999999m"),
        (100_000.0, "100000S"),
        (1e8, "1666666M"),
        (1e10, "2777777H"),
        (LONGEST, "99999999H"),
        (1e300, "99999999H"),
        (1.5e-9, "1n"),
        (1e-10, "0n"),
        (5e-324, "0n"),
        (0.0, "0n"),
        (-0.0, "0n"),
        (-3.5, "0n"),
        (-math.inf, "0n"),
        (math.inf, None),
    ],
)
def test_the_finest_unit_that_eight_digits_suffice_for(remaining, text):
    """A spent deadline is said to be spent; only no deadline at all is left out."""
    assert encode(remaining) == text


def test_nan_is_no_time():
    """It is an error of the caller's, and never a header."""
    with pytest.raises(ValueError, match="NaN"):
        encode(math.nan)


@repeatable
@given(positive)
@example(0.1)
@example(99.99999999)
@example(math.nextafter(100.0, 0))
def test_only_shortens_and_loses_less_than_one_percent(remaining):
    """From 101 ns to the end of the syntax: never more than there is, and hardly less."""
    text = encode(remaining)
    assert re.fullmatch("[0-9]{1,8}[HMSmun]", text)
    assert 0.99 * remaining < decode(text) <= remaining


@repeatable
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_number_becomes_longer_on_its_way(remaining):
    """For any finite number: what is read is at most what was left, and never below 0."""
    assert 0 <= decode(encode(remaining)) <= max(remaining, 0)


@repeatable
@given(st.floats(max_value=0, allow_nan=False))
@example(-math.inf)
def test_never_omitted_when_expired(remaining):
    """A spent deadline is said to be one: a header that is left out would mean that there is none."""
    assert encode(remaining) == "0n"
    assert decode("0n") == 0


@repeatable
@given(st.integers(0, 99_999_999), st.sampled_from("HMSmun"))
def test_what_was_read_can_be_passed_on(count, unit):
    """All that can be written is read as what it says; written again it is hardly less."""
    read = decode(f"{count}{unit}")
    assert read == pytest.approx(count * UNITS[unit], rel=1e-15)
    assert 0.99 * read - 1.001e-9 <= decode(encode(read)) <= read


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1H", 3600), ("2M", 120), ("3S", 3), ("250m", 0.25), ("1u", 1e-6), ("7n", 7e-9), ("0S", 0)],
)
def test_each_unit(text, seconds):
    """Upper case from a second on, lower case below; the case tells minutes from milliseconds."""
    assert decode(text) == seconds
    assert decode("00000001S") == 1


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "S", "100", "123456789S", "1s", "1h", "1ms", "1.5S", "-1S", "+1S", " 1S", "1S ", "1 S",
        "1S\n", "1S1S", "1e3S", "0x1S", "inf", "infS", "nan", "1_0S", "\u0661S", "\uff11S", "\u00b2S",
        "1\u00b5", "1S\x00", b"1S", 1, 1.5, None,
    ],
)  # fmt: skip
def test_anything_else_is_malformed(text):
    """It is never unlimited and never spent: it is no number at all."""
    assert isinstance(decode(text), Malformed)


@repeatable
@given(st.text() | st.from_regex(r"\s?[-+]?\w{0,12}[HMSmun]?\s?", fullmatch=True))
def test_reading_never_fails(text):
    """For any text: a number of seconds if the syntax says so, else malformed."""
    read = decode(text)
    well_formed = re.fullmatch("[0-9]{1,8}[HMSmun]", text)
    assert isinstance(read, Malformed) is not bool(well_formed)
    if well_formed:
        assert 0 <= read <= LONGEST


def test_a_long_header_is_shortened():
    """What a peer sent fills no memory; how long it was is known."""
    assert len(decode("9" * 10**6).text) < 50
    assert decode("soon") == Malformed("'soon'", 4)
