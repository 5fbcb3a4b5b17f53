"""Nodes that run elsewhere: threads and child programs, against Trio's own calls in a scope.

Wall time, since the work is elsewhere. What a command node costs more is a shell: it waits until
the guard knows of the program, and becomes it. Trio's own call has nobody who ends a program that
is left behind.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from benchmarks.floors import HAND, hand_parallel, hand_written
from benchmarks.measure import interleave, timed
from benchmarks.rows import Row, compare
from benchmarks.shapes import in_thread, side_by_side, straight, threaded
from graceline import Command, open_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.effort import Effort
    from benchmarks.shapes import Function
    from graceline import Pipeline, PipelineResult

__all__ = ["commands", "threads"]

NODES = 20
_PROGRAM = ["true"]


async def threads(effort: Effort) -> list[Row]:
    """Plain functions that return at once."""
    return await _rows("thread", threaded, in_thread, effort.rounds(60))


async def commands(effort: Effort) -> list[Row]:
    """The program `true`."""
    return await _rows("command", Command(_PROGRAM), _program, effort.rounds(15))


async def _program(_: Any) -> Any:
    """As one writes it: with its output, and apart from this process's terminal."""
    return await trio.run_process(
        _PROGRAM, capture_stdout=True, capture_stderr=True, start_new_session=True
    )


async def _rows(group: str, node: Any, by_hand: Function, rounds: int) -> list[Row]:
    """One after another, and all at once."""
    rows = []
    contestants: dict[str, tuple[Pipeline, Callable[[], Awaitable[Any]]]] = {
        "one after another": (
            straight([[node] * NODES]),
            partial(hand_written, [[by_hand] * NODES], 1),
        ),
        "at once": (side_by_side([node] * NODES), partial(hand_parallel, [by_hand] * NODES, 1)),
    }
    async with open_engine() as engine:
        for how, (pipeline, floor) in contestants.items():

            async def by_engine(pipeline: Pipeline = pipeline) -> None:
                result: PipelineResult = await engine.run(pipeline, 1)
                assert result.ok

            samples = await interleave(
                {
                    HAND: timed(floor, units=NODES, clock=time.perf_counter),
                    "engine": timed(by_engine, units=NODES, clock=time.perf_counter),
                },
                rounds,
            )
            what = f"{group} node, {NODES} {how}"
            rows.append(compare(samples, group, what, figure="engine", floor=HAND))
    return rows
