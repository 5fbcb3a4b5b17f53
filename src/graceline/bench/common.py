"""What all journals have in common: the time, who writes, and how a run ended.

The values of a run stand in the lines of its parts; its result does not repeat them.
"""

from __future__ import annotations

import os
import platform
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from graceline.results import PipelineResult

__all__ = ["reason", "runner", "wall_clock", "without_values"]


def wall_clock() -> str:
    """The date and time, with the zone."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def runner() -> dict[str, Any]:
    """Who writes: process, machine and versions."""
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "python": platform.python_version(),
        "graceline": version("graceline"),
    }


def reason(error: BaseException) -> str:
    """What tore a run down; of several errors the first one says enough."""
    while isinstance(error, BaseExceptionGroup):  # from a nursery
        error = error.exceptions[0]
    return type(error).__name__


def without_values(
    result: PipelineResult, written: Callable[[str, str], bool] = lambda _stage, _node: True
) -> PipelineResult:
    """A result without the values of nodes that are written already, and those made of them.

    Args:
        result: the whole of it.
        written: whether the value of a node stands in the journal, by stage and name.
    """
    stages = {
        name: attrs.evolve(
            stage,
            value=None,
            nodes={
                node.name: attrs.evolve(node, value=None, partial=None)
                if written(name, node.name)
                else node
                for node in stage.nodes.values()
            },
        )
        for name, stage in result.stages.items()
    }
    return attrs.evolve(result, value=None, stages=stages, partial=dict.fromkeys(result.partial))
