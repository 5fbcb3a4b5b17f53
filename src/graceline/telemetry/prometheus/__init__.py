"""Prometheus: one collector per registry turns the aggregates of all engines into samples.

`metrics` is what users configure, `sources` is what an engine gives, `collector` adds up and keeps
what closed engines have counted, `families` is the table of metrics, `endpoint` serves them.
prometheus_client is imported once an engine is opened with metrics, not before.
"""

from graceline.telemetry.prometheus.metrics import Metrics
from graceline.telemetry.prometheus.sources import Gauges, Source

__all__ = ["Gauges", "Metrics", "Source"]
