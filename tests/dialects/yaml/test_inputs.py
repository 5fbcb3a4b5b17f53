"""Inputs are what the file declares, or an error that says which and why."""

import pytest

from graceline.dialects.yaml import FileError
from graceline.dialects.yaml.inputs import coerce_inputs
from graceline.dialects.yaml.schema import InputKeys


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("string", "3", "3"),
        ("integer", "3", 3),
        ("integer", " -3 ", -3),
        ("number", "2.5", 2.5),
        ("number", 2, 2),
        ("boolean", "true", True),
        ("boolean", False, False),
        ("array", "[1, 2]", [1, 2]),
        ("array", (1,), (1,)),
        ("object", '{"a": 1}', {"a": 1}),
        ("any", "3", "3"),
        ("any", None, None),
    ],
)
def test_what_fits_is_converted(kind, given, value):
    """Values of the type are themselves, texts are read as what is meant."""
    got = coerce_inputs({"a": InputKeys(type=kind)}, {"a": given}, "f.yaml")["a"]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("string", 3),
        ("integer", "3.5"),
        ("integer", "x"),
        ("integer", True),
        ("integer", 3.0),
        ("integer", "9" * 5000),
        ("number", "1e999"),
        ("number", float("nan")),
        ("boolean", "yes"),
        ("boolean", 1),
        ("array", "{}"),
        ("array", "[1"),
        ("array", "abc"),
        ("object", "[]"),
        ("object", None),
    ],
)
def test_what_does_not_fit_is_refused(kind, given):
    """Nothing is guessed: what has another type is an error that names it."""
    with pytest.raises(FileError, match=f"input 'a': must be of type {kind}, not"):
        coerce_inputs({"a": InputKeys(type=kind)}, {"a": given}, "f.yaml")


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("object", '{"b": 1, "b": 2}', "input 'a': 'b' is given twice"),
        ("array", '[{"b": 1, "b": 2}]', "input 'a': 'b' is given twice"),
        ("array", "[NaN]", "input 'a': must be of type array, not"),
        ("array", "[" * 70 + "]" * 70, "input 'a': is nested more than 64 levels deep"),
        ("array", "[" * 100_000, "input 'a': is nested more than 64 levels deep"),
    ],
)
def test_json_is_read_strictly(kind, given, message):
    """A text that stands for a list or an object is JSON as a file with inputs has it."""
    with pytest.raises(FileError, match=message):
        coerce_inputs({"a": InputKeys(type=kind)}, {"a": given}, "f.yaml")


def test_what_is_not_given_has_its_default():
    """Defaults are converted too; without one the input has to be given, unless it need not."""
    declared = {
        "a": InputKeys(type="integer", default="3"),
        "b": InputKeys(required=False),
        "c": InputKeys(required=True),
        "d": InputKeys(),
    }
    assert coerce_inputs(declared, {"c": 1, "d": 2}, "f.yaml") == {
        "a": 3,
        "b": None,
        "c": 1,
        "d": 2,
    }
    with pytest.raises(FileError) as caught:
        coerce_inputs(declared, None, "f.yaml")
    assert str(caught.value) == "f.yaml: input 'c' is missing\nf.yaml: input 'd' is missing"


def test_what_was_converted_fits():
    """Inputs are checked before a run and when it begins: what came of them once is taken again."""
    declared = {
        "a": InputKeys(type="integer", required=False),
        "b": InputKeys(type="array", default="[1]"),
        "c": InputKeys(type="string"),
    }
    once = coerce_inputs(declared, {"c": "3"}, "f.yaml")
    assert once == {"a": None, "b": [1], "c": "3"}
    assert coerce_inputs(declared, once, "f.yaml") == once


def test_the_input_is_a_mapping():
    """A run is given its inputs by name."""
    with pytest.raises(FileError, match="is a mapping of inputs by name, not 'x'"):
        coerce_inputs({}, "x", "f.yaml")


def test_a_default_of_another_type_is_an_error_of_the_file(problems):
    """It is told when the file is read, with its place."""
    assert problems(
        """
        id: p
        inputs: {a: {type: integer, default: x}}
        parameters: {}
        steps: [{id: s, tool: note}]
        """
    ) == ["f.yaml:4:13: parameters: is inputs in another spelling; give one of the two"]
    assert problems(
        """
        id: p
        parameters: {a: {type: integer, default: x}, b: {default: y}}
        steps: [{id: s, tool: note}]
        """
    ) == ["f.yaml:3:42: inputs.a.default: must be of type integer, not 'x'"]
