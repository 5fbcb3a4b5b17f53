"""Attempts: a node is tried again within its time and its retry budget, and never otherwise."""

import threading

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from graceline import (
    Adaptive,
    AttemptTimeoutError,
    GracelineError,
    Node,
    Pipeline,
    Stage,
    Timeouts,
    cleanup,
    current,
    each,
    open_engine,
    parallel,
    remaining,
    save_partial,
)
from graceline.adaptive import Key
from graceline.definitions import Breaker, Hedge, Retry
from graceline.engine.levels import CURRENT
from graceline.telemetry import events
from graceline.testing import simulate
from graceline.testing.invariants import check_invariants
from graceline.work import WorkRefusedError

HANG = object()
TWICE = Retry(attempts=2, backoff=0)
THRICE = Retry(attempts=3, backoff=0)
MANY = Retry(attempts=100, backoff=0)


class Service:
    """Does what its script says, one entry per call: raises it, hangs, or returns it."""

    __name__ = "service"

    def __init__(self, *script, seconds=0.0):
        self.script = list(script)
        self.seconds = seconds
        self.calls = []
        self.attempts = []

    async def __call__(self, value):
        self.calls.append(trio.current_time())
        self.attempts.append(current().attempt)
        does = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        await trio.sleep(self.seconds)
        if does is HANG:
            await trio.sleep_forever()
        if isinstance(does, BaseException):
            raise does
        return does


def pipeline_of(work, retry=TWICE, **options):
    return Pipeline("p", [Node(work, name="work", retry=retry, **options)])


def tokens(engine, place=("p", "p", "work")):
    return engine._protections.budget(place).tokens(trio.current_time())


def without_jitter(engine):
    """Have every backoff be the longest one."""
    engine._plans._resources = attrs.evolve(engine._plans._resources, random=lambda: 1.0)


def trace(engine, traced):
    """Subscribe a sink that wants the events of what ends well too, if so."""

    def sink(event):
        pass

    sink.wants_trace = lambda: traced
    engine.subscribe(sink, inline=True)


@pytest.fixture
def heard(engine):
    """The attempts that the engine tells of."""
    found = []

    def sink(event):
        if isinstance(event, events.AttemptFinished):
            found.append(event)

    sink.wants_trace = lambda: True
    engine.subscribe(sink, inline=True)
    return found


# -- another attempt --------------------------------------------------------------------------


async def test_what_failed_is_tried_again(autojump_clock, engine, heard):
    """A second attempt that succeeds makes the node ok; the first one's error is kept."""
    first = ValueError("first")
    service = Service(first, "value")
    result = await engine.run(pipeline_of(service))
    node = result.node("work")
    assert (result.status, result.value, node.attempts, node.secondary) == (
        "ok",
        "value",
        2,
        (first,),
    )
    assert service.attempts == [1, 2]
    assert [(e.attempt, e.status, e.error_type, e.delay, e.stop) for e in heard] == [
        (1, "failed", "ValueError", 0.0, None),
        (2, "ok", None, None, "ok"),
    ]


async def test_all_errors_are_kept(autojump_clock, engine):
    """The last error is the node's, with a note of why there was no further attempt."""
    errors = [ValueError(str(number)) for number in range(3)]
    node = (await engine.run(pipeline_of(Service(*errors), THRICE))).node("work")
    assert (node.status, node.error, node.attempts) == ("failed", errors[2], 3)
    assert node.secondary == tuple(errors[:2])
    assert errors[2].__notes__ == ["retry stopped: all 3 attempts are used up"]


async def test_an_attempt_that_timed_out_is_kept_as_such(autojump_clock, engine):
    """Of an attempt that exceeded its limit the limit is kept, and what it raised as it was cut."""

    async def work(_):
        if current().attempt == 2:
            return "value"
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("unwinding")

    node = (await engine.run(pipeline_of(work, attempt_timeout=0.5))).node("work")
    (kept,) = node.secondary
    assert isinstance(kept, AttemptTimeoutError)
    assert (kept.name, kept.limit, kept.source, kept.completed) == ("work", 0.5, "node", ())
    assert (kept.result, str(kept.__cause__)) == (None, "unwinding")


@pytest.mark.parametrize("started", [True, False, None])
async def test_what_did_not_start_is_tried_again_in_spite_of_idempotent_false(
    autojump_clock, engine, started
):
    """An error that says `started = False` is retried even where nothing may be done twice."""
    error = ValueError("no connection")
    if started is not None:
        error.started = started
    node = (await engine.run(pipeline_of(Service(error, "value"), idempotent=False))).node("work")
    assert node.attempts == (2 if started is False else 1)
    assert node.status == ("ok" if started is False else "failed")


async def test_one_attempt_needs_no_note(autojump_clock, engine):
    """Where nobody asked for retries the error is as it was raised."""
    error = ValueError("once")
    node = (await engine.run(pipeline_of(Service(error), None, attempt_timeout=1))).node("work")
    assert (node.error, node.attempts) == (error, 1)
    assert not hasattr(error, "__notes__")


async def test_a_backoff_that_does_not_fit_is_not_waited_for(autojump_clock, engine, heard):
    """Of 5 s with a backoff of 4 s the node takes 4 s, and fails with the last real error and a note."""
    without_jitter(engine)
    last = ValueError("last")
    service = Service(ValueError("first"), last)
    retry = Retry(attempts=9, backoff=4, factor=1, min_attempt=0.8)
    result = await engine.run(pipeline_of(service, retry, timeout=5))
    assert (result.status, result.error, result.elapsed) == ("failed", last, 4.0)
    assert last.__notes__ == ["retry stopped: 1.0 s left, 4.0 s backoff + 0.8 s expected"]
    assert service.calls == [0.0, 4.0]
    assert [(e.delay, e.stop) for e in heard] == [(4.0, None), (None, "deadline")]


async def test_the_time_left_is_that_of_all_levels_above(autojump_clock, engine):
    """A backoff that fits into the node, but not into the pipeline, is not waited for."""
    error = ValueError()
    retry = Retry(backoff=0, retry_after=lambda _: 4)
    result = await engine.run(pipeline_of(Service(error), retry, timeout=50), timeout=4)
    assert (result.status, result.error, result.elapsed) == ("failed", error, 0.0)


async def test_what_attempts_took_so_far_is_expected(autojump_clock, engine):
    """After 20 successes their p50 is what an attempt is expected to take."""
    service = Service("value", seconds=2)
    retry = Retry(backoff=0, min_attempt=0)
    pipeline = pipeline_of(service, retry, timeout=10)
    for _ in range(20):
        await engine.run(pipeline)
    service.script, service.seconds = [ValueError()], 9
    result = await engine.run(pipeline)
    assert (result.status, result.elapsed) == ("failed", 9.0)
    assert result.error.__notes__ == ["retry stopped: 1.0 s left, 0.0 s backoff + 2.0 s expected"]


async def test_the_server_says_when(autojump_clock, engine):
    """An error that names the seconds to wait is waited for."""
    busy = ValueError()
    busy.retry_after = 7
    service = Service(busy, "value")
    result = await engine.run(pipeline_of(service))
    assert (result.status, service.calls) == ("ok", [0.0, 7.0])


async def test_a_retry_is_inherited_and_can_be_switched_off(autojump_clock, engine):
    """A pipeline's retry holds for its nodes but for one that says `retry=None`."""
    flaky, strict = Service(ValueError(), 1), Service(ValueError(), 1)
    stage = Stage(
        "s", parallel(Node(flaky, name="a"), Node(strict, name="b", retry=None)), fail_fast=False
    )
    result = await engine.run(Pipeline("p", [stage], retry=TWICE))
    assert (result.node("a").status, result.node("b").status) == ("ok", "failed")


async def test_an_error_that_is_not_meant_is_final(autojump_clock, engine, heard):
    """`on=` says what is retried; everything else is raised at once, with a note."""
    error = KeyError("x")
    node = (await engine.run(pipeline_of(Service(error), Retry(on=OSError)))).node("work")
    assert (node.status, node.attempts) == ("failed", 1)
    assert error.__notes__ == ["retry stopped: KeyError is not retryable"]
    assert [e.stop for e in heard] == ["not_retryable"]


async def test_what_is_not_idempotent_is_not_done_twice(autojump_clock, engine):
    """`idempotent=False` makes no second attempt of what has started."""
    node = (await engine.run(pipeline_of(Service(ValueError()), idempotent=False))).node("work")
    assert (node.status, node.attempts) == ("failed", 1)


@pytest.mark.parametrize("error", [TimeoutError(), trio.TooSlowError()])
async def test_a_timeout_of_the_users_own_is_a_failure(autojump_clock, engine, error):
    """An inner `TimeoutError` or `TooSlowError` is no limit of ours: it failed, and is retried so."""
    result = await engine.run(pipeline_of(Service(error, "value")))
    assert (result.status, result.node("work").secondary) == ("ok", (error,))


async def test_a_real_fail_after_inside_an_attempt_is_retried(autojump_clock, engine):
    """What a `fail_after` of the user's own raises has a `Cancelled` behind it, and failed all the same."""
    calls = []

    async def work(_):
        calls.append(1)
        with trio.fail_after(1):
            await trio.sleep_forever()

    result = await engine.run(pipeline_of(work, timeout=10))
    assert (result.status, result.node("work").attempts, len(calls)) == ("failed", 2, 2)
    assert isinstance(result.error, trio.TooSlowError)


# -- the limit of an attempt ------------------------------------------------------------------


async def test_an_attempts_own_limit_is_retried(autojump_clock, engine, heard):
    """An attempt that takes too long is made again; the node's time goes on."""
    result = await engine.run(pipeline_of(Service(HANG, "value"), attempt_timeout=1, timeout=9))
    assert (result.status, result.value, result.elapsed) == ("ok", "value", 1.0)
    assert [(e.status, e.limit, e.source, e.error_type) for e in heard] == [
        ("timed_out", 1.0, "node", None),
        ("ok", 1.0, "node", None),
    ]
    assert heard[0].blame.level == "attempt"


@pytest.mark.parametrize("status", ["timed_out", "cancelled"])
async def test_an_attempt_that_is_cut_with_its_pipeline_is_told(
    autojump_clock, engine, heard, status
):
    """The last event of a node's attempts says what ended it, be it a limit above or a cancel."""
    pipeline = pipeline_of(Service(ValueError(), HANG), THRICE)
    run = engine.start(pipeline, timeout=2 if status == "timed_out" else None)
    await trio.sleep(2)
    if status == "cancelled":
        run.cancel()
    assert (await run.wait()).status == status
    assert [(one.attempt, one.status) for one in heard] == [(1, "failed"), (2, status)]
    kind, level = ("timeout", "pipeline") if status == "timed_out" else ("user", "pipeline")
    assert (heard[-1].elapsed, heard[-1].blame.kind, heard[-1].blame.level) == (2.0, kind, level)


async def test_the_last_attempts_limit_is_blamed(autojump_clock, engine):
    """If no attempt is in time the node is timed out, and the attempt's limit is to blame."""
    result = await engine.run(pipeline_of(Service(HANG), attempt_timeout=1))
    blame, node = result.blame, result.node("work")
    assert (result.status, node.status, node.attempts) == ("timed_out", "timed_out", 2)
    assert (blame.level, blame.name, blame.limit, blame.source) == ("attempt", "work", 1.0, "node")
    assert blame.message == (
        "attempt 'work' exceeded its limit of 1s; retry stopped: all 2 attempts are used up"
    )
    with pytest.raises(AttemptTimeoutError):
        result.unwrap()


@pytest.mark.parametrize("level", ["stage", "pipeline"])
async def test_an_inherited_limit_says_where_it_was_stated(autojump_clock, engine, level):
    """The source of an attempt's limit is the level that states it."""
    said = {name: {"attempt_timeout": 1} if name == level else {} for name in ("stage", "pipeline")}
    stage = Stage("s", [Node(Service(HANG), name="work")], **said["stage"])
    result = await engine.run(Pipeline("p", [stage], **said["pipeline"]))
    assert (result.blame.level, result.blame.source) == ("attempt", level)


async def test_of_two_equal_limits_the_outermost_is_blamed(autojump_clock, engine):
    """An attempt whose limit passes with that of its node is not retried: the node is timed out."""
    service = Service(HANG)
    result = await engine.run(pipeline_of(service, attempt_timeout=2, timeout=2))
    assert (result.blame.level, len(service.calls), result.elapsed) == ("node", 1, 2.0)


async def test_the_nodes_limit_ends_all_attempts(autojump_clock, engine):
    """`timeout` bounds the node with all its attempts; the one that it cuts is not made again."""
    service = Service(ValueError("a"), HANG)
    result = await engine.run(pipeline_of(service, MANY, attempt_timeout=3, timeout=3))
    node = result.node("work")
    assert (result.status, result.blame.level, result.elapsed) == ("timed_out", "node", 3.0)
    assert (node.attempts, [str(error) for error in node.secondary]) == (2, ["a"])


async def test_a_value_after_the_attempts_limit_is_kept(autojump_clock, engine, heard):
    """An attempt that returns late is late; its value is the node's, which was in time."""

    async def work(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        return "value"

    result = await engine.run(pipeline_of(work, attempt_timeout=1))
    assert (result.status, result.value, result.node("work").attempts) == ("ok", "value", 1)
    assert [(e.status, e.blame.level) for e in heard] == [("late", "attempt")]


async def test_the_grace_of_an_attempt(autojump_clock, engine):
    """Cleanup of an attempt that was cut has the node's grace from there, and is reported."""
    ends = []

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.25)
            ends.append((trio.current_time(), round(remaining(), 6)))

    pipeline = pipeline_of(work, attempt_timeout=1, timeout=9, grace=0.5)
    result = await engine.run(pipeline)
    assert ends == [(1.25, 0.0), (2.5, 0.0)]
    assert (result.blame.level, result.node("work").grace_used) == ("attempt", 0.25)


async def test_cleanup_of_an_attempt_is_cut(autojump_clock, engine):
    """Cleanup that takes longer than the grace ends with it, and the next attempt begins."""
    starts = []

    async def work(_):
        starts.append(trio.current_time())
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    result = await engine.run(pipeline_of(work, attempt_timeout=1, grace=0.5))
    assert (starts, result.elapsed, result.blame.level) == ([0.0, 1.5], 3.0, "attempt")


async def test_the_nodes_limit_bounds_the_cleanup_of_an_attempt(autojump_clock, engine):
    """Cleanup of an attempt ends by the hard end of its node, however long its own grace is."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    result = await engine.run(pipeline_of(work, attempt_timeout=1, timeout=2, reserve=0.5))
    assert (result.status, result.blame.level, result.elapsed) == ("timed_out", "attempt", 1.5)


async def test_an_error_while_an_attempt_unwinds_is_kept(autojump_clock, engine):
    """What is raised while an attempt's own limit cuts it does not make a failure of it."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("unwinding")

    result = await engine.run(pipeline_of(work, None, attempt_timeout=1))
    node = result.node("work")
    assert (node.status, node.blame.level) == ("timed_out", "attempt")
    assert [str(error) for error in node.secondary] == ["unwinding"]


async def test_a_learned_attempt_limit(autojump_clock, engine, heard):
    """`attempt_timeout=Adaptive` learns under the level "attempt"; blame and events show what held."""
    service = Service("value", seconds=0.05)
    learned = Adaptive(initial=1, ceiling=3)
    pipeline = pipeline_of(service, None, attempt_timeout=learned, timeout=60)
    for _ in range(60):
        await engine.run(pipeline)
    entries = engine._learning._learners._entries
    assert Key("default", "p", "p", "work", "attempt") in entries
    service.script = [HANG]
    result = await engine.run(pipeline)
    blame, last = result.blame, heard[-1]
    assert (blame.level, blame.source, last.source) == ("attempt", "adaptive", "adaptive")
    assert blame.limit == last.limit == pytest.approx(last.elapsed)
    assert blame.limit < 0.3
    samples = entries[Key("default", "p", "p", "work", "attempt")].history.samples()
    assert list(samples)[-1][1:] == (blame.limit, True)


async def test_what_an_attempt_may_take_counts_no_more_than_its_limit(autojump_clock, engine):
    """A learned limit above its initial one is what an attempt is expected to need at most."""
    service = Service("value", seconds=2)
    learned = Adaptive(initial=2.5, ceiling=60)
    pipeline = pipeline_of(service, Retry(backoff=0), attempt_timeout=learned, timeout=50)
    for _ in range(30):
        await engine.run(pipeline)
        service.seconds = min(service.seconds + 0.25, 8)
    service.script, service.seconds = [ValueError()], 0
    result = await engine.run(pipeline, timeout=3)
    assert "retry stopped: 3.0 s left" in result.error.__notes__[0]


# -- what is never retried --------------------------------------------------------------------


async def test_an_ancestors_limit_is_never_retried(autojump_clock, engine):
    """An attempt that the pipeline's limit ends is the last one."""
    service = Service(HANG)
    result = await engine.run(pipeline_of(service, MANY), timeout=2)
    assert (result.blame.level, len(service.calls), result.elapsed) == ("pipeline", 1, 2.0)


WHERE = {
    # script, backoff, attempts that were begun, tokens taken from the three in reserve
    "in an attempt": ((HANG,), 0, 1, 0.0),
    "in the second attempt": ((ValueError("first"), HANG), 0, 2, 1.0),
    "in the backoff": ((ValueError("first"),), 5, 1, 0.0),
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", ["user", "shutdown", "sibling_failed"])
async def test_a_cancel_is_never_retried(autojump_clock, engine, kind, where):
    """A cancel ends the node wherever it is; the token of an attempt that never began is given back."""
    script, delay, attempts, taken = WHERE[where]
    service = Service(*script)
    retry = Retry(attempts=9, backoff=0, retry_after=lambda _: delay)

    async def sibling(_):
        await trio.sleep(1 if kind == "sibling_failed" else 9)
        raise OSError

    async def cancel():
        await trio.sleep(1)
        if kind == "user":
            await engine.cancel("run", wait=False)
        elif kind == "shutdown":
            engine.cancel_all("the engine is drained")

    branches = parallel(Node(service, name="work", retry=retry), sibling)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel)
        result = await engine.run(Pipeline("p", [branches]), run_id="run")
    node = result.node("work")
    assert (node.status, node.blame.kind, node.attempts) == ("cancelled", kind, attempts)
    assert (len(service.calls), result.elapsed) == (attempts, 1.0)
    assert tokens(engine) == 3.0 - taken
    assert len(node.secondary) == (0 if where == "in an attempt" else 1)


@pytest.mark.parametrize("where", WHERE)
async def test_a_callers_cancel_is_never_retried(autojump_clock, engine, cancelled_after, where):
    """The caller's own cancel comes through, wherever it finds the node."""
    script, delay, attempts, taken = WHERE[where]
    service = Service(*script)
    retry = Retry(attempts=9, backoff=0, retry_after=lambda _: delay)
    scope = await cancelled_after(1, engine.run, pipeline_of(service, retry))
    assert scope.cancelled_caught
    assert (len(service.calls), trio.current_time()) == (attempts, 1.0)
    assert tokens(engine) == 3.0 - taken


@pytest.mark.parametrize("where", WHERE)
async def test_the_callers_deadline_is_never_retried(autojump_clock, engine, where):
    """The same holds for the deadline of the caller's scope."""
    script, delay, attempts, _ = WHERE[where]
    service = Service(*script)
    retry = Retry(attempts=9, backoff=0, retry_after=lambda _: delay)
    with trio.move_on_after(1) as scope:
        await engine.run(pipeline_of(service, retry))
    decided = where == "in the backoff"  # nothing was waited for, so there was an answer
    assert scope.cancelled_caught is not decided
    assert len(service.calls) == attempts


async def test_a_callers_cancel_that_cleanup_noticed(autojump_clock, engine, cancelled_after):
    """Cleanup of an attempt under a caller's cancel has the node's grace once, handlers included."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.25)

    async def handler(_):
        await trio.sleep_forever()

    pipeline = pipeline_of(work, attempt_timeout=9, grace=1, on_cleanup=handler)
    scope = await cancelled_after(1, engine.run, pipeline)
    assert (scope.cancelled_caught, trio.current_time()) == (True, 2.0)


async def test_grace_that_a_first_attempt_began_ends_with_it(
    autojump_clock, engine, cancelled_after
):
    """What cleanup of a first attempt noticed does not shorten that of the second one."""
    ended = []

    async def work(_):
        first = current().attempt == 1
        with trio.move_on_after(1 if first else 99):
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep(0.25 if first else 0.75)
                ended.append(trio.current_time())
        raise ValueError

    await cancelled_after(5, engine.run, pipeline_of(work, grace=1))
    assert ended == [1.25, 5.75]


async def test_a_limit_that_passes_while_a_callers_cancel_unwinds(
    autojump_clock, engine, cancelled_after
):
    """What cleanup of an attempt noticed before any limit of ours passed stays the caller's."""
    ended = []
    engine.subscribe(
        lambda e: ended.append(e) if isinstance(e, events.NodeFinished) else None, inline=True
    )

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.5)

    pipeline = pipeline_of(work, MANY, attempt_timeout=1.125, timeout=1.25, grace=1)
    scope = await cancelled_after(1, engine.run, pipeline)
    assert (scope.cancelled_caught, trio.current_time()) == (True, 1.5)
    assert [(e.status, e.blame.kind, e.attempts) for e in ended] == [("cancelled", "caller", 1)]


async def test_a_stray_cancel_in_an_attempt_is_its_timeout(autojump_clock, engine):
    """A cancel of the user's own scope that goes on, since the attempt's limit passed, is that limit's."""

    async def work(_):
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep(2)

    result = await engine.run(pipeline_of(work, None, attempt_timeout=2, timeout=60, grace=5))
    assert (result.status, result.blame.level, result.elapsed) == ("timed_out", "attempt", 3.0)


async def test_a_users_cancel_while_an_attempt_unwinds(autojump_clock, engine):
    """What ended the attempt was its own limit; the cancel that came later prevents another one."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.5)

    async def cancel():
        await trio.sleep(1.25)
        await engine.cancel("run", wait=False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel)
        result = await engine.run(pipeline_of(work, MANY, attempt_timeout=1), run_id="run")
    assert (result.node("work").attempts, result.elapsed) == (1, 1.5)
    assert (result.status, result.blame.level) == ("timed_out", "attempt")


async def test_an_absorbed_cancel_of_the_users_own_is_nothing(autojump_clock, engine):
    """A `move_on_after` inside an attempt is the user's, and what follows counts."""

    async def work(_):
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep(0.5)
        return "value"

    result = await engine.run(pipeline_of(work, attempt_timeout=5))
    assert (result.status, result.value, result.elapsed) == ("ok", "value", 1.5)


async def test_an_interrupt_is_for_the_program(autojump_clock):
    """`KeyboardInterrupt` in an attempt is never retried, and leaves nothing taken."""
    service = Service(KeyboardInterrupt())
    pipeline = pipeline_of(service, limit=1, breaker=Breaker(consecutive=1))
    with pytest.raises(KeyboardInterrupt):
        async with open_engine() as engine:
            await engine.run(pipeline)
    health = engine._protections
    assert len(service.calls) == 1
    assert health.bulkheads()[0].active == 0
    assert health.breakers(trio.current_time())[0].state == "closed"


# -- the retry budget -------------------------------------------------------------------------


async def test_an_outage_is_met_with_few_retries(autojump_clock, engine):
    """While everything fails retries add at most a fifth of the calls, the reserve included."""
    service = Service(ValueError())
    pipeline = pipeline_of(service, MANY)
    results = [await engine.run(pipeline) for _ in range(200)]
    assert not any(result.ok for result in results)
    assert len(service.calls) <= 1.2 * 200
    assert len(service.calls) == 203
    assert results[-1].error.__notes__[-1] == "retry budget empty"


async def test_successes_earn_retries(autojump_clock, engine):
    """Of five successes a retry can be paid, whoever's run it is."""
    service = Service("value")
    pipeline = pipeline_of(service, MANY)
    for _ in range(10):
        await engine.run(pipeline)
    service.script = [ValueError()]
    node = (await engine.run(pipeline)).node("work")
    assert node.attempts == 1 + 3 + 2


# -- layers -----------------------------------------------------------------------------------


def nested(engine, inner):
    """A node that runs another pipeline and wants its value."""

    async def outer(value):
        return await engine.execute(inner, value)

    return outer


async def test_nested_retries_do_not_multiply(autojump_clock, engine):
    """Only the innermost layer retries: three attempts, and not nine."""
    service = Service(ValueError())
    inner = Pipeline("inner", [Node(service, name="n", retry=THRICE)])
    result = await engine.run(pipeline_of(nested(engine, inner), THRICE))
    assert (result.status, len(service.calls), result.node("work").attempts) == ("failed", 3, 1)
    assert result.error.__notes__ == [
        "retry stopped: a layer inside has a Retry of its own, and nested= is False"
    ]


async def test_nested_retries_do_not_multiply_when_the_inner_node_runs_out_of_time(
    autojump_clock, engine
):
    """The same where the inner node is timed out after an attempt that failed."""
    service = Service(ValueError(), HANG, HANG)
    inner = Pipeline("inner", [Node(service, name="n", retry=THRICE, timeout=1)])
    result = await engine.run(pipeline_of(nested(engine, inner), THRICE))
    assert (result.status, len(service.calls), result.elapsed) == ("failed", 2, 1.0)


async def test_nested_retries_on_demand(autojump_clock, engine):
    """`nested=True` retries all the same."""
    service = Service(ValueError())
    inner = Pipeline("inner", [Node(service, name="n", retry=TWICE)])
    outer = Retry(attempts=2, backoff=0, nested=True)
    await engine.run(pipeline_of(nested(engine, inner), outer))
    assert len(service.calls) == 4


async def test_a_layer_without_a_retry_hides_nothing(autojump_clock, engine):
    """What an inner layer did not retry the outer one does, and what it absorbed does not count."""
    service = Service(ValueError(), "value")
    inner = Pipeline("inner", [Node(service, name="n", attempt_timeout=5)])
    result = await engine.run(pipeline_of(nested(engine, inner)))
    assert (result.status, result.value) == ("ok", "value")


async def test_an_inner_layer_that_was_given_up_does_not_count(autojump_clock, engine):
    """An inner run that did not come to a second attempt leaves the outer layer its own."""
    inner = Pipeline("inner", [Node(Service(HANG), name="n", retry=THRICE)])
    failed = [ValueError()]

    async def work(_):
        with trio.move_on_after(1):
            await engine.run(inner)
        if failed:
            raise failed.pop()

    assert (await engine.run(pipeline_of(work))).ok


# -- what belongs to the node -----------------------------------------------------------------


async def test_the_latest_partial_value_is_the_nodes(autojump_clock, engine):
    """What an attempt saved is kept if no later one saves anything else."""

    async def work(_):
        if current().attempt == 1:
            save_partial("half")
            raise ValueError
        await trio.sleep_forever()

    result = await engine.run(pipeline_of(work, timeout=1))
    assert result.partial == {"work": "half"}


async def test_a_handler_runs_once_for_all_attempts(autojump_clock, engine):
    """`on_cleanup` is the node's: it is told the outcome, when the last attempt has unwound."""
    seen = []
    work = Service(ValueError(), "value")
    await engine.run(
        pipeline_of(work, on_cleanup=lambda o: seen.append((o.status, current().attempt)))
    )
    assert seen == [("ok", 2)]


async def test_a_soft_node_is_retried_before_its_fallback_applies(autojump_clock, engine):
    """A non-critical node gets its attempts first, and degrades the run only then."""
    service = Service(ValueError())
    result = await engine.run(pipeline_of(service, critical=False, fallback="instead"))
    assert (result.status, result.value, result.degraded) == ("ok", "instead", ("work",))
    assert result.node("work").attempts == 2
    assert (await engine.run(pipeline_of(Service(ValueError(), 1), critical=False))).degraded == ()


async def test_siblings_go_on_while_a_node_is_retried(autojump_clock, engine):
    """A failure that is retried is none for `fail_fast`; the last one cancels the siblings."""
    slow = Service("value", seconds=2)
    retry = Retry(attempts=2, backoff=0, retry_after=lambda _: 1)

    def branches(flaky):
        return Pipeline(
            "p", [parallel(Node(flaky, name="flaky", retry=retry), Node(slow, name="slow"))]
        )

    assert (await engine.run(branches(Service(ValueError(), 1)))).ok
    result = await engine.run(branches(Service(ValueError())))
    assert (result.node("slow").status, result.elapsed) == ("cancelled", 1.0)


async def test_a_node_that_gives_up_does_not_cut_others_without_fail_fast(autojump_clock, engine):
    """With `fail_fast=False` independent branches finish."""
    branches = parallel(
        Node(Service(ValueError()), name="flaky", retry=TWICE),
        Node(Service("value", seconds=2), name="slow"),
    )
    result = await engine.run(Pipeline("p", [branches], fail_fast=False))
    assert (result.status, result.node("slow").status) == ("failed", "ok")


async def test_each_item_has_attempts_of_its_own(autojump_clock, engine):
    """A node over a list retries item by item, in order, and keeps the errors of all of them."""
    calls = []

    async def work(item):
        calls.append((item, current().attempt))
        await trio.sleep(1)
        if calls.count((item, 1)) and current().attempt == 1 and item % 2:
            raise ValueError(item)
        return item * 10

    result = await engine.run(Pipeline("p", [each(work, retry=TWICE, max_parallel=1)]), [1, 2, 3])
    assert result.value == [10, 20, 30]
    assert calls == [(1, 1), (1, 2), (2, 1), (3, 1), (3, 2)]
    node = result.node("work")
    assert (node.attempts, [str(error) for error in node.secondary]) == (1, ["1", "3"])


async def test_the_limit_of_an_items_attempt_names_the_item(autojump_clock, engine):
    """Blame says which item's attempt took too long; what others finished is kept."""

    async def work(seconds):
        await trio.sleep(seconds)
        return seconds

    node = each(work, retry=TWICE, attempt_timeout=2, max_parallel=1, item_timeout=9)
    result = await engine.run(Pipeline("p", [node]), [1, 5])
    assert (result.status, result.blame.level, result.blame.name) == (
        "timed_out", "attempt", "work[1]",
    )  # fmt: skip
    assert (result.partial, result.elapsed) == ({"work": [1]}, 5.0)


async def test_an_items_limit_bounds_its_attempts(autojump_clock, engine):
    """`item_timeout` is the item's with all attempts."""
    node = each(Service(ValueError(), HANG), retry=MANY, item_timeout=3, name="work")
    result = await engine.run(Pipeline("p", [node]), [1])
    assert (result.blame.level, result.elapsed) == ("item", 3.0)


async def test_an_item_saves_no_partial_value(autojump_clock, engine):
    """In an attempt of an item `save_partial` says that finished items are the partial value."""

    async def work(item):
        save_partial(item)

    result = await engine.run(Pipeline("p", [each(work, attempt_timeout=5)]), [1])
    assert isinstance(result.error, GracelineError)
    assert "an item of each()" in str(result.error)


# -- the policy's own functions ---------------------------------------------------------------


@pytest.mark.parametrize("option", ["on", "retry_after"])
async def test_a_function_of_the_policy_that_raises(autojump_clock, engine, heard, option):
    """What `on=` or `retry_after=` raises is the node's failure; what it was asked about is kept."""

    def broken(error):
        raise LookupError(option)

    first = ValueError("first")
    retry = Retry(**{option: broken})
    node = (await engine.run(pipeline_of(Service(first), retry, limit=1))).node("work")
    assert (node.status, type(node.error), node.secondary) == ("failed", LookupError, (first,))
    assert engine.health().bulkheads[0].active == 0
    assert tokens(engine) == 3.0
    assert [(e.status, e.error_type, e.stop) for e in heard] == [
        ("failed", "ValueError", "not_retryable")
    ]


# -- threads, modes, the testing tools --------------------------------------------------------


async def test_a_plain_function_is_retried():
    """Attempts of a worker thread know their number, and one that hangs is abandoned."""
    release = threading.Event()
    seen = []

    def work(_):
        seen.append(current().attempt)
        if len(seen) == 1:
            release.wait(60)
        return "value"

    async with open_engine(timeouts=Timeouts(node=None, pipeline=None)) as engine:
        try:
            result = await engine.run(pipeline_of(work, attempt_timeout=0.5, timeout=60))
            assert engine.abandoned_threads == 1
        finally:
            release.set()
        assert (result.status, result.node("work").attempts, seen) == ("ok", 2, [1, 2])


async def test_a_thread_that_is_refused_is_not_retried():
    """Where there is no thread for the first attempt the node is `rejected`, without another one."""
    release = threading.Event()
    pipeline = pipeline_of(lambda _: release.wait(60), MANY, timeout=0.05)
    limits = Timeouts(node=None, pipeline=None)
    async with open_engine(max_abandoned_threads=1, timeouts=limits) as engine:
        try:
            while engine.abandoned_threads < 1:
                await engine.run(pipeline)
            result = await engine.run(pipeline)
        finally:
            release.set()
    node = result.node("work")
    assert (node.status, node.attempts, "thread limit" in node.blame.message) == (
        "rejected",
        0,
        True,
    )


async def test_a_later_attempt_that_is_refused_leaves_the_last_real_error(autojump_clock, engine):
    """An attempt that never started does not count, is not paid for, and hides no error."""
    first = ValueError("first")
    learned = Adaptive(initial=5, ceiling=9)
    service = Service(first, WorkRefusedError("thread limit"))
    pipeline = pipeline_of(service, MANY, attempt_timeout=learned, breaker=Breaker())
    node = (await engine.run(pipeline)).node("work")
    assert (node.status, node.error, node.attempts, node.secondary) == ("failed", first, 1, ())
    assert first.__notes__ == ["retry stopped: thread limit"]
    assert tokens(engine) == 3.0


async def test_an_attempt_that_is_refused_settles_its_lease(autojump_clock, engine):
    """The learner hears of every attempt, or a probe of its limit would be out for ever."""
    leases = []

    async def work(_):
        leases.append(CURRENT.get().lease)
        raise WorkRefusedError("thread limit")

    learned = Adaptive(initial=5, ceiling=9)
    assert (await engine.run(pipeline_of(work, attempt_timeout=learned))).status == "rejected"
    [lease] = leases
    assert lease.settled


async def test_an_attempt_that_timed_out_before_a_refusal(autojump_clock, engine):
    """The note is in the blame too, where the last real error was an attempt's own limit."""
    service = Service(HANG, WorkRefusedError("thread limit"))
    result = await engine.run(pipeline_of(service, MANY, attempt_timeout=1))
    assert (result.status, result.blame.level) == ("timed_out", "attempt")
    assert result.blame.message.endswith("; retry stopped: thread limit")


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_modes_that_cut_nothing(autojump_clock, mode):
    """In `observe` and `off` an attempt's limit cuts nothing, retries go on, breakers refuse nothing."""
    service = Service(ValueError(), "value", seconds=2)
    async with open_engine(mode=mode, timeouts=Timeouts(node=None, pipeline=None)) as engine:
        pipeline = pipeline_of(service, attempt_timeout=1, breaker=Breaker(consecutive=1))
        result = await engine.run(pipeline)
        assert (result.status, result.value, result.elapsed) == ("ok", "value", 4.0)
        assert engine.health().breakers[0].state == "open"
        assert (await engine.run(pipeline)).ok
        learned = Adaptive(initial=1, ceiling=3)
        again = await engine.run(pipeline_of(Service("value", seconds=9), attempt_timeout=learned))
        assert (again.value, again.elapsed) == ("value", 9.0)
    would = None if mode == "off" else "attempt"
    assert (result.would_time_out and result.would_time_out.level) == would


async def test_a_result_with_attempts_is_a_document(autojump_clock, engine):
    """`to_dict` and `from_dict` keep the errors of all attempts."""
    result = await engine.run(pipeline_of(Service(ValueError("first"), HANG), attempt_timeout=1))
    again = type(result).from_dict(result.to_dict())
    assert again.to_dict() == result.to_dict()
    assert again.node("work").attempts == 2


def test_attempts_keep_the_invariants():
    """What is recorded of attempts obeys the invariants: no work after a limit, one blame."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.25)

    recording = simulate(pipeline_of(work, attempt_timeout=1, timeout=1.6, grace=0.5))
    check_invariants(recording.result, recording.timeline)
    steps, cuts = recording.timeline.steps, recording.timeline.cuts
    assert any(step.work and step.level == "attempt" for step in steps)
    assert {cut.level: cut.own_at for cut in cuts["p", "work"]}["node"] == 1.6


def test_a_backoff_is_no_work():
    """What is recorded while a node waits for its next attempt is the engine's own."""
    retry = Retry(attempts=2, backoff=0, retry_after=lambda _: 1)
    pipeline = pipeline_of(Service(ValueError()), retry, limit=1, timeout=60)
    recording = simulate(pipeline, timeouts=Timeouts.none())
    waits = [step for step in recording.timeline.steps if step.level == "node" and step.at == 1.0]
    check_invariants(recording.result, recording.timeline)
    assert waits
    assert not any(step.work for step in waits)


# -- what errors may be -----------------------------------------------------------------------


@pytest.mark.parametrize("traced", [True, False])
async def test_a_long_success_counts_at_its_end(autojump_clock, engine, traced):
    """A call of 29 s is in a window of 30 s for that long after its end, not after its start."""
    trace(engine, traced)
    pipeline = pipeline_of(Service("value", seconds=29), None, breaker=Breaker(window=30))
    assert (await engine.run(pipeline)).ok
    await trio.sleep(5)
    assert engine.health().breakers[0].calls == 1


async def test_an_interrupt_hits_user_code_only(autojump_clock, engine):
    """Attempts are not protected from it; the books that the engine keeps of them are."""
    protected = []

    async def work(_):
        protected.append(trio.lowlevel.currently_ki_protected())
        raise ValueError

    def sink(event):
        if isinstance(event, events.AttemptFinished):
            protected.append(trio.lowlevel.currently_ki_protected())

    engine.subscribe(sink, inline=True)
    await engine.run(pipeline_of(work))
    assert protected == [False, True, False, True]


AROUND = {
    "nothing": {},
    "a slot": {"limit": 1},
    "a limit": {"attempt_timeout": 5},
    "a hedge": {"hedge": Hedge(delay=1), "idempotent": True},
    "a slot and a hedge": {"limit": 1, "hedge": Hedge(delay=1), "idempotent": True},
}


def noting(calls):
    """Work that notes for whom it was called, and takes a second."""

    async def work(name):
        calls.append(name)
        await trio.sleep(1)

    return work


@pytest.mark.parametrize("options", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("who", ["user", "caller"])
async def test_nothing_is_begun_after_a_cancel(autojump_clock, engine, options, who):
    """In whichever tick between the slot and the call a cancel lands: no call is made after it."""
    for ticks in [*range(6)] * 4:  # who is first in a tick is left to chance
        happened = []
        pipeline = pipeline_of(noting(happened), None, **options)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                if "limit" in options:
                    nursery.start_soon(engine.run, pipeline, "holder")
                    await wait_all_tasks_blocked()
                if who == "user":
                    run = engine.start(pipeline, "late")
                else:
                    nursery.start_soon(engine.run, pipeline, "late")
                if "limit" in options:
                    await trio.sleep(1)  # now it gets its slot
                for _ in range(ticks):
                    await trio.lowlevel.checkpoint()
                (scope if who == "caller" else run).cancel()
                happened.append("cancel")
        await engine.wait_idle()
        assert happened[-1] == "cancel"


@pytest.mark.parametrize("hedge", [None, Hedge(delay=1)])
async def test_nothing_is_begun_in_the_instant_of_the_limit(autojump_clock, engine, hedge):
    """A node whose time is over in the tick in which it gets its slot makes no attempt."""
    calls = []

    async def work(name):
        calls.append(name)
        await trio.sleep(0.5)
        autojump_clock.jump(0.5)

    pipeline = pipeline_of(work, None, limit=1, hedge=hedge, idempotent=True)
    engine.start(pipeline, "holder")
    await wait_all_tasks_blocked()
    result = await engine.run(pipeline, "late", timeout=1)
    assert (result.status, result.node("work").attempts, calls) == ("timed_out", 0, ["holder"])


async def test_an_error_that_takes_no_note(autojump_clock, engine):
    """The last real error is raised as it is, also if nothing can be written on it."""

    @attrs.frozen(init=False)
    class FrozenError(Exception):
        pass

    errors = [FrozenError() for _ in range(3)]
    node = (await engine.run(pipeline_of(Service(*errors), THRICE))).node("work")
    assert (node.error, node.secondary) == (errors[2], tuple(errors[:2]))


async def test_an_error_that_is_raised_by_many_runs_has_each_note_once(autojump_clock, engine):
    """A note is not repeated on an exception that belongs to a module."""
    error = ValueError()
    for _ in range(3):
        await engine.run(pipeline_of(Service(error)))
    assert error.__notes__ == ["retry stopped: all 2 attempts are used up"]


@pytest.mark.parametrize("traced", [True, False])
async def test_an_error_in_a_function_of_the_policy_says_so(autojump_clock, engine, traced):
    """What `on=` raises has the real error as its context, and a note of whose function it was."""
    trace(engine, traced)
    real = ValueError("real")
    retry = Retry(attempts=3, on=lambda error: error.response)
    node = (await engine.run(pipeline_of(Service(real), retry))).node("work")
    assert isinstance(node.error, AttributeError)
    assert node.error.__context__ is real
    assert node.error.__notes__ == ["raised by a function of the node's Retry"]
