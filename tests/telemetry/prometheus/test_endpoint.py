"""The scrape endpoint: served off the loop's thread, shared, and closed with the last engine."""

import http.client
import socket
import threading
from contextlib import closing

import pytest
import trio
from prometheus_client import CollectorRegistry

from graceline import (
    BlockingEngine,
    DefinitionError,
    GracelineError,
    Metrics,
    Pipeline,
    open_engine,
)


async def brief(_):
    return 1


PIPELINE = Pipeline("p", [brief])


def get(address, path="/metrics", **headers):
    """What an HTTP client gets from an endpoint."""
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.request("GET", path, headers=headers)
    with closing(connection), connection.getresponse() as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


async def fetch(address):
    return (await trio.to_thread.run_sync(get, address))[0]


async def test_an_endpoint_serves_the_metrics(metrics):
    """A port of 0 is any free one, on this machine only; the engine tells its address."""
    async with open_engine(metrics=metrics, metrics_port=0) as engine:
        await engine.run(PIPELINE)
        host, port = engine.metrics_address
        assert (host, port > 0) == ("127.0.0.1", True)
        text = await fetch(engine.metrics_address)
        assert 'graceline_pipeline_nodes_count{lane="default",pipeline="p"} 1.0' in text
    assert engine.metrics_address is None
    with pytest.raises(ConnectionRefusedError):
        await fetch((host, port))


async def test_openmetrics_is_served_to_whom_it_is_asked_by(metrics):
    """A server that accepts OpenMetrics, as Prometheus does, gets it, and with it exemplars."""
    async with open_engine(metrics=metrics, metrics_port=0) as engine:
        accept = "application/openmetrics-text; version=1.0.0"

        def ask():
            return get(engine.metrics_address, Accept=accept)

        text, kind = await trio.to_thread.run_sync(ask)
    assert text.endswith("# EOF\n")
    assert kind.startswith("application/openmetrics-text")


async def test_it_answers_while_the_loop_is_blocked(metrics):
    """Code that blocks the event loop does not keep the numbers from whoever looks for it."""
    answered = threading.Event()
    found = []

    async with open_engine(metrics=metrics, metrics_port=0, watchdog=None) as engine:

        def scrape():
            try:
                found.append(get(engine.metrics_address)[0])
            finally:
                answered.set()

        async def block(_):
            thread.start()
            return answered.wait(30)

        thread = threading.Thread(target=scrape)
        result = await engine.run(Pipeline("blocking", [block], timeout=60))
        thread.join()
    assert result.value is True
    assert 'graceline_runs_in_flight{lane="default",pipeline="blocking"} 1.0' in found[0]


async def test_engines_share_an_address(metrics):
    """Two engines at one address have one endpoint, which the last one to close ends."""
    async with open_engine(metrics=metrics, metrics_port=0) as one:
        address = one.metrics_address
        async with open_engine(metrics=metrics, metrics_port=address[1], lane="two") as two:
            assert two.metrics_address == address
            assert 'graceline_mode_info{lane="two"' in await fetch(address)
        assert 'graceline_mode_info{lane="default"' in await fetch(address)


async def test_an_address_serves_one_registry(metrics):
    """What another registry shows cannot be served at the same address."""
    async with open_engine(metrics=metrics, metrics_port=0) as engine:
        port = engine.metrics_address[1]
        other = Metrics(registry=CollectorRegistry())
        with pytest.raises(GracelineError, match=f"metrics_port={port}: .* another registry"):
            async with open_engine(metrics=other, metrics_port=port):
                pass


async def test_a_port_in_use_is_named(metrics, shown):
    """If somebody else has the port, the engine does not open and says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = (
            f"metrics_port={port}: cannot listen on 127.0.0.1:{port}: .*in use; give a free port"
        )
        with pytest.raises(GracelineError, match=message):
            async with open_engine(metrics=metrics, metrics_port=port):
                pass
    assert shown.value("queue_depth") is None
    async with open_engine(metrics=metrics, metrics_port=port) as engine:
        assert "graceline_queue_depth" in await fetch(engine.metrics_address)


@pytest.mark.parametrize("host", ["192.0.2.1", "x" * 64])
async def test_a_host_that_is_none_is_named(metrics, host):
    """An address that this machine does not have, or that is none, is told as one; the port is well."""
    with pytest.raises(GracelineError, match=f"cannot listen on host {host}: ") as caught:
        async with open_engine(metrics=metrics, metrics_port=0, metrics_host=host):
            pass
    assert "free port" not in str(caught.value)


def test_a_host_needs_a_port():
    """A host alone would serve nothing, so it is refused, in plain programs as well."""
    with (
        pytest.raises(DefinitionError, match=r"metrics_host='0\.0\.0\.0' needs metrics_port="),
        BlockingEngine(metrics_host="0.0.0.0"),  # noqa: S104 - nothing listens
    ):
        pass


def test_a_port_alone_serves_the_default_registry():
    """With a port and no metrics these are `Metrics()`."""
    with BlockingEngine(metrics_port=0) as engine:
        engine.run(PIPELINE)
        text, _ = get(engine.metrics_address)
    assert "graceline_pipelines_total" in text
    assert "python_info" in text
    Metrics().close()
