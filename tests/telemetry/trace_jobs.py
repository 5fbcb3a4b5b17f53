"""What the tests of tracing run in worker processes."""

import sys

from graceline import outgoing_headers


def where(_):
    """Whose span is the current one here, and what goes out."""
    from opentelemetry import trace

    named = trace.get_current_span().get_span_context()
    return named.trace_id, named.span_id, named.is_remote, outgoing_headers()


def loaded(_):
    return any(name.startswith("opentelemetry") for name in sys.modules)


def own_span(_):
    """A span of the worker's own, with an SDK of its own."""
    from opentelemetry.sdk.trace import TracerProvider

    with TracerProvider().get_tracer("worker").start_as_current_span("own") as span:
        named, above = span.get_span_context(), span.parent
        return named.trace_id, named.span_id, above.span_id, outgoing_headers()
