"""Files are loaded and checked, and nothing happens meanwhile."""

import os
import sys
import tracemalloc

import pytest

from graceline import DefinitionError, GracelineError, open_engine
from graceline.dialects.tools import Tools
from graceline.dialects.yaml import FileError, PipelineFile, check, load, loads, outline

GOOD = "id: p\nsteps: [{id: a, command: [touch, made]}]\n"


def test_a_file_is_loaded(tmp_path):
    """What is built stands ready: its name, its pipeline, its inputs."""
    path = tmp_path / "f.yaml"
    path.write_text(
        "name: p\ninputs: {n: {type: integer, default: 3}}\nsteps: [{id: a, command: [x]}]"
    )
    file = load(path)
    assert isinstance(file, PipelineFile)
    assert (file.name, file.is_suite, file.file) == ("p", False, str(path))
    assert file.pipeline() is file.pipeline()
    assert file.inputs({"n": "4"}) == {"n": 4}
    assert file.inputs() == {"n": 3}
    with pytest.raises(FileError, match="there is no input 'm'"):
        file.inputs({"m": 1})


def test_loading_runs_and_writes_nothing(tmp_path, monkeypatch):
    """No program is started, no module imported, no file made."""
    monkeypatch.chdir(tmp_path)
    loads(GOOD)  # what loading itself needs
    before = set(sys.modules)
    text = "id: p\nsteps: [{id: a, command: [touch, made], cleanup: {command: 'touch made'}}]"
    assert loads(text).pipeline().name == "p"
    assert list(tmp_path.iterdir()) == []
    assert set(sys.modules) == before


def test_what_is_wrong_is_told_by_load_and_check(tmp_path):
    """`load` raises it as one error, `check` gives it as a list, with warnings for what is fine."""
    path = tmp_path / "f.yaml"
    path.write_text("id: p\nsteps: [{id: a, command: 3, parameters: {x: '{{ nothing }}'}}]")
    with pytest.raises(DefinitionError) as caught:
        load(path)
    assert caught.value.problems == tuple(check(path))
    assert [problem.severity for problem in check(path)] == ["error", "error"]
    path.write_text("id: p\nsteps: [{id: a, command: x}]")
    assert [problem.severity for problem in check(path)] == ["warning"]
    path.write_text(GOOD)
    assert check(path) == []
    assert "cannot be read" in str(check(tmp_path / "none.yaml")[0])


def test_form_and_references_are_told_together(problems):
    """A mistake in one step does not hide an unknown name in another, nor a cycle."""
    found = problems(
        """
        id: p
        steps:
          - {id: a, tool: note, timeout: "30"}
          - {id: b, tool: note, parameters: {x: "{{ c.result }}"}}
          - {id: d, tool: note, dependencies: e}
          - {id: e, tool: note, dependencies: d}
        """
    )
    assert len(found) == 3


def test_steps_and_phases_are_different_things(read):
    """A file with phases is a suite, and no pipeline; and the other way round."""
    suite = read("id: p\nphases: [{name: a, commands: [{command: [x]}]}]")
    assert suite.is_suite
    with pytest.raises(GracelineError, match=r"f.yaml holds phases; run it with `graceline bench`"):
        suite.pipeline()
    with pytest.raises(GracelineError, match=r"f.yaml holds steps; run it as a pipeline"):
        read("id: p\nsteps: [{id: a, tool: note}]").suite()


BAD = {
    "unknown key": "id: p\nstep: 3",
    "python object": "id: !!python/object/apply:os.system ['touch made']\nsteps: []",
    "dunder": "id: p\nsteps: [{id: a, tool: t, condition: \"{{ ''.__class__ }}\"}]",
    "bomb": "a: &a [x]\n" + "\n".join(f"{c}: &{c} [{', '.join([f'*{p}'] * 9)}]"
                                     for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
    "deep": "[" * 100_000,
    "large": "#" * (3 << 20),
    "binary": bytes(range(256)),
    "names": "id: p\nsteps:\n" + "".join(f"  - {{id: a{n}, tool: t, dependencies: b}}\n"
                                         for n in range(1000)),
    "cycle": "id: p\nsteps:\n" + "".join(
        f"  - {{id: a{n}, command: [x], dependencies: a{(n + 1) % 1000}}}\n" for n in range(1000)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files_cost_little(name, tmp_path, monkeypatch):
    """Each is refused in bounded memory, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    tracemalloc.start()
    with pytest.raises(FileError):
        loads(BAD[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000
    assert list(tmp_path.iterdir()) == []


async def test_a_huge_list_in_a_template_fails_its_step(autojump_clock, run):
    """A template cannot exhaust the process: its step fails, and nothing is done."""
    result = await run(
        "id: p\ninputs: {n: {}}\nsteps: [{id: a, tool: note, for_each: '{{ range(n) | list }}'}]",
        {"n": 10**9},
    )
    assert result.node("a").status == "failed"


@pytest.mark.parametrize(
    "template",
    ["{{ range(10**9) }}", "{{ n }} {% for i in range(2, 10**9) %}x{% endfor %}", "{{ 1 // 0 }}"],
)
def test_what_always_fails_is_told_at_once(problems, template):
    """What a template makes of nothing but constants is tried when the file is read."""
    text = f"id: p\ninputs: {{n: {{}}}}\nsteps:\n  - {{id: a, tool: plain, parameters: {{x: '{template}'}}}}"
    (problem,) = problems(text)
    assert problem.startswith("f.yaml:4:42: step 'a', parameters: template")


def test_what_is_tried_is_bounded(read):
    """Many templates that are each allowed do not add up: those that are left are tried in the run."""
    one = "{{{{ range({}) | sum }}}}"
    steps = "".join(
        f"  - {{id: a{n}, tool: plain, parameters: {{x: '{one.format(90_000 + n)}'}}}}\n"
        for n in range(50)
    )
    broken = "  - {id: b, tool: plain, parameters: {x: '{{ 1 // 0 }}'}}\n"
    assert read(f"id: p\nsteps:\n{steps}{broken}").name == "p"


WITH_TOOLS = """
id: p
inputs: {topic: {default: Big Trees}}
steps:
  - id: write
    tool: filesystem
    action: write
    parameters: {path: "notes/{{ topic | slugify }}.md", content: "# {{ topic }}"}
  - id: read
    tool: terminal
    parameters: {command: [cat, "notes/{{ topic | slugify }}.md"]}
    dependencies: write
  - id: outside
    tool: filesystem
    action: read
    parameters: {path: ../secret}
    on_error: continue
  - {id: call, tool: python, parameters: {function: double, arguments: {x: 3}}}
outputs: {read: "{{ read.result.stdout }}", outside: "{{ outside.error }}", call: "{{ call.result }}"}
"""


async def test_with_the_tools_that_there_are(tmp_path):
    """A file uses what is built in and what the program has registered, below its root."""
    tools = Tools.default(root=tmp_path)
    tools.add("double", lambda x: 2 * x)
    file = loads(WITH_TOOLS, tools=tools, root=tmp_path)
    async with open_engine() as engine:
        result = await engine.run(file.pipeline())
    assert (result.status, result.degraded) == ("ok", ("outside",))
    assert (result.value["read"], result.value["call"]) == ("# Big Trees", 6)
    assert "'..'" in result.value["outside"]
    assert (tmp_path / "notes" / "big-trees.md").exists()


async def test_functions_of_an_engine_are_tools(autojump_clock):
    """A mapping of names to functions comes on top of what every program has."""
    text = """
id: p
steps:
  - {id: own, tool: double, parameters: {x: 3}}
  - {id: by_action, action: double, parameters: {x: 5}}
  - {id: named, tool: python, parameters: {function: double, arguments: {x: 4}}}
  - {id: built_in, tool: filesystem, action: exists, parameters: {path: nowhere}}
outputs: {all: "{{ [own.result, by_action.result, named.result, built_in.result.exists] }}"}
"""
    async with open_engine() as engine:

        @engine.tool("double")
        async def double(x):
            return 2 * x

        file = loads(text, tools=engine.tools)
        engine.tool("later")(double)
        assert (await engine.run(file.pipeline())).value == {"all": [6, 10, 8, False]}
    with pytest.raises(FileError, match="there is no tool 'doubel'; did you mean 'double'"):
        loads("id: p\nsteps: [{id: a, tool: doubel}]", tools={"double": double})


@pytest.mark.parametrize(
    ("tools", "error"),
    [
        ([len], r"tools= takes a Tools, or functions by their names such as engine.tools, not \["),
        ({"x": 3}, "tool 'x': 3 is not a function"),
        ({3: len}, "its name must be a non-empty string, not 3"),
    ],
    ids=["list", "value", "name"],
)
def test_what_are_no_tools_is_refused(tools, error):
    """It is the program's mistake, and not the file's."""
    with pytest.raises(DefinitionError, match=error) as caught:
        loads(GOOD, tools=tools)
    assert not isinstance(caught.value, FileError)


def _special(tmp_path, name):
    """What may stand at a path instead of a file."""
    path = tmp_path / "f.yaml"
    if name == "directory":
        path.mkdir()
    elif name == "pipe":
        os.mkfifo(path)
    elif name == "links":
        path.symlink_to(tmp_path / "g.yaml")
        (tmp_path / "g.yaml").symlink_to(path)
    elif name == "dangling":
        path.symlink_to(tmp_path / "nothing")
    elif name == "large":
        with path.open("wb") as file:
            file.truncate(100 << 20)
    elif name == "endless":
        return "/dev/zero"
    return path


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("directory", "f.yaml: cannot be read: Is a directory"),
        ("missing", "f.yaml: cannot be read: No such file or directory"),
        ("dangling", "f.yaml: cannot be read: No such file or directory"),
        ("links", "f.yaml: cannot be read: Too many levels of symbolic links"),
        ("pipe", "f.yaml: is no regular file"),
        ("endless", "/dev/zero: is no regular file"),
        ("large", "f.yaml: is larger than 1 MiB, which no pipeline is"),
    ],
)
def test_what_is_no_file_is_told_in_one_line(tmp_path, name, error):
    """Nothing waits for a writer, follows links for ever, or reads without end."""
    with pytest.raises(FileError) as caught:
        load(_special(tmp_path, name))
    assert str(caught.value).removeprefix(f"{tmp_path}/") == error


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "is empty; a pipeline has at least a name and steps"),
        (b"# one\n\n# two\n", "is empty; a pipeline has at least a name and steps"),
        (b"id: p\nsteps:\n\t- id: a\n", ":3:1: a tab; indent with spaces"),
        (GOOD.encode("utf-16"), ":1:1: is UTF-16; save it as UTF-8"),
        ("id: p # \u00e9".encode("latin-1"), ":1:9: is not UTF-8: byte 0xe9; save it as UTF-8"),
        (b"\xef\xbb\xbf" + GOOD.encode(), None),
        (GOOD.replace("\n", "\r\n").encode(), None),
        (GOOD.replace("\n", "\r").encode(), None),
    ],
    ids=["empty", "comments", "tab", "utf-16", "latin-1", "bom", "crlf", "cr"],
)
def test_what_editors_write(tmp_path, data, error):
    """A byte order mark and any line ends are fine; what cannot be meant says what to do."""
    path = tmp_path / "f.yaml"
    path.write_bytes(data)
    found = check(path)
    assert [str(problem).removeprefix(str(path)).removeprefix(": ") for problem in found] == (
        [] if error is None else [error]
    )


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: load(None), r"load\(\): None is no path"),
        (lambda: load(3), r"load\(\): 3 is no path"),
        (lambda: outline(5), r"outline\(\): 5 is no path"),
        (lambda: load(b"f.yaml"), r"load\(\): b'f.yaml' is no path"),
        (lambda: loads(None), r"loads\(\): None is no text"),
        (lambda: loads(bytearray(b"id: p")), r"loads\(\): bytearray\(b'id: p'\) is no text"),
        (lambda: loads(GOOD, root=3), "root= takes the path of a directory, not 3"),
        (lambda: loads(GOOD, root=b"x"), "root= takes the path of a directory, not b'x'"),
        (lambda: loads(GOOD, tools="find"), "tools= takes a Tools, or functions"),
    ],
)
def test_arguments_of_another_type_are_refused(call, error):
    """They are the program's mistake, and say so."""
    with pytest.raises(DefinitionError, match=error) as caught:
        call()
    assert not isinstance(caught.value, FileError)


def test_a_name_of_a_file_makes_no_line_of_its_own():
    """Newlines and escapes of a terminal in it are escaped, and so is what UTF-8 cannot write."""
    with pytest.raises(FileError) as caught:
        loads("id: p", file="a\nb\x1b[2J\udcff.yaml")
    assert str(caught.value).startswith(r"a\nb\x1b[2J\udcff.yaml:1:1: ")


def test_inputs_without_end_are_told_in_time(read):
    """Neither a very long name nor very many make a message, or a wait, without end."""
    file = read("id: p\ninputs: {topic: {}}\nsteps: [{id: a, tool: note}]")
    for given in ({"x" * 1_000_000: 1}, dict.fromkeys(map(str, range(100_000)))):
        with pytest.raises(FileError) as caught:
            file.inputs(given)
        assert len(caught.value.problems) <= 101
        assert max(len(str(problem)) for problem in caught.value.problems) < 200
