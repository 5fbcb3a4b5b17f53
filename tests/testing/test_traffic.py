from math import inf

import attrs
import pytest

from graceline.testing.traffic import Call, replay


@attrs.define
class Noting:
    """A learner with a fixed limit that notes what it is told."""

    limit: float = 1.0
    heard: list = attrs.field(factory=list)

    def issue(self):
        number = sum(entry[0] == "issue" for entry in self.heard)
        self.heard.append(("issue", number))
        return NotingLease(self, number, self.limit)


@attrs.define
class NotingLease:
    learner: Noting
    number: int
    timeout: float

    def completed(self, elapsed):
        self.learner.heard.append(("completed", self.number, elapsed))

    def cut(self, elapsed):
        self.learner.heard.append(("cut", self.number, elapsed))

    def censored(self, elapsed):
        self.learner.heard.append(("censored", self.number, elapsed))


def test_calls_one_after_another():
    """Each call ends as the earliest of its latency, its limit and the outside says, before the next starts."""
    learner = Noting()
    ended = replay(learner, [0.5, 2.0, Call(inf, 0.25), Call(3.0, 2.0), Call(1.0, 1.0)])
    assert [entry[:1] + entry[2:] for entry in learner.heard if entry[0] != "issue"] == [
        ("completed", 0.5),
        ("cut", 1.0),
        ("censored", 0.25),
        ("cut", 1.0),
        ("completed", 1.0),
    ]
    assert [one.cut for one in ended] == [False, True, False, True, False]
    assert [one.elapsed for one in ended] == [0.5, 1.0, 0.25, 1.0, 1.0]
    assert learner.heard[::2] == [("issue", number) for number in range(5)]


def test_calls_at_once():
    """With several in flight the next call starts when one has ended, and ends come in their order in time."""
    learner = Noting(limit=10.0)
    replay(learner, [3.0, 1.0, 1.0, 5.0], in_flight=2)
    assert [entry[:2] for entry in learner.heard] == [
        ("issue", 0),
        ("issue", 1),
        ("completed", 1),
        ("issue", 2),
        ("completed", 2),
        ("issue", 3),
        ("completed", 0),
        ("completed", 3),
    ]


@pytest.mark.parametrize("in_flight", [1, 3])
def test_every_lease_is_settled(in_flight):
    """However many are in flight, each call has one end, and the calls are returned in the order of their starts."""
    learner = Noting()
    ended = replay(learner, [0.1 * number for number in range(20)], in_flight=in_flight)
    settled = [entry[1] for entry in learner.heard if entry[0] != "issue"]
    assert sorted(settled) == list(range(20))
    assert [one.call.latency for one in ended] == [0.1 * number for number in range(20)]
