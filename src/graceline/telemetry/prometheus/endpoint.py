"""The scrape endpoint: a server in a thread of its own, which answers while the loop is blocked."""

from __future__ import annotations

from errno import EADDRINUSE
from threading import Lock, Thread
from wsgiref.simple_server import WSGIServer

import attrs
from prometheus_client import CollectorRegistry, start_http_server

from graceline.errors import GracelineError

__all__ = ["Endpoint", "close_endpoint", "open_endpoint"]


@attrs.define(eq=False)
class Endpoint:
    """A server, and how many engines use it.

    Attributes:
        host: where it listens, as it was asked for.
        port: the real one, also if any free one was asked for.
        registry: what it serves.
        server: the server.
        thread: where that runs.
        users: how many engines use it.
    """

    host: str
    port: int
    registry: CollectorRegistry
    server: WSGIServer
    thread: Thread
    users: int = 1


_open: dict[tuple[str, int], Endpoint] = {}
_lock = Lock()


def open_endpoint(registry: CollectorRegistry, host: str, port: int) -> Endpoint:
    """Serve a registry; who asks for the same address shares one server. It may take a moment.

    Raises:
        GracelineError: if the address cannot be had, or serves another registry.
    """
    with _lock:
        found = _open.get((host, port))
        if found is not None:
            if found.registry is not registry:
                raise GracelineError(
                    f"metrics_port={port}: an engine of this process serves another registry at "
                    f"{host}:{port}; give another port"
                )
            found.users += 1
            return found
        try:
            server, thread = start_http_server(port, host, registry)
        except (OSError, ValueError) as error:  # no name of a host is a ValueError
            if isinstance(error, OSError) and error.errno == EADDRINUSE:
                raise GracelineError(
                    f"metrics_port={port}: cannot listen on {host}:{port}: {error}; give a free "
                    "port, or 0 for any"
                ) from error
            raise GracelineError(
                f"metrics_host={host!r}, metrics_port={port}: cannot listen on host {host}: {error}"
            ) from error
        made = Endpoint(host, server.server_port, registry, server, thread)
        _open[host, made.port] = made
        return made


def close_endpoint(endpoint: Endpoint) -> None:
    """An engine uses it no more; the last one ends it, which takes up to half a second."""
    with _lock:
        endpoint.users -= 1
        if endpoint.users:
            return
        del _open[endpoint.host, endpoint.port]
        endpoint.server.shutdown()
        endpoint.server.server_close()
        endpoint.thread.join()
