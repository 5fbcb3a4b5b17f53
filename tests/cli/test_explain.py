import io
import json

import pytest
from rich.console import Console

from graceline.cli.explained import show_step
from graceline.dialects.yaml import loads

FILE = """\
id: research
config:
  timeout: 2m
  default_timeout: 20
  max_parallel: 4
stages:
  - id: gather
    timeout: 25s
    default_timeout: 10s
    steps:
      - id: search
        tool: search
        max_retries: 3
        backoff: {initial: 100ms, max: 5s}
        on_error: continue
      - id: archive
        tool: archive
        condition: "{{ search.error != None }}"
        timeout: 30
        total_timeout: 40
        reserve: 2
        breaker: {consecutive: 3}
  - id: write
    steps:
      - id: summary
        tool: summarize
        for_each: "{{ search.result }}"
        timeout: {initial: 5, ceiling: 20}
        idempotent: true
        hedge: {}
      - {id: free, command: [echo], timeout: .inf}
"""


@pytest.fixture
def research(tmp_path, monkeypatch):
    """A file with tools that nobody has."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "research.yaml").write_text(FILE)
    return "research.yaml"


def test_a_step_is_explained(research, call):
    """First what cuts it and where that stands; then each place that was looked at, in order."""
    code, out, err = call("explain", research, "search")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[:2] == [
        "step search stage gather, pipeline research, research.yaml:11:9",
        "cut after 10s by stage default_timeout, research.yaml:9:22",
    ]
    assert lines[3:8] == [
        "one attempt 10s",
        "step timeout not stated",
        "step metadata.timeout not stated",
        "> stage default_timeout 10s research.yaml:9:22",
        "config default_timeout 20s research.yaml:4:20, stands back",
    ]
    assert "the stage 25s cuts first if the step starts 15s or more into it" in lines
    said = " ".join(lines)
    assert "if all hang: cut after 25s by the limit of the stage, in attempt 3" in said
    assert "if all fail at once: over after at most 700ms, with 4 attempts" in said
    assert "bulkhead 4 attempts at once" in said
    assert "on error continue: the run goes on" in said
    assert "needed by archive, summary" in said


def test_what_is_clamped(research, call):
    """Limits that are never reached are said to be so, and by whom."""
    said = " ".join(call("explain", research, "archive")[1].split())
    assert "cut after 25s by stage timeout, research.yaml:8:14" in said
    assert "one attempt 30s never reached: the limit of the stage comes first" in said
    assert "work is cut after 38s, 2s are kept for cleanup, never reached" in said
    assert "condition {{ search.error != None }}; skipped where that is false" in said
    assert "breaker opens when 50% of at least 10 calls fail, or 3 in a row" in said
    assert "waits for search" in said


def test_what_is_learned(research, call):
    """Of a limit that learns the bounds are told."""
    said = " ".join(call("explain", research, "summary")[1].split())
    assert "cut after 5s by step timeout (learned), research.yaml:28:18" in said
    assert "> step timeout 5s, learned: 5ms to 20s research.yaml:28:18" in said
    assert "one attempt of one item 5s" in said
    assert "hedge a second copy of an attempt after the p95 of the calls" in said
    assert "for each the items of a list, 8 at once" in said
    assert "waits for search, stage gather" in said


def test_every_step_in_a_line(research, call):
    """Without a step there is a table: what cuts each of them, by which key, and where it stands."""
    code, out, _ = call("explain", research)
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["step", "cut", "after", "by", "where"],
        ["search", "10s", "stage", "default_timeout", "research.yaml:9:22"],
        ["archive", "25s", "stage", "timeout", "research.yaml:8:14"],
        ["summary", "5s", "step", "timeout", "research.yaml:28:18"],
        ["free", "2m", "config", "timeout", "research.yaml:3:12"],
    ]


def test_the_document(research, call):
    """With --json standard output is one document, or a list of them, and nothing else."""
    _, out, err = call("explain", research, "archive", "--json")
    found = json.loads(out)
    assert err == ""
    assert found["first"] == {
        "level": "stage",
        "name": "gather",
        "limit": 25.0,
        "after": 25.0,
        "key": "stage timeout",
        "at": "research.yaml:8:14",
    }
    assert [one["level"] for one in found["levels"]] == ["attempt", "node", "stage", "pipeline"]
    assert found["levels"][1]["cut_after"] == 38
    assert found["breaker"]["consecutive"] == 3
    everything = json.loads(call("explain", research, "--json")[1])
    assert [one["step"] for one in everything] == ["search", "archive", "summary", "free"]
    assert everything[1] == found


def test_a_step_that_nothing_cuts(tmp_path, monkeypatch, call):
    """It is said that there is no limit, of one step and in the table."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yml").write_text("id: p\nsteps: [{id: a, tool: x, max_retries: 1}]")
    said = " ".join(call("explain", "p.yml", "a")[1].split())
    assert "nothing cuts it: no limit is stated" in said
    assert "if all hang: never over" in said
    assert "a never no limit is stated" in " ".join(call("explain", "p.yml")[1].split())


TOOLS = """
import trio
from graceline.dialects.tools import Tools

tools = Tools()

@tools.tool("hang")
async def hang():
    await trio.sleep_forever()
"""


@pytest.mark.parametrize(
    ("step", "stage", "config"),
    [
        ("timeout: 2", "timeout: 9", "timeout: 9"),
        ("metadata: {timeout: 3}, total_timeout: 8", "default_timeout: 2", "default_timeout: 1"),
        ("total_timeout: 2, reserve: 0.5", "timeout: 9", "default_timeout: 2"),
        ("timeout: 9", "timeout: 4, reserve: 1", "timeout: 9, default_timeout: 1"),
        ("timeout: 9", "timeout: 8", "timeout: 7"),
        ("max_retries: 2, backoff: {initial: 0}", "default_timeout: 3", "timeout: 7"),
        ("max_retries: 2, backoff: {initial: 0}", "default_timeout: 2", "timeout: 7"),
    ],
)
def test_what_is_explained_is_what_the_command_runs(write, put, virtual, call, step, stage, config):
    """The blame of a run, and when it ends, are what was explained."""
    write(TOOLS, "tools.py")
    put(
        "p.yaml",
        f"id: p\nconfig: {{{config}}}\n"
        f"stages:\n- {{id: s, {stage}, steps: [{{id: a, tool: hang, {step}}}]}}",
    )
    code, out, err = call("explain", "p.yaml", "a", "--json")
    assert (code, err) == (0, "")
    hanging = json.loads(out)["retries"]["hanging"]
    code, out, err = call("run", "p.yaml", "--tools", "tools.py", "--json")
    result = json.loads(out)
    assert (code, err) == (1, "")
    assert (result["blame"]["level"], result["blame"]["name"]) == (
        hanging["level"],
        hanging["name"],
    )
    assert result["elapsed"] == hanging["after"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["research.yaml", "serch"], "there is no step 'serch' in research.yaml; did you mean"),
        (["jobs.py:nightly"], "explain reads a pipeline in a file, such as research.yaml, and"),
        (["reserch.yaml"], "there is no file 'reserch.yaml'; did you mean 'research.yaml'?"),
        (["none/of/it.yaml"], "there is no file 'none/of/it.yaml'"),
        (["broken.yaml"], "broken.yaml:1:8: steps: "),
        (["suite.yaml"], "suite.yaml holds phases, so it is a suite: there are no steps"),
        (["research.yaml", "--tools", "no.py"], "explain needs no tools; leave --tools out"),
        (["research.yaml", "search", "more"], "explain takes one FILE and one STEP"),
    ],
)
def test_mistakes(research, tmp_path, call, words, message):
    """A mistake is said in a line, with the nearest name, and the exit code is 2."""
    (tmp_path / "broken.yaml").write_text("steps: 1")
    (tmp_path / "suite.yaml").write_text(
        "id: s\nphases: [{name: a, commands: [{command: [echo]}]}]"
    )
    code, out, err = call("explain", *words)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("max_retries: 5, timeout: 1", "with 4 attempts: the retry budget allows 3 in 10s"),
        ("max_retries: 1, timeout: 9, total_timeout: 9.01", "too little time is left"),
        ("max_retries: 1, timeout: 9, idempotent: false", "with 1 attempt: idempotent is false"),
        ("max_retries: 1, timeout: 9, total_timeout: 9", "cut after 9s by total_timeout"),
        ("timeout: 9, grace: 5, total_timeout: 9.5", "9s by step timeout"),
        ("hedge: {delay: 2}, idempotent: true", "hedge a second copy of an attempt after 2s"),
        ("breaker: {min_calls: 3}", "opens when 50% of at least 3 calls fail; then attempts"),
        ("for_each: [1, 2]", "for each 2 items, 8 at once"),
        (
            "timeout: {initial: 1, ceiling: 9}, total_timeout: 8",
            "one attempt 1s never above 8s: total_timeout comes first",
        ),
    ],
)
def test_every_word(step, said):
    """What ends the attempts, and the policies, in words."""
    read = loads("id: p\nsteps: [{id: a, command: [x], " + step + "}]", file="p.yaml")
    out = io.StringIO()
    show_step(Console(width=100, file=out), read.explain("a"))
    assert said in " ".join(out.getvalue().split())


class Anything:
    def find(self, name):
        async def tool(action, parameters):
            raise AssertionError(name)

        return tool


def test_cleanup_that_a_level_above_ends():
    """What is left of the grace after the first cut is said, and which level ends it."""
    read = loads(
        "id: p\nconfig: {timeout: 9, grace: 1}\n"
        "steps: [{id: a, command: [x], timeout: 8, grace: 4}]"
    )
    out = io.StringIO()
    show_step(Console(width=100, file=out), read.explain("a"))
    said = " ".join(out.getvalue().split())
    assert "cleanup 4s 2s after the first cut: the cleanup of the pipeline ends then" in said


@pytest.mark.parametrize("width", [50, 64, 80])
def test_places_are_shown_on_narrow_terminals(width):
    """However little room there is, the line and the column of what holds are there."""
    read = loads(FILE, file="research.yaml", tools=Anything())
    out = io.StringIO()
    show_step(Console(width=width, file=out), read.explain("summary"))
    lines = out.getvalue().splitlines()[2:]
    shown = "".join(line[26:].replace(" ", "") for line in lines)
    assert ":28:18" in shown
