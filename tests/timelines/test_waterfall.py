import subprocess
import sys
from importlib import import_module
from math import inf

import pytest
import trio
from rich.cells import cell_len
from rich.console import Console
from trio.testing import MockClock

from graceline import Node, Pipeline, Stage, Timeouts, cleanup, open_engine, save_partial, sequence
from graceline.telemetry import events
from graceline.telemetry.timeline import Timeline
from graceline.timelines import Row
from graceline.timelines.burning import share_of, ticking, urgency_of
from graceline.timelines.waterfall import Waterfall


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


@pytest.mark.parametrize("width", [28, 30, 40, 80, 100, 120, 200])
def test_fits(width):
    """No line is wider than the terminal."""
    assert all(cell_len(line) <= width for line in drawn(CUT, width=width))


@pytest.mark.parametrize("width", [28, 30, 36])
def test_statuses_stay_whole(width):
    """In a narrow terminal the seconds go first, then bars get short; statuses are not cut."""
    lines = drawn(CUT, width=width)
    assert line_of(lines, "b").endswith("timed_out")
    assert "█" in line_of(lines, "b")
    assert line_of(drawn(CUT, width=40), "b").endswith("timed_out    2.5s")


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
    assert line.split()[-2:] == ["running", "1.0s"]
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


def test_threads_that_ended():
    """Threads that have ended since they were left behind are told apart from those that go on."""
    timeline = Timeline("r")
    run = {"run_id": "r", "pipeline": "p", "lane": "default"}
    limit = {"limit": None, "source": None, "fires_at": inf}
    timeline(events.RunStarted(at=0.0, queued=0.0, nodes=(("s", ("a", "b")),), **limit, **run))
    for node in ("a", "b"):
        timeline(events.ThreadAbandoned(at=1.0, stage="s", node=node, abandoned=1, **run))
    timeline(events.ThreadEnded(at=2.0, stage="s", node="a", abandoned=1, **run))
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(Waterfall(timeline))
    assert capture.get().splitlines()[-2:] == [
        "threads  abandoned at the cancel, and went on: b",
        "         abandoned at the cancel, and ended since: a",
    ]


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


@pytest.mark.parametrize(("nodes", "last"), [(11, "n"), (40, "and 30 more")])
def test_many_degraded(nodes, last):
    """Of many degraded parts ten are listed, and the others counted if there are several."""
    parts = [sleeper(f"n{i:02}", 9, timeout=0.5, critical=False) for i in range(nodes)]
    lines = drawn(Pipeline("p", [Stage("s", parts)], timeout=1), width=80, with_result=False)
    first = next(at for at, line in enumerate(lines) if line.startswith("degraded"))
    assert len(lines) == first + 11
    assert lines[-1].split("  ")[-1].startswith(last)


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


def frames(pipeline, instants, *, width=80, height=None, encoding="utf-8", cancel_at=None, **call):
    """The drawings of a run while it goes on, at some instants of virtual time."""
    timeline = Timeline()
    console = Console(width=width, color_system=None)

    def frame():
        picture = Waterfall(timeline, now=timeline.elapsed(trio.current_time()), height=height)
        options = console.options.update()
        options.encoding = encoding
        lines = console.render_lines(picture, options, pad=False)
        return ["".join(segment.text for segment in line) for line in lines]

    async def main():
        found = []
        async with open_engine(timeouts=Timeouts.none(), sinks=[timeline]) as engine:
            begun, run = trio.current_time(), engine.start(pipeline, **call)
            for at in instants:
                await trio.sleep_until(begun + at)
                if at == cancel_at:
                    run.cancel("enough")
                    continue
                found.append(frame())
            run.cancel("seen", force_after=0)
        return found

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_nothing_yet():
    """Before anything was heard of a run, the drawing says so."""
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(Waterfall(Timeline()))
    assert capture.get() == "nothing was heard of a run\n"


def test_frames():
    """While a run goes on its bars grow to now, and it says what is left until each cut."""
    early, middle, late = frames(CUT, [0.5, 1.2, 2.8])
    assert early == [
        "p  running for 500ms, 2.5s left of 3s (pipeline)  ▰▰▰▰▰▰▰▰▰▱",
        "        0                                  3s",
        "first   ──────                              ┊    running     500ms     2.5s left",
        "  a     ██████                              ┊    running     500ms     2.5s left",
        "second                                           -",
        "  b                                              -",
        "  c                                              -",
        "third                                            -",
        "  d                                              -",
        "        █ work  ─ stage  ┊ limit",
    ]
    assert middle[2:7] == [
        "first   ────────────                        ┊    ok             1s",
        "  a     ████████████                        ┊    ok             1s",
        "second              ──                      ┊    running     200ms     1.8s left",
        "  b                 ██                      ┊    running     200ms     1.8s left",
        "  c                 ██    ┊                      running     200ms    300ms left",
    ]
    assert late[0] == "p  running for 2.8s, 200ms left of 3s (pipeline)  ▰▱▱▱▱▱▱▱▱▱"
    assert late[5:7] == [
        "  b                 ██████████████████████  ┊    running      1.8s    200ms left",
        "  c                 ██████┊                      timed_out   500ms",
    ]


def test_frame_of_a_short_look():
    """At first, when no limit is near, the scale is the next round number, and seldom changes."""
    frames_seen = frames(CUT, [0.15, 0.19, 0.21, 0.3, 0.374, 0.376])
    assert [lines[1].split()[-1] for lines in frames_seen] == [
        "200ms", "200ms", "500ms", "500ms", "500ms", "3s",
    ]  # fmt: skip


def test_frame_after_the_cut():
    """After a limit has passed, what goes on unwinds, from the limit on, and has nothing left."""
    (lines,) = frames(CUT, [3.4], width=60)
    assert lines[0] == "p  unwinding for 400ms, limit 3s (pipeline)"
    assert lines[1].split()[-1] == "3.4s"
    assert line_of(lines, "b").endswith("█┊░░░░    unwinding    2.4s")
    assert not [line for line in lines if line.endswith("left")]


def test_frame_after_a_cancel():
    """After an explicit cancel, what goes on unwinds from that instant on."""
    pipeline = Pipeline("p", [Stage("s", [sleeper("a", 9, 0.5), sleeper("b", 1)])], timeout=8)
    (lines,) = frames(pipeline, [2, 2.25], cancel_at=2, width=60)
    assert lines[0] == "p  unwinding for 250ms, limit 8s (pipeline)"
    assert line_of(lines, "a").split()[-2:] == ["unwinding", "2.2s"]
    assert "█░" in line_of(lines, "a")
    assert "░" not in line_of(lines, "b")


def test_frame_after_two_cuts():
    """The first cut is the one that counts: a cancel before the limit passed, or the limit."""
    pipeline = Pipeline("p", [Stage("s", [sleeper("a", 9, 0.5)])], timeout=2.25, grace=3)
    (lines,) = frames(pipeline, [2, 2.4], cancel_at=2)
    assert lines[0].startswith("p  unwinding for 400ms")
    (lines,) = frames(pipeline, [2.35, 2.4], cancel_at=2.35)
    assert lines[0].startswith("p  unwinding for 150ms")


def test_colours_of_what_is_left():
    """What is left of a part's own time is green, then yellow, and red in the last tenth."""
    row = Row(level="node", stage="s", name="a", started=5.0, limit_at=6.0)
    assert share_of(row, 0.25) == pytest.approx(0.25)
    assert share_of(row, 2.0) == 1
    assert [urgency_of(share) for share in (1.0, 0.31, 0.3, 0.11, 0.1, 0.0)] == [
        "green", "green", "yellow", "yellow", "red", "red",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.0124, "12ms"),
        (0.9996, "1.0s"),
        (9.96, "10.0s"),
        (59.96, "1m"),
        (83, "1m23s"),
    ],
)
def test_ticking(seconds, text):
    """Seconds that change while one looks keep their number of digits."""
    assert ticking(seconds) == text


def test_frame_without_limits():
    """A run without limits has no gauge and nothing left, and takes no room for them."""
    pipeline = Pipeline("p", [Stage("s", [sleeper("a", 9)])])
    (lines,) = frames(pipeline, [4])
    assert lines[0] == "p  running for 4.0s"
    assert line_of(lines, "a").split()[-2:] == ["running", "4.0s"]
    assert lines[1].split()[-1] == "5s"


def test_frame_under_a_foreign_limit():
    """What is left is told although the limit is not the part's own."""
    timeline = Timeline("r")
    where = {"run_id": "r", "pipeline": "p", "lane": "default", "limit": None, "source": None}
    timeline(events.RunStarted(at=5.0, queued=0.0, fires_at=7.0, nodes=(), **where))
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(Waterfall(timeline, now=timeline.elapsed(6.5)))
    assert capture.get() == "p  running for 1.5s, 500ms left  ▰▰▰▱▱▱▱▱▱▱\n"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_frames_fit(width):
    """No line of a frame is wider than the terminal, and with ASCII alone it is readable too."""
    for lines in frames(CUT, [0.3, 1.4, 2.9, 3.2], width=width, encoding="ascii"):
        assert all(cell_len(line) <= width and line.isascii() for line in lines)
    assert ("=" in lines[0]) is False
    assert "=" in frames(CUT, [1], encoding="ascii")[0][0]


def test_room_in_a_frame():
    """A narrow terminal keeps its room for the bars; a wide one shows the limits as well."""
    assert not line_of(frames(CUT, [1.2], width=50)[0], "c").endswith("left")
    assert line_of(frames(CUT, [1.2], width=80)[0], "c").endswith("300ms left")
    assert line_of(frames(CUT, [1.2], width=120)[0], "c").endswith("300ms left  limit 500ms (node)")


TALL = Pipeline(
    "tall",
    [
        Stage("one", [sleeper(f"a{i}", 1) for i in range(4)]),
        Stage("two", [sleeper(f"b{i}", 1 + i) for i in range(4)]),
        Stage("three", [sleeper(f"c{i}", 1) for i in range(4)]),
    ],
    timeout=60,
)


@pytest.mark.parametrize(
    ("height", "shown", "more"),
    [
        (18, "one a0 a1 a2 a3 two b0 b1 b2 b3 three c0 c1 c2 c3", None),
        (17, "one two b0 b1 b2 b3 three c0 c1 c2 c3", "4 more: 4 ok"),
        (14, "one two b0 b1 b2 b3 three", "8 more: 4 ok, 4 to come"),
        (10, "one two b1 b2 b3 three", "9 more: 5 ok, 4 to come"),
        (9, "two b1 b2 b3 three", "10 more: 6 ok, 4 to come"),
        (8, "two b1 b2 b3", "11 more: 6 ok, 5 to come"),
        (7, "two b1 b2", "12 more: 6 ok, 1 running, 5 to come"),
        (1, "", "15 more: 6 ok, 4 running, 5 to come"),
    ],
)
def test_folding(height, shown, more):
    """What does not fit into the height is folded, and counted; what is at work stays longest."""
    (lines,) = frames(TALL, [2.5], height=height)
    rows = [line.split()[0] for line in lines[2:-1]]
    told = [line[2:] for line in lines if line.startswith("… ")]
    assert (" ".join(row for row in rows if row != "…"), told) == (shown, [more] if more else [])
    assert len(lines) <= max(height, 4)


def test_folding_stages():
    """Of the stages that have ended the first ones go first, of those to come the last ones."""
    stages = [Stage(f"s{i}", [sleeper(f"n{i}", 1)]) for i in range(7)]
    (lines,) = frames(Pipeline("p", stages), [3.5], height=11)
    assert [line.split()[0] for line in lines[2:-1]] == [
        "s1",
        "s2",
        "s3",
        "n3",
        "s4",
        "s5",
        "s6",
        "…",
    ]
    (lines,) = frames(Pipeline("p", stages), [3.5], height=7)
    assert [line.split()[0] for line in lines[2:-1]] == ["s3", "n3", "s4", "…"]
    assert lines[-2] == "… 11 more: 6 ok, 5 to come"


def test_folding_leaves_room_for_threads():
    """The lines below the picture count as well."""
    timeline = Timeline("r")
    run = {"run_id": "r", "pipeline": "p", "lane": "default"}
    limit = {"limit": None, "source": None, "fires_at": inf}
    names = tuple(f"n{i}" for i in range(9))
    timeline(events.RunStarted(at=0.0, queued=0.0, nodes=(("s", names),), **limit, **run))
    timeline(events.StageStarted(at=0.0, stage="s", **limit, **run))
    timeline(events.ThreadAbandoned(at=1.0, stage="s", node="n0", abandoned=1, **run))
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(Waterfall(timeline, now=1.0, height=8))
    assert len(capture.get().splitlines()) == 8


def test_folding_what_waits():
    """Beside what is at work, what waits in the same stage goes before the stage itself does."""
    chain = Pipeline("p", [Stage("s", sequence(*(sleeper(f"n{i}", 1) for i in range(5))))])
    (lines,) = frames(chain, [1.5], height=6)
    assert [line.split()[0] for line in lines[2:-1]] == ["s", "n1", "…"]


def test_folded_scale():
    """Folding leaves the scale as it is."""
    whole, cut = (frames(TALL, [2.5], height=height)[0] for height in (99, 8))
    assert line_of(cut, "two") == line_of(whole, "two")
    assert cut[1] == whole[1]


def test_the_core_needs_no_rich():
    """Nothing but the waterfall and the command imports rich."""
    code = "import sys, graceline, graceline.telemetry.timeline; sys.exit('rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code


def test_without_rich_the_extra_is_named(monkeypatch):
    """Whoever imports the waterfall without rich is told what to install."""
    monkeypatch.delitem(sys.modules, "graceline.timelines.waterfall")
    monkeypatch.setitem(sys.modules, "rich.cells", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'graceline\[cli\]'"):
        import_module("graceline.timelines.waterfall")
