"""How long the nodes of a pipeline take, as a store knows it, ready to draw from.

A draw is the inverse transform of the Kaplan-Meier estimate: of what was cut it is only known that
it took longer, and the estimate gives that share to the longer ones. What is left beyond the
longest completed call finishes at no known time; it is drawn as `math.inf`, a call that hangs.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from random import Random
from typing import TypeAlias

import attrs

from graceline.adaptive import Key, MemoryStore, Records
from graceline.adaptive.lanes import default_lane
from graceline.definitions import Pipeline
from graceline.durations import Duration
from graceline.errors import GracelineError
from graceline.planning.places import Place, by_place, nodes_of

__all__ = [
    "Draws",
    "MissingHistoryError",
    "Recorded",
    "copy_records",
    "draw_all",
    "read_durations",
]

Draws: TypeAlias = Mapping[Place, "array[float]"]
"""How long each node takes in each run, in seconds."""

_STEPS = 1 << 12
"""Equally likely durations per node: at 256 samples 16 for each, so the rounding is no matter."""


class MissingHistoryError(GracelineError):
    """Nothing is known of how long some nodes take; the message names all of them."""


@attrs.frozen
class Recorded:
    """What is known of one node.

    Attributes:
        stage: the name of its stage.
        node: its name.
        samples: how many calls were recorded; 0 if its duration is assumed.
        censored: how many of them were cut or failed, so that they would have taken longer.
        hangs: the share of calls of which no end is known, from 0 to 1.
        longest_cut: seconds of the longest censored sample; None if there is none.
        table: equally likely durations in seconds, ascending; `math.inf` never ends.
    """

    stage: str
    node: str
    samples: int
    censored: int
    hangs: float
    longest_cut: float | None
    table: tuple[float, ...] = attrs.field(repr=False)

    @property
    def label(self) -> str:
        """Stage and node in one word."""
        return f"{self.stage}.{self.node}"

    @property
    def longest(self) -> float:
        """Seconds of the longest call of which an end is known; 0 if none ended."""
        return max((seconds for seconds in self.table if seconds < math.inf), default=0.0)

    def quantile(self, p: float) -> float:
        """The duration that a share `p` of all calls does not exceed; `math.inf` beyond all."""
        return self.table[max(0, round(p * len(self.table)) - 1)]


def read_durations(
    pipeline: Pipeline,
    store: Records,
    *,
    lane: str | None = None,
    assume: Mapping[str, Duration] | None = None,
) -> dict[Place, Recorded]:
    """What is known of each node of a pipeline.

    Args:
        pipeline: the definition.
        store: where the durations were recorded.
        lane: the lane of the engine that recorded them; None for that of an engine that names none.
        assume: durations of nodes, by `node` or `stage.node`, instead of what is recorded.

    Raises:
        DefinitionError: for a name in `assume` that no node has, and for a bad duration.
        MissingHistoryError: if nothing is known of a node and nothing is assumed.
    """
    lane = default_lane() if lane is None else lane
    assumed = by_place(pipeline, assume, "assume")
    found: dict[Place, Recorded] = {}
    missing: list[Place] = []
    for place in nodes_of(pipeline):
        if place in assumed:
            seconds = assumed[place]
            hangs = float(seconds == math.inf)
            found[place] = Recorded(*place, 0, 0, hangs, None, (seconds,))
            continue
        record = store.load(Key(lane, pipeline.name, *place, "node"))
        if record is None or not len(record.history):
            missing.append(place)
            continue
        history, curve = record.history, record.history.curve()
        steps = (curve.quantile((step + 0.5) / _STEPS) for step in range(_STEPS))
        found[place] = Recorded(
            *place,
            samples=len(history),
            censored=len(history) - history.completions,
            hangs=curve.tail,
            longest_cut=history.longest_censored if history.longest_censored >= 0 else None,
            table=tuple(math.inf if step is None else step for step in steps),
        )
    if missing:
        raise MissingHistoryError(_missing(pipeline, missing, store, lane))
    return found


def _missing(pipeline: Pipeline, missing: Iterable[Place], store: Records, lane: str) -> str:
    names = ", ".join(f"{stage}.{node}" for stage, node in missing)
    said = f"nothing is recorded of {names} of pipeline {pipeline.name!r} in lane {lane!r}"
    lanes = {key.lane for key in store.keys() if key.pipeline == pipeline.name}  # noqa: SIM118
    others = ", ".join(map(repr, sorted(lanes - {lane})))
    return f"{said}; there is something in lane {others}" if others else said


def draw_all(recorded: Mapping[Place, Recorded], runs: int, seed: int) -> dict[Place, array[float]]:
    """Draw how long each node takes in each run; each node has random numbers of its own."""
    drawn = {}
    for place, one in recorded.items():
        chance = Random(f"{seed}/{one.label}")  # noqa: S311 - no secret
        drawn[place] = array("d", chance.choices(one.table, k=runs))
    return drawn


def copy_records(pipeline: Pipeline, store: Records, lane: str) -> MemoryStore:
    """What a store knows of a pipeline, in memory: what is learned from it goes nowhere else."""
    copy = MemoryStore()
    for key in store.keys():  # noqa: SIM118 - a store is no mapping
        if (key.lane, key.pipeline) != (lane, pipeline.name):
            continue
        record = store.load(key)
        if record is not None:
            copy.put(key, record.history.samples(), record.state, record.limits)
    return copy
