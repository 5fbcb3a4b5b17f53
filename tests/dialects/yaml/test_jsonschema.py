"""The JSON Schema says what the reader says, as far as a schema can."""

import json
from pathlib import Path

import jsonschema
import pytest

from graceline.dialects.yaml.jsonschema import as_json, json_schema, shipped_schema
from graceline.dialects.yaml.reading import parse
from graceline.dialects.yaml.schema import FileKeys
from graceline.dialects.yaml.structuring import structure

ROOT = Path(__file__).parents[3]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

GOOD = {
    "least": "id: a\nsteps: [{id: b, tool: c}]",
    "names": "name: a\nsteps: [{name: b, action: c}]",
    "stages": """
        id: p
        config: {timeout: 2m, default_timeout: {initial: 1, ceiling: 5}, reserve: 500ms}
        parameters: {topic: {type: string, required: true}, n: {default: [1, 2]}}
        stages:
          - id: s
            critical: false
            steps: [{id: a, tool: t, for_each: [1], max_parallel: 3, on_failure: skip}]
        outputs: {x: "{{ a.result }}"}
        """,
    "all": """
        id: p
        steps:
          - id: a
            command: [make, all]
            env: {A: b, C: null}
            timeout: 1m30s
            total_timeout: .inf
            max_retries: 2
            backoff: {initial: 0, max: 1d, factor: 1.5}
            breaker: {slow_rate: 0.5, slow_after: 1s, mode: metrics_only}
            idempotent: true
            hedge: {delay: 0.5}
            condition: "{% if x %}true{% endif %}"
            cleanup: {tool: t, action: x, parameters: {}}
            metadata: {timeout: 90, other: [1]}
            dependencies: b
          - {id: b, command: x, condition: false, dependencies: [a]}
        """,
    "phases": """
        id: p
        config: {timeout: 2h, grace: 30s}
        phases:
          - name: a phase
            skip_if_failed: [b]
            commands: [{command: x, name: y, ok_codes: [0, 1], max_output: 0, continue_on_failure: true}]
        """,
}

BAD_STEPS = [
    "tool: t, tiemout: 3", "tool: t, timeout: 0", "tool: t, timeout: '30'", "tool: t, timeout: 0s",
    "tool: t, timeout: 1s1m", "tool: t, timeout: true", "tool: t, timeout: -1", "tool: t, timeout: ",
    "tool: t, timeout: 30x", "tool: t, grace: -1", "tool: t, max_retries: 1.5",
    "tool: t, max_retries: true", "tool: t, idempotent: yes", "tool: t, description: 3",
    "tool: t, description: ''", "tool: t, on_error: stop", "tool: t, on_error: skip, on_failure: skip",
    "tool: t, name: b", "tool: t, condition: maybe", "tool: t, for_each: 3",
    "tool: t, dependencies: {a: b}", "tool: t, dependencies: [a b]", "tool: t, parameters: [a]",
    "tool: t, metadata: {timeout: '3'}", "tool: t, cleanup: x", "tool: t, cleanup: {}",
    "tool: t, cleanup: {tool: t, cwd: x}", "tool: t, breaker: {failure_rate: 3}",
    "tool: t, breaker: {slow_rate: 0.5}", "tool: t, backoff: {initial: 1}",
    "tool: t, max_retries: 1, backoff: {factor: 0.5}", "tool: t, max_parallel: 3",
    "tool: t, hedge: {delay: 1}", "tool: t, hedge: {delay: 1}, idempotent: false",
    "tool: t, env: {A: b}", "tool: t, command: [x]", "tool: t, grace: 1, reserve: 1, total_timeout: 3",
    "tool: t, reserve: 1", "tool: t, timeout: {ceiling: 2}",
    "tool: t, timeout: {initial: 1, ceiling: 2, alpha: 0.7}", "command: []", "command: ['']",
    "command: ' '", "command: x, runs_on: thread", "command: x, env: {A: 3}",
    "command: x, ok_codes: [300]", "command: x, artifacts: ['']", "description: x", "tool: t, runs_on: gpu",
]  # fmt: skip
BAD_FILES = [
    "steps: [{id: a, tool: t}]", "id: p", "id: p\nsteps: []", "id: p\nsteps: {id: a}", "id: p\nsteps: [3]",
    "[id, p]", "text", "id: p\nsteps: [{tool: t}]", "id: p\nsteps: [{id: a b, tool: t}]",
    "id: p\nversion: 1.0\nsteps: [{id: a, tool: t}]", "id: p\ninputs: [a]\nsteps: [{id: a, tool: t}]",
    "id: p\ninputs: {a: {type: text}}\nsteps: [{id: b, tool: t}]",
    "id: p\ninputs: {a: {required: true, default: 3}}\nsteps: [{id: b, tool: t}]",
    "id: p\ninputs: {a: {}}\nparameters: {b: {}}\nsteps: [{id: b, tool: t}]",
    "id: p\noutputs: {}\nsteps: [{id: a, tool: t}]",
    "id: p\nsteps: [{id: a, tool: t}]\nstages: [{id: s, steps: [{id: b, tool: t}]}]",
    "id: p\nstages: [{id: s, steps: []}]", "id: p\nstages: [{id: s, reserve: 1, steps: [{id: b, tool: t}]}]",
    "id: p\nconfig: {fail_fast: true}\nphases: [{name: a, commands: [{command: x}]}]",
    "id: p\nconfig: {timeout: {initial: 1, ceiling: 2}}\nphases: [{name: a, commands: [{command: x}]}]",
    "id: p\ninputs: {a: {}}\nphases: [{name: a, commands: [{command: x}]}]",
    "id: p\noutputs: {a: b}\nphases: [{name: a, commands: [{command: x}]}]",
    "id: p\nphases: [{name: a, commands: []}]", "id: p\nconfig:\nsteps: [{id: a, tool: t}]",
    "id: p\nconfig: {max_parallel: 0}\nsteps: [{id: a, tool: t}]",
]  # fmt: skip
BAD = [*BAD_FILES, *(f"id: p\nsteps: [{{id: a, {step}}}]" for step in BAD_STEPS)]


def blocks(*pages):
    """The files that pages show."""
    texts = [Path(ROOT, page).read_text("utf-8") for page in pages]
    return [part.split("```")[0] for text in texts for part in text.split("```yaml\n")[1:]]


def reads(text):
    return structure(parse(text), FileKeys, "f.yaml")[1] == []


def test_the_shipped_schema_is_that_of_the_classes():
    """What editors get is what files are read with: made anew when a key changes."""
    assert shipped_schema() == as_json()
    assert json.loads(shipped_schema()) == json_schema()


def test_it_is_a_schema():
    """It keeps to the rules for schemas, and refers to nothing outside."""
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert '"$ref": "#/$defs/' in shipped_schema()
    assert '"$ref": "http' not in shipped_schema()


@pytest.mark.parametrize("text", [*GOOD.values(), *blocks("docs/files.md")])
def test_good_files_are_valid(text):
    """What the reader takes, the schema takes."""
    assert reads(text)
    VALIDATOR.validate(parse(text).plain())


@pytest.mark.parametrize("text", BAD)
def test_bad_files_are_not(text):
    """What has the wrong form is refused by both."""
    assert not reads(text)
    assert not VALIDATOR.is_valid(parse(text).plain())
