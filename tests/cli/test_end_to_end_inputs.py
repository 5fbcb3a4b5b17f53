"""Inputs and tools of files, by the command line: converted, or exit code 2 with nothing run."""

import json

import pytest

INPUTS = """
id: inputs
inputs:
  topic: {type: string, required: true}
  version: {type: string, default: "1.0"}
  depth: {type: integer, default: 3}
  ratio: {type: number, default: 0.5}
  deep: {type: boolean, default: false}
  words: {type: array, default: []}
  options: {type: object, default: {}}
  note: {required: false}
steps:
  - {id: first, command: [touch, executed]}
  - {id: say, tool: say, parameters: {value: "{{ inputs }}"}}
outputs:
  inputs: "{{ say.result }}"
  sum: "{{ depth + ratio }}"
"""
YAML = """
topic: 007
depth: "5"
ratio: 2
deep: true
words: [a, b]
options: {colour: red}
"""


def test_inputs_are_converted(start_file, tmp_path):
    """Those of a file and those of the command line, which win, have the declared types in templates."""
    (tmp_path / "inputs.yaml").write_text(YAML.replace("007", "'007'"))
    (tmp_path / "inputs.json").write_text(
        json.dumps({"topic": "x", "words": '["c"]', "note": None})
    )
    from_yaml = start_file(INPUTS, "--json", "--inputs", "inputs.yaml", "-i", "ratio=1e-1")
    from_json = start_file(INPUTS, "--json", "--inputs", "inputs.json", "-i", "topic=42", "-i",
                           "version=2.0", "-i", 'options={"a": [1]}', "-i", "note=null")  # fmt: skip
    ran = from_yaml.ended()
    assert (ran.code, ran.err) == (0, "")
    assert ran.document["value"] == {
        "inputs": {
            "topic": "007", "version": "1.0", "depth": 5, "ratio": 0.1, "deep": True,
            "words": ["a", "b"], "options": {"colour": "red"}, "note": None,
        },
        "sum": 5.1,
    }  # fmt: skip
    ran = from_json.ended()
    assert (ran.code, ran.err) == (0, "")
    assert ran.document["value"]["inputs"] == {
        "topic": "42", "version": "2.0", "depth": 3, "ratio": 0.5, "deep": False,
        "words": ["c"], "options": {"a": [1]}, "note": None,
    }  # fmt: skip


def test_wrong_inputs_run_nothing(start_file, tmp_path):
    """All that is wrong with them is told at once, on standard error: exit code 2, and nothing is run."""
    given = ("-i", "depth=three", "-i", "dep=3", "-i", "words=a,b", "-i", "deep=yes")
    ran = start_file(INPUTS, "--json", "--output", "out.json", *given).ended()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        "p.yaml: input 'deep': must be of type boolean, not 'yes'",
        "p.yaml: input 'depth': must be of type integer, not 'three'",
        "p.yaml: input 'topic' is missing, a value of type string",
        "p.yaml: input 'words': must be of type array, not 'a,b'",
        "p.yaml: there is no input 'dep'; did you mean 'deep'?",
    ]
    assert {path.name for path in tmp_path.iterdir()} <= {"p.yaml", "state"}
    assert not list(tmp_path.rglob("executed"))


INPUTS_IN_PROCESS = """
id: p
inputs: {topic: {type: string, required: true}, depth: {type: integer, default: 3}}
steps:
  - {id: first, command: [touch, executed]}
  - {id: second, command: [echo, "{{ topic }} {{ depth }}"]}
"""


@pytest.fixture
def called(call, tmp_path, monkeypatch):
    """Calls the command in this process, in a directory with a file; gives exit code and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*argv, text=INPUTS_IN_PROCESS, file="p.yaml"):
        (tmp_path / "p.yaml").write_text(text, "utf-8")
        code, out, err = call("run", file, "--json", *argv)
        assert not (tmp_path / "executed").exists()
        assert (out, "Traceback" in err) == ("", False)
        return code, err

    return run


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "input 'topic' is missing, a value of type string"),
        (("-i", "topic=x", "-i", "depth=2.5"), "input 'depth': must be of type integer, not 2.5"),
        (("-i", "topic=x", "-i", "depth=true"), "input 'depth': must be of type integer, not True"),
        (("-i", "topic=x", "-i", "depht=3"), "there is no input 'depht'; did you mean 'depth'?"),
        (("-i", "topic"), "write key=value"),
        (("-i", "topic=x", "-i", "topic=y"), "the key 'topic' is given twice"),
        (("--inputs", "there/is/none.yaml"), "there/is/none.yaml: cannot be read"),
        (("--inputs", "list.yaml"), "list.yaml:1:1: inputs are a mapping by name"),
        (("--inputs", "twice.yaml"), "twice.yaml:2:1: 'topic' is given twice"),
        (("--inputs", "python.yaml"), "python.yaml:1:8: the tag 'tag:yaml.org,2002:python/object"),
        (("--inputs", "broken.json"), "broken.json:1:10: is no JSON"),
        (("--inputs", "nan.json"), "nan.json: NaN is no JSON"),
        (("--inputs", "bytes.yaml"), "bytes.yaml:1:8: is not UTF-8"),
        (("-i", "topic=x", "--timeout", "30 minutes"), "30 minutes"),
        (("-i", "topic=x", "--tools", "there_is_none"), "there is no module 'there_is_none'"),
        (("-i", "topic=x", "--tools", "tools.py"), "there is no file 'tools.py'"),
        (("-i", "topic=x", "--tools", "p.yaml"), "p.yaml"),
        (("-i", "topic=x", "--output", "no/such/directory.json"), "no/such"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_runs_nothing(called, tmp_path, argv, said):
    """What is wrong with it is told before anything is run: exit code 2."""
    (tmp_path / "list.yaml").write_text("[topic]")
    (tmp_path / "twice.yaml").write_text("topic: a\ntopic: b\n")
    (tmp_path / "python.yaml").write_text("topic: !!python/object/apply:os.system [touch executed]")
    (tmp_path / "broken.json").write_text('{"topic":')
    (tmp_path / "nan.json").write_text('{"topic": "x", "depth": NaN}')
    (tmp_path / "bytes.yaml").write_bytes(b"topic: \xff")
    code, err = called(*argv)
    assert (code, said in err) == (2, True), err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("tool: summarise", "there is no tool 'summarise'"),
        ("action: summarise", "there is no tool 'summarise'"),
        ("tool: terminal, action: start", "start"),
        ("tool: os.system", "there is no tool 'os.system'"),
    ],
)
def test_a_tool_that_is_missing_runs_nothing(called, body, said):
    """A file can name what is registered and built in, and nothing else: exit code 2, with the place."""
    text = f"id: p\nsteps:\n  - {{id: first, command: [touch, executed]}}\n  - {{id: b, {body}}}\n"
    code, err = called(text=text)
    assert code == 2
    assert err.startswith("p.yaml:4:")
    assert said in err


@pytest.mark.parametrize("file", ["q.yaml", "p.yaml:inputs", ".", "p.yml"])
def test_a_file_that_is_not_there(called, file):
    """Exit code 2, and the nearest file that is there."""
    code, err = called(file=file)
    assert (code, err.count("\n")) == (2, 1)
