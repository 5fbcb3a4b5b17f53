"""JSON from people is read by one reader, which refuses what has no sure meaning."""

import pytest

from graceline.dialects.strict import JsonError, RefusedJsonError, read_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        (" -2.5e3 ", -2500.0),
        ('{"a": [1, {"b": null}], "c": {"a": "x"}}', {"a": [1, {"b": None}], "c": {"a": "x"}}),
        ("[]", []),
    ],
)
def test_json_is_read(text, value):
    """What the standard has is read as Python's own reader does."""
    assert read_json(text) == value
    assert type(read_json(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ("x", "is no JSON: Expecting value", (1, 1)),
        ('{"a": 1,\n}', "is no JSON: Expecting property name", (2, 1)),
        ("", "is no JSON", (1, 1)),
        ("[NaN]", "NaN is no JSON", (None, None)),
        ("-Infinity", "-Infinity is no JSON", (None, None)),
        ("[1e999]", "'1e999' is too large for a number", (None, None)),
        ("1" * 5000, "Exceeds the limit", (None, None)),
    ],
)
def test_what_is_no_json_is_refused(text, message, at):
    """The message says why, and where if that is known."""
    with pytest.raises(JsonError, match=message) as caught:
        read_json(text)
    assert not isinstance(caught.value, RefusedJsonError)
    assert (caught.value.line, caught.value.column) == at


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 1}', "'a' is given twice"),
        ('[{"b": {"a": 1, "\\u0061": 2}}]', "'a' is given twice"),
        ("[" * 65 + "]" * 65, "is nested more than 64 levels deep"),
        ('{"a": ' * 70 + "1" + "}" * 70, "is nested more than 64 levels deep"),
        ("[" * 100_000, "is nested more than 64 levels deep"),
    ],
)
def test_what_has_no_sure_meaning_is_refused(text, message):
    """It is JSON, so nobody takes it for a text instead."""
    with pytest.raises(RefusedJsonError, match=message):
        read_json(text)


def test_as_deep_as_a_file():
    """64 levels are read, as in a file of the dialect."""
    text = "[" * 64 + "1" + "]" * 64
    value = read_json(text)
    for _ in range(64):
        (value,) = value
    assert value == 1
