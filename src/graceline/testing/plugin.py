"""The pytest plugin: engines for async tests, and the picture of its runs under a failed test.

pytest loads this module wherever graceline is installed, also for tests that know nothing of it. So
it imports nothing but pytest; Trio, the engine and rich are imported by the fixture or the report
that needs them. The hooks look at one key of a test's stash, and do nothing without it.

PYTEST_DONT_REWRITE: there is no `assert` here, and a program may have imported it before pytest.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import asynccontextmanager
from importlib.util import find_spec
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from graceline.engine import Engine, Run
    from graceline.telemetry.events import Event
    from graceline.telemetry.timeline import Timeline
    from graceline.testing.recording import RecordedTimeline

__all__ = [
    "engine",
    "graceline_options",
    "pytest_addoption",
    "pytest_configure",
    "pytest_report_header",
    "pytest_runtest_makereport",
    "pytest_unconfigure",
    "timeline",
    "virtual_engine",
]

_MODES = ("enforce", "observe", "off")
_VARIABLE = "GRACELINE_MODE"
_KEPT = 10
_INSTALL = "pip install 'graceline[testing]'"


# -- the option -------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--graceline-mode`."""
    parser.getgroup("graceline").addoption(
        "--graceline-mode",
        choices=_MODES,
        default=None,
        help="mode of the engines that tests open without mode=: `off` knows no deadlines, which "
        "leaves time for a debugger; `observe` only reports them (default: GRACELINE_MODE, else "
        "`enforce`)",
    )


_before = pytest.StashKey[str | None]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the mode to the engines of tests that open their own: they look into the environment."""
    mode = config.getoption("graceline_mode")
    if mode is not None:
        config.stash[_before] = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = mode


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the environment as it was."""
    if _before not in config.stash:
        return
    former = config.stash[_before]
    if former is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = former


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say that limits do not cut, if they do not."""
    mode = config.getoption("graceline_mode")
    return None if mode is None else f"graceline: mode {mode}"


# -- what a test ran --------------------------------------------------------------------------


class _Kept:
    """One run of a test."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.run: Run | None = None

    def calm(self) -> bool:
        """Whether it ended well: then there is hardly anything to see."""
        row = self.timeline.pipeline
        return row is not None and row.status == "ok"


class _Recorder:
    """What the engines of one test ran: the newest runs, those that did not end well first."""

    def __init__(self) -> None:
        self.timelines: list[RecordedTimeline] = []
        self.kept: list[_Kept] = []
        self.dropped = 0

    def listen(self, engine: Engine) -> None:
        """Keep what an engine runs from now on."""
        from trio.lowlevel import add_instrument  # noqa: PLC0415

        engine.subscribe(_Listener(self, engine))
        for timeline in self.timelines:
            engine.subscribe(timeline)
            add_instrument(timeline)

    def keep(self, kept: _Kept) -> None:
        """Keep one more run, and let go of one if there are too many."""
        self.kept.append(kept)
        if len(self.kept) > _KEPT:
            self.kept.remove(next((other for other in self.kept if other.calm()), self.kept[0]))
            self.dropped += 1

    def text(self) -> str:
        """The waterfalls of the runs that are kept."""
        pictures = [_draw(kept) for kept in self.kept]
        if self.dropped:
            pictures.append(f"(the newest {_KEPT} runs; {self.dropped} more are not shown)")
        return "\n\n".join(pictures)


class _Listener:
    """A sink that sorts the events of one engine by run."""

    inline = True

    def __init__(self, recorder: _Recorder, engine: Engine) -> None:
        self.recorder = recorder
        self.engine = engine
        self.live: dict[str, _Kept] = {}

    def wants_trace(self) -> bool:
        """It does: a test that fails wants to see what went well, too."""
        return True

    def __call__(self, event: Event) -> None:
        """Keep an event; an id that comes back after the end of its run begins another one."""
        from graceline.telemetry import events  # noqa: PLC0415
        from graceline.telemetry.timeline import Timeline  # noqa: PLC0415

        kept = self.live.get(event.run_id)
        if kept is None:
            if isinstance(event, events.ThreadEnded):
                return  # a thread that outlived its run
            kept = self.live[event.run_id] = _Kept(Timeline(event.run_id))
            self.recorder.keep(kept)
        kept.timeline(event)
        if isinstance(event, events.RunFinished):
            del self.live[event.run_id]
            if event.status != "ok" or event.degraded:
                runs = self.engine.runs()
                kept.run = next((run for run in runs if run.run_id == event.run_id), None)


def _draw(kept: _Kept) -> str:
    if find_spec("rich") is None:
        return f"run {kept.timeline.run_id!r}: to see its waterfall, {_INSTALL}"
    from rich.console import Console  # noqa: PLC0415

    from graceline.timelines.waterfall import Waterfall  # noqa: PLC0415

    encoding = getattr(sys.__stdout__, "encoding", None) or "utf-8"
    page = BytesIO()
    with TextIOWrapper(page, encoding, "replace", newline="\n", write_through=True) as file:
        width = max(60, min(120, shutil.get_terminal_size((100, 24)).columns))
        console = Console(file=file, width=width, color_system=None, legacy_windows=False)
        result = None if kept.run is None else kept.run.result
        console.print(Waterfall(kept.timeline, result))
        return page.getvalue().decode(encoding).rstrip()


_recorder = pytest.StashKey[_Recorder]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the waterfalls under a test that failed. Fixtures of pytest-trio fail in its call."""
    report = yield
    recorder = item.stash.get(_recorder, None)
    if recorder is not None and report.when == "call" and report.failed and recorder.kept:
        report.sections.append(("graceline waterfall", recorder.text()))
    return report


# -- the fixtures -----------------------------------------------------------------------------


@pytest.fixture
def graceline_options() -> dict[str, Any]:
    """Options of `open_engine` for `engine` and `virtual_engine`: override it with your own."""
    return {}


@pytest.fixture
def _graceline_recorder(request: pytest.FixtureRequest) -> _Recorder:
    plugins = request.config.pluginmanager.get_plugins()
    if not any(getattr(plugin, "__name__", "") == "pytest_trio.plugin" for plugin in plugins):
        pytest.fail(f"graceline's fixtures need pytest-trio: {_INSTALL}", pytrace=False)
    if request.node.get_closest_marker("trio") is None:
        pytest.fail(
            "graceline's fixtures are for async tests that pytest-trio runs: write `async def`, "
            "and either trio_mode = true in pytest's configuration or @pytest.mark.trio",
            pytrace=False,
        )
    recorder = request.node.stash[_recorder] = _Recorder()
    return recorder


@pytest.fixture
def _graceline_clock(request: pytest.FixtureRequest, _graceline_recorder: _Recorder) -> None:
    """Have the test run on a virtual clock, unless it asked for a clock itself.

    pytest-trio takes a clock from what the test itself asks for by name, and its runner from the
    first marker that has one: so the marker is the way to bring a clock along.
    """
    import pytest_trio.plugin  # type: ignore[import-untyped]  # noqa: PLC0415
    from trio.testing import MockClock  # noqa: PLC0415

    runs = [marker.kwargs.get("run") for marker in request.node.iter_markers("trio")]
    inner = next(filter(None, runs), None) or pytest_trio.plugin.choose_run(request.config)

    def run(async_fn: Any, *args: Any, clock: Any = None, **options: Any) -> Any:
        virtual = MockClock(autojump_threshold=0) if clock is None else clock
        return inner(async_fn, *args, clock=virtual, **options)

    request.node.add_marker(pytest.mark.trio(run=run), append=False)


@asynccontextmanager
async def _opened(
    recorder: _Recorder, options: dict[str, Any], config: pytest.Config
) -> AsyncIterator[Engine]:
    from graceline.engine import open_engine  # noqa: PLC0415

    mode = config.getoption("graceline_mode")
    async with open_engine(**options if mode is None else {**options, "mode": mode}) as opened:
        recorder.listen(opened)
        yield opened
        # A run that never ends must not keep a failed test from being reported.
        opened.cancel_all("the test has ended")


@pytest.fixture
async def engine(
    _graceline_recorder: _Recorder, graceline_options: dict[str, Any], pytestconfig: pytest.Config
) -> AsyncIterator[Engine]:
    """An open engine on the test's own clock; what still runs when the test ends is cancelled."""
    async with _opened(_graceline_recorder, graceline_options, pytestconfig) as opened:
        yield opened


@pytest.fixture
async def virtual_engine(
    _graceline_clock: None,
    _graceline_recorder: _Recorder,
    graceline_options: dict[str, Any],
    pytestconfig: pytest.Config,
) -> AsyncIterator[Engine]:
    """An open engine in virtual time: the clock jumps on as soon as nothing can run."""
    from trio.lowlevel import current_clock  # noqa: PLC0415
    from trio.testing import MockClock  # noqa: PLC0415

    if not isinstance(current_clock(), MockClock):
        raise TypeError(
            "virtual_engine has no virtual clock here, as in a test of @given, whose examples "
            "would share one: write @graceline.testing.virtual_time, and open_engine() inside"
        )
    async with _opened(_graceline_recorder, graceline_options, pytestconfig) as opened:
        yield opened


@pytest.fixture
def timeline(request: pytest.FixtureRequest, _graceline_recorder: _Recorder) -> RecordedTimeline:
    """A timeline of the first run of `engine` or `virtual_engine`, for `check_invariants`.

    An `engine` fixture of your own does not know it: `engine.subscribe(timeline)` in the test.
    """
    from graceline.testing.recording import RecordedTimeline  # noqa: PLC0415

    if not {"engine", "virtual_engine"} & set(request.fixturenames):
        pytest.fail(
            "the fixture `timeline` listens to `engine` or `virtual_engine`, and the test asks "
            "for neither",
            pytrace=False,
        )
    recorded = RecordedTimeline()
    _graceline_recorder.timelines.append(recorded)
    return recorded
