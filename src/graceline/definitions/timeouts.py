"""The engine's defaults: they apply only where neither a level nor one above it states a limit."""

from __future__ import annotations

import math

import attrs

from graceline.definitions.checks import check_flag
from graceline.durations import Duration, parse_duration

__all__ = ["Timeouts"]


def _default(value: Duration | None, field: attrs.Attribute[float]) -> float:
    return math.inf if value is None else parse_duration(value, f"Timeouts({field.name}=)")


_seconds = attrs.Converter(_default, takes_field=True)  # type: ignore[misc, call-overload, var-annotated]


def _flag(_: object, field: attrs.Attribute[bool], value: object) -> None:
    check_flag(value, f"Timeouts({field.name}=)")


@attrs.frozen(kw_only=True)
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

    node: float = attrs.field(default=0.2, converter=_seconds)
    stage: float = attrs.field(default=None, converter=_seconds)
    pipeline: float = attrs.field(default=0.5, converter=_seconds)
    grace: float = attrs.field(default=0.1, converter=_seconds)
    fail_fast: bool = attrs.field(default=True, validator=_flag)
    strict: bool = attrs.field(default=False, validator=_flag)

    @classmethod
    def realtime(cls) -> Timeouts:
        """The defaults: 200 ms per node, 500 ms in all, 100 ms of grace."""
        return cls()

    @classmethod
    def interactive(cls) -> Timeouts:
        """For somebody who waits at a screen: 30 s in all, 1 s of grace."""
        return cls(node=None, pipeline=30.0, grace=1.0)  # type: ignore[arg-type]

    @classmethod
    def batch(cls) -> Timeouts:
        """For jobs: 2 h in all, 1 h per stage, 30 s of grace."""
        return cls(node=None, stage=3600.0, pipeline=7200.0, grace=30.0)  # type: ignore[arg-type]

    @classmethod
    def none(cls) -> Timeouts:
        """No default limit at all; cleanup after a cancel is not bounded either."""
        return cls(node=None, pipeline=None, grace=None)  # type: ignore[arg-type]
