"""A choice: the healthiest alternative first, the next one within the same time, nothing lost."""

import math

import pytest
import trio
import trio.testing

from graceline import (
    Adaptive,
    AttemptTimeoutError,
    Breaker,
    Bulkhead,
    CircuitOpenError,
    Command,
    Node,
    NodeTimeoutError,
    OverloadedError,
    Pipeline,
    Retry,
    Stage,
    Timeouts,
    choose,
    cleanup,
    current,
    each,
    open_engine,
    parallel,
    remaining,
    save_partial,
    stopping,
)
from graceline.definitions import Hedge
from graceline.telemetry import events
from graceline.work import WorkRefusedError


async def forever(_):
    await trio.sleep_forever()


async def quick(_):
    await trio.sleep(0.25)
    return "quick"


def gives(value, after=0.0):
    async def give(_):
        await trio.sleep(after)
        return value

    return give


def raises(error, after=0.0):
    async def work(_):
        await trio.sleep(after)
        raise error

    return work


def named(name, work, **options):
    return Node(work, name=name, **options)


def choice_of(*alternatives, **options):
    return Pipeline("p", [Stage("s", [choose(*alternatives, name="pick", **options)])])


def health_of(engine):
    """The health of each alternative by its short name."""
    return {one.name.rpartition(".")[2]: one.value for one in engine.health().alternatives}


class Calls:
    """Alternatives that note in which order they are called."""

    def __init__(self):
        self.made = []

    def __call__(self, name, work, **options):
        async def called(value):
            self.made.append(name)
            return await work(value)

        return Node(called, name=name, **options)

    def take(self):
        made, self.made = self.made, []
        return made


# -- the order --------------------------------------------------------------------------------


async def test_the_first_one_that_gives_a_value_is_enough(autojump_clock, engine):
    """While all are healthy the order is that of the definition; the others are not called."""
    call = Calls()
    pipeline = choice_of(call("a", gives(1)), call("b", gives(2)))
    result = await engine.run(pipeline)
    node = result.node("pick")
    assert (result.value, call.take(), node.attempts, node.secondary) == (1, ["a"], 1, ())
    assert node.alternative == "a"


async def test_one_that_hangs_is_overtaken_and_goes_last_afterwards(autojump_clock, engine):
    """The next one has its turn within the node's time; after 30 s one run tries the first again."""
    call = Calls()
    pipeline = choice_of(
        call("hangs", forever, timeout=1), call("works", quick), timeout=2, grace=0
    )
    first = await engine.run(pipeline)
    assert (first.value, first.elapsed) == ("quick", 1.25)
    assert call.take() == ["hangs", "works"]
    assert (first.node("pick").alternative, first.node("pick").attempts) == ("works", 2)
    await engine.run(pipeline)
    assert call.take() == ["works"]
    await trio.sleep(31 - trio.current_time() - 0.01)
    await engine.run(pipeline)
    assert call.take() == ["works"]
    await engine.run(pipeline)
    await engine.run(pipeline)
    assert call.take() == ["hangs", "works", "works"]


async def test_a_success_cures(autojump_clock, engine):
    """One that works again when it is tried after 30 s goes first from then on."""
    call, script = Calls(), [ValueError()]

    async def recovers(_):
        if script:
            raise script.pop()
        return "cured"

    pipeline = choice_of(call("a", recovers), call("b", gives("b")))
    assert (await engine.run(pipeline)).value == "b"
    [a, b] = engine.health().alternatives
    assert (a.name, a.value, a.unhealthy_since, b.unhealthy_since) == ("p.s.pick.a", 0.0, 0.0, None)
    await trio.sleep(30)
    assert (await engine.run(pipeline)).value == "cured"
    assert (await engine.run(pipeline)).value == "cured"
    assert engine.health().alternatives[0].unhealthy_since is None


async def test_the_healthiest_goes_first(autojump_clock, engine):
    """Also among those that work: one that comes close to its limit gives way to a quicker one."""
    call = Calls()
    pipeline = choice_of(call("near", gives("near", 0.9), timeout=1), call("far", gives("far")))
    assert (await engine.run(pipeline)).value == "near"
    assert (await engine.run(pipeline)).value == "far"
    assert health_of(engine) == {"near": pytest.approx(0.6), "far": 1.0}


async def test_what_is_kept_for_cleanup_is_no_time_to_work_in(autojump_clock, engine):
    """How close a call comes to its limit counts without the `reserve`."""
    await engine.run(choice_of(named("a", gives(1, 0.4), timeout=1, reserve=0.5), forever))
    assert health_of(engine)["a"] == pytest.approx(0.7)


async def test_each_engine_has_its_own_health(autojump_clock, engine):
    """What one engine has learned of an alternative does not route the runs of another one."""
    call = Calls()
    pipeline = choice_of(call("bad", raises(ValueError())), call("good", gives(1)))
    async with open_engine(timeouts=Timeouts.none(), lane="other") as other:
        await engine.run(pipeline)
        assert (health_of(engine), health_of(other)) == ({"bad": 0.0, "good": 1.0}, {})
        call.take()
        await other.run(pipeline)
        assert call.take() == ["bad", "good"]
        await engine.run(pipeline)
        assert call.take() == ["good"]


async def test_each_place_has_its_own_health(autojump_clock, engine):
    """The same alternative in two nodes is two: its health depends on what it is asked there."""
    bad, good = named("bad", raises(ValueError())), named("good", gives(1))
    nodes = [choose(bad, good, name="one"), choose(bad, good, name="two", when=bool)]
    await engine.run(Pipeline("p", [parallel(*nodes)]), False)
    assert {one.name: one.value for one in engine.health().alternatives} == {
        "p.p.one.bad": 0.0,
        "p.p.one.good": 1.0,
        "p.p.two.bad": 1.0,
        "p.p.two.good": 1.0,
    }


async def test_health_outlives_what_alters_a_pipeline(autojump_clock, engine):
    """A pipeline that is compiled anew goes on with the health of its places."""
    pipeline = choice_of(named("bad", raises(ValueError())), named("good", gives(1)))
    await engine.run(pipeline)
    engine.alter(lambda pipeline: pipeline)
    assert (await engine.run(pipeline)).node("pick").attempts == 1


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_the_other_modes_keep_the_order_of_the_definition(autojump_clock, mode):
    """They cut nothing and route nothing; a failure gives way, and health is counted and shown."""
    call = Calls()
    pipeline = choice_of(
        call("bad", raises(ValueError())), call("slow", quick, timeout=0.125), timeout=0.125
    )
    async with open_engine(timeouts=Timeouts.none(), mode=mode) as engine:
        for _ in range(2):
            result = await engine.run(pipeline)
            assert (result.value, call.take()) == ("quick", ["bad", "slow"])
        assert health_of(engine) == {"bad": 0.0, "slow": 0.5}
        said = result.would_time_out
        assert (None if said is None else said.level) == ("node" if mode == "observe" else None)


async def test_observe_reports_the_limit_of_an_alternative(autojump_clock):
    """Where it alone would have cut, it is the one that is named."""
    async with open_engine(timeouts=Timeouts.none(), mode="observe") as engine:
        result = await engine.run(choice_of(named("a", quick, timeout=0.125), forever))
    said = result.would_time_out
    assert (result.value, said.level, said.name) == ("quick", "alternative", "pick.a")


# -- what counts ------------------------------------------------------------------------------


async def test_the_limit_of_the_node_counts_against_one_that_had_its_time(autojump_clock, engine):
    """One that hangs without a limit of its own uses up the node once, and goes last afterwards."""
    pipeline = choice_of(named("hangs", forever), named("works", quick), timeout=1)
    first = await engine.run(pipeline)
    assert (first.status, first.blame.level, first.blame.name) == ("timed_out", "node", "pick")
    assert health_of(engine) == {"hangs": 0.0, "works": 1.0}
    assert (await engine.run(pipeline)).value == "quick"


async def test_an_impatient_ancestor_says_nothing_of_one_that_is_usually_slower(
    autojump_clock, engine
):
    """A limit above that passes before the time that successes take changes no health.

    Nor does the time that it then takes to unwind.
    """

    async def tidy(_):
        try:
            await trio.sleep(0.25)
        except trio.Cancelled:
            with cleanup():
                await trio.sleep(0.25)
            raise

    pipeline = choice_of(tidy, forever)
    await engine.run(pipeline)
    assert (await engine.run(pipeline, timeout=0.125)).status == "timed_out"
    assert health_of(engine) == {"tidy": 1.0, "forever": 1.0}


async def test_a_callers_cancel_passes_and_counts_as_nothing(
    autojump_clock, engine, cancelled_after
):
    """It ends the node where it is; the next alternative is not started, and nobody is to blame."""
    call = Calls()
    pipeline = choice_of(call("a", forever), call("b", gives(1)))
    assert (await cancelled_after(1, engine.run, pipeline)).cancelled_caught
    assert (call.take(), health_of(engine)) == (["a"], {"a": 1.0, "b": 1.0})


async def test_a_users_cancel_counts_as_nothing(autojump_clock, engine):
    """Neither does a run that somebody cancels by its id; what failed before is kept."""
    error = ValueError()
    run = engine.start(choice_of(named("a", raises(error)), named("b", forever)))
    await trio.sleep(1)
    run.cancel()
    node = (await run.wait()).node("pick")
    assert (node.status, node.blame.kind, node.secondary) == ("cancelled", "user", (error,))
    assert (node.attempts, node.alternative) == (2, None)
    assert health_of(engine) == {"a": 0.0, "b": 1.0}


async def test_a_siblings_failure_counts_as_nothing(autojump_clock, engine):
    """A cancel that is due to a sibling ends the choice without a word about the alternative."""
    nodes = parallel(choose(forever, quick, name="pick"), named("bad", raises(ValueError(), 1)))
    result = await engine.run(Pipeline("p", [nodes]))
    assert (result.node("pick").status, result.node("pick").attempts) == ("cancelled", 1)
    assert health_of(engine) == {"forever": 1.0, "quick": 1.0}


async def test_what_the_breaker_ignores_counts_as_nothing(autojump_clock, engine):
    """An error of the request gives way to the next alternative, and tells nothing of this one."""
    picky = Breaker(ignore=KeyError)
    pipeline = choice_of(named("a", raises(KeyError()), breaker=picky), gives(1))
    assert (await engine.run(pipeline)).value == 1
    assert health_of(engine)["a"] == 1.0


async def test_a_question_that_breaks_counts_as_the_failure_that_it_is(autojump_clock, engine):
    """A function of the breaker that raises is the alternative's failure, and gives way."""

    def breaks(_):
        raise KeyError("in ignore=")

    a = named("a", raises(ValueError("asked")), breaker=Breaker(ignore=breaks))
    node = (await engine.run(choice_of(a, gives(1)))).node("pick")
    assert (node.value, [type(one) for one in node.secondary]) == (1, [ValueError, KeyError])
    assert health_of(engine)["a"] == 0.0


async def test_a_retried_alternative_counts_once(autojump_clock, engine):
    """Its attempts are its own affair: that it succeeded in the end is what counts."""
    script = [ValueError("once"), None]

    async def flaky(_):
        error = script.pop(0)
        if error is not None:
            raise error
        return "value"

    node = (await engine.run(choice_of(named("a", flaky, retry=Retry(backoff=0)), forever))).node(
        "pick"
    )
    assert (node.value, node.alternative, node.attempts) == ("value", "a", 2)
    assert [str(error) for error in node.secondary] == ["once"]
    assert health_of(engine)["a"] == 1.0


# -- failing over -----------------------------------------------------------------------------


async def test_no_error_is_lost(autojump_clock, engine):
    """If all fail the last error counts; those before it are in `secondary`, in order."""
    errors = [ValueError("a"), OSError("b"), KeyError("c")]
    node = (await engine.run(choice_of(*(named(str(e), raises(e)) for e in errors)))).node("pick")
    assert (node.status, node.error, node.secondary) == ("failed", errors[2], tuple(errors[:2]))
    assert (node.attempts, node.alternative) == (3, None)
    assert node.blame.message == "node 'pick' raised KeyError"


async def test_the_error_of_the_first_is_attached_to_a_success(autojump_clock, engine):
    """A node that is ok says what had gone wrong before, also what was raised while unwinding."""
    late = OSError("while unwinding")

    async def breaks(_):
        try:
            await trio.sleep_forever()
        finally:
            raise late

    node = (await engine.run(choice_of(named("a", breaks, timeout=1), named("b", gives(2))))).node(
        "pick"
    )
    assert (node.status, node.value) == ("ok", 2)
    [timeout] = node.secondary
    assert isinstance(timeout, NodeTimeoutError)
    assert str(timeout) == "alternative 'pick.a' exceeded its limit of 1s"
    assert (timeout.limit, timeout.source, timeout.result) == (1.0, "node", None)
    assert timeout.__cause__ is late


async def test_the_last_timeout_is_blamed(autojump_clock, engine):
    """If the last one exceeded its own limit the node is `timed_out`, and its alternative named."""
    error = ValueError()
    pipeline = choice_of(named("a", raises(error)), named("b", forever, timeout=1), timeout=5)
    result = await engine.run(pipeline)
    node = result.node("pick")
    assert (node.status, node.blame.level, node.blame.name) == (
        "timed_out",
        "alternative",
        "pick.b",
    )
    assert (node.blame.limit, node.blame.source, node.secondary) == (1.0, "node", (error,))
    with pytest.raises(NodeTimeoutError, match=r"alternative 'pick\.b' exceeded its limit of 1s"):
        result.unwrap()


async def test_no_other_is_started_when_nothing_remains(autojump_clock, engine):
    """The node's timeout bounds everything: it is to blame, and what failed is kept."""
    call, error = Calls(), ValueError()

    async def stubborn(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        raise error

    pipeline = choice_of(call("a", stubborn, timeout=1), call("b", gives(1)), timeout=1.5, grace=5)
    node = (await engine.run(pipeline)).node("pick")
    assert (call.take(), node.attempts, node.elapsed) == (["a"], 1, 2.0)
    assert (node.status, node.blame.level, node.secondary) == ("timed_out", "node", (error,))


async def test_no_other_is_started_when_the_time_is_just_over(autojump_clock, engine):
    """Trio gets a tick to say so, and the node that is cut is `timed_out` and not `failed`."""
    call, error = Calls(), ValueError()

    async def blocks_the_loop(_):
        autojump_clock.jump(2)
        raise error

    pipeline = choice_of(call("a", blocks_the_loop), call("b", gives(1)), timeout=1)
    node = (await engine.run(pipeline)).node("pick")
    assert (call.take(), node.status, node.blame.level) == (["a"], "timed_out", "node")
    assert node.secondary == (error,)


async def test_the_next_one_has_what_is_left(autojump_clock, engine):
    """Its own limit may be longer: the node's is what cuts it, and what `remaining()` knows."""
    left = []

    async def asks(_):
        left.append(remaining())
        await trio.sleep_forever()

    pipeline = choice_of(named("a", forever, timeout=1), named("b", asks, timeout=1.9), timeout=2)
    result = await engine.run(pipeline)
    assert (left, result.elapsed, result.blame.level) == ([1.0], 2.0, "node")


async def test_a_stage_and_a_pipeline_bound_a_choice(autojump_clock, engine):
    """An ancestor's timeout ends it: no further alternative, and the ancestor is to blame."""
    call = Calls()
    node = choose(call("a", forever, timeout=1), call("b", forever), call("c", quick))
    result = await engine.run(Pipeline("p", [Stage("s", [node], timeout=2)], timeout=3))
    assert (call.take(), result.blame.level) == (["a", "b"], "stage")


async def test_an_open_breaker_gives_way(autojump_clock, engine):
    """A refused alternative costs no time and no attempt; its refusal is kept, and counts."""
    call = Calls()
    shared = Breaker(consecutive=1, name="a")
    pipeline = choice_of(call("a", raises(OSError()), breaker=shared), call("b", gives(1)))
    await engine.run(Pipeline("trip", [named("trip", raises(OSError()), breaker=shared)]))
    node = (await engine.run(pipeline)).node("pick")
    [refusal] = node.secondary
    assert isinstance(refusal, CircuitOpenError)
    assert (node.value, node.attempts, call.take()) == (1, 1, ["b"])
    assert health_of(engine)["a"] == 0.0


@pytest.mark.parametrize(("own", "state"), [(1, "open"), (None, "closed")])
async def test_the_breaker_of_an_alternative_counts_its_own_timeout(
    autojump_clock, engine, own, state
):
    """The limit of the alternative is its own; that of the choice is one of a level above."""
    first = named("a", forever, timeout=own, breaker=Breaker(consecutive=1))
    await engine.run(choice_of(first, quick, timeout=2))
    assert [one.state for one in engine.health().breakers] == [state]


async def test_a_full_bulkhead_gives_way(autojump_clock, engine):
    """A call that finds neither slot nor queue goes on to the next alternative."""
    pipeline = choice_of(named("a", quick, limit=Bulkhead(slots=1, max_queue=0)), gives("other"))
    chosen = []

    async def run():
        chosen.append((await engine.run(pipeline)).node("pick").alternative)

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(run)
    assert sorted(chosen) == ["a", "give"]
    assert engine.health().bulkheads[0].active == 0


async def test_a_refusal_of_the_work_itself_is_no_attempt(autojump_clock, engine):
    """As when no worker thread is left: nothing was started."""
    refusal = WorkRefusedError("no thread is left")
    node = (await engine.run(choice_of(named("a", raises(refusal)), gives(1)))).node("pick")
    assert (node.value, node.attempts) == (1, 1)
    assert [(type(error), error.reason) for error in node.secondary] == [
        (OverloadedError, "no thread is left")
    ]


async def test_a_refusal_hides_no_real_error(autojump_clock, engine):
    """If the last one is refused, the last real error counts, and the refusal is secondary."""
    shared, error = Breaker(consecutive=1, name="b"), ValueError()
    await engine.run(Pipeline("trip", [named("trip", raises(OSError()), breaker=shared)]))
    pipeline = choice_of(named("a", raises(error)), named("b", quick, breaker=shared))
    node = (await engine.run(pipeline)).node("pick")
    assert (node.status, node.error, node.attempts) == ("failed", error, 1)
    assert [type(one) for one in node.secondary] == [CircuitOpenError]


async def test_all_refused_is_rejected(autojump_clock, engine):
    """A node none of whose alternatives started is `rejected`, and may degrade."""
    shut = Breaker(mode="forced_open")
    nodes = named("a", quick), named("b", quick)
    result = await engine.run(choice_of(*nodes, breaker=shut))
    node = result.node("pick")
    assert (node.status, node.attempts, node.blame.kind) == ("rejected", 0, "rejected")
    assert [error.breaker for error in node.secondary] == ["p.s.pick.a", "p.s.pick.b"]
    assert node.blame.message.startswith("breaker 'p.s.pick.b' is open")
    with pytest.raises(OverloadedError):
        result.unwrap()
    soft = choice_of(*nodes, breaker=shut, critical=False, fallback="instead")
    assert (await engine.run(soft)).value == "instead"


async def test_what_must_not_be_done_twice_is_not_done_elsewhere(autojump_clock, engine):
    """With `idempotent=False` only a refusal gives way: what started may have taken effect."""
    call, error = Calls(), ValueError()
    refused = Breaker(mode="forced_open")
    alternatives = call("a", quick, breaker=refused), call("b", raises(error)), call("c", quick)
    node = (await engine.run(choice_of(*alternatives, idempotent=False))).node("pick")
    assert (node.status, node.error, call.take()) == ("failed", error, ["b"])
    assert [type(one) for one in node.secondary] == [CircuitOpenError]


async def test_a_timeout_of_what_must_not_be_done_twice(autojump_clock, engine):
    """An own timeout does not give way either: the work may have been done."""
    pay = named("a", forever, timeout=1, idempotent=False)
    result = await engine.run(choice_of(pay, quick))
    assert (result.status, result.blame.name, result.elapsed) == ("timed_out", "pick.a", 1.0)


async def test_policies_belong_to_the_alternatives(autojump_clock, engine):
    """Those of the choice, or of a level above, hold for each alternative and not for the whole."""
    call, error = Calls(), ValueError()
    alternatives = call("a", raises(error)), call("b", raises(error), retry=None)
    node = choose(*alternatives, name="pick", limit=2)
    result = await engine.run(Pipeline("p", [node], retry=Retry(attempts=2, backoff=0)))
    assert (call.take(), result.node("pick").attempts) == (["a", "a", "b"], 3)
    assert [one.name for one in engine.health().bulkheads] == ["p.p.pick.a", "p.p.pick.b"]


async def test_the_attempts_of_an_alternative_keep_to_its_limit(autojump_clock, engine):
    """Its own timeout bounds its attempts and backoffs; then the next one has its turn."""
    call = Calls()
    patient = Retry(attempts=9, backoff=0, min_attempt=0)
    pipeline = choice_of(
        call("a", forever, retry=patient, attempt_timeout=0.4, timeout=1), call("b", gives(1))
    )
    node = (await engine.run(pipeline)).node("pick")
    assert (node.value, node.elapsed, node.attempts) == (1, 1.0, 4)
    assert call.take() == ["a", "a", "a", "b"]
    assert [type(error) for error in node.secondary] == [
        AttemptTimeoutError,
        AttemptTimeoutError,
        NodeTimeoutError,
    ]


async def test_the_last_attempts_own_timeout_gives_way(autojump_clock, engine):
    """An attempt that exceeds its limit, and is not made again, is the alternative's own affair."""
    heard = heard_by(engine, events.AlternativeFinished)
    pipeline = choice_of(named("a", forever, attempt_timeout=1), gives(1))
    node = (await engine.run(pipeline)).node("pick")
    [error] = node.secondary
    assert (node.value, type(error), error.name) == (1, AttemptTimeoutError, "pick.a")
    assert (heard[0].status, heard[0].blame.level) == ("timed_out", "attempt")
    assert health_of(engine)["a"] == 0.0


async def test_a_hedged_alternative(autojump_clock, engine):
    """The copies of its attempt are its own affair: the faster one gives the value of the choice."""
    stuck = []

    async def sleeps(_):
        await trio.sleep(9 if stuck and not current().hedge else 0.125)
        return "value"

    pipeline = choice_of(named("a", sleeps), quick, hedge=Hedge(), idempotent=True)
    for _ in range(50):  # as many as it takes; of these none is hedged
        await engine.run(pipeline)
    stuck.append("from now on")
    node = (await engine.run(pipeline)).node("pick")
    assert (node.value, node.alternative, node.elapsed) == ("value", "a", 0.25)
    assert (node.attempts, node.secondary) == (1, ())
    assert health_of(engine)["a"] == 1.0


async def test_a_learned_limit_of_an_alternative(autojump_clock, engine):
    """An alternative may learn its limit: it is in force, and every call teaches."""
    learned = Adaptive(initial=1, floor=0.1, ceiling=5)
    pipeline = choice_of(named("a", forever, timeout=learned), gives(1))
    node = (await engine.run(pipeline)).node("pick")
    [error] = node.secondary
    assert (node.value, error.limit, error.source) == (1, 1.0, "adaptive")


async def test_an_alternative_learns_its_limit(autojump_clock, engine):
    """Quick calls make its limit short, as for a node, and being close to it is no illness."""
    learned = Adaptive(initial=1, floor=0.01, ceiling=5)
    script = [*[0.125] * 50, 9]

    async def sleeps(_):
        await trio.sleep(script.pop(0))

    pipeline = choice_of(named("a", sleeps, timeout=learned), gives(1))
    for _ in range(50):
        await engine.run(pipeline)
    [error] = (await engine.run(pipeline)).node("pick").secondary
    assert 0.125 <= error.limit < 0.5


# -- levels -----------------------------------------------------------------------------------


async def test_cleanup_of_an_alternative_ends_with_its_grace(autojump_clock, engine):
    """It has the grace period of its own cancel, and never outlives that of the node."""
    ends = []

    async def messy(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                try:
                    await trio.sleep_forever()
                finally:
                    ends.append(trio.current_time())

    alternatives = named("a", messy, timeout=1, grace=0.5), named("b", messy)
    node = (await engine.run(choice_of(*alternatives, timeout=2, grace=0.25))).node("pick")
    assert (ends, node.elapsed, node.status) == ([1.5, 2.25], 2.25, "timed_out")


async def test_a_callers_cancel_is_shared_by_the_levels(autojump_clock, engine, cancelled_after):
    """What an alternative noticed of it counts for the node and its handlers: one grace for all."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.5)

    node = choose(work, quick, on_cleanup=forever)
    scope = await cancelled_after(1, engine.run, Pipeline("p", [node]))
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(2)


async def test_the_grace_of_a_callers_cancel_is_counted_once(
    autojump_clock, engine, cancelled_after
):
    """The outcome counts it from the instant at which the alternative noticed the cancel."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.5)

    heard = heard_by(engine, events.NodeFinished)
    await cancelled_after(1, engine.run, choice_of(work, quick))
    assert [one.grace_used for one in heard] == [0.5]


async def test_nothing_survives_a_run(autojump_clock, engine):
    """Each alternative that was overtaken has unwound before the next one starts."""
    alive = []

    async def work(_):
        alive.append(current().node)
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.25)
            alive.remove(current().node)

    async def last(_):
        return list(alive)

    pipeline = choice_of(named("a", work, timeout=1), named("b", work, timeout=1), last)
    assert (await engine.run(pipeline)).value == []
    assert (alive, trio.current_time()) == ([], 2.5)


async def test_a_pipeline_inside_an_alternative(autojump_clock, engine):
    """It is bounded by the alternative around it, and cut with it."""
    left = []

    async def inner(_):
        left.append(remaining())
        await trio.sleep_forever()

    nested = Pipeline("inner", [inner])

    async def work(value):
        return await engine.execute(nested, value)

    result = await engine.run(choice_of(named("a", work, timeout=1), gives(1)))
    node = result.node("pick")
    assert (node.value, left, node.elapsed, len(engine.runs())) == (1, [1.0], 1.0, 0)


async def test_the_failure_of_an_inner_pipeline_gives_way(autojump_clock, engine):
    """What `execute` raises is the alternative's failure like any other."""
    nested = Pipeline("inner", [forever], timeout=1)

    async def work(value):
        return await engine.execute(nested, value)

    node = (await engine.run(choice_of(named("a", work), gives(1)))).node("pick")
    assert (node.value, len(node.secondary), health_of(engine)["a"]) == (1, 1, 0.0)


async def test_a_task_that_outlives_its_alternative_is_on_its_own(autojump_clock, engine):
    """What it starts later is not bounded by an alternative that has ended."""
    results = []

    async def outlives():
        await trio.sleep(0.5)
        results.append(await engine.run(Pipeline("later", [gives("later", after=2)])))

    async with trio.open_nursery() as nursery:

        async def work(_):
            nursery.start_soon(outlives)

        await engine.run(choice_of(named("a", work, timeout=1), forever, timeout=1))
    assert results[0].value == "later"


async def test_a_default_of_the_engine_spares_what_is_inside_a_limit(autojump_clock):
    """A limit that an alternative states counts for the pipeline inside it."""
    async with open_engine() as engine:
        nested = Pipeline("inner", [gives(1, after=1)])

        async def work(value):
            return await engine.execute(nested, value)

        result = await engine.run(choice_of(named("a", work, timeout=2), forever), timeout=3)
    assert result.node("pick").alternative == "a"


async def test_what_an_alternative_can_ask_and_say(autojump_clock, engine):
    """Names, partial values and `stopping()` work inside; the name is `node.alternative`."""
    seen = []

    async def work(value):
        here = current()
        seen.append((here.stage, here.node, here.attempt, here.input))
        save_partial("half")
        await stopping().wait()
        seen.append(trio.current_time())
        await trio.sleep_forever()

    first = named("a", work, timeout=1, stop_before=0.25)
    result = await engine.run(choice_of(first, forever, timeout=2), "input")
    assert seen == [("s", "pick.a", 1, "input"), 0.75]
    assert result.partial == {"pick": "half"}


async def test_a_late_value_is_a_value(autojump_clock, engine):
    """One that comes back past its own limit is used, as it is for a node; it is a slow one."""

    async def shielded(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        return "late"

    heard = heard_by(engine, events.AlternativeFinished)
    node = (await engine.run(choice_of(named("a", shielded, timeout=1), forever))).node("pick")
    assert (node.value, node.status, node.alternative) == ("late", "ok", "a")
    assert [one.status for one in heard] == ["late"]
    assert health_of(engine)["a"] == 0.5


async def test_a_scope_of_the_users_own(autojump_clock, engine):
    """A cancel that a scope inside an alternative absorbs changes nothing."""

    async def work(_):
        with trio.move_on_after(1):
            await trio.sleep_forever()
        return "went on"

    node = (await engine.run(choice_of(named("a", work, timeout=2), forever))).node("pick")
    assert (node.value, node.elapsed) == ("went on", 1.0)


async def test_a_callers_deadline_above_a_choice(autojump_clock, engine):
    """The caller's own timeout ends it, and its `Cancelled` goes on to the caller."""
    call = Calls()
    pipeline = choice_of(call("a", raises(ValueError())), call("b", forever), call("c", quick))
    with trio.move_on_after(1) as scope:
        await engine.run(pipeline)
    assert (scope.cancelled_caught, call.take(), trio.current_time()) == (True, ["a", "b"], 1.0)


async def test_an_interrupt_goes_through(autojump_clock, engine):
    """`KeyboardInterrupt` never becomes an alternative's failure."""
    call = Calls()
    with pytest.raises(KeyboardInterrupt):
        await engine.run(choice_of(call("a", raises(KeyboardInterrupt())), call("b", quick)))
    assert (call.take(), health_of(engine)["a"]) == (["a"], 1.0)


async def test_an_interrupt_hits_user_code_only(autojump_clock, engine):
    """Alternatives are not protected from it; the books that the engine keeps of them are."""
    protected = []

    async def work(_):
        protected.append(trio.lowlevel.currently_ki_protected())
        raise ValueError

    def sink(event):
        if isinstance(event, events.AlternativeFinished):
            protected.append(trio.lowlevel.currently_ki_protected())

    engine.subscribe(sink, inline=True)
    assert (await engine.run(choice_of(named("a", work), gives(1)))).value == 1
    assert protected == [False, True, True]


async def test_a_fallback_stands_where_the_choice_does(autojump_clock, engine):
    """Once all have failed, what runs for the node runs in its name."""
    node = choose(
        named("a", raises(ValueError())), named("b", raises(ValueError())), name="pick",
        critical=False, fallback=lambda _: current().node,
    )  # fmt: skip
    assert (await engine.run(Pipeline("p", [node]))).value == "pick"


async def test_a_choice_over_a_list(autojump_clock, engine):
    """Each item chooses for itself; the limit of an item bounds its alternatives."""
    script = {1: "bad", 2: "good", 3: "good"}

    async def picky(item):
        if script[item] == "bad":
            raise ValueError
        return item

    node = each(choose(picky, named("b", gives("other"))), max_parallel=1, name="items")
    result = await engine.run(Pipeline("p", [node]), [1, 2, 3])
    assert result.value == ["other", "other", "other"]
    outcome = result.node("items")
    assert (outcome.alternative, outcome.attempts, len(outcome.secondary)) == (None, 1, 1)


async def test_an_item_that_has_no_alternative_left(autojump_clock, engine):
    """Its last error is the node's; the limit of an item is blamed as that of an item."""
    bad, worse = named("bad", raises(ValueError("1"))), named("worse", raises(ValueError("2")))
    node = (await engine.run(Pipeline("p", [each(choose(bad, worse), name="n")]), [0])).node("n")
    assert (str(node.error), [str(error) for error in node.secondary]) == ("2", ["1"])
    hangs = each(choose(named("a", forever, timeout=1), forever), name="n", item_timeout=2)
    blame = (await engine.run(Pipeline("q", [hangs]), [0])).blame
    assert (blame.level, blame.name) == ("item", "n[0]")
    own = each(choose(named("a", forever, timeout=1), named("b", forever, timeout=1)), name="n")
    blame = (await engine.run(Pipeline("r", [own]), [0])).blame
    assert (blame.level, blame.name) == ("alternative", "n.b")


async def test_partial_values_of_items(autojump_clock, engine):
    """Inside an alternative of an item `save_partial` is refused, as in an item."""

    async def saves(_):
        save_partial(1)

    node = each(choose(saves, named("too", saves)), name="n")
    result = await engine.run(Pipeline("p", [node]), [0])
    assert "an item of each()" in str(result.error)


async def test_handlers_see_the_outcome_of_the_choice(autojump_clock, engine):
    """They run once, for the node, and know which alternative gave the value."""
    seen = []
    pipeline = choice_of(
        named("a", raises(ValueError())), named("b", gives(1)), on_cleanup=seen.append
    )
    await engine.run(pipeline)
    [outcome] = seen
    assert (outcome.name, outcome.alternative, len(outcome.secondary)) == ("pick", "b", 1)


# -- elsewhere than in the loop ---------------------------------------------------------------


async def test_threads_and_programs_are_alternatives(engine_in_real_time):
    """A program that fails gives way to a plain function in a worker thread."""

    def plain(value):
        return value, current().node

    pipeline = choice_of(Command(["false"]), named("thread", plain))
    node = (await engine_in_real_time.run(pipeline, 1)).node("pick")
    assert (node.value, node.alternative) == ((1, "pick.thread"), "thread")
    assert node.secondary[0].exit_code == 1


@pytest.fixture
async def engine_in_real_time():
    """An engine under the real clock, for work outside of the event loop."""
    async with open_engine(timeouts=Timeouts.none()) as engine:
        yield engine


# -- telling ----------------------------------------------------------------------------------


def heard_by(engine, kind):
    heard = []
    engine.subscribe(
        lambda event: heard.append(event) if isinstance(event, kind) else None, inline=True
    )
    return heard


async def test_each_alternative_that_was_tried_is_told(autojump_clock, engine):
    """Status, times, limit, blame and the health that it has now; a calm first one is not told."""
    heard = heard_by(engine, events.AlternativeFinished)
    error = ValueError("secret")
    pipeline = choice_of(
        named("a", raises(error)), named("b", forever, timeout=1), named("c", quick)
    )
    await engine.run(pipeline)
    assert [
        (one.stage, one.node, one.alternative, str(one.status), one.started, one.elapsed)
        for one in heard
    ] == [
        ("s", "pick", "a", "failed", 0.0, 0.0),
        ("s", "pick", "b", "timed_out", 0.0, 1.0),
        ("s", "pick", "c", "ok", 1.0, 0.25),
    ]
    assert [one.error_type for one in heard] == ["ValueError", None, None]
    assert [one.limit for one in heard] == [None, 1.0, None]
    assert [one.blame and one.blame.name for one in heard] == [None, "pick.b", None]
    assert [one.health for one in heard] == [0.0, 0.0, 1.0]
    heard.clear()
    await engine.run(pipeline)
    assert heard == []


async def test_whoever_traces_hears_of_every_alternative(autojump_clock, engine):
    """A sink that wants the trace is told of the calm ones, too."""

    class Tracing(list):
        inline = True

        def wants_trace(self):
            return True

        def __call__(self, event):
            self.append(event)

    heard = Tracing()
    engine.subscribe(heard)
    await engine.run(choice_of(quick, forever))
    [told] = [event for event in heard if isinstance(event, events.AlternativeFinished)]
    assert (told.alternative, told.status, told.health) == ("quick", "ok", 1.0)


async def test_refused_and_cancelled_alternatives_are_told(autojump_clock, engine):
    """A refusal is named by its class; a cut from above has the blame of the level that cut."""
    heard = heard_by(engine, events.AlternativeFinished)
    closed = Breaker(mode="forced_open")
    await engine.run(choice_of(named("a", quick, breaker=closed), forever), timeout=1)
    assert [(str(one.status), one.error_type) for one in heard] == [
        ("rejected", "CircuitOpenError"),
        ("timed_out", None),
    ]
    assert heard[1].blame.level == "pipeline"


async def test_alternatives_have_statistics(autojump_clock, engine):
    """Each is counted by its status under `node.alternative`, beside the node itself."""
    await engine.run(choice_of(named("a", raises(ValueError())), named("b", quick)))
    parts = engine.stats.parts()
    counted = {
        key[2]: {str(status): one.count for status, one in found.items() if one.count}
        for key, found in parts.items()
        if key[2]
    }
    assert counted == {"pick": {"ok": 1}, "pick.a": {"failed": 1}, "pick.b": {"ok": 1}}


async def test_a_document_names_the_alternative(autojump_clock, engine):
    """It is part of the outcome's document, and comes back from it."""
    result = await engine.run(choice_of(quick, forever))
    document = result.to_dict()
    assert document["stages"]["s"]["nodes"]["pick"]["alternative"] == "quick"
    assert type(result).from_dict(document).node("pick").alternative == "quick"


async def test_health_of_what_nobody_called(autojump_clock, engine):
    """An engine without choices shows none, and one that was not tried is trusted."""
    await engine.run(Pipeline("p", [quick]))
    assert engine.health().alternatives == ()
    await engine.run(choice_of(quick, forever))
    assert health_of(engine) == {"quick": 1.0, "forever": 1.0}
    assert math.isclose(trio.current_time(), 0.5)
