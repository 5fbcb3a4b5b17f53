"""Slack: nodes that take next to no time share the deadline of their scope."""

import attrs
import pytest
import trio
import trio.testing

from graceline import Node, Pipeline, Stage, Timeouts, open_engine, remaining, sequence
from graceline.engine.strand import SLACK, slack_of

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


def look(seen, clock):
    """Note the deadlines of the node that is running."""
    left = remaining()  # it looks at the clock once
    seen.append(Seen(clock.now + left, trio.current_effective_deadline()))


def looks(*takes, stage_limit=100.0, stages=1):
    """What each of many nodes sees in each run, of which each node takes so many seconds and a bit."""
    seen, clock = [[] for _ in takes], Going()

    async def node(number):
        look(seen[number], clock)
        clock.now += takes[number]
        return number

    nodes = [Node(node, name=f"n{index}", timeout=LIMIT) for index in range(COUNT // stages)]
    held = [Stage(f"s{at}", sequence(*nodes), timeout=stage_limit) for at in range(stages)]
    results = run(Pipeline("p", held), clock, len(takes))
    assert [result.status for result in results] == ["ok"] * len(takes)
    return seen


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

    async def quick(value):
        return value

    async def slow(value):
        look(seen, clock)
        clock.now += 1.0
        return value

    work = (quick, quick, slow, quick)
    nodes = [Node(one, name=f"n{at}", timeout=LIMIT) for at, one in enumerate(work)]
    run(Pipeline("p", [sequence(*nodes)]), clock, times=3)
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

    nodes = [Node(node, name=f"n{index}", timeout=LIMIT) for index in range(4)]
    *_, result = run(Pipeline("p", [sequence(*nodes)]), Going(), times=3)
    cut = result.node("n0")
    assert (result.status, cut.status, cut.blame.name) == ("timed_out", "timed_out", "n0")
    assert LIMIT <= cut.elapsed <= LIMIT + SLACK + 10 * STEP


def test_a_value_between_limit_and_cut_is_late():
    """A node that returns after its limit, but before its scope fires, is late, and the next one runs."""
    clock, left = Going(), []

    async def quick(number):
        return number

    async def dawdle(number):
        if number == 2:
            clock.now += remaining() + 2 * STEP
            left.append(trio.current_effective_deadline() - clock.now)
            await trio.lowlevel.checkpoint_if_cancelled()
        return number

    async def after(number):
        await trio.lowlevel.checkpoint()
        return number

    work = (quick, quick, dawdle, after)
    nodes = [Node(one, name=f"n{at}", timeout=LIMIT) for at, one in enumerate(work)]
    *_, result = run(Pipeline("p", [sequence(*nodes)]), clock, times=3)
    assert left[0] > 0
    assert [result.node(f"n{at}").status for at in range(4)] == ["ok", "ok", "late", "ok"]
    assert result.value == 2
