"""Suites that run in virtual time or for real, and a mark that finds the programs they started."""

import uuid
from pathlib import Path

import pytest


class Mark:
    """A variable that every program inherits, so that what is left of a run can be found."""

    def __init__(self):
        self.env = {"GRACELINE_BENCH_MARK": uuid.uuid4().hex}
        self._entry = f"GRACELINE_BENCH_MARK={self.env['GRACELINE_BENCH_MARK']}".encode()

    def alive(self):
        """The command lines of the marked processes that have not ended."""
        return [line for entry in Path("/proc").iterdir() if (line := self._line(entry))]

    def _line(self, entry):
        try:
            if entry.name.isdecimal() and self._entry in (entry / "environ").read_bytes():
                return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended, or is somebody else's
            pass
        return None


@pytest.fixture
def mark():
    return Mark()
