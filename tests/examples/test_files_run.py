"""The examples that are files, run by the command line, with the web that stands in for the web."""

import json
import select
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
RESEARCH = ("run", EXAMPLES / "research.yaml", "--tools", EXAMPLES / "research_tools.py")
FLAKY = ("run", EXAMPLES / "flaky.yaml", "-i", "city=Oslo")


@pytest.fixture
def web():
    """Starts the small web; gives its address."""
    started = []

    def start(*argv):
        process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, EXAMPLES / "local_web.py", "--seconds", "100", *argv],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert select.select([process.stdout], [], [], 60)[0]
        return process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_research_and_weather(program, web):
    """With a web that is there, or fails a few times, both have what they want, and exit with 0."""
    address = web("--flaky", "/weather", "--flaky", "/pages/honey")
    research = program(*RESEARCH, "-i", "topic=bees", "-i", f"web={address}", "--json")
    weather = program(*FLAKY, "-i", f"api={address}", "--json")

    ran = research.ended()
    assert (ran.code, ran.err) == (0, "")
    assert ran.document["degraded"] == []
    assert ran.document["value"] == {
        "summary": "A hive of bees is warm. Bees dance in it. Bees make it of nectar.",
        "sources": ["hive", "honey"],
        "searched": True,
    }
    assert [page["status_code"] for page in ran.nodes["fetch"]["value"]] == [200, 200, 404]
    assert ran.nodes["browse"]["status"] == "skipped"

    ran = weather.ended()
    assert (ran.code, ran.err) == (0, "")
    assert ran.document["value"] == {"degrees": 4, "asked": "now", "why": None}
    assert ran.nodes["now"]["attempts"] == 3
    assert ran.nodes["yesterday"]["status"] == "skipped"


def test_research_and_weather_another_way(program, web, tmp_path):
    """Where the first way fails both take the other one, and are degraded: 1, or 0 if that is allowed."""
    address = web("--down", "/search", "--down", "/weather")
    output = tmp_path / "research.json"
    research = program(*RESEARCH, "-i", "topic=owl", "-i", f"web={address}", "--output", output)
    weather = program(*FLAKY, "-i", f"api={address}", "--allow-degraded", "--json")

    ran = research.ended()
    assert (ran.code, ran.err) == (1, "")
    document = json.loads(output.read_text("utf-8"))
    assert (document["status"], document["degraded"]) == ("ok", ["search"])
    assert document["value"] == {
        "summary": "Owls are silent. No owl makes honey.",
        "sources": ["hive", "honey", "owls"],
        "searched": False,
    }
    search = document["stages"]["research"]["nodes"]["search"]
    assert (search["status"], search["attempts"]) == ("failed", 3)
    assert "answers 503" in search["error"]["message"]

    ran = weather.ended()
    assert (ran.code, ran.err, ran.document["degraded"]) == (0, "", ["now"])
    value = ran.document["value"]
    assert (value["degrees"], value["asked"]) == (4, "yesterday")
    assert "answers 503" in value["why"]
    assert ran.nodes["now"]["attempts"] == 3, "the breaker refuses the fourth one"


def test_nothing_is_wrong(program):
    """`graceline check` finds neither errors nor warnings in any of the examples."""
    files = sorted(EXAMPLES.glob("*.yaml"))
    tools = ("--tools", EXAMPLES / "research_tools.py", "--tools", EXAMPLES / "census_tools.py")
    ran = program("check", *files, *tools, "--strict").ended()
    assert (ran.code, ran.out, ran.err) == (0, "5 files are fine\n", "")


def test_their_commands_are_right():
    """What the comments and the overview say of running them names files and options that are there."""
    pages = [*EXAMPLES.glob("*.yaml"), EXAMPLES / "README.md"]
    words = [word.strip("`|") for page in pages for word in page.read_text("utf-8").split()]
    named = {word for word in words if word.startswith("docs/examples/")}
    assert {EXAMPLES.parents[1] / word for word in named if "." in word} >= {
        *EXAMPLES.glob("*.yaml"), *EXAMPLES.glob("*_tools.py"), EXAMPLES / "local_web.py",
    }  # fmt: skip
    assert [word for word in named if not (EXAMPLES.parents[1] / word).exists()] == []


def test_nothing_to_summarise(program, web):
    """A tool that answers `success: false` fails its step, and the run: exit code 1, with its words."""
    ran = program(*RESEARCH, "-i", "topic=cheese", "-i", f"web={web()}", "--json").ended()
    assert (ran.code, ran.document["status"], ran.document["value"]) == (1, "failed", None)
    summary = ran.nodes["summary"]
    assert summary["error"]["message"] == "no page says anything about 'cheese'"
    assert summary["attempts"] == 1


def test_build(program, tmp_path):
    """The build makes, tests and tries its package in the directory that it is given, and tidies up."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    python = f"python={sys.executable}"
    ran = program(
        "run", EXAMPLES / "ci.yaml", "-i", f"workspace={workspace}", "-i", python, "--json"
    ).ended()
    assert (ran.code, ran.err) == (0, "")
    version = f"{sys.implementation.cache_tag}"
    assert ran.document["value"] == {
        "sources": 3,
        "tests": "OK",
        "built": [f"calculator.{version}.pyc", "app.zip"],
        "says": "two and three make 5",
    }
    assert [*ran.document["stages"]] == ["sources", "checks", "package", "outputs"]
    assert sorted(path.name for path in workspace.iterdir()) == [
        "__main__.py", "__pycache__", "app.zip", "calculator.py", "test_calculator.py",
    ]  # fmt: skip


def test_suite(program, tmp_path):
    """The suite runs all its phases, and leaves its journal and its report."""
    out = tmp_path / "out"
    ran = program("bench", EXAMPLES / "suite.yaml", "--out", out, "--json").ended()
    assert (ran.code, ran.err) == (0, "")
    commands = {row["command"]: row["status"] for row in ran.document["commands"]}
    assert commands == dict.fromkeys(("version", "dumps", "loads", "floats", "texts"), "ok")
    assert ran.document == json.loads((out / "report.json").read_text("utf-8"))
    assert {path.name for path in out.iterdir()} == {"journal.jsonl", "report.json", "report.html"}


def bare(stage):
    """A stage of a document without what is measured."""
    nodes = {
        name: (node["status"], node["value"], node["limit"], node["source"])
        for name, node in stage["nodes"].items()
    }
    return stage["status"], stage["value"], stage["limit"], stage["source"], nodes


def test_census(program):
    """The census as a file is the census in Python: the same stages, limits, nodes and values."""
    options = ("-i", "limit=12", "-i", "top=3", "--json")
    tools = ("--tools", EXAMPLES / "census_tools.py")
    file = program("run", EXAMPLES / "census.yaml", *tools, *options)
    python = program("run", f"{EXAMPLES / 'census.py'}:census", *options)
    one, other = file.ended(), python.ended()
    assert (one.code, one.err) == (other.code, other.err) == (0, "")
    stages, wanted = one.document["stages"], other.document["stages"]
    assert [*stages] == [*wanted]
    assert {name: bare(stage) for name, stage in stages.items()} == {
        name: bare(stage) for name, stage in wanted.items()
    }
    for key in ("pipeline", "status", "value", "degraded", "limit", "source"):
        assert one.document[key] == other.document[key]
    assert one.document["value"]["files"] == 12


def test_the_census_goes_on(program, tmp_path):
    """Cut in between it says whose limit it was, and exits with 1; its journal has what is finished."""
    tools = ("--tools", EXAMPLES / "census_tools.py")
    options = ("-i", "limit=20", "--timeout", "100ms", "--journal", tmp_path / "out", "--json")
    ran = program("run", EXAMPLES / "census.yaml", *tools, *options).ended()
    assert (ran.code, ran.document["status"]) == (1, "timed_out")
    blame = ran.document["blame"]
    assert (blame["level"], blame["name"], blame["source"]) == ("pipeline", "census", "call")

    ran = program("resume", tmp_path / "out", "--timeout", "1m", "--json").ended()
    assert (ran.code, ran.document["status"]) == (0, "ok")
    assert ran.document["value"]["files"] == 20
    assert ran.document["value"]["crosscheck"]["differences"] == {}
