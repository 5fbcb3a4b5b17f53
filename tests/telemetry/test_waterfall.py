import subprocess
import sys
from math import inf

import pytest
import trio
from rich.cells import cell_len
from rich.console import Console
from trio.testing import MockClock

from graceline import Node, Pipeline, Stage, cleanup, open_engine, save_partial
from graceline.telemetry import events
from graceline.telemetry.timeline import Timeline
from graceline.telemetry.waterfall import Waterfall


def sleeper(name, seconds, cleaning=0.0, **options):
    async def work(value):
        save_partial({"by": name})
        try:
            await trio.sleep(seconds)
        finally:
            with cleanup():
                await trio.sleep(cleaning)
        return name

    return Node(work, name=name, **options)


def drawn(pipeline, width=80, encoding=None, with_result=True, **call):
    timeline = Timeline()

    async def main():
        async with open_engine(sinks=[timeline]) as engine:
            return await engine.run(pipeline, **call)

    result = trio.run(main, clock=MockClock(autojump_threshold=0))
    console = Console(width=width, color_system=None, force_terminal=False)
    options = console.options
    if encoding:
        options = options.update()
        options.encoding = encoding
    picture = Waterfall(timeline, result if with_result else None)
    lines = console.render_lines(picture, options, pad=False)
    return ["".join(segment.text for segment in line) for line in lines]


CUT = Pipeline(
    "p",
    [
        Stage("first", [sleeper("a", 1)]),
        Stage("second", [sleeper("b", 9, 0.5), sleeper("c", 9, timeout=0.5, critical=False)]),
        Stage("third", [sleeper("d", 1)]),
    ],
    timeout=3,
    grace=1,
)


def line_of(lines, name):
    return next(line for line in lines if line.split()[:1] == [name])


def test_whole_picture():
    """The picture shows work, cleanup, the limit, statuses, and names what is to blame."""
    assert drawn(CUT, width=60) == [
        "p  timed_out after 3.5s, limit 3s (pipeline)",
        "        0                          3.5s",
        "first   ─────────                 ┊        ok             1s",
        "  a     █████████                 ┊        ok             1s",
        "second           ─────────────────┊░░░░    timed_out    2.5s",
        "  b              █████████████████┊░░░░    timed_out    2.5s",
        "  c              ████┊                     timed_out   500ms",
        "third                                      skipped",
        "  d                                        skipped",
        "        █ work  ─ stage  ░ unwinding  ┊ limit",
        "to blame  pipeline 'p' exceeded its limit of 3s",
        "degraded  c: timed_out, node 'c' exceeded its limit of 500ms",
        "partial   b = {'by': 'b'}",
        "          c = {'by': 'c'}",
    ]


@pytest.mark.parametrize("width", [40, 80, 100, 120, 200])
def test_fits(width):
    """No line is wider than the terminal."""
    assert all(cell_len(line) <= width for line in drawn(CUT, width=width))


def test_room_for_limits():
    """Where there is room, each part's own limit and its source stand beside it."""
    assert not line_of(drawn(CUT, width=80), "c").endswith("(node)")
    assert line_of(drawn(CUT, width=120), "c").endswith("limit 500ms (node)")


def test_without_unicode():
    """A terminal that has ASCII only gets a picture of ASCII only."""
    lines = drawn(CUT, width=80, encoding="ascii")
    assert all(line.isascii() for line in lines)
    assert "#" in line_of(lines, "b")
    assert "|~" in line_of(lines, "b")


def test_blamed_level_is_marked():
    """The level to blame has a mark of its own, that no colour is needed to see."""
    lines = drawn(
        Pipeline("p", [Stage("s", [sleeper("a", 1), sleeper("b", 9, timeout=2)])], timeout=8)
    )
    assert "◄" in line_of(lines, "b")
    assert "◄" not in line_of(lines, "a")
    assert lines[5:7] == [
        "     █ work  ─ stage  ┊ limit  ◄ to blame",
        "to blame  node 'b' exceeded its limit of 2s",
    ]


def test_wide_names():
    """Names of double width keep the columns straight, and long ones lose their middle."""
    names = ["解析する", "a-very-long-name-of-a-node-that-does-not-fit-1", "a"]
    stage = Stage("s", [sleeper(name, 1) for name in names])
    lines = drawn(Pipeline("p", [stage], timeout=8))
    bars = {cell_len(line[: line.index("█")]) for line in lines[3:6]}
    assert len(bars) == 1
    assert "…" in lines[4]
    assert lines[4].split()[0].endswith("-fit-1")


def test_one_line_for_one_node():
    """A stage and its only node of the same name share one line."""
    lines = drawn(Pipeline("p", [Stage("a", [sleeper("a", 1)], timeout=4)], timeout=8), width=120)
    assert len([line for line in lines if "a " in line[:4]]) == 1
    assert line_of(lines, "a").endswith("limit 4s (stage)")


def test_foreign_parts():
    """A timeline that heard only of a node, and a name too wide for its column, are drawn as well."""
    timeline = Timeline("r")
    where = {"run_id": "r", "pipeline": "p", "lane": "default", "limit": None, "source": None}
    timeline(events.RunStarted(at=0.0, queued=0.0, fires_at=inf, nodes=(), **where))
    timeline(events.NodeStarted(at=0.0, stage="s", node="名" * 30, fires_at=inf, **where))
    console = Console(width=61, color_system=None)
    with console.capture() as capture:
        console.print(Waterfall(timeline, now=1.0))
    line = capture.get().splitlines()[2]
    assert line.split()[-2:] == ["running", "1s"]
    assert cell_len(line) <= 61


def test_many_nodes():
    """Fifty nodes are fifty lines, all of them with a bar."""
    stage = Stage("s", [sleeper(f"node-{i}", i / 10) for i in range(50)])
    lines = drawn(Pipeline("p", [stage], timeout=60))
    bars = [line for line in lines if line.startswith("  node-")]
    assert len(bars) == 50
    assert all("█" in line or "▏" in line for line in bars)


def test_failure():
    """A failed run shows the error of the node that ended it, as it is."""

    async def boom(value):
        raise ValueError("not [bold]markup[/bold]\nsecond line")

    lines = drawn(Pipeline("p", [Stage("s", [boom, sleeper("b", 9)])], timeout=8), width=300)
    assert "to blame  node 'boom' raised ValueError" in lines
    error = next(line for line in lines if line.startswith("error"))
    assert error.startswith("error     ValueError: not [bold]markup[/bold]?second line (")
    assert error.endswith(f"test_waterfall.py:{boom.__code__.co_firstlineno + 1})")
    assert "░" not in line_of(lines, "boom")


def test_errors_of_cleanup():
    """Errors of cleanup and of handlers are listed with their part."""

    def handler(outcome):
        raise OSError("disk")

    lines = drawn(
        Pipeline(
            "p",
            [Stage("s", [sleeper("a", 1, on_cleanup=handler)], on_cleanup=handler)],
            timeout=8,
            on_cleanup=handler,
        ),
        width=300,
    )
    assert [line.split(" (")[0] for line in lines[-3:]] == [
        "cleanup  a: OSError: disk",
        "         s: OSError: disk",
        "         p: OSError: disk",
    ]
    place = f"test_waterfall.py:{handler.__code__.co_firstlineno + 1})"
    assert all(line.endswith(place) for line in lines[-3:])


def test_degraded_by_an_error():
    """A degraded part says what it raised, whether the node or its stage is the non-critical one."""

    async def boom(value):
        raise OSError("disk")

    def broken(value):
        raise KeyError("broken")

    stages = [
        Stage("s", [Node(boom, critical=False), sleeper("a", 1)]),
        Stage("t", [Node(boom, name="inner")], critical=False),
        Stage("u", [Node(boom, name="late", when=broken, critical=False)]),
    ]
    lines = drawn(Pipeline("p", stages, timeout=8), width=300)
    said = [line[10:].split(" (")[0] for line in lines[-3:]]
    assert said == [
        "boom: failed, node 'boom' raised OSError: disk",
        "t: failed, node 'inner' raised OSError: disk",
        "late: failed, node 'late': when= of node 'late' raised KeyError: 'broken'",
    ]
    assert all("test_waterfall.py:" in line for line in lines[-3:])


def test_abandoned_threads():
    """Threads that were left behind are named, the first ten of them, with their stage if needed."""
    timeline = Timeline("r")
    run = {"run_id": "r", "pipeline": "p", "lane": "default"}
    limit = {"limit": None, "source": None, "fires_at": inf}
    timeline(events.RunStarted(at=0.0, queued=0.0, nodes=(), **limit, **run))

    def abandon(stage, node):
        timeline(events.NodeStarted(at=0.0, stage=stage, node=node, **limit, **run))
        timeline(events.ThreadAbandoned(at=1.0, stage=stage, node=node, abandoned=1, **run))

    def said():
        console = Console(width=200, color_system=None)
        with console.capture() as capture:
            console.print(Waterfall(timeline))
        return capture.get().splitlines()[-1]

    abandon("s", "hang")
    assert said() == "threads  abandoned at the cancel, and went on: hang"
    abandon("t", "hang")
    assert said() == "threads  abandoned at the cancel, and went on: s.hang, t.hang"
    for number in range(9):
        abandon("t", f"n{number}")
    assert said().endswith("n6, n7 and 1 more")


def test_never_started():
    """A run that never started is one line and what is to blame."""
    lines = drawn(CUT, timeout=0)
    assert lines[0] == "p  timed_out after 0s, limit 0s (call)"
    assert lines[1].startswith("to blame  pipeline 'p'")


def test_without_result():
    """Without the result there are no partial values, and everything else."""
    lines = drawn(CUT, with_result=False)
    assert "to blame  pipeline 'p' exceeded its limit of 3s" in lines
    assert not [line for line in lines if line.startswith("partial")]


def test_many_partials():
    """Ten partial values are listed, the others counted; a long one is cut to its line."""
    nodes = [sleeper(f"n{i:02}", 9) for i in range(12)]
    lines = drawn(Pipeline("p", [Stage("s", nodes)], timeout=1), width=60)
    assert lines[-1] == "          and of 2 more"
    assert lines[-11] == "partial   n00 = {'by': 'n00'}"


def test_queue():
    """The time in the queue is said in the first line."""
    timeline = Timeline("waits")

    async def main():
        pipeline = Pipeline("p", [Stage("s", [sleeper("a", 1)])], timeout=5)
        async with open_engine(max_concurrent_pipelines=1, sinks=[timeline]) as engine:
            engine.start(pipeline)
            await trio.sleep(0.25)
            engine.start(pipeline, run_id="waits")

    trio.run(main, clock=MockClock(autojump_threshold=0))
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(Waterfall(timeline))
    assert "750ms in the queue" in capture.get().splitlines()[0]


def heard(queued, took):
    """The drawing of a run of one node that had its first turn `queued` seconds after its start."""
    timeline = Timeline("r")
    run = {"run_id": "r", "pipeline": "p", "lane": "default", "limit": None, "source": None}
    end = {"grace_used": 0.0, "overrun": 0.0, "blame": None, "error_type": None, "status": "ok"}
    part = {"started": queued, "elapsed": took, **end, **run}
    timeline(events.RunStarted(at=queued, queued=queued, fires_at=inf, nodes=(), **run))
    timeline(events.NodeStarted(at=queued, stage="s", node="work", fires_at=inf, **run))
    at = queued + took
    timeline(events.NodeFinished(at=at, stage="s", node="work", attempts=1, partial=False, **part))
    facts = {"queued": queued, "degraded": (), "completed": 1}
    timeline(events.RunFinished(at=at, **(part | facts | {"started": 0.0, "elapsed": at})))
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(Waterfall(timeline))
    return capture.get().splitlines()


def test_first_turn_is_no_queue():
    """What passes before a run has its first turn is no wait: its first bar begins at the left."""
    head, axis, work = heard(0.0004, 0.0006)[:3]
    assert head == "p  ok after 1ms"
    assert work.index("█") == axis.index("0")
    head, axis, work = heard(0.004, 0.006)[:3]
    assert head == "p  ok after 10ms, 4ms in the queue"
    assert work.index("█") > axis.index("0") + 10


def test_names_that_cannot_be_encoded():
    """What a console cannot encode is an escape, and the columns stay straight."""
    stage = Stage("größe", [sleeper("naïve" * 9, 1), sleeper("a", 1)])
    for encoding, more in (("ascii", "..."), ("latin-1", "..."), ("utf-8", "…")):
        lines = drawn(Pipeline("解" * 50, [stage], timeout=8), encoding=encoding)
        assert all(line.encode(encoding) and cell_len(line) <= 80 for line in lines)
        assert more in lines[3]
        assert lines[0].endswith(more)
        work = "█" if encoding == "utf-8" else "#"
        assert lines[3].index(work) == lines[4].index(work)


def test_while_it_runs():
    """A run that goes on can be drawn: what runs grows to now, what waits has no bar."""
    timeline = Timeline()
    console = Console(width=80, color_system=None)

    async def main():
        async with open_engine(sinks=[timeline]) as engine:
            with console.capture() as empty:
                console.print(Waterfall(timeline))
            engine.start(CUT)
            await trio.sleep(0.5)
            with console.capture() as capture:
                console.print(Waterfall(timeline, now=0.5))
        return empty.get(), capture.get().splitlines()

    empty, lines = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert empty == "nothing was heard of a run\n"
    assert lines[0] == "p  running, limit 3s (pipeline)"
    assert line_of(lines, "a").split()[-2:] == ["running", "500ms"]
    assert line_of(lines, "d").split()[1:] == ["-"]


def test_the_core_needs_no_rich():
    """Nothing but the waterfall and the command imports rich."""
    code = "import sys, graceline, graceline.telemetry.timeline; sys.exit('rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code
