"""Every mistake of form is told at once: where, what is wrong, what would be right."""

import pytest

from graceline.dialects.yaml.keys import keys_of
from graceline.dialects.yaml.policies import AdaptiveKeys
from graceline.dialects.yaml.reading import parse
from graceline.dialects.yaml.schema import FileKeys, StepKeys
from graceline.dialects.yaml.structuring import place_of, structure, where_of


def found(text):
    return [str(problem) for problem in structure(parse(text), FileKeys, "f.yaml")[1]]


def step(text):
    """What is wrong with a step that has some more keys."""
    return found(f"id: p\nsteps: [{{id: a, {text}}}]")


def test_a_file_becomes_objects():
    """Each mapping is an object of its class, each value what its key takes."""
    keys, problems = structure(
        parse(
            """
id: p
config: {timeout: 2m, default_timeout: {initial: 1, ceiling: 2s}}
steps:
  - {name: a, tool: t, timeout: 1m30s, dependencies: b, on_failure: skip}
  - {id: b, command: [x]}
"""
        ),
        FileKeys,
        "f.yaml",
    )
    assert problems == []
    assert keys.config.timeout == 120
    assert keys.config.default_timeout == AdaptiveKeys(initial=1, ceiling=2)
    first, second = keys.steps
    assert (first.id, first.timeout, first.dependencies, first.on_error) == (
        "a",
        90,
        ("b",),
        "skip",
    )
    assert (second.command, second.on_error) == (["x"], "fail")


def test_everything_is_told_at_once():
    """One mistake hides no other, in whatever depth they stand."""
    problems = found(
        """id: p
colour: red
config: {timeout: "30", reserv: 2}
inputs:
  a: {type: strin}
  b: 3
steps:
  - {id: a, tool: t, tiemout: 3, max_retries: 1, backoff: {initial: -1}}
  - {id: 3, command: [a, 3]}
  - nam: 3
"""
    )
    assert sorted(problems, key=lambda one: [int(part) for part in one.split(":")[1:3]]) == [
        (
            "f.yaml:2:1: colour: there is no such key; valid are: 'id', 'name', 'description', "
            "'version', 'config', 'inputs', 'parameters', 'stages', 'steps', 'outputs', 'phases'"
        ),
        (
            "f.yaml:3:19: config.timeout: '30' has no unit; write '30s', '30ms' or a number, without "
            "quotes"
        ),
        "f.yaml:3:25: config.reserv: there is no such key; did you mean 'reserve'?",
        "f.yaml:5:13: inputs.a.type: 'strin' is none of its values; did you mean 'string'?",
        "f.yaml:6:6: inputs.b: must be a mapping, not 3",
        "f.yaml:8:22: step 'a', tiemout: there is no such key; did you mean 'timeout'?",
        "f.yaml:8:69: step 'a', backoff.initial: -1 is not at least 0",
        (
            "f.yaml:9:10: step 2, id: must be a name of up to 100 letters, digits, _ and -, such as "
            "unit_tests, not 3; quote it"
        ),
        (
            "f.yaml:9:22: step 2, command: must be a list of texts such as [make, all], or a line for "
            "the shell, not ['a', 3]"
        ),
        "f.yaml:10:5: step 3: has no id, which it needs",
        "f.yaml:10:5: step 3, nam: there is no such key; did you mean 'name'?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timeout: 0", "0 is not above 0; write .inf for no limit"),
        ("timeout: -1", "-1 is not above 0"),
        ("timeout: .nan", "NaN is not a duration"),
        ("timeout: true", "True is a bool, not a duration"),
        ("timeout: '30'", "'30' has no unit; write '30s', '30ms' or a number"),
        ("timeout: 30 s x", "'30 s x' is not a duration"),
        ("timeout: '0s'", "'0s' is not above 0"),
        ("timeout: []", "is of type list, not a duration"),
        ("timeout: ", "has no value; give one, or leave the key out"),
        ("total_timeout: {initial: 1, ceiling: 2}", "is of type dict, not a duration"),
        ("timeout: {ceiling: 2}", "timeout: has no initial, which it needs"),
        ("timeout: {initial: 3, ceiling: 1}", "its bounds must be in order"),
        ("timeout: {initial: 1, ceiling: 2, alpha: 0.7}", "must be a share above 0 and below 0.5"),
        ("grace: .inf", "must be finite"),
        ("grace: -1s", "'-1s' is not at least 0"),
        ("grace: ", "has no value"),
        ("max_retries: -1", "must be a whole number, at least 0, not -1"),
        ("max_retries: 1.5", "must be a whole number, at least 0, not 1.5"),
        ("max_retries: true", "must be a whole number, at least 0, not True"),
        ("idempotent: yes", "in YAML 1.2 yes is a text, write true"),
        ("idempotent: 'Off'", "in YAML 1.2 Off is a text, write false"),
        ("idempotent: 1", "must be true or false, not 1"),
        ("description: 3", "must be a text, not 3; quote it"),
        ("description: ''", "must be a text, not ''"),
        ("on_error: stop", "'stop' is none of its values; valid are: 'fail', 'continue', 'skip'"),
        ("on_error: [fail]", "is none of its values"),
        ("on_error: ", "has no value"),
        ("on_error: fail, on_failure: fail", "on_failure: is on_error in another spelling"),
        ("name: b", "name: is id in another spelling; give one of the two"),
        ("condition: maybe", "must be true, false or a template"),
        ("for_each: 3", "must be a list, or a template"),
        ("dependencies: {a: b}", "must be a name, or a list of names"),
        ("dependencies: [a b]", "must be a name, or a list of names"),
        ("parameters: [a]", "must be a mapping, not ['a']"),
        ("metadata: {timeout: '3'}", "metadata: timeout: '3' has no unit"),
        ("cleanup: ", "cleanup: has no value; give one, or leave the key out"),
        ("cleanup: x", "cleanup: must be a mapping, not 'x'"),
        ("cleanup: {}", "cleanup: has nothing to run; give it tool, command or action"),
        ("cleanup: {tool: t, cwd: x}", "cleanup.cwd: is used with command only"),
        ("breaker: {failure_rate: 3}", "must be a share above 0 and at most 1, not 3"),
        ("breaker: {slow_rate: 0.5}", "breaker: slow_rate= and slow_after= go together"),
        ("breaker: {window: .inf}", "breaker.window: must be above 0 and finite"),
        ("max_retries: 1, backoff: {initial: 20, max: 1}", "is above max_backoff 1s"),
        ("max_retries: 1, backoff: {factor: 0.5}", "must be a number of at least 1"),
        ("backoff: {initial: 1}", "is used with max_retries, which is not stated"),
        ("max_parallel: 3", "is used with for_each, which is not stated"),
        ("hedge: {delay: 1}", "does the work twice; say idempotent: true if it may"),
        ("env: {A: b}", "env: is used with command only"),
        ("stdin: x", "stdin: is used with command only"),
        ("command: [x]", "tool: does not go with command; give one of the two"),
        ("grace: 1, reserve: 1, total_timeout: 3", "not both"),
        ("reserve: 1", "reserve: is carved out of a finite total_timeout, and there is none"),
        ("reserve: 1, total_timeout: .inf", "is carved out of a finite total_timeout"),
        ("reserve: 3, total_timeout: 3", "3 must be smaller than the total_timeout of 3"),
    ],
)
def test_what_is_wrong_with_a_step(text, message):
    """Each kind of mistake has one clear error, with the place of the key or the value."""
    (problem,) = step(f"tool: t, {text}")
    assert problem.startswith("f.yaml:2:")
    assert message in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("command: []", "must be a list of texts such as [make, all]"),
        ("command: ['']", "must be a list of texts such as [make, all]"),
        ("command: ' '", "must be a list of texts such as [make, all]"),
        ("command: x, runs_on: thread", "runs_on: is for Python functions"),
        ("command: x, env: {A: 3}", "must be a mapping of variables to texts"),
        ("command: x, env: {'A=': b}", "must be a mapping of variables to texts"),
        ("command: x, ok_codes: [300]", "must be a list of exit codes, 0 to 255"),
        ("command: x, ok_codes: [true]", "must be a list of exit codes, 0 to 255"),
        ("command: x, artifacts: ['']", "must be a list of texts"),
        ("description: x", "has nothing to run; give it tool, command or action"),
    ],
)
def test_what_is_wrong_with_a_program(text, message):
    """A program is checked as other steps are."""
    (problem,) = step(text)
    assert message in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [{id: a, tool: t}]", "f.yaml:1:1: has no name; give it an id"),
        ("id: p", "f.yaml:1:1: has nothing to do; give it steps, stages or phases"),
        ("id: p\nsteps: []", "f.yaml:2:8: steps: must be a list with at least one entry, not []"),
        ("id: p\nsteps: {id: a}", "must be a list with at least one entry, not {'id': 'a'}"),
        ("id: p\nsteps: [3]", "f.yaml:2:9: step 1: must be a mapping, not 3"),
        ("[id, p]", "f.yaml:1:1: must be a mapping, not ['id', 'p']"),
        ("just a text", "f.yaml:1:1: must be a mapping, not 'just a text'"),
        (
            "id: p\nsteps: [{id: a, tool: t}]\nversion: 1.0",
            "version: must be a text, not 1.0; quote",
        ),
        ("id: p\nsteps: [{id: a, tool: t}]\ninputs: [a]", "inputs: must be a mapping, not ['a']"),
        ("id: p\nsteps: [{id: a, tool: t}]\noutputs: {}", "must be a mapping of names to values"),
        (
            "id: p\nsteps: [{id: a, tool: t}]\ninputs: {a: {required: true, default: 3}}",
            "inputs.a.default: has no use: an input with required: true has to be given",
        ),
        (
            "id: p\nsteps: [{id: a, tool: t}]\nstages: [{id: s, steps: [{id: b, tool: t}]}]",
            "steps: does not go with stages; give one of the two",
        ),
        (
            (
                "id: p\nstages: [{id: s, timeout: {initial: 1, ceiling: 2}, reserve: 1,"
                " steps: [{id: b, tool: t}]}]"
            ),
            "stage 's', reserve: a learned timeout takes grace, and not reserve",
        ),
        (
            "id: p\nconfig: {fail_fast: true}\nphases: [{name: a, commands: [{command: x}]}]",
            "f.yaml:2:9: config: fail_fast is for steps, and not for phases",
        ),
        (
            (
                "id: p\nconfig: {timeout: {initial: 1, ceiling: 2}}\n"
                "phases: [{name: a, commands: [{command: x}]}]"
            ),
            "config: timeout of a suite is a number of seconds",
        ),
        (
            "id: p\ninputs: {a: {}}\nphases: [{name: a, commands: [{command: x}]}]",
            "inputs: is for steps: commands of phases are no templates",
        ),
        (
            "id: p\noutputs: {a: b}\nphases: [{name: a, commands: [{command: x}]}]",
            "outputs: is for steps: what phases leave is in their report",
        ),
        (
            "id: p\nphases: [{name: a, commands: [{command: x, reserve: 1}]}]",
            "phase 'a', command 1, reserve: is carved out of a finite timeout",
        ),
    ],
)
def test_what_is_wrong_with_a_file(text, message):
    """The file as a whole, its stages and phases are checked, too."""
    (problem,) = found(text)
    assert message in problem


def test_there_is_an_end_to_mistakes():
    """Nobody reads thousands of them, and near names are slow to find."""
    assert len(found("id: p\nsteps:\n" + " - {id: a, too: 3}\n" * 1000)) == 200


def test_an_alias_tells_its_anchor():
    """What an alias repeats is wrong where it was written."""
    problems = found(
        "id: p\nsteps: [{id: a, tool: t, backoff: &b {x: 1}}, {id: c, tool: t, backoff: *b}]"
    )
    assert {problem.split(": ")[0] for problem in problems} == {"f.yaml:2:39"}


def test_places_of_paths():
    """A path leads to a value, to its key, or as near as there is something."""
    tree = parse("id: p\nsteps:\n  - id: a\n    env: {A: b}\n")
    assert str(place_of(tree, ("steps", 0, "env"))) == "4:10"
    assert str(place_of(tree, ("steps", 0, "env"), on_key=True)) == "4:5"
    assert str(place_of(tree, ("steps", 0, "none", "x"))) == "3:5"
    assert where_of(tree, ("steps", 0, "env", "A")) == "step 'a', env.A: "
    assert where_of(tree, ("steps", 3)) == "step 4: "
    assert where_of(tree, ()) == ""


def test_the_classes_are_what_is_read():
    """A key of a class is a key of a file, with its other spellings."""
    names = {one.name: one.also for one in keys_of(StepKeys)}
    assert names["on_error"] == ("on_failure",)
    assert {"tool", "timeout", "cleanup"} <= set(names)
