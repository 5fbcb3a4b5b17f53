"""The command behind `--peers`: prepares environments, studies, and writes down what was found."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from benchmarks.effort import Effort
from benchmarks.peers.catalogue import OURS, peers
from benchmarks.peers.chart import draw
from benchmarks.peers.environments import Contestant, prepare
from benchmarks.peers.study import BAR, FLOOR, HARDEST, missed, study
from benchmarks.peers.table import costs, limits, meanings
from benchmarks.report import surroundings

__all__ = ["compare_peers", "report", "unknown"]


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def unknown(names: Sequence[str]) -> str:
    """Says what is wrong with names of peers; empty if nothing is."""
    there = peers()
    wrong = [name for name in names if name not in there]
    return f"no peer is called {wrong[0]!r}; there are {', '.join(there)}" if wrong else ""


async def _contestants(names: Sequence[str], root: Path) -> list[Contestant]:
    """Those that were named and the two that all are measured against; all, if none was named."""
    return [
        await prepare(peer, root)
        for name, peer in peers().items()
        if not names or name in (*names, OURS, FLOOR)
    ]


def report(found: dict[str, Any]) -> str:
    """Both tables and the bar, for the terminal."""
    over = ((found.get(HARDEST) or {}).get("cost") or {}).get(f"over_{OURS}")
    bar = ""
    if over is not None:
        verdict = "MISSED" if missed(found) else "ok"
        bar = (
            f"{HARDEST} over {OURS}, per node: {over['median']:.0f} x, bar >= {BAR:g} x: {verdict}"
        )
    return "\n\n".join(part for part in (costs(found), bar, limits(found), meanings(found)) if part)


def compare_peers(
    names: Sequence[str],
    effort: Effort,
    *,
    root: Path,
    as_json: Path | None = None,
    as_svg: Path | None = None,
) -> int:
    """Study the peers; returns the exit status: 1 if the bar is missed."""
    contestants = trio.run(_contestants, names, root)
    found = trio.run(partial(study, contestants, effort.rounds(30), _say))
    print(report(found))
    if as_json:
        document = {**attrs.asdict(surroundings(effort)), "peers": found}
        as_json.write_text(json.dumps(document, indent=1) + "\n")
    if as_svg:
        as_svg.write_text(draw(found))
    return int(missed(found))
