import io
import sys

import pytest
import trio
from rich.console import Console

from graceline import Node, Pipeline, Stage, Timeouts, open_engine
from graceline.cli import live, main, showing
from graceline.telemetry.timeline import Timeline
from graceline.testing import virtual_time

JOB = """
import sys
kept = []
@node
async def first(given): ...
@node
async def second(given):
    await trio.sleep(0.3)
    print("from the node")
    kept.append(sys.stdout)
    kept[0].write("half a line")
    await trio.sleep(0.3)
p = Pipeline("p", [Stage("a", [first]), Stage("b", [second])], timeout="2s")
"""


@pytest.fixture
def terminal(monkeypatch):
    """Let the command believe in a terminal of 80 columns, without colours."""
    options = {"width": 80, "height": 24, "force_terminal": True, "color_system": None}
    monkeypatch.setattr(showing, "Console", lambda **more: Console(**(options | more)))
    monkeypatch.setattr(live, "_REST", 0)
    monkeypatch.setenv("TERM", "xterm")
    return options


def frames(text):
    """What was on the screen one after the other: each frame begins where the last is erased."""
    return [part.split("\x1b[2K")[-1].splitlines() for part in text.split("\r\x1b[2K")]


def test_frames_on_a_terminal(write, virtual, terminal, capsys):
    """On a terminal, standard error shows the run grow, and what is left of its limits."""
    assert main(["run", write(JOB)]) == 0
    said = capsys.readouterr()
    shown = [line for line in said.err.splitlines() if "p  running" in line]
    times = [line.split("running for ")[1].split("  ")[0] for line in shown]
    assert times == [
        "125ms, 1.9s left of 2s (pipeline)",
        "250ms, 1.8s left of 2s (pipeline)",
        "375ms, 1.6s left of 2s (pipeline)",
        "500ms, 1.5s left of 2s (pipeline)",
    ]
    assert "second" in said.err
    assert said.err.endswith("\x1b[2K")  # nothing is left of it
    assert said.out.startswith("from the node\nhalf a linep  ok after 600ms")


def test_no_frames_elsewhere(write, virtual, terminal, capsys, monkeypatch):
    """With --json, on a terminal that cannot move its cursor, and in a file there is no live view."""
    target = write(JOB)
    assert main(["run", target, "--json"]) == 0
    assert capsys.readouterr().err == "from the node\nhalf a line"
    monkeypatch.setenv("TERM", "dumb")
    assert main(["run", target]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TERM", "xterm")
    terminal["force_terminal"] = False
    assert main(["run", target]) == 0
    assert capsys.readouterr().err == ""


def test_prints_go_above_the_picture(write, virtual, terminal, capsys, monkeypatch):
    """What a node prints to the same terminal goes above the picture, a started line included."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["run", write(JOB)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("p  ok after 600ms")
    lines = [line.rpartition("\x1b[2K")[2] for line in said.err.splitlines()]
    assert "from the node" in lines
    assert "half a line" in lines
    assert said.err.index("half a line") < said.err.rindex("p  ok after")


def test_a_short_run_is_not_shown(write, virtual, terminal, capsys):
    """A run that ends before the first frame leaves the terminal alone."""
    assert main(["run", write(JOB), "--timeout", "100ms"]) == 1
    assert capsys.readouterr().err == ""


async def drawn_at(monkeypatch, costs):
    """The instants at which frames were drawn, if drawing them takes so much time of the loop."""
    instants, spent, left = [], [0.0], list(costs)

    def frame(screen, timeline, at):
        instants.append(round(timeline.elapsed(at), 6))
        spent[0] += left.pop(0) if left else 0.0
        return ""

    monkeypatch.setattr(live, "_frame", frame)
    monkeypatch.setattr(live.time, "thread_time", lambda: spent[0])
    timeline = Timeline()
    screen = Console(file=io.StringIO(), force_terminal=True, color_system=None)
    async with (
        open_engine(timeouts=Timeouts.none(), sinks=[timeline]) as engine,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(live.show_live, screen, timeline)
        await engine.run(Pipeline("p", [Stage("s", [Node(trio.sleep, name="n")])]), 1.1)
        nursery.cancel_scope.cancel()
    return instants


@virtual_time
async def test_eight_frames_a_second():
    """Frames are drawn eight times a second, less often if they are dear: a twentieth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        cheap = await drawn_at(patch, [])
    assert cheap == [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]
    with pytest.MonkeyPatch.context() as patch:
        dear = await drawn_at(patch, [0.01, 0.03])
    assert dear == [0.125, 0.325, 0.925, 1.05]


@virtual_time
async def test_frame_fits_the_terminal():
    """A frame has fewer lines than the terminal, however many nodes there are."""
    timeline = Timeline()
    screen = Console(width=80, height=12, file=io.StringIO(), color_system=None)
    stage = Stage("s", [Node(trio.sleep, name=f"n{i}") for i in range(40)])
    async with open_engine(timeouts=Timeouts.none(), sinks=[timeline]) as engine:
        engine.start(Pipeline("p", [stage]), 2)
        await trio.sleep(1)
        screen.print(live._frame(screen, timeline, trio.current_time()))
    lines = screen.file.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[0] == "p  running for 1.0s"
    assert lines[-2] == "… 34 more: 34 running"


def test_attempts_on_a_terminal(write, virtual, terminal, capsys):
    """While a node is tried again, its frames show the attempt that it is at."""
    source = """
    from graceline import Retry
    async def flaky(given):
        await trio.sleep(0.4)
        raise OSError
    p = Pipeline("p", [Node(flaky, retry=Retry(attempts=2, backoff=0))], timeout="2s")
    """
    assert main(["run", write(source)]) == 1
    lines = capsys.readouterr().err.splitlines()
    words = [line.split() for line in lines if line.startswith("    attempt ")]
    assert list(dict.fromkeys((word[1], *word[-2:]) for word in words)) == [
        ("1", "failed", "400ms"),
        ("2", "running", "100ms"), ("2", "running", "225ms"), ("2", "running", "350ms"),
        ("2", "failed", "400ms"),
    ]  # fmt: skip
