import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from graceline import PipelineResult
from graceline.cli import bench, live, main

SUITE = """
from graceline.bench import Phase, Suite, command
soft = {"continue_on_failure": True}
suite = Suite("nightly", [
    Phase("build", [command("echo built", name="make")]),
    Phase("unit", [command("echo one; echo two >&2; exit 3", name="pytest", **soft)]),
], timeout="5m")
good = Suite("good", Phase("p", command("true")))
bad = Suite("bad", [Phase("p", command("false")), Phase("q", command("true"))])
waiting = Suite("waiting", [
    Phase("p", [command("echo first", name="first"),
                command("echo early; kill -{signal} $PPID; sleep 60", name="second")]),
    Phase("q", command("true")),
], grace="20s")
raising = Suite("raising", Phase("p", Node(lambda value: 1 / 0, name="boom")))
ending = Suite("ending", Phase("p", Node(lambda value: exit(7), name="leaves")))
other = Pipeline("p", [Node(trio.sleep)])
async def tidy(value):
    try:
        await trio.sleep_forever()
    finally:
        with cleanup():
            await trio.sleep_forever()
hanging = Suite("hanging", Phase("p", tidy), timeout="10s")
"""


@pytest.fixture
def put(write):
    """Write the suites down; gives the target of one of them."""

    def put(suite, number="INT"):
        return f"{write(SUITE.replace('{signal}', number), 'suite.py')}:{suite}"

    return put


def test_good_suite(put, call):
    """A suite that succeeds shows its waterfall and where the report is; the exit code is 0."""
    code, out, err = call("bench", put("good"), "--out", "out")
    assert (code, err) == (0, "")
    assert out.startswith("good  ok after")
    assert out.endswith("report    out/report.html\n")
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "journal.jsonl", "report.html", "report.json",
    ]  # fmt: skip


def test_degraded_suite(put, call):
    """What fails with continue_on_failure is exit code 1 and its last words, unless it is allowed."""
    code, out, _ = call("bench", put("suite"), "--out", "out")
    assert code == 1
    assert "degraded  pytest: failed" in out
    assert "unit / pytest: failed, the end of its stderr:\n  two\n" in out
    assert "built" not in out
    code, again, _ = call(
        "bench", "suite.py:nightly", "--out", "out", "--force", "--allow-degraded"
    )
    assert (code, "unit / pytest: failed" in again) == (0, True)


def test_failed_suite(put, call):
    """A suite that ended early is exit code 1, whatever is allowed."""
    assert call("bench", put("bad"), "--out", "out", "--allow-degraded")[0] == 1


def test_json(put, call):
    """With --json standard output is the report and nothing else, as report.json has it."""
    code, out, err = call("bench", put("suite"), "--out", "out", "--json")
    document = json.loads(out)
    assert (code, err) == (1, "")
    assert document == json.loads(Path("out/report.json").read_text())
    assert PipelineResult.from_dict(document["result"]).degraded == ("pytest",)
    assert [line["status"] for line in document["commands"]] == ["ok", "failed"]


def test_timeout(put, call):
    """--timeout stands instead of the suite's own limit."""
    code, out, _ = call("bench", put("good"), "--out", "out", "--timeout", "0s")
    assert (code, "good  timed_out" in out) == (1, True)
    assert "exceeded its limit of 0s, given with the call" in out


@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143)])
def test_signal(put, name, code):
    """A signal cancels the suite with its grace; report and exit code say so, and what had finished stays."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "graceline", "bench", put("waiting", name), "--out", "out"],
        capture_output=True, check=False, text=True, timeout=60, env=os.environ | {"COLUMNS": "80"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, "")
    word = {"INT": "interrupted", "TERM": "terminated"}[name]
    assert f"to blame  pipeline 'waiting': {word}" in done.stdout
    assert "p / second: cancelled, the end of its stdout:\n  early\n" in done.stdout
    document = json.loads(Path("out/report.json").read_text())
    assert [line["status"] for line in document["commands"]] == ["ok", "cancelled", "skipped"]


def test_report_again(put, call):
    """`graceline report` makes the report from the journal alone, and shows the same picture."""
    before = call("bench", put("suite"), "--out", "out")[1]
    first = {path.name: path.read_text() for path in Path("out").glob("report.*")}
    for name in first:
        Path("out", name).unlink()
    code, out, err = call("report", "out")
    assert (code, err) == (0, "")
    assert out == before
    assert {path.name: path.read_text() for path in Path("out").glob("report.*")} == first
    code, out, _ = call("report", "out", "--json")
    assert (code, out) == (0, first["report.json"])


def test_report_after_a_kill(put, call):
    """After a kill it shows what had finished, what was running and what never started."""
    call("bench", put("suite"), "--out", "out")
    journal = Path("out/journal.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    end = next(n for n, line in enumerate(lines) if '"node_started"' in line and "pytest" in line)
    journal.write_text("".join(lines[: end + 1]))
    code, out, _ = call("report", "out")
    assert code == 0
    assert out.startswith("the runner was ended before the suite; `running` is what ran")
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert " ok " in rows["make"]
    assert " running " in rows["pytest"]
    journal.write_text("".join(lines[:2]))
    rows = {line.split()[0]: line for line in call("report", "out")[1].splitlines() if line.strip()}
    assert rows["pytest"].split()[-1] == "-"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["bench", "suite.py:good"], "(?i)--out requires"),
        (
            ["bench", "suite.py:goood", "--out", "o"],
            "there is no suite 'goood'.*did you mean 'good'",
        ),
        (["bench", "suite.py", "--out", "o"], "several suites in suite.py; add one of them"),
        (
            ["bench", "suite.py:other", "--out", "o"],
            "not a Suite, but of type Pipeline; run it by: graceline run; suites there: suite",
        ),
        (["run", "suite.py:good"], "not a Pipeline, but of type Suite; run it by: graceline bench"),
        (["bench", "suite.py:good", "--out", "full"], "full holds the results of an earlier run"),
        (["bench", "suite.py:good", "--out", "suite.py"], "suite.py: it is no directory"),
        (["bench", "suite.py:good", "--out", "o", "--timeout", "5"], "a number needs its unit"),
        (["bench", "suite.py:good", "x", "--out", "o"], "'x'; bench takes one SUITE"),
        (
            ["report", "none"],
            "none holds no journal; `graceline bench SUITE --out none` writes one",
        ),
        (["report", "other"], "other/journal.jsonl is no journal of a suite"),
        (["report", "a", "b"], "report takes one DIR"),
    ],
)
def test_usage(put, call, argv, message):
    """A mistake in the command line is a message on standard error, exit code 2, and nothing runs."""
    import re

    put("good")
    for name, text in (("full", '{"event":"x"}\n'), ("other", "[1]\nnothing\n")):
        Path(name).mkdir()
        Path(name, "journal.jsonl").write_text(text)
    code, out, err = call(*argv)
    assert (code, out) == (2, "")
    assert re.search(message, err, re.DOTALL)
    assert "Traceback" not in err
    assert Path("full/journal.jsonl").read_text() == '{"event":"x"}\n'


def test_changed_journal(put, call):
    """A journal that somebody changed is an error that says so, and no traceback."""
    call("bench", put("good"), "--out", "out")
    journal = Path("out/journal.jsonl")
    head, *rest = journal.read_text().splitlines(keepends=True)
    changed = [line.replace('"phase":"p"', '"fase":"p"') for line in rest]
    journal.write_text(head + "".join(changed))
    code, _, err = call("report", "out")
    assert (code, "journal.jsonl was changed by somebody: KeyError('phase')" in err) == (2, True)


def test_traceback(put, call):
    """--debug shows the tracebacks of what functions raised."""
    code, out, err = call("bench", put("raising"), "--out", "out", "--debug")
    assert (code, "Traceback" in err, "ZeroDivisionError" in out) == (1, True, True)


def test_what_the_code_raises(put, call, write):
    """What the user's code raises for the program ends the command; what had finished is in the report."""
    assert call("bench", put("ending"), "--out", "out")[0] == 7
    assert json.loads(Path("out/report.json").read_text())["reason"] == "SystemExit"
    code, _, err = call("bench", write("1 / 0", "worse.py"), "--out", "o")
    assert (code, "ZeroDivisionError" in err, Path("o").exists()) == (2, True, False)


def test_a_report_that_cannot_be_written(put, call, monkeypatch):
    """A full disk at the end is said, with exit code 1; the result is shown all the same."""
    from graceline.bench import report

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "_replace", full)
    code, out, err = call("bench", put("good"), "--out", "out")
    assert (code, out.startswith("good  ok after")) == (1, True)
    assert "No space left on device" in err


def test_live_view(put, capsys, monkeypatch):
    """On a terminal, standard error shows the suite while it goes on, and nothing of it is left."""
    options = {"width": 80, "height": 24, "force_terminal": True, "color_system": None}
    monkeypatch.setattr(bench, "Console", lambda **more: Console(**(options | more)))
    monkeypatch.setattr(live, "_FRAME", 0.001)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["bench", put("suite"), "--out", "out"]) == 1
    said = capsys.readouterr()
    assert "nightly  running for" in said.err
    assert said.err.endswith("\x1b[2K")


def test_missing_extra(put, call, monkeypatch):
    """Without Jinja2 both commands say what to install; a suite is not even started."""
    from importlib import util

    call("bench", put("good"), "--out", "done")
    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "jinja2" else real(name))
    for argv in (["bench", "suite.py:good", "--out", "out"], ["report", "done"]):
        code, _, err = call(*argv)
        assert (code, "pip install 'graceline[cli]'" in err) == (2, True)
    assert not Path("out/journal.jsonl").exists()


def test_second_signal(put, tmp_path):
    """A second signal ends the programs at once, whatever grace they have."""
    source = SUITE.replace(
        "waiting = Suite(",
        """
stubborn = Suite("stubborn", Phase("p", command(
    "trap 'kill -INT $PPID' TERM; kill -INT $PPID; while :; do sleep 0.01; done", name="s",
)), grace="10m")
waiting = Suite(""",
    )
    put("good")
    Path("stubborn.py").write_text("import trio\nfrom graceline import *\n" + source)
    done = subprocess.run(
        [sys.executable, "-m", "graceline", "bench", "stubborn.py:stubborn", "--out", "out"],
        capture_output=True, check=False, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "")
    document = json.loads(Path("out/report.json").read_text())
    assert document["commands"][0]["signal"] == signal.SIGKILL


def test_grace(put, call, virtual):
    """Where a suite states no grace, it is half a minute, as in a program."""
    _, out, _ = call("bench", put("hanging"), "--out", "out")
    assert out.startswith("hanging  timed_out after 40s, limit 10s (pipeline)")
