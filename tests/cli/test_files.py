import builtins
import json
import os
import sys
from pathlib import Path

import pytest

from graceline import PipelineResult, Status
from graceline.cli.failures import UsageError
from graceline.cli.files import load_job, load_tools, read_inputs

RESEARCH = """
id: research
config: {timeout: 10s}
inputs:
  topic: {type: string, required: true}
  depth: {type: integer, default: 3}
steps:
  - {id: search, tool: search, parameters: {query: "{{ topic }}", results: "{{ depth }}"}}
outputs: {found: "{{ search.result }}", topic: "{{ topic }}"}
"""
TOOLS = """
from graceline.dialects.tools import Tools
tools = Tools()

@tools.tool("search")
async def search(query, results):
    print("searching")
    return [query] * results
"""
ECHO = """
id: echo
inputs: {word: {default: hello}}
steps:
  - {id: say, command: [echo, "{{ word }}"]}
outputs: {said: "{{ say.result.stdout }}"}
"""
TYPES = """
id: types
inputs:
  text: {type: string, default: x}
  whole: {type: integer, default: 1}
  number: {type: number, default: 1}
  flag: {type: boolean, default: false}
  listed: {type: array, default: []}
  named: {type: object, default: {}}
  free: {default: x}
steps: [{id: nothing, command: ["true"]}]
"""


@pytest.fixture
def research(put):
    """A file whose step needs a tool, and the tool."""
    put("tools.py", TOOLS)
    return put("research.yaml", RESEARCH)


def test_a_file_runs(research, call):
    """A file with a tool of a module runs as a pipeline in Python does: waterfall, value, 0."""
    code, out, err = call("run", research, "--tools", "tools.py", "-i", "topic=trees")
    assert (code, err) == (0, "")
    assert "research  ok after" in out
    assert "limit 10s (pipeline)" in out
    assert "{'found': ['trees', 'trees', 'trees'], 'topic': 'trees'}" in out


@pytest.mark.parametrize("name", ["echo.yaml", "echo.yml", "ECHO.YAML"])
def test_suffixes(put, call, name):
    """Both suffixes of YAML name a file, in any case."""
    code, out, _ = call("run", put(name, ECHO), "--json")
    assert (code, json.loads(out)["value"]) == (0, {"said": "hello\n"})


def test_json_and_prints(research, call):
    """With --json what a tool prints goes to standard error."""
    argv = ("run", research, "--tools", "tools.py", "-i", "topic=trees", "--json")
    code, out, err = call(*argv)
    result = PipelineResult.from_dict(json.loads(out))
    assert (code, result.status, err) == (0, Status.OK, "searching\n")
    assert result.value == {"found": ["trees"] * 3, "topic": "trees"}


def test_every_mistake_of_a_file(put, call):
    """All that is wrong with a file is said, a line each with its place, and nothing is run."""
    target = put("wrong.yaml", 'id: a\nsteps:\n  - {id: b, comand: [x], timeout: "30"}\n')
    code, out, err = call("run", target, "--output", "out.json")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("wrong.yaml:3:13: step 'b', comand: there is no such key; did you")
    assert lines[1].startswith("wrong.yaml:3:35: step 'b', timeout: '30' has no unit")
    assert not Path("out.json").exists()
    assert "Traceback" in call("run", target, "--debug")[2]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-i", "topc=1"], "research.yaml: there is no input 'topc'; did you mean 'topic'?"),
        ([], "research.yaml: input 'topic' is missing, a value of type string"),
        (["-i", "topic=a", "-i", "depth=two"], "'depth': must be of type integer, not 'two'"),
        (["-i", "topic=a", "-i", "depth=1.5"], "'depth': must be of type integer, not 1.5"),
        (["--inputs", "no.yaml"], "no.yaml: cannot be read: No such file"),
        (["--inputs", "list.yaml"], "list.yaml:1:1: inputs are a mapping by name"),
        (["--inputs", "twice.yaml"], "twice.yaml:2:1: 'topic' is given twice, first in line 1"),
        (
            ["--inputs", "tag.yaml"],
            "tag.yaml:1:8: the tag 'tag:yaml.org,2002:python/object:os.system' is",
        ),
        (["--inputs", "number.yaml"], "'topic': must be of type string, not 5"),
        (["--inputs", "list.json"], "list.json: inputs are a mapping by name"),
        (["--inputs", "twice.json"], "twice.json: 'topic' is given twice"),
        (["--inputs", "broken.json"], "broken.json:2:1: is no JSON: Expecting property name"),
        (["--inputs", "nan.json"], "nan.json: NaN is no JSON"),
        (["--inputs", "deep.json"], "deep.json: is nested more than 64 levels deep"),
        (["--inputs", "latin.json"], "latin.json: is not UTF-8"),
        (["--inputs", "huge.json"], "huge.json: is larger than 1 MiB"),
        (["--inputs", "digits.json"], "digits.json: Exceeds the limit"),
    ],
)
def test_wrong_inputs(research, call, put, argv, message):
    """Inputs that are wrong are said before anything is run or written: exit code 2."""
    put("list.yaml", "[topic]")
    put("twice.yaml", "topic: a\ntopic: b\n")
    put("tag.yaml", "topic: !!python/object:os.system ls\n")
    put("number.yaml", "topic: 5")
    put("list.json", "[1]")
    put("twice.json", '{"topic": "a", "topic": "b"}')
    put("broken.json", '{"topic": "a",\n}')
    put("nan.json", '{"topic": NaN}')
    put("deep.json", "[" * 100_000)
    put("digits.json", '{"topic": ' + "1" * 5000 + "}")
    put("huge.json", "{" + " " * (1 << 20) + "}")
    Path("latin.json").write_bytes(b'{"topic": "\xfc"}')
    code, out, err = call("run", research, "--tools", "tools.py", "--output", "out.json", *argv)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not Path("out.json").exists()


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("text=5", "5"),
        ("text=true", "true"),
        ('text="quoted"', '"quoted"'),
        ("text=", ""),
        ("whole=5", 5),
        ("whole=0x10", 16),
        ("number=1.5", 1.5),
        ("number=2", 2),
        ("flag=true", True),
        ("listed=[1, 2]", [1, 2]),
        ('named={"a": 1}', {"a": 1}),
        ("free=5", 5),
        ("free=five", "five"),
        ("free=[1]", [1]),
    ],
)
def test_types_of_words(put, pair, value):
    """What the file declares as a text is one, whatever it looks like; all else is JSON or text."""
    key, _, text = pair.partition("=")
    job = load_job(put("types.yaml", TYPES), {key: text})
    assert (job.value[key], type(job.value[key])) == (value, type(value))


@pytest.mark.parametrize("text", ["[1,", "NaN", "9" * 5000])
@pytest.mark.parametrize("key", ["whole", "number", "flag", "listed", "named"])
def test_words_that_fit_no_type(put, key, text):
    """A word that is nothing of the declared type is refused, however it is made."""
    with pytest.raises(UsageError, match=f"input '{key}': must be of type"):
        load_job(put("types.yaml", TYPES), {key: text})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "is nested more than 64 levels deep"),
        ('{"b": 1, "b": 2}', "'b' is given twice"),
    ],
)
@pytest.mark.parametrize("key", ["whole", "number", "flag", "listed", "named", "free"])
def test_words_of_json_that_is_refused(put, key, text, message):
    """JSON whose meaning is not sure is refused in the words that a file with inputs gets."""
    with pytest.raises(UsageError, match=f"-i {key}: {message}"):
        load_job(put("types.yaml", TYPES), {key: text})
    put("in.json", f'{{"{key}": {text}}}')
    with pytest.raises(UsageError, match=f"in.json: {message}"):
        load_job(put("types.yaml", TYPES), {}, Path("in.json"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("in.yaml", "topic: trees 🌲\ndepth: 2\n"),
        ("in.json", json.dumps({"topic": "trees 🌲", "depth": 2}, indent="\t")),
    ],
)
def test_inputs_of_a_file(research, put, name, text):
    """Inputs come from a file in YAML or JSON, and words of the command line win over it."""
    inputs = Path(put(name, text))
    assert load_job(research, {}, inputs, ["tools.py"]).value == {"topic": "trees 🌲", "depth": 2}
    job = load_job(research, {"depth": "7"}, inputs, ["tools.py"])
    assert job.value == {"topic": "trees 🌲", "depth": 7}


def test_inputs_of_a_file_for_python(write, put, call):
    """A pipeline in Python gets its input from a file too."""
    target = write("""
    async def work(given): return given
    p = Pipeline("p", [work])
    """)
    put("in.yaml", "limit: 200\nnames: [a]\n")
    argv = ("run", target, "--inputs", "in.yaml", "-i", "limit=5", "-i", "more=x", "--json")
    code, out, _ = call(*argv)
    assert (code, json.loads(out)["value"]) == (0, {"limit": 5, "names": ["a"], "more": "x"})


def test_bombs_of_inputs(put):
    """Aliases that grow without end are refused in inputs as they are in a file."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(UsageError, match="aliases count as often as used"):
        read_inputs(Path(put("bomb.yaml", "\n".join(lines))))


def test_inputs_that_are_no_file(write, tmp_path):
    """A pipe nobody writes to is refused, and not waited for."""
    write("")
    os.mkfifo(tmp_path / "in.yaml")
    with pytest.raises(UsageError, match="is no regular file"):
        read_inputs(tmp_path / "in.yaml")


OTHER = TOOLS.replace('"search"', '"other"').replace("tools =", "more = tools =")


def test_tools_of_several_modules(put):
    """Several modules and the built-in tools are there together; two names for one object do."""
    put("one.py", TOOLS)
    put("two.py", OTHER)
    tools = load_tools(["one.py", "two:tools"])
    assert {"search", "other", "filesystem", "terminal", "python"} <= set(tools)
    assert load_tools([]) is None


def test_the_root_of_a_module(put, tmp_path):
    """A module that says where the built-in tools may work is heeded."""
    put("tools.py", "from graceline.dialects.tools import Tools\nt = Tools.default(root='work')\n")
    (tmp_path / "work").mkdir()
    target = put("a.yaml", """
    id: a
    steps:
      - {id: put, tool: filesystem, action: write, parameters: {path: x.txt, content: hello}}
    """)  # fmt: skip
    from graceline.cli import main

    assert main(["run", target, "--tools", "tools.py"]) == 0
    assert (tmp_path / "work" / "x.txt").read_text() == "hello"


def test_a_second_module_does_not_open_the_root(put, tmp_path, call):
    """`filesystem` stays where one module confines it, whatever the other says nothing of."""
    first = "from graceline.dialects.tools import Tools\nt = Tools.default(root='jail')\n"
    put("jail.py", first)
    put("more.py", first.replace("root='jail'", ""))
    put("cell.py", first.replace("jail", "cell"))
    put("secret.txt", "x")
    (tmp_path / "jail").mkdir()
    target = put("a.yaml", """
    id: a
    steps: [{id: get, tool: filesystem, action: read, parameters: {path: secret.txt}}]
    """)  # fmt: skip
    for order in (["jail.py", "more.py"], ["more.py", "jail.py"]):
        code, out, _ = call("run", target, *(word for name in order for word in ("--tools", name)))
        assert code == 1
        assert "'secret.txt': No such file" in out
    code, _, err = call("run", target, "--tools", "jail.py", "--tools", "cell.py")
    assert (code, "--tools cell.py: the built-in tools have one root=" in err) == (2, True)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--tools", "no.py"], "--tools no.py: there is no file 'no.py'"),
        (["--tools", "json"], "--tools json: there is no Tools in json: define one"),
        (["--tools", "tools.py:tols"], "there is no Tools object 'tols' in tools.py; did you mean"),
        (["--tools", "tools.py", "--tools", "tools.py"], "tool 'search' is registered already"),
        (["--tools", "two.py"], "there are several Tools objects in two.py; add one of them"),
        (["--tools", "bad.py"], "bad.py:1: ZeroDivisionError"),
        (["--tools", "research.yaml"], "research.yaml"),
    ],
)
def test_wrong_tools(research, put, call, argv, message):
    """A module without tools, with several, or that cannot be imported is said; exit code 2."""
    put("two.py", "from graceline.dialects.tools import Tools\na, b = Tools(), Tools()\n")
    put("bad.py", "1 / 0\n")
    code, out, err = call("run", research, "-i", "topic=x", *argv)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_tools_are_for_files(write, call):
    """A pipeline in Python takes no --tools, and the message says why."""
    code, _, err = call("run", write("p = 1"), "--tools", "tools.py")
    assert (code, "--tools is for pipelines in files" in err) == (2, True)


def test_a_missing_tool(research, call):
    """Without its tool a file is wrong, at the place where it names it."""
    code, _, err = call("run", research, "-i", "topic=x")
    assert (code, "research.yaml:8:24: there is no tool 'search'" in err) == (2, True)
    assert err.endswith("\ngraceline: tools of a program are given by --tools FILE.py\n")


def test_a_file_that_is_not_there(research, call):
    """A name without a file is an error that names the nearest file of the dialect."""
    code, _, err = call("run", "reserch.yaml")
    expected = "graceline: there is no file 'reserch.yaml'; did you mean 'research.yaml'?\n"
    assert (code, err) == (2, expected)
    assert "there is no file 'none/x.yml'\n" in call("run", "none/x.yml")[2]


def test_a_name_in_a_file(research, call):
    """A file holds one pipeline, so a name after it is a mistake."""
    code, _, err = call("run", f"{research}:search")
    assert (code, "a file holds one pipeline; write research.yaml" in err) == (2, True)


def test_a_suite_is_for_bench(put, call):
    """A file with phases is no pipeline: the message says the command that runs it."""
    target = put("s.yaml", "id: s\nphases: [{name: a, commands: [{command: [x]}]}]\n")
    code, _, err = call("run", target)
    assert (code, "run it by: graceline bench s.yaml --out DIR" in err) == (2, True)


@pytest.mark.usefixtures("without_dialects")
@pytest.mark.parametrize("missing", ["yaml", "jinja2"])
def test_without_the_extra(research, call, monkeypatch, missing):
    """Without the extra one line says what to install, and Python targets need none."""
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    code, out, err = call("run", research)
    assert (code, out) == (2, "")
    assert err == f"graceline: {missing} is not installed; run: pip install 'graceline[yaml]'\n"


def test_python_does_not_pay_for_files(write):
    """`graceline run x.py` imports neither YAML nor Jinja2."""
    import subprocess

    target = write("async def work(_): ...\np = Pipeline('p', [work])")
    code = (
        "import sys; from graceline.cli import main; "
        f"assert main(['run', {target!r}, '--json']) == 0; "
        "print([n for n in ('yaml', 'jinja2', 'graceline.dialects.yaml') if n in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    assert done.stdout.endswith("[]\n")


FAILS = """
id: fails
steps:
  - {id: works, command: [echo, hello]}
  - {id: broken, command: [sh, -c, "exit 3"], dependencies: [works]}
"""


def test_degraded(put, call):
    """`on_error: continue` names the step, and is exit code 1, as is said, unless that is allowed."""
    hint = "hint      exit code 1, since parts are degraded; --allow-degraded allows it\n"
    target = put("a.yaml", FAILS.replace("dep", "on_error: continue, dep"))
    code, out, _ = call("run", target)
    assert (code, "degraded  broken: failed" in out, hint in out) == (1, True, True)
    code, out, _ = call("run", target, "--allow-degraded")
    assert (code, "exit code" in out) == (0, False)


def test_hints_of_files(put, call):
    """What a program or a tool says needs no traceback, and inputs are never None."""
    code, out, _ = call("run", put("a.yaml", FAILS))
    assert (code, "hint" in out) == (1, False)
    assert "CommandFailedError: command 'sh' exited with code 3" in out
    put("tools.py", TOOLS.replace('print("searching")', "1 / 0"))
    target = put("research.yaml", RESEARCH)
    code, out, _ = call("run", target, "-i", "topic=x", "--tools", "tools.py")
    assert (code, "hint      --debug shows the traceback" in out) == (1, True)


def test_timeout_of_the_call(put, virtual, call):
    """--timeout limits the run of a file, and the document says so."""
    put("tools.py", TOOLS.replace('print("searching")', "import trio; await trio.sleep(60)"))
    target = put("research.yaml", RESEARCH)
    argv = ("run", target, "-i", "topic=x", "--tools", "tools.py", "--timeout", "2s", "--json")
    code, out, _ = call(*argv)
    document = json.loads(out)
    assert (code, document["status"], document["limit"]) == (1, "timed_out", 2.0)


def test_output(put, call, tmp_path):
    """--output writes the document of --json, of a failed run too, and leaves nothing else."""
    target = put("a.yaml", FAILS)
    code, out, _ = call("run", target, "--output", "out.json", "--json")
    assert (code, Path("out.json").read_text()) == (1, out)
    assert json.loads(out)["status"] == "failed"
    code, out, _ = call("run", target, "--output", "out.json")
    assert (code, "failed" in out) == (1, True)
    assert sorted(path.name for path in tmp_path.glob("*o*")) == ["out.json"]


def test_output_replaces_what_a_link_names(put, call, tmp_path):
    """A link stays one, and the file behind it keeps its mode."""
    real = tmp_path / "real.json"
    real.write_text("old")
    real.chmod(0o640)
    (tmp_path / "link.json").symlink_to(real)
    assert call("run", put("a.yaml", ECHO), "--output", "link.json")[0] == 0
    assert (tmp_path / "link.json").is_symlink()
    assert (json.loads(real.read_text())["status"], real.stat().st_mode & 0o777) == ("ok", 0o640)


def test_output_to_a_pipe(put, call, tmp_path):
    """What is no regular file is written to, and not replaced."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert call("run", put("a.yaml", ECHO), "--output", "pipe")[0] == 0
        assert pipe.is_fifo()
        assert json.loads(os.read(reader, 1 << 16))["status"] == "ok"
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--output", "."], "--output .: this is a directory; name a file"),
        (["--output", "no/out.json"], "--output no/out.json: there is no directory no"),
        (["--output", "a", "--html", "./a"], "--html a: --output names the same file"),
    ],
)
def test_output_that_has_no_place(put, call, argv, message):
    """What cannot be written is said before anything is run."""
    target = put("a.yaml", ECHO.replace("[echo,", "[touch,"))
    code, out, err = call("run", target, *argv)
    assert (code, out) == (2, "")
    assert message in err
    assert not Path("hello").exists()


def test_output_where_nobody_may_write(put, call, tmp_path, monkeypatch):
    """A directory that is not ours to write to is said before anything is run."""
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)  # to root all are open
    target = put("a.yaml", ECHO.replace("[echo,", "[touch,"))
    code, _, err = call("run", target, "--output", "out.json")
    assert (code, f"--output out.json: {tmp_path} cannot be written to" in err) == (2, True)
    assert not Path("hello").exists()


def test_output_that_cannot_be_written(put, call, monkeypatch):
    """A disk that is full after the run is said, after the run has been shown."""

    def full(*_args, **_options):
        raise OSError("the disk is full")

    target = put("a.yaml", ECHO)
    monkeypatch.setattr(os, "fsync", full)
    code, out, err = call("run", target, "--output", "out.json")
    assert (code, "echo  ok after" in out) == (2, True)
    assert err == "graceline: the result could not be written: the disk is full\n"
    assert [path for path in Path().iterdir() if "out.json" in path.name] == []


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_output_of_an_interrupted_run(put, call, name, code):
    """A run that a signal cancels leaves its document too, with what was finished before."""
    put("tools.py", f"""
    import os, signal, trio
    from graceline.dialects.tools import Tools
    tools = Tools()

    @tools.tool("hang")
    async def hang():
        os.kill(os.getpid(), signal.{name})
        await trio.sleep_forever()
    """)  # fmt: skip
    target = put("a.yaml", """
    id: a
    steps:
      - {id: first, command: [echo, hello]}
      - {id: second, tool: hang, dependencies: [first]}
    """)  # fmt: skip
    argv = ("run", target, "--tools", "tools.py", "--output", "out.json")
    assert call(*argv)[0] == code
    document = json.loads(Path("out.json").read_text())
    assert (document["status"], document["completed"]) == ("cancelled", ["first"])
