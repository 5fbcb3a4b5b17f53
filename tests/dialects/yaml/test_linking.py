"""References are found in templates, and those that lead nowhere are told with their places."""

import json
from contextlib import suppress

import pytest

from graceline.dialects.yaml.forms import WrongError
from graceline.dialects.yaml.keys import Nested, keys_of
from graceline.dialects.yaml.linking import link
from graceline.dialects.yaml.links import References
from graceline.dialects.yaml.reading import parse
from graceline.dialects.yaml.schema import StepKeys


def links(text):
    return link(parse(text), "f.yaml")


def found(text):
    return [str(problem) for problem in links(text).problems]


def test_needs_are_declared_and_found():
    """In whichever key a template stands, what it refers to is needed, in its long and short form."""
    made = links(
        """
id: p
steps:
  - {id: a, tool: t}
  - {id: b, tool: t, parameters: {x: ["{{ steps.a.result }}"]}}
  - {id: c, command: [x, "{{ a.result.text }}"], env: {A: "{{ b.error }}"}}
  - {id: d, tool: t, condition: "{{ steps['c'].status == 'ok' }}", dependencies: a}
  - {id: e, tool: t, for_each: "{{ d.value }}", cleanup: {tool: t, parameters: {x: "{{ e.status }}"}}}
outputs: {x: "{{ steps }} {{ e.result }}"}
"""
    )
    assert made.problems == []
    assert made.needs == {"a": (), "b": ("a",), "c": ("a", "b"), "d": ("a", "c"), "e": ("d",)}
    assert made.used == {"a", "b", "c", "d", "e"}


def test_what_templates_refer_to_is_kept():
    """Steps and inputs, in the long and the short form; `inputs` as a whole is all of them."""
    made = links(
        """
id: p
inputs: {n: {}, m: {}}
steps:
  - {id: a, tool: t, parameters: {x: "{{ n }}"}, cleanup: {command: ["{{ a.status }}"]}}
  - {id: b, tool: t, parameters: {x: "{{ inputs.n + steps.a.result }}", y: "{{ m }}"}}
  - {id: c, tool: t, condition: "{{ inputs['n'] }}", dependencies: b}
  - {id: d, tool: t, parameters: {x: "{{ inputs[c.result] }}"}}
outputs: {x: "{{ steps }} {{ c.result }} {{ m }}"}
"""
    )
    assert made.references == {
        "a": References({"a"}, {"n"}),
        "b": References({"a"}, {"n", "m"}),
        "c": References(set(), {"n"}),
        "d": References({"c"}, set(), all_inputs=True),
    }
    assert made.outputs == References({"c"}, {"m"})
    assert made.with_dependents(["b"]) == {"b", "c", "d"}
    assert made.with_dependents(()) == set()


def test_what_is_in_an_earlier_stage_is_done():
    """Only steps of the same stage are waited for; the others are over."""
    made = links(
        """
id: p
stages:
  - {id: one, steps: [{id: a, tool: t}]}
  - {id: two, steps: [{id: b, tool: t}, {id: c, tool: t, dependencies: [a, b]}]}
"""
    )
    assert (made.needs["c"], made.after["c"]) == (("a", "b"), ("b",))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            "parameters: {x: '{{ topc }}'}",
            "b', parameters: nothing is called 'topc'; did you mean 'topic'?",
        ),
        ("parameters: {x: '{{ steps.aa.result }}'}", "there is no step 'aa'; did you mean 'a'?"),
        ("parameters: {x: '{{ a.reslt }}'}", "step 'a' has no 'reslt'; did you mean 'result'?"),
        ("parameters: {x: '{{ steps.a.reslt }}'}", "step 'a' has no 'reslt'"),
        ("parameters: {x: '{{ inputs.topc }}'}", "there is no input 'topc'; did you mean 'topic'?"),
        ("parameters: {x: '{{ execution.ip }}'}", "execution has no 'ip'"),
        ("parameters: {x: '{{ steps }}'}", "say which step is meant: steps.a"),
        ("parameters: {x: '{{ item }}'}", "'item' is known to the items of for_each only"),
        ("for_each: [1], condition: '{{ index > 1 }}'", "'index' is known to the items"),
        ("parameters: {x: '{{ b.result }}'}", "step 'b': it refers to itself"),
        ("dependencies: [b]", "step 'b': it refers to itself, before it has run"),
        ("dependencies: c", "step 'b', dependencies: there is no step 'c'; valid are: 'a'"),
        (
            "parameters: {x: '{{ a.error.message }}'}",
            "the error of step 'a' is a text, and has no 'message'",
        ),
        (
            "parameters: {x: '{{ steps.a.status.x }}'}",
            "the status of step 'a' is a text, and has no 'x'",
        ),
        ("parameters: {x: '{{ a.result'}", "step 'b', parameters: template"),
        ("parameters: {x: [{'{{ a }}': 1}]}", "'{{ a }}' is a key, and keys are no templates"),
        ("parameters: {x: '{{ a.__class__ }}'}", "step 'b', parameters: "),
    ],
)
def test_what_leads_nowhere(step, message):
    """Unknown names are told at the text that has them, with the nearest one."""
    (problem,) = found(
        f"id: p\ninputs: {{topic: {{}}}}\nsteps:\n  - {{id: a, tool: t}}\n  - {{id: b, tool: t, {step}}}"
    )
    assert problem.startswith("f.yaml:5:")
    assert message in problem


TEXTS = ("{{ a.result }}", ["{{ a.result }}"], {"x": "{{ a.result }}"})


def keys_of_a_step(kind=StepKeys, above=()):
    """Every key that may hold a text of any form, by its way from the step, and such a text."""
    for key in keys_of(kind):
        if isinstance(key.form, Nested):
            if key.form.other is None:
                yield from keys_of_a_step(key.form.kind, (*above, key.name))
            continue
        for text in TEXTS:
            with suppress(WrongError):
                key.form.read(text)
                yield pytest.param((*above, key.name), key.template, text, id=key.name)


@pytest.mark.parametrize(("way", "template", "text"), list(keys_of_a_step()))
def test_what_looks_like_a_template_is_one_or_is_refused(way, template, text):
    """No text of a step is silently taken as it stands, unless the key is for any text."""
    value = text
    for name in reversed(way):
        value = {name: value}
    step = {"id": "b", "cleanup": {}, **value}
    made = links(json.dumps({"id": "p", "steps": [{"id": "a", "tool": "t"}, step]}))
    refused = [problem.message for problem in made.problems]
    if template is False:
        (message,) = refused
        assert message.startswith(f"step 'b', {'.'.join(way)}: '{{{{ a.result }}}}' looks like")
        assert message.endswith("for parameters, command, env, cwd, stdin, condition, for_each")
    else:
        assert refused == []
        assert made.needs["b"] == (("a",) if template else ())


def test_where_a_template_is_none_its_place_is_told():
    """The place is that of the text, deep in a list as well."""
    (problem,) = found("id: p\nsteps:\n  - {id: b, command: [x], artifacts: [ok, '{{ n }}.txt']}")
    assert problem.startswith("f.yaml:3:43: step 'b', artifacts: '{{ n }}.txt' looks like")


def test_a_later_stage_cannot_be_needed():
    """Stages are a sequence: what comes later cannot be waited for."""
    (problem,) = found(
        """id: p
stages:
  - {id: one, steps: [{id: a, tool: t, parameters: {x: "{{ b.result }}"}}]}
  - {id: two, steps: [{id: b, tool: t}]}
"""
    )
    assert problem == "f.yaml:3:56: step 'a': it needs 'b', which is in a later stage"


def test_cycles():
    """Every cycle is told once, by the steps that it leads through."""
    problems = found(
        """id: p
steps:
  - {id: a, tool: t, dependencies: b}
  - {id: b, tool: t, parameters: {x: "{{ a.result }}"}}
  - {id: c, tool: t, dependencies: d}
  - {id: d, tool: t, dependencies: c}
"""
    )
    assert len(problems) == 2
    assert all(problem.endswith("is a cycle; it would wait for itself") for problem in problems)


def test_names_are_unique():
    """Steps, stages and inputs have names of their own, which templates can say."""
    assert found(
        """id: p
inputs: {a: {}, steps: {}, "x-y": {}, ok: {}}
stages:
  - {id: s, steps: [{id: a, tool: t}, {id: item, tool: t}, {id: none, tool: t}]}
  - {id: s, steps: [{id: a, tool: t}]}
  - {id: outputs, steps: [{id: b, tool: t}]}
"""
    ) == [
        "f.yaml:5:10: stage 's': another stage has this id",
        "f.yaml:6:10: stage 'outputs': what makes the outputs is a stage of this id",
        "f.yaml:4:44: step 'item': take another id; templates use 'item' for items",
        "f.yaml:4:65: step 'none': take another id; in templates 'none' is a constant",
        "f.yaml:5:26: step 'a': another step has this id, in line 4",
        "f.yaml:2:10: input 'a': a step has this name, too",
        "f.yaml:2:17: input 'steps': take another name; in templates 'steps' is something else",
        "f.yaml:2:28: input 'x-y': templates could not refer to it",
    ]


@pytest.mark.parametrize("key", ["id", "name"])
@pytest.mark.parametrize("outputs", ["", "outputs: {x: 1}\n"])
def test_the_name_of_the_outputs(key, outputs):
    """A file whose only stage has its id cannot have that of the outputs; one with stages can."""
    text = f"{outputs}{key}: outputs\n"
    line = 2 if outputs else 1
    (problem,) = found(text + "steps: [{id: a, tool: t}]\n")
    assert problem == (
        f"f.yaml:{line}:{len(key) + 3}: the file has the id 'outputs', which is also that of its "
        "only stage, and what makes the outputs is a stage of this id; give it another one"
    )
    assert found(text + "stages: [{id: s, steps: [{id: a, tool: t}]}]\n") == []


def test_a_reserved_name_is_told_once():
    """What refers to a step whose id templates use is no mistake of its own."""
    problems = found(
        """id: p
steps:
  - {id: index, tool: t}
  - {id: b, tool: t, dependencies: index, parameters: {x: "{{ index.result }}"}}
  - {id: c, tool: t, parameters: {x: "{{ steps.index.result ~ b.error.upper() }}"}}
"""
    )
    assert problems == [
        "f.yaml:3:10: step 'index': take another id; templates use 'index' for items"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "steps: 3",
        "steps: [3]",
        "stages: [3, {steps: {}}]",
        "inputs: 3\nsteps: [{id: [a]}]",
        "steps: [{id: a, dependencies: {}}]",
        "steps: [{id: a, dependencies: [[b], {c: d}, 3]}]",
        "[]",
        "3",
    ],
)
def test_what_has_no_form_is_left_alone(text):
    """What is no step has no references; its form is told by others."""
    assert found(text) == []


def test_there_is_an_end_to_it():
    """Near names are slow to find, and nobody reads thousands of problems."""
    steps = "".join(f"  - {{id: s{n}, tool: t, dependencies: x{n}}}\n" for n in range(1000))
    problems = found(f"id: p\nsteps:\n{steps}")
    assert len(problems) == 50
    assert max(map(len, problems)) < 200


def test_a_long_cycle_is_told_in_short():
    """Nobody reads a cycle of a thousand steps."""
    steps = "".join(
        f"  - {{id: s{n}, tool: t, dependencies: s{(n + 1) % 1000}}}\n" for n in range(1000)
    )
    (problem,) = found(f"id: p\nsteps:\n{steps}")
    assert "-> ... ->" in problem
    assert len(problem) < 200


def test_there_is_an_end_to_steps_and_templates():
    """What takes long to build is refused before, whatever else is wrong with it."""
    steps = "".join(f"  - {{id: s{n}, tool: t}}\n" for n in range(2001))
    (problem,) = found(f"id: p\nsteps:\n{steps}")
    assert problem == "f.yaml:2003:10: there are more than 2000 steps"
    texts = ", ".join(f"'{{{{ {n} }}}}'" for n in range(5001))
    (problem,) = found(f"id: p\nsteps: [{{id: s, tool: t, parameters: {{x: [{texts}]}}}}]")
    assert problem.endswith("there are more than 5000 templates")


def test_a_long_chain_is_no_recursion():
    """Thousands of steps, each of which needs the one before, are linked as they are."""
    steps = "".join(
        f"  - {{id: s{n}, tool: t, dependencies: s{max(0, n - 1)}}}\n" for n in range(1, 2000)
    )
    made = links(f"id: p\nsteps:\n  - {{id: s0, tool: t}}\n{steps}")
    assert made.problems == []
    assert made.after["s1999"] == ("s1998",)


def test_names_without_end_make_no_problem_without_end(problems):
    """What is far too long is cut in every message."""
    long = "long" * 200
    found = problems(
        f"""
        id: p
        inputs: {{ {long}: {{type: strin}} }}
        stages:
          - {{id: {long}, steps: [{{id: a, tool: {long}, parameters: {{"{{{{ a }}}}": 1}}}}]}}
          - {{id: {long}, steps: [{{id: {long}, command: [x], dependencies: {long},
             condition: "{{{{ {long} }}}}"}}]}}
          - {{id: c, steps: [{{id: c, tool: note, condition: "{{{{ {long}.x | {long} }}}}"}},
             {{id: d, tool: note, condition: "{{{{ __{long} }}}}", for_each: "{{{{ no{long} }}}}"}},
             {{id: e, tool: note, condition: "{{{{ a.{long} and inputs.{long}x }}}}"}}]}}
        """
    )
    assert len(found) > 8
    assert max(map(len, found)) < 700  # the names of all filters are among them
