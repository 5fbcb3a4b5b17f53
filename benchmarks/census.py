"""The census of the standard library as a CPU-bound job: the same work in threads or processes.

It is `docs/examples/census.py` without the question whether it was cancelled, which only a thread
can ask, and which a process need not.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "examples"))

import census  # workers get the path from their parent

from graceline import Node, Pipeline, Stage, parallel

__all__ = ["SHARDS", "count_shard", "pipeline"]

SHARDS = 4


def count_shard(shard: int, files: census.Files) -> census.Tally:
    """Count every `SHARDS`-th file."""
    tally = census.Tally()
    for name in files.names[shard::SHARDS]:
        tally = tally.plus(census.count(Path(files.root, name), name), files.top)
    return tally


def pipeline(runs_on: Literal["thread", "process"]) -> Pipeline:
    """The census with its shards in threads or in processes."""
    shards = (
        Node(partial(count_shard, shard), name=f"shard-{shard}", runs_on=runs_on)
        for shard in range(SHARDS)
    )
    return Pipeline(
        f"census in a {runs_on}",
        [
            Stage("discover", [census.discover]),
            Stage("parse", parallel(*shards)),
            Stage("summarise", [census.summarise]),
        ],
        timeout=600,
    )
