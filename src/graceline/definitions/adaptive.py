"""A limit that is learned from how long the calls took, in place of a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import attrs

from graceline.definitions.arguments import explained_class
from graceline.definitions.checks import brief, positive_duration
from graceline.durations import format_duration
from graceline.errors import DefinitionError
from graceline.values import frozen

if TYPE_CHECKING:
    from graceline.durations import Duration

__all__ = ["Adaptive"]


def _seconds(value: Duration) -> float:
    return cast("float", value)  # parsed in `__attrs_post_init__`, which can say where


@explained_class
@frozen(kw_only=True)
class Adaptive:
    """A learned limit: `timeout=Adaptive(initial=0.2, ceiling=3.0)`.

    The limit follows the p95 of the durations, those of cut calls included, with a margin that cuts
    a share of `alpha` of the calls that would have finished. See `graceline.adaptive`.

    Attributes:
        initial: the limit in seconds before anything is known, within the bounds.
        ceiling: the highest limit in seconds; what takes longer counts as hung. At least twice the
            usual p95, or more than `alpha` is cut.
        floor: the lowest limit in seconds, above 0.
        alpha: the share of healthy calls that may be cut, above 0 and below 0.5. A chain of n
            learned limits cuts n times that.

    Raises:
        DefinitionError: for bounds that are no durations above 0, or in the wrong order.
    """

    initial: float = attrs.field(converter=_seconds)
    ceiling: float = attrs.field(converter=_seconds)
    floor: float = attrs.field(default=0.005, converter=_seconds)
    alpha: float = 0.01

    def __attrs_post_init__(self) -> None:
        for name in ("initial", "ceiling", "floor"):
            seconds = positive_duration(getattr(self, name), f"Adaptive({name}=)")
            object.__setattr__(self, name, seconds)
        if not self.floor <= self.initial <= self.ceiling:
            shown = " <= ".join(
                f"{name} {format_duration(getattr(self, name))}"
                for name in ("floor", "initial", "ceiling")
            )
            raise DefinitionError(f"Adaptive: its bounds must be in order, and {shown} is not")
        alpha = self.alpha
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 0.5:
            raise DefinitionError(
                f"Adaptive(alpha=) is a share above 0 and below 0.5, such as 0.01, not "
                f"{brief(alpha)}"
            )
