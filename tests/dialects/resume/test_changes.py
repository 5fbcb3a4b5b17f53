"""Two versions of a file are compared by what they do; every key is on one side or the other."""

import attrs
import pytest

from graceline.dialects.resume.changes import HARMLESS, affected, compare, read_keys
from graceline.dialects.yaml.linking import link
from graceline.dialects.yaml.schema import FileKeys, InputKeys, StageKeys, StepKeys

OLD = """
id: p
config: {timeout: 10}
inputs: {x: {type: integer, default: 1}, y: {type: any, default: 1}}
stages:
  - id: one
    steps:
      - {id: a, tool: t, parameters: {n: 1, m: 2}}
      - {id: b, tool: t, parameters: {x: "{{ inputs.x }}"}}
  - id: two
    steps:
      - {id: c, tool: t, dependencies: [a, b]}
      - {id: d, tool: t, dependencies: c, condition: "{{ y > 0 }}", on_error: continue}
      - {id: e, tool: t, parameters: {all: "{{ inputs }}"}}
outputs: {c: "{{ c.result }}"}
"""


def difference(old, new):
    """What is different, as texts, and the steps whose values do not count any more."""
    before, now = read_keys(old, "f.yaml"), read_keys(new, "f.yaml")
    links = link(now.tree, "f.yaml")
    assert not links.problems
    changes = compare(before, now, links, "f.yaml")
    marks = {True: "", False: "!"}
    return [marks[change.harmless] + change.what for change in changes], affected(changes, links)


@pytest.mark.parametrize(
    ("old", "new", "changes", "steps"),
    [
        ("{n: 1, m: 2}", "{m: 2,   # turned\n n: 1}", [], ""),
        ("[a, b]", "[b, a]", [], ""),
        ("n: 1,", "n: true,", ["!step 'a', parameters"], "acd"),
        ("n: 1,", "n: 1.0,", ["!step 'a', parameters"], "acd"),
        ("[a, b]", "[a]", ["!step 'c', dependencies"], "cd"),
        ("y > 0", "y >= 0", ["!step 'd', condition"], "d"),
        ("on_error: continue", "on_error: skip", ["step 'd', on_error"], ""),
        ("id: p", "id: q\nname: Q\nversion: '2'\ndescription: x", ["id", "name", "description", "version"], ""),
        ("timeout: 10", "timeout: 1, fail_fast: false", ["config, timeout", "config, fail_fast"], ""),
        ("integer, default: 1", "number, default: 2", ["!input 'x', type", "!input 'x', default"], "bcde"),
        ("integer,", "integer, description: n,", ["input 'x', description"], ""),
        ("any, default: 1}", "any, default: 1}, z: {default: 1}", ["!input 'z' is new"], "e"),
        ("- id: one", "- id: one\n    critical: false\n    timeout: 3", ["stage 'one', timeout", "stage 'one', critical"], ""),
        ("id: two", "id: three", ["!stage 'two' is gone", "!stage 'three' is new", "!step 'c' is in another stage", "!step 'd' is in another stage", "!step 'e' is in another stage"], "cde"),
        ("c.result", "c.status", ["!outputs"], ""),
        ("- {id: e, tool: t,", "- {id: f, tool: t,", ["!step 'e' is gone", "!step 'f' is new"], "f"),
        ("id: a, tool: t,", "id: a, tool: t, cleanup: {tool: t},", ["!step 'a', cleanup"], "acd"),
        ("id: a, tool: t,", "id: a, tool: t, max_retries: 2, backoff: {initial: 1}, metadata: {x: 1},", ["step 'a', max_retries", "step 'a', backoff", "step 'a', metadata"], ""),
    ],
)  # fmt: skip
def test_differences(old, new, changes, steps):
    """Comments, order and policies change nothing that was done; all else is told, with what it spoils."""
    assert old in OLD
    assert difference(OLD, OLD.replace(old, new, 1)) == (changes, set(steps))


def test_an_input_that_is_gone():
    """What referred to it has changed itself; what looks at all of them is spoilt."""
    new = OLD.replace("y: {type: any, default: 1}", "").replace("y > 0", "x > 0")
    assert difference(OLD, new) == (["!input 'y' is gone", "!step 'd', condition"], {"d", "e"})


def test_the_order_of_stages():
    """Stages are a sequence, and another order is another pipeline."""
    old = "id: p\nstages: [{id: m, steps: [{id: a, tool: t}]}, {id: n, steps: [{id: b, tool: t}]}]"
    new = "id: p\nstages: [{id: n, steps: [{id: b, tool: t}]}, {id: m, steps: [{id: a, tool: t}]}]"
    assert difference(old, new) == (["!the order of the stages"], set())


def test_every_key_is_decided():
    """A new key of the schema counts as one that decides what is done, until somebody says otherwise."""
    kinds = {"file": FileKeys, "input": InputKeys, "stage": StageKeys, "step": StepKeys}
    rest = {
        "file": {"inputs", "stages", "steps", "outputs", "phases"},
        "input": {"type", "required", "default"},
        "stage": {"id", "steps"},
        "step": {
            "id", "tool", "action", "parameters", "command", "env", "cwd", "stdin", "ok_codes",
            "artifacts", "dependencies", "condition", "cleanup", "for_each",
        },
    }  # fmt: skip
    for name, kind in kinds.items():
        assert {field.name for field in attrs.fields(kind)} == HARMLESS[name] | rest[name]
        assert not HARMLESS[name] & rest[name]
