"""Bad files, each with one mistake: one clear error at its place, nothing run and nothing written.

Each file in `bad` begins with what is wrong with it, and with what the JSON Schema makes of it: it
rejects the file; or it cannot see the mistake, which is one of references, or between two values;
or it is not reached, since there is no YAML to look at. The second step of each file is the bad one;
the first would leave a file named `executed`.
"""

from pathlib import Path

import jsonschema
import pytest

from graceline.dialects.yaml import FileError, load
from graceline.dialects.yaml.jsonschema import json_schema
from graceline.dialects.yaml.reading import parse, read_bytes

FILES = sorted(Path(__file__).with_name("bad").glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def head(path):
    """What a file says of itself: its one error, and what the schema makes of it."""
    lines = path.read_bytes().split(b"\n")[:2]
    wrong, schema = (line.decode().split(": ", 1) for line in lines)
    assert (wrong[0], schema[0]) == ("# wrong", "# schema")
    return wrong[1], schema[1]


def test_there_are_enough():
    """Every kind of mistake is there, and every answer of the schema."""
    kinds = [head(path)[1] for path in FILES]
    assert {kind: kinds.count(kind) >= 15 for kind in kinds} == {
        "rejects it": True,
        "cannot see it": True,
        "is not reached": True,
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_file_has_one_clear_error(path, tmp_path, monkeypatch):
    """It is told at its line and column, and nothing is done."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError) as caught:
        load(path)
    (problem,) = caught.value.problems
    place = "" if problem.at is None else f"{problem.at}: "
    assert place + problem.message == head(path)[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_schema_rejects_what_it_can_see(path):
    """The JSON Schema rejects each mistake of form; the other ones are listed as being beyond it."""
    schema = head(path)[1]
    if schema == "is not reached":
        with pytest.raises(FileError):
            parse(read_bytes(path))
        return
    assert VALIDATOR.is_valid(parse(read_bytes(path)).plain()) is (schema == "cannot see it")
