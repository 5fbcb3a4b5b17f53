"""The deadline header at an engine: what goes out is what is left of the work, what comes in only shortens."""

import math
import threading

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline import (
    BlockingEngine,
    DeadlineSpentError,
    DefinitionError,
    GracelineError,
    Node,
    Pipeline,
    Retry,
    Stage,
    Timeouts,
    cleanup,
    current,
    each,
    incoming_budget,
    open_engine,
    outgoing_headers,
    parallel,
)
from graceline.definitions import Hedge
from graceline.resilience import Malformed, decode
from graceline.virtual import run_virtual

NAME = "grpc-timeout"
NO_LIMITS = Timeouts(node=None, pipeline=None, grace=30)
EMPTY = "the header is left out"


def told():
    """The seconds that a call made here would hand on, or what there is instead."""
    try:
        headers = outgoing_headers()
    except DeadlineSpentError:
        return DeadlineSpentError
    return decode(headers[NAME]) if headers else EMPTY


def pipeline_of(work, **options):
    return Pipeline("p", [Node(work, name="work", **options)])


# -- out --------------------------------------------------------------------------------------


async def test_out_goes_what_is_left_of_the_innermost_deadline(autojump_clock, engine):
    """Of run, stage, node, item and `engine.deadline()` the earliest counts, at the time of the call."""
    seen = []

    async def work(_):
        for seconds in (1, 0.5):
            await trio.sleep(seconds)
            seen.append(told())
        async with engine.deadline("inner", 0.25):
            seen.append(told())
        async with engine.deadline("inner", 90):
            seen.append(told())

    await engine.run(Pipeline("p", [Stage("s", [Node(work, timeout=8)], timeout=9)], timeout=10))
    assert seen == [7, 6.5, 0.25, 6.5]
    seen.clear()
    await engine.run(Pipeline("p", [Stage("s", [work], timeout=9)], timeout=10), budget=5)
    assert seen == [4, 3.5, 0.25, 3.5]
    seen.clear()
    await engine.run(Pipeline("p", [each(work, item_timeout=3)], timeout=10), ["item"])
    assert seen == [2, 1.5, 0.25, 1.5]


async def test_each_attempt_hands_on_its_own_time(autojump_clock, engine):
    """It is computed for every call: an attempt has its own limit, the last one what the node has left."""
    seen = []

    async def work(_):
        seen.append(told())
        await trio.sleep_forever()

    retry = Retry(attempts=3, backoff=0)
    result = await engine.run(pipeline_of(work, timeout=5, attempt_timeout=2, retry=retry))
    assert result.status == "timed_out"
    assert seen == [2, 2, 1]


async def test_without_a_limit_there_is_no_header(autojump_clock, engine):
    """Nothing is limited, or limits cut nothing, as in the modes `observe` and `off`."""

    async def work(_):
        return told()

    assert (await engine.run(pipeline_of(work))).value == EMPTY
    for mode in ("observe", "off"):
        async with open_engine(mode=mode) as free:
            assert (await free.run(pipeline_of(work, timeout=5))).value == EMPTY


async def test_the_name_can_be_chosen(autojump_clock, engine):
    """What services have agreed on is written and read under their own name."""

    async def work(_):
        return outgoing_headers("X-Deadline")

    headers = (await engine.run(pipeline_of(work, timeout=5))).value
    assert headers == {"X-Deadline": "5000000u"}
    assert incoming_budget(headers, "x-deadline") == 5
    assert incoming_budget(headers) is None


def test_outside_of_a_run_there_is_nothing_to_hand_on():
    """As for `remaining()`, that is an error."""
    with pytest.raises(GracelineError, match=r"^outgoing_headers\(\) works only inside a run"):
        outgoing_headers()


@pytest.mark.parametrize("name", ["", "bad header", "a:b", "grpc-timeout\r\n", "ä", b"x", 3, None])
@pytest.mark.parametrize(
    "call", [outgoing_headers, lambda name: incoming_budget({"host": "x"}, name)]
)
def test_what_cannot_be_the_name_of_a_header(call, name):
    """Nothing is written into a request that would break it, and nothing looked for that never comes."""
    with pytest.raises(DefinitionError, match=r"^\w+\(\): .* cannot be the name of a header"):
        call(name)


async def test_never_omitted_when_expired(autojump_clock, engine):
    """Whoever asks too late gets an error instead of a header, so that no call is made without one."""
    calls = []

    async def work(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        headers = outgoing_headers()
        calls.append(headers)

    result = await engine.run(pipeline_of(work, timeout=1))
    node = result.node("work")
    assert (node.status, node.blame.level, calls) == ("timed_out", "node", [])
    assert [type(error) for error in node.secondary] == [DeadlineSpentError]


async def test_expired_at_its_very_instant(autojump_clock, engine):
    """The instant of the deadline itself is too late, and an attempt that is cut so is tried again."""
    seen = []

    async def work(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        seen.append(told())
        outgoing_headers()

    retry = Retry(attempts=2, backoff=0)
    result = await engine.run(pipeline_of(work, timeout=9, attempt_timeout=1, retry=retry))
    assert (result.status, result.node("work").attempts) == ("timed_out", 2)
    assert seen == [DeadlineSpentError] * 2


async def test_the_error_says_what_to_do(autojump_clock, engine):
    """It names the header, and how a call of cleanup is made."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                outgoing_headers("X-Deadline")

    node = (await engine.run(pipeline_of(work, timeout=1))).node("work")
    assert node.status == "timed_out"
    (error,) = node.secondary
    assert "nothing is left of the deadline that 'X-Deadline' would hand on" in str(error)
    assert "made without this header, within its cleanup() block" in str(error)


# -- grace is never handed on -------------------------------------------------------------------


def at_cleanup(seen):
    async def work(_):
        try:
            await trio.sleep(60)
        finally:
            with cleanup():
                await trio.sleep(0.1)
                seen.append(told())

    return work


async def fail_soon(_):
    await trio.sleep(0.5)
    raise ValueError


@pytest.mark.parametrize("cause", ["timeout", "user", "shutdown", "caller", "sibling", "own scope"])
@pytest.mark.parametrize("policies", [{}, {"retry": Retry(attempts=2)}])
async def test_grace_is_never_handed_on(autojump_clock, cancelled_after, cause, policies):
    """Whoever ended the work: inside its cleanup block there is nothing left to hand on."""
    seen = []
    work = at_cleanup(seen)

    async def scoped(_):
        with trio.move_on_after(0.5):
            await work(_)

    nodes = [Node(scoped if cause == "own scope" else work, name="work", **policies)]
    nodes += [Node(fail_soon, retry=None)] if cause == "sibling" else []
    stage = Stage("s", parallel(*nodes), **policies)
    pipeline = Pipeline("p", [stage], timeout=0.5 if cause == "timeout" else 50)
    async with open_engine(timeouts=NO_LIMITS) as engine:
        if cause == "caller":
            await cancelled_after(0.5, engine.run, pipeline)
        else:
            run = engine.start(pipeline)
            await trio.sleep(0.5)
            if cause == "user":
                run.cancel()
            elif cause == "shutdown":
                engine.cancel_all("the end")
            await run.wait()
    assert seen == [DeadlineSpentError]


async def test_the_loser_of_a_hedge_hands_on_nothing(autojump_clock, engine):
    """Each copy has the time of its attempt, and the one that was too slow has none for its cleanup."""
    seen = {}

    async def work(_):
        copy = current().hedge
        seen[copy] = [told()]
        try:
            await trio.sleep(0 if copy else 60)
        finally:
            with cleanup():
                seen[copy].append(told())

    hedge = Hedge(delay=1, max_extra=1)
    pipeline = pipeline_of(work, timeout=10, attempt_timeout=4, idempotent=True, hedge=hedge)
    assert (await engine.run(pipeline)).status == "ok"
    assert seen == {False: [4, DeadlineSpentError], True: [4, 1]}


async def test_cleanup_in_time_hands_on_at_most_its_own(autojump_clock, engine):
    """A block before any cancel has less than the work: it is cut, and nobody waits any longer."""

    async def work(_):
        with cleanup():
            return told()

    long = await engine.run(pipeline_of(work, timeout=50, grace=3))
    short = await engine.run(pipeline_of(work, timeout=2, grace=3))
    assert (long.value, short.value) == (3, 2)


async def test_handlers_hand_on_nothing_after_a_timeout(autojump_clock, engine):
    """A handler given as `on_cleanup=` has the grace of its level, and no work."""
    seen = []

    async def handler(_):
        seen.append(told())

    await engine.run(pipeline_of(trio.sleep, timeout=1, grace=3, on_cleanup=handler), 9)
    await engine.run(pipeline_of(trio.sleep, timeout=10, grace=3, on_cleanup=handler), 9)
    assert seen == [DeadlineSpentError, 1]


async def test_work_goes_on_after_a_scope_of_its_own(autojump_clock, engine):
    """A cancel that the work has absorbed after a cleanup block ends nothing."""

    async def work(_):
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    pass
        return told()

    assert (await engine.run(pipeline_of(work, timeout=5))).value == 4


# -- threads and processes ----------------------------------------------------------------------


@pytest.mark.parametrize("runs_on", ["thread", "process"])
async def test_workers_hand_on_what_is_left(runs_on):
    """In a worker thread and a worker process it is what it would be in the event loop."""
    async with open_engine(timeouts=NO_LIMITS) as engine:
        pipeline = pipeline_of(outgoing_headers, runs_on=runs_on, timeout=50)
        headers = (await engine.execute(pipeline, "x-deadline")).items()
        unlimited = pipeline_of(outgoing_headers, runs_on=runs_on)
        nothing = await engine.execute(unlimited, "x-deadline")
    ((name, text),) = headers
    assert name == "x-deadline"
    assert 0 < decode(text) <= 50
    assert nothing == {}


async def test_an_abandoned_thread_makes_no_call():
    """A thread that goes on after its node's deadline gets an error in place of a header."""
    started, go, ended, seen = threading.Event(), threading.Event(), threading.Event(), []

    def work(_):
        started.set()
        go.wait(60)
        seen.append(told())
        ended.set()

    async with open_engine(timeouts=NO_LIMITS) as engine:
        try:
            while not started.is_set():  # a machine may be too busy to start it in time
                result = await engine.run(pipeline_of(work, timeout=0.5, grace=0))
        finally:
            go.set()
        assert ended.wait(60)
    assert result.status == "timed_out"
    assert set(seen) == {DeadlineSpentError}


# -- in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Grpc-Timeout": "250m", "Host": "x"},
        {b"grpc-timeout": b"250m"},
        [(b"host", b"x"), (b"GRPC-TIMEOUT", b"250m")],
        [("grpc-timeout", "250m")],
        iter([("grpc-timeout", "250m")]),
    ],
)
def test_headers_of_any_framework(headers):
    """A mapping or pairs, text or bytes, in any case."""
    assert incoming_budget(headers) == 0.25


def test_an_absent_header_says_nothing():
    """Then a run has its own limits."""
    assert incoming_budget({"host": "x"}) is None
    assert incoming_budget([]) is None


@pytest.mark.parametrize(
    "headers",
    [
        {NAME: "soon"},
        {NAME: ""},
        {NAME: "inf"},
        {NAME: "-1S"},
        [(NAME, b"\xff")],
        [(NAME, "1S"), (NAME, "1S")],
        [(NAME, "1S"), (NAME.title(), "soon")],
    ],
)
def test_a_malformed_header_is_no_number(headers):
    """So is one that comes twice, as frameworks join the two or not."""
    assert isinstance(incoming_budget(headers), Malformed)


@pytest.mark.parametrize("value", ["250m", b"250m", None, 5, 0.25])
def test_a_value_in_place_of_headers(value):
    """The message says what to write for a single value."""
    with pytest.raises(DefinitionError, match=r"takes all headers .* incoming_budget\(\{'grpc-"):
        incoming_budget(value)


@pytest.mark.parametrize("pair", [("a",), ("a", "b", "c"), "ab", 5, (5, "x"), (None, "x")])
def test_what_is_no_header(pair):
    """A list of something else is refused with what stood in it."""
    with pytest.raises(DefinitionError, match=r"takes a mapping or pairs .*, and .* is none$"):
        incoming_budget([("host", "x"), pair])


@pytest.mark.parametrize("value", [5, 0.25, None, ["250m"]])
def test_the_value_of_the_header_is_as_it_came(value):
    """A number would have no unit; what other headers hold is not looked at."""
    with pytest.raises(DefinitionError, match=r"the value of 'grpc-timeout' is text or bytes"):
        incoming_budget({NAME: value})
    assert incoming_budget({"x-other": value, NAME: "250m"}) == 0.25


@pytest.mark.parametrize("headers", [{NAME: "250m"}, [(NAME, "250m")], ((NAME, "250m"),)])
async def test_headers_in_place_of_a_budget(autojump_clock, engine, headers):
    """The message names the function that reads them."""
    with pytest.raises(DefinitionError, match=r"headers; write budget=incoming_budget\(headers\)"):
        await engine.run(pipeline_of(trio.sleep), 0, budget=headers)


async def test_malformed_is_counted_and_ignored(autojump_clock, engine, caplog):
    """The run keeps the limits that it has without; health counts, and the log is told once."""
    budget = incoming_budget({NAME: "secret" * 1000})
    hang = pipeline_of(trio.sleep, timeout=5)
    for result in (
        await engine.run(hang, math.inf, budget=budget),
        await engine.run(hang, math.inf, timeout=3, budget=budget),
        await engine.start(hang, math.inf, budget=budget).wait(),
    ):
        assert (result.status, result.elapsed) == ("timed_out", 3 if result.limit == 3 else 5)
    result = await engine.run(pipeline_of(trio.sleep), 0, budget=budget)
    assert (result.status, result.limit) == ("ok", None)
    assert engine.health().malformed_headers == 4
    (record,) = [one for one in caplog.records if one.name == "graceline.header"]
    assert (record.levelname, record.event_type, record.lane, record.length) == (
        "WARNING", "malformed_header", "default", 6000,
    )  # fmt: skip
    assert "secret" not in repr(vars(record)) + record.getMessage()


async def test_what_is_said_is_not_counted_as_malformed(autojump_clock, engine):
    """Neither an absent header nor a spent one, nor a budget that was no header."""
    for budget in (None, 0.0, "1s", incoming_budget({NAME: "1S"})):
        await engine.run(pipeline_of(trio.sleep), 0, budget=budget)
    assert engine.health().malformed_headers == 0


def test_malformed_is_counted_in_a_blocking_engine():
    """Threads hand in budgets in the same way."""
    with BlockingEngine(timeouts=NO_LIMITS) as engine:
        assert engine.run(pipeline_of(abs), -1, budget=incoming_budget({NAME: "soon"})).value == 1
        assert engine.health().malformed_headers == 1


async def test_who_comes_too_late_is_not_served(autojump_clock, engine):
    """A spent deadline is a limit like any other: nothing is called."""
    calls = []

    async def work(_):
        calls.append(1)

    result = await engine.run(pipeline_of(work), budget=incoming_budget({NAME: "0n"}))
    assert (result.status, result.blame.source, calls) == ("timed_out", "header", [])


# -- both ---------------------------------------------------------------------------------------


@settings(max_examples=60, derandomize=True, database=None, deadline=None)
@given(
    st.lists(st.floats(1e-3, 1e4) | st.none(), min_size=2, max_size=5),
    st.floats(1e-3, 1e4),
    st.floats(0, 1e-4),
)
def test_only_shortens(limits, patience, delay):
    """Through a chain of services, each with a limit or none: nobody gets more than the one before."""
    seen = []

    async def serve(engine, left, headers):
        pipeline = pipeline_of(call, timeout=left[0])
        # Not a nested run: all that the service knows of the one before is the header.
        run = engine.start(pipeline, (engine, left[1:]), budget=incoming_budget(headers))
        await run.wait()

    async def call(order):
        engine, left = order
        await trio.sleep(delay)
        headers = outgoing_headers()
        seen.append((trio.current_time(), decode(headers[NAME])))
        if left:
            await serve(engine, left, headers)

    async def main():
        begun = trio.current_time()
        async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=None) as engine:
            await serve(engine, limits, {NAME: f"{math.floor(patience * 1000)}m"})
        return begun

    begun = run_virtual(main)
    granted = patience
    assert seen
    for at, left in seen:
        assert 0 < left <= granted
        assert at + left <= begun + patience + 1e-9
        granted = left
