"""The table of metrics: names, labels and values in scenarios of virtual time."""

import pytest
import trio
import trio.testing
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from graceline import (
    Adaptive,
    Breaker,
    Hedge,
    Metrics,
    Node,
    Pipeline,
    Retry,
    Stage,
    choose,
    cleanup,
    open_engine,
    sequence,
)

LANE = {"lane"}
PIPELINE = {"lane", "pipeline"}
STAGE = PIPELINE | {"stage"}
NODE = STAGE | {"node"}
END = {"status", "degraded", "within_budget"}

TABLE = {
    "pipeline_duration_seconds": ("histogram", PIPELINE | END),
    "pipelines_total": ("counter", PIPELINE | END),
    "degraded_total": ("counter", NODE),
    "pipeline_nodes": ("histogram", PIPELINE),
    "runs_in_flight": ("gauge", PIPELINE),
    "pipeline_timeouts_total": ("counter", PIPELINE | {"level"}),
    "pipeline_completed_nodes_at_timeout": ("histogram", PIPELINE),
    "stage_duration_seconds": ("histogram", STAGE | {"status"}),
    "stages_total": ("counter", STAGE | {"status"}),
    "node_duration_seconds": ("histogram", NODE | {"status"}),
    "node_executions_total": ("counter", NODE | {"status"}),
    "node_failures_total": ("counter", NODE | {"error_type"}),
    "cancellations_total": ("counter", PIPELINE | {"kind", "level"}),
    "node_timeouts_total": ("counter", NODE | {"level"}),
    "timeout_limit_seconds": ("gauge", NODE | {"source"}),
    "slo_target_seconds": ("gauge", STAGE),
    "deadline_remaining_ratio": ("histogram", PIPELINE),
    "grace_seconds": ("histogram", PIPELINE),
    "cleanup_overruns_total": ("counter", PIPELINE),
    "overrun_seconds": ("histogram", PIPELINE),
    "retries_total": ("counter", NODE | {"stop"}),
    "hedges_total": ("counter", NODE | {"result"}),
    "breaker_state": ("gauge", LANE | {"breaker"}),
    "breaker_transitions_total": ("counter", LANE | {"breaker", "from", "to"}),
    "queue_depth": ("gauge", LANE),
    "queue_wait_seconds": ("histogram", LANE),
    "rejections_total": ("counter", LANE | {"reason"}),
    "node_health": ("gauge", NODE),
    "abandoned_threads": ("gauge", set()),
    "stuck_nodes": ("gauge", set()),
    "loop_blocked_seconds": ("histogram", set()),
    "mode_info": ("gauge", LANE | {"mode"}),
}


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    return Metrics(registry=registry)


def samples(registry):
    """What a scrape shows now: value by name and labels, without the lane."""
    shown = {}
    for family in parse(generate_latest(registry).decode()):
        for name, labels, value, *_ in family.samples:
            rest = tuple(sorted((key, one) for key, one in labels.items() if key != "lane"))
            shown[name.removeprefix("graceline_"), rest] = value
    return shown


def value(registry, name, **labels):
    """The value of one series, None if there is none."""
    return samples(registry).get((name, tuple(sorted(labels.items()))))


def counted(registry, name, *by):
    """The series of a counter that are not 0, by some of their labels."""
    return {
        tuple(dict(labels)[key] for key in by): number
        for (found, labels), number in samples(registry).items()
        if found == name and number
    }


def observed(registry, name, **labels):
    """The count and the sum of a histogram."""
    return tuple(value(registry, f"{name}{end}", **labels) for end in ("_count", "_sum"))


async def everything(engine):
    """Runs in which every metric of the table has something to show."""

    async def fail(_):
        raise ValueError

    async def slow(_):
        try:
            await trio.sleep(9)
        finally:
            with cleanup():
                await trio.sleep(9)

    good = Node(trio.sleep, name="good", slo=1)
    soft = Node(fail, name="soft", critical=False, retry=Retry(attempts=2, backoff=0.01))
    hedged = Node(trio.sleep, name="hedged", idempotent=True, hedge=Hedge(delay=0.1))
    await engine.run(
        Pipeline(
            "all",
            [
                Stage("first", sequence(good, soft), timeout=Adaptive(initial=5, ceiling=5), slo=2),
                Stage("second", [choose(fail, hedged, name="pick")]),
            ],
            timeout=10,
            slo=3,
        ),
        0.5,
    )
    await engine.run(Pipeline("broken", [Node(fail, name="x", breaker=Breaker(consecutive=1))]))
    await engine.run(Pipeline("cut", [slow], timeout=1, grace=0.5))
    with trio.move_on_after(0.5):
        await engine.run(Pipeline("left", [trio.sleep], timeout=1), 9)


async def test_every_metric_has_exactly_its_labels(autojump_clock, metrics, registry):
    """The names, types and labels are those of the table, and no others."""
    async with open_engine(metrics=metrics) as engine:
        await everything(engine)
        families = {family.name: family for family in parse(generate_latest(registry).decode())}
    shown = {}
    for family in families.values():
        for sample in family.samples:
            name, labels = sample.name, set(sample.labels)
            if family.type == "histogram":
                assert ("le" in labels) == name.endswith("_bucket")
                name = family.name
            assert name.startswith("graceline_")
            kind = shown.setdefault(name.removeprefix("graceline_"), (family.type, labels - {"le"}))
            assert kind == (family.type, labels - {"le"})
    assert shown == TABLE


async def test_the_exposition_is_valid_openmetrics(autojump_clock, metrics, registry):
    """The strict parser of OpenMetrics accepts all of it, and each series is there once."""
    async with open_engine(metrics=metrics) as engine:
        await everything(engine)
        text = generate_openmetrics(registry).decode()
    names = [family.name for family in parse_openmetrics(text)]
    assert len(names) == len(set(names)) == len(TABLE)
