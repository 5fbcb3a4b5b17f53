"""Predicted admission in the engine: each rule one promise, in virtual time."""

import logging
import math
import sys

import attrs
import pytest
import trio
import trio.testing

from graceline import (
    DefinitionError,
    Node,
    OverloadedError,
    Pipeline,
    Timeouts,
    cleanup,
    open_engine,
)
from graceline.telemetry import events

NO_LIMITS = Timeouts(node=None, pipeline=None)
PREDICTED, AT_HEAD = "predicted too late", "too late to start"


def pipeline(name="p", timeout=None):
    return Pipeline(name, [trio.sleep], timeout=timeout)


def opened(admission="enforce", slots=1, **options):
    return open_engine(
        timeouts=NO_LIMITS, max_concurrent_pipelines=slots, admission=admission, **options
    )


async def teach(engine, seconds=1.0, times=20, name="p"):
    """Have runs of a pipeline end after so many seconds, one after the other."""
    for _ in range(times):
        await engine.run(pipeline(name), seconds)


def busy(engine, times=1, seconds=1.0):
    """Start runs without a limit: the first hold the slots, the others wait."""
    return [engine.start(pipeline(), seconds) for _ in range(times)]


async def statuses(runs):
    """What became of runs, once all have ended."""
    for run in runs:
        await run.wait()
    return [str(run.result.status) for run in runs]


async def test_what_cannot_be_in_time_is_rejected_at_once(autojump_clock):
    """After an arrival nobody waits for the no: it takes 0 s, and says the sum and when to return."""
    async with opened() as engine:
        await teach(engine)
        busy(engine, 3)
        result = await engine.run(pipeline(timeout=3.5), 1)
    assert (result.status, result.elapsed) == ("rejected", 0)
    assert (result.blame.kind, result.blame.level) == ("rejected", "pipeline")
    assert result.blame.message == (
        "predicted too late: 3.5s are left, and about 3s in the queue and 1s for its work are needed"
    )
    assert result.blame.retry_after == pytest.approx(0.5)
    assert result.node("sleep").status == "skipped"


async def test_who_heeds_retry_after_is_in_time(autojump_clock):
    """The error of `execute` carries a finite time, after which the same run is let in and ends well."""
    async with opened() as engine:
        await teach(engine)
        busy(engine, 3)
        await trio.sleep(0.1)
        with pytest.raises(OverloadedError) as caught:
            await engine.execute(pipeline(timeout=3.05), 1)
        assert caught.value.reason.startswith(PREDICTED)
        assert caught.value.retry_after == pytest.approx(0.95)
        await trio.sleep(caught.value.retry_after)
        assert (await engine.run(pipeline(timeout=3.05), 1)).status == "ok"


async def test_enough_time_is_let_in(autojump_clock):
    """Exactly what is expected is enough, and it is in time."""
    async with opened() as engine:
        await teach(engine)
        busy(engine, 3)
        assert (await engine.run(pipeline(timeout=4.5), 1)).status == "ok"


async def test_a_free_slot_asks_for_the_p50_alone(autojump_clock):
    """Where nobody waits, what usually ends in time is let in, and what usually does not is refused."""
    async with opened(slots=None) as engine:
        await teach(engine, 1.0, 10)
        await teach(engine, 1.5, 10)
        assert (await engine.run(pipeline(timeout=1.2), 1)).status == "ok"
        refused = await engine.run(pipeline(timeout=0.5), 1)
    assert (refused.status, refused.blame.retry_after) == ("rejected", None)


async def test_below_twenty_runs_nobody_is_refused(autojump_clock):
    """19 durations say nothing; the run waits, and is cut at its limit."""
    async with opened() as engine:
        await teach(engine, times=18)
        busy(engine, 3)
        assert (await engine.run(pipeline(timeout=0.5), 1)).status == "timed_out"


async def test_one_in_ten_is_let_in_all_the_same(autojump_clock):
    """Every tenth that would be refused gets its place in the queue, and leaves it at its deadline."""
    async with opened() as engine:
        await teach(engine)
        busy(engine, 9, seconds=9)
        runs = [engine.start(pipeline(timeout=2), 1) for _ in range(20)]
        assert await statuses(runs) == (["rejected"] * 9 + ["timed_out"]) * 2
        assert {run.result.blame.kind for run in runs[9::10]} == {"queue"}
        assert runs[9].result.elapsed == pytest.approx(2)


async def a_late_head(engine, times):
    """Runs that are let in, and find 0.5 s left at the head: what is before takes 3 s, not 1."""
    await teach(engine)
    engine.start(pipeline(), 3)
    return [engine.start(pipeline(timeout=3.5), 0.25) for _ in range(times)]


async def test_what_is_hopeless_at_the_head_is_dropped(autojump_clock):
    """Too little is left for all but 5 %: rejected there and then, with the reason, never started."""
    async with opened() as engine:
        (run,) = await a_late_head(engine, 1)
        assert await statuses([run]) == ["rejected"]
    assert run.result.blame.message == (
        "too late to start: 500ms are left after the queue, and 95 % of the runs take more than 1s"
    )
    assert (run.result.elapsed, run.result.queued) == (pytest.approx(3), pytest.approx(3))
    assert 0 <= run.result.blame.retry_after < math.inf


async def test_a_drop_at_the_head_gives_the_slot_to_the_next_at_once(autojump_clock):
    """The next in the queue starts in the instant in which those before it are dropped."""
    async with opened() as engine:
        dropped = await a_late_head(engine, 2)
        following = engine.start(pipeline(), 1)
        assert await statuses([*dropped, following]) == ["rejected", "rejected", "ok"]
        assert following.result.queued == pytest.approx(3)
        assert engine.health().active == 0


async def test_one_in_sixteen_is_started_all_the_same(autojump_clock):
    """Every sixteenth that would be dropped at the head gets the slot, and may well be in time."""
    async with opened(slots=16) as engine:
        await teach(engine)
        for _ in range(16):
            engine.start(pipeline(), 3)
        runs = [engine.start(pipeline(timeout=3.5), 0.25) for _ in range(16)]
        assert await statuses(runs) == ["rejected"] * 15 + ["ok"]


async def test_a_waiter_at_its_deadline_is_passed_over(autojump_clock):
    """It is `timed_out` in the queue, not refused, and the slot goes to the next at once."""
    async with opened() as engine:
        await teach(engine)
        engine.start(pipeline(), 3)
        late, following = engine.start(pipeline(timeout=3), 1), engine.start(pipeline(), 1)
        assert await statuses([late, following]) == ["timed_out", "ok"]
        assert late.result.blame.kind == "queue"
        assert following.result.queued == pytest.approx(3)
        assert not engine.health().admission.rejected


async def traffic(admission):
    """The same traffic, more than can be done, under a mode; and what admission counted."""
    async with opened(admission, slots=2) as engine:
        await teach(engine)
        runs = []
        for number in range(60):
            runs.append(engine.start(pipeline(timeout=3), 2.5 if number % 7 == 0 else 1))
            await trio.sleep(0.25)
        await statuses(runs)
        told = [attrs.evolve(run.result, run_id="") for run in runs]
        return [(r.status, r.elapsed, r.queued) for r in told], engine.health().admission


async def test_observe_counts_and_changes_nothing(autojump_clock):
    """Each run ends as under `off`; those that would have been refused are counted once, by reason."""
    plain, nothing = await traffic("off")
    observed, counted = await traffic("observe")
    assert observed == plain
    assert (nothing.mode, nothing.rejected, nothing.would_reject) == ("off", {}, {})
    assert (counted.mode, counted.rejected) == ("observe", {})
    assert 10 < sum(counted.would_reject.values()) <= 60
    assert set(counted.would_reject) <= {PREDICTED, AT_HEAD}


async def test_enforce_counts_whom_it_refuses(autojump_clock):
    """The counter is the number of results that say so, and more runs end well than in order."""
    plain, _ = await traffic("off")
    enforced, counted = await traffic("enforce")
    refused = sum(status == "rejected" for status, _, _ in enforced)
    assert (sum(counted.rejected.values()), counted.would_reject) == (refused, {})
    assert sum(s == "ok" for s, _, _ in enforced) > sum(s == "ok" for s, _, _ in plain)


async def test_observe_tells_of_whom_it_would_refuse(autojump_clock, caplog):
    """An event and a warning say the reason and what was left; nothing was done."""
    heard = []
    async with opened("observe") as engine:
        engine.subscribe(heard.append, inline=True)
        await teach(engine)
        busy(engine, 3)
        with caplog.at_level(logging.WARNING, "graceline.run"):
            result = await engine.run(pipeline(timeout=3.5), 0.25)
        assert dict(engine.health().admission.would_reject) == {PREDICTED: 1}
    (told,) = [event for event in heard if isinstance(event, events.WouldReject)]
    assert (told.reason, told.remaining) == (PREDICTED, pytest.approx(3.5))
    assert told.retry_after == pytest.approx(0.5)
    assert result.status == "ok"
    (record,) = [one for one in caplog.records if one.event_type == "would_reject"]
    assert record.getMessage() == "would_reject p, predicted too late, 3.5s left"


async def test_observe_counts_where_nobody_listens(autojump_clock, unheard):
    """Whom it would refuse is counted, also where no event of it is built."""
    with unheard():
        async with opened("observe") as engine:
            await teach(engine)
            busy(engine, 3)
            await engine.run(pipeline(timeout=3.5), 0.25)
            assert dict(engine.health().admission.would_reject) == {PREDICTED: 1}


async def test_observe_counts_at_the_head_too(autojump_clock):
    """What is let in and finds too little left is counted as such, and gets its slot."""
    async with opened("observe") as engine:
        (run,) = await a_late_head(engine, 1)
        assert await statuses([run]) == ["ok"]
        assert dict(engine.health().admission.would_reject) == {AT_HEAD: 1}


async def test_observe_is_the_default(engine):
    """An engine predicts from the start, and refuses nobody by it unless it is told to."""
    assert engine.health().admission.mode == "observe"


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_modes_that_cancel_nothing_predict_nothing(autojump_clock, mode):
    """In the engine's modes `observe` and `off` admission acts as in `off`."""
    async with opened("enforce", mode=mode) as engine:
        await teach(engine)
        busy(engine, 3)
        assert (await engine.run(pipeline(timeout=0.5), 1)).status == "ok"
        assert engine.health().admission.mode == "off"


async def test_a_full_queue_says_when_there_is_a_place(autojump_clock):
    """`retry_after` is known once the pipeline is, and the next place then comes in time."""
    async with opened("observe", max_queue=1) as engine:
        await teach(engine, times=19)
        busy(engine, 2)
        unknown = await engine.run(pipeline(), 1)
        await engine.wait_idle()
        busy(engine, 2)
        await trio.sleep(0.1)
        full = await engine.run(pipeline(), 1)
        with pytest.raises(OverloadedError) as caught:
            full.unwrap()
        assert (unknown.blame.message, unknown.blame.retry_after) == ("queue full", None)
        assert caught.value.retry_after == pytest.approx(1)
        await trio.sleep(caught.value.retry_after)
        assert (await engine.run(pipeline(), 1)).status == "ok"
        assert dict(engine.health().admission.rejected) == {"queue full": 2}


async def test_a_drain_is_counted(autojump_clock):
    """A refusal by a drain has its reason among the counters, and no time to come back."""
    async with opened() as engine:
        await engine.drain()
        result = await engine.run(pipeline(), 1)
        assert (result.status, result.blame.retry_after) == ("rejected", None)
        assert dict(engine.health().admission.rejected) == {"draining": 1}


@pytest.mark.parametrize(("after", "times"), [(0.001, 300), (0.1, 300), (0.9, 300), (1.5, 150)])
async def test_cut_runs_do_not_shorten_what_is_expected(autojump_clock, after, times):
    """Hundreds of runs of 2 s that are cut early: the wait is still counted by 1 s at least."""
    async with opened() as engine:
        await teach(engine, times=40)
        for _ in range(times):
            run = engine.start(pipeline(), 2)
            await trio.sleep(after)
            await engine.cancel(run.run_id)
        await teach(engine, times=25)
        busy(engine, 3)
        result = await engine.run(pipeline(timeout=2.9), 1)
    assert result.status == "rejected"


async def test_runs_that_are_cut_are_taken_to_take_longer(autojump_clock):
    """Half of the runs are cut at 3 s: the mean is 2 s, as near as steps of 5 % tell."""
    async with opened() as engine:
        for _ in range(32):
            await engine.run(pipeline(), 1)
            await engine.run(pipeline(timeout=3), 9)
        busy(engine, 3)
        result = await engine.run(pipeline(timeout=5.5), 1)
        assert "about 5.85s in the queue" in result.blame.message


async def test_runs_that_are_cut_are_not_among_those_that_are_enough(autojump_clock):
    """What is expected is known as soon as 20 runs have come to their end, however many were cut."""
    async with opened() as engine:
        for _ in range(5):
            await engine.run(pipeline(timeout=2), 9)
        await teach(engine)
        busy(engine, 3)
        assert (await engine.run(pipeline(timeout=3.5), 1)).status == "rejected"


async def test_a_late_run_has_a_duration(autojump_clock):
    """A run that returns in spite of its limit came to its end by itself: it took that long."""

    async def deaf(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    async with opened() as engine:
        for _ in range(20):
            assert (await engine.run(Pipeline("p", [deaf], timeout=1))).status == "late"
        busy(engine, 3)
        result = await engine.run(pipeline(timeout=3.5), 1)
    assert "about 9s in the queue and 3s for its work" in result.blame.message


async def test_what_its_caller_gives_up_has_no_duration(autojump_clock, cancelled_after):
    """25 runs that a cancelled scope took back have not ended by themselves: nothing is expected."""
    async with opened(slots=None) as engine:
        for _ in range(25):
            scope = await cancelled_after(1, engine.run, pipeline(), 9)
            assert scope.cancelled_caught
        assert (await engine.run(pipeline(timeout=0.5), 9)).status == "timed_out"


async def test_the_grace_of_cut_runs_is_no_duration(autojump_clock):
    """A run that is cut at 3 s and cleans up for 5 s says that it would have taken 3 s at least."""

    async def work(seconds):
        try:
            await trio.sleep(seconds)
        finally:
            with cleanup():
                await trio.sleep(5 if seconds > 3 else 0)

    async with opened() as engine:
        await teach(engine)
        for _ in range(20):
            cut = await engine.run(Pipeline("p", [work], timeout=3, grace=5), 9)
            assert cut.elapsed == 8
        await teach(engine, times=2)
        busy(engine, 3)
        result = await engine.run(pipeline(timeout=2.5), 1)
        assert "about 5.55s in the queue" in result.blame.message  # of 1 s and 3 s, in steps


async def fail_after(seconds):
    await trio.sleep(seconds)
    raise ValueError("no")


@pytest.mark.parametrize("node", [fail_after, Node(trio.sleep, timeout=1, name="sleep")])
async def test_a_run_that_ends_badly_by_itself_has_a_duration(autojump_clock, node):
    """A failure, or a node's own limit, ends the run and frees the slot: it took that long."""
    seconds = 1 if node is fail_after else 9
    async with opened() as engine:
        for _ in range(20):
            assert not (await engine.run(Pipeline("p", [node]), seconds)).ok
        busy(engine, 3)
        result = await engine.run(pipeline(timeout=3.5), 1)
    assert "about 3s in the queue and 1s for its work" in result.blame.message


async def test_the_time_in_the_queue_is_no_duration(autojump_clock):
    """What a run needs counts from its slot: 25 that waited for each other need 1 s, not up to 25."""
    async with opened() as engine:
        await statuses(busy(engine, 25))
        busy(engine, 1)
        assert (await engine.run(pipeline(timeout=2.5), 1)).status == "ok"


async def test_the_wait_is_that_of_those_in_line(autojump_clock):
    """A run of a quick pipeline that stands behind slow ones waits for these: their mean counts."""
    async with opened() as engine:
        await teach(engine, 5.0, name="slow")
        await teach(engine, 0.1, name="quick")
        for _ in range(2):
            engine.start(pipeline("slow"), 5)
        refused = await engine.run(pipeline("quick", timeout=5), 0.1)
        await engine.wait_idle()
        for _ in range(2):
            engine.start(pipeline("quick"), 0.1)
        assert (await engine.run(pipeline("quick", timeout=5), 0.1)).status == "ok"
    assert "about 10s in the queue and 100ms for its work" in refused.blame.message


@pytest.mark.parametrize("queue", [None, 2])
async def test_who_is_refused_is_not_in_line(autojump_clock, queue):
    """A run that a prediction or a full queue refuses leaves the wait of the next one as it was."""
    async with opened(max_queue=queue) as engine:
        await teach(engine)
        await teach(engine, 10.0, name="slow")
        busy(engine, 3)
        first, slow, second = [
            await engine.run(pipeline(name, timeout), 1)
            for name, timeout in (("p", 2.5), ("slow", None if queue else 1.0), ("p", 2.5))
        ]
        assert [str(one.status) for one in (first, slow, second)] == ["rejected"] * 3
        assert second.blame.retry_after == pytest.approx(first.blame.retry_after)


async def test_runs_inside_a_node_are_not_asked(autojump_clock):
    """A run that a node starts takes no slot, and is refused by no prediction, however short."""

    async def nested(_):
        return await engine.run(pipeline(timeout=0.5), 1)

    async with opened() as engine:
        await teach(engine)
        result = await engine.run(Pipeline("outer", [nested]))
    assert result.value.status == "timed_out"


async def test_without_a_limit_nobody_is_refused(autojump_clock):
    """A run that has all the time in the world waits."""
    async with opened() as engine:
        await teach(engine)
        assert set(await statuses(busy(engine, 50))) == {"ok"}


async def test_what_got_quick_again_is_let_in_again(autojump_clock):
    """One in ten teaches it: after a slow hour the door does not stay shut."""
    async with opened(slots=None) as engine:
        await teach(engine, 10.0, times=40)
        let_in = [(await engine.run(pipeline(timeout=1), 0.1)).status == "ok" for _ in range(1000)]
    assert not any(let_in[:9])
    assert all(let_in[-20:])


@pytest.mark.parametrize("admission", ["observe", "enforce"])
async def test_a_thousand_cancelled_waiters_leave_full_capacity(autojump_clock, admission):
    """With predictions too: cancelled, timed out or dropped, they leave all slots and no expectation."""
    async with opened(admission, slots=4) as engine:
        await teach(engine)
        for _ in range(4):
            engine.start(pipeline(), 10)
        with trio.move_on_after(3):
            async with trio.open_nursery() as nursery:
                for number in range(1000):
                    if number % 3 == 0:
                        nursery.start_soon(engine.run, pipeline(), 1)
                    else:
                        run = engine.start(pipeline(timeout=2 if number % 3 == 1 else None), 1)
                        if number % 3 == 2:
                            nursery.start_soon(engine.cancel, run.run_id)
        await engine.wait_idle()
        assert (engine.health().active, engine.health().queued) == (0, 0)
        began = trio.current_time()
        runs = [engine.start(pipeline(timeout=2.5), 1) for _ in range(8)]
        assert await statuses(runs) == ["ok"] * 8
        assert trio.current_time() - began == pytest.approx(2)


async def test_a_slot_granted_to_a_cancelled_waiter_goes_on(autojump_clock):
    """The slot is passed on once, and nobody is expected to hold it who does not."""

    async def hold(_):
        await trio.sleep(1)
        scope.cancel()  # the waiter has its Cancelled, and is still the first in the queue

    async with opened() as engine:
        await teach(engine)
        await teach(engine, 0.5, name="quick")
        engine.start(Pipeline("hold", [hold]))
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            await engine.run(pipeline(), 1)
        await engine.wait_idle()
        assert engine.health().active == 0
        busy(engine, 2)
        engine.start(pipeline("quick"), 0.5)
        result = await engine.run(pipeline("quick", timeout=1), 0.5)
        assert "about 2.5s in the queue" in result.blame.message


@pytest.mark.parametrize("wrong", ["on", None, ["enforce"]])
async def test_an_unknown_mode_of_admission_is_refused(wrong):
    """The message names the option and what is valid."""
    with pytest.raises(DefinitionError, match=r"admission=.*'enforce'|admission=.*did you mean"):
        async with open_engine(admission=wrong):
            pass


async def test_a_node_is_not_asked(autojump_clock):
    """Prediction is done per run: no line of it runs for one of its nodes."""
    lines = []

    def trace(frame, event, arg):
        if frame.f_code.co_filename.endswith(("foresight.py", "resilience/admission.py")):
            lines.append(frame.f_lineno)

    async def count(nodes):
        lines.clear()
        async with opened("observe", slots=2) as engine:
            sys.setprofile(trace)
            try:
                await engine.run(Pipeline("p", [pass_on(number) for number in range(nodes)]))
            finally:
                sys.setprofile(None)
        return len(lines)

    assert 0 < await count(1) == await count(30)


def pass_on(number):
    async def step(value):
        return value

    step.__name__ = f"step_{number}"
    return step
