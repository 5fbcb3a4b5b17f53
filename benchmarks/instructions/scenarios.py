"""What is counted: the engine and hand-written scopes at the same fixed work.

`python -m benchmarks.instructions.scenarios NAME ...`, under Callgrind, does the work and prints
what it did, in order. Nothing in it depends on the weather: time is a step per look at the clock,
and a wait jumps to its end.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import attrs
import trio

from benchmarks.floors import bare, hand_parallel, hand_written
from benchmarks.shapes import (
    Function,
    checkpointing,
    plain,
    side_by_side,
    stages_of,
    straight,
)
from graceline import Engine, Watchdog, open_engine

__all__ = ["BARE", "ENGINE", "HAND", "MARK", "SCENARIOS", "Scenario", "Steps", "main", "play"]

BARE = "bare"
ENGINE = "engine"
HAND = "hand"

MARK = "getpgrp"
"""A function of the C library that nothing else calls; Callgrind takes stock where it is entered.

(A function that is called through ctypes it does not see.)
"""

_mark = os.getpgrp
_STEP = 1e-5
_LIMIT = 0.001

Contestants = Mapping[str, Callable[[], Awaitable[Any]]]


@attrs.frozen
class Scenario:
    """Some work that the engine and hand-written scopes both do.

    Attributes:
        what: it is, for people.
        unit: what one figure is for.
        contestants: who does it, by name; what `BARE` costs is taken off the others.
        units: what one run counts for.
        runs: how many are counted; as the engine makes a full checkpoint every 64 parts, 64 short
            runs have their even share of these.
        ticks: whether it needs a checkpoint now and then, since deadlines go stale without one.
    """

    what: str
    unit: str
    contestants: Callable[[Engine], Contestants]
    units: int = 1
    runs: int = 64
    ticks: bool = False


class Steps(trio.abc.Clock):
    """A clock that moves by a step at each look, and jumps instead of waiting."""

    def __init__(self) -> None:
        self._now = 1000.0

    def start_clock(self) -> None:
        """Nothing has to be started."""

    def current_time(self) -> float:
        """A step later than the last time."""
        self._now += _STEP
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Nothing: it is that time already."""
        self._now = max(self._now, deadline)
        return 0.0


def _sequence(function: Function, stages: int, nodes: int, engine: Engine) -> Contestants:
    work = stages_of(function, stages, nodes)
    pipeline = straight(work, name=f"{function.__name__}-{stages}-{nodes}")
    return {
        BARE: partial(bare, work, 1),
        HAND: partial(hand_written, work, 1),
        ENGINE: partial(engine.run, pipeline, 1),
    }


def _run(function: Function, nodes: int, engine: Engine) -> Contestants:
    contestants = dict(_sequence(function, 1, nodes, engine))
    del contestants[BARE]
    return contestants


def _parallel(function: Function, engine: Engine) -> Contestants:
    functions = [function] * 20
    return {
        HAND: partial(hand_parallel, functions, 1),
        ENGINE: partial(engine.run, side_by_side(functions), 1),
    }


def _timeout(engine: Engine) -> Contestants:
    async def stuck(_: Any) -> Any:
        await trio.sleep_forever()

    work = [[plain, plain, stuck, plain, plain]]
    pipeline = straight(work, node_limit=_LIMIT, name="stuck")
    return {
        HAND: partial(hand_written, work, 1, node_limit=_LIMIT),
        ENGINE: partial(engine.run, pipeline, 1),
    }


SCENARIOS: Mapping[str, Scenario] = {
    "sequence": Scenario(
        "50 plain nodes in stages of 5, over a bare loop", "node",
        partial(_sequence, plain, 10, 5), units=50, runs=16, ticks=True,
    ),
    "checkpoints": Scenario(
        "50 nodes with a checkpoint in stages of 5, over a bare loop", "node",
        partial(_sequence, checkpointing, 10, 5), units=50, runs=16, ticks=True,
    ),
    "one": Scenario("whole run of 1 plain node", "run", partial(_run, plain, 1)),
    "five": Scenario("whole run of 5 plain nodes", "run", partial(_run, plain, 5)),
    "five-checkpoints": Scenario(
        "whole run of 5 nodes with a checkpoint", "run", partial(_run, checkpointing, 5)
    ),
    "parallel": Scenario(
        "stage of 20 parallel plain nodes", "run", partial(_parallel, plain)
    ),
    "parallel-checkpoints": Scenario(
        "stage of 20 parallel nodes with a checkpoint", "run", partial(_parallel, checkpointing)
    ),
    "timeout": Scenario("run that times out, third node of 5", "run", _timeout),
}  # fmt: skip


async def _repeat(work: Callable[[], Awaitable[Any]], times: int, *, ticks: bool) -> None:
    for number in range(times):
        if ticks and number % 4 == 0:
            await trio.lowlevel.checkpoint()
        await work()


async def play(scenarios: Mapping[str, Scenario], names: list[str]) -> list[tuple[str, str]]:
    """Do the work of scenarios with a mark before and behind each; returns who did what."""
    played: list[tuple[str, str]] = []
    # The thread that looks for a blocked event loop wakes up whenever it likes.
    async with open_engine(watchdog=Watchdog(blocked_after=None)) as engine:
        for name in names:
            scenario = scenarios[name]
            for contestant, work in scenario.contestants(engine).items():
                await _repeat(
                    work, scenario.runs // 2, ticks=True
                )  # the interpreter adapts its code
                gc.collect()
                await trio.lowlevel.checkpoint()
                _mark()
                await _repeat(work, scenario.runs, ticks=scenario.ticks)
                _mark()
                played.append((name, contestant))
    return played


def main(scenarios: Mapping[str, Scenario]) -> None:
    """Play those that the command line names, and print who did what."""
    # What a collection costs depends on what else there is, and one more or less would be seen.
    gc.disable()
    print(json.dumps(trio.run(play, scenarios, sys.argv[1:], clock=Steps())))


if __name__ == "__main__":
    main(SCENARIOS)
