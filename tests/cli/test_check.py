import io
import json
import re

import pytest
from rich.console import Console

from graceline.cli import check

FINE = """
id: fine
steps: [{id: say, command: [echo, hello]}]
"""
WARNED = """
id: warned
steps: [{id: say, command: "echo hello"}]
"""
WRONG = """
id: wrong
steps:
  - {id: b, comand: [x], timeout: "30"}
"""
SUITE = """
id: s
phases: [{name: p, commands: [{command: [x]}]}]
"""
LATER = "which tools there are, and what they take, is looked at when these are mended"
SHELL = (
    "warned.yaml:3:28: warning: step 'say': a text runs under the shell; a list such as "
    "[make, all] does not\n"
)


def test_a_file_that_is_fine(put, call):
    """A file without errors and warnings is said to be fine: exit code 0."""
    assert call("check", put("fine.yaml", FINE)) == (0, "1 file is fine\n", "")
    code, out, err = call("check", "fine.yaml", put("suite.yml", SUITE), "--strict")
    assert (code, out, err) == (0, "2 files are fine\n", "")


def test_warnings(put, call):
    """Warnings are told, and are no errors; with --strict they count."""
    target = put("warned.yaml", WARNED)
    assert call("check", target) == (0, SHELL + "1 file: 1 warning\n", "")
    assert call("check", target, "--strict")[0] == 2


def test_every_error_of_every_file(put, call):
    """All files are looked at, whatever is wrong with the first: exit code 2 and a summary."""
    files = [put("wrong.yaml", WRONG), "none.yaml", put("warned.yaml", WARNED)]
    code, out, err = call("check", *files)
    assert (code, err) == (2, "")
    lines = out.splitlines(keepends=True)
    assert [line.split(" ")[0] for line in lines[:3]] == [
        "wrong.yaml:4:13:", "wrong.yaml:4:35:", "none.yaml:",
    ]  # fmt: skip
    assert lines[3:] == [SHELL, "3 files: 3 errors, 1 warning\n"]


def test_json(put, call):
    """With --json standard output is one document: each file, its problems, and how many."""
    files = [put("wrong.yaml", WRONG), put("fine.yaml", FINE), put("warned.yaml", WARNED)]
    code, out, err = call("check", "--json", *files)
    document = json.loads(out)
    assert (code, err, document["errors"], document["warnings"]) == (2, "", 2, 1)
    assert [one["file"] for one in document["files"]] == files
    assert [len(one["problems"]) for one in document["files"]] == [2, 0, 1]
    assert document["files"][2]["problems"][0] == {
        "severity": "warning",
        "message": SHELL.split("warning: ")[1].strip(),
        "line": 3,
        "column": 28,
    }
    _, out, _ = call("check", "--json", "none.yaml")
    problem = json.loads(out)["files"][0]["problems"][0]
    assert (problem["severity"], problem["line"], problem["column"]) == ("error", None, None)


def test_tools(put, call):
    """A tool of a module is known with --tools only; the module's prints stay out of --json."""
    put("tools.py", """
    from graceline.dialects.tools import Tools
    tools = Tools()
    print("imported")

    @tools.tool("search")
    def search(query): raise AssertionError("nothing is called")
    """)  # fmt: skip
    target = put("a.yaml", "id: a\nsteps: [{id: s, tool: search, parameters: {query: x}}]")
    first, hint, last = call("check", target)[1].splitlines()
    assert "there is no tool 'search'" in first
    assert (hint, last) == ("tools of a program are given by --tools FILE.py", "1 file: 1 error")
    code, out, err = call("check", target, "--tools", "tools.py", "--json")
    assert (code, json.loads(out)["errors"], err) == (0, 0, "imported\n")
    bad = put("b.yaml", "id: a\nsteps: [{id: s, tool: search, parameters: {quary: x}}]")
    assert "b.yaml:2:44: " in call("check", bad, "--tools", "tools.py")[1]
    wrong = put("c.yaml", "id: a\nsteps: [{id: s, tool: shearch, timeout: 0}]")
    assert call("check", wrong, "--tools", "tools.py")[1].splitlines()[-2:] == [
        "1 file: 1 error",
        LATER,
    ]
    unknown = call(
        "check", put("c.yaml", "id: a\nsteps: [{id: s, tool: x}]"), "--tools", "tools.py"
    )
    assert "--tools" not in unknown[1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "FILE requires an argument"),
        (["jobs.py"], "jobs.py: a file is named by its suffix, .yaml or .yml"),
        (["fine.yaml", "--tools", "json"], "--tools json: there is no Tools in json"),
        (["fine.yaml", "--tols"], "(?i)unknown option"),
    ],
)
def test_mistakes(put, call, argv, message):
    """A mistake in the command line is a message on standard error and exit code 2."""
    put("fine.yaml", FINE)
    code, out, err = call("check", *argv)
    assert (code, out) == (2, "")
    assert re.search(message, err)


def test_nothing_is_written_or_run(put, call, tmp_path):
    """A check leaves the directory as it was, and makes no history."""
    put("a.yaml", "id: a\nsteps: [{id: s, command: [touch, made]}]")
    before = sorted(tmp_path.rglob("*"))
    assert call("check", "a.yaml")[0] == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("terminal", [True, False])
def test_colours(put, call, monkeypatch, terminal):
    """Colours are for a terminal; the words are the same."""
    written = io.StringIO()
    made = Console(file=written, force_terminal=terminal or None, width=100)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(check, "Console", lambda: made)
    files = put("warned.yaml", WARNED), put("wrong.yaml", WRONG)
    assert call("check", *files)[0] == 2
    assert ("\x1b[" in written.getvalue()) is terminal
    assert ("\x1b[33mwarning:\x1b[0m" in written.getvalue()) is terminal
