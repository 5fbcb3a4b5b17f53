"""Slack: nodes that take next to no time share the deadline of their scope."""

import threading
from contextvars import copy_context

import attrs
import pytest
import trio
import trio.testing

from graceline import (
    Adaptive,
    Node,
    Pipeline,
    Stage,
    Timeouts,
    current,
    open_engine,
    outgoing_headers,
    remaining,
    sequence,
)
from graceline.engine.levels import SEATED
from graceline.engine.strand import SLACK, TIGHT, slack_of

STEP = SLACK / 10
TINY = SLACK / 1000  # what sums of floats may be off
COUNT = 30
LIMIT = 5.0


class Going(trio.abc.Clock):
    """A clock that goes by itself, a step at each look, and jumps instead of waiting."""

    def __init__(self):
        self.now = 100.0

    def start_clock(self):
        pass

    def current_time(self):
        self.now += STEP
        return self.now

    def deadline_to_sleep_time(self, deadline):
        self.now = max(self.now, deadline)
        return 0.0


@attrs.frozen
class Seen:
    """When work was to be cut: by its limits, and by the scope it ran in."""

    fires: float
    scope: float

    @property
    def slack(self):
        return self.scope - self.fires


def run(pipeline, clock, times=1):
    """The results of so many runs, one after the other, under that clock."""

    async def main():
        async with open_engine(timeouts=Timeouts.none()) as engine:
            return [await engine.run(pipeline, number) for number in range(times)]

    return trio.run(main, clock=clock)


def fires():
    """When the node that is running is to be cut, without asking the engine for it."""
    _, _, plan, stage, start, *_ = SEATED.get()
    return min(start + plan.limit.timeout, stage.fired())


def look(seen):
    """Note the deadlines of the node that is running."""
    seen.append(Seen(fires(), trio.current_effective_deadline()))


def looks(*takes, limit=LIMIT, stage_limit=100.0, stages=1):
    """What each of many nodes sees in each run, of which each node takes so many seconds and a bit."""
    seen, clock = [[] for _ in takes], Going()

    async def node(number):
        look(seen[number])
        clock.now += takes[number]
        return number

    nodes = [Node(node, name=f"n{index}", timeout=limit) for index in range(COUNT // stages)]
    held = [Stage(f"s{at}", sequence(*nodes), timeout=stage_limit) for at in range(stages)]
    results = run(Pipeline("p", held), clock, len(takes))
    assert [result.status for result in results] == ["ok"] * len(takes)
    return seen


async def quick(number):
    return number


def behind_quick_ones(*functions):
    """A pipeline of three quick nodes and those functions: the first has a deadline of its own."""
    work = enumerate((quick, quick, quick, *functions))
    return Pipeline("p", [sequence(*(Node(one, name=f"n{at}", timeout=LIMIT) for at, one in work))])


@pytest.mark.parametrize("stages", [1, 10])
def test_quick_nodes_share_deadlines(stages):
    """Nodes that were quick the last time share a few deadlines, in stages or not, none of them early."""
    _, seen = looks(0.0, 0.0, stages=stages)
    assert len({one.scope for one in seen}) <= COUNT / 4
    assert all(-TINY <= one.slack <= SLACK + TINY for one in seen)


@pytest.mark.parametrize("last", [None, SLACK])
@pytest.mark.parametrize("stages", [1, 10])
def test_other_nodes_have_exact_deadlines(stages, last):
    """A node that runs for the first time, or was slow the last time, is cut to the instant."""
    *_, seen = looks(*(() if last is None else (0.0, last)), 0.0, stages=stages)
    assert all(abs(one.slack) <= TINY for one in seen)
    assert len({one.scope for one in seen}) == COUNT


def test_a_slow_node_among_quick_ones_has_an_exact_deadline():
    """It does not share the deadline of the quick node before it."""
    seen, clock = [], Going()

    async def slow(number):
        look(seen)
        clock.now += 1.0
        return number

    run(behind_quick_ones(slow, quick), clock, times=3)
    assert all(abs(one.slack) <= TINY for one in seen)


def test_slack_ends_at_the_limit_of_the_stage():
    """However quick nodes are, the scope of none outlives its stage."""
    _, seen = looks(0.0, 0.0, stage_limit=LIMIT + SLACK / 2)
    ends = max(one.fires for one in seen)
    assert all(one.scope <= ends + TINY for one in seen)
    assert sum(one.slack > TINY for one in seen) > 0


def test_a_tighter_limit_is_exact():
    """A node with a tighter limit than the one before it does not share its deadline."""
    seen = []

    async def node(_):
        seen.append(round(trio.current_effective_deadline() - clock.now))

    clock = Going()
    limits = (9.0, 5.0, 7.0)
    nodes = [Node(node, name=f"n{at}", timeout=limit) for at, limit in enumerate(limits)]
    run(Pipeline("p", [sequence(*nodes)]), clock, times=2)
    assert seen == [9, 5, 7] * 2


@pytest.mark.parametrize(("limit", "most"), [(TIGHT / 2, SLACK / 2), (TIGHT * 2, SLACK)])
def test_a_short_limit_has_little_slack(limit, most):
    """The slack of a limit is a twentieth of it at most."""
    _, seen = looks(0.0, 0.0, limit=limit)
    assert most / 2 < max(one.slack for one in seen) <= most + TINY


@pytest.mark.parametrize(("limit", "exact"), [(TIGHT / 2, True), (TIGHT * 2, False)])
def test_a_short_learned_limit_is_exact(limit, exact):
    """A learned limit of less than twenty times the slack has none, however quick its nodes are."""
    _, seen = looks(0.0, 0.0, limit=Adaptive(initial=limit, floor=limit, ceiling=limit))
    assert (len({one.scope for one in seen}) == COUNT) is exact


def test_a_run_opens_its_scope_with_slack():
    """The first node of a run shares its deadline with those behind it, if it was quick the last time."""
    _, seen = looks(0.0, 0.0)
    assert seen[0].slack > TINY
    assert seen[1].scope == seen[0].scope


@pytest.mark.parametrize("ask", [remaining, current, outgoing_headers])
def test_who_asks_is_held_to_the_instant(ask):
    """Once a node has asked for its time, its scope fires with its limit."""
    seen = []

    async def node(number):
        look(seen)
        ask()
        look(seen)
        return number

    run(behind_quick_ones(node), Going(), times=2)
    before, after = seen[-2:]
    assert before.slack > TINY
    assert abs(after.slack) <= TINY


def in_a_loop_of_its_own():
    """Ask in a thread that has an event loop itself."""

    async def main():
        return remaining()

    return trio.run(main)


@pytest.mark.parametrize("ask", [remaining, in_a_loop_of_its_own])
def test_a_thread_that_asks_leaves_the_scope_alone(ask):
    """What asks from a thread cannot move a deadline of our event loop, and gets its answer."""
    seen, left = [], []

    async def node(number):
        look(seen)
        thread = threading.Thread(target=lambda: left.append(copied.run(ask)))
        copied = copy_context()
        thread.start()
        thread.join()
        look(seen)
        return number

    run(behind_quick_ones(node), Going(), times=2)
    assert seen[-1].slack == seen[-2].slack > TINY
    assert LIMIT - SLACK < left[-1] < LIMIT


def test_a_task_that_outlives_its_node_moves_nothing():
    """What a node leaves behind gets its own answer, and the next node keeps its deadline."""
    asked, seen = trio.Event(), []

    async def later(gone):
        await gone.wait()
        assert current().node == "first"
        asked.set()

    async def first(number):
        nursery.start_soon(later, gone)
        return number

    async def second(number):
        look(seen)
        gone.set()
        await asked.wait()
        look(seen)
        return number

    async def main():
        nonlocal nursery, gone, asked
        async with open_engine(timeouts=Timeouts.none()) as engine, trio.open_nursery() as nursery:
            before = [Node(quick, name=f"n{at}", timeout=2.0) for at in range(3)]
            nodes = [*before, Node(first, timeout=2.0), Node(second, timeout=LIMIT)]
            pipeline = Pipeline("p", [sequence(*nodes)])
            for number in range(3):
                gone, asked = trio.Event(), trio.Event()
                await engine.run(pipeline, number)

    nursery = gone = None
    trio.run(main, clock=Going())
    assert seen[-1].scope == seen[-2].scope


@pytest.mark.parametrize("how", ["run", "execute"])
def test_a_run_in_a_quick_node_does_not_outlive_it(how):
    """A node that was quick, and now waits for a run in it, is cut with that run and to blame."""

    async def node(number):
        if number < 2:
            return number
        return await getattr(engine, how)(Pipeline("inner", [hung]))

    async def hung(_):
        await trio.sleep_forever()

    async def main():
        nonlocal engine
        async with open_engine(timeouts=Timeouts.none()) as engine:
            pipeline = behind_quick_ones(node, quick)
            return [await engine.run(pipeline, number) for number in range(3)]

    engine = None
    *_, result = trio.run(main, clock=Going())
    assert (result.status, result.blame.name) == ("timed_out", "n3")
    assert [result.node(name).status for name in ("n3", "n4")] == ["timed_out", "skipped"]


@pytest.mark.parametrize("trouble", ["hangs", "raises"])
def test_a_node_in_trouble_is_not_quick_the_next_time(trouble):
    """After a run that did not end well the node has an exact deadline, until it is quick again."""
    seen = []

    async def node(number):
        look(seen)
        if number == 1:
            if trouble == "hangs":
                await trio.sleep_forever()
            raise ValueError
        return number

    run(behind_quick_ones(node), Going(), times=3)
    assert [one.slack > TINY for one in seen] == [False, True, False]


def test_no_slack_in_virtual_time():
    """In virtual time, which stands still while nobody waits, there is no slack at all."""
    assert slack_of(trio.testing.MockClock().current_time) == 0.0
    assert slack_of(Going().current_time) == SLACK


def test_a_node_that_is_cut_within_its_slack():
    """A node that was quick, and hangs now, is to blame for its own limit, and cut within the slack."""

    async def node(number):
        if number == 2:
            await trio.sleep_forever()
        return number

    *_, result = run(behind_quick_ones(node), Going(), times=3)
    cut = result.node("n3")
    assert (result.status, cut.status, cut.blame.name) == ("timed_out", "timed_out", "n3")
    assert LIMIT <= cut.elapsed <= LIMIT + SLACK + 10 * STEP


def test_a_value_between_limit_and_cut_is_late():
    """A node that returns after its limit, but before its scope fires, is late, and the next one runs."""
    clock, left = Going(), []

    async def dawdle(number):
        if number == 2:
            clock.now = fires() + 2 * STEP
            left.append(trio.current_effective_deadline() - clock.now)
            await trio.lowlevel.checkpoint_if_cancelled()
        return number

    async def after(number):
        await trio.lowlevel.checkpoint()
        return number

    *_, result = run(behind_quick_ones(dawdle, after), clock, times=3)
    assert left[0] > 0
    assert [result.node(f"n{at}").status for at in range(2, 5)] == ["ok", "late", "ok"]
    assert result.value == 2
