"""The example service as a process of its own, and a client that sees every byte."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "service.py"
FAULTY = Path(__file__).with_name("faulty_service.py")
BOUND = 20
"""Seconds after which a test gives up. Nothing is expected to take that long."""


class DroppedError(Exception):
    """The connection was closed, and not a byte had come."""


@attrs.frozen
class Reply:
    """A complete response."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def parse(raw):
    """Read a response; one that is not complete is an error."""
    head, separator, body = raw.partition(b"\r\n\r\n")
    assert separator, f"half a response: {raw!r}"
    first, *lines = head.decode().split("\r\n")
    headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}
    assert len(body) == int(headers["content-length"]), f"half a response: {raw!r}"
    return Reply(int(first.split()[1]), headers, body)


@attrs.define
class Server:
    """A process that serves."""

    process: subprocess.Popen
    port: int
    log_file: Path
    dropped: type = DroppedError

    async def connect(self, method, path, body=b"", **headers):
        """Open a connection and send a request."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        lines = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}"]
        lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
        try:
            await stream.send_all("\r\n".join([*lines, "", ""]).encode() + body)
        except trio.BrokenResourceError:
            raise DroppedError from None
        return stream

    async def request(self, method, path, body=b"", **headers):
        """One request on a connection of its own."""
        stream = await self.connect(method, path, body, Connection="close", **headers)
        raw = b""
        async with stream:
            try:
                async for chunk in stream:
                    raw += chunk
            except trio.BrokenResourceError:
                assert not raw, f"half a response: {raw!r}"
        if not raw:
            raise DroppedError
        return parse(raw)

    async def ask(self, query, **headers):
        return await self.request("POST", "/ask", json.dumps({"query": query}).encode(), **headers)

    async def asking(self, query):
        """Ask, and keep the connection without reading from it."""
        return await self.connect("POST", "/ask", json.dumps({"query": query}).encode())

    async def health(self):
        return (await self.request("GET", "/health")).json

    async def until(self, condition):
        """Look at the health until it is as wanted."""
        while not condition(health := await self.health()):
            pass
        return health

    def log(self):
        return self.log_file.read_text()

    def terminate(self):
        os.kill(self.process.pid, signal.SIGTERM)

    def ended(self):
        """Wait for its end; gives the exit status and the last line that it printed."""
        printed, _ = self.process.communicate(timeout=BOUND)
        lines = printed.decode().splitlines()
        return self.process.returncode, json.loads(lines[-1]) if lines else None


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Start the service: stretched and faulty, or with `factor=None` as it is."""
    servers = []

    def start(*argv, factor=8):
        log = tmp_path_factory.mktemp("service") / "log"
        faulty = [str(FAULTY), str(factor), "--linger", "0s"]
        script = [str(EXAMPLE)] if factor is None else faulty
        with log.open("wb") as err:
            process = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, "-W", "error", *script, "--port", "0", *argv],
                stdout=subprocess.PIPE,
                stderr=err,
                bufsize=0,
            )
        server = Server(process, 0, log)
        servers.append(server)
        ready, _, _ = select.select([process.stdout], [], [], BOUND)
        address = process.stdout.readline().decode().strip() if ready else ""
        assert address.startswith("http://127.0.0.1:"), server.log()
        server.port = int(address.rpartition(":")[2])
        return server

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


@pytest.fixture
async def bounded():
    """No test takes for ever."""
    with trio.fail_after(BOUND):
        yield
