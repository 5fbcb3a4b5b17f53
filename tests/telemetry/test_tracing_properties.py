"""Spans of runs of any make: one for each part that starts, in its place, and current while it works."""

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from graceline import Retry, Timeouts, open_engine
from graceline.engine.levels import CURRENT
from graceline.telemetry import events
from graceline.telemetry.tracing import Tracing
from graceline.testing import running_on
from graceline.testing.strategies import cancellations, pipelines
from graceline.virtual import order_within_an_instant, run_virtual

POLICIES = st.sampled_from(
    [{}, {"retry": Retry(attempts=2, backoff=0.25)}, {"attempt_timeout": 0.5}]
)
STARTED = {
    events.RunStarted: "pipeline",
    events.StageStarted: "stage",
    events.NodeStarted: "node",
    events.AttemptStarted: "attempt",
}
ABOVE = {
    "pipeline": {"caller", "node", "attempt"},
    "stage": {"pipeline"},
    "node": {"stage"},
    "attempt": {"node"},
}


class Kept(SpanProcessor):
    """Keeps all spans, and those that are open."""

    def __init__(self):
        self.spans = []
        self.open = set()

    def on_start(self, span, parent_context=None):
        self.spans.append(span)
        self.open.add(span)

    def on_end(self, span):
        self.open = {one for one in self.open if one.context.span_id != span.context.span_id}


class Heard(list):
    """A sink that keeps the names of what starts."""

    inline = True

    def wants_trace(self):
        return True

    def __call__(self, event):
        level = STARTED.get(type(event))
        if level is not None:
            name = getattr(event, "node", None) or getattr(event, "stage", event.pipeline)
            self.append((event.run_id, f"{level} {name}"))


class Watching(trio.abc.Instrument):
    """Looks, before each step of a task that works in a node, whose span is its current one."""

    def __init__(self):
        self.wrong = []

    def before_task_step(self, task):
        level = task.context.get(CURRENT)
        if level is None or level.ended or level.limit.level not in ("node", "item", "attempt"):
            return
        kind = "attempt" if level.limit.level == "attempt" else "node"
        found = task.context.run(trace.get_current_span)
        if getattr(found, "name", None) == f"{kind} {level.plan.name}":
            return
        inner = found.is_recording() and found.attributes["graceline.run_id"] != level.run.run_id
        if not (inner and found.name.startswith("pipeline")):  # else a run inside it just ends
            self.wrong.append((task.name, kind, level.plan.name, found))


async def play(pipeline, cancels, policies, kept, heard, watching):
    """Run a pipeline under a span of the caller's, and cancel it."""
    provider = TracerProvider()
    provider.add_span_processor(kept)
    sinks = [Tracing(provider), heard]
    limits = Timeouts(node=None, pipeline=None, grace=0.5)
    trio.lowlevel.add_instrument(watching)
    async with open_engine(timeouts=limits, sinks=sinks, **policies) as engine:

        async def cancel(at, function, *args):
            await trio.sleep(at)
            function(*args)

        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            if cancels.user_at is not None:
                stop = engine.cancel_all
                nursery.start_soon(cancel, cancels.user_at, stop, "stop")
            if cancels.caller_at is not None:
                nursery.start_soon(cancel, cancels.caller_at, scope.cancel)
            with provider.get_tracer("t").start_as_current_span("caller caller") as span:
                with running_on(engine), scope:
                    await engine.run(pipeline, [1, 2], run_id="r")
                assert trace.get_current_span() is span
            nursery.cancel_scope.cancel()
        [tracing] = [sink for sink in engine._hub._sinks if isinstance(sink, Tracing)]
        assert tracing._runs == {}


@settings(max_examples=60, deadline=None)
@given(pipelines(depth=1), cancellations(drain=False), POLICIES, st.integers(0, 99))
def test_spans_of_any_run(pipeline, cancels, policies, seed):
    """Each part that started has one span, below the right one and within the trace of the caller."""
    kept, heard, watching = Kept(), Heard(), Watching()
    with order_within_an_instant(seed):
        run_virtual(play, pipeline, cancels, policies, kept, heard, watching)
    assert kept.open == set()
    assert watching.wrong == []
    caller, *spans = kept.spans
    made = [(span.attributes["graceline.run_id"], span.name) for span in spans]
    started = sorted(made)
    # A run that never started has a span, too, and nothing in it.
    refused = [one for one in spans if "graceline.remaining_seconds" not in one.attributes]
    names = {(run, name) for run, name in heard}
    refused = [
        (one.attributes["graceline.run_id"], one.name)
        for one in refused
        if one.name.startswith("pipeline")
        and (one.attributes["graceline.run_id"], one.name) not in names
    ]
    assert started == sorted([*heard, *refused])
    by_id = {span.context.span_id: span for span in kept.spans}
    for span in spans:
        above = by_id[span.parent.span_id]
        assert span.context.trace_id == caller.context.trace_id
        assert above.name.split()[0] in ABOVE[span.name.split()[0]]
        same_run = span.attributes["graceline.run_id"] == (above.attributes or {}).get(
            "graceline.run_id"
        )
        assert same_run is not span.name.startswith("pipeline")
        if above is not caller:
            assert above.start_time <= span.start_time <= span.end_time <= above.end_time
            stage = above.attributes.get("graceline.stage")
            assert not same_run or stage in (None, span.attributes["graceline.stage"])
        assert "graceline.status" in span.attributes
