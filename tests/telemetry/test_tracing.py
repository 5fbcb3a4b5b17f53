"""Spans: one for each part that runs, in the right place, and with what it came to."""

import gc
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from importlib import import_module

import pytest
import trio
from opentelemetry import context, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider, StatusCode
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from graceline import (
    CircuitOpenError,
    DefinitionError,
    Hedge,
    Metrics,
    Node,
    Pipeline,
    Retry,
    Stage,
    Timeouts,
    choose,
    current,
    each,
    open_engine,
    parallel,
    sequence,
)
from graceline.telemetry import tracing
from graceline.telemetry.tracing import Tracing
from graceline.work import WorkRefusedError

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=1.0)
TWICE = Retry(attempts=2, backoff=0)
SOON = Hedge(delay=1, max_extra=1)


class Spans:
    """What a provider has made: the spans that have ended, and how many have not."""

    def __init__(self, **options):
        self.exporter = InMemorySpanExporter()
        self.open = 0
        self.provider = TracerProvider(**options)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.provider.add_span_processor(Counter(self))
        self.tracer = self.provider.get_tracer("user")

    @property
    def ended(self):
        return self.exporter.get_finished_spans()

    def of(self, name):
        """The one span of this name."""
        [found] = self.all_of(name)
        return found

    def all_of(self, name):
        return [span for span in self.ended if span.name == name]

    def parent(self, span):
        """The name of the span above one, None for a root."""
        if span.parent is None:
            return None
        names = {one.context.span_id: one.name for one in self.ended}
        return names.get(span.parent.span_id, "another process")

    def tree(self):
        """Each span with that above it, in the order of their starts."""
        ordered = sorted(self.ended, key=lambda span: (span.start_time, span.context.span_id))
        return {(span.name, self.parent(span)) for span in ordered}


class Counter(SpanProcessor):
    """Counts the spans that have started and have not ended."""

    def __init__(self, spans):
        self.spans = spans

    def on_start(self, span, parent_context=None):
        self.spans.open += 1

    def on_end(self, span):
        self.spans.open -= 1


class Wanting(list):
    """A sink that wants a trace, and keeps it."""

    inline = True

    def wants_trace(self):
        return True

    def __call__(self, event):
        self.append(event)


@pytest.fixture
def spans():
    """A provider; when the test ends every span has ended, and none is the current one."""
    spans = Spans()
    yield spans
    assert spans.open == 0
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.fixture
async def engine(autojump_clock, spans):
    async with open_engine(
        timeouts=NO_LIMITS, max_concurrent_pipelines=None, sinks=[Tracing(spans.provider)]
    ) as engine:
        yield engine
        assert trace.get_current_span() is trace.INVALID_SPAN


def runs_kept():
    """What sinks hold of runs."""
    gc.collect()
    return [kept for kept in gc.get_objects() if isinstance(kept, tracing._Run)]


async def add(value):
    await trio.sleep(1)
    return value + 1


def user(spans, name, seconds=1, error=None):
    """Work that makes a span of its own around a sleep."""

    async def work(value):
        with spans.tracer.start_as_current_span(f"in {name}"):
            await trio.sleep(seconds)
        if error is not None:
            raise error
        return value

    return Node(work, name=name)


# -- the tree -------------------------------------------------------------------------------------


async def test_one_span_per_part(autojump_clock, engine, spans):
    """Pipeline, stages and nodes have a span each, below that of what holds them."""
    stages = [Stage("s", sequence(add, Node(add, name="b"))), Stage("t", [Node(add, name="c")])]
    assert (await engine.run(Pipeline("p", stages), 1)).value == 4
    assert spans.tree() == {
        ("pipeline p", None),
        ("stage s", "pipeline p"),
        ("node add", "stage s"),
        ("node b", "stage s"),
        ("stage t", "pipeline p"),
        ("node c", "stage t"),
    }
    assert len(spans.ended) == 6


async def test_what_the_work_does_is_below_its_node(autojump_clock, engine, spans):
    """A span that a node makes is below that of the node, also where nodes run at once."""
    names = ["a", "b", "c"]
    graph = sequence(parallel(*(user(spans, name) for name in names)), user(spans, "d"))
    assert (await engine.run(Pipeline("p", [Stage("s", graph)]))).ok
    made = {(name, parent) for name, parent in spans.tree() if name.startswith("in ")}
    assert made == {(f"in {name}", f"node {name}") for name in [*names, "d"]}


async def test_what_the_attempts_do_is_below_them(autojump_clock, engine, spans):
    """A node with policies has a span for each attempt, and its spans are below these."""
    calls = []

    async def work(_):
        calls.append(None)
        with spans.tracer.start_as_current_span(f"call {len(calls)}"):
            await trio.sleep(1)
        if len(calls) == 1:
            raise ValueError

    node = Node(work, name="n", retry=Retry(attempts=2, backoff=3), attempt_timeout=9)
    assert (await engine.run(Pipeline("p", [Stage("s", [node])]))).ok
    first, second = spans.all_of("attempt n")
    assert [spans.parent(one) for one in (first, second)] == ["node n", "node n"]
    for call, attempt in (("call 1", first), ("call 2", second)):
        assert spans.of(call).parent.span_id == attempt.context.span_id
    assert (first.status.status_code, first.attributes["error.type"]) == (
        StatusCode.ERROR, "ValueError",
    )  # fmt: skip
    delay = first.attributes["graceline.retry_delay_seconds"]
    assert (second.attributes["graceline.attempt"], second.status.status_code) == (
        2, StatusCode.UNSET,
    )  # fmt: skip
    assert second.attributes["graceline.retry_stop"] == "ok"
    assert second.start_time - first.end_time == pytest.approx(delay * 1e9, abs=10)


async def test_between_attempts_the_node_is_current(autojump_clock, engine, spans):
    """What is asked of a policy or a handler belongs to the node, and not to an attempt."""

    def look(place):
        spans.tracer.start_span(f"at {place}").end()

    async def fails(_):
        raise ValueError

    node = Node(
        fails, name="n", retry=TWICE, when=lambda _: look("when") or True,
        on_cleanup=lambda _: look("handler"), critical=False, fallback=lambda _: look("fallback"),
    )  # fmt: skip
    stage = Stage("s", [node], on_cleanup=lambda _: look("handler of s"))
    pipeline = Pipeline("p", [stage], on_cleanup=lambda _: look("handler of p"))
    assert (await engine.run(pipeline)).degraded == ("n",)
    assert {entry for entry in spans.tree() if entry[0].startswith("at ")} == {
        ("at when", "stage s"),
        ("at handler", "node n"),
        ("at fallback", "node n"),
        ("at handler of s", "stage s"),
        ("at handler of p", "pipeline p"),
    }


async def test_alternatives_have_spans(autojump_clock, engine, spans):
    """The alternatives of a choice stand between the node and their attempts."""
    one = Node(fails_with(ValueError()), name="one", retry=TWICE)
    node = choose(one, user(spans, "two"), name="pick")
    assert (await engine.run(Pipeline("p", [Stage("s", [node])]))).ok
    assert spans.tree() == {
        ("pipeline p", None),
        ("stage s", "pipeline p"),
        ("node pick", "stage s"),
        ("alternative pick.one", "node pick"),
        ("attempt pick.one", "alternative pick.one"),
        ("alternative pick.two", "node pick"),
        ("in two", "alternative pick.two"),
    }
    failed, chosen = spans.of("alternative pick.one"), spans.of("alternative pick.two")
    assert failed.attributes["error.type"] == "ValueError"
    assert (chosen.attributes["graceline.alternative"], chosen.status.status_code) == (
        "two", StatusCode.UNSET,
    )  # fmt: skip
    assert len(spans.all_of("attempt pick.one")) == 2


def fails_with(error, seconds=1):
    async def work(_):
        await trio.sleep(seconds)
        raise error

    return work


async def test_items_at_once_keep_apart(autojump_clock, engine, spans):
    """Items of a list run at once: what one does is below its own attempt."""

    async def work(item):
        await trio.sleep(item % 2)
        with spans.tracer.start_as_current_span(f"item {item}"):
            await trio.sleep(1)

    node = each(Node(work, name="n", retry=TWICE, attempt_timeout=9), max_parallel=3)
    assert (await engine.run(Pipeline("p", [Stage("s", [node])]), [0, 1, 2, 3])).ok
    attempts = {
        span.context.span_id: span.attributes["graceline.item_index"]
        for span in spans.all_of("attempt n")
    }
    assert sorted(attempts.values()) == [0, 1, 2, 3]
    for item in range(4):
        assert attempts[spans.of(f"item {item}").parent.span_id] == item
    assert {spans.parent(one) for one in spans.all_of("attempt n")} == {"node n"}


async def test_items_without_policies_belong_to_the_node(autojump_clock, engine, spans):
    """An item has no span of its own."""

    async def work(item):
        spans.tracer.start_span(f"item {item}").end()

    node = each(Node(work, name="n"), max_parallel=2)
    assert (await engine.run(Pipeline("p", [Stage("s", [node])]), [0, 1])).ok
    assert {("item 0", "node n"), ("item 1", "node n")} < spans.tree()


async def test_both_copies_of_an_attempt_have_spans(autojump_clock, engine, spans):
    """The second copy is below the node too, and the one that lost ends late, and without an error."""

    async def work(_):
        with spans.tracer.start_as_current_span("second" if current().hedge else "first"):
            try:
                await trio.sleep(0.5 if current().hedge else 10)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.25)
        return 1

    node = Node(work, name="n", idempotent=True, hedge=SOON)
    after = Node(add, name="after")
    assert (await engine.run(Pipeline("p", [Stage("s", sequence(node, after))]))).ok
    slow, fast = sorted(spans.all_of("attempt n"), key=lambda one: one.start_time)
    assert [one.attributes["graceline.hedge"] for one in (slow, fast)] == [False, True]
    assert spans.of("first").parent.span_id == slow.context.span_id
    assert spans.of("second").parent.span_id == fast.context.span_id
    assert (slow.attributes["graceline.status"], slow.status.status_code) == (
        "cancelled", StatusCode.UNSET,
    )  # fmt: skip
    assert slow.attributes["graceline.blamed_kind"] == "superseded"
    assert slow.end_time == spans.of("node n").end_time + 250_000_000


async def test_a_run_inside_a_node_is_below_it(autojump_clock, engine, spans):
    """The pipeline's span of a nested run is below the node or the attempt that runs it."""
    inner = Pipeline("inner", [Stage("i", [user(spans, "deep")])])

    async def work(value):
        return (await engine.run(inner, value)).value

    node = Node(work, name="n", retry=TWICE, attempt_timeout=9)
    assert (await engine.run(Pipeline("p", [Stage("s", [node, Node(work, name="m")])]), 1)).ok
    below = {spans.parent(one) for one in spans.all_of("pipeline inner")}
    assert below == {"attempt n", "node m"}
    assert len({span.context.trace_id for span in spans.ended}) == 1
    outer = spans.of("pipeline p")
    for one in spans.all_of("pipeline inner"):
        assert outer.start_time <= one.start_time < one.end_time <= outer.end_time


async def test_a_started_run_is_below_its_starter(autojump_clock, engine, spans):
    """`engine.start` gives the run the context of whoever starts it."""
    with spans.tracer.start_as_current_span("request"):
        run = engine.start(Pipeline("p", [add]), 1)
    assert (await run.wait()).ok
    assert spans.parent(spans.of("pipeline p")) == "request"


async def test_background_tasks_keep_the_context(autojump_clock, engine, spans):
    """What a node leaves running goes on below it, when the node and the run have ended."""
    async with trio.open_nursery() as nursery:

        async def later():
            await trio.sleep(10)
            spans.tracer.start_span("later").end()

        async def work(_):
            nursery.start_soon(later)
            await trio.sleep(1)

        # The context is that of the task that starts it: this one, in the node.
        assert (await engine.run(Pipeline("p", [Node(work, name="n")]))).ok
    assert spans.parent(spans.of("later")) == "node n"


# -- what a span says -------------------------------------------------------------------------


async def test_attributes(autojump_clock, engine, spans):
    """Limit, source, what was left at the start, objective and place are attributes."""
    node = Node(add, name="n", timeout=3.5, critical=False, slo=0.5)
    stage = Stage("s", sequence(Node(add, name="m"), node), timeout=4, slo=2)
    await engine.run(Pipeline("p", [stage], timeout=8, slo=3), 1, run_id="r")
    where = {"graceline.run_id": "r", "graceline.lane": "default", "graceline.pipeline": "p"}
    assert dict(spans.of("pipeline p").attributes) == where | {
        "graceline.level": "pipeline",
        "graceline.status": "ok",
        "graceline.limit_seconds": 8.0,
        "graceline.limit_source": "pipeline",
        "graceline.remaining_seconds": 8.0,
        "graceline.slo_seconds": 3.0,
        "graceline.queued_seconds": 0.0,
        "graceline.completed": 2,
    }
    where["graceline.stage"] = "s"
    assert dict(spans.of("stage s").attributes) == where | {
        "graceline.level": "stage",
        "graceline.status": "ok",
        "graceline.critical": True,
        "graceline.limit_seconds": 4.0,
        "graceline.limit_source": "stage",
        "graceline.remaining_seconds": 4.0,
        "graceline.slo_seconds": 2.0,
    }
    assert dict(spans.of("node n").attributes) == where | {
        "graceline.level": "node",
        "graceline.node": "n",
        "graceline.status": "ok",
        "graceline.critical": False,
        "graceline.limit_seconds": 3.5,
        "graceline.limit_source": "node",
        "graceline.remaining_seconds": 3.0,
        "graceline.slo_seconds": 0.5,
        "graceline.attempts": 1,
    }
    assert "graceline.limit_seconds" not in spans.of("node m").attributes


async def test_times_are_those_of_the_run(autojump_clock, engine, spans):
    """Spans begin and end when the events say, on the clock of the epoch; virtual time included."""
    before = time.time_ns()
    await engine.run(Pipeline("p", [Stage("s", sequence(add, Node(add, name="b")))]), 1)
    pipeline, first, second = (spans.of(n) for n in ("pipeline p", "node add", "node b"))
    assert before <= pipeline.start_time <= time.time_ns()
    assert pipeline.end_time - pipeline.start_time == 2_000_000_000
    assert (first.start_time, first.end_time) == (
        pipeline.start_time, pipeline.start_time + 1_000_000_000,
    )  # fmt: skip
    assert (second.start_time, second.end_time) == (first.end_time, pipeline.end_time)


async def test_the_time_in_the_queue_is_part_of_it(autojump_clock, spans):
    """A pipeline's span begins at its submission."""
    async with open_engine(
        timeouts=NO_LIMITS, max_concurrent_pipelines=1, sinks=[Tracing(spans.provider)]
    ) as engine:
        async with trio.open_nursery() as nursery:
            for name in ("p", "q"):
                nursery.start_soon(engine.run, Pipeline(name, [add]), 1)
    pipelines = [span for span in spans.ended if span.name.startswith("pipeline")]
    _, second = sorted(pipelines, key=lambda one: one.end_time)
    assert second.end_time - second.start_time == 2_000_000_000
    assert second.attributes["graceline.queued_seconds"] == 1


@pytest.mark.parametrize(
    ("level", "error"),
    [
        ("node", "NodeTimeoutError"),
        ("stage", "StageTimeoutError"),
        ("pipeline", "PipelineTimeoutError"),
        ("attempt", "AttemptTimeoutError"),
    ],
)
async def test_a_timeout_is_an_error(autojump_clock, engine, spans, level, error):
    """Whatever was cut has the class of the error that names the level to blame, and its facts."""
    limits = {name: 5 if name == level else None for name in ("node", "stage", "pipeline")}
    attempt = {"attempt_timeout": 5} if level == "attempt" else {}
    node = Node(trio.sleep, name="n", timeout=limits["node"], grace=3, **attempt)
    stage = Stage("s", [node], timeout=limits["stage"])
    await engine.run(Pipeline("p", [stage], timeout=limits["pipeline"]), 9)
    names = ["pipeline p", "stage s", "node n", *(["attempt n"] if attempt else [])]
    for span in map(spans.of, names):
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert span.attributes["error.type"] == error
        assert span.attributes["graceline.status"] == "timed_out"
        assert span.attributes["graceline.blamed_level"] == level
        assert span.attributes["graceline.blamed_kind"] == "timeout"
    assert spans.of("node n").attributes["graceline.blamed_name"] == {
        "stage": "s", "pipeline": "p",
    }.get(level, "n")  # fmt: skip


@pytest.mark.parametrize("level", ["alternative", "item"])
async def test_a_part_of_a_node_that_timed_out_is_an_error_of_the_node(
    autojump_clock, engine, spans, level
):
    """The limit of an alternative, or of an item, has the class of the error of a node."""
    if level == "alternative":
        node = choose(*(Node(trio.sleep, name=name, timeout=5) for name in "ab"), name="n")
    else:
        node = each(Node(trio.sleep, name="n"), item_timeout=5)
    await engine.run(Pipeline("p", [Stage("s", [node])]), [9] if level == "item" else 9)
    assert {span.attributes["graceline.blamed_level"] for span in spans.ended} == {level}
    assert {span.attributes["error.type"] for span in spans.ended} == {"NodeTimeoutError"}
    assert len(spans.ended) == (5 if level == "alternative" else 3)


async def test_a_failure_is_an_error(autojump_clock, engine, spans):
    """Each part that it ends has the class of what was raised, and nothing of its text or the input."""
    node = Node(fails_with(KeyError("secret")), name="n", retry=TWICE)
    await engine.run(Pipeline("p", [Stage("s", [node])]), "secret")
    assert not any("secret" in span.to_json() for span in spans.ended)
    for span in map(spans.of, ("pipeline p", "stage s", "node n")):
        assert (span.status.status_code, span.attributes["error.type"]) == (
            StatusCode.ERROR, "KeyError",
        )  # fmt: skip
        assert span.events == ()


async def test_what_the_run_goes_on_without_does_not_make_it_an_error(
    autojump_clock, engine, spans
):
    """A degraded run is no error; the part is one."""
    node = Node(fails_with(KeyError("x")), name="n", critical=False)
    await engine.run(Pipeline("p", [Stage("s", [node])]))
    assert spans.of("pipeline p").status.status_code is StatusCode.UNSET
    assert spans.of("pipeline p").attributes["graceline.degraded"] == ("n",)
    assert spans.of("node n").status.status_code is StatusCode.ERROR


async def test_late_and_unwinding_are_told(autojump_clock, engine, spans):
    """Seconds past the limit, and of the grace period, are attributes; a late value is no error."""

    async def late(value):
        with trio.CancelScope(shield=True):
            await trio.sleep(7)
        return value

    async def unwinds(_):
        try:
            await trio.sleep(100)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)

    nodes = sequence(
        Node(late, name="late", timeout=5), Node(unwinds, name="cut", timeout=5, critical=False)
    )
    await engine.run(Pipeline("p", [Stage("s", nodes)]))
    late, cut = spans.of("node late"), spans.of("node cut")
    assert (late.attributes["graceline.status"], late.status.status_code) == (
        "late", StatusCode.UNSET,
    )  # fmt: skip
    assert late.attributes["graceline.overrun_seconds"] == 2
    assert cut.attributes["graceline.grace_used_seconds"] == 0.5


@pytest.mark.parametrize("by", ["user", "shutdown", "caller"])
async def test_a_cancel_is_no_error(autojump_clock, engine, spans, by):
    """Whoever cancels a run has not made it fail, and its reason is not recorded."""
    with trio.CancelScope() as scope:
        run = engine.start(Pipeline("p", [Node(trio.sleep, name="n")]), 9)
        async with trio.open_nursery() as nursery:
            if by == "caller":
                nursery.start_soon(engine.run, Pipeline("q", [Node(trio.sleep, name="m")]), 9)
            await trio.sleep(1)
            if by != "shutdown":
                run.cancel("secret reason")
            else:
                engine.cancel_all("secret reason")
            scope.cancel()
    await run.wait()
    for span in spans.ended:
        assert span.status.status_code is StatusCode.UNSET
        assert span.attributes["graceline.status"] == "cancelled"
        assert "error.type" not in span.attributes
        assert "secret" not in span.to_json()
    kinds = {span.attributes["graceline.blamed_kind"] for span in spans.ended}
    assert by in kinds


async def test_siblings_of_what_failed_are_no_errors(autojump_clock, engine, spans):
    """What fail-fast cancels was no fault of its own."""
    await engine.run(
        Pipeline("p", [Stage("s", parallel(Node(fails_with(ValueError(), 0.5), name="n"), add))]), 1
    )
    assert spans.of("node add").attributes["graceline.blamed_kind"] == "sibling_failed"
    assert spans.of("node add").status.status_code is StatusCode.UNSET
    for name in ("node n", "stage s", "pipeline p"):
        assert spans.of(name).attributes["error.type"] == "ValueError"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WorkRefusedError("no thread"), "OverloadedError"),
        (WorkRefusedError("open"), "OverloadedError"),
    ],
)
async def test_a_refused_attempt_is_an_error(autojump_clock, engine, spans, error, kind):
    """An attempt that was refused has a span that ends with it."""
    error.__cause__ = CircuitOpenError(1.0, "b") if error.args == ("open",) else None
    node = Node(fails_with(error), name="n", retry=TWICE)
    await engine.run(Pipeline("p", [Stage("s", [node])]))
    for name in ("attempt n", "node n", "pipeline p"):
        span = spans.of(name)
        assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, kind)
    assert spans.of("attempt n").attributes["graceline.status"] == "rejected"
    assert spans.of("attempt n").end_time == spans.of("node n").end_time


# -- runs that do not go their way ----------------------------------------------------------


async def test_a_run_that_never_started_has_a_span(autojump_clock, spans):
    """Refused, or timed out in the queue: the pipeline has a span, below the caller's, and no more."""
    async with open_engine(
        timeouts=NO_LIMITS, max_concurrent_pipelines=1, max_queue=1, sinks=[Tracing(spans.provider)]
    ) as engine:
        run = engine.start(Pipeline("p", [add]), 1)
        waiting = engine.start(Pipeline("waits", [add]), 1, timeout=0.5)
        with spans.tracer.start_as_current_span("request") as request:
            refused = await engine.run(Pipeline("refused", [add]), 1)
            expired = await engine.run(Pipeline("expired", [add]), 1, timeout=0)
            assert trace.get_current_span() is request
        await waiting.wait()
        await run.wait()
    assert (refused.status, expired.status) == ("rejected", "timed_out")
    for name, error in (("refused", "OverloadedError"), ("expired", "PipelineTimeoutError")):
        span = spans.of(f"pipeline {name}")
        assert spans.parent(span) == "request"
        assert (span.status.status_code, span.attributes["error.type"]) == (
            StatusCode.ERROR, error,
        )  # fmt: skip
    waited = spans.of("pipeline waits")
    assert waited.end_time - waited.start_time == 500_000_000
    assert waited.attributes["graceline.blamed_kind"] == "queue"
    names = [span.name for span in spans.ended]
    assert len(names) == 7  # with the stage and the node of the one that ran


async def test_parts_that_never_start_have_none(autojump_clock, engine, spans):
    """What is skipped, or refused before it begins, has no span."""

    def raises(_):
        raise ValueError

    nodes = sequence(
        Node(add, name="no", when=lambda _: False),
        Node(add, name="broken", when=raises),
        Node(add, name="after"),
    )
    result = await engine.run(Pipeline("p", [Stage("s", nodes), Stage("t", [add])]), 1)
    assert result.status == "failed"
    assert {span.name for span in spans.ended} == {"pipeline p", "stage s"}


async def test_an_interrupt_leaves_no_span_open(autojump_clock, engine, spans):
    """A run that is torn down ends its spans, without a verdict, and gives the context back."""

    async def stop(_):
        with spans.tracer.start_as_current_span("own"):
            raise KeyboardInterrupt

    inner = Pipeline("inner", [Node(stop, name="stop", attempt_timeout=9)])

    async def work(_):
        await engine.run(inner)

    with spans.tracer.start_as_current_span("request") as request:
        with pytest.raises(KeyboardInterrupt):
            await engine.run(Pipeline("p", [Stage("s", [Node(work, name="n")])]))
        assert trace.get_current_span() is request
    assert spans.open == 0
    assert spans.of("pipeline p").attributes["graceline.status"] == "aborted"
    assert spans.of("pipeline p").status.status_code is StatusCode.UNSET
    assert spans.parent(spans.of("pipeline inner")) == "node n"
    told = {span.name: span.attributes.get("graceline.status") for span in spans.ended}
    assert {told[name] for name in ("stage s", "node n", "stage inner", "node stop")} == {"aborted"}


@pytest.mark.parametrize("end", ["ok", "failed", "timed_out", "cancelled", "caller"])
async def test_the_caller_gets_its_context_back(autojump_clock, engine, spans, end):
    """However a run ends, the caller's own span is the current one again, and its variables are."""

    async def work(_):
        context.attach(context.set_value("left", "behind"))  # and never detached
        if end == "failed":
            raise ValueError
        if end == "cancelled":
            await engine.cancel("r", wait=False)
        if end != "ok":
            await trio.sleep(9)

    mine = context.set_value("mine", "yes")
    token = context.attach(mine)
    with trio.move_on_after(2 if end == "caller" else 100):
        await engine.run(Pipeline("p", parallel(work, Node(work, name="m"))), run_id="r", timeout=5)
    assert context.get_current() is mine
    context.detach(token)


async def test_what_a_node_leaves_in_the_context_does_not_reach_the_next(
    autojump_clock, engine, spans
):
    """A node that attaches and never detaches confuses no other node's spans."""

    async def leaks(value):
        context.attach(trace.set_span_in_context(spans.tracer.start_span("leaked")))
        trace.get_current_span().end()
        return value

    await engine.run(Pipeline("p", [Stage("s", sequence(leaks, user(spans, "b")))]), 1)
    assert spans.parent(spans.of("node b")) == "stage s"
    assert spans.parent(spans.of("in b")) == "node b"


async def test_a_sink_that_comes_later_makes_no_halves(autojump_clock, spans):
    """Runs in flight when it is added have no spans of parts; those after it have all."""
    async with open_engine(timeouts=NO_LIMITS) as engine:
        run = engine.start(Pipeline("p", [Stage("s", sequence(add, Node(add, name="b")))]), 1)
        kept = run.events()
        await trio.sleep(0.5)
        engine.subscribe(Tracing(spans.provider))
        assert (await run.wait()).ok
        kept.close()
        assert [span.name for span in spans.ended] == ["pipeline p"]
        spans.exporter.clear()
        await engine.run(Pipeline("q", [add]), 1)
    assert len(spans.ended) == 3


async def test_what_began_before_it_came_ends_without_a_word(autojump_clock, spans):
    """An attempt that is refused, and a run that is torn down, are nothing to a sink that came later."""
    async with open_engine(timeouts=NO_LIMITS) as engine:

        async def subscribe(_):
            engine.subscribe(Tracing(spans.provider))
            raise WorkRefusedError("no thread")

        async def stop(_):
            raise KeyboardInterrupt

        nodes = sequence(
            Node(subscribe, name="n", retry=TWICE, critical=False), Node(stop, name="m")
        )
        heard = Wanting()
        engine.subscribe(heard)
        with pytest.raises(KeyboardInterrupt):
            await engine.run(Pipeline("p", [Stage("s", nodes)]))
    assert {"AttemptRefused", "RunAborted"} < {type(event).__name__ for event in heard}
    assert spans.ended == ()


@pytest.mark.parametrize("error", [None, ValueError(), KeyboardInterrupt()])
async def test_one_that_is_removed_sees_its_runs_out(autojump_clock, spans, error):
    """Their spans end, and the caller has its context back; runs that begin later have none."""
    async with open_engine(timeouts=NO_LIMITS, sinks=[Wanting()]) as engine:
        sinks = engine._hub._sinks
        remove = engine.subscribe(Tracing(spans.provider))

        async def work(value):
            remove()
            assert (await engine.run(Pipeline("inner", [add]), 1)).ok
            await engine.run(Pipeline("expired", [add]), 1, timeout=0)
            if error is not None:
                raise error

        with spans.tracer.start_as_current_span("request") as request:
            with suppress(KeyboardInterrupt):
                await engine.run(Pipeline("p", [Stage("s", sequence(work, user(spans, "b")))]))
            assert trace.get_current_span() is request
            assert engine._hub._sinks == sinks
            assert (await engine.run(Pipeline("later", [add]), 1)).ok
        remove()
    more = {("node b", "stage s"), ("in b", "node b")} if error is None else set()
    assert spans.tree() == more | {
        ("request", None),
        ("pipeline p", "request"),
        ("stage s", "pipeline p"),
        ("node work", "stage s"),
    }


async def test_one_that_is_removed_between_runs_is_gone(autojump_clock, spans):
    """There is nothing to see out; added again, it makes spans again."""
    sink = Tracing(spans.provider)
    async with open_engine(timeouts=NO_LIMITS) as engine:
        sinks = engine._hub._sinks
        engine.subscribe(sink)()
        assert engine._hub._sinks == sinks
        await engine.run(Pipeline("p", [add]), 1)
        engine.subscribe(sink)
        await engine.run(Pipeline("q", [add]), 1)
    assert {span.name for span in spans.ended} == {"pipeline q", "stage q", "node add"}


async def test_one_will_do_for_two_engines(autojump_clock, spans):
    """Also where their runs have the same id, one inside the other, or both at once."""
    sinks = [Tracing(spans.provider)]
    async with (
        open_engine(timeouts=NO_LIMITS, sinks=sinks) as first,
        open_engine(timeouts=NO_LIMITS, sinks=sinks) as second,
    ):

        async def ask(value):
            await trio.sleep(0.5)
            return await second.execute(Pipeline("inner", [add]), value, run_id="r")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(second.run, Pipeline("other", [add]), 1, run_id="s"))
            with spans.tracer.start_as_current_span("request") as request:
                await first.run(Pipeline("outer", [Node(ask, name="ask")]), 1, run_id="r")
                await first.run(Pipeline("next", [add]), 1, run_id="s")
                assert trace.get_current_span() is request
    assert spans.tree() == {
        ("request", None),
        ("pipeline outer", "request"),
        ("stage outer", "pipeline outer"),
        ("node ask", "stage outer"),
        ("pipeline inner", "node ask"),
        ("stage inner", "pipeline inner"),
        ("node add", "stage inner"),
        ("pipeline other", None),
        ("stage other", "pipeline other"),
        ("node add", "stage other"),
        ("pipeline next", "request"),
        ("stage next", "pipeline next"),
        ("node add", "stage next"),
    }


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
async def test_an_engine_may_have_two(autojump_clock, spans, error):
    """Each makes a tree of its own below the span of the caller, who gets its context back."""
    others = Spans()
    sinks = [Tracing(spans.provider), Tracing(others.provider)]
    node = fails_with(error) if error is not None else add
    async with open_engine(timeouts=NO_LIMITS, sinks=sinks) as engine:
        with spans.tracer.start_as_current_span("request") as request:
            with suppress(KeyboardInterrupt):
                await engine.run(Pipeline("p", [Node(node, name="n")]), 1)
            assert trace.get_current_span() is request
    for made in (spans, others):
        assert made.of("pipeline p").parent.span_id == request.get_span_context().span_id
        assert made.parent(made.of("stage p")) == "pipeline p"
        assert made.parent(made.of("node n")) == "stage p"
    assert others.open == 0


async def test_nothing_is_kept_of_runs_that_have_ended(autojump_clock, spans):
    """Whatever became of them."""
    async with open_engine(timeouts=NO_LIMITS, sinks=[Tracing(spans.provider)]) as engine:
        with suppress(KeyboardInterrupt):
            await engine.run(Pipeline("torn", [fails_with(KeyboardInterrupt())]))
        await engine.run(Pipeline("late", [trio.sleep]), 9, timeout=1)
        await engine.run(Pipeline("expired", [add]), 1, timeout=0)
        await engine.run(Pipeline("well", [add]), 1)
        assert runs_kept() == []


# -- on and off ---------------------------------------------------------------------------------


async def test_without_an_sdk_nothing_is_built(autojump_clock):
    """With the API alone the sink wants no trace, takes no event, and changes no context."""
    sink = Tracing()
    assert (sink.wants_trace(), sink.deaf()) == (False, True)
    async with open_engine(timeouts=NO_LIMITS, sinks=[sink]) as engine:
        before = context.get_current()
        run = engine.start(Pipeline("p", [fails_with(ValueError())]))
        async for _ in run.events():  # somebody else wants a trace
            pass
        await engine.run(Pipeline("q", [add]), 1, timeout=0)
        assert runs_kept() == []
        assert context.get_current() is before


@pytest.mark.parametrize("provider", [NoOpTracerProvider(), "disabled"])
def test_what_is_switched_off_wants_nothing(provider, monkeypatch):
    """A provider that makes no spans, or an SDK that is disabled, costs as much as none."""
    if provider == "disabled":
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        provider = TracerProvider()
    assert not Tracing(provider).wants_trace()


def test_the_global_provider_may_come_later(spans, monkeypatch):
    """A sink that was made before the SDK is set up wants a trace afterwards."""
    sink = Tracing()
    assert not sink.wants_trace()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: spans.provider)
    assert sink.wants_trace()
    assert not sink.deaf()


async def test_what_is_not_sampled_is_not_exported(autojump_clock):
    """The sampler's word counts; the context is there all the same, for those further on."""
    spans = Spans(sampler=ALWAYS_OFF)
    seen = []

    async def work(_):
        seen.append(trace.get_current_span().get_span_context())

    async with open_engine(timeouts=NO_LIMITS, sinks=[Tracing(spans.provider)]) as engine:
        await engine.run(Pipeline("p", [Node(work, retry=TWICE)]))
        assert engine.stats.exemplars.find("p", "", "", "ok") == ()
    assert spans.ended == ()
    assert seen[0].is_valid
    assert not seen[0].trace_flags.sampled


async def test_what_is_not_sampled_is_not_described(autojump_clock, monkeypatch):
    """Of a trace that nobody will see only the sampler is told: the attributes of the pipeline."""
    told = []

    def at_start(event, level):
        told.append(level)
        return {}

    monkeypatch.setattr(tracing, "at_start", at_start)
    monkeypatch.setattr(tracing, "at_end", lambda event: told.append(type(event).__name__) or {})
    spans = Spans(sampler=ALWAYS_OFF)
    async with open_engine(timeouts=NO_LIMITS, sinks=[Tracing(spans.provider)]) as engine:
        await engine.run(Pipeline("p", [Stage("s", [Node(add, name="n", retry=TWICE)])]), 1)
    assert told == ["pipeline"]


async def test_sampled_spans_are_exemplars(autojump_clock, engine, spans):
    """The metrics of a pipeline, a stage and a node lead to the latest trace."""
    pipeline = Pipeline("p", [Stage("s", [Node(add, name="n")])])
    await engine.run(pipeline, 1)
    await engine.run(pipeline, 1)
    for place, name in (
        (("", ""), "pipeline p"),
        (("s", ""), "stage s"),
        (("s", "n"), "node n"),
    ):
        [found] = engine.stats.exemplars.find("p", *place, "ok")
        last = spans.all_of(name)[-1]
        assert found.value == 1
        assert found.trace_id == format(last.context.trace_id, "032x")
        assert found.span_id == format(last.context.span_id, "016x")
        assert found.at == pytest.approx(last.end_time / 1e9)


async def test_a_bucket_leads_to_a_trace(autojump_clock, spans):
    """Prometheus gets the ids of the span beside the bucket that its duration fell into."""
    registry = CollectorRegistry()
    sinks, metrics = [Tracing(spans.provider)], Metrics(registry=registry)
    async with open_engine(timeouts=NO_LIMITS, metrics=metrics, sinks=sinks) as engine:
        await engine.run(Pipeline("p", [Stage("s", [Node(add, name="n")])]), 1)
        lines = generate_latest(registry).decode().splitlines()
    found = [line for line in lines if line.startswith("graceline_node_duration") and "#" in line]
    named = spans.of("node n").context
    assert len(found) == 1
    assert 'le="1.0"' in found[0]
    assert f'trace_id="{named.trace_id:032x}"' in found[0]
    assert f'span_id="{named.span_id:016x}"' in found[0]


class Breaks(SpanProcessor):
    """A processor that raises whenever it is called."""

    def __init__(self, when):
        self.when = when

    def on_start(self, span, parent_context=None):
        if self.when == "start":
            raise RuntimeError("no")

    def on_end(self, span):
        if self.when == "end":
            raise RuntimeError("no")


@pytest.mark.parametrize("other", [5, "console", TracerProvider, TracerProvider().get_tracer("t")])
def test_what_is_no_provider_is_refused(other):
    """A tracer in its place, for instance: the message says what it should be."""
    with pytest.raises(DefinitionError, match=r"^Tracing\(.*\) takes a TracerProvider, .*, not "):
        Tracing(other)


@pytest.mark.parametrize("when", ["start", "end"])
async def test_a_broken_processor_disturbs_nothing(autojump_clock, when, caplog):
    """A run goes its way, and the caller's context is as it was; it is logged once."""
    provider = TracerProvider()
    provider.add_span_processor(Breaks(when))
    async with open_engine(timeouts=NO_LIMITS, sinks=[Tracing(provider)]) as engine:
        before = context.get_current()
        for _ in range(2):
            result = await engine.run(Pipeline("p", sequence(add, Node(add, name="b"))), 1)
            assert result.value == 3
            assert context.get_current() is before
        [sink] = [sink for sink in engine._hub._sinks if isinstance(sink, Tracing)]
        assert sink._runs == {}
    assert [record.name for record in caplog.records].count("graceline.telemetry") == 1


@pytest.mark.parametrize(
    "program",
    [
        "import graceline",
        """import graceline, trio
async def main():
    async with graceline.open_engine() as engine:
        await engine.run(graceline.Pipeline('p', [trio.sleep]), 0)
trio.run(main)""",
    ],
)
def test_nothing_imports_opentelemetry_without_need(program):
    """Neither `import graceline` nor an engine without this sink loads it."""
    check = "import sys; assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", f"{program}\n{check}"], check=True, timeout=60)  # noqa: S603


def test_a_missing_library_is_named(monkeypatch):
    """Whoever imports it without OpenTelemetry is told what to install."""
    monkeypatch.delitem(sys.modules, "graceline.telemetry.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'graceline\[otel\]'"):
        import_module("graceline.telemetry.tracing")
    assert sys.modules.get("graceline.telemetry.tracing") is not tracing
