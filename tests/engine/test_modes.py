"""Semantics 5: `observe` cancels nothing and reports; `off` knows no deadlines."""

import math
import os

import pytest
import trio
import trio.testing

from graceline import (
    DefinitionError,
    Node,
    Pipeline,
    Stage,
    cleanup,
    each,
    open_engine,
    parallel,
    remaining,
    save_partial,
    sequence,
)
from graceline.telemetry.events import WouldTimeOut


def sleeper(seconds):
    async def sleep(_):
        await trio.sleep(seconds)
        return seconds

    return sleep


PIPELINE = Pipeline(
    "p",
    [
        Stage("a", sequence(Node(sleeper(2), name="x", timeout=1)), timeout=1.5),
        Stage("b", [Node(sleeper(2), name="y", timeout=3, critical=False)]),
    ],
    timeout=3.5,
)


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_modes_cancel_nothing(autojump_clock, mode):
    """In `observe` and `off` every limit may pass: all is ok, and values are equal."""
    async with open_engine(mode=mode) as engine:
        result = await engine.run(PIPELINE)
        expired = await engine.run(Pipeline("q", [Node(sleeper(1), timeout=0)]), timeout=0)
    assert (result.status, result.value, result.degraded) == ("ok", 2, ())
    assert {outcome.status for s in result.stages.values() for outcome in s.nodes.values()} == {
        "ok"
    }
    assert expired.value == 1


async def test_observe_reports_the_earliest_limit(autojump_clock):
    """`observe` names the earliest limit that passed as the one that would cut; others follow."""
    seen = []

    class Sink:
        inline = True

        def wants_trace(self):
            return False

        def __call__(self, event):
            if isinstance(event, WouldTimeOut):
                seen.append((event.blame.name, event.follows))

    async with open_engine(mode="observe", sinks=[Sink()]) as engine:
        result = await engine.run(PIPELINE)
    assert (result.would_time_out.name, result.would_time_out.limit) == ("x", 1.0)
    assert seen == [("x", False), ("a", True), ("p", True)]


async def test_observe_ties_go_to_the_outermost(autojump_clock):
    """Of equal limits that would cut, the outermost is named, as when limits are enforced."""
    pipeline = Pipeline("p", [Node(sleeper(2), name="n", timeout=1)], timeout=1)
    async with open_engine(mode="observe") as engine:
        result = await engine.run(pipeline)
    assert result.would_time_out.level == "pipeline"


async def test_off_reports_nothing(autojump_clock):
    """`off` does not watch limits at all."""
    async with open_engine(mode="off") as engine:
        result = await engine.run(PIPELINE)
    assert result.would_time_out is None


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_explicit_cancel_works_and_cleanup_is_unbounded(autojump_clock, mode):
    """Where nothing is enforced a cancel still works, and cleanup may take any time."""

    async def work(_):
        assert remaining() == math.inf
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(1000)

    async with open_engine(mode=mode) as engine:
        run = engine.start(Pipeline("p", [work]))
        await trio.sleep(1)
        run.cancel("stop")
        assert (await run.wait()).elapsed == pytest.approx(1001)
        run = engine.start(Pipeline("p", [work]))
        await trio.sleep(1)
        run.cancel("stop", force_after=2)
        result = await run.wait()
    assert (result.status, result.elapsed) == ("cancelled", pytest.approx(3))


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_the_callers_own_deadline_stays(autojump_clock, mode):
    """No mode changes what the caller's own scopes do, and `remaining()` knows them."""
    left = []

    async def work(_):
        left.append(remaining())
        await trio.sleep_forever()

    async with open_engine(mode=mode) as engine:
        with trio.move_on_after(2) as scope:
            await engine.run(Pipeline("p", [Node(work, timeout=1)]))
    assert scope.cancelled_caught
    assert left == [pytest.approx(2)]


async def test_mode_comes_from_the_environment(autojump_clock, monkeypatch, caplog):
    """Without an argument the mode is that of `GRACELINE_MODE`; a mode that cuts nothing warns once."""
    monkeypatch.setenv("GRACELINE_MODE", "observe")
    async with open_engine() as engine:
        assert engine.mode == "observe"
    async with open_engine(mode="enforce") as engine:
        assert engine.mode == "enforce"
    assert [record.mode for record in caplog.records] == ["observe"]
    monkeypatch.setenv("GRACELINE_MODE", "dry")
    with pytest.raises(DefinitionError, match="GRACELINE_MODE"):
        async with open_engine():
            pass


async def test_lane_comes_from_the_environment(autojump_clock, monkeypatch):
    """Without an argument the lane is that of `GRACELINE_LANE`, else `default`."""
    async with open_engine() as engine:
        assert engine.lane == "default"
    monkeypatch.setenv("GRACELINE_LANE", "blue")
    async with open_engine() as engine:
        assert engine.lane == "blue"


async def test_a_lane_that_is_no_text_is_refused(autojump_clock, monkeypatch):
    """The message names the variable that it came from, if it came from one."""
    monkeypatch.setitem(os.environ, "GRACELINE_LANE", "blue\udcff")
    for lane, what in ((None, "GRACELINE_LANE"), ("blue\udcff", "lane=")):
        with pytest.raises(DefinitionError, match=f"^{what}: its name must be text that UTF-8"):
            async with open_engine(lane=lane):
                pass


async def test_observe_watches_items_and_names_limits(autojump_clock):
    """A limit of an item is reported, and a limit that passed stays a timeout after a cancel."""
    async with open_engine(mode="observe") as engine:
        result = await engine.run(Pipeline("p", [each(sleeper(3), item_timeout=1)], timeout=9), [1])
        assert (result.would_time_out.level, result.would_time_out.kind) == ("item", "timeout")
        run = engine.start(Pipeline("p", [trio.sleep], timeout=1), 9)
        await trio.sleep(2)
        run.cancel("stop")
        result = await run.wait()
    assert (result.blame.kind, result.would_time_out.kind) == ("user", "timeout")


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_admission_works_in_every_mode(autojump_clock, mode):
    """Slots and queue bound the runs as ever; only the clock of a queued run cuts nothing."""
    options = {"max_concurrent_pipelines": 1, "max_queue": 1}
    async with open_engine(mode=mode, **options) as engine:
        first = engine.start(Pipeline("a", [sleeper(5)]))
        second = engine.start(Pipeline("b", [sleeper(1)], timeout=2))
        third = await engine.run(Pipeline("c", [sleeper(1)]))
        assert (third.status, third.blame.message) == ("rejected", "queue full")
    assert (first.result.status, second.result.status) == ("ok", "ok")
    assert second.result.queued == pytest.approx(5)


async def test_observe_and_off_give_equal_results(autojump_clock):
    """Values, statuses and partial values are the same, whatever limits pass and whatever fails."""

    async def work(_):
        save_partial("so far")
        await trio.sleep(3)
        return remaining()

    async def fail(_):
        await trio.sleep(1)
        raise ValueError

    nodes = parallel(
        Node(work, timeout=1, strict=True), Node(fail, timeout=0.5, critical=False, fallback=7),
        each(sleeper(2), name="items", item_timeout=1),
    )  # fmt: skip
    results = []
    for mode in ("observe", "off"):
        async with open_engine(mode=mode) as engine:
            run = engine.start(Pipeline("p", [Stage("s", nodes, timeout=1)], timeout=2), [1, 2])
            results.append(await run.wait())
    first, second = (
        (r.status, r.value, r.degraded, dict(r.partial), r.elapsed,
         [(n.name, n.status, n.value) for n in r.stages["s"].nodes.values()])
        for r in results
    )  # fmt: skip
    assert first == second
    assert first[:2] == ("ok", {"work": math.inf, "fail": 7, "items": [2, 2]})


@pytest.mark.parametrize(("mode", "warnings"), [("enforce", 0), ("observe", 1), ("off", 1)])
async def test_a_mode_that_cuts_nothing_warns_once_at_start(autojump_clock, caplog, mode, warnings):
    """There is one warning per engine, and none where limits are enforced."""
    async with open_engine(mode=mode) as engine:
        for _ in range(3):
            await engine.run(Pipeline("p", [sleeper(0.1)]))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warnings
