"""A small web on this machine, for the examples: pages, a search, and the weather.

    python docs/examples/local_web.py --port 8765
    python docs/examples/local_web.py --port 8765 --flaky /weather --down /search

It prints its address, and serves for ten minutes, or as long as `--seconds` says. An address that
is `--flaky` answers its first two requests with 503; one that is `--down` answers all so.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGES = {
    "/pages/hive": "A hive of bees is warm. Bees dance in it.",
    "/pages/honey": "Honey keeps for years. Bees make it of nectar.",
    "/pages/owls": "Owls are silent. No owl makes honey.",
}
"""What the pages say. A search finds `/pages/gone`, too, which is not there."""
WEATHER = {"Oslo": 4, "Lima": 19}


class Web(ThreadingHTTPServer):
    """Counts the requests of each address, and lets some of them fail."""

    daemon_threads = True

    def __init__(self, port: int, flaky: list[str], down: list[str]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.flaky = frozenset(flaky)
        self.down = frozenset(down)
        self.requests: Counter[str] = Counter()
        self.lock = threading.Lock()

    def fails(self, path: str) -> bool:
        """Whether this request is one that fails."""
        with self.lock:
            self.requests[path] += 1
            return path in self.down or (path in self.flaky and self.requests[path] <= 2)


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Web

    def do_GET(self) -> None:
        """Answer it, or fail."""
        url = urlsplit(self.path)
        words = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/requests":
            self._send(200, dict(self.server.requests))
        elif self.server.fails(url.path):
            self._send(503, {"error": "try again"})
        elif url.path in PAGES:
            self._send(200, f"<html><p>{PAGES[url.path]}</p></html>")
        elif url.path == "/search":
            found = [path for path, text in PAGES.items() if words["q"] in text.lower()]
            self._send(200, self._urls(*found, "/pages/gone"))
        elif url.path == "/index":
            self._send(200, self._urls(*PAGES))
        elif url.path in ("/weather", "/yesterday") and words.get("city") in WEATHER:
            self._send(200, {"city": words["city"], "degrees": WEATHER[words["city"]]})
        else:
            self._send(404, {"error": "there is no such page"})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _urls(self, *paths: str) -> dict[str, list[str]]:
        return {"urls": [self.server.address + path for path in paths]}

    def _send(self, code: int, answer: Any) -> None:
        body = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(code)
        kind = "text/html" if isinstance(answer, str) else "application/json"
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.end_headers()
        self.wfile.write(body.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description="A small web on this machine.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long it serves")
    for name, how in (("--flaky", "fails twice"), ("--down", "always fails")):
        parser.add_argument(name, action="append", default=[], help=f"an address that {how}")
    options = parser.parse_args()
    with Web(options.port, options.flaky, options.down) as web:
        end = threading.Timer(options.seconds, web.shutdown)
        end.daemon = True
        end.start()
        print(web.address, flush=True)
        web.serve_forever()


if __name__ == "__main__":
    main()
