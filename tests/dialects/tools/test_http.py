"""The tool `http`, against a server on this machine that sees every request."""

import gzip
import json
import traceback
from functools import partial

import attrs
import httpx
import pytest
import trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from graceline import (
    DeadlineSpentError,
    GracelineError,
    Node,
    Pipeline,
    Timeouts,
    cleanup,
    incoming_budget,
    open_engine,
)
from graceline.dialects.tools import ToolFailedError, ToolRefusedError, understand
from graceline.dialects.tools.http import Http, _trusted
from graceline.telemetry.tracing import Tracing

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=30)
HANG = object()
ENDLESS = object()


@attrs.define
class Request:
    """What the server got."""

    method: str
    path: str
    headers: dict
    body: bytes


def answer(code=200, body=b"", kind="text/plain", **headers):
    """A response as bytes."""
    lines = [f"HTTP/1.1 {code} Said", f"content-length: {len(body)}", f"content-type: {kind}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode() + body


class Server:
    """Answers with what the test put in `answers`, by path; keeps the requests."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        self.closed = trio.Event()
        self.hanging = trio.Event()

    async def serve(self, stream):
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some(4096)
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += await stream.receive_some(4096)
        method, path, _ = first.split()
        self.requests.append(Request(method, path, headers, body))
        said = self.answers.get(path.partition("?")[0], answer(404))
        if said is HANG:
            self.hanging.set()
            await stream.receive_some(1)
            self.closed.set()
            return
        if said is ENDLESS:
            await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                while True:
                    await stream.send_all(b"x" * 65536)
            except trio.BrokenResourceError:
                self.closed.set()
                return
        await stream.send_all(said)
        await stream.send_eof()


@pytest.fixture
async def server(nursery, monkeypatch):
    """The server; no proxy stands between it and the tool."""
    monkeypatch.setenv("NO_PROXY", "*")
    server = Server()
    (listener, *_) = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
    server.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    return server


@pytest.fixture
async def engine():
    """An engine where nothing is limited by default."""
    async with open_engine(timeouts=NO_LIMITS) as engine:
        yield engine


TOOL = Http(max_size=100_000)


async def ask(engine, action=None, *, limit=None, tool=TOOL, **parameters):
    """Use the tool in a step; gives the outcome of that."""

    async def step(_):
        return understand(await tool(action=action, parameters=parameters))

    result = await engine.run(Pipeline("p", [Node(step, name="n", timeout=limit)]))
    return result.node("n")


async def test_a_request_is_answered(engine, server):
    """The answer as templates see it: code, address, headers, text."""
    server.answers["/a"] = answer(
        body="ß".encode("latin-1"), kind="text/plain; charset=latin-1", x_y="z"
    )
    done = await ask(engine, url=f"{server.url}/a", params={"q": "ß &"})
    assert done.value["success"] is True
    assert done.value["status_code"] == 200
    assert done.value["text"] == "ß"
    assert done.value["json"] is None
    assert done.value["headers"]["x-y"] == "z"
    assert done.value["url"] == f"{server.url}/a"
    assert server.requests[0].path == "/a?q=%C3%9F+%26"
    assert server.requests[0].method == "GET"


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json; charset=utf-8"])
async def test_json_is_read(engine, server, kind):
    """A body that says that it is JSON is there as its value too."""
    server.answers["/"] = answer(body=b'{"a": [1]}', kind=kind)
    assert (await ask(engine, url=server.url)).value["json"] == {"a": [1]}


async def test_broken_answers_are_text(engine, server):
    """What is no JSON after all, or of a charset that nobody knows, is still there as text."""
    server.answers["/a"] = answer(body=b"{", kind="application/json")
    server.answers["/b"] = answer(body=b"\xff", kind="text/plain; charset=nope")
    done = await ask(engine, url=f"{server.url}/a")
    assert (done.value["json"], done.value["text"]) == (None, "{")
    assert (await ask(engine, url=f"{server.url}/b")).value["text"] == "\ufffd"


@pytest.mark.parametrize("charset", ["idna", "Punycode", "undefined", "unicode_escape", "hex", "ß"])
async def test_a_charset_that_is_none_is_utf_8(engine, server, charset):
    """Python has codecs that fail with a bare error, or take long: no text is sent in them."""
    body = "ß\\u0041-zz99".encode()
    server.answers["/"] = answer(body=body, kind=f"text/plain; charset={charset}")
    assert (await ask(engine, url=server.url)).value["text"] == body.decode()


async def test_what_is_sent(engine, server):
    """A method as the action or as a parameter; JSON, a form, or text; headers."""
    server.answers["/"] = answer()
    await ask(engine, "post", url=server.url, json={"a": 1}, headers={"X-Key": "k"})
    await ask(engine, "request", method="put", url=server.url, data={"b": "2 3"})
    await ask(engine, "patch", url=server.url, body="text", method="PATCH")
    await ask(engine, "delete", url=server.url)
    methods = [request.method for request in server.requests]
    assert methods == ["POST", "PUT", "PATCH", "DELETE"]
    assert json.loads(server.requests[0].body) == {"a": 1}
    assert server.requests[0].headers["x-key"] == "k"
    assert server.requests[1].body == b"b=2+3"
    assert server.requests[2].body == b"text"


async def test_an_answer_that_is_no_success_fails_the_step(engine, server):
    """404 and 503 fail, with the answer kept; `ok_codes` allows for what is expected."""
    failed = await ask(engine, url=f"{server.url}/nope")
    assert failed.status == "failed"
    assert str(failed.error) == f"http: GET {server.url}/nope answers 404 Said"
    assert failed.error.result["status_code"] == 404
    done = await ask(engine, url=f"{server.url}/nope", ok_codes=[404])
    assert done.value["success"] is True


async def test_redirects_are_followed_and_bounded(engine, server):
    """Five at the most, only to http and https, and none where none is wanted."""
    server.answers["/a"] = answer(302, location="/b")
    server.answers["/b"] = answer(body=b"here")
    server.answers["/loop"] = answer(302, location="/loop")
    server.answers["/file"] = answer(302, location="file:///etc/passwd")
    assert (await ask(engine, url=f"{server.url}/a")).value["text"] == "here"
    stays = await ask(engine, url=f"{server.url}/a", follow_redirects=False, ok_codes=[302])
    assert stays.value["headers"]["location"] == "/b"
    before = len(server.requests)
    failed = await ask(engine, url=f"{server.url}/loop")
    assert str(failed.error) == f"http: GET {server.url}/loop: more than 5 redirects"
    assert len(server.requests) - before == 6
    failed = await ask(engine, url=f"{server.url}/file")
    assert isinstance(failed.error, ToolFailedError)


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"x" * 10, {"content_length": 600 << 20}), (b"no gzip", {"content_encoding": "gzip"})],
    ids=["large", "compressed"],
)
async def test_the_body_of_a_redirect_is_not_read(engine, server, body, headers):
    """Whatever stands in it, however large it is: who would read it would notice what is broken."""
    head, _, _ = answer(302, location="/b").partition(b"content-length: 0\r\n")
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    rest = "".join(lines) + "location: /b\r\n\r\n"
    server.answers["/a"] = head + rest.encode() + body
    server.answers["/b"] = answer(body=b"here")
    assert (await ask(engine, url=f"{server.url}/a")).value["text"] == "here"


OWN = {"X-Api-Key": "k", "authorization": "a", "Cookie": "c=1", "Accept": "text/plain"}


async def test_a_redirect_to_another_origin_gets_no_secrets(engine, server):
    """The step's own headers stay at the origin it named; there they follow each redirect."""
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    server.answers["/a"] = answer(302, location="/b")
    server.answers["/b"] = answer(307, location=f"{elsewhere}/c")
    server.answers["/c"] = answer(307, location=f"{server.url}/d")
    server.answers["/d"] = answer(body=b"here")
    done = await ask(engine, "post", url=f"{server.url}/a", headers=OWN, limit=500)
    assert done.value["text"] == "here"
    assert done.value["url"] == f"{server.url}/d"
    keys = [request.headers.get("x-api-key") for request in server.requests]
    assert keys == ["k", "k", None, None]
    assert [request.headers.get("authorization") for request in server.requests[2:]] == [None] * 2
    assert [request.headers.get("cookie") for request in server.requests[2:]] == [None] * 2
    assert {request.headers["accept"] for request in server.requests} == {"text/plain"}
    assert server.requests[2].headers["host"] == elsewhere.removeprefix("http://")
    assert all(0 < incoming_budget(request.headers) <= 500 for request in server.requests)


@pytest.mark.parametrize(
    ("before", "behind", "trusted"),
    [
        ("http://a/", "http://a:80/b", True),
        ("http://a/", "https://a/", True),
        ("https://a/", "http://a/", False),
        ("http://a:8000/", "https://a:8000/", False),
        ("http://a/", "http://a:8000/", False),
        ("https://a/", "https://b.a/", False),
    ],
)
def test_what_another_origin_is(before, behind, trusted):
    """Another host, port or scheme, but for the way from `http` to `https` at their own ports."""
    assert _trusted(httpx.URL(before), httpx.URL(behind)) is trusted


async def test_the_deadline_is_told(engine, server):
    """Each request says what is left of the step's limit, redirects included; without one, nothing."""
    server.answers["/a"] = answer(302, location="/b")
    server.answers["/b"] = answer()
    await ask(engine, url=f"{server.url}/a", limit=500)
    budgets = [incoming_budget(request.headers) for request in server.requests]
    assert len(budgets) == 2
    assert all(0 < budget <= 500 for budget in budgets)
    await ask(engine, url=f"{server.url}/b")
    assert incoming_budget(server.requests[-1].headers) is None


async def test_a_traced_run_says_which_span_asks(server):
    """`traceparent` comes along, also where no limit is to be told; without tracing it does not."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for sinks in ([Tracing(provider)], []):
        async with open_engine(timeouts=NO_LIMITS, sinks=sinks) as engine:
            await ask(engine, url=server.url)
    (node,) = [span.context for span in exporter.get_finished_spans() if span.name == "node n"]
    traced, untraced = [request.headers.get("traceparent") for request in server.requests]
    assert traced.startswith(f"00-{node.trace_id:032x}-{node.span_id:016x}-")
    assert untraced is None


async def test_a_request_ends_with_its_step(engine, server):
    """A server that hangs is left at the step's cancel: the connection is closed."""
    server.answers["/"] = HANG

    async def step(_):
        return await TOOL(parameters={"url": server.url})

    run = engine.start(Pipeline("p", [Node(step, name="n")]))
    with trio.fail_after(60):
        await server.hanging.wait()
        run.cancel("enough")
        assert (await run.wait()).status == "cancelled"
        await server.closed.wait()


async def test_there_is_no_timeout_but_the_steps(engine, server, monkeypatch):
    """Httpx's own default of five seconds does not cut a step that has more."""
    seen = []
    real = httpx.AsyncClient.send

    async def send(self, request, **options):
        seen.append(request.extensions["timeout"])
        return await real(self, request, **options)

    monkeypatch.setattr(httpx.AsyncClient, "send", send)
    server.answers["/"] = answer()
    await ask(engine, url=server.url, limit=500)
    assert set(seen[0].values()) == {None}


async def test_an_answer_is_bounded(engine, server):
    """Endless, compressed and plain bodies: reading stops at the limit, and the connection is closed."""
    server.answers["/endless"] = ENDLESS
    server.answers["/bomb"] = answer(body=gzip.compress(b"0" * 10_000_000), content_encoding="gzip")
    server.answers["/plain"] = answer(body=b"x" * 11)
    with trio.fail_after(60):
        failed = await ask(engine, url=f"{server.url}/endless")
        assert "answers with more than 100000 bytes, and no more are read" in str(failed.error)
        await server.closed.wait()
    failed = await ask(engine, url=f"{server.url}/bomb")
    assert "more than 100000 bytes" in str(failed.error)
    chunks = b"".join(b"3e8\r\n" + b"x" * 1000 + b"\r\n" for _ in range(50)) + b"0\r\n\r\n"
    server.answers["/chunks"] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks
    failed = await ask(engine, url=f"{server.url}/chunks", max_size=10)
    assert "more than 10 bytes" in str(failed.error)
    failed = await ask(engine, url=f"{server.url}/plain", max_size=10)
    assert "more than 10 bytes" in str(failed.error)
    assert (await ask(engine, url=f"{server.url}/plain", max_size=11)).value["text"] == "x" * 11
    big = await ask(engine, url=f"{server.url}/endless", max_size=10**9)
    assert "more than 100000 bytes" in str(big.error)


async def test_no_answer_is_a_failure(engine, server):
    """A refused connection and a broken response are errors of the step, with their causes."""
    server.answers["/"] = b"nonsense\r\n\r\n"
    failed = await ask(engine, url=server.url)
    assert isinstance(failed.error, ToolFailedError)
    assert failed.error.__cause__ is not None
    server.answers["/short"] = answer(body=b"x" * 10)[:-5]
    failed = await ask(engine, url=f"{server.url}/short")
    assert isinstance(failed.error, ToolFailedError)
    assert "incomplete" in str(failed.error) or "closed" in str(failed.error)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    failed = await ask(engine, url=f"http://127.0.0.1:{port}/")
    assert str(failed.error).startswith(f"http: GET http://127.0.0.1:{port}/: ")


SECRETS = ("MARK1", "MARK2", "MARK3", "MARK4", "MARK5")


def secret(url):
    """The address with a user, a password, two values in the query, and a fragment."""
    whole = "://MARK1:MARK2@".join(url.split("://"))
    return f"{whole}?api_key=MARK3&MARK4#MARK5"


def told(outcome):
    """All that an outcome says to people and to files: its error with causes, and its value."""
    error = outcome.error
    lines = traceback.format_exception(error, chain=True) if error else []
    lines = [line for line in lines if not line.startswith("  File")]  # with lines of code
    kept = {key: outcome.value[key] for key in ("url", "error") if key in (outcome.value or ())}
    return "".join([*lines, repr(kept), repr(getattr(error, "result", None))])


async def test_secrets_of_an_address_are_not_told(engine, server):
    """No user, password, query or fragment stands in an answer or an error; the place does."""
    server.answers["/ok"] = answer()
    server.answers["/a"] = answer(302, location=secret(f"{server.url}/ok"))
    server.answers["/loop"] = answer(302, location=secret(f"{server.url}/loop"))
    server.answers["/file"] = answer(302, location=secret("ftp://host/"))
    server.answers["/port"] = answer(302, location="http://MARK1:MARK2/")
    server.answers["/large"] = answer(body=b"x" * 11)
    server.answers["/broken"] = b"nonsense\r\n\r\n"
    for path in ("/ok", "/a"):
        done = await ask(engine, url=secret(f"{server.url}{path}"))
        assert done.value["url"] == f"{server.url}/ok"
        assert server.requests[-1].path == "/ok?api_key=MARK3&MARK4"
        assert server.requests[-1].headers["authorization"].startswith("Basic ")
        assert not any(mark in told(done) for mark in SECRETS)
    for path in ("/none", "/loop", "/file", "/port", "/large", "/broken"):
        failed = await ask(engine, url=secret(f"{server.url}{path}"), max_size=10)
        assert isinstance(failed.error, ToolFailedError)
        assert f"{server.url}{path}" in str(failed.error)
        assert not any(mark in told(failed) for mark in SECRETS), told(failed)
    failed = await ask(engine, url=server.url, headers={"authorization": "MARK1\n"})
    assert "the request breaks the rules of HTTP" in str(failed.error)
    assert not any(mark in told(failed) for mark in SECRETS), told(failed)
    failed = await ask(engine, url=server.url, params={"q": "MARK1" * 20_000})
    assert isinstance(failed.error, ToolRefusedError)
    assert not any(mark in told(failed) for mark in SECRETS), told(failed)


@pytest.mark.parametrize(
    "url",
    [
        secret("ftp://host/"),
        "http://MARK1:MARK2/",
        "http://MARK1:MARK2@[::1/",
        "MARK1:MARK2@host/x?k=MARK3",
        "MARK1/x",
        "/x?k=MARK3",
        "http://MARK1:MARK2@host\n/",
        "http:///x?k=MARK3",
    ],
)
async def test_secrets_of_what_is_no_address_are_not_told(url):
    """Where nobody can say which part of a text is a password, none of it is shown."""
    with pytest.raises(ToolRefusedError, match="is no address") as caught:
        await TOOL(parameters={"url": url})
    lines = "".join(traceback.format_exception(caught.value))
    assert not any(mark in lines for mark in SECRETS), lines


@pytest.mark.parametrize(
    ("action", "parameters", "said"),
    [
        (None, {"url": "file:///etc/passwd"}, "is no address of http or https"),
        (None, {"url": "ftp://host/"}, "is no address of http or https"),
        (None, {"url": "/only/a/path"}, "is no address of http or https"),
        (None, {"url": "http://"}, "is no address of http or https"),
        (None, {"url": "http://a:b"}, "is no address"),
        (None, {"url": 3}, "http, url= takes a text, not 3"),
        (None, {}, "it needs the parameter 'url'"),
        (None, {"url": "http://a/", "method": "steal"}, "'steal' is none of get, post"),
        (None, {"url": "http://a/", "method": 3}, "http, method= takes a text"),
        ("get", {"url": "http://a/", "method": "post"}, "http, get: method= says 'post'"),
        ("get", {"url": "http://a/", "method": 3}, "http, get: method= says 3"),
        (None, {"url": "http://a/", "max_size": "1"}, "max_size= is a number of bytes, not '1'"),
        (None, {"url": "http://a/", "max_size": True}, "max_size= is a number of bytes"),
        (None, {"url": "http://a/", "header": {}}, "no parameter 'header'; did you mean 'headers'"),
        (None, {"url": "http://a/", "max_size": -1}, "max_size= is a number of bytes, not -1"),
        (None, {"url": "http://a/", "headers": 3}, "headers= is a mapping of texts, not int"),
        (None, {"url": "http://a/", "headers": {"X": 3}}, "mapping of texts, not int for 'X'"),
        (None, {"url": "http://a/", "params": "a=b"}, "params= is a mapping, not str"),
        (None, {"url": "http://a/", "data": "a"}, "data= is a mapping, not str"),
        (None, {"url": "http://a/", "body": 3}, "body= is a text, not int"),
        (None, {"url": "http://a/", "body": {"a": 3}}, "body= is a text, not dict"),
        (None, {"url": "http://a/", "ok_codes": 5}, "a list of codes from 100 to 599, not 5"),
        (None, {"url": "http://a/", "ok_codes": "500"}, "list of codes from 100 to 599, not '500'"),
        (None, {"url": "http://a/", "ok_codes": ["500"]}, "codes from 100 to 599, not ['500']"),
        (None, {"url": "http://a/", "ok_codes": [5]}, "ok_codes= is a list of codes from 100"),
        (None, {"url": "http://a/", "ok_codes": None}, "codes from 100 to 599, not None"),
        (None, {"url": "http://a/", "follow_redirects": "no"}, "is true or false, not 'no'"),
        (None, {"url": "http://a/", "json": 1, "body": "a"}, "there are json= and body="),
        (None, {"url": "http://a/", "data": {}, "json": 0}, "there are json= and data="),
        (None, {"url": "http://a/", "json": {1, 2}}, "http: GET http://a/: "),
        ("fetsh", {"url": "http://a/"}, "http has no action 'fetsh'; did you mean 'fetch'"),
    ],
)
async def test_wrong_parameters_are_refused(action, parameters, said):
    """What makes no request is refused before anything is sent, and never tried again."""
    with pytest.raises(ToolRefusedError) as caught:
        await TOOL(action=action, parameters=parameters)
    assert said in str(caught.value)
    assert caught.value.retryable is False


def test_types_are_looked_at_in_a_file():
    """What a file says is checked when it is read; what a template will say is not."""
    call = {"url": "http://a/", "ok_codes": [200, ...], "headers": {"X": ...}, "body": "a"}
    call |= {"json": ..., "params": ..., "max_size": ..., "follow_redirects": ...}
    assert list(TOOL.check_call(action=None, parameters=call)) == []
    wrong = TOOL.check_call(action="get", parameters=call | {"ok_codes": 5, "json": {}})
    assert [way for way, _ in wrong] == [("parameters", "ok_codes"), ("parameters", "body")]


async def test_nothing_is_sent_without_time(engine, server):
    """Once the deadline has passed no call is made, but by cleanup, which says nothing of it."""
    server.answers["/"] = answer()
    errors = []

    async def step(_):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                try:
                    await TOOL(parameters={"url": server.url})
                except DeadlineSpentError as error:
                    errors.append(error)
            with cleanup():
                await TOOL(parameters={"url": server.url})

    run = engine.start(Pipeline("p", [Node(step, name="n")]))
    await trio.testing.wait_all_tasks_blocked()
    run.cancel("enough")
    await run.wait()
    assert len(errors) == 1
    assert [incoming_budget(request.headers) for request in server.requests] == [None]


async def test_it_works_only_in_a_step(server):
    """Outside of a run there is no limit that would end a request."""
    with pytest.raises(GracelineError, match="only inside a run"):
        await TOOL(parameters={"url": server.url})
