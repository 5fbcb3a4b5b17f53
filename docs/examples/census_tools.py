"""The tools of census.yaml: the functions of census.py, by the names of their arguments."""

from __future__ import annotations

from typing import Any

import census

from graceline.dialects.tools import Tools

tools = Tools.default()
tools.add("parse_shard", census.parse_shard)


@tools.tool("discover")
def discover(limit: int | None, top: int) -> Any:
    """List the files of the standard library."""
    options = {"limit": limit, "top": top}
    return census.discover({key: value for key, value in options.items() if value is not None})


@tools.tool("add_shards")
def add_shards(shards: list[census.Tally]) -> dict[str, Any]:
    """The sum of all shards."""
    return census.summary(shards)


@tools.tool("crosscheck")
def crosscheck(report: dict[str, Any]) -> Any:
    """Count the functions of the largest modules again, and compare."""
    return census.crosscheck(report)
