"""The example service as a process, over real sockets: nothing here depends on how long it takes."""

import gc
import math
import runpy
import signal
import socket
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import trio

from graceline import Pipeline, open_engine

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "service.py"

pytestmark = pytest.mark.usefixtures("bounded")


@pytest.fixture(scope="module")
def server(launch):
    """One service with all limits eight times as long, for tests that do not end it."""
    return launch("--slots", "16", "--queue", "16")


@pytest.fixture(scope="module")
def patient(launch):
    """One service with limits that no pause of the machine passes."""
    return launch(factor=400)


@pytest.mark.parametrize(
    ("query", "text", "node"),
    [
        ("2 + 3", "5", "calculate"),
        ("find trio", "trio in the cache; trio in the index; trio in the archive", "search"),
        ("hello", "you said: hello", "chat"),
    ],
)
async def test_routes(patient, query, text, node):
    """A query is answered by the one node of the processing stage that its route names."""
    reply = await patient.ask(query)
    answer = reply.json
    assert (reply.code, answer["status"], answer["degraded"]) == (200, "ok", [])
    assert answer["value"] == {"text": text, "valid": True, "remark": f"{len(text)} characters"}
    assert answer["completed"] == ["understand", "decide", node, "pick", "validate", "reflect"]
    assert reply.headers["x-run-id"] == answer["run_id"]


@pytest.mark.parametrize("fault", ["slow", "hung"])
async def test_critical_stage(server, fault):
    """A critical stage that is too slow, or hangs, is a 504 with the level to blame and what was found."""
    reply = await server.ask(f"find !{fault} search")
    answer = reply.json
    assert (reply.code, answer["status"], answer["value"]) == (504, "timed_out", None)
    assert (answer["blame"]["level"], answer["blame"]["name"]) == ("stage", "processing")
    assert answer["completed"] == ["understand", "decide"]
    assert answer["partial"]["search"]["text"].startswith(f"!{fault} search in the cache")


@pytest.mark.parametrize("fault", ["slow", "hung", "raising"])
async def test_soft_stage(server, fault):
    """A stage that is not critical is missed in a degraded answer, and in nothing else."""
    reply = await server.ask(f"!{fault} validate")
    answer = reply.json
    assert (reply.code, answer["status"]) == (200, "ok")
    assert answer["degraded"] == ["validation"]
    assert (answer["value"]["valid"], answer["value"]["remark"]) == (
        None,
        f"{len(answer['value']['text'])} characters",
    )


async def test_hung_cleanup(server):
    """Cleanup that hangs is cut at the end of its grace and reported; the answer is a 504."""
    reply = await server.ask("!unclean chat")
    assert (reply.code, reply.json["status"]) == (504, "timed_out")
    assert "cleanup_overran assistant" in server.log()
    assert (await server.health())["runs"] == []


async def test_raising_stage(patient):
    """A critical stage that raises is a 500 which names it; what it raised is for the log alone."""
    reply = await patient.ask("!raising decide")
    answer = reply.json
    assert (reply.code, answer["status"]) == (500, "failed")
    assert (answer["blame"]["name"], answer["completed"]) == ("decide", ["understand"])
    assert b"the model is down" not in reply.body
    assert "RuntimeError: the model is down" in patient.log()


async def test_blocked_loop(patient):
    """A stage that blocks the event loop is in the log with its stack, and the service goes on."""
    reply = await patient.ask("!blocking chat")
    assert reply.code == 200
    log = patient.log()
    assert "the event loop has been blocked for" in log
    assert "time.sleep(0.7)" in log
    assert (await patient.health())["blocked"] is None


async def test_budget(server):
    """The requester's own patience shortens the limit, and is to blame when it ends."""
    reply = await server.ask("!hung chat", grpc_timeout="150m")
    blame = reply.json["blame"]
    assert (reply.code, blame["source"], blame["limit"]) == (504, "header", 0.15)


async def test_malformed_budget(launch):
    """A deadline header that says nothing is ignored, and counted in the health."""
    server = launch(factor=400)
    assert (await server.ask("2 + 3", grpc_timeout="40")).code == 200
    assert (await server.health())["malformed_headers"] == 1


@pytest.mark.parametrize(
    ("body", "headers", "code", "said"),
    [
        (b'{"query": 3}', {}, 400, b'send {"query": "..."}'),
        (b"[" * 10_000, {}, 400, b"recursion"),
        (b'{"que', {}, 400, b"Unterminated"),
        (b"\xff", {}, 400, b"decode"),
        (b" " * 70_000, {}, 413, b"Too Large"),
    ],
    ids=["document", "depth", "json", "text", "size"],
)
async def test_bad_requests(server, body, headers, code, said):
    """A request that makes no sense is refused, and told why."""
    reply = await server.request("POST", "/ask", body, **headers)
    assert reply.code == code
    assert said in reply.body


async def test_retry_after(autojump_clock):
    """A refusal says in whole seconds when to come back, if anybody can tell."""
    example = runpy.run_path(str(EXAMPLE))
    async with open_engine(max_concurrent_pipelines=1, max_queue=1) as engine:
        pipeline = Pipeline("sleep", [trio.sleep], timeout=math.inf)
        for _ in range(20):  # so many tell how long the next one takes
            await engine.run(pipeline, 0.7)
        first, _, refused = (engine.start(pipeline, 0.7) for _ in range(3))
        reply = example["respond"](await refused.wait())
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert "retry-after" not in example["respond"](await first.wait()).headers


async def test_many_clients(launch):
    """Of 200 clients at once each gets an answer or a refusal, and no more run than have a slot."""
    server = launch("--slots", "16", "--queue", "16", factor=400)
    codes, connected = Counter(), trio.Event()

    async def client():
        await connected.wait()
        codes[(await server.ask("find trio")).code] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(client)
        connected.set()
    health = await server.health()
    assert codes[200] >= 32
    assert set(codes) <= {200, 503, 504}
    assert sum(codes.values()) == 200
    assert (health["ok"], health["active"], health["queued"]) == (True, 0, 0)
    server.terminate()
    status, report = server.ended()
    assert (status, report["left"]) == (0, [])
    assert 1 <= report["most"] <= 16


async def test_full(launch):
    """When all slots and the queue are taken, a request is refused with a 503."""
    server = launch("--slots", "2", "--queue", "1", factor=400)
    streams = [await server.asking("!hung chat") for _ in range(3)]
    health = await server.until(lambda health: len(health["runs"]) == 3)
    assert (health["active"], health["queued"]) == (2, 1)
    reply = await server.ask("2 + 3")
    assert (reply.code, reply.json["status"]) == (503, "rejected")
    for stream in streams:
        await stream.aclose()
    await server.until(lambda health: health["runs"] == [])
    assert (await server.ask("2 + 3")).code == 200


async def test_disconnect(launch):
    """A client that hangs up cancels its run, which has its cleanup and leaves nothing."""
    server = launch(factor=400)
    stream = await server.asking("!unclean decide")
    health = await server.until(lambda _: "decide is unclean" in server.log())
    assert 0 < health["runs"][0]["remaining"] <= 100
    await stream.aclose()
    await server.until(lambda health: health["runs"] == [])
    log = server.log()
    assert "cancel_requested assistant, blamed: pipeline 'assistant' (user)" in log
    assert "cleanup_overran assistant" in log
    assert "pipeline_cancelled" in log
    assert "Traceback" not in log


async def test_drain(launch):
    """While it drains, health and new requests get a 503, what runs is answered, and then it ends."""
    server = launch("--drain-timeout", "60s", factor=400)
    idle = await server.connect("GET", "/health")
    answered = b""
    while not answered.endswith(b"}"):
        answered += await idle.receive_some()
    hung = await server.asking("!hung chat")
    await server.until(lambda health: health["active"] == 1)
    server.terminate()
    await server.until(lambda health: health["draining"])
    assert (await server.request("GET", "/health")).code == 503
    reply = await server.ask("2 + 3")
    assert (reply.code, reply.json["status"]) == (503, "rejected")
    assert "draining" in reply.json["blame"]["message"]
    await hung.aclose()
    status, report = server.ended()
    assert (status, report["left"], len(report["runs"])) == (0, [], 1)
    async with idle:
        assert await idle.receive_some() == b""


async def test_limits():
    """The example has the limits that it is known for."""
    example = runpy.run_path(str(EXAMPLE))
    pipeline = example["assistant"](example["Services"]())
    assert [(stage.name, stage.timeout, stage.critical) for stage in pipeline.stages] == [
        ("intent", 0.05, True),
        ("decision", 0.1, True),
        ("processing", 0.12, True),
        ("validation", 0.04, False),
        ("reflection", 0.03, False),
    ]
    assert pipeline.timeout == 0.25


async def test_linger(launch):
    """A drained service goes on saying 503 until it has been noticed; a second SIGTERM does not wait."""
    server = launch("--linger", "60s")
    server.terminate()
    await server.until(lambda health: health["draining"])
    assert (await server.ask("2 + 3")).code == 503
    server.terminate()
    assert server.ended() == (-signal.SIGTERM, None)


async def test_drain_timeout(launch):
    """Runs that outlast the drain are cancelled with their grace, and their clients are told."""
    server = launch("--drain-timeout", "100ms", factor=400)
    replies = []

    async def client(query):
        replies.append(await server.ask(query))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client, "find !hung search")
        nursery.start_soon(client, "find !unclean search")
        await server.until(lambda _: server.log().count("search is ") == 2)
        server.terminate()
    assert [(reply.code, reply.json["blame"]["kind"]) for reply in replies] == [
        (503, "shutdown"),
        (503, "shutdown"),
    ]
    assert all("in the cache" in reply.json["partial"]["search"]["text"] for reply in replies)
    status, report = server.ended()
    assert (status, report["left"]) == (0, [])
    assert "2 runs had to be cancelled" in server.log()


class Load:
    """Clients that ask one question after another, each on a new connection, and what they saw."""

    def __init__(self, server, *queries):
        self.server = server
        self.queries = queries
        self.codes = Counter()
        self.answered = set()
        self.enough = trio.Event()

    async def client(self, number, *, leaves=frozenset()):
        """Ask until the port is closed, or until an answer's code is in `leaves`."""
        code = None
        while code not in leaves:
            try:
                reply = await self.server.ask(self.queries[number % len(self.queries)])
            except self.server.dropped:
                code = "dropped"
            except OSError:
                code, leaves = "refused", {"refused"}
            else:
                code = reply.code
                self.answered.add(reply.headers["x-run-id"])
                if len(self.answered) >= 100:
                    self.enough.set()
            self.codes[code] += 1


async def test_sigterm_under_load(launch):
    """SIGTERM in the middle of load: every request is answered, until clients were told to go elsewhere."""
    server = launch("--drain-timeout", "60s", factor=400)
    load = Load(server, "2 + 3", "find trio", "hello", "!raising decide")
    holding = await server.asking("!hung chat")
    async with trio.open_nursery() as nursery:
        for number in range(48):
            nursery.start_soon(partial(load.client, number, leaves={503}))
        await load.enough.wait()
        server.terminate()
    await holding.aclose()
    status, report = server.ended()
    assert (status, report["left"]) == (0, [])
    assert set(load.codes) == {200, 500, 503}
    assert load.codes[503] == 48
    assert len(set(report["runs"]) - load.answered) == 1
    assert "ERROR hypercorn" not in server.log()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of the client, when it is dropped
async def test_sigterm_under_blind_load(launch):
    """With clients that ask until the port is closed, every run that was started is answered all the same."""
    server = launch("--drain-timeout", "2s", factor=1)
    faults = ("!hung chat", "!unclean chat", "!raising decide")
    load = Load(server, "2 + 3", "find trio", "hello", *faults)
    async with trio.open_nursery() as nursery:
        for number in range(48):
            nursery.start_soon(load.client, number)
        await load.enough.wait()
        server.terminate()
    status, report = server.ended()
    assert (status, report["left"]) == (0, [])
    # A connection may come while the listener closes; it is dropped unread, without a byte.
    assert set(load.codes) <= {200, 500, 503, 504, "refused", "dropped"}
    assert load.codes["refused"] == 48
    assert set(report["runs"]) <= load.answered
    log = server.log()
    assert "ERROR hypercorn" not in log
    assert "Exception ignored" not in log
    gc.collect()  # what the client left is to be found here, and not in another test


async def test_as_it_is(launch, monkeypatch):
    """The example itself answers on a free port of 127.0.0.1, and ends by SIGTERM with status 0."""
    monkeypatch.setenv("GRACELINE_MODE", "observe")  # its limits are short for a busy machine
    server = launch(factor=None)
    assert (await server.ask("2 + 3")).json["value"]["text"] == "5"
    assert (await server.health())["slots"] == 64
    server.terminate()
    assert server.process.wait(20) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), 5)
