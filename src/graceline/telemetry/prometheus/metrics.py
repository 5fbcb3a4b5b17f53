"""`Metrics`: which registry shows what engines count, under which names, in which buckets."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import attrs

from graceline.definitions.checks import brief
from graceline.errors import DefinitionError
from graceline.telemetry.stats import BUCKETS
from graceline.values import frozen

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["Metrics", "check_prefix"]

_PREFIX = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LONGEST_PREFIX = 40  # characters: it is the uid of the dashboard, and Grafana allows no more
_MOST = sys.float_info.max


def check_prefix(prefix: Any, what: str) -> None:
    """Accept what the names of metrics, and the uid of their dashboard, may begin with.

    Raises:
        DefinitionError: for anything else; the message begins with `what`.
    """
    if (
        not isinstance(prefix, str)
        or _PREFIX.fullmatch(prefix) is None
        or len(prefix) > _LONGEST_PREFIX
    ):
        raise DefinitionError(
            f"{what} must be letters, digits and underscores, at most {_LONGEST_PREFIX}, and begin "
            f"with no digit, not {brief(prefix)}"
        )


def _bounds(value: Iterable[float]) -> tuple[float, ...]:
    """Tells type checkers what may be given; `__attrs_post_init__` checks it."""
    return cast("tuple[float, ...]", value)


@frozen
class Metrics:
    """Prometheus metrics of engines: `open_engine(metrics=Metrics())`.

    Engines whose metrics have the same registry and prefix share one collector. It keeps what
    closed engines have counted: counters never go back.

    Attributes:
        prefix: what the names of all metrics begin with, an underscore follows: at most 40 letters,
            digits and underscores.
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
        check_prefix(self.prefix, "Metrics(prefix=)")
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
    bounds = tuple(map(_bound, buckets))
    if not bounds:
        raise DefinitionError("Metrics(buckets=) needs one bucket at least, such as (0.1, 1.0)")
    for low, high in pairwise(bounds):
        if low >= high:
            raise DefinitionError(
                f"Metrics(buckets=) must ascend, and {brief(high)} comes after {brief(low)}"
            )
    return bounds


def _bound(value: Any) -> float:
    """A bound in seconds: also no whole number that no float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST:
        raise DefinitionError(
            "Metrics(buckets=) takes seconds above 0; the bucket +Inf is always there, and "
            f"{brief(value)} is none"
        )
    return float(value)
