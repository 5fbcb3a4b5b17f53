"""Breakers and bulkheads around attempts: what counts, who is refused, and nothing leaks."""

import attrs
import pytest
import trio
import trio.testing

from graceline import (
    CircuitOpenError,
    DefinitionError,
    GracelineError,
    Node,
    OverloadedError,
    Pipeline,
    Stage,
    cleanup,
    each,
    open_engine,
    parallel,
)
from graceline.definitions import Breaker, Bulkhead, Retry
from graceline.telemetry import events
from graceline.work import WorkRefusedError

STEADY = Breaker(consecutive=1, open_for=10)
MANY = Retry(attempts=100, backoff=0)


async def forever(_):
    await trio.sleep_forever()


async def hold(_):
    await trio.sleep(1)


def raises(error):
    async def work(_):
        raise error

    return work


def pipeline_of(work, **options):
    return Pipeline("p", [Node(work, name="work", **options)])


def breaker_of(engine):
    return engine.health().breakers[0]


def counts(engine):
    """Calls, failures and slow calls that the breaker has counted."""
    shown = breaker_of(engine)
    return shown.calls, shown.failures, shown.slow


def without_jitter(engine):
    """Have breakers stay open for exactly as long as they say."""
    engine._protections._random = lambda: 0.5


# -- breakers ---------------------------------------------------------------------------------


async def test_a_breaker_opens_and_closes(autojump_clock, engine):
    """After a failure calls are refused at once, until a probe succeeds; each change is told."""
    without_jitter(engine)
    heard = []
    engine.subscribe(heard.append, inline=True)
    error = ValueError("down")
    flaky = [error]

    async def work(_):
        if flaky:
            raise flaky[0]
        return "value"

    pipeline = pipeline_of(work, breaker=STEADY)
    assert (await engine.run(pipeline)).status == "failed"
    refused = await engine.run(pipeline)
    node = refused.node("work")
    assert (node.status, node.attempts, node.blame.kind) == ("rejected", 0, "rejected")
    [cause] = node.secondary
    assert isinstance(cause, CircuitOpenError)
    assert (cause.retry_after, cause.breaker, cause.last_error) == (10.0, "p.p.work", error)
    assert node.blame.retry_after == refused.blame.retry_after == 10.0
    with pytest.raises(OverloadedError) as caught:
        refused.unwrap()
    assert caught.value.__cause__ is cause
    await trio.sleep(10)
    flaky.clear()
    assert (await engine.run(pipeline)).value == "value"
    changes = [event for event in heard if isinstance(event, events.BreakerChanged)]
    assert [(event.breaker, event.old, event.new, event.at) for event in changes] == [
        ("p.p.work", "closed", "open", 0.0),
        ("p.p.work", "open", "half_open", 10.0),
        ("p.p.work", "half_open", "closed", 10.0),
    ]


async def test_a_soft_node_degrades_on_an_open_breaker(autojump_clock, engine):
    """What depends on a non-critical node gets the fallback while its breaker is open."""
    pipeline = pipeline_of(raises(ValueError()), breaker=STEADY, critical=False, fallback="instead")
    await engine.run(pipeline)
    result = await engine.run(pipeline)
    assert (result.status, result.value, result.node("work").status) == (
        "ok",
        "instead",
        "rejected",
    )


async def test_an_open_breaker_ends_the_retries(autojump_clock, engine):
    """The failure that opens it is the last one: it is raised with a note, and no token is taken."""
    error = ValueError()
    node = (await engine.run(pipeline_of(raises(error), breaker=STEADY, retry=MANY))).node("work")
    assert (node.status, node.error, node.attempts) == ("failed", error, 1)
    assert error.__notes__ == ["retry stopped: breaker 'p.p.work' is open"]
    assert engine._protections.budget(("p", "p", "work")).tokens(0.0) == 3.0


async def test_a_backoff_may_outlast_an_open_breaker(autojump_clock, engine):
    """If it lets a probe through by then, the attempt is made."""
    without_jitter(engine)
    flaky = [ValueError()]

    async def work(_):
        if flaky:
            raise flaky.pop()
        return "value"

    retry = Retry(backoff=0, retry_after=lambda _: 11)
    result = await engine.run(pipeline_of(work, breaker=STEADY, retry=retry))
    assert (result.value, result.elapsed, breaker_of(engine).state) == ("value", 11.0, "closed")


async def test_a_breaker_that_another_run_opened_meanwhile(autojump_clock, engine):
    """An attempt that it refuses after a backoff leaves the last real error; its token is given back."""
    error = ValueError("real")
    shared = Breaker(consecutive=2, name="shared")
    retry = Retry(backoff=0, retry_after=lambda _: 2)
    slow = Pipeline("p", [Node(raises(error), name="work", breaker=shared, retry=retry)])
    other = Pipeline("q", [Node(raises(OSError()), name="other", breaker=shared)])
    results = []

    async def run():
        results.append(await engine.run(slow))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.sleep(1)
        await engine.run(other)
    node = results[0].node("work")
    assert (node.status, node.error, node.attempts, node.secondary) == ("failed", error, 1, ())
    assert error.__notes__[0].startswith("retry stopped: breaker 'shared' is open; try again in")
    assert engine._protections.budget(("p", "p", "work")).tokens(2.0) == 3.0


async def test_callers_who_give_up_open_no_breaker(autojump_clock, engine, cancelled_after):
    """Three cancels of the caller's own count as nothing."""
    pipeline = pipeline_of(forever, breaker=STEADY)
    for _ in range(3):
        assert (await cancelled_after(1, engine.run, pipeline)).cancelled_caught
    assert (breaker_of(engine).state, counts(engine)) == ("closed", (0, 0, 0))


async def test_a_users_cancel_counts_as_nothing(autojump_clock, engine):
    """Neither does a run that somebody cancels by its id."""
    run = engine.start(pipeline_of(forever, breaker=STEADY))
    await trio.sleep(1)
    run.cancel()
    assert (await run.wait()).status == "cancelled"
    assert (breaker_of(engine).state, counts(engine)) == ("closed", (0, 0, 0))


async def test_a_siblings_failure_counts_as_nothing(autojump_clock, engine):
    """Nor one that is cancelled since its sibling failed."""
    nodes = parallel(
        Node(forever, name="work", breaker=STEADY), Node(raises(OSError()), name="bad")
    )
    await engine.run(Pipeline("p", [nodes]))
    assert (breaker_of(engine).state, counts(engine)) == ("closed", (0, 0, 0))


@pytest.mark.parametrize("slow_after", [0.5, 2])
async def test_an_ancestors_timeout_is_no_failure(autojump_clock, engine, slow_after):
    """The impatience of a level above does not open a breaker; past `slow_after` it is a slow call."""
    policy = Breaker(consecutive=1, slow_rate=1.0, slow_after=slow_after)
    result = await engine.run(pipeline_of(forever, breaker=policy), timeout=1)
    assert result.blame.level == "pipeline"
    assert breaker_of(engine).state == "closed"
    assert counts(engine) == (0, 0, 1 if slow_after < 1 else 0)


async def test_a_callers_deadline_is_no_failure(autojump_clock, engine):
    """The same for the deadline of the caller's scope."""
    with trio.move_on_after(1):
        await engine.run(pipeline_of(forever, breaker=STEADY))
    assert (breaker_of(engine).state, counts(engine)) == ("closed", (0, 0, 0))


@pytest.mark.parametrize("limit", ["attempt_timeout", "timeout"])
async def test_an_own_timeout_is_a_failure(autojump_clock, engine, limit):
    """The limit of the attempt or of its node opens it, and no error stands behind that."""
    await engine.run(pipeline_of(forever, breaker=STEADY, **{limit: 1}))
    shown = breaker_of(engine)
    assert (shown.state, shown.failures, shown.slow, shown.last_error) == ("open", 1, 1, None)


async def test_a_timeout_shows_no_older_error(autojump_clock, engine):
    """Where a timeout opens it, an error of an earlier attempt is not shown as the reason."""
    script = [ValueError()]

    async def work(_):
        if script:
            raise script.pop()
        await trio.sleep_forever()

    policy = Breaker(consecutive=2)
    await engine.run(pipeline_of(work, breaker=policy, retry=MANY, attempt_timeout=1))
    assert (breaker_of(engine).state, breaker_of(engine).last_error) == ("open", None)


@pytest.mark.parametrize("limits", [{"timeout": 1}, {"each": 1}])
async def test_an_items_node_is_its_own(autojump_clock, engine, limits):
    """For an item its own limit and that of its node are own timeouts; those above are not."""
    options = {"item_timeout": 1} if "each" in limits else limits
    await engine.run(Pipeline("p", [each(forever, breaker=STEADY, **options)]), [1])
    assert breaker_of(engine).failures == 1
    other = Pipeline("q", [each(forever, breaker=STEADY)], timeout=1)
    await engine.run(other, [1])
    assert engine.health().breakers[1].failures == 0


async def test_an_ignored_error_counts_as_nothing(autojump_clock, engine):
    """An error that the policy ignores fails the node, and is nothing to the breaker."""
    policy = attrs.evolve(STEADY, ignore=KeyError)
    assert (await engine.run(pipeline_of(raises(KeyError()), breaker=policy))).status == "failed"
    assert (breaker_of(engine).state, counts(engine)) == ("closed", (0, 0, 0))


async def test_work_that_was_refused_counts_as_nothing(autojump_clock, engine):
    """What never started, since there was no thread, says nothing of the service."""
    work = raises(WorkRefusedError("thread limit"))
    assert (await engine.run(pipeline_of(work, breaker=STEADY))).status == "rejected"
    assert (breaker_of(engine).state, counts(engine)) == ("closed", (0, 0, 0))


async def test_an_ignore_that_raises(autojump_clock, engine):
    """What `ignore=` raises is the node's failure; the attempt's error is kept, permit and slot are not."""
    without_jitter(engine)
    heard = []
    engine.subscribe(heard.append, inline=True)

    def broken(error):
        raise LookupError

    first = ValueError()
    policy = attrs.evolve(STEADY, ignore=broken)
    pipeline = pipeline_of(raises(first), breaker=policy, limit=1, retry=MANY)
    node = (await engine.run(pipeline)).node("work")
    assert (node.status, type(node.error), node.secondary) == ("failed", LookupError, (first,))
    assert engine.health().bulkheads[0].active == 0
    assert breaker_of(engine).state == "closed"
    [attempt] = [event for event in heard if isinstance(event, events.AttemptFinished)]
    assert (attempt.error_type, attempt.stop) == ("ValueError", "not_retryable")


async def test_a_result_from_before_the_trip_changes_nothing(autojump_clock, engine):
    """A call that started before the breaker opened cannot close it, nor count in its new life."""
    without_jitter(engine)
    policy = Breaker(consecutive=1, open_for=1, name="shared")

    async def late(_):
        await trio.sleep(5)

    old = Pipeline("old", [Node(late, breaker=policy)])
    bad = Pipeline("bad", [Node(raises(ValueError()), name="bad", breaker=policy)])
    probe = Pipeline("probe", [Node(forever, breaker=policy)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.run, old)
        await trio.sleep(1)
        await engine.run(bad)  # the trip, at 1
        await trio.sleep(1)
        run = engine.start(probe)  # half open from 2
        await trio.sleep(2.5)
    shown = breaker_of(engine)
    assert (shown.state, shown.calls) == ("half_open", 1)
    run.cancel()


async def test_a_cancelled_probe_frees_its_slot(autojump_clock, engine):
    """Whoever comes after a probe that was cancelled is the next probe."""
    without_jitter(engine)
    answers = [ValueError()]

    async def work(value):
        if answers:
            raise answers.pop()
        await trio.sleep(value)

    pipeline = pipeline_of(work, breaker=STEADY)
    await engine.run(pipeline)
    await trio.sleep(10)
    probe = engine.start(pipeline, 99)
    await trio.sleep(1)
    assert (await engine.run(pipeline, 0)).status == "rejected"
    probe.cancel()
    await probe.wait()
    assert breaker_of(engine).state == "half_open"
    assert (await engine.run(pipeline, 0)).ok
    assert breaker_of(engine).state == "closed"


@pytest.mark.parametrize("probes", [1, 3])
async def test_half_open_admits_so_many_probes(autojump_clock, engine, probes):
    """Of 100 runs at the same time exactly `probes` get through."""
    without_jitter(engine)
    calls = []

    async def work(value):
        if value == "fail":
            raise ValueError
        calls.append(value)
        await trio.sleep(1)

    pipeline = pipeline_of(work, breaker=attrs.evolve(STEADY, probes=probes))
    await engine.run(pipeline, "fail")
    await trio.sleep(10)
    statuses = []

    async def run():
        statuses.append(str((await engine.run(pipeline)).status))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(run)
    assert (len(calls), statuses.count("ok"), statuses.count("rejected")) == (
        probes, probes, 100 - probes,
    )  # fmt: skip
    assert breaker_of(engine).state == "closed"


async def test_a_forced_open_breaker(autojump_clock, engine):
    """It refuses everything; who asks is told that nobody knows for how long."""
    pipeline = pipeline_of(hold, breaker=Breaker(mode="forced_open"))
    [cause] = (await engine.run(pipeline)).node("work").secondary
    assert cause.retry_after is None


@pytest.mark.parametrize("mode", ["observe", "off"])
@pytest.mark.parametrize("policy", [STEADY, Breaker(mode="forced_open"), Breaker(mode="off")])
async def test_breakers_refuse_nothing_in_the_other_modes(autojump_clock, mode, policy):
    """Where nothing is cut nothing is refused; what would be open is shown."""
    async with open_engine(mode=mode) as engine:
        pipeline = pipeline_of(raises(ValueError()), breaker=policy)
        assert [(await engine.run(pipeline)).status for _ in range(3)] == ["failed"] * 3
        expected = ("closed", "off") if policy.mode == "off" else (None, "metrics_only")
        assert breaker_of(engine).mode == expected[1]
        assert breaker_of(engine).state == ("open" if policy is STEADY else "closed") or expected[0]


# -- sharing ----------------------------------------------------------------------------------


async def test_nodes_share_a_breaker_by_name(autojump_clock, engine):
    """A failure of one node keeps all that share its breaker from calling."""
    shared = attrs.evolve(STEADY, name="database")
    await engine.run(pipeline_of(raises(ValueError()), breaker=shared))
    other = Pipeline("other", [Node(hold, breaker=shared)])
    assert (await engine.run(other)).status == "rejected"
    assert [breaker.name for breaker in engine.health().breakers] == ["database"]


async def test_nodes_without_a_name_share_nothing(autojump_clock, engine):
    """A breaker that a pipeline states is one of its own for each node."""
    nodes = parallel(Node(raises(ValueError()), name="bad", critical=False), hold)
    pipeline = Pipeline("p", [nodes], breaker=STEADY, limit=1)
    await engine.run(pipeline)
    again = await engine.run(pipeline)
    assert (again.node("bad").status, again.node("hold").status) == ("rejected", "ok")
    assert [(slots.name, slots.slots) for slots in engine.health().bulkheads] == [
        ("p.p.bad", 1), ("p.p.hold", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "one", "two"),
    [
        ("breaker", Breaker(name="shared"), Breaker(name="shared", min_calls=3)),
        ("limit", Bulkhead(slots=1, name="shared"), Bulkhead(slots=2, name="shared")),
    ],
)
async def test_what_is_shared_by_name_is_stated_alike(autojump_clock, engine, field, one, two):
    """Two policies under one name are refused, with both of them."""
    await engine.run(pipeline_of(hold, **{field: one}))
    other = Pipeline("other", [Node(hold, **{field: two})])
    what = "bulkhead" if field == "limit" else field
    with pytest.raises(DefinitionError, match=rf"{what} 'shared': .* must state the same"):
        await engine.run(other)


@pytest.mark.parametrize("field", ["breaker", "limit"])
async def test_another_pipeline_of_the_same_name(autojump_clock, engine, field):
    """A definition that was replaced by one with another policy of its own goes by the new one."""
    one, two = (STEADY, Breaker()) if field == "breaker" else (1, 5)
    await engine.run(pipeline_of(hold, **{field: one}))
    assert (await engine.run(pipeline_of(hold, **{field: two}))).ok
    health = engine.health()
    assert len(health.breakers if field == "breaker" else health.bulkheads) == 1


# -- bulkheads --------------------------------------------------------------------------------


async def test_a_bulkhead_bounds_what_runs_at_once(autojump_clock, engine):
    """Two of five at once, first come, first served, and health shows it."""
    order = []

    async def work(value):
        order.append((value, trio.current_time()))
        await trio.sleep(1)

    pipeline = pipeline_of(work, limit=2)
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(engine.run, pipeline, number)
            await trio.testing.wait_all_tasks_blocked()
        [shown] = engine.health().bulkheads
        assert attrs.astuple(shown) == ("p.p.work", 2, 2, 3)
    assert sorted(order) == [(0, 0.0), (1, 0.0), (2, 1.0), (3, 1.0), (4, 2.0)]


async def test_the_backoff_holds_no_slot(autojump_clock, engine):
    """Between two attempts another run may have the slot."""
    ends = []

    async def work(value):
        if value == "fails" and not ends:
            raise ValueError
        ends.append((value, trio.current_time()))

    pipeline = pipeline_of(work, limit=1, retry=Retry(backoff=0, retry_after=lambda _: 5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.run, pipeline, "fails")
        await trio.testing.wait_all_tasks_blocked()
        await engine.run(pipeline, "other")
    assert ends == [("other", 0.0), ("fails", 5.0)]


async def test_a_full_queue_refuses(autojump_clock, engine):
    """Who finds neither a slot nor a place to wait is `rejected` at once."""
    pipeline = pipeline_of(hold, limit=Bulkhead(slots=1, max_queue=1))
    results = []

    async def run():
        results.append(await engine.run(pipeline))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
        [refused] = results
    assert (refused.status, refused.blame.message, refused.elapsed) == (
        "rejected", "bulkhead 'p.p.work': queue full", 0.0,
    )  # fmt: skip
    assert [str(result.status) for result in results] == ["rejected", "ok", "ok"]


async def test_waiting_for_a_slot_is_the_nodes_time(autojump_clock, engine):
    """A node whose limit passes in the queue is timed out without an attempt, and without handlers."""
    seen = []
    holds = Pipeline("holds", [Node(forever, limit=Bulkhead(slots=1, name="one"))])
    limited = Node(
        hold, timeout=1, limit=Bulkhead(slots=1, name="one"), on_cleanup=seen.append,
        breaker=STEADY,
    )  # fmt: skip
    engine.start(holds, run_id="holds")
    await trio.testing.wait_all_tasks_blocked()
    result = await engine.run(Pipeline("waits", [limited]))
    node = result.node("hold")
    assert (node.status, node.blame.level, node.attempts, result.elapsed) == (
        "timed_out", "node", 0, 1.0,
    )  # fmt: skip
    assert (seen, counts(engine)) == ([], (0, 0, 0))
    await engine.cancel("holds")


async def test_an_attempts_limit_begins_with_its_slot(autojump_clock, engine):
    """Waiting for a slot does not count for `attempt_timeout`."""
    pipeline = pipeline_of(hold, limit=1, attempt_timeout=1.5)
    results = []

    async def run():
        results.append(await engine.run(pipeline))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        nursery.start_soon(run)
    assert [(str(result.status), result.elapsed) for result in results] == [
        ("ok", 1.0),
        ("ok", 2.0),
    ]


@pytest.mark.parametrize("kind", ["user", "shutdown", "sibling_failed", "caller"])
@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_cancel_in_the_queue(autojump_clock, engine, kind, attempt):
    """It is never retried; the place in the queue, and the token of a retry, are given back."""
    calls = []

    async def work(value):
        calls.append(value)
        if value == "holds":
            await trio.sleep_forever()
        raise ValueError

    async def fails(_):
        await trio.sleep(2)
        if kind == "sibling_failed":
            raise OSError

    slots = Bulkhead(slots=1, name="one")
    retry = Retry(attempts=9, backoff=0, retry_after=lambda _: 1)
    node = Node(work, name="work", limit=slots, retry=retry)
    pipeline = Pipeline("p", [parallel(node, fails)])
    holder = Pipeline("holder", [Node(work, limit=slots)])
    results = []

    async def run():
        with scope:
            results.append(await engine.run(pipeline, "fails", run_id="run"))

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        if attempt == 1:
            engine.start(holder, "holds", run_id="holds")
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(run)
        await trio.sleep(0.5)
        if attempt == 2:
            engine.start(holder, "holds", run_id="holds")
        await trio.sleep(1.5)
        if kind == "user":
            await engine.cancel("run", wait=False)
        elif kind == "shutdown":
            engine.cancel_all("the engine is drained")
        elif kind == "caller":
            scope.cancel()
    assert calls.count("fails") == attempt - 1
    if kind == "caller":
        assert scope.cancelled_caught
    else:
        node = results[0].node("work")
        assert (node.status, node.blame.kind, node.attempts) == ("cancelled", kind, attempt - 1)
        assert len(node.secondary) == attempt - 1
    assert engine._protections.budget(("p", "p", "work")).tokens(trio.current_time()) == 3.0
    await engine.cancel("holds")
    [shown] = engine.health().bulkheads
    assert (shown.active, shown.queued) == (0, 0)


async def test_a_full_bulkhead_after_an_attempt(autojump_clock, engine):
    """Where another attempt finds no place the last real error stands."""
    error = ValueError("real")
    holding = []

    async def work(value):
        if value == "holds":
            holding.append(value)
            await trio.sleep_forever()
        raise error

    pipeline = pipeline_of(
        work, limit=Bulkhead(slots=1, max_queue=0), retry=Retry(backoff=0, retry_after=lambda _: 2)
    )
    results = []

    async def run():
        results.append(await engine.run(pipeline, "fails"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.sleep(1)
        engine.start(pipeline, "holds", run_id="holds")
    node = results[0].node("work")
    assert (node.status, node.error, node.attempts) == ("failed", error, 1)
    assert error.__notes__ == ["retry stopped: bulkhead 'p.p.work': queue full"]
    assert engine._protections.budget(("p", "p", "work")).tokens(2.0) == 3.0
    await engine.cancel("holds")


async def test_cancelled_waiters_leave_the_full_capacity(autojump_clock, engine):
    """After 1,000 waiters that were cancelled, and ten that had a slot, all ten slots are there."""
    pipeline = pipeline_of(forever, limit=10)
    async with trio.open_nursery() as nursery:
        for _ in range(1010):
            nursery.start_soon(engine.run, pipeline)
        await trio.sleep(1)
        [shown] = engine.health().bulkheads
        assert (shown.active, shown.queued) == (10, 1000)
        nursery.cancel_scope.cancel()
    [shown] = engine.health().bulkheads
    assert (shown.active, shown.queued) == (0, 0)
    ran = pipeline_of(hold, limit=10)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(engine.run, ran)
    assert trio.current_time() == start + 1


async def test_a_slot_is_kept_while_an_attempt_unwinds(autojump_clock, engine):
    """Cleanup of an attempt that was cut still has its slot; the next one gets it after that."""
    starts = []

    async def work(_):
        starts.append(trio.current_time())
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.5)

    pipeline = pipeline_of(work, limit=1, attempt_timeout=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.run, pipeline)
        nursery.start_soon(engine.run, pipeline)
    assert starts == [0.0, 1.5]


async def test_a_bulkhead_bounds_the_items_of_a_list(autojump_clock, engine):
    """Each item takes a slot of its own, and one that is refused fails a node that has begun."""
    result = await engine.run(Pipeline("p", [each(hold, limit=2, max_parallel=8)]), range(6))
    assert (result.ok, result.elapsed) == (True, 3.0)
    tight = each(hold, limit=Bulkhead(slots=1, max_queue=0), max_parallel=2)
    node = (await engine.run(Pipeline("q", [tight]), range(2))).node("hold")
    assert (node.status, str(node.error)) == (
        "failed",
        "'hold' was refused: bulkhead 'q.q.hold': queue full",
    )


async def test_stage_and_pipeline_bulkheads_are_per_node(autojump_clock, engine):
    """A bulkhead that a stage states holds for each of its nodes by itself."""
    stage = Stage("s", parallel(Node(hold, name="a"), Node(hold, name="b")), limit=1)
    assert (await engine.run(Pipeline("p", [stage]))).elapsed == 1.0


def test_a_refusal_is_one_of_ours():
    """What is raised for an open breaker is a `GracelineError` that no layer retries."""
    assert issubclass(CircuitOpenError, GracelineError)
    assert CircuitOpenError.retryable is False


async def test_names_with_dots_share_nothing(autojump_clock, engine):
    """Nodes whose names look alike once they are joined have protections of their own."""

    async def fails(_):
        raise ValueError

    breaker = Breaker(consecutive=1)
    one = Pipeline("a", [Stage("b.c", [Node(fails, name="d", breaker=breaker)])])
    two = Pipeline("a.b", [Stage("c", [Node(fails, name="d", breaker=breaker)])])
    named = Pipeline("q", [Node(fails, breaker=attrs.evolve(breaker, name="a.b.c.d", window=9))])
    for pipeline in (one, two, named):
        assert (await engine.run(pipeline)).status == "failed"
    assert [shown.state for shown in engine.health().breakers] == ["open"] * 3
