"""What holds for every command: its help, its errors, and what it writes where nobody looks."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cyclopts import App

from graceline.cli import main
from graceline.cli.command import _app


def commands(app, *before):
    """Every command that does something, with the words that call it."""
    for name in app:
        if not name.startswith("-"):
            inner = app[name]
            if [word for word in inner if not word.startswith("-")]:
                yield from commands(inner, *before, name)
            else:
                yield (*before, name)


COMMANDS = sorted(commands(_app))
OTHER = {("telemetry", "export"), ("history", "import")}
"""Commands that make what is not there, or wait for what a pipe will hold."""
named = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


@pytest.fixture
def shown(monkeypatch, capsys):
    """What the help of a command says on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def show(*words):
        app = functools.reduce(App.__getitem__, words, _app)
        # It keeps the width that it had in an earlier test of this process.
        monkeypatch.setattr(app, "_fallback_console", None)
        assert main([*words, "--help"]) == 0
        return capsys.readouterr().out

    return show


def test_the_walk_finds_every_command(shown):
    """A walk that finds nothing would agree with everything; what is found is in the help."""
    assert isinstance(_app, App)
    assert {("run",), ("check",), ("history", "show"), ("telemetry", "export")} <= set(COMMANDS)
    listed = set(re.findall(r"^│ (\w+) ", shown(), re.MULTILINE))
    assert listed == {words[0] for words in COMMANDS}


@named
def test_help(shown, words):
    """It begins with the usage, says what the command does, has examples that call it, and codes."""
    said = shown(*words)
    command = f"graceline {' '.join(words)}"
    assert said.startswith(f"Usage: {command}")
    examples = said.partition("\nExample")[2].partition("\nExit codes")[0]
    assert command in examples
    codes = said.partition("\nExit codes:")[2]
    assert {"0", "2"} <= set(re.findall(r"\b\d+\b", codes))


@named
def test_help_fits(shown, words):
    """No line of the help is wider than 80 columns, whoever wrote it."""
    assert [line for line in shown(*words).splitlines() if len(line) > 80] == []


def test_help_of_groups_fits(shown):
    """The same holds for what lists commands."""
    for words in ((), *{words[:1] for words in COMMANDS if len(words) > 1}):
        assert [line for line in shown(*words).splitlines() if len(line) > 80] == []


WORDS = (["--no-such-option"], ["a", "b", "c", "d", "e", "f"])
FILES = [
    "wrong.yaml", "missing.yaml", "folder.yaml", "empty.yaml", "bytes.yaml", "pipe.yaml",
    "wrong.py", "missing.py",
]  # fmt: skip
MISTAKES = [
    (words, more)
    for words in COMMANDS
    for more in (*WORDS, *([file] for file in FILES if words not in OTHER))
]


@pytest.mark.parametrize(("words", "more"), MISTAKES, ids=" ".join)
def test_mistakes(put, call, tmp_path, words, more):
    """A mistake is said in lines on standard error, without a traceback: exit code 2."""
    put("wrong.yaml", "id: a\nsteps: [{id: b, comand: [x]}]\n")
    put("empty.yaml", "")
    put("wrong.py", "1 / 0\n")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "bytes.yaml").write_bytes(bytes(range(256)))
    os.mkfifo(tmp_path / "pipe.yaml")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call(*words, *more)
    assert code == 2
    assert err or words == ("check",)
    assert "Traceback" not in out + err
    assert all(re.match(r"graceline: |\w+\.yaml(:\d+:\d+)?: ", line) for line in err.splitlines())
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("words", [("run",), ("plan",), ("bench", "--out", "out"), ("check",)])
def test_problems_of_a_file(put, call, words):
    """Every command says the same of a file, a line each, and shows a traceback with --debug only."""
    target = put("a.yaml", "id: a\nsteps: [{id: b, comand: [x], timeout: 0}]\n")
    command, *more = words
    code, out, err = call(command, target, *more)
    said = out if command == "check" else err
    assert code == 2
    assert [line.split(" ")[0] for line in said.splitlines()[:2]] == [
        "a.yaml:2:17:",
        "a.yaml:2:39:",
    ]
    assert "Traceback" not in err
    if command != "check":
        assert "Traceback" in call(command, target, *more, "--debug")[2]


def test_an_interrupt(put, call, monkeypatch):
    """An interrupt while a command reads is one line, and exit code 130."""

    def interrupted(*_):
        raise KeyboardInterrupt

    put("a.yaml", "id: a")
    monkeypatch.setattr(Path, "exists", interrupted)
    assert call("history", "list") == (130, "", "graceline: interrupted\n")


@pytest.mark.parametrize("words", [("schema",), ("check", "a.yaml"), ("run", "a.yaml")])
def test_nobody_reads(put, words):
    """A reader that goes away ends the command as a signal would, without a traceback."""
    put("a.yaml", "id: a\nsteps: [{id: s, command: [echo, x]}]")
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-c", READ_LATER, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as ran:
        ran.stdout.close()
        ran.stdin.close()
        assert (ran.stderr.read(), ran.wait(60)) == ("", 128 + signal.SIGPIPE)


@pytest.mark.parametrize("words", [("schema",), ("run", "a.yaml", "--json"), ("run", "a.yaml")])
def test_a_full_disk(put, words):
    """Output that cannot be written is one line and exit code 2, whatever became of the run."""
    put("a.yaml", "id: a\nsteps: [{id: s, command: [echo, x]}]")
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "graceline", *words],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    said = "graceline: standard output could not be written: No space left on device\n"
    assert (ran.stderr, ran.returncode) == (said, 2)


def test_closed_output(put):
    """Who closes standard output wants to read nothing, and gets the exit code and the files."""
    put("a.yaml", "id: a\nsteps: [{id: s, command: [echo, x]}]")
    words = [sys.executable, "-m", "graceline", "run", "a.yaml", "--output", "r.json"]
    ran = subprocess.run(  # noqa: S603 - our own command
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *words],
        stderr=subprocess.PIPE, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert json.loads(Path("r.json").read_text())["status"] == "ok"


def test_an_interrupt_while_the_command_starts(capsys, monkeypatch):
    """An interrupt before the command is there is one line, too."""

    class Interrupted:
        def find_spec(self, name, *_):
            if name == "graceline.cli.command":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "graceline.cli.command")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert main(["schema"]) == 128 + signal.SIGINT
    assert capsys.readouterr().err == "graceline: interrupted\n"


READ_LATER = "import sys; sys.stdin.read(); from graceline.cli import main; sys.exit(main())"


@pytest.mark.parametrize(
    "words",
    [("run", "a.yaml"), ("plan", "a.yaml", "--runs", "10"), ("check", "a.yaml"),
     ("bench", "s.yaml", "--out", "out")],
)  # fmt: skip
def test_no_progress_elsewhere(put, call, monkeypatch, words):
    """Where standard error is no terminal nothing moves: no escapes, and no line is written twice."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    put("a.yaml", 'id: a\nconfig: {timeout: 9s}\nsteps: [{id: s, command: [sleep, "0.3"]}]')
    put("s.yaml", 'id: s\nphases: [{name: p, commands: [{command: [sleep, "0.3"]}]}]')
    assert words[0] != "plan" or call("run", "a.yaml")[0] == 0
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert not {"\x1b", "\r"} & set(out)


PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


@named
def test_the_page(shown, words):
    """The page about the command line names every command and every option."""
    page = PAGE.read_text("utf-8")
    assert words[0] in page
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", shown(*words).partition("\nExample")[0]))
    missing = sorted(one for one in options if one not in page)
    assert missing == []
