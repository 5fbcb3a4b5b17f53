"""Files made of the schema, right and wrong: reader and JSON Schema agree, and nothing crashes."""

import json
import os
from contextlib import suppress
from functools import cache
from itertools import chain

import jsonschema
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from graceline.dialects.yaml import FileError, PipelineFile, loads
from graceline.dialects.yaml.forms import WrongError
from graceline.dialects.yaml.jsonschema import json_schema
from graceline.dialects.yaml.keys import Nested, keys_of
from graceline.dialects.yaml.reading import parse
from graceline.dialects.yaml.schema import FileKeys
from graceline.dialects.yaml.structuring import structure

FILES = max(300, int(os.environ.get("GRACELINE_FUZZ", "0")) // 100)  # each takes longer
VALIDATOR = jsonschema.Draft202012Validator(json_schema())
VALUES = [
    None, True, False, 0, 1, 2, 7, -1, 0.5, 0.25, 1.5, 300, "", " ", "a", "b", "a b", "30", "30s",
    "1m30s", "1s1m", "0s", ".5s", "100ms", "5us", "-1s", "fail", "skip", "continue", "thread",
    "process", "coroutine", "on", "off", "string", "integer", "any", "{{ a }}", "{{ b.result }}",
    "{{ x }}", "{% if %}", "{{ a.error == None }}", [], ["a"], ["a", "b"], [""], [1], [300], [0, 1],
    {}, {"a": "b"}, {"a": None}, {"a": 1}, {"timeout": 3}, {"timeout": "3"}, {"a=": "b"},
]  # fmt: skip
COMPARED = ("in order", "above max_backoff", "must be smaller", "must not be longer")
"""What two numbers have to do with each other is beyond a schema."""
NAMES = st.sampled_from(["x", "y"])  # others are told with the references


def takes(form, value):
    try:
        form.read(value)
    except WrongError:
        return False
    return True


def values(form, *, wild):
    """What a form takes, in wild files also anything else."""
    good = st.sampled_from([value for value in VALUES if takes(form, value)])
    return st.one_of(good, good, good, good, st.sampled_from(VALUES)) if wild else good


def nested(form, *, wild):
    inner = st.deferred(lambda: mappings(form.kind, wild=wild))
    if form.holder == "list":
        inner = st.lists(inner, min_size=not wild, max_size=2)
    elif form.holder == "map":
        inner = st.dictionaries(NAMES, inner, max_size=2)
    if form.other is not None:
        return st.one_of(inner, values(form.other, wild=wild))
    return st.one_of(inner, inner, inner, st.sampled_from(VALUES)) if wild else inner


@cache
def mappings(kind, *, wild):
    """Mappings of a class of the schema, with a few of its keys; tame ones have what they need."""
    fields = {
        name: (nested if isinstance(one.form, Nested) else values)(one.form, wild=wild)
        for one in keys_of(kind)
        for name in (one.name, *one.also)
    }
    needed = [one.name for one in keys_of(kind) if one.required]
    likely = [*needed, *(name for name in ("id", "tool", "steps") if name in fields)]
    usual = st.sampled_from([likely, needed, []] if wild else [likely])
    more = st.lists(st.sampled_from(sorted(fields)), max_size=3)
    return st.tuples(usual, more).flatmap(
        lambda names: st.fixed_dictionaries({name: fields[name] for name in chain(*names)})
    )


files = st.one_of(mappings(FileKeys, wild=True), mappings(FileKeys, wild=False))
many = settings(
    max_examples=FILES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target],  # to shrink takes minutes
)


@many
@given(files)
def test_reader_and_schema_agree(made):
    """What the one takes the other takes; what is then loaded is a pipeline or a clear error."""
    text = json.dumps(made)
    tree = parse(text)
    problems = [problem.message for problem in structure(tree, FileKeys, "f.yaml")[1]]
    compared = any(words in message for words in COMPARED for message in problems)
    errors = [error.message for error in VALIDATOR.iter_errors(tree.plain())]
    assert compared or (problems == []) == (errors == []), (problems, errors)
    event("right" if not problems else "wrong")
    with suppress(FileError):
        assert isinstance(loads(text), PipelineFile)
