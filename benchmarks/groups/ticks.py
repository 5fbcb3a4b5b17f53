"""The watchdog's share of a tick of the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from benchmarks.floors import yardstick
from benchmarks.measure import interleave, timed
from benchmarks.rows import Row, difference
from graceline import Watchdog, open_engine

if TYPE_CHECKING:
    from benchmarks.effort import Effort


__all__ = ["ticks"]

TICKS = 2000
WATCHDOG = Watchdog()


async def _ticks() -> None:
    for _ in range(TICKS):
        await trio.lowlevel.checkpoint()


async def ticks(effort: Effort) -> list[Row]:
    """A loop of checkpoints, each a tick of its own, with the watchdog and without it."""

    async def sample(watchdog: Watchdog | None) -> float:
        async with open_engine(watchdog=watchdog):
            return await timed(_ticks, units=TICKS)()

    samples = await interleave(
        {
            **yardstick(),
            "with": lambda: sample(WATCHDOG),
            "without": lambda: sample(None),
        },
        effort.rounds(60),
    )
    return [
        difference(
            samples, "ticks", "watchdog, more per tick of the event loop", figure="with",
            base="without", design=1.0,
        )
    ]  # fmt: skip
