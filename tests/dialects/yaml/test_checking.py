"""Warnings: each at its place, and none for a file that means what it says."""

import pytest

from graceline.dialects.yaml import loads

FINE = """
id: p
config: {timeout: 60, grace: 5}
stages:
  - {id: one, timeout: 20, grace: 2, steps: [{id: a, tool: note, timeout: 10, grace: 1}]}
  - id: two
    timeout: 30
    steps:
      - {id: b, tool: note, timeout: 5, max_retries: 2, total_timeout: 20, dependencies: a}
outputs: {x: "{{ b.result }}"}
"""


def warnings(read, text):
    return [str(problem) for problem in read(text).warnings()]


def test_stages_that_are_not_critical_do_not_add_up(read):
    """They may be cut without harm."""
    file = """
id: p
config: {timeout: 30}
stages:
  - {id: one, timeout: 20, steps: [{id: a, tool: note}]}
  - {id: two, timeout: 8, steps: [{id: b, tool: note}]}
  - {id: three, timeout: 9, critical: false, steps: [{id: c, tool: note}]}
"""
    assert warnings(read, file) == []
    assert len(warnings(read, file.replace("critical: false", "critical: true"))) == 1


def test_a_fine_file_has_none(read):
    """Where limits fit into one another there is nothing to say."""
    assert warnings(read, FINE) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "config: {timeout: 5}\nsteps: [{id: a, tool: note, timeout: 9}]",
            "3:38: warning: step 'a': its limit of 9s is above the 5s of the pipeline, which clamps it",
        ),
        (
            "stages: [{id: s, timeout: 5, steps: [{id: a, tool: note, total_timeout: 9}]}]",
            "2:73: warning: step 'a': its limit of 9s is above the 5s of its stage, which clamps it",
        ),
        (
            "config: {timeout: 5}\nstages: [{id: s, timeout: 9, steps: [{id: a, tool: note}]}]",
            "3:27: warning: stage 's': its limit of 9s is above the 5s of the pipeline",
        ),
        (
            (
                "config: {timeout: 9}\nstages:\n"
                "  - {id: s, timeout: 5, steps: [{id: a, tool: note}]}\n"
                "  - {id: t, timeout: 6, steps: [{id: b, tool: note}]}"
            ),
            "2:19: warning: the limits of the critical stages add up to 11s, and the pipeline has 9s",
        ),
        (
            "steps: [{id: a, tool: note, timeout: 9, total_timeout: 9, max_retries: 2}]",
            "2:38: warning: step 'a': one attempt may take 9s, and all of them 9s: none is left",
        ),
        (
            "steps: [{id: a, tool: note, timeout: 9, total_timeout: 5}]",
            "2:38: warning: step 'a': its limit of 9s is above the 5s of its total_timeout",
        ),
        (
            "steps: [{id: a, tool: note, timeout: {initial: 1, ceiling: 4}, grace: 4}]",
            "2:71: warning: step 'a': the grace of 4s is no shorter than the limit of 4s",
        ),
        (
            "config: {timeout: 2, grace: 3}\nsteps: [{id: a, tool: note}]",
            "2:29: warning: the pipeline: the grace of 3s is no shorter than the limit of 2s",
        ),
        (
            "stages: [{id: s, timeout: 2, grace: 3, steps: [{id: a, tool: note}]}]",
            "2:37: warning: stage 's': the grace of 3s is no shorter than the limit of 2s",
        ),
        (
            "steps: [{id: a, tool: note, timeout: 2, idempotent: true, hedge: {delay: 2}}]",
            "2:74: warning: step 'a': a second copy is sent after 2s, and its limit is 2s: none",
        ),
        (
            "steps: [{id: a, command: make all}]",
            "2:26: warning: step 'a': a text runs under the shell; a list such as [make, all] does not",
        ),
        (
            "inputs: {x: {}}\nsteps: [{id: a, command: 'echo {{ x }}'}]",
            "3:26: warning: step 'a': a text runs under the shell, which reads what templates put",
        ),
        (
            "steps: [{id: a, tool: note, max_retries: 9}]",
            (
                "2:42: warning: step 'a': if it fails at once, the retry budget of 3 in 10s allows "
                "4 of its 10 attempts"
            ),
        ),
        (
            "steps: [{id: a, command: [x], cleanup: {command: y}}]",
            "2:50: warning: step 'a', cleanup: a text runs under the shell",
        ),
        (
            "phases: [{name: a, commands: [{command: make all}, {command: [x]}]}]",
            "2:41: warning: command 'make all': a text runs under the shell",
        ),
        (
            "phases: [{name: a, commands: [{command: 'echo {{ x }}'}]}]",
            "2:41: warning: command 'echo {{ x }}': a text runs under the shell; a list",
        ),
    ],
)
def test_what_is_hardly_meant(read, text, expected):
    """Each kind of it is told, once, where it stands."""
    (found,) = warnings(read, f"id: p\n{text}")
    assert found.startswith(f"f.yaml:{expected}")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("tool: filesystem, action: read, parameters: {path: x}", True),
        ("tool: web-fetch, parameters: {url: 'http://x/'}", True),
        ("tool: http, action: head, parameters: {url: 'http://x/'}", True),
        ("command: [x]", False),
        ("tool: filesystem, action: delete, parameters: {path: x}", False),
        ("tool: http, parameters: {url: 'http://x/', method: POST}", False),
        ("tool: http, action: put, parameters: {url: 'http://x/'}", False),
    ],
)
def test_what_nobody_uses(step, told):
    """It is told of steps that do nothing but look: others may be there for what they do."""
    text = f"id: p\nsteps: [{{id: a, {step}}}]\noutputs: {{x: 1}}"
    line = "f.yaml:2:9: warning: step 'a': nobody uses it, neither another step nor outputs"
    assert [str(one) for one in loads(text, file="f.yaml").warnings()] == [line] * told


@pytest.mark.parametrize(
    "step",
    [
        "max_retries: 3",
        "max_retries: 9, backoff: {initial: 4, max: 4}",
        "max_retries: 9, total_timeout: 500ms",
        "max_retries: 9, idempotent: false",
    ],
)
def test_retries_that_the_budget_does_not_end(read, step):
    """Few ones, those that the backoff spreads, and those that something else ends."""
    assert warnings(read, f"id: p\nsteps: [{{id: a, tool: note, {step}}}]") == []


def test_warnings_are_in_the_order_of_the_file(read):
    """As errors are."""
    found = warnings(read, "id: p\nsteps: [{id: a, command: x}, {id: b, command: y}]")
    assert [line.split(":")[2] for line in found] == ["26", "47"]
