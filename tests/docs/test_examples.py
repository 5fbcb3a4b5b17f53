import io
import logging
import shlex
import sys
import textwrap
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser
from trio.testing import MockClock

from graceline.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REAL_CLOCK = "<!-- real clock -->"
"""Stands before a block with worker threads, which virtual time takes for idle."""

COMMANDS = ("check", "explain", "graph", "history", "telemetry")
RUN = tuple(f"$ graceline {name} " for name in COMMANDS)
"""Commands that are run as they stand on a page."""


def run_python(example):
    """Run a block; its `trio.run` has virtual time, and what it prints is kept."""
    before = example.document.text[: example.region.start].rstrip()
    real = trio.run
    printed = io.StringIO()
    lines = example.document.text[: example.region.start].count("\n") + example.parsed.line_offset
    code = compile("\n" * (lines + 1) + example.parsed, example.document.path, "exec")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        if not before.endswith(REAL_CLOCK):
            patch.setattr(trio, "run", partial(real, clock=MockClock(autojump_threshold=0)))
        exec(code, example.namespace)  # noqa: S102 - the blocks of our own pages
    example.namespace["printed"] = printed.getvalue()


def compare_output(example):
    """Compare a block of text with what the block of Python before it printed."""
    assert textwrap.dedent(example.parsed) == example.namespace.pop("printed")


def run_command(example):
    """Run a command that ends by itself, and compare what it writes."""
    first, _, expected = textwrap.dedent(example.parsed).partition("\n")
    if not first.startswith(RUN):
        return
    written = io.StringIO()
    with redirect_stdout(written):
        assert main(shlex.split(first)[2:]) == 0
    lines = (line.rstrip() for line in written.getvalue().splitlines())
    assert expected.splitlines() == list(lines)


def write_file(example):
    """Write a block of YAML to the file that its first line names, for the blocks after it."""
    name = example.parsed.partition("\n")[0].removeprefix("# ")
    if name.endswith(".yaml"):
        Path(name).write_text(example.parsed, "utf-8")


SYBIL = Sybil(
    parsers=[
        CodeBlockParser("yaml", write_file),
        CodeBlockParser("python", run_python),
        CodeBlockParser("text", compare_output),
        CodeBlockParser("console", run_command),
    ]
)


@pytest.fixture
def _quiet_log():
    """What a page does to the log ends with it."""
    log = logging.getLogger("graceline")
    handlers, level = log.handlers, log.level
    yield
    for handler in log.handlers:
        if handler not in handlers:
            handler.close()
    log.handlers = handlers
    log.setLevel(level)


@pytest.fixture
def _no_collector(monkeypatch):
    """The SDK that a page sets up for the process ends with it, and sends nothing anywhere."""
    stand_in = ModuleType("trace_exporter")
    stand_in.OTLPSpanExporter = InMemorySpanExporter
    name = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, name, stand_in)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())


@pytest.mark.usefixtures("_quiet_log", "_no_collector")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page, tmp_path, monkeypatch):
    """Every block of Python on the page runs, and prints what the page says that it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "80")
    for example in SYBIL.parse(page).examples():
        example.namespace.setdefault("__name__", "__main__")
        example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    """Every relative link on the page leads to a file."""
    text = page.read_text()
    links = [part.split(")")[0].split("#")[0] for part in text.split("](")[1:]]
    missing = [
        link for link in links if link and "://" not in link and not (page.parent / link).exists()
    ]
    assert missing == []


def test_commands():
    """The README's two commands are one line each, and begin with the virtual environment."""
    lines = (ROOT / "README.md").read_text().splitlines()
    commands = [line for line in lines if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert "docs/examples/census.py:census" in commands[0]
    assert "-m pytest" in commands[1]


def test_picture(tmp_path, monkeypatch):
    """The picture on the page about the waterfall is the one that its example draws."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "waterfall.md"
    first = next(iter(SYBIL.parse(page).examples()))
    first.namespace["__name__"] = "__main__"
    first.evaluate()
    drawn = (tmp_path / "waterfall.svg").read_text("utf-8")
    assert drawn == (page.parent / "waterfall.svg").read_text("utf-8")


def test_picture_of_a_graph(tmp_path, monkeypatch):
    """The picture on the page about graphs is the one of its example."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "graph.md"
    next(iter(SYBIL.parse(page).examples())).evaluate()
    assert main(["graph", "release.yaml", "--svg", "graph.svg"]) == 0
    drawn = (tmp_path / "graph.svg").read_text("utf-8")
    assert drawn == (page.parent / "graph.svg").read_text("utf-8")
