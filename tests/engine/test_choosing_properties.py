"""Choices of any make, held against a model of a few lines and against the promises of all runs."""

import math

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline import Breaker, Node, Pipeline, Timeouts, choose
from graceline.testing import check_invariants, simulate

OFF_BEAT = 0.125  # the instants of alternatives are whole numbers and halves: no two coincide


@attrs.frozen
class Make:
    """What an alternative does, for how long, and its own limit."""

    ends: str
    seconds: float
    limit: float

    def node(self, name):
        async def work(_):
            await trio.sleep(math.inf if self.ends == "hangs" else self.seconds)
            if self.ends == "raises":
                raise ValueError(name)
            return name

        shut = Breaker(mode="forced_open") if self.ends == "refused" else None
        return Node(work, name=name, timeout=self.limit, breaker=shut, retry=None)


MAKES = st.builds(
    Make,
    ends=st.sampled_from(["returns", "raises", "hangs", "refused"]),
    seconds=st.sampled_from([1.0, 2.0]),
    limit=st.sampled_from([0.5, 1.5, math.inf]),
)


def expected(makes, limit):
    """Status, alternative, attempts, seconds, and how many errors are kept, by the rules alone."""
    now, errors, started = 0.0, [], 0
    for name, make in makes.items():
        if make.ends == "refused":
            errors.append("rejected")
            continue
        started += 1
        takes = math.inf if make.ends == "hangs" else make.seconds
        if min(now + takes, now + make.limit) > limit:
            return "timed_out", None, started, limit, len(errors)
        now += min(takes, make.limit)
        if takes > make.limit:
            errors.append("timed_out")
        elif make.ends == "raises":
            errors.append("failed")
        else:
            return "ok", name, started, now, len(errors)
    real = [error for error in errors if error != "rejected"]
    status = real[-1] if real else "rejected"
    # What counts is the node's own error or blame; the cause of a refusal is kept beside it.
    kept = len(errors) if status == "rejected" else len(errors) - 1
    return status, None, started, now, kept


@settings(derandomize=True, database=None, deadline=None)
@given(st.lists(MAKES, min_size=2, max_size=4), st.sampled_from([1, 2, 3, 9]))
def test_choices_do_what_the_rules_say(makes, limit):
    """Who gave the value, when, after how many, and nothing that went wrong is lost on the way."""
    named = {f"n{number}": make for number, make in enumerate(makes)}
    pick = choose(*(make.node(name) for name, make in named.items()), name="pick")
    recording = simulate(Pipeline("p", [pick], timeout=limit + OFF_BEAT), timeouts=Timeouts.none())
    check_invariants(recording.result, recording.timeline)
    node = recording.result.node("pick")
    found = (str(node.status), node.alternative, node.attempts, node.elapsed, len(node.secondary))
    assert found == expected(named, limit + OFF_BEAT)
