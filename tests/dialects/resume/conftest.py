"""A file in a directory of its own, tools that write down what they do, and runs in virtual time."""

from collections import Counter
from textwrap import dedent

import attrs
import pytest
import trio

from graceline import open_engine
from graceline.bench.journal import journal_of, read_lines
from graceline.dialects.resume import recording, resuming
from graceline.dialects.tools import Tools
from graceline.dialects.yaml import load


@attrs.define
class Desk:
    """One file, its journal, and what its tools have done.

    Attributes:
        path: the file.
        out: the directory of the journal.
        done: the names of what was done, in that order; a tool writes it down before anything else.
        ended: the same, at the end.
        failing: names that fail.
        gives: what names return; by default the name itself.
        takes: seconds that names take.
    """

    path: object
    out: object
    done: list = attrs.field(factory=list)
    ended: list = attrs.field(factory=list)
    failing: set = attrs.field(factory=set)
    gives: dict = attrs.field(factory=dict)
    takes: dict = attrs.field(factory=dict)

    def write(self, text):
        self.path.write_text(dedent(text))

    def tools(self):
        """The tool `do`, async, also called `do_too`, and `do_plain`, which runs in a thread."""
        tools = Tools.default()

        @tools.tool("do")
        async def do(name, given=None):
            name = str(name)
            self.done.append(name)
            await trio.sleep(self.takes.get(name, 1))
            return self._end(name, given)

        tools.add("do_too", do)

        @tools.tool("do_plain")
        def do_plain(name, given=None):
            self.done.append(str(name))
            return self._end(str(name), given)

        return tools

    def _end(self, name, given):
        if name in self.failing:
            raise ValueError(f"{name} failed")
        self.ended.append(name)
        value = self.gives.get(name, name)
        return value(given) if callable(value) else value

    def load(self):
        return load(self.path, tools=self.tools())

    async def run(self, inputs=None, *, engine=None, **options):
        """Run the file with a journal; returns the result."""
        with recording(self.load(), self.out, inputs, **options) as run:
            return await self.finish(run)

    async def resume(self, **options):
        """Go on; returns the result."""
        with resuming(self.out, tools=self.tools(), **options) as run:
            self.recording = run
            return await self.finish(run)

    async def finish(self, run):
        async with open_engine() as engine:
            result = await engine.run(run.pipeline, run.inputs, timeout=run.timeout)
        run.finish(result)
        return result

    def lines(self, event=None):
        return [line for line in read_lines(self.out) if event in (None, line["event"])]

    def cut(self, count, torn=0):
        """Leave so many lines of the journal, and some bytes of the next one."""
        lines = journal_of(self.out).read_bytes().splitlines(keepends=True)
        rest = lines[count][:torn] if torn else b""
        journal_of(self.out).write_bytes(b"".join(lines[:count]) + rest)

    def counts(self):
        return Counter(self.done)

    recording: object = None


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path / "f.yaml", tmp_path / "out")
