"""Files with pipelines for the command, and a way to call it in this process."""

import importlib
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import trio
from trio.testing import MockClock

import graceline
from graceline.cli import main

HEAD = """
import os, signal, trio
from graceline import Node, Pipeline, Stage, cleanup, node, open_engine, save_partial
"""


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """The directory for state, in which the command keeps its history: never the user's own."""
    folder = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture
def without_dialects(monkeypatch):
    """The dialects are as if nobody had imported them yet, and afterwards as they were."""
    monkeypatch.setattr(graceline, "dialects", importlib.import_module("graceline.dialects"))
    for name in list(sys.modules):
        if name.startswith("graceline.dialects"):
            monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file into a directory of its own, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)

    def put(source, name="jobs.py"):
        (tmp_path / name).write_text(HEAD + dedent(source))
        return name

    yield put
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def put(tmp_path, write):
    """Write a file as it is, such as one of the dialect, beside those of `write`."""

    def place(name, source):
        (tmp_path / name).write_text(dedent(source))
        return name

    return place


@pytest.fixture
def virtual(monkeypatch):
    """Let the command run in virtual time: a busy machine changes nothing."""
    real = trio.run

    def run(*args):
        return real(*args, clock=MockClock(autojump_threshold=0))

    monkeypatch.setattr(trio, "run", run)


@pytest.fixture
def call(capsys, monkeypatch):
    """Call the command; gives the exit code, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*argv):
        code = main(list(argv))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def start_file(program, tmp_path):
    """Writes a file of the dialect, and starts it in a process of its own, with the tools of the tests."""
    tools = Path(__file__).with_name("hanging_tools.py")

    def start(text, *argv, folder=tmp_path):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "p.yaml").write_text(dedent(text), "utf-8")
        return program("run", "p.yaml", "--tools", tools, *argv, cwd=folder)

    return start
