"""Memory per run in flight: the growth of RSS of a fresh process with so many runs in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import attrs
import trio

from benchmarks.measure import Sample, Spread, interleave
from benchmarks.rows import Row, compare
from benchmarks.worker import BRANCHES, CONTESTANTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.effort import Effort

__all__ = ["memory", "subprocess_sample"]

KB = 1 / 1024
MB = KB / 1024
_IDLE = """
import os, pathlib, trio, graceline
async def resident():
    async with graceline.open_engine():
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1])
print(trio.run(resident) * os.sysconf("SC_PAGE_SIZE"))
"""
NAMES = {"hand": "hand-written scopes", "engine": "engine"}


def subprocess_sample(*arguments: str, env: Mapping[str, str] | None = None) -> Sample:
    """A sample that a fresh Python process prints, with this environment in place of our own."""

    async def sample() -> float:
        done = await trio.run_process([sys.executable, *arguments], capture_stdout=True, env=env)
        return float(done.stdout)

    return sample


async def memory(effort: Effort) -> list[Row]:
    """A sequence of 5 nodes that waits in its last, a stage of 4 parallel nodes that all wait."""
    few = 2_000 if effort.quick else 10_000
    wanted = [
        ("sequence", "5-node sequence", few, None, 8.0),
        ("parallel", f"stage of {BRANCHES} parallel nodes", few, 1.3, None),
    ]
    if not effort.quick:
        wanted.append(("sequence", "5-node sequence", 100_000, None, None))
    idle = await interleave({"engine": subprocess_sample("-c", _IDLE)}, 1, warmup=0)
    figure = Spread.of(idle["engine"], scale=MB)
    what = "RSS of a process with an engine and no run"
    rows = [Row(group="memory", what=what, unit="MB", figure=figure)]
    for shape, what, runs, bar, most in wanted:
        samples = await interleave(
            {
                NAMES[one]: subprocess_sample("-m", "benchmarks.worker", one, shape, str(runs))
                for one in CONTESTANTS
            },
            1,
            warmup=0,
        )
        row = compare(
            samples, "memory", f"RSS per run in flight, {runs:,} at once, {what}", figure="engine",
            floor=NAMES["hand"], bar=bar, unit="KB", scale=KB,
        )  # fmt: skip
        rows.append(attrs.evolve(row, most=most))
    return rows
