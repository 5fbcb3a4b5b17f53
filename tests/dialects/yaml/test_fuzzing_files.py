"""Whatever keys and values a file has, loading it gives a pipeline or clear problems, and no more."""

import json
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graceline.dialects.yaml
from graceline.dialects.tools import Tools
from graceline.dialects.yaml import FileError, loads

sys.path.insert(0, str(Path(__file__).parent))

import fuzzing

SCHEMA = json.loads(
    Path(graceline.dialects.yaml.__file__).with_name("pipeline.schema.json").read_text("utf-8")
)
INPUTS = int(os.environ.get("GRACELINE_FUZZ", "300"))
TEXTS = st.sampled_from(
    [
        *("a", "b", "c", "", "1.0", "30", "30s", "1h30m", "-1s", "string", "thread", "continue"),
        *("{{ a }}", "{{ steps.a.result.x }}", "{{ steps.b.error != None }}", "{{ inputs.c }}"),
        *("{{ item }}", "{{ x", "{{ a.__class__ }}", "{{ range(10**12) | list }}", "{{ 9**9**9 }}"),
        *("{{ 'a' * 10**10 }}", "{% for x in a %}", "skip", "..", "/", "\x07", "long" * 300),
    ]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def values(draw, schema, depth=0):
    """Something that a schema describes, more or less; seldom something else altogether."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if depth > 6 or (depth and draw(st.integers(0, 30)) == 0):
        return draw(JUNK)
    for several in ("anyOf", "oneOf"):
        if several in schema and "properties" not in schema:
            return draw(values(draw(st.sampled_from(schema[several])), depth + 1))
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    kinds = schema.get("type", "any")
    kind = draw(st.sampled_from(kinds)) if isinstance(kinds, list) else kinds
    if kind == "object" and "properties" in schema:
        known = schema["properties"]
        wanted = draw(st.sets(st.sampled_from(sorted(known)), max_size=4))
        wanted |= {name for name in schema.get("required", ()) if name in known}
        return {name: draw(values(known[name], depth + 1)) for name in sorted(wanted)}
    if kind == "object":
        inner = schema.get("additionalProperties")
        inner = inner if isinstance(inner, dict) else {}
        return {name: draw(values(inner, depth + 1)) for name in draw(st.sets(TEXTS, max_size=2))}
    if kind == "array":
        inner = schema.get("items", {})
        return [draw(values(inner, depth + 1)) for _ in range(draw(st.integers(0, 2)))]
    plain = {
        "string": TEXTS,
        "boolean": st.booleans(),
        "integer": st.integers(-1, 5),
        "number": st.floats(-1, 100),
    }
    return draw(plain.get(kind, JUNK))


@st.composite
def files(draw):
    """Steps that are nearly right, with whatever else the schema has."""
    file = {"id": "p", **draw(values({**SCHEMA, "required": []}))}
    if draw(st.booleans()):
        body = st.sampled_from([{"command": ["true"]}, {"command": "true"}, {"action": "a"}])
        step = SCHEMA["$defs"]["step"]
        steps = [
            {**draw(values({**step, "required": []})), "id": name, **draw(body)}
            for name in "ab"[: draw(st.integers(1, 2))]
        ]
        file = {key: value for key, value in file.items() if key not in ("stages", "phases")}
        file["steps"] = steps
    return file


@settings(
    max_examples=INPUTS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(files())
def test_a_file_of_the_schema_and_beyond(file):
    """One `FileError` with everything that is wrong, or definitions; warnings are definitions', too."""
    text = json.dumps(file)  # JSON is YAML, but for its words for NaN and infinity
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problems = attempt(text)
    assert all(len(str(problem)) < 1000 for problem in problems)


def attempt(text):
    """Load a file and look at all it offers; what is wrong with it, or might be."""
    with fuzzing.in_time(text), fuzzing.changing_nothing():
        try:
            file = loads(text, tools=TOOLS)
        except FileError as error:
            return error.problems
        return file.warnings()


@pytest.mark.parametrize(
    "call",
    [
        lambda path: path.open("a"),
        lambda path: path.unlink(),
        lambda path: path.parent.joinpath("d").mkdir(),
        lambda _: subprocess.run([sys.executable, "-c", ""], check=True),
        lambda _: socket.create_server(("127.0.0.1", 0)).close(),
    ],
    ids=["open", "unlink", "mkdir", "program", "socket"],
)
def test_what_changes_something_is_noticed(tmp_path, call):
    """Else the loader might do it unseen."""
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(AssertionError, match=r"\[\('"), fuzzing.changing_nothing():
        closing = call(path)
        if hasattr(closing, "close"):
            closing.close()


TOOLS = Tools.default(root=Path(sys.prefix))
TOOLS.add("a", lambda **parameters: parameters)
