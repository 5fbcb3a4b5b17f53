"""The contestants do what their rows say, in virtual time; nothing is measured."""

from contextlib import contextmanager, suppress
from functools import partial

import pytest
import trio
from benchmarks.crowd import Gate
from benchmarks.floors import HAND, hand_written
from benchmarks.groups.features import WITHOUT, contestants
from benchmarks.groups.lateness import BLOCK, LIMIT, _late, lateness
from benchmarks.groups.storms import CLEANING, makers, open_for_storms, storm
from benchmarks.shapes import (
    NODE_LIMIT,
    PIPELINE_LIMIT,
    STAGE_LIMIT,
    layered,
    plain,
    side_by_side,
    stages_of,
    straight,
)

from graceline.telemetry.events import RunFinished
from graceline.timelines.derived import RunTimeline


@pytest.mark.parametrize(
    ("pipeline", "nodes"),
    [
        (straight(stages_of(plain, 3, 2)), 6),
        (side_by_side([plain] * 4), 4),
        (layered(plain, 3), 6),
    ],
    ids=["straight", "side_by_side", "layered"],
)
def test_the_engine_has_the_limits_of_the_floors(pipeline, nodes):
    """Each node, each stage and the pipeline have the limit that hand-written scopes have."""
    stages = pipeline.stages
    limits = [node.timeout for stage in stages for node in stage.nodes]
    assert limits == [NODE_LIMIT] * nodes
    assert [stage.timeout for stage in stages] == [STAGE_LIMIT] * len(stages)
    assert pipeline.timeout == PIPELINE_LIMIT


class TwoMillisecondsLate(trio.abc.Clock):
    """A clock that jumps instead of waiting, each time a bit too far, as a kernel wakes up."""

    def __init__(self):
        self._now = 0.0

    def start_clock(self):
        pass

    def current_time(self):
        return self._now

    def deadline_to_sleep_time(self, deadline):
        if deadline > self._now:
            self._now = deadline + 0.002
        return 0.0


class Small:
    """As few rounds as make a block, and crowds of three."""

    def rounds(self, usual):
        return min(usual, BLOCK)

    def sizes(self, *_):
        return (3,)


def test_lateness_is_what_comes_after_the_limit():
    """Where the kernel wakes up 2 ms late, each contestant is 2 ms late, alone and in a crowd."""
    alone, awake, together = trio.run(lateness, Small(), clock=TwoMillisecondsLate())
    for row, scale in ((alone, 1e6), (together, 1e3)):
        assert row.figure.median == pytest.approx(0.002 * scale)
        assert row.floor.median == pytest.approx(0.002 * scale)
        assert row.against == HAND
    assert (alone.unit, awake.unit, together.unit) == ("us", "us", "ms")
    assert together.what == "p50 lateness of 3 runs with one deadline"


async def test_a_contestant_that_ends_early_is_no_figure(autojump_clock):
    """Who returns before the limit was not cut by it."""
    assert await _late(partial(trio.sleep, LIMIT + 3)) == pytest.approx(3)
    with pytest.raises(AssertionError):
        await _late(partial(trio.sleep, LIMIT / 2))


@pytest.mark.parametrize("early", ["alone", "together", "without an error"])
def test_a_floor_that_ends_early_is_noticed(monkeypatch, early):
    """A floor with another limit than the engine would have made the engine look late."""

    async def hasty(work, value, **limits):
        if early == "alone" and "node_limit" in limits:
            return None
        if early == "together" and "node_limit" not in limits:
            limits = {name: limit / 2 for name, limit in limits.items()}
        with suppress(trio.TooSlowError if early == "without an error" else ()):
            return await hand_written(work, value, **limits)

    monkeypatch.setitem(lateness.__globals__, "hand_written", hasty)
    with pytest.raises((AssertionError, ExceptionGroup)) as caught:
        trio.run(lateness, Small(), clock=TwoMillisecondsLate())
    error = caught.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, AssertionError)


class Events(list):
    """Keeps every event."""

    inline = True

    def wants_trace(self):
        return True

    def __call__(self, event):
        self.append(event)


async def counted_in(feature, monkeypatch):
    """What one run of a feature does: rows asked for, cleanup blocks, runs inside, values saved."""
    seen, events = {"rows": 0, "cleanups": 0, "saved": 0}, Events()
    names = contestants.__wrapped__.__globals__

    def counted(what, function):
        def call(*arguments):
            seen[what] += 1
            return function(*arguments)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(RunTimeline, "rows", counted("rows", RunTimeline.rows))
        patched.setitem(names, "cleanup", counted("cleanups", names["cleanup"]))
        patched.setitem(names, "save_partial", counted("saved", names["save_partial"]))
        async with contestants(3) as known:
            engine = known[WITHOUT].run.func.__self__
            unsubscribe = engine.subscribe(events)
            await known[feature].run()
            unsubscribe()
    return seen | {"runs": sum(isinstance(event, RunFinished) for event in events)}


@pytest.mark.parametrize(
    ("feature", "more"),
    [
        (WITHOUT, {}),
        ("rows of a waterfall from the result", {"rows": 1}),
        ("a cleanup() block", {"cleanups": 3}),
        ("a run of one node in it", {"runs": 4}),
        ("save_partial()", {"saved": 3}),
        ("a timeline as a live sink", {}),
    ],
)
async def test_a_feature_does_what_its_row_says(autojump_clock, monkeypatch, feature, more):
    """Its thing once per node or run, and nothing of the others."""
    nothing = {"rows": 0, "cleanups": 0, "runs": 1, "saved": 0}
    assert await counted_in(feature, monkeypatch) == nothing | more


@pytest.mark.parametrize("contestant", [HAND, "engine"])
async def test_each_cleanup_of_a_storm_completes(autojump_clock, monkeypatch, contestant):
    """By hand as with the engine: a block that the storm cuts is cheaper than one that it waits for."""
    names, done = makers.__globals__, []

    def completing(make):
        @contextmanager
        def block():
            with make():
                yield
                done.append(None)

        return block

    for name in ("cleanup", "_by_hand"):
        monkeypatch.setitem(names, name, completing(names[name]))
    gate = Gate()
    async with open_for_storms() as engine:
        assert await storm(gate, makers(engine, gate, CLEANING)[contestant](), 10, CLEANING)
    assert len(done) == 10
