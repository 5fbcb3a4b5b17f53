"""Many runs of a pipeline through the real engine, in virtual time, one after the other.

One at a time, so that no run waits for another and learned limits see the calls in order. A few
runs share an event loop and an engine, since opening those costs more than a run; what was learned
goes from one engine to the next through the store.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import attrs

from graceline.adaptive import MemoryStore, Records
from graceline.deadlines import Status
from graceline.definitions import Pipeline, Timeouts
from graceline.engine import Engine, open_engine
from graceline.planning.limits import Cursor, Limits, stand_in
from graceline.planning.places import Place, nodes_of
from graceline.planning.recorded import Draws, Recorded, copy_records, draw_all
from graceline.results import PipelineResult
from graceline.virtual import order_within_an_instant, run_virtual

__all__ = ["Blamed", "Replayed", "World", "replay"]

Blamed: TypeAlias = tuple[str, str, str]
"""Who is to blame for a run: the level, the name, the kind."""

_BATCH = 100
_DEFAULTS = Timeouts(node=None, stage=None, pipeline=None, grace=None)


@attrs.define(eq=False)
class Replayed:
    """What became of the runs, each at its own index.

    Attributes:
        statuses: how each run ended; None for one that never ends.
        elapsed: seconds until it ended; `math.inf` for one that never ends.
        answered: seconds until only non-critical nodes were left; `math.inf` if that never was.
        blamed: who is to blame; None if there is an answer, or no end.
        degraded: whether it is short of a non-critical part.
        work: seconds that its nodes worked, in all.
        wasted: those of them in a run without an answer, or in a node that was cut.
        spent: by node, seconds that it worked.
        stages: by stage, seconds from its start to its end; `math.inf` if it was cut.
        cut: how often each part was cut; stages are named alone, nodes with their stage.
    """

    statuses: list[Status | None] = attrs.field(factory=list)
    elapsed: array[float] = attrs.field(factory=lambda: array("d"))
    answered: array[float] = attrs.field(factory=lambda: array("d"))
    blamed: list[Blamed | None] = attrs.field(factory=list)
    degraded: list[bool] = attrs.field(factory=list)
    work: array[float] = attrs.field(factory=lambda: array("d"))
    wasted: array[float] = attrs.field(factory=lambda: array("d"))
    spent: dict[Place, array[float]] = attrs.field(factory=dict)
    stages: dict[str, array[float]] = attrs.field(factory=dict)
    cut: Counter[str | Place] = attrs.field(factory=Counter)

    @property
    def answers(self) -> int:
        """How many runs gave an answer."""
        return sum(status in (Status.OK, Status.LATE) for status in self.statuses)


@attrs.frozen
class World:
    """What stays the same however often a pipeline is replayed.

    Attributes:
        pipeline: the definition.
        draws: how long each node takes in each run.
        records: what learned limits start with.
        lane: whose records these are.
        seed: decides the order of what happens at the same instant.
        horizon: seconds after which a run that has no limit counts as one that never ends.
    """

    pipeline: Pipeline
    draws: Draws
    records: Callable[[], MemoryStore]
    lane: str
    seed: int
    horizon: float

    @classmethod
    def of(
        cls,
        pipeline: Pipeline,
        recorded: Mapping[Place, Recorded],
        store: Records,
        *,
        runs: int,
        seed: int,
        lane: str,
    ) -> World:
        """A world for so many runs, in which the nodes take as long as was recorded."""
        return cls(
            pipeline,
            draw_all(recorded, runs, seed),
            lambda: copy_records(pipeline, store, lane),
            lane,
            seed,
            # No run without a hang takes that long, even if its nodes run one after another.
            horizon=2.0 * sum(one.longest for one in recorded.values()) + 1.0,
        )


def replay(
    world: World, limits: Limits, runs: int, advance: Callable[[int], object] = lambda _: None
) -> Replayed:
    """Run a pipeline many times with certain limits.

    Args:
        world: what is run.
        limits: the limits.
        runs: how many of the drawn runs.
        advance: is told how many more have ended, from time to time.

    Raises:
        DefinitionError: for a limit that does not fit to the `reserve` of its part.
    """
    cursor, done = Cursor(), Replayed()
    pipeline = stand_in(world.pipeline, limits, world.draws, cursor)
    timeout, horizon = limits.pipeline, math.inf
    if (pipeline.stated_timeout if timeout is None else timeout) in (None, math.inf):
        horizon = world.horizon
        timeout = horizon + (pipeline.reserve or 0.0)
    told = _Teller(pipeline, done, horizon)
    store = world.records()

    async def play(batch: range) -> None:
        engine: Engine
        async with open_engine(
            timeouts=_DEFAULTS,
            mode="enforce",
            max_concurrent_pipelines=None,
            lane=world.lane,
            watchdog=None,
            history=store,
        ) as engine:
            for number in batch:
                cursor.run = number
                told.tell(await engine.run(pipeline, timeout=timeout))

    with order_within_an_instant(world.seed), _unlogged():
        for start in range(0, runs, _BATCH):
            batch = range(start, min(start + _BATCH, runs))
            run_virtual(play, batch)
            advance(len(batch))
    return done


@contextmanager
def _unlogged() -> Iterator[None]:
    """Log nothing of the runs: that one of thousands times out is no news."""
    logger = logging.getLogger("graceline.run")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


class _Teller:
    """Writes down what became of each run."""

    def __init__(self, pipeline: Pipeline, done: Replayed, horizon: float) -> None:
        self._done = done
        self._horizon = horizon * (1.0 - 1e-9)  # the clock rounds
        nodes = nodes_of(pipeline)
        self._critical = {
            place for place, (stage, node) in nodes.items() if stage.critical and node.critical
        }
        self._needed = {stage.name for stage in pipeline.stages if stage.critical}
        times = Counter(name for _, name in nodes)
        self._ambiguous = {name for name, count in times.items() if count > 1}
        done.stages = {stage.name: array("d") for stage in pipeline.stages}
        done.spent = {place: array("d") for place in nodes}

    def tell(self, result: PipelineResult) -> None:
        """Write down one run."""
        done = self._done
        work = lost = answered = 0.0
        for stage in result.stages.values():
            done.stages[stage.name].append(math.inf if stage.status in _CUT else stage.elapsed)
            if stage.name in self._needed:  # it must have begun, even where its nodes may be cut
                answered = max(answered, stage.started if stage.completed else math.inf)
            if stage.status in _CUT and stage.elapsed:
                done.cut[stage.name] += 1
            for node in stage.nodes.values():
                place = (stage.name, node.name)
                done.spent[place].append(node.elapsed)
                work += node.elapsed
                if node.completed:
                    if place in self._critical:
                        answered = max(answered, node.started + node.elapsed)
                    continue
                lost += node.elapsed
                if node.status in _CUT and node.attempts:
                    done.cut[place] += 1
        endless = result.elapsed >= self._horizon
        done.statuses.append(None if endless else result.status)
        done.elapsed.append(math.inf if endless else result.elapsed)
        done.answered.append(answered)
        done.blamed.append(None if endless else self._blamed(result))
        done.degraded.append(bool(result.degraded) and result.ok and not endless)
        done.work.append(work)
        done.wasted.append(lost if result.ok else work)

    def _blamed(self, result: PipelineResult) -> Blamed | None:
        blame = result.blame
        if blame is None or result.ok:
            return None
        name = blame.name
        if blame.level == "node" and name in self._ambiguous:
            name = next(
                f"{stage.name}.{name}"
                for stage in result.stages.values()
                for node in stage.nodes.values()
                if node.blame is not None and (node.blame.level, node.name) == ("node", name)
            )
        return (blame.level, name, str(blame.kind))


_CUT = (Status.TIMED_OUT, Status.CANCELLED)
