"""A trace that crosses threads, processes and services; real clock, and no assertion on speed."""

import re
import sys
from contextvars import copy_context
from pathlib import Path

import pytest
import trio
from opentelemetry import baggage, context, trace

sys.path.insert(0, str(Path(__file__).parent))  # the workers get it from this process

import trace_jobs as jobs
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from graceline import (
    BlockingEngine,
    Command,
    DefinitionError,
    Node,
    Pipeline,
    Retry,
    Timeouts,
    each,
    open_engine,
    outgoing_headers,
)
from graceline.telemetry.tracing import Tracing, continue_trace, outgoing_trace, resume_trace

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=30)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, SPAN = int(PARENT[3:35], 16), int(PARENT[36:52], 16)
TWICE = Retry(attempts=2, backoff=0)


class Spans:
    def __init__(self):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def of(self, name):
        [found] = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return found.context

    def above(self, name):
        [found] = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return found.parent


@pytest.fixture
def spans():
    return Spans()


@pytest.fixture
async def engine(spans):
    async with open_engine(timeouts=NO_LIMITS, sinks=[Tracing(spans.provider)]) as engine:
        yield engine


async def value_of(engine, function, value=None, **options):
    result = await engine.run(Pipeline("p", [Node(function, name="n", **options)]), value)
    return result.unwrap()


def traceparent(named):
    return f"00-{named.trace_id:032x}-{named.span_id:016x}-{named.trace_flags:02x}"


# -- out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs_on", ["coroutine", "thread"])
async def test_headers_name_the_span_of_the_node(engine, spans, runs_on):
    """`outgoing_headers()` has the trace beside the deadline, in a worker thread as well."""

    def plain(_):
        return outgoing_headers()

    async def async_(_):
        return outgoing_headers()

    function = plain if runs_on == "thread" else async_
    headers = await value_of(engine, function, runs_on=runs_on, timeout=100)
    assert headers["traceparent"] == traceparent(spans.of("node n"))
    assert headers["grpc-timeout"]


async def test_headers_name_the_span_of_the_attempt(engine, spans):
    """With policies it is the attempt that makes the call."""

    async def work(_):
        return outgoing_headers()

    headers = await value_of(engine, work, retry=TWICE)
    assert headers == {"traceparent": traceparent(spans.of("attempt n"))}


async def test_a_thread_has_the_nodes_span(engine, spans):
    """What a worker thread does belongs to the node."""
    tracer = spans.provider.get_tracer("user")
    await value_of(engine, lambda _: tracer.start_span("thread").end(), runs_on="thread")
    assert spans.above("thread").span_id == spans.of("node n").span_id


@pytest.mark.parametrize("policies", [{}, {"retry": TWICE}])
async def test_a_worker_process_has_the_nodes_span(engine, spans, policies):
    """The span of the node, or of its attempt, is the current one there, and goes out from there."""
    found = await value_of(engine, jobs.where, runs_on="process", **policies)
    named = spans.of("attempt n" if policies else "node n")
    assert found == (
        named.trace_id, named.span_id, True, {"traceparent": traceparent(named)},
    )  # fmt: skip


async def test_spans_of_a_worker_process_are_below_the_node(engine, spans):
    """A span that is made there has the node above it, and is what goes out while it is open."""
    trace_id, span_id, above, headers = await value_of(engine, jobs.own_span, runs_on="process")
    assert (trace_id, above) == (spans.of("node n").trace_id, spans.of("node n").span_id)
    assert headers["traceparent"].startswith(f"00-{trace_id:032x}-{span_id:016x}-")


async def test_a_worker_process_loads_nothing_without_need():
    """Without this sink a worker does not import OpenTelemetry."""
    async with open_engine(timeouts=NO_LIMITS) as engine:
        assert await value_of(engine, jobs.loaded, runs_on="process") is False


async def test_a_program_finds_it_in_its_environment(engine, spans):
    """`TRACEPARENT` names the span of the node."""
    command = Command([sys.executable, "-c", "import os; print(os.environ['TRACEPARENT'])"])
    output = await value_of(engine, command)
    assert output.stdout == traceparent(spans.of("node n")) + "\n"


async def test_baggage_goes_along(engine):
    """What the global propagator writes goes out, and that is the baggage too."""

    async def work(_):
        return outgoing_headers()

    token = context.attach(baggage.set_baggage("tenant", "a"))
    headers = await value_of(engine, work)
    context.detach(token)
    assert headers["baggage"] == "tenant=a"


# -- in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": PARENT},
        {"TraceParent": PARENT},
        [("traceparent", PARENT)],
        [(b"traceparent", PARENT.encode()), (b"host", b"x")],
    ],
)
async def test_a_trace_is_continued(engine, spans, headers):
    """A run inside has the remote span above it; behind the block everything is as before."""
    with continue_trace(headers):
        await value_of(engine, trio.sleep, 0)
    assert trace.get_current_span() is trace.INVALID_SPAN
    above = spans.above("pipeline p")
    assert (above.trace_id, above.span_id, above.is_remote) == (TRACE, SPAN, True)


@pytest.mark.parametrize("headers", [{}, [], {"traceparent": "00-zz"}, {"traceparent": ""}])
async def test_without_a_trace_a_run_begins_one(engine, spans, headers):
    """No header, or one that says nothing, changes nothing."""
    with continue_trace(headers):
        await value_of(engine, trio.sleep, 0)
    assert spans.above("pipeline p") is None


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        (None, "takes all headers of a request, not None"),
        (5, "takes all headers of a request, not 5"),
        (PARENT, "{'traceparent': ...}"),
        (b"traceparent", "{'traceparent': ...}"),
        ([("traceparent", PARENT, "more")], "a name and a value"),
        (["traceparent"], "and 'traceparent' is none"),
        ({"traceparent": 5}, "and ('traceparent', 5) is none"),
        ({5: PARENT}, "is none"),
    ],
)
def test_what_are_no_headers_is_refused(headers, message):
    """The message says what they are."""
    with (
        pytest.raises(DefinitionError, match=rf"^continue_trace\(\) .*{re.escape(message)}"),
        continue_trace(headers),
    ):
        pass


async def test_the_state_of_a_trace_goes_through(engine):
    """`tracestate` goes out as it came in."""

    async def work(_):
        return outgoing_headers()

    with continue_trace({"traceparent": PARENT, "tracestate": "vendor=1"}):
        headers = await value_of(engine, work)
    assert headers["tracestate"] == "vendor=1"
    assert headers["traceparent"].split("-")[1] == PARENT.split("-")[1]


async def test_a_state_in_several_headers_goes_through_whole(engine):
    """A proxy may split `tracestate`: its parts go out as one, in their order."""

    async def work(_):
        return outgoing_headers()

    parts = [(b"tracestate", b"one=1"), (b"Tracestate", b"two=2")]
    with continue_trace([(b"traceparent", PARENT.encode()), *parts]):
        headers = await value_of(engine, work)
    assert headers["tracestate"] == "one=1,two=2"


async def test_without_an_sdk_a_trace_goes_through():
    """A service that makes no spans hands on what came in."""

    async def work(_):
        return outgoing_headers()

    async with open_engine(timeouts=NO_LIMITS, sinks=[Tracing()]) as engine:
        with continue_trace({"traceparent": PARENT}):
            assert await value_of(engine, work) == {"traceparent": PARENT}
        assert await value_of(engine, work) == {}


def test_runs_from_other_threads_belong_to_their_caller(spans):
    """A run of `BlockingEngine` is below the span of the thread that asks for it."""
    tracer = spans.provider.get_tracer("user")
    with (
        BlockingEngine(timeouts=NO_LIMITS, sinks=[Tracing(spans.provider)]) as engine,
        tracer.start_as_current_span("request"),
    ):
        assert outgoing_trace()["traceparent"]
        engine.run(Pipeline("p", [Node(trio.sleep, name="n")]), 0)
    assert spans.above("pipeline p").span_id == spans.of("request").span_id


async def test_a_blocking_engine_inside_a_thread_keeps_its_own_time(engine, spans):
    """A loop in another thread has another clock; its spans lie within the node's all the same."""

    def work(_):
        sink = Tracing(spans.provider)
        with BlockingEngine(timeouts=NO_LIMITS, sinks=[sink]) as inner:
            inner.run(Pipeline("inner", [Node(trio.sleep, name="deep")]), 0)

    await value_of(engine, work, runs_on="thread")
    found = {span.name: span for span in spans.exporter.get_finished_spans()}
    node, inner = found["node n"], found["pipeline inner"]
    assert inner.parent.span_id == node.context.span_id
    assert abs(inner.start_time - node.start_time) < 600_000_000_000


async def test_items_of_a_list_hand_on_their_own(engine, spans):
    """Items that run at once have the headers of their own attempts."""

    async def work(item):
        await trio.sleep(0)
        return outgoing_headers()["traceparent"]

    node = each(Node(work, name="n", retry=TWICE), max_parallel=3)
    values = (await engine.run(Pipeline("p", [node]), [0, 1, 2])).unwrap()
    made = [s for s in spans.exporter.get_finished_spans() if s.name == "attempt n"]
    by_item = {span.attributes["graceline.item_index"]: span.context for span in made}
    assert values == [traceparent(by_item[item]) for item in range(3)]


def test_a_trace_is_taken_up_for_one_context():
    """What a worker process does at the beginning of a job stays in the context of that job."""
    give = copy_context().run(resume_trace, {"traceparent": PARENT})
    assert give() == {}
    inside = copy_context()
    give = inside.run(resume_trace, {"traceparent": PARENT})
    assert inside.run(give) == {"traceparent": PARENT}
