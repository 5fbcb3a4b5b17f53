"""For all tests: one that a stray `Cancelled` ended early has not passed; and none is timed."""

import functools
import inspect
import json
import os
import signal
import subprocess
import sys
import threading

import attrs
import pytest
from hypothesis import HealthCheck, settings

# How fast an example runs says something of the machine; in all else, what Hypothesis would do here.
settings.register_profile("unhurried", deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item):
    """Fail an async test that did not run to its end: pytest-trio absorbs a `Cancelled` silently."""
    function = getattr(item, "obj", None)
    if not inspect.iscoroutinefunction(function):
        return (yield)
    ended = []

    @functools.wraps(function)
    async def run_to_the_end(**fixtures):
        await function(**fixtures)
        ended.append(True)

    item.obj = run_to_the_end
    outcome = yield
    if not ended:
        pytest.fail("a Cancelled escaped from the test, which therefore did not end")
    return outcome


@pytest.fixture
def bounded():
    """A test that hangs is interrupted until it ends; afterwards no thread of an engine is left."""

    def alarm(*_):
        raise AssertionError("the main thread hangs")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, 120, 1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    assert [t for t in threading.enumerate() if t.name == "graceline engine"] == []


@pytest.fixture
def interrupt():
    """Interrupt the main thread as Ctrl-C does, from any thread."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.main_thread().ident
    yield lambda: signal.pthread_kill(main, signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@attrs.frozen
class Ran:
    """What became of a command line in a process of its own."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        """What it printed with `--json`."""
        return json.loads(self.out)

    @property
    def nodes(self):
        """The nodes of that document, of all stages."""
        stages = self.document["stages"].values()
        return {name: node for stage in stages for name, node in stage["nodes"].items()}


@attrs.frozen
class Program:
    """A command line that runs in a process of its own."""

    process: subprocess.Popen

    def ended(self):
        """Wait for its end."""
        out, err = self.process.communicate(timeout=100)
        return Ran(self.process.returncode, out, err)


@pytest.fixture
def program(tmp_path):
    """Starts `graceline` in a process of its own, in the directory of the test; several run at once."""
    started = []

    def start(*argv, cwd=tmp_path, before=(sys.executable, "-W", "error", "-m", "graceline")):
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*before, *map(str, argv)],
            cwd=cwd,
            env=os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return Program(process)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
