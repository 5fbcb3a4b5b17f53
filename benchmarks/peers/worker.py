"""The worker: runs one adapter in the environment of its peer, and answers in lines of JSON.

`python -m benchmarks.peers.worker ADAPTER`. One request per line on stdin, one answer per line on
what was stdout; whatever a peer prints goes to stderr instead.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

from benchmarks.peers.contract import Adapter, Limits, Part, Stages
from benchmarks.peers.scenarios import observe

__all__ = ["answer", "main"]

PER_STAGE = 5
GENEROUS = Limits(node=100.0, stage=200.0, run=300.0)


async def _trivial(value: Any) -> Any:
    return value


def _plain_trivial(value: Any) -> Any:
    return value


def _work(adapter: Adapter, nodes: int) -> Stages:
    function = _plain_trivial if adapter.world.plain else _trivial
    parts = [Part(f"n{number}", function) for number in range(nodes)]
    return [parts[at : at + PER_STAGE] for at in range(0, nodes, PER_STAGE)]


async def _time(adapter: Adapter, nodes: int, times: int) -> dict[str, float]:
    """Seconds per node. It ends with a tick, in which stale deadlines are cleared away."""
    stages = _work(adapter, nodes)
    units = nodes * times
    async with adapter.open(stages, GENEROUS, keep=False) as call:
        await call(1)
        gc.collect(1)
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(times):
            await call(1)
        await adapter.world.sleep(0)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    bare = time.process_time()
    for _ in range(times):
        for part in (part for stage in stages for part in stage):
            if adapter.world.plain:
                part.function(1)
            else:
                await part.function(1)
    bare = time.process_time() - bare
    return {"cpu": (cpu - bare) / units, "wall": (wall - bare) / units}


def answer(adapter: Adapter, request: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked: `about`, `time` or `probe`."""
    match request:
        case {"do": "about"}:
            return {
                "version": version(adapter.package) if adapter.package else "",
                "python": platform.python_version(),
                "node_limit": adapter.node_limit,
                "run_limit": adapter.run_limit,
                "docs": adapter.docs,
                "nodes": adapter.nodes,
            }
        case {"do": "time", "nodes": nodes, "times": times}:
            work: Callable[[], Any] = partial(_time, adapter, nodes, times)
        case {"do": "probe", "probe": name}:
            work = partial(observe, adapter, name)
        case _:
            raise ValueError(f"{dict(request)} is no request; it has do: about, time or probe")
    answered: dict[str, Any] = adapter.world.start(work)
    return answered


def main(name: str) -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    adapter: Adapter | None = None
    for line in sys.stdin:
        try:
            if adapter is None:
                adapter = import_module(f"benchmarks.peers.adapters.{name}").Peer()
            said = answer(adapter, json.loads(line))
        except Exception as error:  # noqa: BLE001 - told to the driver, which writes it down
            said = {"error": f"{type(error).__name__}: {error}"[:400]}
        answers.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)  # threads that a peer left behind are no reason to stay
