"""`Metrics`: which registry shows what engines count, under which names, in which buckets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any, cast

import attrs

from graceline.definitions.checks import brief
from graceline.errors import DefinitionError
from graceline.telemetry.stats import BUCKETS

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry  # noqa: TC004 - nobody resolves the field

__all__ = ["Metrics"]

_PREFIX = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def _bounds(value: Iterable[float]) -> tuple[float, ...]:
    """Tells type checkers what may be given; `__attrs_post_init__` checks it."""
    return cast("tuple[float, ...]", value)


@attrs.frozen
class Metrics:
    """Prometheus metrics of engines: `open_engine(metrics=Metrics())`.

    Engines whose metrics have the same registry and prefix share one collector. It keeps what
    closed engines have counted: counters never go back.

    Attributes:
        prefix: what the names of all metrics begin with, an underscore follows.
        buckets: upper bounds in seconds of the buckets of all durations, ascending; `+Inf` is
            always there.
        registry: a `prometheus_client.CollectorRegistry`; None is `prometheus_client.REGISTRY`.

    Raises:
        DefinitionError: for a prefix that no name may begin with, buckets that do not ascend, or
            what is no registry.
    """

    prefix: str = "graceline"
    buckets: tuple[float, ...] = attrs.field(default=BUCKETS, converter=_bounds)
    registry: CollectorRegistry | None = None

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.prefix, str) or _PREFIX.fullmatch(self.prefix) is None:
            raise DefinitionError(
                "Metrics(prefix=) must be letters, digits and underscores, and begin with no "
                f"digit, not {brief(self.prefix)}"
            )
        object.__setattr__(self, "buckets", _checked(self.buckets))
        if self.registry is not None and not hasattr(self.registry, "unregister"):
            raise DefinitionError(
                "Metrics(registry=) takes a prometheus_client.CollectorRegistry, not "
                f"{brief(self.registry)}"
            )

    def close(self) -> None:
        """Take the metrics out of the registry, with all that was counted.

        Raises:
            GracelineError: if an engine is open that counts there.
        """
        # Only who asks for metrics pays for the client.
        from graceline.telemetry.prometheus.collector import discard  # noqa: PLC0415

        discard(self)


def _checked(buckets: Any) -> tuple[float, ...]:
    if isinstance(buckets, str | bytes) or not isinstance(buckets, Iterable):
        raise DefinitionError(f"Metrics(buckets=) takes seconds in order, not {brief(buckets)}")
    bounds = tuple(buckets)
    for bound in bounds:
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 < bound < inf:
            raise DefinitionError(
                "Metrics(buckets=) takes seconds above 0; the bucket +Inf is always there, and "
                f"{brief(bound)} is none"
            )
    if not bounds:
        raise DefinitionError("Metrics(buckets=) needs one bucket at least, such as (0.1, 1.0)")
    for low, high in pairwise(bounds):
        if low >= high:
            raise DefinitionError(
                f"Metrics(buckets=) must ascend, and {brief(high)} comes after {brief(low)}"
            )
    return tuple(map(float, bounds))
