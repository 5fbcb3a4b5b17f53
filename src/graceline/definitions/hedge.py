"""Hedging: a second copy of a call that takes longer than usual; the first success wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import attrs

from graceline.definitions.arguments import explained_class
from graceline.definitions.checks import (
    check_count,
    check_share,
    finite_duration,
    positive_duration,
)
from graceline.values import frozen

if TYPE_CHECKING:
    from graceline.durations import Duration

__all__ = ["Hedge"]


def _seconds(value: Duration) -> float:
    return cast("float", value)  # parsed in `__attrs_post_init__`, which can say where


def _optional_seconds(value: Duration | None) -> float | None:
    return cast("float | None", value)


@explained_class
@frozen(kw_only=True)
class Hedge:
    """A second copy for slow calls: `Node(search, idempotent=True, hedge=Hedge())`.

    See `graceline.resilience.hedge` for when it is sent and when not.

    Attributes:
        delay: seconds after which the second copy is sent; None for the p95 of the calls, but at
            least 10 ms.
        min_samples: with `delay=None`, how many durations must be known before any copy is sent.
        max_extra: the share of calls that may get a second copy, above 0 and at most 1.
        loser_grace: seconds that the copy that lost may use for its cleanup. Nobody waits for it
            before the end of the run.

    Raises:
        DefinitionError: for numbers out of these ranges; for a delay that is not above 0 and
            finite.
    """

    delay: float | None = attrs.field(default=None, converter=_optional_seconds)
    min_samples: int = 50
    max_extra: float = 0.05
    loser_grace: float = attrs.field(default=0.25, converter=_seconds)

    def __attrs_post_init__(self) -> None:
        if self.delay is not None:
            seconds = positive_duration(self.delay, "Hedge(delay=)")
            object.__setattr__(self, "delay", seconds)
        check_count(self.min_samples, "Hedge(min_samples=)")
        check_share(self.max_extra, "Hedge(max_extra=)", 0.05)
        grace = finite_duration(
            self.loser_grace, "Hedge(loser_grace=)", "the run waits for the loser"
        )
        object.__setattr__(self, "loser_grace", grace)
