"""Attempts in a waterfall: what a node with policies was at, and why it was not tried again."""

import re
from itertools import groupby
from math import inf

import attrs
import pytest
import trio
from rich.cells import cell_len
from rich.console import Console
from trio.testing import MockClock, wait_all_tasks_blocked

from graceline import (
    Node,
    Pipeline,
    Stage,
    Status,
    Timeouts,
    choose,
    cleanup,
    each,
    open_engine,
    parallel,
    sequence,
)
from graceline.deadlines import Blame, Kind
from graceline.definitions import Breaker, Bulkhead, Hedge, Retry
from graceline.telemetry import events
from graceline.telemetry.timeline import Timeline
from graceline.timelines import AttemptRow, Row
from graceline.timelines.trying import (
    earlier_errors,
    going_since,
    has_items,
    is_refused,
    why_no_more,
)
from graceline.timelines.waterfall import Waterfall

RUN = {"run_id": "it", "pipeline": "p", "lane": "default"}
FREE = {"limit": None, "source": None, "fires_at": inf}
CLEAN = {"grace_used": 0.0, "overrun": 0.0, "blame": None, "error_type": None}
SLOW = Retry(attempts=9, backoff=0, retry_after=lambda _: 2)


class Down(Exception):  # noqa: N818 - the name of the state it tells of
    """What the service raises."""


def scripted(name, *steps, cleaning=0.0, **options):
    """A node that takes so many seconds in each of its attempts, and raises what stands beside them."""
    script = list(steps)

    async def work(value):
        seconds, error = script.pop(0) if len(script) > 1 else script[0]
        try:
            await trio.sleep(seconds)
        finally:
            with cleanup():
                await trio.sleep(cleaning)
        if error is not None:
            raise error
        return value

    return Node(work, name=name, **options)


def lines_of(timeline, result=None, *, width=80, encoding=None, **options):
    """The lines of a drawing."""
    console = Console(width=width, color_system=None, force_terminal=False)
    updated = console.options.update()
    if encoding:
        updated.encoding = encoding
    lines = console.render_lines(Waterfall(timeline, result, **options), updated, pad=False)
    return ["".join(segment.text for segment in line) for line in lines]


def observe(pipeline, value=None, *, at=None, before=None, **look):
    """The timeline of a run, its result, and its drawing; `at` draws it while it goes on."""
    timeline = Timeline("it")

    async def main():
        async with open_engine(timeouts=Timeouts.none(), sinks=[timeline]) as engine:
            if before is not None:
                engine.start(before)
                await wait_all_tasks_blocked()
            if at is None:
                result = await engine.run(pipeline, value, run_id="it")
                return timeline, result, lines_of(timeline, result, **look)
            engine.start(pipeline, value, run_id="it")
            await trio.sleep(at)
            now = timeline.elapsed(trio.current_time())
            lines = lines_of(timeline, now=now, **look)
            engine.cancel_all("seen")
            return timeline, None, lines

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def row_of(timeline, name):
    return next(row for row in timeline.rows() if row.name == name and row.level == "node")


def bar_of(lines, name):
    """The words of a line, and its bar without the spaces around it."""
    line = next(line for line in lines if line.strip().startswith(name))
    return line.strip().removeprefix(name).strip()


def shape_of(lines, name):
    """What follows what in a bar: `█·█`."""
    return "".join(mark for mark, _ in groupby(bar_of(lines, name).split()[0]))


def quote():
    """A node that hangs, fails, hangs and fails, in a pipeline of 5 s."""
    node = scripted(
        "price",
        (60, None), (0.25, Down("busy")), (60, None), (0.25, Down("still busy")),
        timeout=5, attempt_timeout=1, retry=SLOW,
    )  # fmt: skip
    other = scripted("render", (0.8, None))
    return Pipeline("quote", [Stage("ask", [node, other])], timeout=5)


# -- the rows of a timeline -------------------------------------------------------------------


def test_attempts_of_a_row():
    """The row of a node has what became of each of its attempts, in seconds from the submission."""
    timeline, _, _ = observe(quote())
    attempts = row_of(timeline, "price").attempts
    assert [attrs.astuple(one)[:5] for one in attempts] == [
        (1, 0.0, 1.0, 1.0, "timed_out"),
        (2, 1.0, 1.25, 1.25, "failed"),
        (3, 3.25, 4.25, 4.25, "timed_out"),
        (4, 4.25, 4.5, 4.5, "failed"),
    ]
    assert [(one.error_type, one.delay, one.stop, one.limit) for one in attempts] == [
        (None, 0.0, None, 1.0),
        ("Down", 2.0, None, 1.0),
        (None, 0.0, None, 1.0),
        ("Down", None, "deadline", 1.0),
    ]
    assert row_of(timeline, "render").attempts == ()


def test_unwinding_of_an_attempt():
    """The work of an attempt ends at its own limit, and what comes after it is its unwinding."""
    node = scripted(
        "slow", (60, None), cleaning=0.5, attempt_timeout=1, retry=Retry(attempts=2, backoff=0)
    )
    timeline, _, lines = observe(Pipeline("p", [Stage("s", [node])], timeout=20, grace=1))
    attempts = row_of(timeline, "slow").attempts
    assert [one.worked_until - one.started for one in attempts] == pytest.approx([1, 1])
    assert [one.ended - one.started for one in attempts] == pytest.approx([1.5, 1.5])
    assert "█┊░" in bar_of(lines, "attempt 1")
    assert "█┊░" in bar_of(lines, "attempt 2")


def test_the_limit_of_an_attempt_blames_its_node():
    """An attempt's own limit that ends the run marks the node that it belongs to."""
    node = scripted("slow", (60, None), attempt_timeout=1)
    timeline, result, _ = observe(Pipeline("p", [Stage("s", [node])], timeout=20))
    assert result.blame.level == "attempt"
    assert [row.name for row in timeline.rows() if row.blamed] == ["slow"]


def test_a_node_without_an_attempt():
    """A node that was refused, or cut while it waited for its slot, says that it did no work."""
    one = Bulkhead(slots=1, name="one")
    holder = Pipeline("holder", [scripted("holds", (60, None), limit=one)])
    nodes = [scripted("waits", (1, None), limit=one, timeout=2, critical=False)]
    nodes += [scripted("off", (1, None), breaker=Breaker(mode="forced_open"), critical=False)]
    timeline, _, lines = observe(Pipeline("p", [Stage("s", nodes)], timeout=9), before=holder)
    assert [row_of(timeline, name).unattempted for name in ("waits", "off")] == [True, True]
    assert bar_of(lines, "waits").startswith("◦◦◦")
    assert "█" not in bar_of(lines, "waits")
    assert bar_of(lines, "off").split() == ["✕", "rejected", "0s"]
    legend = next(line for line in lines if "█ work" in line or "◦ waits" in line)
    assert legend.split("  ")[-3:] == ["◦ waits", "✕ refused", "┊ limit"]


def test_events_of_no_run():
    """What belongs to no run, such as a breaker that changes, is not taken for the run to keep."""
    timeline = Timeline()
    where = RUN | {"run_id": "", "pipeline": ""}
    timeline(events.BreakerChanged(at=1.0, breaker="b", old="closed", new="open", **where))
    assert timeline.run_id is None
    timeline(events.RunStarted(at=2.0, queued=0.0, nodes=(), **FREE, **RUN))
    assert timeline.run_id == "it"


# -- drawings ---------------------------------------------------------------------------------


def test_whole_picture():
    """The bar of a node shows attempts and backoffs; each attempt has a line, and the end a reason."""
    _, _, lines = observe(quote())
    drawn = [re.sub(r" \([^ ]*test_attempts\.py:\d+\)$", "", line) for line in lines]
    assert drawn == [
        "quote  failed after 4.5s, limit 5s (pipeline)",
        "               0                                         5s",
        "ask            ───────────────────────────────────────    ┊    failed       4.5s",
        "  price        ███████████·················███████████    ┊  ◄ failed       4.5s",
        "    attempt 1  █████████┊                                      timed_out      1s",
        "    attempt 2           ██      ┊                              failed      250ms",
        "    attempt 3                              █████████┊          timed_out      1s",
        "    attempt 4                                       ██    ┊    failed      250ms",
        "  render       ███████                                    ┊    ok          800ms",
        "               █ work  ─ stage  · backoff  ┊ limit  ◄ to blame",
        "to blame  node 'price' raised Down",
        "error     Down: still busy",
        "attempts  price: 4, retry stopped: 0.5 s left, 2.0 s backoff + 0.05 s expected",
        "earlier   price: Down: busy",
    ]


def test_without_the_result():
    """The events alone say why there was no further attempt, in a word."""
    timeline, _, _ = observe(quote())
    assert lines_of(timeline)[-1] == "attempts  price: 4, retry stopped: too little time left"


def test_narrow():
    """A narrow terminal numbers the attempts, and leaves the room to the bars."""
    _, _, lines = observe(quote(), width=50)
    assert lines[4].startswith("    #1    ███")
    assert lines[9] == "   █ work  ─ stage  · backoff  ┊ limit  ◄ to blame"


@pytest.mark.parametrize("width", [40, 50, 60, 80, 100, 140, 200])
@pytest.mark.parametrize("at", [None, 2, 3.5])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_fits(width, at, encoding):
    """No line is wider than the terminal, and ASCII is enough, while the run goes on as well."""
    _, _, lines = observe(quote(), at=at, width=width, encoding=encoding)
    assert all(cell_len(line) <= width for line in lines)
    assert encoding == "utf-8" or all(line.isascii() for line in lines)
    assert ("." if encoding == "ascii" else "·") in lines[3] or width == 40


def test_wide():
    """Where there is room, each attempt says its limit."""
    _, _, lines = observe(quote(), width=120)
    assert lines[4].endswith("limit 1s (node)")


def test_a_single_attempt_has_no_line():
    """A node that needed one attempt looks like any other."""
    _, _, lines = observe(Pipeline("p", [Stage("s", [scripted("a", (1, None), retry=SLOW)])]))
    assert not any("attempt" in line for line in lines)
    assert bar_of(lines, "a").count("█") > 40


def test_one_line_for_stage_and_node():
    """Attempts stand below the line that a stage shares with its only node."""
    node = scripted("a", (1, Down()), (1, None), retry=SLOW)
    _, _, lines = observe(Pipeline("p", [Stage("a", [node])]))
    assert [line.split("  ")[0] for line in lines[2:3]] == ["a"]
    assert lines[3].startswith("  attempt 1  ██")


def test_waiting_for_a_slot():
    """Time without a slot is told from work and from backoff, before the first attempt and later."""
    one = Bulkhead(slots=1, name="one")
    holder = Pipeline("holder", [scripted("holds", (1, None), limit=one)])
    first = scripted("first", (1, Down()), (1, None), limit=one, retry=SLOW)
    second = scripted("second", (3, None), limit=one)
    nodes = parallel(first, sequence(scripted("pause", (1.5, None)), second))
    _, _, lines = observe(Pipeline("p", [Stage("s", nodes)]), before=holder)
    assert shape_of(lines, "first") == "◦█·◦█"
    assert shape_of(lines, "second") == "◦█"
    assert "· backoff  ◦ waits" in lines[-2]


def test_a_refusal_after_an_attempt():
    """Where a breaker that opened meanwhile refuses the next attempt, the bar shows when."""
    shared = Breaker(consecutive=2, name="shared")
    node = scripted("a", (0.5, Down()), breaker=shared, retry=SLOW)
    other = scripted("other", (1, OSError()), breaker=shared, critical=False)
    timeline, _, lines = observe(Pipeline("p", [Stage("s", [node, other])], timeout=9))
    assert is_refused(row_of(timeline, "a"))
    assert bar_of(lines, "a ").split()[0].endswith("··✕")
    said = next(line for line in lines if line.startswith("attempts"))
    assert said.startswith("attempts  a: 1, retry stopped: breaker 'shared' is open; try again in")
    assert lines_of(timeline)[-1] == "attempts  a: 1, retry stopped: refused"


def test_a_refusal_after_a_timeout():
    """The same where the last attempt ran into its own limit, whose blame is the node's."""
    blame = Blame("attempt", "a", Kind.TIMEOUT, 1.0, None, 1.0, "too long")
    attempt = attrs.evolve(LAST, status=Status.TIMED_OUT, blame=blame, delay=1.0)
    noted = attrs.evolve(blame, message="too long; retry stopped: breaker 'b' is open")
    row = Row(
        level="node", stage="s", name="a", status=Status.TIMED_OUT, blame=noted,
        attempts=(attempt,),
    )  # fmt: skip
    assert is_refused(row)
    assert why_no_more(row, None) is None  # its blame says it
    assert not is_refused(attrs.evolve(row, blame=attrs.evolve(blame, level="node")))
    assert not is_refused(attrs.evolve(row, attempts=(attrs.evolve(attempt, delay=None),)))


def test_many_attempts():
    """Of many attempts the first and the last have lines; the others are counted, and in the bar."""
    timeline = begun("a")
    for number in range(30):
        status = Status.FAILED if number % 3 else Status.TIMED_OUT
        until = number + 0.5
        tell(
            timeline,
            AttemptRow(
                number=number + 1, started=float(number), worked_until=until, ended=until,
                status=status, delay=0.5,
            ),
        )  # fmt: skip
    lines = lines_of(timeline, now=30.25, width=200)
    assert [line.strip().split("  ")[0] for line in lines[4:-1]] == [
        "attempt 1", "attempt 2", "attempt 3",
        "… 23 more: 8 timed_out, 15 failed",
        "attempt 27", "attempt 28", "attempt 29", "attempt 30", "attempt 31",
    ]  # fmt: skip
    assert bar_of(lines, "attempt 31").split()[-2:] == ["running", "250ms"]
    assert shape_of(lines, "a ").count("·") == 30


def begun(*nodes):
    """A timeline of a run whose nodes have just started."""
    timeline = Timeline("it")
    timeline(events.RunStarted(at=0.0, queued=0.0, nodes=(("s", nodes),), **FREE, **RUN))
    timeline(events.StageStarted(at=0.0, stage="s", **FREE, **RUN))
    for node in nodes:
        timeline(events.NodeStarted(at=0.0, stage="s", node=node, **FREE, **RUN))
    return timeline


def tell(timeline, one, node="a"):
    """Tell a timeline of an attempt."""
    fields = {
        name: getattr(one, name)
        for name in ("status", "limit", "source", "blame", "error_type", "delay", "stop", "hedge")
    }
    timeline(
        events.AttemptFinished(
            at=one.ended, stage="s", node=node, attempt=one.number, started=one.started,
            elapsed=one.ended - one.started, **fields, **RUN,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at", "status", "shape"),
    [(1.5, "backoff", "█·"), (3, "backoff", "█·"), (3.5, "running", "█·█")],
)
def test_frames(at, status, shape):
    """While a run goes on the attempt that it is at has a line, also while it is to come."""
    _, _, lines = observe(quote(), at=at)
    assert status in bar_of(lines, "attempt 3")
    assert shape_of(lines, "price") == shape


def test_the_attempt_that_a_node_is_at():
    """It begins after the backoff; a node that has ended, or is about to, is at none."""
    again = attrs.evolve(LAST, delay=2.0)
    row = Row(level="node", stage="s", name="a", started=0.5, attempts=(again,))
    assert going_since(row) == 3.0
    assert going_since(attrs.evolve(row, attempts=())) == 0.5
    assert going_since(attrs.evolve(row, attempts=(attrs.evolve(again, hedge=True),))) == 0.5
    assert going_since(attrs.evolve(row, attempts=(LAST,))) is None
    assert going_since(attrs.evolve(row, status=Status.OK)) is None


def test_a_frame_after_the_cut():
    """After the cut, what the attempt unwinds is drawn as such, in both lines."""
    node = scripted("a", (1, Down()), (60, None), cleaning=0.5, retry=SLOW)
    pipeline = Pipeline("p", [Stage("s", [node])], timeout=5, grace=2)
    _, _, lines = observe(pipeline, at=5.25)
    assert "░" in bar_of(lines, "a ")
    assert bar_of(lines, "attempt 2").split()[-2:] == ["unwinding", "1.8s"]


def test_overlapping_copies():
    """A hedge has a line of its own; on the node's bar the copy that succeeded is on top."""
    timeline = begun("a")
    copy = AttemptRow(number=1, started=1, worked_until=2, ended=2, status=Status.OK, hedge=True)
    tell(timeline, copy)
    early = lines_of(timeline, now=2.0)
    assert bar_of(early, "attempt 1").split()[-2:] == ["running", "2.0s"]
    timeline(
        events.NodeFinished(
            at=2.0, stage="s", node="a", attempts=1, partial=False, status=Status.OK, started=0.0,
            elapsed=2.0, limit=None, source=None, **CLEAN, **RUN,
        )
    )  # fmt: skip
    lost = attrs.evolve(copy, started=0, ended=2.2, status=Status.CANCELLED, hedge=False)
    tell(timeline, lost)
    lines = lines_of(timeline, now=2.2)
    assert [line.split()[:2] for line in lines[4:6]] == [["attempt", "1"], ["hedge", "1"]]
    assert bar_of(lines, "attempt 1").split()[1:] == ["cancelled", "2.2s"]
    assert bar_of(lines, "hedge 1").split()[1:] == ["ok", "1s"]
    assert shape_of(lines, "attempt 1") == "█░"  # past the node's end
    assert shape_of(lines, "hedge 1") == "█"
    assert lines[4].index("█") < lines[5].index("█")
    console = Console(width=80, force_terminal=True, color_system="standard")
    drawn = console.render_lines(Waterfall(timeline, now=2.2), pad=False)[3]
    assert [str(part.style) for part in drawn if "█" in part.text] == ["magenta", "green"]


def test_hedges_of_a_run():
    """The run of a hedge shows both copies; where none could be sent the closing lines say why."""
    node = scripted(
        "a", (1, None), (0.5, None), idempotent=True, hedge=Hedge(delay=0.25, max_extra=1.0)
    )
    _, _, lines = observe(Pipeline("p", [Stage("s", [node])], timeout=9))
    assert bar_of(lines, "attempt 1").split()[1:] == ["cancelled", "750ms"]
    assert bar_of(lines, "hedge 1").split()[1:] == ["ok", "500ms"]
    shared = Breaker(consecutive=1, name="shared")
    node = scripted(
        "a", (1, None), idempotent=True, hedge=Hedge(delay=0.25, max_extra=1.0), breaker=shared
    )
    other = scripted("other", (0.1, Down()), breaker=shared, critical=False)
    timeline, _, lines = observe(Pipeline("p", [Stage("s", [node, other])], timeout=9))
    assert [one.hedge for one in row_of(timeline, "a").attempts] == [False]
    reason = row_of(timeline, "a").attempts[0].unhedged
    assert f"hedges    a: 1 not sent: {reason}" in lines


def test_items():
    """The attempts of a list's items overlap and are no sequence: they are counted."""
    script = [Down("x"), None, None, None]

    async def work(seconds):
        await trio.sleep(seconds)
        error = script.pop(0)
        if error is not None:
            raise error

    loop = each(work, name="loop", retry=Retry(attempts=3, backoff=0), max_parallel=2)
    timeline, _, lines = observe(Pipeline("p", [Stage("s", [loop])]), [1, 2, 1])
    assert has_items(row_of(timeline, "loop"))
    assert not any("attempt " in line for line in lines)
    assert set(bar_of(lines, "loop").split()[0]) == {"█"}
    assert "attempts  loop: 4, 1 failed, 3 ok" in lines


# -- folding ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "shown", "more"),
    [
        (10, "s a attempt attempt attempt b c", None),
        (9, "s a b c", "3 more: 3 attempts"),
        (8, "s a b c", "3 more: 3 attempts"),
        (7, "s b c", "4 more: 1 ok, 3 attempts"),
    ],
)
def test_folding(height, shown, more):
    """Where there is not room for all, attempts of a node that has ended go before any part."""
    nodes = [scripted("a", (1, Down()), (1, Down()), (1, None), retry=Retry(backoff=0))]
    nodes += [scripted("b", (60, None)), scripted("c", (60, None))]
    _, _, lines = observe(Pipeline("p", [Stage("s", nodes)]), at=4, height=height)
    assert " ".join(line.split()[0] for line in lines[2:-1] if line[0] != "…") == shown
    assert [line[2:] for line in lines if line[0] == "…"] == ([more] if more else [])
    assert len(lines) <= height


@pytest.mark.parametrize(
    ("height", "shown", "more"),
    [(9, "s a #1 #2 #3 #4", None), (8, "s a #3 #4", "2 more: 2 attempts"), (6, "s a", "4 more")],
)
def test_folding_what_is_at_work(height, shown, more):
    """Of the attempts of a node that is at work the first ones go first, one by one."""
    node = scripted("a", *[(1, Down())] * 3, (60, None), retry=Retry(attempts=9, backoff=0))
    _, _, lines = observe(Pipeline("p", [Stage("s", [node])]), at=3.5, height=height, width=50)
    assert " ".join(line.split()[0] for line in lines[2:-1] if line[0] != "…") == shown
    told = [line[2:] for line in lines if line[0] == "…"]
    assert len(told) == (more is not None)
    assert all(line.startswith(more) for line in told)


def test_folding_counts_what_was_folded_before():
    """A line that stands for many attempts counts as so many."""
    timeline = begun("a", "b")
    for number in range(20):
        tell(timeline, attrs.evolve(LAST, number=number + 1, delay=0.0))
    assert lines_of(timeline, now=2.0, height=7)[-2] == "… 21 more: 21 attempts"


# -- the closing lines ------------------------------------------------------------------------


BLAME = Blame("node", "a", Kind.FAILED, None, None, 1.0, "node 'a' raised Down")
LAST = AttemptRow(number=3, started=0.0, worked_until=1.0, ended=1.0, status=Status.FAILED)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stop": "deadline"}, "retry stopped: too little time left"),
        ({"stop": "budget"}, "retry budget empty"),
        ({"stop": "attempts"}, "retry stopped: all 3 attempts are used up"),
        ({"stop": "not_retryable"}, "retry stopped: not retryable"),
        ({"stop": "attempts", "number": 1}, None),
        ({"stop": "not_retryable", "number": 1}, "retry stopped: not retryable"),
        ({"stop": "deadline", "number": 1}, "retry stopped: too little time left"),
        ({"delay": 1.0}, "retry stopped: refused"),
    ],
)
def test_why_no_more(changes, said):
    """The events say why there was no further attempt, where somebody had asked for one."""
    attempt = attrs.evolve(LAST, **changes)
    row = Row(
        level="node", stage="s", name="a", status=Status.FAILED, blame=BLAME, attempts=(attempt,)
    )
    assert why_no_more(row, None) == said
    assert why_no_more(attrs.evolve(row, blame=None), None) is None


def test_errors_of_attempts_and_of_cleanup():
    """What earlier attempts raised is told from what handlers raised, equal ones once."""

    def handler(outcome):
        raise OSError("disk")

    node = scripted(
        "a", (1, Down("x")), (1, Down("x")), (1, None), retry=Retry(backoff=0), on_cleanup=handler
    )
    timeline, result, lines = observe(Pipeline("p", [Stage("s", [node])]), width=300)
    earlier, others = earlier_errors(row_of(timeline, "a"), result.node("a"))
    assert [type(error) for error in earlier] == [Down, Down]
    assert [type(error) for error in others] == [OSError]
    assert any(line.startswith("earlier  a: 2 x Down: x (") for line in lines)
    assert any(line.startswith("cleanup  a: OSError: disk (") for line in lines)


def test_a_handler_that_raises_what_an_attempt_did():
    """Of two errors of one type the first is the attempt's, the other one the handler's."""

    def handler(outcome):
        raise ValueError("handler")

    node = scripted(
        "a", (1, ValueError("attempt")), (1, None), retry=Retry(backoff=0), on_cleanup=handler
    )
    timeline, result, lines = observe(Pipeline("p", [Stage("s", [node])]), width=300)
    earlier, others = earlier_errors(row_of(timeline, "a"), result.node("a"))
    assert [[str(error) for error in errors] for errors in (earlier, others)] == [
        ["attempt"],
        ["handler"],
    ]
    assert any(line.startswith("cleanup  a: ValueError: handler (") for line in lines)


def test_many_different_errors():
    """Ten different errors of attempts are listed, the others counted."""
    timeline = begun("a")
    for number in range(13):
        tell(timeline, attrs.evolve(LAST, number=number + 1, error_type="Down", delay=0.0))
    timeline, result, _ = observe(Pipeline("p", [Stage("s", [scripted("a", (1, None))])]))
    for number in range(13):
        tell(timeline, attrs.evolve(LAST, number=number + 1, error_type="Down", delay=0.0))
    stage = result.stages["s"]
    errors = tuple(Down(str(number)) for number in range(13))
    told = attrs.evolve(
        result,
        stages={"s": attrs.evolve(
            stage, nodes={"a": attrs.evolve(stage.nodes["a"], secondary=errors)}
        )},
    )  # fmt: skip
    lines = lines_of(timeline, told)
    assert lines[-11:-9] == ["earlier  a: Down: 0", "         a: Down: 1"]
    assert lines[-1] == "         a: and 3 more"


def test_a_refusal_is_told_once():
    """What an open breaker says is in the blame, and no error of cleanup."""
    node = scripted("a", (1, None), breaker=Breaker(mode="forced_open"))
    _, _, lines = observe(Pipeline("p", [Stage("s", [node])], timeout=9))
    assert len([line for line in lines if "is open" in line]) == 1
    assert not [line for line in lines if line.startswith("cleanup")]


def test_alternatives_that_gave_no_value():
    """What alternatives ran into, with all their attempts, came earlier, and is no cleanup."""

    def handler(outcome):
        raise OSError("disk")

    shut = Breaker(mode="forced_open", name="shut")
    pick = choose(
        scripted("slow", (9, None), timeout=0.2),
        scripted("shut", (1, None), breaker=shut),
        scripted("twice", (0.5, Down("x")), (9, None), attempt_timeout=1, retry=Retry(attempts=2)),
        scripted("loop", (1, Down("y")), retry=Retry(attempts=2, backoff=0)),
        scripted("good", (1, None)),
        name="pick",
        on_cleanup=handler,
    )
    timeline, result, lines = observe(Pipeline("p", [Stage("s", [pick])]), width=300)
    earlier, others = earlier_errors(row_of(timeline, "pick"), result.node("pick"))
    assert [type(error).__name__ for error in earlier] == [
        "NodeTimeoutError", "CircuitOpenError", "Down", "AttemptTimeoutError", "Down", "Down",
    ]  # fmt: skip
    assert [type(error) for error in others] == [OSError]
    assert lines[-6].startswith("earlier  pick: NodeTimeoutError: alternative 'pick.slow' exceeded")
    assert len([line for line in lines if line.startswith("cleanup")]) == 1


def test_alternatives_that_were_all_refused():
    """The refusal that is the blame is told once, those of other alternatives came earlier."""
    one, two = (
        scripted(name, (1, None), breaker=Breaker(mode="forced_open", name=name))
        for name in ("one", "two")
    )
    nodes = [choose(one, two, name="pick")]
    timeline, result, lines = observe(Pipeline("p", [Stage("s", nodes)]), width=300)
    earlier, others = earlier_errors(row_of(timeline, "pick"), result.node("pick"))
    assert [str(error) for error in earlier] == ["breaker 'one' is open by mode='forced_open'"]
    assert others == []
    assert len([line for line in lines if "breaker 'two' is open" in line]) == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"retry": Retry(on=OSError)}, "Down is not retryable"),
        ({"retry": Retry(), "idempotent": False}, "the attempt had started, and the node is not"),
        ({"retry": Retry(), "breaker": Breaker(consecutive=1)}, "breaker 'p.s.a' is open"),
        ({"retry": Retry(attempts=1), "idempotent": False}, None),
        ({"breaker": Breaker()}, None),
    ],
)
def test_a_retry_that_stops_after_the_first_attempt(options, why):
    """The reason why a retry did not retry is told, also by the events alone, if there was one."""
    node = scripted("a", (1, Down()), **options)
    timeline, _, lines = observe(Pipeline("p", [Stage("s", [node])]), width=300)
    told = [line for line in lines if line.startswith("attempts")]
    heard = [line for line in lines_of(timeline) if line.startswith("attempts")]
    if why is None:
        assert (told, heard) == ([], [])
    else:
        assert [line.startswith(f"attempts  a: 1, retry stopped: {why}") for line in told] == [True]
        assert heard == ["attempts  a: 1, retry stopped: not retryable"]


def test_a_retry_of_items_that_does_not_retry():
    """The reason is told for an item of a list as well, after what became of all of them."""

    async def work(seconds):
        await trio.sleep(seconds)
        if seconds > 1:
            raise Down

    loop = each(work, name="loop", retry=Retry(on=OSError), max_parallel=2)
    _, _, lines = observe(Pipeline("p", [Stage("s", [loop])]), [1, 2])
    assert "attempts  loop: 2, 1 ok, 1 failed; retry stopped: Down is not retryable" in lines


def test_a_retry_of_alternatives_that_does_not_retry():
    """The reason is told for the alternative whose failure counts, and for those before it."""
    nodes = [scripted(name, (1, Down(name)), retry=Retry(on=OSError)) for name in ("one", "two")]
    pick = choose(*nodes, name="pick")
    _, _, lines = observe(Pipeline("p", [Stage("s", [pick])]), width=300)
    assert "attempts  pick: 2, retry stopped: Down is not retryable" in lines
    said = next(line for line in lines if line.startswith("earlier"))
    assert said.startswith("earlier   pick: Down: one (")
    assert said.endswith("; retry stopped: Down is not retryable")


def ended(timeline, status, elapsed, *, attempts, node="a", blame=None):
    """Tell a timeline of the end of a node."""
    timeline(
        events.NodeFinished(
            at=elapsed, stage="s", node=node, attempts=attempts, partial=False, status=status,
            started=0.0, elapsed=elapsed, limit=None, source=None, **CLEAN | {"blame": blame}, **RUN,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("delay", "shape"), [(0.0, "█"), (1.0, "█·█")])
def test_a_turn_is_no_waiting(delay, shape):
    """What the event loop takes before an attempt is a part of what is beside it, and no queue."""
    turn = 0.03
    for offset in range(20):  # wherever the cells begin
        timeline = begun("a")
        middle = turn + 1 + offset / 100
        first = attrs.evolve(LAST, number=1, started=turn, worked_until=middle, ended=middle)
        tell(timeline, attrs.evolve(first, delay=delay))
        again = middle + delay + turn
        tell(timeline, attrs.evolve(LAST, started=again, worked_until=again + 1, ended=again + 1))
        ended(timeline, Status.FAILED, again + 1, attempts=2)
        assert shape_of(lines_of(timeline), "a ") == shape


def test_a_short_run_does_not_wait():
    """Where a whole run takes less than a turn of the event loop, nothing in it waits."""
    timeline = begun("a", "b")
    tell(timeline, attrs.evolve(LAST, number=1, started=3e-4, worked_until=5e-4, ended=5e-4))
    ended(timeline, Status.FAILED, 5e-4, attempts=1)
    ended(timeline, Status.REJECTED, 5e-4, attempts=0, node="b")
    timeline(
        events.RunFinished(
            at=5e-4, queued=0.0, degraded=(), completed=0, status=Status.FAILED, started=0.0,
            elapsed=5e-4, limit=None, source=None, **CLEAN, **RUN,
        )
    )  # fmt: skip
    lines = lines_of(timeline)
    assert shape_of(lines, "a ") == "█"
    assert shape_of(lines, "b ") == "✕"
    assert not any("◦" in line for line in lines)


@pytest.mark.parametrize(
    ("status", "blame", "shape"), [(Status.TIMED_OUT, None, "█·◦"), (Status.FAILED, BLAME, "█·✕")]
)
def test_the_end_of_a_backoff(status, blame, shape):
    """A node that was cut in a queue after its backoff waited there; a refused one did not."""
    timeline = begun("a")
    tell(timeline, attrs.evolve(LAST, number=1, delay=1.0))
    ended(timeline, status, 4.0, attempts=1, blame=blame)
    assert shape_of(lines_of(timeline), "a ") == shape
