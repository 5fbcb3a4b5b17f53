"""The pytest plugin, seen from the tests of a project that uses it."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import graceline.testing.plugin
import graceline.testing.recording
import graceline.timelines.waterfall

pytest_plugins = ["pytester"]

NAMES = {found.name for found in entry_points(group="pytest11")}
# A checkout that was installed before the plugin was there does not announce it yet.
LOADED = () if "graceline" in NAMES else ("-p", "graceline.testing.plugin")

INI = """
[pytest]
trio_mode = true
filterwarnings = error
addopts = --strict-markers --strict-config
"""
HEAD = """
import math, os
import pytest, trio
from trio.testing import MockClock
from graceline import Node, Pipeline, Stage, open_engine

async def work(value):
    await trio.sleep(3600)
    return value

async def boom(value):
    raise ValueError("the services are down")

HOUR = Pipeline("hour", [work], timeout=7200)
SHORT = Pipeline("short", [work], timeout=60)
BROKEN = Pipeline("broken", [boom], timeout=60)
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """Runs a project with one test module in it, and gives the result."""
    monkeypatch.delenv("GRACELINE_MODE", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(module, *args, ini=INI, conftest="", run=pytester.runpytest_inprocess):
        pytester.makefile(".ini", pytest=ini)
        pytester.makeconftest(conftest)
        pytester.makepyfile(HEAD + module)
        return run(*LOADED, "-p", "no:cacheprovider", *args)

    return run


def test_an_engine_for_each_test(project):
    """`engine` is open in an async test, on the test's own clock."""
    found = project(
        """
async def test_real(engine):
    assert not isinstance(trio.lowlevel.current_clock(), MockClock)
    assert await engine.execute(Pipeline("p", [Node(abs_, name="abs")]), -1) == 1

async def test_virtual(engine, autojump_clock):
    assert await engine.execute(HOUR, 1) == 1

async def abs_(value):
    return abs(value)
"""
    )
    found.assert_outcomes(passed=2)


def test_the_engine_is_closed_after_the_test(project):
    """The engine of a test is shut when the test has ended."""
    found = project(
        """
seen = []

async def test_first(virtual_engine):
    seen.append(virtual_engine)

async def test_second(virtual_engine):
    assert virtual_engine is not seen[0]
    with pytest.raises(Exception, match="closed"):
        await seen[0].run(HOUR)
"""
    )
    found.assert_outcomes(passed=2)


def test_a_virtual_engine_brings_its_clock(project):
    """A test with `virtual_engine` runs in virtual time, without asking for a clock."""
    found = project(
        """
async def test_it(virtual_engine):
    assert await virtual_engine.execute(HOUR, 1) == 1
    assert trio.current_time() == 3600

@pytest.mark.trio
async def test_marked(virtual_engine):
    assert await virtual_engine.execute(HOUR, 1) == 1

class TestIt:
    @pytest.mark.parametrize("value", [1, 2])
    async def test_it(self, value, virtual_engine):
        assert await virtual_engine.execute(HOUR, value) == value
"""
    )
    found.assert_outcomes(passed=4)


def test_an_indirect_virtual_engine_brings_its_clock_too(project):
    """A fixture of the project may build on `virtual_engine`."""
    found = project(
        """
@pytest.fixture
async def answer(virtual_engine):
    return await virtual_engine.execute(HOUR, 42)

async def test_it(answer):
    assert answer == 42
"""
    )
    found.assert_outcomes(passed=1)


def test_a_clock_that_the_test_asks_for_is_kept(project):
    """`virtual_engine` beside `mock_clock` runs on that clock."""
    found = project(
        """
async def test_it(virtual_engine, mock_clock):
    assert trio.lowlevel.current_clock() is mock_clock
"""
    )
    found.assert_outcomes(passed=1)


def test_without_trio_mode_a_marker_is_enough(project):
    """A project that marks its async tests one by one has the fixtures too."""
    module = """
@pytest.mark.trio
async def test_it(virtual_engine, timeline):
    assert await virtual_engine.execute(HOUR, 1) == 1
    assert timeline.pipeline.status == "ok"
"""
    project(module, ini="[pytest]\nfilterwarnings = error\n").assert_outcomes(passed=1)


def test_examples_of_given_have_no_shared_virtual_clock(project):
    """Under @given, `virtual_engine` says what to write instead."""
    found = project(
        """
from hypothesis import HealthCheck, given, settings, strategies

@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=1)
@given(strategies.just(1))
async def test_it(virtual_engine, value):
    pass
"""
    )
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*@graceline.testing.virtual_time*"])


def test_a_timeline_hears_the_first_run(project):
    """`timeline` is subscribed to the engine of the test before anything runs."""
    found = project(
        """
@pytest.mark.parametrize("order", [1, 2])
async def test_it(timeline, virtual_engine, order):
    result = await virtual_engine.run(SHORT)
    await virtual_engine.run(HOUR)
    await trio.sleep(1)
    assert timeline.run_id == result.run_id
    assert [row.name for row in timeline.rows()] == ["short", "work"]
    assert timeline.pipeline.ended == 60
    assert {step.name for step in timeline.steps} >= {"work"}

@pytest.fixture
def world(timeline):
    return {"timeline": timeline}

async def test_indirect(world, virtual_engine):
    await virtual_engine.run(SHORT)
    await trio.sleep(1)
    assert {step.name for step in world["timeline"].steps} >= {"work"}
"""
    )
    found.assert_outcomes(passed=3)


def test_a_timeline_without_an_engine_is_refused(project):
    """A timeline that nobody feeds would prove nothing."""
    found = project("async def test_it(timeline): pass")
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines(["*listens to `engine` or `virtual_engine`*"])


def test_a_failed_test_shows_the_waterfalls_of_its_runs(project):
    """Each run of a failed test is drawn, with the level to blame and the error of its node."""
    found = project(
        """
async def test_it(virtual_engine):
    await virtual_engine.run(SHORT)
    result = await virtual_engine.run(BROKEN)
    assert result.status == "ok"
"""
    )
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(
        [
            "*- graceline waterfall -*",
            "short  timed_out after 1m, limit 1m (pipeline)",
            "  work  *",
            "to blame  pipeline 'short' exceeded its limit of 1m",
            "broken  failed after 0s, limit 1m (pipeline)",
            "error     ValueError: the services are down*",
        ]
    )


def test_a_test_that_passes_shows_nothing(project):
    """No waterfall is drawn for tests that pass, are skipped, or fail as they should."""
    found = project(
        """
async def test_it(virtual_engine):
    await virtual_engine.run(SHORT)

@pytest.mark.xfail
async def test_xfail(virtual_engine):
    await virtual_engine.run(SHORT)
    assert False

async def test_skip(virtual_engine):
    await virtual_engine.run(SHORT)
    pytest.skip("enough")
""",
        "-rA",
    )
    found.assert_outcomes(passed=1, skipped=1, xfailed=1)
    found.stdout.no_fnmatch_line("*waterfall*")


def test_a_failed_test_without_a_run_shows_nothing(project):
    """Where nothing ran there is nothing to draw."""
    found = project(
        """
async def test_it(virtual_engine):
    assert False

def test_plain():
    assert False
"""
    )
    found.assert_outcomes(failed=2)
    found.stdout.no_fnmatch_line("*waterfall*")


def test_many_runs_leave_those_that_went_wrong(project):
    """Of many runs the newest ten are drawn; those that did not end well are kept first."""
    found = project(
        """
async def test_it(virtual_engine):
    await virtual_engine.run(SHORT)
    for number in range(30):
        await virtual_engine.run(HOUR, run_id="again")
    assert False
"""
    )
    lines = found.stdout.lines
    assert len([line for line in lines if line.startswith("short  timed_out")]) == 1
    assert len([line for line in lines if line.startswith("hour  ok")]) == 9
    found.stdout.fnmatch_lines(["*21 more are not shown*"])


def test_a_run_that_never_ends_does_not_keep_a_test(project):
    """What is still running when the test ends is cancelled, and the failure is reported."""
    found = project(
        """
async def hang(value):
    await trio.sleep_forever()

async def test_it(virtual_engine):
    virtual_engine.start(Pipeline("p", [hang], timeout=math.inf))
    await trio.sleep(1)
    assert False
"""
    )
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["p  cancelled after 1s*", "*the test has ended*"])


MODE = """
async def test_fixture(virtual_engine):
    assert virtual_engine.mode == "off"
    assert await virtual_engine.execute(SHORT, 1) == 1

async def test_own():
    async with open_engine() as opened:
        assert opened.mode == "off"

async def test_stated():
    async with open_engine(mode="observe") as opened:
        assert opened.mode == "observe"
"""


def test_the_mode_reaches_every_engine(project, monkeypatch):
    """`--graceline-mode` holds for the fixtures and for engines that tests open without mode=."""
    found = project(MODE, "--graceline-mode=off")
    found.assert_outcomes(passed=3)
    found.stdout.fnmatch_lines(["graceline: mode off"])
    project(MODE).assert_outcomes(passed=1, failed=2)
    monkeypatch.setenv("GRACELINE_MODE", "off")
    project(MODE).assert_outcomes(passed=3)


def test_the_mode_wins_over_the_options_of_the_project(project):
    """What is said for this one session counts more than `graceline_options`."""
    conftest = """
import pytest

@pytest.fixture
def graceline_options():
    return {"mode": "observe", "lane": "tests"}
"""
    module = """
async def test_it(engine):
    assert (engine.mode, engine.lane) == (os.environ["EXPECTED"], "tests")
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPECTED", "observe")
        project(module, conftest=conftest).assert_outcomes(passed=1)
        patch.setenv("EXPECTED", "off")
        project(module, "--graceline-mode=off", conftest=conftest).assert_outcomes(passed=1)


@pytest.mark.parametrize("before", [None, "observe"])
def test_the_environment_is_left_as_it_was(project, monkeypatch, before):
    """The mode ends with the session, for whoever runs pytest inside a program."""
    project("def test_it(): pass", "--graceline-mode=off").assert_outcomes(passed=1)
    if before is not None:
        monkeypatch.setenv("GRACELINE_MODE", before)
    project("def test_it(): pass", "--graceline-mode=off").assert_outcomes(passed=1)
    import os

    assert os.environ.get("GRACELINE_MODE") == before


def test_a_mode_that_does_not_exist_is_refused(project):
    """A wrong mode ends the session with a message that names the valid ones."""
    found = project("def test_it(): pass", "--graceline-mode=of")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines(["*--graceline-mode*invalid choice: 'of'*enforce*observe*off*"])


def test_an_engine_of_the_project_comes_first(project):
    """A fixture `engine` in a conftest replaces the plugin's."""
    conftest = "import pytest\n\n@pytest.fixture\ndef engine():\n    return 'a database'\n"
    module = "def test_it(engine):\n    assert engine == 'a database'\n"
    project(module, conftest=conftest).assert_outcomes(passed=1)


def test_a_plain_test_is_told_that_it_must_be_async(project):
    """In a test that pytest-trio does not run, the fixtures say what is missing."""
    found = project("def test_it(engine): pass")
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines(["*write `async def`*trio_mode = true*@pytest.mark.trio*"])


def test_without_pytest_trio_the_fixtures_say_so(project):
    """Where pytest-trio is missing, the message names what to install."""
    module = "async def test_it(virtual_engine): pass\n"
    found = project(module, "-p", "no:trio", ini="[pytest]\nfilterwarnings = error\n")
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines(["*need pytest-trio: pip install 'graceline[[]testing]'*"])


def test_without_rich_the_report_says_so(project, monkeypatch):
    """Where rich is missing, a failed test still names its runs, and what to install."""
    monkeypatch.setattr(graceline.testing.plugin, "find_spec", lambda name: None)
    module = """
async def test_it(virtual_engine):
    await virtual_engine.run(SHORT, run_id="r1")
    assert False
"""
    found = project(module)
    found.stdout.fnmatch_lines(["run 'r1': to see its waterfall, pip install*"])


def test_a_terminal_without_unicode_gets_plain_characters(project, monkeypatch):
    """The picture is drawn in what the terminal can show."""

    class Plain:
        encoding = "ascii"

    monkeypatch.setattr(sys, "__stdout__", Plain())
    module = """
async def test_it(virtual_engine):
    await virtual_engine.run(SHORT)
    assert False
"""
    project(module).stdout.fnmatch_lines(["  work *###|*"])


def test_workers_of_xdist_send_their_waterfalls(project, pytester):
    """Under pytest-xdist the mode reaches the workers, and the pictures come back."""
    pytest.importorskip("xdist")
    module = """
async def test_it(virtual_engine):
    assert virtual_engine.mode == "off"
    await virtual_engine.run(SHORT)
    assert False
"""
    found = project(module, "-n1", "--graceline-mode=off", run=pytester.runpytest_subprocess)
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*- graceline waterfall -*", "short  ok after 1h*"])


def test_the_plugin_itself_imports_nothing_but_pytest():
    """Whoever has graceline installed and does not use the plugin pays for one small module."""
    source = graceline.testing.plugin.__file__
    code = (
        "import importlib.util, sys; import pytest\n"
        "before = set(sys.modules)\n"
        f"spec = importlib.util.spec_from_file_location('alone', {source!r})\n"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})\n"
    )
    done = run_python(code)
    heavy = {"trio", "graceline", "rich", "hypothesis", "attr", "attrs", "pytest_trio"}
    assert heavy & set(done.stdout.split()) == set()


def test_a_session_without_the_fixtures_draws_nothing_and_waits_for_nothing(project, pytester):
    """A project that does not use the plugin loads neither rich nor Hypothesis because of it."""
    conftest = """
import sys

def pytest_unconfigure():
    print("loaded:", sorted({"rich", "hypothesis"} & set(sys.modules)))
"""
    options = ("-p", "no:trio", "-p", "no:hypothesispytest", "-p", "no:xdist")
    found = project(
        "def test_it(): assert 0",
        *options,
        conftest=conftest,
        ini="[pytest]\n",
        run=pytester.runpytest_subprocess,
    )
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["loaded: []"])


def run_python(code):
    return subprocess.run(  # noqa: S603 - code of our own
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
