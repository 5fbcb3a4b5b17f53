"""Suites and plans of files: the same commands as for Python."""

import json
from pathlib import Path

import pytest

from graceline.adaptive import Key, SqliteStore

SUITE = """
id: nightly
config: {timeout: 5m}
phases:
  - name: build
    commands: [{command: [echo, built], name: make}]
  - name: unit
    commands: [{command: [sh, -c, "echo two >&2; exit 3"], name: test, continue_on_failure: true}]
"""
STEPS = """
id: shop
config: {timeout: 50ms}
inputs: {query: {required: true}}
steps:
  - {id: find, tool: find, parameters: {query: "{{ query }}"}, timeout: 60ms}
  - {id: rank, tool: rank, parameters: {found: "{{ find.result }}"}, condition: "{{ find.result }}"}
"""
TOOLS = """
from graceline.dialects.tools import Tools
tools = Tools()

@tools.tool("find")
@tools.tool("rank")
async def never(**_):
    raise AssertionError("a plan calls nothing")
"""


def test_a_suite_in_a_file(put, call):
    """`graceline bench` runs a file with phases, and leaves journal and report."""
    code, out, err = call("bench", put("s.yaml", SUITE), "--out", "out", "--allow-degraded")
    assert (code, err) == (0, "")
    assert out.startswith("nightly  ok after")
    assert "unit / test: failed, the end of its stderr:\n  two\n" in out
    assert (Path("out/journal.jsonl").exists(), Path("out/report.html").exists()) == (True, True)
    assert call("report", "out")[0] == 0
    code, out, _ = call("bench", "s.yaml", "--out", "out", "--force", "--json")
    assert (code, json.loads(out)["status"]) == (1, "ok")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (STEPS, "s.yaml:6:22: there is no tool 'find'"),
        (
            STEPS.replace("tool: find", "command: [x]"),
            "s.yaml:6:42: step 'find', parameters: does not go",
        ),
        (
            "id: a\nsteps: [{id: b, command: [x]}]",
            "graceline: s.yaml holds steps, so it is a pipeline; run it by: graceline run s.yaml\n",
        ),
        (SUITE.replace("timeout: 5m", "timeout: '5'"), "s.yaml:3:19: config.timeout: '5' has no"),
        (SUITE.replace("unit", "build"), "'build'"),
    ],
)
def test_files_that_are_no_suite(put, call, source, message):
    """A mistake, or a file with steps, is said before a directory is made; exit code 2."""
    code, out, err = call("bench", put("s.yaml", source), "--out", "out")
    assert (code, out) == (2, "")
    assert message in err
    assert not Path("out").exists()


def test_a_plan_of_a_file(put, call, tmp_path):
    """`graceline plan` replays what was recorded of a file, and calls nothing of it."""
    with SqliteStore(tmp_path / "shop.db") as store:
        for node in ("find", "rank"):
            samples = [(float(at), 0.02, False) for at in range(20)]
            store.put(Key("default", "shop", "shop", node, "node"), samples, {})
    put("tools.py", TOOLS)
    argv = ("plan", put("shop.yaml", STEPS), "--history", "shop.db", "--runs", "100", "--json")
    code, out, err = call(*argv, "--tools", "tools.py", "--node", "rank=30ms")
    document = json.loads(out)
    assert (code, err, document["pipeline"]) == (0, "", "shop")
    assert "there is no tool 'find'" in call(*argv)[2]


EVERYTHING = """
id: shop
config: {max_parallel: 4, timeout: 10s, default_timeout: 3s}
steps:
  - {id: once, command: [x], timeout: 1s, total_timeout: 2s}
  - {id: plain, command: [x], total_timeout: 2s}
  - {id: learned, command: [x], timeout: {initial: 1s, ceiling: 2s}}
  - {id: again, command: [x], max_retries: 2, timeout: 1s, total_timeout: 5s, breaker: {}}
  - {id: many, command: [x], for_each: [1, 2], timeout: 1s}
  - {id: twice, command: [x], idempotent: true, hedge: {delay: 100ms}}
"""


def test_what_cannot_be_replayed_of_a_file(put, call):
    """The limit of the only attempt is that of the step; all other policies are named in notes."""
    target = put("shop.yaml", EVERYTHING)
    steps = ("once", "plain", "learned", "again", "many", "twice")
    assumed = [word for name in steps for word in ("--assume", f"{name}=20ms")]
    code, out, err = call("plan", target, "--runs", "100", "--json", *assumed)
    assert (code, err) == (0, "")
    document = json.loads(out)
    limits = {one["node"]: one["limit"] for one in document["now"]["parts"] if one["node"]}
    assert limits == {
        "once": 1.0, "plain": 2.0, "learned": None, "again": 5.0, "many": None, "twice": None,
    }  # fmt: skip
    assert [note for note in document["notes"] if "not replayed" in note] == [
        "breaker is not replayed, what it adds is part of the durations: again",
        "hedge is not replayed, what it adds is part of the durations: twice",
        "max_parallel is not replayed, what it adds is part of the durations: config",
        "max_retries is not replayed, what it adds is part of the durations: again",
        "timeout is not replayed, what it adds is part of the durations: learned, again, many, twice",
    ]
    assert not any("when=" in note for note in document["notes"])


def test_a_plan_of_a_suite(put, call):
    """A suite is nothing to plan: the message says the command that runs it."""
    code, _, err = call("plan", put("s.yaml", SUITE))
    assert (code, "s.yaml holds phases" in err) == (2, True)


def test_history_of_a_file(put, call):
    """Runs of a file are kept like others: `graceline history` finds its steps by their ids."""
    target = put("a.yaml", "id: a\nsteps: [{id: say, command: [echo, x]}]")
    assert call("run", target)[0] == 0
    code, out, _ = call("history", "list")
    assert (code, "a.a.say" in out) == (0, True)
    assert call("history", "show", "say")[0] == 0
