import json
import os
from pathlib import Path

import jsonschema
import yaml

from graceline.dialects.yaml import shipped_schema


def test_the_schema_is_printed(call):
    """Standard output is the schema that is shipped, and nothing else."""
    assert call("schema") == (0, shipped_schema(), "")


def test_the_schema_in_a_file(call, write, put):
    """--output writes it whole and says where; what it accepts and refuses is as for a file."""
    write("")
    assert call("schema", "--output", "s.json") == (0, "s.json\n", "")
    schema = json.loads(Path("s.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(yaml.safe_load("id: a\nsteps: [{id: s, command: [x]}]"))
    assert not validator.is_valid(yaml.safe_load("id: a\nsteps: [{id: s, comand: [x]}]"))


def test_a_file_that_cannot_be_written(call, write, monkeypatch):
    """Without a place to write to it says so: exit code 2."""
    write("")
    code, out, err = call("schema", "--output", "no/s.json")
    assert (code, out) == (2, "")
    assert "--output no/s.json: there is no directory no" in err

    def full(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = call("schema", "--output", "s.json")
    assert (code, "s.json: it cannot be written: the disk is full" in err) == (2, True)
