"""Size and shape: what a node costs among how many, and that it does not cost more among many.

Definitions are made and compiled beforehand: both happen once in the life of a program, and
`defining` says what they cost.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from benchmarks.floors import HAND, hand_graph, hand_parallel, hand_written
from benchmarks.measure import interleave, timed
from benchmarks.rows import Row, compare, growth
from benchmarks.shapes import layered, levels_of, plain, side_by_side, stages_of, straight
from graceline import Pipeline, open_engine

if TYPE_CHECKING:
    from benchmarks.effort import Effort
    from benchmarks.measure import Samples

__all__ = ["SHAPES", "Shape", "growing"]

GROUP = "growth"
_AT_ONCE = 1_000
"""Nodes in a sample at least: small pipelines run often, large ones once."""


@attrs.frozen
class Shape:
    """The same work for the engine and for a floor, of any number of nodes.

    Attributes:
        pipeline: for the engine.
        by_hand: the whole run, written by hand.
        bar: of the growth from 10 nodes on; None where nothing is promised.
    """

    pipeline: Callable[[int], Pipeline]
    by_hand: Callable[[int], Callable[[], Awaitable[Any]]]
    bar: float | None = None


def _fives(size: int) -> tuple[int, int]:
    return max(1, size // 5), min(size, 5)


def _pairs(size: int) -> tuple[int, int]:
    return max(1, size // 2), min(size, 2)


SHAPES = {
    "in one stage": Shape(
        lambda size: straight(stages_of(plain, 1, size)),
        lambda size: partial(hand_written, stages_of(plain, 1, size), 1),
        bar=1.3,
    ),
    "in stages of 5": Shape(
        lambda size: straight(stages_of(plain, *_fives(size))),
        lambda size: partial(hand_written, stages_of(plain, *_fives(size)), 1),
        bar=1.3,
    ),
    "side by side": Shape(
        lambda size: side_by_side([plain] * size),
        lambda size: partial(hand_parallel, [plain] * size, 1),
    ),
    "in levels of 2": Shape(
        lambda size: layered(plain, *_pairs(size)),
        lambda size: partial(hand_graph, levels_of(plain, *_pairs(size)), 1),
        bar=1.3,
    ),
}


@contextmanager
def _set_apart() -> Iterator[None]:
    """Keep what is there from the garbage collector: the definitions of all sizes are.

    A full collection that goes through ten thousand nodes would fall to whoever is sampled then.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def growing(effort: Effort) -> list[Row]:
    """Each shape from 1 node to 10,000, beside the same by hand."""
    rows = []
    sizes = effort.sizes(1, 10, 100, 1_000, 10_000)
    for name, shape in SHAPES.items():
        async with open_engine(max_concurrent_pipelines=None) as engine:
            contestants = {}
            for size in sizes:
                runs: dict[str, Callable[[], Awaitable[Any]]] = {
                    "engine": partial(engine.run, shape.pipeline(size), 1),
                    HAND: shape.by_hand(size),
                }
                for who, run in runs.items():
                    await run()
                    times = max(1, _AT_ONCE // size)
                    contestants[f"{who} {size:,}"] = timed(run, times=times, units=size)
            with _set_apart():
                samples = await interleave(contestants, max(4, effort.rounds(15)))
        rows += _rows(samples, name, [f"{size:,}" for size in sizes], shape.bar)
    return rows


def _rows(samples: Samples, shape: str, sizes: list[str], bar: float | None) -> list[Row]:
    beside = [
        compare(
            {who: samples[f"{who} {size}"] for who in ("engine", HAND)}, GROUP,
            f"node of {size} {shape}", figure="engine", floor=HAND,
        )
        for size in sizes
    ]  # fmt: skip
    _, *grown = sizes  # one node bears the whole cost of a run
    return beside + [
        growth(
            {size: samples[f"{who} {size}"] for size in grown}, GROUP,
            f"per node, {shape}{by}", bar=promised,
        )
        for who, by, promised in (("engine", "", bar), (HAND, f", {HAND}", None))
    ]  # fmt: skip
