"""`graceline run --journal` and `graceline resume`, as somebody calls them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graceline.bench.journal import Journal, read_lines

TOOLS = """
import trio
from graceline.dialects.tools import Tools
tools = Tools()

@tools.tool("nap")
async def nap(name, seconds):
    with open("ledger", "a") as file:
        print(name, file=file)
    await trio.sleep(seconds)

@tools.tool("odd")
async def odd():
    print("odd is called")
    return {1, 2}
"""
FLOW = """
id: flow
config: {timeout: 20}
inputs: {word: {type: string, default: hello}}
steps:
  - {id: a, command: [sh, -c, "echo a >> ledger; echo {{ word }}"]}
  - {id: b, for_each: [1, 2, 3], max_parallel: 1, command: [sh, -c, "echo b{{ item }} >> ledger; test {{ item }} != 3 -o -e ok"], dependencies: a}
  - {id: c, command: [sh, -c, "echo c >> ledger; echo {{ a.result.stdout | trim }} {{ b.result | length }}"]}
outputs: {said: "{{ c.result.stdout }}"}
"""


@pytest.fixture
def flow(put):
    return put("flow.yaml", FLOW)


def ledger():
    return Path("ledger").read_text().split()


def test_a_failed_run_goes_on(flow, call):
    """What failed is done again and what was finished is not; the command says so, before and after."""
    code, out, err = call("run", flow, "--journal", "out", "-i", "word=hi")
    assert (code, err) == (1, "")
    assert "hint      to go on from here: graceline resume out\n" in out
    Path("ok").touch()
    code, out, err = call("resume", "out")
    assert (code, err) == (0, "")
    assert "hint      kept, and not done again: a\n" in out
    assert "hint      kept, and not done again: 2 items of b\n" in out
    assert "{'said': 'hi 3\\n'}" in out
    assert ledger() == ["a", "b1", "b2", "b3", "b3", "c"]
    assert "to go on" not in out


def test_a_run_that_has_ended(flow, call):
    """Nothing is run: what `run` printed is printed again, with exit code 0."""
    Path("ok").touch()
    code, document, _ = call("run", flow, "--journal", "out", "--json")
    Path(flow).unlink()
    lines = list(read_lines(Path("out")))
    assert call("resume", "out", "--json", "--output", "again.json", "--html", "again.html") == (
        0,
        document,
        "",
    )
    assert Path("again.json").read_text() == document
    assert "flow" in Path("again.html").read_text()
    code, out, _ = call("resume", "out")
    assert code == 0
    assert "nothing was run; it is as it was: out" in out
    assert "{'said': 'hello 3\\n'}" in out
    assert list(read_lines(Path("out"))) == lines


def test_again(flow, call):
    """A finished step is done again when one says so, with what depends on it."""
    Path("ok").touch()
    call("run", flow, "--journal", "out")
    code, out, _ = call("resume", "out", "--again", "c")
    assert code == 0
    assert "hint      done again: c\n" in out
    assert ledger() == ["a", "b1", "b2", "b3", "c", "c"]
    code, _, err = call("resume", "out", "--again", "d")
    assert (code, err) == (
        2,
        "graceline: --again d: there is no step 'd'; valid are: 'a', 'b', 'c'\n",
    )


def test_a_changed_file(flow, call):
    """What is done may not change without --force; limits may, and the command says which."""
    call("run", flow, "--journal", "out")
    Path("ok").touch()
    Path(flow).write_text(
        FLOW.replace("timeout: 20", "timeout: 30").replace("echo {{ word", "echo my {{ word")
    )
    code, out, err = call("resume", "out")
    place = Path(flow).absolute()
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"{place} is not what it was when the run began:",
        f"{place}:6:22: step 'a', command",
        "--force goes on with the file as it is: it does 'a' again and keeps nothing",
    ]
    code, out, err = call("resume", "out", "--force")
    assert (code, err) == (0, "")
    assert "hint      the file has changed: config, timeout; step 'a', command\n" in out
    assert "{'said': 'my hello 3\\n'}" in out
    assert ledger() == ["a", "b1", "b2", "b3", "a", "b1", "b2", "b3", "c"]


def test_a_value_that_cannot_be_kept(put, call):
    """The command says so at once, and `resume` asks for a word before it does the step again."""
    put("tools.py", TOOLS)
    flow = put(
        "odd.yaml",
        "id: p\nsteps: [{id: a, tool: odd}, {id: b, command: [test, -e, ok], dependencies: a}]",
    )
    code, out, _ = call("run", flow, "--tools", "tools.py", "--journal", "out")
    assert code == 1
    assert (
        "hint      the value of a could not be kept: it is of type set; it can be done again only: "
        "graceline resume out --again a\n"
    ) in out
    Path("ok").touch()
    code, out, err = call("resume", "out")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "graceline: step 'a' is finished, but its value could not be kept: it is of type set",
        "graceline: to do that a second time, say so: --again a",
    ]
    assert call("resume", "out", "--again", "a")[0] == 0


def test_from_another_directory(put, call, tmp_path, monkeypatch):
    """Tools, programs and the file are found where the run found them; results go where one is."""
    put("tools.py", TOOLS)
    flow = put(
        "p.yaml",
        "id: p\nsteps:\n  - {id: b, command: [test, -e, ok]}\n  - {id: a, tool: odd, dependencies: b}\n",
    )
    assert call("run", flow, "--tools", "tools.py:tools", "--journal", "out")[0] == 1
    Path("ok").touch()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    code, out, err = call("resume", "../out", "--json", "--output", "result.json")
    assert (code, err) == (0, "odd is called\n")
    assert Path("result.json").read_text() == out
    assert Path.cwd() == tmp_path / "there"
    (begun, *_) = read_lines(tmp_path / "out")
    assert begun["tools"] == [f"{tmp_path}/tools.py:tools"]


def test_mistakes(flow, write, call):
    """Each has one message, exit code 2, and nothing is run."""
    write("p = Pipeline('p', [Node(print, name='n')])")
    mistakes = {
        ("run", "jobs.py", "--journal", "out"): "--journal is for pipelines in files",
        ("run", flow, "--force"): "--force replaces the journal in --journal DIR",
        ("run", flow, "--journal", flow): "it is no directory",
        (
            "resume",
            "out",
        ): "out holds no journal; `graceline run FILE.yaml --journal out` writes one",
        ("resume", flow): "holds no journal",
        ("resume",): "DIR",
        ("resume", "out", "more"): "too many words: 'more'; resume takes one DIR",
        ("resume", "out", "--timeout", "3"): "a number needs its unit",
    }
    for argv, said in mistakes.items():
        code, out, err = call(*argv)
        assert (code, out) == (2, ""), argv
        assert said in err, argv
        assert "Traceback" not in err
    assert not Path("ledger").exists()
    call("run", flow, "--journal", "out")
    code, _, err = call("run", flow, "--journal", "out")
    assert code == 2
    assert err == (
        "graceline: out holds the journal of an earlier run; `graceline resume out` goes on with it, "
        "--force replaces it\n"
    )
    assert call("run", flow, "--journal", "out", "--force")[0] == 1
    journal = Journal(Path("out"), append=True)
    assert "out: another run is writing to its journal" in call("resume", "out")[2]
    journal.close()
    Path(flow).unlink()
    assert (
        call("resume", "out")[2]
        == f"{Path(flow).absolute()}: cannot be read: No such file or directory\n"
    )


def test_the_wrong_journal(flow, call):
    """The report of a run of a file is its result; a journal that cannot be read is no suite's."""
    call("run", flow, "--journal", "out")
    code, out, err = call("report", "out")
    assert (code, out) == (2, "")
    assert err == (
        "graceline: out holds the journal of a run of a file, and of no suite; "
        "`graceline resume out` goes on with it, or shows its result\n"
    )
    Path("odd/journal.jsonl").mkdir(parents=True)
    assert call("resume", "odd") == (
        2,
        "",
        "graceline: odd/journal.jsonl cannot be read: Is a directory\n",
    )


def test_the_directory_is_gone(put, call, tmp_path, monkeypatch):
    """A run cannot go on in a directory that is not there any more."""
    (tmp_path / "there").mkdir()
    flow = put("flow.yaml", FLOW)
    monkeypatch.chdir(tmp_path / "there")
    assert call("run", f"../{flow}", "--journal", "../out")[0] == 1
    monkeypatch.chdir(tmp_path)
    Path("there/ledger").unlink()
    Path("there").rmdir()
    code, _, err = call("resume", "out")
    assert code == 2
    assert f"the run worked in {tmp_path}/there, which cannot be entered: No such file" in err


def test_a_full_disk(flow, call, monkeypatch):
    """The run ends with exit code 1 and says why; what is in the journal can be resumed."""
    write = os.write

    def full(file, data):
        if b'"step_ended","step":"b"' in data or b'"index":1' in data:
            raise OSError(28, "No space left on device")
        return write(file, data)

    Path("ok").touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        code, out, err = call("run", flow, "--journal", "out")
    assert code == 1
    assert "cancelled" in out
    assert err == (
        "graceline: the journal could not be written: No space left on device; what is in it can be "
        "resumed\n"
    )
    assert ledger() == ["a", "b1", "b2"]
    assert call("resume", "out")[0] == 0
    assert ledger() == ["a", "b1", "b2", "b2", "b3", "c"]


def test_a_finished_run_of_a_broken_journal(flow, call):
    """A result that cannot be read is an error without a traceback."""
    Path("ok").touch()
    call("run", flow, "--journal", "out")
    path = Path("out/journal.jsonl")
    path.write_text(path.read_text().replace('"pipeline":', '"pipelines":'))
    code, out, err = call("resume", "out")
    assert (code, out) == (2, "")
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed(put, tmp_path, number):
    """After Ctrl-C the journal is whole; the run goes on from it."""
    flow = put(
        "slow.yaml",
        """
        id: slow
        steps:
          - {id: a, command: [sh, -c, "echo a >> ledger"], cleanup: {command: [sh, -c, "echo clean >> ledger"]}}
          - {id: b, command: [sh, -c, "echo b >> ledger; test -e ok || exec sleep 60"], dependencies: a}
        """,
    )
    argv = [sys.executable, "-m", "graceline"]
    options = {"env": os.environ | {"COLUMNS": "100"}, "text": True, "cwd": tmp_path}
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*argv, "run", flow, "--journal", "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )
    end = time.monotonic() + 60
    while not (Path("ledger").exists() and "b" in ledger()):
        assert time.monotonic() < end, "b begins"
        time.sleep(0.001)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, "")
    assert "hint      to go on from here: graceline resume out" in out
    assert [line["event"] for line in read_lines(Path("out"))][-1] == "run_ended"
    Path("ok").touch()
    done = subprocess.run(  # noqa: S603 - our own command
        [*argv, "resume", "out", "--json"], capture_output=True, timeout=60, check=False, **options
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["stages"]["slow"]["nodes"]["a"]["status"] == "ok"
    assert ledger() == ["a", "clean", "b", "b"]


def test_timed_out_and_resumed(put, call, virtual):
    """A limit of the command line holds again, as the hint says, unless another one is given."""
    hint = "graceline resume out --timeout ... (without it, 1.5s again)\n"
    put("tools.py", TOOLS)
    flow = put(
        "slow.yaml",
        """
        id: slow
        steps:
          - {id: a, tool: nap, parameters: {name: a, seconds: 1}}
          - {id: b, tool: nap, parameters: {name: b, seconds: 2}, dependencies: a}
        """,
    )
    argv = ("run", flow, "--tools", "tools.py", "--journal", "out", "--timeout", "1500ms")
    code, out, _ = call(*argv)
    assert (code, "timed_out after 1.5s, limit 1.5s" in out, hint in out) == (1, True, True)
    code, out, _ = call("resume", "out")
    assert (code, "timed_out after 1.5s, limit 1.5s" in out, hint in out) == (1, True, True)
    code, out, _ = call("resume", "out", "--timeout", "3s")
    assert (code, "ok after 2s, limit 3s" in out) == (0, True)
    assert ledger() == ["a", "b", "b", "b"]


@pytest.mark.usefixtures("without_dialects")
def test_the_extra_is_missing(flow, call, monkeypatch):
    """Without PyYAML the command says what to install."""
    Path("out").mkdir()
    monkeypatch.setitem(sys.modules, "yaml", None)
    code, _, err = call("resume", "out")
    assert (code, err) == (
        2,
        "graceline: yaml is not installed; run: pip install 'graceline[yaml]'\n",
    )
