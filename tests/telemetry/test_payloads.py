"""Payloads as texts: short, in one line, and whatever the user's objects do."""

import pytest

from graceline.telemetry.payloads import LONGEST, error_text, value_text


class Refuses:
    def __repr__(self):
        raise ValueError("no")


class RefusesTextError(Exception):
    def __str__(self):
        raise OSError("no")

    @property
    def __notes__(self):
        raise OSError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ("it", "'it'"),
        ({"a": [1, (2, 3)]}, "{'a': [1, (2, 3)]}"),
        (b"bytes", "b'bytes'"),
        (list(range(30)), f"[{', '.join(map(str, range(20)))}, ...]"),
    ],
)
def test_a_value_is_what_repr_shows(value, text):
    """Lists and the like stop after twenty entries."""
    assert value_text(value) == text


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        b"x" * 10**6,
        [["x" * 400] * 9] * 9,
        dict.fromkeys(range(99), "x" * 99),
        10**4000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_value_is_longer_than_a_line(value):
    """A text is cut, and shows that it was."""
    text = value_text(value)
    assert len(text) <= LONGEST
    assert "..." in text


def test_a_value_that_cannot_be_shown_is_named():
    """A `repr` that raises, and a number that Python refuses to write, end nothing."""
    assert "Refuses" in value_text(Refuses())
    assert "Refuses" in value_text([Refuses()])
    assert value_text(10**5000) == "<int whose repr raised ValueError>"


class Exits:
    def __init__(self, error):
        self.error = error

    def __repr__(self):
        raise self.error


class ExitsError(Exception):
    @property
    def __notes__(self):
        raise SystemExit


def test_a_repr_cannot_end_the_program():
    """One that exits is named by what it raised; an interrupt passes."""
    assert value_text([Exits(SystemExit)]) == "<list whose repr raised SystemExit>"
    assert error_text(ExitsError()) == "ExitsError whose text raised SystemExit"
    with pytest.raises(KeyboardInterrupt):
        value_text(Exits(KeyboardInterrupt))


class Forges:
    def __repr__(self):
        return "x\nERROR forged\x1b[2J\u2028\u202e\ud800 \xe9"


def test_a_text_is_one_line_whatever_is_in_it():
    """What is not printable is escaped: no text makes a line, or a command to a terminal, of its own."""
    assert value_text(Forges()) == r"x\nERROR forged\x1b[2J\u2028\u202e\ud800 é"
    assert error_text(ValueError("a\r\x1b[2J\x85b")) == r"ValueError: a\r\x1b[2J\x85b"
    assert len(error_text(ValueError("\0" * 10_000))) == LONGEST


def test_an_error_is_its_class_message_and_notes():
    """The notes of an error stand behind it, in one line."""
    error = ValueError("one\ntwo")
    error.add_note("three")
    assert error_text(error) == "ValueError: one; two; three"
    assert len(error_text(ValueError("x" * 10_000))) == LONGEST


def test_an_error_that_cannot_be_shown_is_named():
    """An exception whose own text raises ends nothing."""
    assert "RefusesText" in error_text(RefusesTextError())
