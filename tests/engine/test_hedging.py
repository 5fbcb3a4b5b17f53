"""Hedging: a second copy of a slow attempt; the first success wins, and the loser delays nobody."""

import attrs
import pytest
import trio

from graceline import (
    AttemptTimeoutError,
    DefinitionError,
    Node,
    Pipeline,
    Stage,
    Timeouts,
    cleanup,
    current,
    each,
    open_engine,
    parallel,
    save_partial,
    sequence,
)
from graceline.adaptive import Key
from graceline.deadlines import Kind
from graceline.definitions import Breaker, Hedge, Retry
from graceline.engine.levels import CURRENT
from graceline.telemetry import events
from graceline.work import WorkRefusedError

KEY = Key("default", "p", "p", "work", "attempt")
SOON = Hedge(delay=1, max_extra=1)


class Copies:
    """Work that does what the script of its copy says: seconds, then a value or an error.

    Attributes:
        calls: when each call began, and whether it was the second copy.
        ended: when each call ended, and with what.
    """

    __name__ = "copies"

    def __init__(self, first, copy=(0.0, "copy"), unwinding=0.0, raises=None):
        self.scripts = {False: first, True: copy}
        self.unwinding = unwinding
        self.raises = raises
        self.calls = []
        self.ended = []

    async def __call__(self, value):
        start, hedge = trio.current_time(), current().hedge
        self.calls.append((start, hedge))
        seconds, does = self.scripts[hedge]
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            with cleanup():
                await trio.sleep(self.unwinding)
            if self.raises is not None:
                raise self.raises from None
            raise
        finally:
            self.ended.append((trio.current_time(), hedge))
        if isinstance(does, BaseException):
            raise does
        return does


def node_of(work, hedge=SOON, **options):
    return Node(work, name="work", idempotent=True, hedge=hedge, **options)


def pipeline_of(work, hedge=SOON, **options):
    return Pipeline("p", [node_of(work, hedge, **options)])


def tokens(engine):
    """What is left in the pool of the node's retries."""
    return engine._protections.budget(("p", "p", "work")).tokens(trio.current_time())


@pytest.fixture
def told(engine):
    """Attempts and hedges that the engine tells of, in short."""
    found = []

    def sink(event):
        if isinstance(event, events.AttemptFinished):
            blamed = None if event.blame is None else str(event.blame.kind)
            found.append((event.attempt, event.hedge, str(event.status), blamed))
        elif isinstance(event, events.HedgeSettled):
            found.append((event.result, event.reason))

    sink.wants_trace = lambda: True
    engine.subscribe(sink, inline=True)
    return found


# -- the first success wins -------------------------------------------------------------------


async def test_a_copy_answers_for_a_slow_first(autojump_clock, engine, told):
    """A second copy is sent after the delay, and its value is the node's as soon as it is there."""
    work = Copies((10, "first"), (0.5, "copy"))
    result = await engine.run(pipeline_of(work))
    node = result.node("work")
    assert (result.value, node.elapsed, node.attempts, node.secondary) == ("copy", 1.5, 1, ())
    assert work.calls == [(0.0, False), (1.0, True)]
    assert ("won", None) in told
    assert (1, True, "ok", None) in told
    assert (1, False, "cancelled", "superseded") in told


async def test_a_copy_that_wins_is_told_to_all(autojump_clock, engine):
    """A sink that wants no trace of what goes well hears that it was the copy which did."""
    heard = []
    engine.subscribe(heard.append, inline=True)
    await engine.run(pipeline_of(Copies((10, "first"), (0.5, "copy"))))
    attempts = [event for event in heard if isinstance(event, events.AttemptFinished)]
    assert [(one.attempt, one.hedge, one.status) for one in attempts] == [
        (1, True, "ok"),
        (1, False, "cancelled"),
    ]
    assert [(one.elapsed, one.blame and one.blame.elapsed) for one in attempts] == [
        (0.5, None),
        (1.5, 1.5),
    ]


async def test_a_copy_is_counted_where_nobody_listens(autojump_clock, engine, unheard):
    """A hedge counts for the metrics, also where no event of it is built."""
    with unheard():
        result = await engine.run(pipeline_of(Copies((10, "first"), (0.5, "copy"))))
    assert result.value == "copy"
    assert engine.stats.part("p", "p", "work").hedges["won"] == 1


async def test_an_interrupt_hits_user_code_only(autojump_clock, engine):
    """Copies are not protected from it; the books that the engine keeps of them are."""
    protected = {"work": [], "books": []}

    async def work(_):
        protected["work"].append(trio.lowlevel.currently_ki_protected())
        await trio.sleep(0.5 if current().hedge else 10)

    def sink(event):
        if isinstance(event, events.AttemptFinished):
            protected["books"].append(trio.lowlevel.currently_ki_protected())

    engine.subscribe(sink, inline=True)
    assert (await engine.run(pipeline_of(work))).ok
    assert protected == {"work": [False, False], "books": [True, True]}


async def test_a_first_that_is_faster_than_its_copy(autojump_clock, engine, told):
    """The first may win too, and the copy is superseded."""
    work = Copies((1.5, "first"), (10, "copy"))
    result = await engine.run(pipeline_of(work))
    assert (result.value, result.node("work").elapsed) == ("first", 1.5)
    assert ("lost", None) in told
    assert (1, True, "cancelled", "superseded") in told
    assert work.ended == [(1.5, False), (1.5, True)]


async def test_a_fast_first_has_no_copy(autojump_clock, engine, told):
    """Nothing is sent before the delay is over."""
    work = Copies((0.9, "first"))
    result = await engine.run(pipeline_of(work))
    assert (result.value, work.calls) == ("first", [(0.0, False)])
    assert told == [(1, False, "ok", None)]


async def test_both_in_one_instant(autojump_clock, engine):
    """If both return at once there is one value, and no error."""
    work = Copies((2, "first"), (1, "copy"))
    result = await engine.run(pipeline_of(work))
    assert (result.status, result.value) == ("ok", "first")
    assert result.secondary == result.node("work").secondary == ()


async def test_the_losers_cleanup_of_5_s_does_not_delay_the_winners_successor(
    autojump_clock, engine
):
    """The next node starts when the winner returns; the loser has its grace, and the run waits for it."""
    started = []

    async def after(value):
        started.append(trio.current_time())
        return value

    work = Copies((60, "first"), (0.5, "copy"), unwinding=5)
    result = await engine.run(Pipeline("p", [sequence(node_of(work), Node(after))]))
    assert started == [1.5]
    assert (result.status, result.value) == ("ok", "copy")
    assert work.ended == [(1.5, True), (1.75, False)]
    assert result.elapsed == 1.75


async def test_the_loser_may_be_given_more_grace(autojump_clock, engine):
    """`loser_grace=` bounds the cleanup of the loser, as far as the grace of its levels allows."""
    work = Copies((60, "first"), (0.5, "copy"), unwinding=0.8)
    await engine.run(pipeline_of(work, attrs.evolve(SOON, loser_grace=4)))
    assert work.ended[-1] == (2.3, False)
    work = Copies((60, "first"), (0.5, "copy"), unwinding=5)
    await engine.run(pipeline_of(work, attrs.evolve(SOON, loser_grace=4), grace=2))
    assert work.ended[-1][0] - work.calls[0][0] == 3.5


async def test_the_loser_keeps_the_grace_that_its_stage_states(autojump_clock, engine):
    """Below the run, to which it belongs then, a loser has no more grace than its stage gave it."""
    work = Copies((60, "first"), (0.5, "copy"), unwinding=5)
    node = node_of(work, attrs.evolve(SOON, loser_grace=4))
    stage = Stage("s", [node], grace=0.25)
    await engine.run(Pipeline("p", [stage], grace=10, timeout=100))
    assert work.ended[-1][0] - work.calls[0][0] == 1.75


async def test_the_loser_outlives_its_stage_but_not_its_run(autojump_clock, engine):
    """A limit of the winner's stage that passes does not matter to the loser; the run's grace does."""
    work = Copies((60, "first"), (0.5, "copy"), unwinding=5)
    hedge = attrs.evolve(SOON, loser_grace=3)
    node = node_of(work, hedge, grace=3)

    async def after(_):
        await trio.sleep(1)

    stages = [Stage("one", [node], timeout=2, grace=0.1), Stage("two", [after], timeout=2)]
    result = await engine.run(Pipeline("p", stages, timeout=20, grace=3))
    assert (result.status, work.ended[-1]) == ("ok", (4.5, False))
    start = trio.current_time()
    result = await engine.run(Pipeline("q", stages, timeout=2, grace=1))
    assert (result.status, result.blame.level, result.elapsed) == ("timed_out", "pipeline", 3.0)
    assert work.ended[-1] == (start + 3.0, False)


async def test_the_error_of_a_cancelled_copy_is_attached_never_unhandled(autojump_clock, engine):
    """What the loser raises while it unwinds is among the errors of the run, whose value stands."""
    error = ValueError("unwinding")
    work = Copies((60, "first"), (0.5, "copy"), raises=error)
    result = await engine.run(pipeline_of(work))
    assert (result.status, result.value, result.secondary) == ("ok", "copy", (error,))


async def test_errors_of_losers_and_handlers(autojump_clock, engine):
    """The errors of the pipeline's handlers come after those of the losers."""

    def handler(_):
        raise KeyError("handler")

    error = ValueError("unwinding")
    work = Copies((60, "first"), (0.5, "copy"), raises=error)
    result = await engine.run(Pipeline("p", [node_of(work)], on_cleanup=handler))
    assert [type(one) for one in result.secondary] == [ValueError, KeyError]


async def test_a_loser_that_swallows_its_cancel(autojump_clock, engine):
    """A loser that returns a value all the same changes nothing."""

    async def work(_):
        if current().hedge:
            return "copy"
        try:
            await trio.sleep(60)
        except trio.Cancelled:
            return "too late"

    result = await engine.run(pipeline_of(work))
    assert (result.value, result.secondary, result.node("work").attempts) == ("copy", (), 1)


# -- failures ---------------------------------------------------------------------------------


async def test_a_failure_before_the_hedge_point_goes_to_retry(autojump_clock, engine):
    """Only what is slow is hedged; what fails is tried again, and that attempt may have a copy."""

    async def work(_):
        if current().attempt == 1:
            raise ValueError("first")
        await trio.sleep(0 if current().hedge else 60)
        return current().attempt, current().hedge

    retry = Retry(attempts=2, backoff=0)
    result = await engine.run(pipeline_of(work, retry=retry))
    node = result.node("work")
    assert (result.value, node.elapsed, node.attempts) == ((2, True), 1.0, 2)
    assert [str(error) for error in node.secondary] == ["first"]


async def test_if_both_fail_the_first_ones_error_counts(autojump_clock, engine, told):
    """The node has the error of the first; that of the copy is kept."""
    first, copy = ValueError("first"), KeyError("copy")
    for seconds in (0.5, 8):
        result = await engine.run(pipeline_of(Copies((2, first), (seconds, copy))))
        node = result.node("work")
        assert (node.status, node.error, node.secondary) == ("failed", first, (copy,))
        assert node.elapsed == max(2, 1 + seconds)
        assert node.attempts == 1
    assert told.count((1, True, "failed", None)) == 2
    assert told.count(("lost", None)) == 2


async def test_the_other_copy_may_still_succeed(autojump_clock, engine):
    """One copy that fails while the other works is no end; its error is kept."""
    error = ValueError("first")
    result = await engine.run(pipeline_of(Copies((2, error), (3, "copy"))))
    assert (result.value, result.node("work").secondary) == ("copy", (error,))
    assert result.node("work").elapsed == 4.0
    result = await engine.run(pipeline_of(Copies((5, "first"), (1, error))))
    assert (result.value, result.node("work").secondary) == ("first", (error,))


async def test_copies_do_not_count_as_attempts(autojump_clock, engine):
    """With two attempts of two copies each that fail, there were two attempts."""
    work = Copies((2, ValueError("first")), (2, KeyError("copy")))
    retry = Retry(attempts=2, backoff=0)
    node = (await engine.run(pipeline_of(work, retry=retry))).node("work")
    assert (node.attempts, len(work.calls)) == (2, 4)
    assert [type(error) for error in node.secondary] == [KeyError, ValueError, KeyError]


async def test_each_copy_has_its_own_attempt_timeout(autojump_clock, engine):
    """A copy may take as long as the first one might, from its own start on."""
    work = Copies((60, "first"), (1.8, "copy"))
    node = (await engine.run(pipeline_of(work, attempt_timeout=2))).node("work")
    assert (node.value, node.elapsed) == ("copy", 2.8)
    assert [type(error) for error in node.secondary] == [AttemptTimeoutError]
    work = Copies((60, "first"), (60, "copy"))
    node = (await engine.run(pipeline_of(work, attempt_timeout=2))).node("work")
    assert (node.status, node.blame.level, node.elapsed) == ("timed_out", "attempt", 3.0)


# -- cancels from outside ---------------------------------------------------------------------


@pytest.mark.parametrize("level", ["node", "stage", "pipeline"])
async def test_a_limit_cuts_both_copies(autojump_clock, engine, level):
    """When a limit above passes both are cut, unwind within the one grace, and one level is to blame."""
    limits = {"node": {}, "stage": {}, "pipeline": {}}
    limits[level] = {"timeout": 2, "grace": 0.5}
    work = Copies((60, "first"), (60, "copy"), unwinding=5)
    node = node_of(work, **limits["node"])
    pipeline = Pipeline("p", [Stage("s", [node], **limits["stage"])], **limits["pipeline"])
    result = await engine.run(pipeline)
    assert (result.status, result.blame.level, result.elapsed) == ("timed_out", level, 2.5)
    assert sorted(work.ended) == [(2.5, False), (2.5, True)]


async def test_an_error_while_a_copy_is_cut_is_kept(autojump_clock, engine):
    """What both copies raise while they unwind is among the node's errors."""
    error = ValueError("unwinding")
    work = Copies((60, "first"), (60, "copy"), raises=error)
    node = (await engine.run(pipeline_of(work, timeout=2))).node("work")
    assert (node.status, node.secondary) == ("timed_out", (error, error))


async def test_a_value_in_spite_of_the_cancel_is_late(autojump_clock, engine):
    """A copy that swallows the node's cancel and returns gives a late value, as any node does."""

    async def work(_):
        try:
            await trio.sleep(60)
        except trio.Cancelled:
            return current().hedge

    result = await engine.run(pipeline_of(work, timeout=2))
    node = result.node("work")
    assert (node.status, node.value, node.blame.level) == ("late", False, "node")


async def test_a_cancel_by_id_reaches_both_copies(autojump_clock, engine):
    """A run that is cancelled by its id cuts both."""
    work = Copies((60, "first"), (60, "copy"))
    run = engine.start(pipeline_of(work), run_id="x")
    await trio.sleep(2)
    assert await engine.cancel("x", "enough")
    result = await run.wait()
    assert (result.status, result.blame.kind, result.blame.message) == (
        "cancelled",
        "user",
        "enough",
    )
    assert sorted(work.ended) == [(2.0, False), (2.0, True)]


async def test_a_cancel_of_the_caller_reaches_both_copies(autojump_clock, engine, cancelled_after):
    """The caller's own scope cuts both, they unwind in the grace, and the cancel goes on to the caller."""
    work = Copies((60, "first"), (60, "copy"), unwinding=5)
    scope = await cancelled_after(2, engine.run, pipeline_of(work, grace=0.5))
    assert scope.cancelled_caught
    assert sorted(work.ended) == [(2.5, False), (2.5, True)]
    assert not engine.runs()


async def test_a_cancel_while_only_the_loser_is_left(autojump_clock, engine, cancelled_after):
    """The loser is cut at the end of its own grace, and the run waits for that, whoever is cancelled."""
    work = Copies((60, "first"), (0.5, "copy"), unwinding=5)
    await cancelled_after(1.6, engine.run, pipeline_of(work))
    assert work.ended == [(1.5, True), (1.75, False)]


async def test_a_sibling_that_fails_cuts_both_copies(autojump_clock, engine):
    """Fail-fast of the stage reaches both copies."""

    async def fails(_):
        await trio.sleep(2)
        raise ValueError

    work = Copies((60, "first"), (60, "copy"))
    result = await engine.run(Pipeline("p", [parallel(node_of(work), Node(fails))]))
    node = result.node("work")
    assert (node.status, node.blame.kind) == ("cancelled", "sibling_failed")
    assert sorted(work.ended) == [(2.0, False), (2.0, True)]


async def test_an_interrupt_in_a_copy_ends_the_program(autojump_clock, engine):
    """What is for the program leaves the run from a copy as well, and the other one is cut."""

    class StopError(BaseException):
        pass

    work = Copies((60, "first"), (0.5, StopError()))
    with pytest.raises(StopError):
        await engine.run(pipeline_of(work))
    assert work.ended == [(1.5, True), (1.5, False)]


async def test_an_interrupt_in_a_loser_ends_the_program(autojump_clock, engine):
    """What is for the program is never kept silent, whoever raises it."""

    class StopError(BaseException):
        pass

    work = Copies((60, "first"), (0.5, "copy"), raises=StopError())
    with pytest.raises(BaseExceptionGroup) as raised:
        await engine.run(pipeline_of(work))
    assert raised.group_contains(StopError)


# -- when no copy is sent ---------------------------------------------------------------------


async def test_the_delay_is_the_p95_once_50_have_completed(autojump_clock, engine):
    """Without a stated delay the p95 of the attempts decides, and nothing before 50 samples."""
    work = Copies((1, "first"))
    pipeline = pipeline_of(work, Hedge(max_extra=1))
    for number in range(50):
        work.scripts[False] = ((3 if number % 10 == 0 else 1), "first")
        await engine.run(pipeline)
    assert not any(hedge for _, hedge in work.calls)
    work.scripts[False] = (60, "first")
    result = await engine.run(pipeline)
    assert (result.value, result.node("work").elapsed) == ("copy", 3.0)


async def test_the_loser_teaches_that_it_took_at_least_so_long(autojump_clock, engine):
    """The durations of attempts know the loser as a censored sample, and nothing else counts it."""
    work = Copies((60, "first"), (0.5, "copy"))
    pipeline = pipeline_of(work, breaker=Breaker(min_calls=1))
    result = await engine.run(pipeline)
    assert result.value == "copy"
    samples = engine._learning._learners._entries[KEY].history.samples()
    assert sorted(sample[1:] for sample in samples) == [(0.5, False), (1.5, True)]
    (breaker,) = engine.health().breakers
    assert (breaker.calls, breaker.failures, breaker.state) == (1, 0, "closed")


async def test_no_copy_while_the_slots_are_taken(autojump_clock, engine, told):
    """A copy needs a slot of the bulkhead like any call, and never waits for one."""
    work = Copies((3, "first"))
    await engine.run(pipeline_of(work, limit=1))
    assert ("suppressed", "saturated") in told
    assert len(work.calls) == 1
    work = Copies((30, "first"), (30, "copy"), unwinding=5)
    result = await engine.run(Pipeline("q", [node_of(work, limit=2, timeout=2, grace=1)]))
    assert (len(work.calls), result.elapsed) == (2, 3.0)
    assert [one.active for one in engine.health().bulkheads] == [0, 0]


async def test_a_loser_holds_its_slot_until_it_has_unwound(autojump_clock, engine):
    """The slot of the loser is free at the loser's end, not at the winner's."""
    work = Copies((60, "first"), (0.5, "copy"), unwinding=5)

    async def look(_):
        return engine.health().bulkheads[0].active

    pipeline = Pipeline("p", [sequence(node_of(work, limit=2), Node(look))])
    result = await engine.run(pipeline)
    assert (result.value, engine.health().bulkheads[0].active) == (1, 0)


async def test_no_copy_while_runs_wait_for_the_engine(autojump_clock):
    """An engine with a queue has better things to do than a second copy."""
    work = Copies((3, "first"))
    limits = Timeouts(node=None, pipeline=None)
    async with open_engine(max_concurrent_pipelines=1, timeouts=limits) as engine:
        runs = [engine.start(pipeline_of(work)) for _ in range(2)]
        for run in runs:
            await run.wait()
    assert work.calls == [(0.0, False), (3.0, False), (4.0, True)]


async def test_no_copy_while_the_breaker_is_not_closed(autojump_clock, engine, told):
    """A probe of a half-open breaker has no second copy."""
    work = Copies((0, ValueError("down")))
    pipeline = pipeline_of(work, breaker=Breaker(min_calls=1, open_for=5))
    await engine.run(pipeline)
    await trio.sleep(10)
    work.scripts[False] = (3, "up")
    result = await engine.run(pipeline)
    assert result.value == "up"
    assert ("suppressed", "breaker not closed") in told


async def test_no_copy_for_which_there_is_no_time(autojump_clock, engine, told):
    """A copy that will hardly be done in time is not sent."""
    work = Copies((4, "first"))
    pipeline = pipeline_of(work, Hedge(delay=5, max_extra=1), timeout=10)
    for _ in range(30):
        await engine.run(pipeline)
    work.scripts[False] = (60, "first")
    result = await engine.run(pipeline, timeout=8)
    assert (result.status, len(work.calls)) == ("timed_out", 31)


async def test_what_others_took_meanwhile_counts(autojump_clock, engine, told):
    """The time that a copy needs is asked for again when the timer goes off, as it is then known."""

    async def work(seconds):
        await trio.sleep(seconds)

    pipeline = pipeline_of(work, Hedge(delay=5, max_extra=1), timeout=10)
    engine.start(pipeline, 8)
    await trio.sleep(4)
    assert (await engine.run(pipeline, 60)).status == "timed_out"
    assert told.count(("suppressed", "too little time")) == 1


async def test_at_most_5_percent_get_a_copy(autojump_clock, engine, told):
    """Where everything is slow the budget of the hedge keeps the extra load at 5 %."""
    work = Copies((2, "first"), (5, "copy"))
    pipeline = pipeline_of(work, Hedge(delay=1), limit=2)
    for _ in range(200):
        await engine.run(pipeline)
        assert engine.health().bulkheads[0].active == 0
    copies = sum(hedge for _, hedge in work.calls)
    assert 9 <= copies <= 10
    assert ("suppressed", "budget empty") in told


async def test_retries_and_hedges_together_add_at_most_20_percent_in_an_outage(
    autojump_clock, engine
):
    """While everything hangs and fails, retries and copies draw from one pool, which earns nothing."""
    works = Copies((0.1, "value"))
    retry = Retry(attempts=5, backoff="10ms", factor=1)
    pipeline = pipeline_of(works, Hedge(delay=0.5, max_extra=1), retry=retry, attempt_timeout=1)
    async with trio.open_nursery() as nursery:
        for number in range(1500):
            if number == 500:
                works.scripts = {False: (0.9, ValueError()), True: (0.9, ValueError())}
                before = len(works.calls)
            nursery.start_soon(engine.run, pipeline)
            await trio.sleep(0.02)
    extra = len(works.calls) - before - 1000
    # The 500 successes have paid for 100; there are three more in each 10 s of the outage.
    assert 3 * 3 < sum(hedge for _, hedge in works.calls) < extra <= 100 + 3 * 3


async def test_a_copy_takes_a_token_of_the_retries(autojump_clock, engine):
    """A hedge is paid from the pool that the retries of the node draw from."""
    await engine.run(pipeline_of(Copies((10, "first"), (0.5, "copy"))))
    assert tokens(engine) == 3.0 - 1.0 + 0.2


async def test_each_share_has_tokens_of_its_own(autojump_clock, engine):
    """Nodes at one place that state another `max_extra` do not share what that allows."""
    work = Copies((2, "first"), (0.5, "copy"))
    frugal, lavish = (pipeline_of(work, Hedge(delay=1, max_extra=share)) for share in (0.01, 1))
    values = [(await engine.run(one)).value for one in (frugal, lavish, frugal)]
    assert values == ["first", "copy", "first"]


async def test_a_copy_that_was_refused_costs_nothing(autojump_clock, engine):
    """A copy for which there is no thread never started: the first goes on, and the token is back."""
    left = []

    async def work(_):
        if current().hedge:
            left.append(tokens(engine))
            raise WorkRefusedError("thread limit")
        await trio.sleep(3)
        return "first"

    result = await engine.run(pipeline_of(work))
    assert (result.value, result.node("work").secondary) == ("first", ())
    assert (left, tokens(engine)) == ([2.0], 3.2)


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_a_mode_that_cancels_nothing_hedges_nothing(autojump_clock, mode):
    """A copy that lost would have to be cut, so there is none."""
    work = Copies((5, "first"))
    async with open_engine(mode=mode) as engine:
        result = await engine.run(pipeline_of(work))
    assert (result.value, len(work.calls)) == ("first", 1)


# -- definitions ------------------------------------------------------------------------------


def test_a_hedge_asks_for_idempotent():
    """To do work twice that may not be done twice is refused where it is written down."""

    async def work(_): ...

    for idempotent in (None, False):
        with pytest.raises(DefinitionError, match="say idempotent=True if it may"):
            Node(work, hedge=Hedge(), idempotent=idempotent)
    with pytest.raises(DefinitionError, match="hedge= takes a Hedge such as"):
        Pipeline("p", [work], hedge=0.5)


async def test_an_inherited_hedge_is_for_the_idempotent(autojump_clock, engine):
    """A hedge of the pipeline holds for the nodes that say they may be done twice, but for None."""
    works = [Copies((2, "first"), (60, "copy")) for _ in range(3)]
    nodes = [
        Node(works[0], name="a", idempotent=True),
        Node(works[1], name="b"),
        Node(works[2], name="c", idempotent=True, hedge=None),
    ]
    await engine.run(Pipeline("p", [parallel(*nodes)], hedge=SOON))
    assert [len(work.calls) for work in works] == [2, 1, 1]


# -- with everything else ---------------------------------------------------------------------


async def test_items_are_hedged_one_by_one(autojump_clock, engine):
    """Each item of a list may have its own copy."""

    async def work(item):
        await trio.sleep(0.2 if current().hedge or item != 2 else 60)
        return item, current().hedge

    node = each(work, name="work", idempotent=True, hedge=SOON, max_parallel=3)
    result = await engine.run(Pipeline("p", [node]), [1, 2, 3])
    assert result.value == [(1, False), (2, True), (3, False)]
    assert result.elapsed == 1.2


async def test_many_items_leave_no_strands(autojump_clock, engine):
    """A run over a long list keeps nothing of copies that have ended."""

    async def work(_):
        await trio.sleep(0 if current().hedge else 1.5)

    async def look(_):
        return len(CURRENT.get().run.top.strands)

    node = each(work, name="work", idempotent=True, hedge=SOON, max_parallel=10)
    result = await engine.run(Pipeline("p", [Stage("s", [node]), Stage("t", [look])]), range(100))
    assert result.value <= 3


async def test_what_the_winner_saved_is_kept(autojump_clock, engine):
    """A partial value of the copies is the node's when it does not finish; the loser's is not."""

    async def work(_):
        save_partial("copy" if current().hedge else "first")
        await trio.sleep_forever()

    node = (await engine.run(pipeline_of(work, timeout=2))).node("work")
    assert node.partial in ("first", "copy")


async def test_runs_inside_a_loser_end_with_it(autojump_clock, engine):
    """A run that a loser waits for is cut with the loser, and nothing of it is left."""
    inner = []

    async def slow(_):
        try:
            await trio.sleep_forever()
        finally:
            inner.append(trio.current_time())

    async def work(_):
        if not current().hedge:
            await engine.run(Pipeline("inner", [slow]))
        return "copy"

    result = await engine.run(pipeline_of(work))
    assert (result.value, inner) == ("copy", [1.0])
    assert not engine.runs()


async def test_a_run_with_a_hedge_inside_a_node(autojump_clock, engine):
    """An inner run waits for its own losers."""
    work = Copies((60, "first"), (0.5, "copy"), unwinding=5)

    async def outer(_):
        return (await engine.run(pipeline_of(work))).elapsed

    result = await engine.run(Pipeline("outer", [outer]))
    assert (result.value, result.elapsed) == (1.75, 1.75)


async def test_the_context_of_the_caller_reaches_the_copies(autojump_clock, engine):
    """Both copies see the node's input and its place."""
    seen = []

    async def work(value):
        here = current()
        seen.append((value, here.input, here.node, here.attempt, here.hedge))
        await trio.sleep(0 if here.hedge else 60)

    await engine.run(pipeline_of(work), 7)
    assert seen == [(7, 7, "work", 1, False), (7, 7, "work", 1, True)]


async def test_a_thread_may_be_hedged(engine):
    """A plain function in a worker thread is hedged like any other; the loser's thread is let go."""
    import threading

    release = threading.Event()

    def work(_):
        if current().hedge:
            return "copy"
        release.wait(30)
        return "first"

    try:
        result = await engine.run(pipeline_of(work, Hedge(delay=0.01, max_extra=1, loser_grace=0)))
    finally:
        release.set()
    assert result.value == "copy"


def test_the_kind_of_a_superseded_copy():
    """The contract has a word for it."""
    assert Kind.SUPERSEDED == "superseded"


async def test_a_sibling_item_that_fails_leaves_no_copy_behind(autojump_clock, engine):
    """An item that fails while another is about to send a copy cuts both of its copies at once."""

    async def work(item):
        await trio.sleep({"bad": 0.5, "quick": 0.5, "slow": 60}[item])
        if item == "bad":
            raise ValueError("bad")

    node = each(
        work, name="work", idempotent=True, hedge=SOON, max_parallel=2, timeout=100, limit=2
    )
    for _ in range(30):
        result = await engine.run(Pipeline("p", [node]), ["bad", "quick", "slow"])
        assert (result.status, str(result.error), result.elapsed) == ("failed", "bad", 0.5)


@pytest.mark.filterwarnings("ignore::graceline.DefinitionWarning")  # it is the subject
async def test_no_copy_of_what_is_being_cut(autojump_clock, engine):
    """A first that exceeded its limit before the hedge point is for retry, however long it unwinds."""
    work = Copies((60, "first"), (60, "copy"), unwinding=0.5)
    options = {"attempt_timeout": 0.5, "retry": Retry(attempts=2, backoff=0), "timeout": 100}
    await engine.run(pipeline_of(work, Hedge(delay=0.75, max_extra=1), **options))
    assert work.calls == [(0.0, False), (1.0, False)]


async def test_a_run_with_a_hedge_is_gone_when_it_has_ended(autojump_clock, engine):
    """Its id is free, and nobody finds it, from the moment on at which its result is there."""
    pipeline = pipeline_of(Copies((0.5, "first")))
    for _ in range(20):
        run = engine.start(pipeline, run_id="x")
        await run.wait()
        assert engine.runs() == ()
        assert not await engine.cancel("x")


async def test_the_error_of_a_copy_that_is_cut_by_a_failing_policy(autojump_clock, engine):
    """Where a function of a policy raises, what the other copy raises as it is cut is kept."""
    unwinding = RuntimeError("unwinding")
    work = Copies((60, "first"), (0.5, KeyError("copy")), raises=unwinding)
    breaker = Breaker(ignore=lambda error: 1 / 0)
    node = (await engine.run(pipeline_of(work, breaker=breaker))).node("work")
    assert isinstance(node.error, ZeroDivisionError)
    assert {type(error) for error in node.secondary} == {KeyError, RuntimeError}
