"""The tools of census.yaml: the functions of census.py, by the names of their arguments.

What they take and give is plain data, so that a journal can keep it: a run that was cut goes on.
"""

from __future__ import annotations

from typing import Any

import attrs
import cattrs
import census

from graceline.dialects.tools import Tools

tools = Tools.default()


@tools.tool("discover")
def discover(limit: int | None, top: int) -> dict[str, Any]:
    """List the files of the standard library."""
    options = {"limit": limit, "top": top}
    files = census.discover({key: value for key, value in options.items() if value is not None})
    return attrs.asdict(files)


@tools.tool("parse_shard")
def parse_shard(shard: int, files: dict[str, Any]) -> dict[str, Any]:
    """Count every fourth file, in a worker thread."""
    return attrs.asdict(census.parse_shard(shard, cattrs.structure(files, census.Files)))


@tools.tool("add_shards")
def add_shards(shards: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum of all shards."""
    return census.summary(cattrs.structure(shards, list[census.Tally]))


@tools.tool("crosscheck")
def crosscheck(report: dict[str, Any]) -> Any:
    """Count the functions of the largest modules again, and compare."""
    return census.crosscheck(report)
