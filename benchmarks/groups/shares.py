"""Shares: what a node, a run, a branch and a timeout consist of, in instructions."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import trio

from benchmarks.instructions.counting import Counts, count
from benchmarks.instructions.ladders import LADDERS, MODULE
from benchmarks.measure import Spread
from benchmarks.rows import Row

if TYPE_CHECKING:
    from benchmarks.effort import Effort

__all__ = ["shares", "shares_of"]


async def shares(_: Effort) -> list[Row]:
    """Counted by Callgrind: the same however busy the machine is."""
    return shares_of(await trio.to_thread.run_sync(count, list(LADDERS), LADDERS, MODULE))


def shares_of(counts: Counts) -> list[Row]:
    """What each rung adds to the one below it, as a share of the last one."""
    rows = []
    for name, rungs in counts.items():
        total = list(rungs.values())[-1]
        for (_, below), (rung, so_far) in pairwise([("", 0.0), *rungs.items()]):
            rows.append(
                Row(
                    group="shares",
                    what=f"{LADDERS[name].what}: {rung}",
                    unit="instr",
                    figure=Spread.of([so_far - below]),
                    floor=Spread.of([total]),
                    against="all of it",
                    ratio=Spread.of([(so_far - below) / total]),
                )
            )
    return rows
