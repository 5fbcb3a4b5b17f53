"""The groups of measurements, by the name they have on the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from benchmarks.effort import Effort
from benchmarks.groups.concurrency import concurrent
from benchmarks.groups.growing import growing
from benchmarks.groups.importing import importing
from benchmarks.groups.lateness import lateness
from benchmarks.groups.learning import learning
from benchmarks.groups.memory import memory
from benchmarks.groups.overload import overload
from benchmarks.groups.parallel import parallel
from benchmarks.groups.policies import policies
from benchmarks.groups.process import process
from benchmarks.groups.sequences import runs, sequences, timeouts
from benchmarks.groups.ticks import ticks
from benchmarks.rows import Row

__all__ = ["GROUPS", "Group"]

Group = Callable[[Effort], Awaitable[list[Row]]]

GROUPS: Mapping[str, Group] = {
    "sequence": sequences,
    "run": runs,
    "learning": learning,
    "policies": policies,
    "overload": overload,
    "parallel": parallel,
    "concurrent": concurrent,
    "memory": memory,
    "lateness": lateness,
    "timeout": timeouts,
    "growth": growing,
    "import": importing,
    "ticks": ticks,
    "process": process,
}
