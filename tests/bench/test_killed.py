"""The runner is killed at random moments: nothing that was finished is lost, nothing is left."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graceline.bench import read_story, write_report
from graceline.bench.journal import journal_of

REPEATS = 50 if os.environ.get("GRACELINE_PROFILE") == "thorough" else 5
FAILSAFE = 60
SUITE = """
from graceline.bench import Phase, Suite, command

def one(number):
    # Its first act is to say that it started: by then the one before must be in the journal.
    soft = number % 3 == 2
    line = f"touch started-{number:02}; echo output of {number}; exit {int(soft)}"
    return command(line, name=f"c{number:02}", continue_on_failure=soft)

suite = Suite("killed", [
    *(Phase(f"p{first:02}", [one(first + i) for i in range(3)]) for first in range(0, 12, 3)),
    Phase("end", [
        command("sleep 60 & sleep 60", name="a"),
        command("trap '' TERM; touch started-12; sleep 60; sleep 60", name="b"),
    ], parallel=True),
], timeout="5m")
"""
COMMANDS = [f"c{number:02}" for number in range(12)]


def until(condition, what):
    """Wait for something that must come."""
    end = time.monotonic() + FAILSAFE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.001)


def lines(out):
    try:
        return journal_of(out).read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("seed", range(REPEATS))
def test_killed(tmp_path, mark, seed):
    """After `kill -9` all that had ended is in the journal, the report can be made, no program is left."""
    dice = random.Random(seed)  # noqa: S311
    (tmp_path / "suite.py").write_text(SUITE)
    out = tmp_path / "out"
    with (tmp_path / "said").open("w") as said:
        runner = subprocess.Popen(
            [sys.executable, "-m", "graceline", "bench", "suite.py", "--out", "out"],
            cwd=tmp_path, env=os.environ | mark.env, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        # The whole journal has 49 lines until the last two commands run, which never end.
        wanted = dice.randrange(50)
        until(lambda: lines(out) >= wanted or runner.poll() is not None, "the journal grows")
        time.sleep(dice.random() * 0.02)
    finally:
        runner.send_signal(signal.SIGKILL)
        assert runner.wait(FAILSAFE) == -signal.SIGKILL, Path(tmp_path / "said").read_text()
    until(lambda: not mark.alive(), "the guard ends what is left")

    started = sorted(path.name for path in tmp_path.glob("started-*"))
    assert started == [f"started-{number:02}" for number in range(len(started))]
    if not lines(out):
        return
    story = write_report(out)
    told = {t.row.name: t for t in story.told() if t.command is not None}
    statuses = [told[name].status for name in COMMANDS]
    ended = [status for status in statuses if status in ("ok", "failed")]
    assert len(ended) >= len(started) - 1
    assert ended == ["failed" if n % 3 == 2 else "ok" for n in range(len(ended))]
    assert all(status in ("running", "not_started") for status in statuses[len(ended) :])
    for number in range(len(ended)):
        assert told[f"c{number:02}"].output["stdout"] == f"output of {number}\n"
    assert (story.state, story.result) == ("interrupted", None)
    document = json.loads((out / "report.json").read_text())
    assert [line["status"] for line in document["commands"]][:12] == statuses
    assert "interrupted" in (out / "report.html").read_text()


def test_any_torn_end(tmp_path):
    """Wherever a journal is cut off, it can be read, and the longer it is, the more it tells."""
    import trio

    from graceline.bench import Phase, Suite, command, run_suite

    suite = Suite(
        "s", [Phase("p", [command("echo a"), command("false", continue_on_failure=True)]),
              Phase("q", command("true"), skip_if_failed="p")],
    )  # fmt: skip
    trio.run(lambda: run_suite(suite, out=tmp_path / "whole"))
    data = journal_of(tmp_path / "whole").read_bytes()
    whole = read_story(tmp_path / "whole")
    (tmp_path / "cut").mkdir()
    before = 0
    for size in range(data.index(b"\n") + 1, len(data) - 1, 7):
        journal_of(tmp_path / "cut").write_bytes(data[:size])
        story = read_story(tmp_path / "cut")
        assert story.state == "interrupted"
        assert len(story.outcomes) >= before
        before = len(story.outcomes)
        for key, outcome in story.outcomes.items():
            assert outcome.status is whole.outcomes[key].status
        list(story.told())
    assert before == len(whole.outcomes) == 3
