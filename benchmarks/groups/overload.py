"""Overload: predicted admission against first in, first out, and what it costs a run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from benchmarks.floors import yardstick
from benchmarks.measure import Spread, interleave, timed
from benchmarks.overload import Ended, Traffic, play
from benchmarks.rows import Row, difference
from benchmarks.shapes import plain, stages_of, straight
from graceline import open_engine
from graceline.virtual import order_within_an_instant, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.effort import Effort

__all__ = ["overload"]

GROUP, FIFO = "overload", "first in, first out"
RUNS = 3000
SEEDS = 6
TWICE = Traffic(2.0)
OTHERS = {
    "0.5 x": Traffic(0.5),
    "0.8 x": Traffic(0.8),
    "0.9 x": Traffic(0.9),
    "1 x": Traffic(1.0),
    "1.2 x": Traffic(1.2),
    "4 x": Traffic(4.0),
    "0.9 x, long tail": Traffic(0.9, sigma=1.0),
    "2 x, long tail": Traffic(2.0, sigma=1.0),
    "0.9 x, 2 % hang": Traffic(0.9, hanging=0.02),
    "2 x, 2 % hang": Traffic(2.0, hanging=0.02),
    "2 x, 2 slots": Traffic(2.0, slots=2),
}
BUSY = 1.0
"""Up to this load it must cost nobody his answer; beyond it, it has to win."""
_WARM = 100


def _virtual(traffic: Traffic, admission: str, seed: int, runs: int) -> Ended:
    with order_within_an_instant(seed):
        ended: Ended = run_virtual(play, traffic, admission, seed, runs)
    return ended


async def _both(traffic: Traffic, seeds: int, runs: int) -> list[tuple[Ended, Ended]]:
    """The same traffic with predictions and without, seed by seed, each in a loop of its own."""
    pairs = []
    for seed in range(seeds):
        enforced, plain_ = [
            await trio.to_thread.run_sync(_virtual, traffic, admission, seed, runs)
            for admission in ("enforce", "off")
        ]
        pairs.append((enforced, plain_))
    return pairs


def _row(
    pairs: list[tuple[Ended, Ended]],
    what: str,
    unit: str,
    figure: Callable[[Ended], float],
    **bars: Any,
) -> Row:
    mine, floor = ([figure(pair[at]) for pair in pairs] for at in (0, 1))
    ratios = [one / two for one, two in zip(mine, floor, strict=True) if two]
    return Row(
        group=GROUP, what=what, unit=unit, figure=Spread.of(mine), floor=Spread.of(floor),
        against=FIFO, ratio=Spread.of(ratios) if ratios else None, exact=True, **bars,
    )  # fmt: skip


def _wrongly(pairs: list[tuple[Ended, Ended]], what: str, most: float | None) -> Row:
    figures = [enforced.refused_wrongly(plain_) for enforced, plain_ in pairs]
    return Row(
        group=GROUP, what=f"{what}: refused, but would complete", unit="%",
        figure=Spread.of(figures), most=most, exact=True,
    )  # fmt: skip


async def _at_twice(seeds: int, runs: int) -> list[Row]:
    pairs = await _both(TWICE, seeds, runs)
    return [
        _row(pairs, "2 x: completed within budget", "%", lambda e: e.done, least=2.0),
        _row(pairs, "2 x: slot time wasted", "%", lambda e: e.wasted, most=15.0),
        _row(pairs, "2 x: p50 until no is said", "ms", lambda e: e.until_no, most=160.0),
    ]


async def _elsewhere(seeds: int, runs: int) -> list[Row]:
    rows = []
    for name, traffic in OTHERS.items():
        pairs = await _both(traffic, seeds, runs)
        calm = traffic.load <= BUSY
        rows.append(
            _row(
                pairs, f"{name}: completed within budget", "%", lambda e: e.done,
                least=0.99 if calm else 1.0,
            )
        )  # fmt: skip
        if calm:
            rows.append(_wrongly(pairs, name, most=1.0 if traffic.load < BUSY else None))
        else:
            rows.append(_row(pairs, f"{name}: slot time wasted", "%", lambda e: e.wasted))
    return rows


async def _on_the_real_clock(runs: int) -> list[Row]:
    pairs = [(await play(TWICE, "enforce", 0, runs), await play(TWICE, "off", 0, runs))]
    what = "2 x, real clock"
    return [
        _row(pairs, f"{what}: completed within budget", "%", lambda e: e.done),
        _row(pairs, f"{what}: slot time wasted", "%", lambda e: e.wasted),
    ]


async def _costs(effort: Effort) -> list[Row]:
    """What a run costs more in an engine that observes than in one that predicts nothing."""
    short = straight(stages_of(plain, 1, 1), name="short")
    async with open_engine(admission="off") as off, open_engine(admission="observe") as observing:
        runs = {"off": partial(off.run, short, 1), "observe": partial(observing.run, short, 1)}
        for _ in range(_WARM):
            for run in runs.values():
                await run()
        samples = await interleave(
            {**yardstick(), **{name: timed(run, times=50) for name, run in runs.items()}},
            effort.rounds(200),
        )
    return [
        difference(
            samples, GROUP, "admission='observe', more per run", figure="observe", base="off",
            design=5.0,
        )
    ]  # fmt: skip


async def overload(effort: Effort) -> list[Row]:
    """Twice the capacity, with its bars; other loads and durations; the cost of a run."""
    seeds, runs = (2, RUNS // 4) if effort.quick else (SEEDS, RUNS)
    rows = await _at_twice(seeds, runs)
    rows += await _elsewhere(seeds // 2, runs)
    if not effort.quick:
        rows += await _on_the_real_clock(900)
    return rows + await _costs(effort)
