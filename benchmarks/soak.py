"""A soak: one engine under constant load for minutes, and what grows in the meantime.

`python -m benchmarks.soak [--minutes 10] [--json F]`. The load is a mix of what happens to a
service: runs that end well, time out, fail, are cancelled by a user or by their caller, hung
cleanup, threads that are abandoned, scopes. Once a minute it stands still for a moment, and what is
left is counted. Exits with 1 if anything grew.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from graceline import Node, Pipeline, Stage, cleanup, open_engine, parallel, sequence

if TYPE_CHECKING:
    from graceline import Engine

__all__ = ["Sample", "main"]

WORKERS = 50
GROWTH = 1.1  # of the memory after the first minute, which fills caches and pools


@attrs.frozen(kw_only=True)
class Sample:
    """What there was at a moment when nothing ran.

    Attributes:
        minute: since the start.
        runs: how many have ended.
        memory: resident bytes.
        tasks: of the event loop.
        threads: of the process, Trio's idle workers aside.
        descriptors: that are open.
        live: runs that the engine knows.
        heap: deadlines that Trio waits for, stale ones included.
    """

    minute: float
    runs: int
    memory: int
    tasks: int
    threads: int
    descriptors: int
    live: int
    heap: int


async def _quick(value: Any) -> Any:
    await trio.sleep(0.002)
    return value


async def _stuck(_: Any) -> None:
    await trio.sleep_forever()


async def _fails(_: Any) -> None:
    await trio.sleep(0.001)
    raise ValueError


async def _cleans(_: Any) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with cleanup():
            await trio.sleep_forever()


def _thread(_: Any) -> None:
    threading.Event().wait(0.05)


def _line(name: str, *functions: Any) -> Pipeline:
    nodes = [Node(one, name=f"n{at}", timeout=0.02) for at, one in enumerate(functions)]
    return Pipeline(name, [Stage("s", sequence(*nodes))], timeout=0.1, grace=0.01)


LOAD = (
    _line("well", _quick, _quick, _quick),
    Pipeline("wide", [Stage("s", parallel(*(Node(_quick, name=f"n{i}") for i in range(5))))]),
    _line("times out", _quick, _stuck),
    _line("fails", _quick, _fails),
    _line("hung cleanup", _cleans),
    _line("abandons", _thread),
)


class _Load:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.runs = 0

    async def work(self, worker: int, until: float) -> None:
        at = worker
        while trio.current_time() < until:
            await self._once(at)
            at += 1

    async def _once(self, at: int) -> None:
        pipeline = LOAD[at % len(LOAD)]
        match at % 5:
            case 0:
                run = self.engine.start(pipeline, at)
                await trio.sleep(0.001)
                run.cancel("the user left")
                await run.wait()
            case 1:
                with trio.move_on_after(0.003):
                    await self.engine.run(pipeline, at)
            case 2:
                async with self.engine.deadline("scope", 0.005):
                    await self.engine.run(pipeline, at)
            case _:
                await self.engine.run(pipeline, at)
        self.runs += 1


async def _settled(engine: Engine) -> None:
    await engine.wait_idle()
    while engine.abandoned_threads:  # noqa: ASYNC110 - nobody tells of the last one
        await trio.sleep(0.01)
    await trio.sleep(0.1)
    gc.collect()


def _sample(minute: float, load: _Load) -> Sample:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    threads = [one for one in threading.enumerate() if not one.name.startswith("Trio thread")]
    return Sample(
        minute=minute,
        runs=load.runs,
        memory=pages * os.sysconf("SC_PAGE_SIZE"),
        tasks=trio.lowlevel.current_statistics().tasks_living,
        threads=len(threads),
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
        live=len(load.engine.runs()),
        heap=len(trio._core._run.GLOBAL_RUN_CONTEXT.runner.deadlines._heap),  # noqa: SLF001 - a look
    )


async def _soak(minutes: int) -> list[Sample]:
    samples = []
    async with open_engine(max_concurrent_pipelines=None) as engine:
        load = _Load(engine)
        for minute in range(minutes):
            until = trio.current_time() + 60
            async with trio.open_nursery() as nursery:
                for worker in range(WORKERS):
                    nursery.start_soon(load.work, worker, until)
            await _settled(engine)
            sample = _sample(minute + 1, load)
            samples.append(sample)
            print(json.dumps(attrs.asdict(sample)), flush=True)
    return samples


def _grown(samples: list[Sample]) -> list[str]:
    first, last = samples[0], samples[-1]
    found = [
        f"{name}: {getattr(first, name)} -> {getattr(last, name)}"
        for name in ("tasks", "threads", "descriptors", "live")
        if getattr(last, name) > getattr(first, name)
    ]
    if last.memory > first.memory * GROWTH:
        found.append(f"memory: {first.memory:,} -> {last.memory:,} bytes")
    if last.heap > max(2000, 2 * first.heap):
        found.append(f"heap of deadlines: {first.heap} -> {last.heap}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the soak; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    samples = trio.run(_soak, options.minutes)
    if options.json:
        options.json.write_text(json.dumps([attrs.asdict(one) for one in samples], indent=2))
    for line in _grown(samples):
        print("grew:", line)
    return int(bool(_grown(samples)))


if __name__ == "__main__":
    sys.exit(main())
