"""Files as texts, tools that stand for real ones, and runs of them in virtual time."""

from textwrap import dedent

import attrs
import pytest
import trio

from graceline import open_engine
from graceline.definitions.checks import nearest
from graceline.dialects.yaml import FileError, loads
from graceline.errors import GracelineError


@attrs.define
class FakeTools:
    """A registry as `graceline.dialects.tools` has one, with functions of the test."""

    found: dict = attrs.field(factory=dict)
    calls: list = attrs.field(factory=list)

    def add(self, function):
        self.found[function.__name__] = function
        return function

    def find(self, name):
        if name not in self.found:
            raise GracelineError(f"there is no tool {name!r}; {nearest(name, self.found)}")
        return self.found[name]


@pytest.fixture
def tools():
    """`note` keeps what it is given, `work` takes time and may fail, `plain` is no async function."""
    made = FakeTools()

    @made.add
    async def note(*, action=None, parameters):
        made.calls.append((action, parameters))
        return parameters.get("gives", parameters)

    @made.add
    async def work(seconds=0.0, *, fail=0, result=None):
        """Takes some seconds, and fails so many times."""
        made.calls.append(("work", trio.current_time()))
        await trio.sleep(seconds)
        failed = sum(call[0] == "failed" for call in made.calls)
        if failed < fail:
            made.calls.append(("failed", trio.current_time()))
            raise ValueError(f"failed {failed + 1} times")
        return result

    @made.add
    def plain(**parameters):
        return sorted(parameters.items())

    return made


@pytest.fixture
def read(tools):
    """Reads a file from an indented text."""
    return lambda text, **options: loads(dedent(text), file="f.yaml", tools=tools, **options)


@pytest.fixture
def problems(read):
    """Everything that is wrong with a file, as lines."""

    def find(text, **options):
        with pytest.raises(FileError) as caught:
            read(text, **options)
        return str(caught.value).splitlines()

    return find


@pytest.fixture
async def engine(autojump_clock):
    """An engine with the short limits that are the defaults, in virtual time."""
    async with open_engine() as engine:
        yield engine


@pytest.fixture
async def run(read, engine):
    """Runs a file on an engine whose own defaults are the short ones."""

    async def run_file(text, inputs=None, **options):
        return await engine.run(read(text, **options).pipeline(), inputs)

    return run_file
