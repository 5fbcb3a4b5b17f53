"""The events of what begins: each is told in its own task, and each has its end."""

import pytest
import trio

from graceline import Adaptive, Node, Pipeline, Retry, Stage, choose, current, each, sequence
from graceline.definitions import Hedge
from graceline.telemetry import events
from graceline.work import WorkRefusedError

TWICE = Retry(attempts=2, backoff=0)
SOON = Hedge(delay=1, max_extra=1)


class Kept(list):
    """A sink that keeps what it hears, and in which task."""

    inline = True

    def __init__(self):
        super().__init__()
        self.tasks = []

    def wants_trace(self):
        return True

    def __call__(self, event):
        self.append(event)
        self.tasks.append(trio.lowlevel.current_task())

    def of(self, *kinds):
        return [event for event in self if isinstance(event, kinds)]

    def open(self):
        """What has begun and has not ended, each by what it is known by."""
        left = []
        for event in self:
            kind = type(event).__name__
            if kind.startswith(("Attempt", "Alternative")):
                alternative = getattr(event, "alternative", None)
                known = (event.stage, event.node, event.index, alternative)
                if alternative is None:
                    known += (event.attempt, event.hedge)
                if kind.endswith("Started"):
                    assert known not in left
                    left.append(known)
                else:
                    left.remove(known)
        return left


@pytest.fixture
def kept(engine):
    sink = Kept()
    engine.subscribe(sink)
    return sink


def failing_first(error=ValueError):
    """Work whose first call raises."""
    calls = []

    async def work(value):
        calls.append(value)
        await trio.sleep(1)
        if len(calls) == 1:
            raise error
        return value

    return work


async def test_an_attempt_that_starts_says_so(autojump_clock, engine, kept):
    """Its event has its number, its limit, and when it is to be cancelled."""
    work = Node(failing_first(), name="work", retry=TWICE, attempt_timeout=3, timeout=3.5)
    assert (await engine.run(Pipeline("p", [Stage("s", [work])]))).ok
    first, second = kept.of(events.AttemptStarted)
    assert (first.stage, first.node, first.attempt, first.hedge) == ("s", "work", 1, False)
    assert (first.limit, first.source, first.fires_at, first.index) == (3, "node", 3, None)
    assert (second.attempt, second.at, second.fires_at) == (2, 1, 3.5)
    assert kept.open() == []


async def test_nobody_who_wants_no_trace_hears_of_it(autojump_clock, engine):
    """What begins is told to a trace only: it is no trouble."""
    kept = Kept()
    kept.wants_trace = lambda: False
    engine.subscribe(kept)
    await engine.run(Pipeline("p", [Node(failing_first(), retry=TWICE)]))
    assert [type(event) for event in kept] == [events.AttemptFinished, events.AttemptFinished]


async def test_an_attempt_that_is_refused_has_an_end_too(autojump_clock, engine, kept):
    """An attempt that starts either finishes or is refused."""
    work = Node(failing_first(WorkRefusedError("no thread")), name="work", retry=TWICE)
    assert (await engine.run(Pipeline("p", [Stage("s", [work])]))).status == "rejected"
    [refused] = kept.of(events.AttemptRefused)
    assert (refused.stage, refused.node, refused.attempt, refused.hedge, refused.at) == (
        "s", "work", 1, False, 1.0,
    )  # fmt: skip
    assert kept.open() == []


@pytest.mark.parametrize(
    ("first", "copy"),
    [
        ((10, "first"), (0.5, "copy")),
        ((2, "first"), (1, "copy")),
        ((2, ValueError()), (2, ValueError())),
        ((2, ValueError()), (3, "copy")),
        ((10, "first"), (0.5, WorkRefusedError("no thread"))),
    ],
)
async def test_both_copies_have_their_end(autojump_clock, engine, kept, first, copy):
    """Whatever becomes of two copies of an attempt, each is told of once, in its own task."""

    async def work(_):
        seconds, does = copy if current().hedge else first
        await trio.sleep(seconds)
        if isinstance(does, Exception):
            raise does
        return does

    node = Node(work, idempotent=True, hedge=SOON)
    await engine.run(Pipeline("p", [node]))
    started = kept.of(events.AttemptStarted)
    assert [(one.attempt, one.hedge) for one in started] == [(1, False), (1, True)]
    assert kept.open() == []
    tasks = [task for event, task in zip(kept, kept.tasks, strict=True) if event in started]
    assert len(set(tasks)) == 2


async def test_the_items_of_a_list_are_told_apart(autojump_clock, engine, kept):
    """Attempts and alternatives of items that run at once have the index of their item."""
    fast = Node(
        failing_first(), name="quick", retry=TWICE, attempt_timeout=Adaptive(initial=5, ceiling=9)
    )
    node = each(choose(fast, Node(failing_first(), name="slow"), name="pick"), max_parallel=4)
    assert (await engine.run(Pipeline("p", [Stage("s", [node])]), list("abc"))).ok
    alternatives = kept.of(events.AlternativeStarted)
    assert {one.index for one in alternatives} == {0, 1, 2}
    assert {(one.node, one.alternative) for one in alternatives} >= {("pick", "quick")}
    attempts = kept.of(events.AttemptStarted)
    assert {(one.node, one.index) for one in attempts} == {
        ("pick.quick", 0), ("pick.quick", 1), ("pick.quick", 2),
    }  # fmt: skip
    assert kept.open() == []


async def test_a_loser_keeps_the_index_of_its_item(autojump_clock, engine, kept):
    """A copy that was superseded has left its item, and is still told of under its index."""

    async def work(_):
        await trio.sleep(0.5 if current().hedge else 10)

    node = each(Node(work, idempotent=True, hedge=SOON))
    assert (await engine.run(Pipeline("p", [Stage("s", [node])]), [1, 2])).ok
    finished = kept.of(events.AttemptFinished)
    assert sorted((one.index, one.hedge) for one in finished) == [
        (0, False), (0, True), (1, False), (1, True),
    ]  # fmt: skip
    assert kept.open() == []


async def test_an_alternative_that_starts_says_so(autojump_clock, engine, kept):
    """Each alternative that is tried begins with its limit, and ends."""
    alternatives = [Node(failing_first(), name="one", timeout=3), Node(quick, name="two")]
    await engine.run(Pipeline("p", [Stage("s", [choose(*alternatives, name="pick")])]))
    one, two = kept.of(events.AlternativeStarted)
    assert (one.stage, one.node, one.alternative) == ("s", "pick", "one")
    assert (one.limit, one.source, one.fires_at, one.index) == (3, "node", 3, None)
    assert (two.alternative, two.at, two.limit) == ("two", 1, None)
    assert kept.open() == []


async def quick(value):
    await trio.sleep(1)
    return value


async def test_what_counts_and_what_is_aimed_at_is_told(autojump_clock, engine, kept):
    """The events of parts that start say whether they are critical, and their objective."""
    node = Node(quick, name="n", critical=False, slo=0.5)
    stage = Stage("s", sequence(node, Node(quick, name="m")), slo=1, critical=False)
    await engine.run(Pipeline("p", [stage], slo="2s"), 1)
    [run], [stage], nodes = (
        kept.of(kind) for kind in (events.RunStarted, events.StageStarted, events.NodeStarted)
    )
    assert (run.slo, stage.slo, stage.critical) == (2, 1, False)
    assert [(one.node, one.slo, one.critical) for one in nodes] == [
        ("n", 0.5, False), ("m", None, True),
    ]  # fmt: skip


async def test_a_run_that_is_torn_down_says_so(autojump_clock, engine, kept):
    """What is for the program leaves no result, and a trace hears that nothing more will come."""

    async def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await engine.run(Pipeline("p", [stop]), run_id="r")
    assert [type(event).__name__ for event in kept] == [
        "RunStarted", "StageStarted", "NodeStarted", "RunAborted",
    ]  # fmt: skip
    assert kept[-1].run_id == "r"
