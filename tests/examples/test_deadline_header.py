"""Two real services in a chain over loopback sockets, and the hook that tells one from the other."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import httpx
import pytest
import trio

from graceline import Node, Pipeline, Retry, open_engine, outgoing_headers, remaining
from graceline.resilience import decode
from graceline.telemetry.events import RunFinished

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "deadline_header.py"
SPEC = spec_from_file_location("deadline_header", EXAMPLE)
MODULE = module_from_spec(SPEC)
SPEC.loader.exec_module(MODULE)
BOUND = 60
"""Seconds after which a test gives up. Nothing is expected to take that long."""


class Second:
    """The work of the second service: it would take ten minutes, and says when it ended."""

    __name__ = "second"

    def __init__(self):
        self.told = []
        self.ended = []

    async def __call__(self, _):
        headers = outgoing_headers()  # what it would tell a third one
        self.told.append(decode(headers["grpc-timeout"]))
        try:
            await trio.sleep(600)
        finally:
            self.ended.append(trio.current_time())


class Kept(list):
    """A sink that keeps how runs ended."""

    inline = True

    def __call__(self, event):
        if isinstance(event, RunFinished):
            self.append(event)


async def chain(make_client, *, timeout=900, headers=None, until):
    """Ask the first service, which asks the second one, and look at both when it has answered."""
    second, left, finished = Second(), [], Kept()

    async def forward(_):
        left.append(remaining())
        async with make_client() as http:
            return (await http.post(address)).text

    with trio.fail_after(BOUND):
        async with (
            open_engine(lane="first", sinks=[finished]) as one,
            open_engine(lane="second", sinks=[finished]) as two,
            MODULE.serving(
                MODULE.create_app(two, Pipeline("second", [second], timeout=1000))
            ) as address,
            MODULE.serving(
                MODULE.create_app(one, Pipeline("first", [forward], timeout=timeout))
            ) as first,
            httpx.AsyncClient(timeout=BOUND) as http,
        ):
            answer = await http.post(first, headers=headers)
            await until(two, second)
    return answer, second, left, {event.lane: event for event in finished}


async def idle(engine, _):
    await engine.wait_idle()
    assert engine.runs() == ()


@pytest.mark.parametrize("by", ["pipeline", "header"])
async def test_the_second_service_sees_what_is_left_and_stops_with_the_first(by):
    """Its deadline is what the first one has left, and when that passes nothing of it survives."""
    given = {"timeout": 3} if by == "pipeline" else {"headers": {"Grpc-Timeout": "3S"}}
    answer, second, (left,), finished = await chain(MODULE.client, until=idle, **given)
    (told,) = second.told
    assert 0 < told <= left <= 3
    assert len(second.ended) == 1
    assert answer.status_code == 504
    assert "limit of 3s" in answer.json()["blame"]
    assert {lane: (str(e.status), e.source) for lane, e in finished.items()} == {
        "first": ("timed_out", by), "second": ("timed_out", "header"),
    }  # fmt: skip


async def test_without_the_header_the_second_service_works_for_nobody():
    """The control: it is the header that stops it, and not the connection that is closed."""

    async def still_running(engine, second):
        assert len(engine.runs()) == 1
        assert second.ended == []
        engine.cancel_all("the test has seen enough")
        await engine.wait_idle()

    answer, _, _, finished = await chain(
        lambda: httpx.AsyncClient(timeout=None),  # noqa: S113 - the first service has a deadline
        timeout=3,
        until=still_running,
    )
    assert answer.status_code == 504
    assert finished["second"].blame.kind == "shutdown"


async def test_a_malformed_header_changes_nothing():
    """The service answers within its own limit, and counts it."""

    async def double(text):
        return text * 2

    with trio.fail_after(BOUND):
        async with (
            open_engine() as engine,
            MODULE.serving(
                MODULE.create_app(engine, Pipeline("p", [double], timeout=500))
            ) as address,
            httpx.AsyncClient(timeout=BOUND) as http,
        ):
            answer = await http.post(address, content="x", headers={"grpc-timeout": "soon"})
            assert engine.health().malformed_headers == 1
    assert (answer.status_code, answer.json()) == (200, {"value": "xx", "blame": None})


def pipeline_of(work, **options):
    return Pipeline("p", [Node(work, name="work", **options)], timeout=100)


async def test_the_hook_tells_each_request_anew(autojump_clock):
    """Retries and redirects included, each has what is left at its own time."""
    told = []

    async def answer(request):
        told.append(decode(request.headers["grpc-timeout"]))
        await trio.sleep(0.25)
        if len(told) == 1:
            return httpx.Response(307, headers={"location": "/elsewhere"})
        if len(told) == 2:
            raise httpx.ReadError("the connection was lost")
        return httpx.Response(204)

    async def work(_):
        async with MODULE.client(transport=httpx.MockTransport(answer)) as http:
            response = await http.get("http://peer/", follow_redirects=True)
        return response.status_code

    retry = Retry(attempts=2, backoff=0)
    async with open_engine() as engine:
        result = await engine.run(pipeline_of(work, timeout=5, attempt_timeout=3, retry=retry))
    assert result.value == 204
    assert told == [3, 2.75, 3]


async def test_the_hook_makes_no_call_that_nobody_waits_for(autojump_clock):
    """Where nothing is left the request never reaches the transport."""
    calls = []

    async def answer(request):
        calls.append(request)
        return httpx.Response(204)

    async def work(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
            async with MODULE.client(transport=httpx.MockTransport(answer)) as http:
                await http.get("http://peer/")

    async with open_engine() as engine:
        result = await engine.run(pipeline_of(work, timeout=1))
    assert (result.status, calls) == ("timed_out", [])


def test_program():
    """The file is a program: it shows an answer in time, and one that both services give up."""
    done = subprocess.run(  # noqa: S603 - our own example
        [sys.executable, "-W", "error", EXAMPLE],
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "200 {'value': '0 s of work', 'blame': None}",
        "504 {'value': None, 'blame': \"pipeline 'first' exceeded its limit of 2s\"}",
        "first: timed_out, its limit came from the header",
        "second: timed_out, its limit came from the header",
    ]
