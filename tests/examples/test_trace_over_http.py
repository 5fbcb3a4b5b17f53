"""One trace through two real services over a loopback socket."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import httpx
import trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from graceline import Node, Pipeline, incoming_budget, open_engine
from graceline.telemetry.tracing import Tracing, continue_trace

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "deadline_header.py"
SPEC = spec_from_file_location("deadline_header", EXAMPLE)
MODULE = module_from_spec(SPEC)
SPEC.loader.exec_module(MODULE)
BOUND = 60
"""Seconds after which the test gives up. Nothing is expected to take that long."""


def create_app(engine, pipeline):
    """A service that continues the trace of each request, and keeps to its deadline."""

    async def ask(request):
        budget = incoming_budget(request.headers)
        with continue_trace(request.headers):
            result = await engine.run(pipeline, "x", budget=budget)
        return PlainTextResponse(str(result.value))

    return Starlette(routes=[Route("/", ask, methods=["POST"])])


async def test_a_trace_goes_through_two_services():
    """The second service's pipeline is below the attempt of the first one that asked it."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def double(text):
        return text * 2

    async def forward(_):
        async with MODULE.client() as http:
            return (await http.post(second)).text

    first = Pipeline("first", [Node(forward, name="ask", attempt_timeout=50)], timeout=55)
    with trio.fail_after(BOUND):
        async with (
            open_engine(lane="first", sinks=[Tracing(provider)]) as one,
            open_engine(lane="second", sinks=[Tracing(provider)]) as two,
            MODULE.serving(create_app(two, Pipeline("second", [double], timeout=50))) as second,
            MODULE.serving(create_app(one, first)) as address,
            httpx.AsyncClient(timeout=BOUND) as http,
        ):
            assert (await http.post(address)).text == "xx"
    spans = {span.name: span for span in exporter.get_finished_spans()}
    above, below = spans["attempt ask"], spans["pipeline second"]
    assert below.parent.span_id == above.context.span_id
    assert below.parent.is_remote
    assert {span.context.trace_id for span in spans.values()} == {above.context.trace_id}
    assert spans["pipeline first"].parent is None
    assert below.attributes["graceline.limit_source"] == "header"
