"""The study: all peers measured in interleaved rounds, then probed one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import attrs

from benchmarks.measure import Spread, ratios
from benchmarks.peers.catalogue import OURS
from benchmarks.peers.environments import Contestant
from benchmarks.peers.link import NoAnswerError, Worker, open_worker
from benchmarks.peers.scenarios import PROBES, Probe

__all__ = ["BAR", "FLOOR", "HARDEST", "judged", "missed", "study"]

FLOOR = "hand"
HARDEST = "langgraph"
BAR = 60.0
"""So many times what a node costs here, one of `HARDEST` costs at least."""

WITHIN = 30.0
"""Seconds for a probe."""

BEGINNING = 120.0
"""Seconds for the first answer, in which a peer is imported, and may start a server of its own."""

SAMPLE = 0.02
"""About so many seconds a sample takes, where one run is shorter."""

MICRO = 1e6

Say = Callable[[str], None]


@attrs.define
class _Seat:
    """A contestant in the interleaved rounds."""

    worker: Worker
    nodes: int
    times: int = 1
    cpu: list[float] = attrs.field(factory=list)
    wall: list[float] = attrs.field(factory=list)


async def study(contestants: Sequence[Contestant], rounds: int, say: Say) -> dict[str, Any]:
    """Measure and probe all of them; the answer is plain JSON, by the names of the peers."""
    found: dict[str, dict[str, Any]] = {
        one.peer.name: {"title": one.peer.title, "absent": one.absent, "cost": None, "cells": {}}
        for one in contestants
    }
    async with AsyncExitStack() as stack:
        seats: dict[str, _Seat] = {}
        for one in contestants:
            entry = found[one.peer.name]
            if not one.absent:
                try:
                    worker = await stack.enter_async_context(open_worker(one))
                    entry["about"] = await worker.ask(BEGINNING, do="about")
                    seats[one.peer.name] = await _seat(worker, entry["about"]["nodes"])
                except NoAnswerError as error:
                    entry["absent"] = str(error)
            say(f"{one.peer.title}: {entry['absent'] or entry['about']['version'] or 'is there'}")
        await _rounds(seats, found, rounds, say)
        _count(seats, found)
    for one in contestants:
        if not found[one.peer.name]["absent"]:
            found[one.peer.name]["cells"] = await _probe(one, found[one.peer.name]["about"], say)
    return found


async def _seat(worker: Worker, nodes: int) -> _Seat:
    first = await worker.ask(BEGINNING, do="time", nodes=nodes, times=1)
    took = max(first["cpu"] * nodes, 1e-6)
    return _Seat(worker, nodes, max(1, min(500, math.ceil(SAMPLE / took))))


async def _rounds(
    seats: dict[str, _Seat], found: Mapping[str, dict[str, Any]], rounds: int, say: Say
) -> None:
    for number in range(rounds):
        for name, seat in list(seats.items()):
            try:
                took = await seat.worker.ask(
                    BEGINNING, do="time", nodes=seat.nodes, times=seat.times
                )
            except NoAnswerError as error:
                found[name]["absent"] = f"stopped in round {number + 1}: {error}"
                del seats[name]
                continue
            seat.cpu.append(took["cpu"])
            seat.wall.append(took["wall"])
        say(f"round {number + 1} of {rounds}")


def _count(seats: Mapping[str, _Seat], found: Mapping[str, dict[str, Any]]) -> None:
    for name, seat in seats.items():
        cost: dict[str, Any] = {
            "nodes": seat.nodes,
            "us": attrs.asdict(Spread.of(seat.cpu, scale=MICRO)),
            "us_wall": attrs.asdict(Spread.of(seat.wall, scale=MICRO)),
        }
        for against in (FLOOR, OURS):
            base = seats.get(against)
            if base is not None:
                cost[f"over_{against}"] = _over(seat.cpu, base.cpu)
                cost[f"over_{against}_wall"] = _over(seat.wall, base.wall)
        found[name]["cost"] = cost


def _over(figures: Sequence[float], floors: Sequence[float]) -> dict[str, Any]:
    return attrs.asdict(Spread.of(ratios(figures, floors)))


async def _probe(one: Contestant, about: Mapping[str, Any], say: Say) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, probe in PROBES.items():
        if not _has(about, probe):
            cells[name] = {"answer": "none", "word": "", "seen": None}
            continue
        try:
            async with open_worker(one) as worker:
                await worker.ask(BEGINNING, do="time", nodes=1, times=1)
                seen = await worker.ask(WITHIN, do="probe", probe=name)
        except NoAnswerError as error:
            word = str(error).replace(str(one.home), "~")
            cells[name] = {"answer": "unknown", "word": word, "seen": None}
        else:
            cells[name] = judged(probe, seen)
        say(f"{one.peer.title}, {name}: {cells[name]['answer']} {cells[name]['word']}".rstrip())
    return cells


def _has(about: Mapping[str, Any], probe: Probe) -> bool:
    """Whether the peer has the limit that the probe lets pass."""
    levels = {"node": ("node_limit",), "run": ("run_limit",), "any": ("node_limit", "run_limit")}
    return any(about[level] for level in levels[probe.level])


def judged(probe: Probe, seen: Mapping[str, Any]) -> dict[str, Any]:
    """The cell of a table: yes, or no and what happened instead, with what was seen."""
    word = probe.judge(seen)
    return {"answer": "no" if word else "yes", "word": word, "seen": seen}


def missed(found: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the bar is missed; where one of the two was not measured, nothing is."""
    cost = (found.get(HARDEST) or {}).get("cost") or {}
    over = cost.get(f"over_{OURS}")
    return over is not None and over["median"] < BAR
