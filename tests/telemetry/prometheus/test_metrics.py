"""`Metrics`: what may be given, and which engines share a collector."""

import gc
import re
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter

from graceline import DefinitionError, GracelineError, Metrics, Node, Pipeline, Stage, open_engine
from graceline.telemetry.prometheus.collector import collector_of
from graceline.telemetry.stats import BUCKETS

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


async def brief(_):
    return 1


PIPELINE = Pipeline("p", [brief])


def test_defaults():
    """Without arguments the metrics are `graceline_...`, in the buckets of the aggregates."""
    metrics = Metrics()
    assert (metrics.prefix, metrics.buckets, metrics.registry) == ("graceline", BUCKETS, None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prefix": "1st"}, r"Metrics\(prefix=\) must be letters.*'1st'"),
        ({"prefix": "my app"}, "prefix"),
        ({"prefix": ""}, "prefix"),
        ({"prefix": None}, "prefix"),
        ({"prefix": "a:b"}, r"letters, digits and underscores, at most 40, .* not 'a:b'"),
        ({"prefix": "a" * 41}, "at most 40"),
        ({"buckets": ()}, "one bucket at least"),
        ({"buckets": (1, 0.5)}, r"must ascend, and 0\.5 comes after 1\.0"),
        ({"buckets": (2**53, 2**53 + 1)}, "must ascend"),
        ({"buckets": (10**400,)}, r"takes seconds above 0; .* is none"),
        ({"buckets": (1, 1)}, "must ascend"),
        ({"buckets": (0, 1)}, "seconds above 0"),
        ({"buckets": (1, float("inf"))}, r"\+Inf is always there, and inf is none"),
        ({"buckets": (1, True)}, "True is none"),
        ({"buckets": ("1s",)}, "'1s' is none"),
        ({"buckets": "123"}, "takes seconds in order, not '123'"),
        ({"buckets": 5}, "takes seconds in order, not 5"),
        ({"registry": "default"}, "CollectorRegistry, not 'default'"),
    ],
)
def test_bad_arguments_are_refused(wrong, message):
    """What cannot work is refused where it is written down, and told what would be right."""
    with pytest.raises(DefinitionError, match=message):
        Metrics(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metrics": True}, "metrics= takes a Metrics such as"),
        ({"metrics_port": "9464"}, "metrics_port= must be a whole number from 0"),
        ({"metrics_port": True}, "metrics_port="),
        ({"metrics_port": 65536}, "65535"),
        ({"metrics_port": -1}, "metrics_port="),
        ({"metrics_port": 0, "metrics_host": ""}, "metrics_host= must be an address"),
        ({"metrics_host": 127}, "metrics_host="),
        ({"metrics_host": "127.0.0.1"}, "needs metrics_port= as well"),
    ],
)
async def test_bad_options_of_an_engine_are_refused(wrong, message):
    """An engine with options that cannot work is not opened."""
    with pytest.raises(DefinitionError, match=message):
        async with open_engine(**wrong):
            pass


async def test_prefix_and_buckets(autojump_clock, registry, shown):
    """All names begin with the prefix, and durations have these buckets."""
    async with open_engine(metrics=Metrics("shop", [0.1, 2], registry)) as engine:
        await engine.run(PIPELINE)
    families = shown.families()
    assert all(family.name.startswith("shop_") for family in families)
    found = {
        family.name: {sample.labels["le"] for sample in family.samples if "le" in sample.labels}
        for family in families
        if family.type == "histogram"
    }
    for name in ("pipeline_duration", "node_duration", "queue_wait", "loop_blocked", "grace"):
        assert found[f"shop_{name}_seconds"] == {"0.1", "2.0", "+Inf"}


async def test_the_page_shows_what_is_scraped(autojump_clock, metrics, shown):
    """The lines on the page are those that its command picks out of a scrape, to the letter."""
    text = PAGE.read_text("utf-8")
    pattern, told = re.search(r"\n\$ curl .* grep '(.*)'\n([^`]*)", text).groups()
    hello = Pipeline("hello", [Stage("speak", [Node(brief, name="greet")])])
    async with open_engine(metrics=metrics) as engine:
        await engine.run(hello, "ada")
        lines = shown.text().splitlines()
    assert told.splitlines() == [line for line in lines if re.search(pattern, line)]


async def test_two_prefixes_in_one_registry(autojump_clock, registry, shown):
    """Each prefix has its own collector, with only its own engines."""
    one, other = Metrics("one", registry=registry), Metrics("other", registry=registry)
    async with open_engine(metrics=one) as engine, open_engine(metrics=other):
        await engine.run(PIPELINE)
    text = shown.text()
    assert 'one_pipeline_nodes_count{lane="default",pipeline="p"} 1.0' in text
    assert "other_queue_wait_seconds_count" in text
    assert "other_pipeline_nodes_count" not in text


async def test_other_buckets_of_the_same_name_are_refused(autojump_clock, registry, shown):
    """Histograms with different buckets cannot be added up."""
    async with open_engine(metrics=Metrics(buckets=(1, 2), registry=registry)) as engine:
        with pytest.raises(DefinitionError, match="an engine has used other buckets"):
            async with open_engine(metrics=Metrics(buckets=(1, 3), registry=registry)):
                pass
        await engine.run(PIPELINE)
    assert shown.value("pipeline_nodes_count", pipeline="p") == 1


async def test_names_that_others_have_are_refused(registry):
    """Two metrics of one name would make the scrape invalid: the second is refused."""
    Counter("graceline_pipelines", "Not ours.", registry=registry)
    with pytest.raises(DefinitionError, match="other metrics of these names; give another prefix"):
        async with open_engine(metrics=Metrics(registry=registry)):
            pass


async def test_a_registry_knows_the_names(autojump_clock, metrics, registry):
    """A scrape that asks for some names, as `name[]=` does, gets these."""
    async with open_engine(metrics=metrics) as engine:
        await engine.run(PIPELINE)
        part = registry.restricted_registry(["graceline_queue_depth"]).collect()
        assert [family.name for family in part] == ["graceline_queue_depth"]


async def test_closing_takes_the_metrics_out(autojump_clock, metrics, registry, shown):
    """After `close` the registry has none of them, and a new engine begins at 0."""
    async with open_engine(metrics=metrics) as engine:
        await engine.run(PIPELINE)
        with pytest.raises(GracelineError, match="an engine is open"):
            metrics.close()
    metrics.close()
    metrics.close()
    assert shown.text() == ""
    async with open_engine(metrics=metrics):
        assert shown.value("pipeline_nodes_count", pipeline="p") is None


async def test_the_default_registry_is_that_of_the_client(autojump_clock):
    """Without a registry the metrics are where those of other libraries are."""
    metrics = Metrics("graceline_of_this_test")
    try:
        async with open_engine(metrics=metrics):
            assert REGISTRY.get_sample_value("graceline_of_this_test_stuck_nodes") == 0
    finally:
        metrics.close()


def test_a_registry_that_is_dropped_is_not_kept():
    """Nothing of a collector outlives its registry."""
    registry = CollectorRegistry()
    collector_of(Metrics(registry=registry))
    dropped = weakref.ref(registry)
    del registry
    gc.collect()
    assert dropped() is None


def test_who_wants_no_metrics_does_not_pay_for_them():
    """An engine without metrics imports no client of Prometheus."""
    program = """
import sys, trio, graceline
async def main():
    async with graceline.open_engine() as engine:
        assert engine.metrics_address is None
trio.run(main)
sys.exit("prometheus_client" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0  # noqa: S603
