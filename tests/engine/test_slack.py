"""Slack: nodes that follow each other fast share the deadline of their scope."""

import attrs
import pytest
import trio
import trio.testing

from graceline import Node, Pipeline, Stage, Timeouts, open_engine, remaining, sequence
from graceline.engine.strand import SLACK, slack_of

STEP = SLACK / 10
TINY = SLACK / 1000  # what sums of floats may be off
COUNT = 30


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


def run(pipeline, clock):
    """The result of a run, under that clock."""

    async def main():
        async with open_engine(timeouts=Timeouts.none()) as engine:
            return await engine.run(pipeline)

    return trio.run(main, clock=clock)


def slacks(*, clock, work=0.0, limit=5.0, stage_limit=100.0, stages=1):
    """What each of many nodes sees that take so many seconds and a bit."""
    seen = []

    def look(_):
        left = remaining()  # it looks at the clock once
        seen.append(Seen(clock.now + left, trio.current_effective_deadline()))
        clock.now += work

    async def node(_):
        look(_)

    nodes = [Node(node, name=f"n{index}", timeout=limit) for index in range(COUNT // stages)]
    held = [Stage(f"s{at}", sequence(*nodes), timeout=stage_limit) for at in range(stages)]
    assert run(Pipeline("p", held), clock).status == "ok"
    return seen


@pytest.mark.parametrize("stages", [1, 10])
def test_fast_nodes_share_deadlines(stages):
    """Nodes that follow each other fast share a few deadlines, in stages or not, none of them early."""
    seen = slacks(clock=Going(), stages=stages)
    assert len({one.scope for one in seen}) <= COUNT / 4
    assert all(-TINY <= one.slack <= SLACK + TINY for one in seen)


@pytest.mark.parametrize("stages", [1, 10])
def test_slow_nodes_have_exact_deadlines(stages):
    """Where each node takes longer than the slack, in stages or not, each is cut to the instant."""
    seen = slacks(clock=Going(), work=SLACK, stages=stages)
    assert all(abs(one.slack) <= TINY for one in seen)
    assert len({one.scope for one in seen}) == COUNT


def test_slack_ends_at_the_limit_of_the_stage():
    """However fast nodes follow each other, the scope of none outlives its stage."""
    limit = 5.0
    seen = slacks(clock=Going(), limit=limit, stage_limit=limit + SLACK / 2)
    ends = max(one.fires for one in seen)
    assert all(one.scope <= ends + TINY for one in seen)
    assert sum(one.slack > TINY for one in seen) > 0


def test_a_tighter_limit_is_exact():
    """A fast node with a tighter limit than the one before it does not share its deadline."""
    seen = []

    async def look(_):
        seen.append(round(trio.current_effective_deadline() - clock.now))

    clock = Going()
    limits = (9.0, 5.0, 7.0)
    nodes = [Node(look, name=f"n{at}", timeout=limit) for at, limit in enumerate(limits)]
    run(Pipeline("p", [sequence(*nodes)]), clock)
    assert seen == [9, 5, 7]


def test_no_slack_in_virtual_time():
    """In virtual time, which stands still while nobody waits, there is no slack at all."""
    assert slack_of(trio.testing.MockClock().current_time) == 0.0
    assert slack_of(Going().current_time) == SLACK


def test_a_node_that_is_cut_within_its_slack():
    """A node that hangs behind fast ones is to blame for its own limit, and cut within the slack."""
    limit = 5.0

    async def fast(_):
        pass

    async def hung(_):
        await trio.sleep_forever()

    nodes = [Node(fast, name=f"n{index}", timeout=limit) for index in range(4)]
    result = run(Pipeline("p", [sequence(*nodes, Node(hung, name="hung", timeout=limit))]), Going())
    node = result.node("hung")
    assert (result.status, node.status, node.blame.name) == ("timed_out", "timed_out", "hung")
    assert limit <= node.elapsed <= limit + SLACK + 10 * STEP


def test_a_value_between_limit_and_cut_is_late():
    """A node that returns after its limit, but before the shared deadline, is late, and the next one runs."""
    clock, limit = Going(), 5.0

    async def fast(_):
        pass

    async def dawdle(_):
        clock.now += remaining() + 2 * STEP
        left.append(trio.current_effective_deadline() - clock.now)
        await trio.lowlevel.checkpoint_if_cancelled()
        return "late"

    async def after(value):
        await trio.lowlevel.checkpoint()
        return value

    left = []
    work = (fast, fast, dawdle, after)
    nodes = [Node(one, name=f"n{at}", timeout=limit) for at, one in enumerate(work)]
    result = run(Pipeline("p", [sequence(*nodes)]), clock)
    assert left[0] > 0
    assert [result.node(f"n{at}").status for at in range(4)] == ["ok", "ok", "late", "ok"]
    assert result.value == "late"
