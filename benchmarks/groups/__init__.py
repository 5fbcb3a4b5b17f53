"""The groups of measurements, by the name they have on the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from benchmarks.effort import Effort
from benchmarks.groups.capacity import capacity
from benchmarks.groups.concurrency import concurrent
from benchmarks.groups.crowds import crowds
from benchmarks.groups.defining import defining
from benchmarks.groups.elsewhere import commands, threads
from benchmarks.groups.features import features
from benchmarks.groups.growing import growing
from benchmarks.groups.importing import importing
from benchmarks.groups.lateness import lateness
from benchmarks.groups.memory import memory
from benchmarks.groups.overload import overload
from benchmarks.groups.parallel import parallel
from benchmarks.groups.process import process
from benchmarks.groups.sequences import runs, sequences, timeouts
from benchmarks.groups.shares import shares
from benchmarks.groups.stalls import stalls
from benchmarks.groups.storms import storms
from benchmarks.groups.ticks import ticks
from benchmarks.rows import Row

__all__ = ["GROUPS", "Group"]

Group = Callable[[Effort], Awaitable[list[Row]]]

GROUPS: Mapping[str, Group] = {
    "sequence": sequences,
    "run": runs,
    "features": features,
    "overload": overload,
    "parallel": parallel,
    "concurrent": concurrent,
    "crowds": crowds,
    "stalls": stalls,
    "storms": storms,
    "memory": memory,
    "lateness": lateness,
    "timeout": timeouts,
    "growth": growing,
    "define": defining,
    "import": importing,
    "ticks": ticks,
    "process": process,
    "thread": threads,
    "command": commands,
    "capacity": capacity,
    "shares": shares,
}
