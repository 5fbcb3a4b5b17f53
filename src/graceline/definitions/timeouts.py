"""The engine's default limits: they apply where neither a level nor one above it states a limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import attrs

from graceline.definitions.arguments import explained_class
from graceline.definitions.checks import check_flag, optional_duration
from graceline.values import frozen

if TYPE_CHECKING:
    from graceline.durations import Duration

__all__ = ["Timeouts"]


def _accept(value: Duration | None) -> float:
    """Tells type checkers what may be given; `__attrs_post_init__` parses, and can say where."""
    return cast("float", value)


@explained_class
@frozen(kw_only=True)
class Timeouts:
    """Default limits of an engine, in seconds; None or `math.inf` sets a limit to none.

    Attributes:
        node: limit of a node, where nothing above it states one.
        stage: limit of a stage, where the pipeline states none.
        pipeline: limit of a pipeline that states none.
        grace: cleanup time after a cancel, where no level says otherwise; None leaves it unbounded.
        fail_fast: whether the first critical failure cancels its siblings.
        strict: whether a late value counts as timed out.

    Raises:
        DefinitionError: for negative values, NaN, booleans, strings without a unit.
    """

    node: float = attrs.field(default=0.2, converter=_accept)
    stage: float = attrs.field(default=None, converter=_accept)
    pipeline: float = attrs.field(default=0.5, converter=_accept)
    grace: float = attrs.field(default=0.1, converter=_accept)
    fail_fast: bool = True
    strict: bool = False

    def __attrs_post_init__(self) -> None:
        for name in ("node", "stage", "pipeline", "grace"):
            seconds = optional_duration(getattr(self, name), f"Timeouts({name}=)")
            object.__setattr__(self, name, math.inf if seconds is None else seconds)
        check_flag(self.fail_fast, "Timeouts(fail_fast=)")
        check_flag(self.strict, "Timeouts(strict=)")

    @classmethod
    def realtime(cls) -> Timeouts:
        """The defaults: 200 ms per node, 500 ms in all, 100 ms of grace."""
        return cls()

    @classmethod
    def interactive(cls) -> Timeouts:
        """For somebody who waits at a screen: 30 s in all, 1 s of grace."""
        return cls(node=None, pipeline=30.0, grace=1.0)

    @classmethod
    def batch(cls) -> Timeouts:
        """For jobs: 2 h in all, 1 h per stage, 30 s of grace."""
        return cls(node=None, stage=3600.0, pipeline=7200.0, grace=30.0)

    @classmethod
    def none(cls) -> Timeouts:
        """No default limit at all; cleanup after a cancel is not bounded either."""
        return cls(node=None, pipeline=None, grace=None)
