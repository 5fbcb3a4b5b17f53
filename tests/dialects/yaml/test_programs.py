"""Programs of a file: their words, variables, directory and input are templates."""

import pytest

from graceline import open_engine
from graceline.dialects.yaml import loads

DEMO = """
id: p
inputs: {topic: {default: trees}, n: {default: 3}}
steps:
  - id: a
    command: [sh, -c, 'echo "$1 $2 $A $(cat)"; pwd; touch made.txt', sh, "{{ topic }}", "{{ n }}"]
    env: {A: "{{ n > 2 }}", HOME: null}
    cwd: "{{ 'in' }}side"
    stdin: "{{ inputs }}"
    artifacts: ["*.txt"]
  - id: b
    command: "exit 3"
    ok_codes: [3]
    stdin: plain
outputs:
  said: "{{ a.result.stdout }}"
  code: "{{ b.result.exit_code }}"
  made: "{{ a.result.artifacts | length }}"
  argv: "{{ a.result.argv | last }}"
"""


@pytest.fixture
async def engine():
    """Programs need the real clock."""
    async with open_engine() as engine:
        yield engine


@pytest.mark.keys("step.command", "step.env", "step.cwd", "step.stdin", "step.artifacts",
                  "step.ok_codes")  # fmt: skip
async def test_a_program(engine, tmp_path):
    """What a program gets is what its templates say; what it leaves is there for others."""
    (tmp_path / "inside").mkdir()
    result = await engine.run(loads(DEMO, root=tmp_path).pipeline())
    assert result.status == "ok", result
    assert result.value == {
        "said": f'trees 3 true {{"topic": "trees", "n": 3}}\n{tmp_path}/inside\n',
        "code": 3,
        "made": 1,
        "argv": "3",
    }


async def test_a_program_for_each_item(engine, tmp_path):
    """An item has a program of its own; without `cwd` it runs in the root."""
    text = "id: p\nsteps: [{id: a, command: 'echo {{ item }}; pwd', for_each: [1, 2]}]"
    result = await engine.run(loads(text, root=tmp_path).pipeline())
    assert [one.stdout for one in result.value] == [f"1\n{tmp_path}\n", f"2\n{tmp_path}\n"]


async def test_what_a_failed_program_has_left(engine):
    """With `continue`, others see its output and its exit code."""
    text = """
id: p
steps:
  - {id: a, command: "echo out; echo err >&2; exit 4", on_error: continue}
  - {id: b, command: [echo, "{{ a.result.exit_code }} {{ a.result.stdout }} {{ a.error }}"]}
"""
    result = await engine.run(loads(text).pipeline())
    assert result.degraded == ("a",)
    assert result.value.stdout.startswith(
        "4 out\n command 'echo' exited with code 4; its last words"
    )


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("command: [echo, '{{ [1] }}']", "a word of a command is a text or a number"),
        ("command: [echo], env: {A: '{{ [1] }}'}", "a word of a command is a text or a number"),
        ("command: [echo, '{{ empty.x }}']", "'x'"),
        ("command: [cat], stdin: '{{ thing }}'", "stdin: <object object"),
    ],
)
async def test_what_cannot_be_said_to_a_program(engine, step, message):
    """A template that gives no word fails its step, and nothing is started."""
    text = f"id: p\ninputs: {{empty: {{default: {{}}}}, thing: {{}}}}\nsteps: [{{id: a, {step}}}]"
    result = await engine.run(loads(text).pipeline(), {"thing": object()})
    assert result.node("a").status == "failed"
    assert message in str(result.node("a").error)
