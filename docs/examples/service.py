"""A service that answers in time: HTTP on Trio, with a pipeline behind it.

    pip install 'graceline[service]'
    python docs/examples/service.py --port 8000
    curl -d '{"query": "2 + 3"}' http://127.0.0.1:8000/ask
    curl -d '{"query": "find trio"}' -H 'grpc-timeout: 60m' http://127.0.0.1:8000/ask
    curl http://127.0.0.1:8000/health

An answer is due after 250 ms, or sooner if the header `grpc-timeout` says so (60m is 60 ms).
`validation` and `reflection` are not critical: without them it is degraded, but there. A client
that hangs up cancels its run. SIGTERM drains: see docs/service.md.
"""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Mapping
from functools import partial
from math import ceil, inf
from typing import Any
from uuid import uuid4

import attrs
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from graceline import (
    Engine,
    Node,
    Pipeline,
    PipelineResult,
    Stage,
    Status,
    cleanup,
    incoming_budget,
    open_engine,
    parallel,
    parse_duration,
    save_partial,
    sequence,
)

READ_WITHIN = 5.0  # seconds that a client has for its request's body
WRITE_WITHIN = 2.0  # seconds that clients have for reading their answers after the drain
SAID = ("run_id", "status", "value", "degraded", "completed", "partial", "blame")

UNAVAILABLE = 503  # the run was refused, or the drain cut it
CODES = {Status.OK: 200, Status.LATE: 200, Status.FAILED: 500, Status.TIMED_OUT: 504}

_log = logging.getLogger("service")


@attrs.frozen
class Question:
    """What somebody wants, and which node of the processing stage is to answer."""

    query: str
    topic: str
    route: str = ""


@attrs.frozen
class Answer:
    """What was found so far."""

    text: str
    valid: bool | None = None
    remark: str | None = None


class Services:
    """The models and indexes that the pipeline asks. Here they only take their time."""

    async def understand(self, query: str) -> Question:
        """Say what the query is about."""
        await trio.sleep(0.005)
        if query.replace("+", "").replace(" ", "").isdecimal():
            return Question(query, "numbers")
        return Question(query, "documents" if query.startswith("find ") else "talk")

    async def decide(self, question: Question) -> Question:
        """Choose who answers."""
        await trio.sleep(0.01)
        routes = {"numbers": "calculate", "documents": "search"}
        return attrs.evolve(question, route=routes.get(question.topic, "chat"))

    async def calculate(self, question: Question) -> Answer:
        """Add numbers up."""
        return Answer(str(sum(int(number) for number in question.query.split("+"))))

    async def search(self, question: Question) -> Answer:
        """Look through all sources; what was found is saved after each."""
        found: list[str] = []
        try:
            for source in ("cache", "index", "archive"):
                await trio.sleep(0.01)
                found.append(f"{question.query.removeprefix('find ')} in the {source}")
                save_partial(Answer("; ".join(found)))
        finally:
            with cleanup():
                await trio.sleep(0.002)  # the connection goes back to its pool
        return Answer("; ".join(found))

    async def chat(self, question: Question) -> Answer:
        """Say something friendly."""
        await trio.sleep(0.02)
        return Answer(f"you said: {question.query}")

    async def validate(self, answer: Answer) -> Answer:
        """Check the answer."""
        await trio.sleep(0.005)
        return attrs.evolve(answer, valid=bool(answer.text))

    async def reflect(self, answer: Answer) -> Answer:
        """Add a remark."""
        await trio.sleep(0.005)
        return attrs.evolve(answer, remark=f"{len(answer.text)} characters")


def assistant(services: Services) -> Pipeline:
    """The pipeline: what has to be done, and how long each part may take."""
    nodes = (services.calculate, services.search, services.chat)
    routes = [Node(one, when=partial(_goes_to, one.__name__)) for one in nodes]
    return Pipeline(
        "assistant",
        [
            Stage("intent", [services.understand], timeout="50ms"),
            Stage("decision", [services.decide], timeout="100ms"),
            Stage("processing", sequence(parallel(*routes), pick), timeout="120ms"),
            Stage("validation", [services.validate], timeout="40ms", critical=False),
            Stage("reflection", [services.reflect], timeout="30ms", critical=False),
        ],
        timeout="250ms",
        grace="50ms",
    )


def _goes_to(route: str, question: Question) -> bool:
    return question.route == route


async def pick(routes: Mapping[str, Question | Answer]) -> Answer:
    """Take the answer; the question has passed through the nodes that were skipped."""
    return next(value for value in routes.values() if isinstance(value, Answer))


def create_app(engine: Engine, pipeline: Pipeline) -> Starlette:
    """The web application in front of one pipeline."""

    async def ask(request: Request) -> JSONResponse:
        query = await read(request)
        budget = incoming_budget(request.headers)
        run_id = uuid4().hex
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_if_gone, request, run_id)
            result = await engine.run(pipeline, query, run_id=run_id, budget=budget)
            nursery.cancel_scope.cancel()
        return respond(result)

    async def cancel_if_gone(request: Request, run_id: str) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        await engine.cancel(run_id, "the client has gone", wait=False)

    async def health(_: Request) -> JSONResponse:
        seen = engine.health()
        # JSON has no infinity, and in `mode="off"` nothing is limited.
        document = attrs.asdict(seen, value_serializer=lambda _, __, v: None if v == inf else v)
        return JSONResponse({"ok": seen.ok} | document, UNAVAILABLE if seen.draining else 200)

    app = Starlette(routes=[Route("/ask", ask, methods=["POST"]), Route("/health", health)])
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=64 * 1024)
    return app


async def read(request: Request) -> str:
    """The query."""
    try:
        with trio.fail_after(READ_WITHIN):
            document = await request.json()
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, str(error)) from None
    except (trio.TooSlowError, ClientDisconnect):
        raise HTTPException(408) from None
    match document:
        case {"query": str(query)}:
            return query
    raise HTTPException(400, 'send {"query": "..."}')


def respond(result: PipelineResult) -> JSONResponse:
    """A result as a response: also without a value it says what was found, and who is to blame."""
    if result.error is not None:  # its text is ours to read, and not the client's
        _log.error("run %s: %s", result.run_id, result, exc_info=result.error)
    said = {key: value for key, value in result.to_dict().items() if key in SAID}
    headers = {"X-Run-Id": result.run_id}
    if result.blame is not None and result.blame.retry_after is not None:
        headers["Retry-After"] = str(ceil(result.blame.retry_after))  # HTTP knows whole seconds
    return JSONResponse(said, CODES.get(result.status, UNAVAILABLE), headers)


async def run_service(pipeline: Pipeline, options: argparse.Namespace) -> None:
    """Serve until somebody says SIGTERM or SIGINT, then drain. A second signal ends it at once."""
    config = Config()
    config.bind = [f"{options.host}:{options.port}"]
    config.backlog = 1024
    config.graceful_timeout = WRITE_WITHIN
    config.errorlog = logging.getLogger("hypercorn.error")
    drained = trio.Event()
    async with (
        open_engine(max_concurrent_pipelines=options.slots, max_queue=options.queue) as engine,
        trio.open_nursery() as nursery,
    ):
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            app: Any = create_app(engine, pipeline)
            serving = partial(serve, app, config, shutdown_trigger=drained.wait)
            print(*await nursery.start(serving), flush=True)
            await anext(aiter(signals))
        noticed_at = trio.current_time() + options.linger
        cut = await engine.drain(options.drain_timeout)
        await trio.sleep_until(noticed_at)
        _log.info("drained; %d runs had to be cancelled", cut)
        drained.set()


def main(pipeline: Pipeline | None = None) -> None:
    """The command line; `pipeline` replaces the assistant with its simulated services."""
    parser = argparse.ArgumentParser(description="A service that answers in time.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--slots", type=int, default=64, help="runs that are active at once")
    parser.add_argument("--queue", type=int, default=64, help="runs that may wait for a slot")
    parser.add_argument("--drain-timeout", type=parse_duration, default=10.0, help="such as 10s")
    parser.add_argument("--linger", type=parse_duration, default=1.0, help="say 503 so long")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    trio.run(run_service, pipeline or assistant(Services()), parser.parse_args())


if __name__ == "__main__":
    main()
