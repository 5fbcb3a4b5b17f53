"""Fixtures for real processes: a mark that finds everything that was started, and programs as files."""

import os
import sys
import threading
import uuid
from pathlib import Path

import pytest


class Mark:
    """Marks programs through a variable that everybody whom they start inherits."""

    def __init__(self):
        self.env = {"GRACELINE_TEST_MARK": uuid.uuid4().hex}
        self._entry = "GRACELINE_TEST_MARK={GRACELINE_TEST_MARK}".format(**self.env).encode()

    def alive(self):
        """The marked processes that have not ended, by their process ids."""
        for _ in range(1000):
            found = {entry: self._bears(entry) for entry in Path("/proc").glob("[0-9]*")}
            if None not in found.values():
                break
        return sorted(int(entry.name) for entry, bears in found.items() if bears)

    def _bears(self, entry):
        """Whether a process bears the mark; None while it becomes another program."""
        try:
            environment = (entry / "environ").read_bytes()
            if environment or (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return self._entry in environment
            (entry / "exe").readlink()  # which a thread of the kernel does not have
        except OSError:  # it has ended, or is somebody else's
            return False
        return None


def children():
    """The child processes of this one, those that nobody has waited for included."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= {int(pid) for pid in (task / "children").read_text().split()}
        except OSError:  # a thread that has ended meanwhile; its children are another's
            continue
    return found


@pytest.fixture
def mark():
    """A mark; afterwards nothing that bears it is there, and nobody waits to be waited for."""
    before = children()
    mark = Mark()
    yield mark
    assert mark.alive() == []
    assert children() <= before


class Belongings:
    """What this process holds: its children, its threads, and its descriptors."""

    def __init__(self):
        self._children = children()
        self._threads = set(threading.enumerate())
        self._descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    def beyond(self, before):
        """What has come since; threads that were idle may have gone."""
        return (
            self._children - before._children,
            self._threads - before._threads,
            max(0, self._descriptors - before._descriptors),
        )


@pytest.fixture
def nothing_more():
    """Remember what this process holds; the function that it gives says whether it holds no more."""

    def remember():
        before = Belongings()
        return lambda: Belongings().beyond(before) == (set(), set(), 0)

    return remember


@pytest.fixture
def belongings():
    """Ask what this process holds: its children, its own threads, and how many descriptors."""

    def look():
        threads = {one for one in threading.enumerate() if not one.name.startswith("Trio thread")}
        return children(), threads, len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    return look


@pytest.fixture
def engine_script(tmp_path, mark):
    """Write a program that runs an engine; gives the words that start it."""

    def write(source):
        path = tmp_path / "engine_script.py"
        path.write_text(source)
        return [sys.executable, str(path)]

    return write
