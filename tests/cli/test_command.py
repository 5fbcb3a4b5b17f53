import builtins
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from graceline.cli import main

GOOD = """
@node
async def double(given):
    print("on the way")
    return {"twice": 2 * given["n"] if given else None}

p = Pipeline("p", [double])
"""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "jobs.py:q"], "did you mean 'p'|pipelines there: p"),
        (["run", "jobs.py", "--timeout", "2"], "a number needs its unit; write 2s or 2ms"),
        (["run", "jobs.py", "--timeout", "1e3"], "write 1000s or 1000ms"),
        (["run", "jobs.py", "--timeout", "0"], "--timeout 0: write 0s"),
        (["run", "jobs.py", "--timeout", "-5"], "--timeout -5: a limit is not negative; write 0s"),
        (["run", "jobs.py", "--timeout", "-1s"], "-1s: a limit is not negative; write 0s"),
        (["run", "jobs.py", "--timeout", "inf"], "'inf' is not a duration; write '250ms'"),
        (["run", "jobs.py", "--timeout", "soon"], "'soon' is not a duration; write '250ms'"),
        (["run", "jobs.py", "--timeout"], "--timeout requires an argument"),
        (["run", "jobs.py", "extra", "more"], "too many words: 'extra', 'more'; run takes one"),
        (["run", "jobs.py", "-i", "n"], "write key=value"),
        (["run", "jobs.py", "--no-such-option"], "(?i)unknown option"),
        (["run"], "(?i)target"),
        (["rum", "jobs.py"], "(?i)unknown command"),
    ],
)
def test_usage(write, call, argv, message):
    """A mistake in the command line is a message on standard error and exit code 2."""
    write(GOOD)
    code, out, err = call(*argv)
    assert (code, out) == (2, "")
    assert re.search(message, err)
    assert "Traceback" not in err


def test_bad_definition(write, call):
    """A definition that is wrong is exit code 2 and its message; --debug shows where."""
    target = write("p = Pipeline('p', [Stage('s', [])])")
    code, out, err = call("run", target)
    assert (code, out) == (2, "")
    assert "stage 's'" in err
    assert "Traceback" not in err
    assert "--debug shows the traceback" in err
    debugged = call("run", target, "--debug")[2]
    assert "Traceback" in debugged
    assert "--debug shows" not in debugged


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("\np = Pipeline('p', [Stage('s', [])])", 5, "stage 's': it has no parts"),
        ("def make():\n    return Stage('s', [])\np = make()", 5, "stage 's': it has no parts"),
        ("import json\njson.loads('{')", 5, "JSONDecodeError: Expecting property name"),
        ("def f(:", 4, "SyntaxError: invalid syntax (while"),
        ("import no_such_thing", 4, "ModuleNotFoundError: No module named 'no_such_thing'"),
        (
            "try:\n    raise ExceptionGroup('two', [ValueError('a')])\nfinally: pass",
            5,
            "ValueError: a",
        ),
    ],
)
def test_place_of_a_mistake(write, call, source, line, message):
    """What is wrong while a file is loaded has the file and the line of the user's own code."""
    target = write("")
    Path(target).write_text(Path(target).read_text() + source)
    code, _, err = call("run", target)
    assert code == 2
    assert err.startswith(f"graceline: jobs.py:{line}: {message}")
    assert err.endswith("graceline: --debug shows the traceback\n")


def test_place_in_a_module(write, call):
    """A module that is imported by its name has places too, also in what it imports."""
    write("boom = 1 / 0", "inner.py")
    write("import inner", "outer.py")
    assert call("run", "outer")[2].startswith("graceline: inner.py:4: ZeroDivisionError")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding(write, encoding):
    """A terminal that cannot show some characters gets them as escapes, and the whole result."""
    target = write("""
    @node
    async def größe(given):
        print("解 on the way")
        return {"naïve": "解" * 3, "lost": chr(0xD800)}
    @node(critical=False)
    async def slow(given):
        save_partial("é" * 300)
        await trio.sleep_forever()
    p = Pipeline("bücher", [Stage("s", [größe]), Stage("slow", [slow], timeout="300ms")])
    """)
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "graceline", "run", target],
        capture_output=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "80"},
    )
    assert (done.returncode, done.stderr) == (1, b"")
    out = done.stdout.decode(encoding)
    expected = {
        "ascii": ("b\\xfccher  ok after", "gr\\xf6\\xdfe", "\\u89e3\\u89e3"),
        "latin-1": ("bücher  ok after", "größe", "\\u89e3\\u89e3"),
        "utf-8": ("bücher  ok after", "größe", "解解解"),
    }[encoding]
    assert [word for word in expected if word not in out] == []
    assert ("…" if encoding == "utf-8" else "...") in out
    assert "\\ud800" in out


def test_as_a_module(write):
    """`python -m graceline` is the same command."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "graceline", "run", write(GOOD), "--json"],
        capture_output=True, check=False, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "ok")


def test_streams_are_left_as_they_were(write, call):
    """Whoever calls the command in a process keeps the streams of that process."""
    before = sys.stdout.errors, sys.stderr.errors
    call("run", write(GOOD))
    assert (sys.stdout.errors, sys.stderr.errors) == before


def test_without_the_extra(monkeypatch, capsys):
    """Without the extra, one line says what to install, and the exit code is 2."""
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.partition(".")[0] == "cyclopts":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **options)

    for name in [name for name in sys.modules if name == "graceline.cli.command"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["run", "x.py"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'graceline[cli]'" in error


def test_other_missing_modules(monkeypatch):
    """A module that is missing for another reason is not taken for the extra."""
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == "graceline.cli.run":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **options)

    for name in [name for name in sys.modules if name == "graceline.cli.command"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError):
        main(["run", "x.py"])


def test_arguments_of_the_process(monkeypatch, capsys):
    """Without arguments of its own, `main` takes those of the process."""
    monkeypatch.setattr(sys, "argv", ["graceline", "run", "--help"])
    assert main() == 0
    said = capsys.readouterr().out
    assert "Exit codes" in said
    assert "graceline run jobs.py:nightly" in said
