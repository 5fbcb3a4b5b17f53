"""Growth: the cost of a node or a run must not depend on how many there are.

Definitions are made and compiled beforehand: both happen once in the life of a program.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.floors import hand_written
from benchmarks.groups.concurrency import crowd
from benchmarks.groups.sequences import HAND
from benchmarks.measure import Sample, interleave, timed
from benchmarks.rows import Row, growth
from benchmarks.shapes import checkpointing, layered, plain, stages_of, straight
from graceline import Engine, Pipeline, open_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.effort import Effort

__all__ = ["growing"]

BAR = 1.3


def _nodes(
    engine: Engine, sizes: Iterable[int], shape: Callable[[int], tuple[Pipeline, int]]
) -> dict[str, Sample]:
    """Samples of the cost per node: small pipelines run often, large ones once."""
    samples = {}
    for size in sizes:
        pipeline, nodes = shape(size)
        samples[f"{size:,}"] = timed(
            partial(engine.run, pipeline, 1),
            times=max(1, 2_000 // nodes),
            units=nodes,
        )
    return samples


async def growing(effort: Effort) -> list[Row]:
    """Nodes of a run, levels of a graph, runs one after another, runs at once."""
    sizes = effort.sizes(10, 100, 1_000, 10_000)
    rows = []
    async with open_engine(max_concurrent_pipelines=None) as engine:
        shapes: dict[str, tuple[Callable[[int], tuple[Pipeline, int]], list[int]]] = {
            "per node, nodes in one stage": (
                lambda size: (straight(stages_of(plain, 1, size)), size),
                sizes,
            ),
            "per node, nodes in stages of 5": (
                lambda size: (straight(stages_of(plain, size // 5, 5)), size),
                sizes,
            ),
            "per node, levels of a graph": (
                lambda size: (layered(plain, size), 2 * size),
                effort.sizes(10, 100, 1_000),
            ),
        }
        for what, (shape, chosen) in shapes.items():
            samples = await interleave(_nodes(engine, chosen, shape), effort.rounds(7))
            rows.append(growth(samples, "growth", what, bar=BAR))
        work = stages_of(checkpointing, 1, 5)
        pipeline = straight(work)
        sizes = effort.sizes(10, 100, 1_000, 10_000, largest=100_000)
        samples = await interleave(
            {
                f"{n:,}": timed(partial(_one_after_another, pipeline, n), times=_often(n), units=n)
                for n in sizes
            },
            effort.rounds(5),
        )
        rows.append(growth(samples, "growth", "per run, one after another", bar=BAR))
        both = await interleave(
            {
                f"{name} {n:,}": timed(partial(crowd, n, run), times=_often(n), units=n)
                for n in sizes
                for name, run in (
                    ("engine", partial(engine.run, pipeline, 1)),
                    (HAND, partial(hand_written, work, 1)),
                )
            },
            effort.rounds(5),
        )
        for name, what, bar in (("engine", "", BAR), (HAND, f", {HAND}", None)):
            samples = {f"{n:,}": both[f"{name} {n:,}"] for n in sizes}
            rows.append(growth(samples, "growth", f"per run, at once{what}", bar=bar))
    return rows


def _often(runs: int) -> int:
    return max(1, 500 // runs)


async def _one_after_another(pipeline: Pipeline, runs: int) -> None:
    """The life of an engine: what a run leaves behind would make the next ones dearer."""
    async with open_engine() as engine:
        for _ in range(runs):
            await engine.run(pipeline, 1)
