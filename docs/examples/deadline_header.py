"""Two services in a chain over HTTP: the second one sees what is left, and stops with the first.

    pip install 'graceline[service]' httpx
    python docs/examples/deadline_header.py

`client()` is an httpx client whose every request tells the deadline of the node that makes it, and
`create_app()` a service that keeps to what it is told. See docs/deadline-header.md.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from graceline import Engine, Node, Pipeline, incoming_budget, open_engine, outgoing_headers
from graceline.telemetry.events import Event, RunFinished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def add_deadline(request: httpx.Request) -> None:
    """Tell what is left, and make no call if nothing is; a hook for httpx, redirects included."""
    request.headers.update(outgoing_headers())


def client(**options: Any) -> httpx.AsyncClient:
    """A client for nodes: a request ends with its node, and needs no timeout of its own."""
    hooks = {"request": [add_deadline]}
    return httpx.AsyncClient(event_hooks=hooks, timeout=None, **options)  # noqa: S113


def create_app(engine: Engine, pipeline: Pipeline) -> Starlette:
    """A service that runs a pipeline for each request, as long as the requester waits."""

    async def ask(request: Request) -> JSONResponse:
        budget = incoming_budget(request.headers)
        result = await engine.run(pipeline, (await request.body()).decode(), budget=budget)
        blame = None if result.blame is None else result.blame.message
        return JSONResponse({"value": result.value, "blame": blame}, 200 if result.ok else 504)

    return Starlette(routes=[Route("/", ask, methods=["POST"])])


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve an app on a free port of this machine; gives its address."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = logging.getLogger("hypercorn.error")
    ended = trio.Event()
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(partial(serve, app, config, shutdown_trigger=ended.wait))
        try:
            yield address
        finally:
            ended.set()


class Endings(dict[str, str]):
    """Keeps how runs that got no answer ended, by the lane of their service."""

    inline = True

    def wants_trace(self) -> bool:
        """Nothing but trouble is of interest."""
        return False

    def __call__(self, event: Event) -> None:
        """Keep what an event says."""
        if isinstance(event, RunFinished):
            self[event.lane] = f"{event.status}, its limit came from the {event.source}"


async def main() -> None:
    """Ask the first service, which asks the second one, which would take a minute."""
    endings = Endings()

    async def work(seconds: str) -> str:
        await trio.sleep(float(seconds))
        return f"{seconds} s of work"

    async def forward(seconds: str) -> Any:
        async with client() as http:
            answer = await http.post(second, content=seconds)
        return answer.json()["value"]

    async with (
        open_engine(lane="first", sinks=[endings]) as one,
        open_engine(lane="second", sinks=[endings]) as two,
        serving(create_app(two, Pipeline("second", [Node(work)], timeout="2m"))) as second,
        serving(create_app(one, Pipeline("first", [Node(forward)], timeout="1m"))) as first,
        httpx.AsyncClient(timeout=60) as http,
    ):
        for seconds, headers in (("0", {}), ("60", {"grpc-timeout": "2S"})):
            answer = await http.post(first, content=seconds, headers=headers)
            print(answer.status_code, answer.json())
        await two.wait_idle()
    for lane, how in sorted(endings.items()):
        print(f"{lane}: {how}")


if __name__ == "__main__":
    trio.run(main)
