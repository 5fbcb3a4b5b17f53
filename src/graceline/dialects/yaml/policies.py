"""The policies of a step as mappings of a file: backoff, breaker, hedge, learned limits.

Each field has the meaning of the field of the same name in the definition that is built of it;
what is not stated is left to that, and so are the ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import attrs

from graceline.definitions import Adaptive, Breaker, Hedge, Retry
from graceline.dialects.yaml.forms import (
    COUNT,
    FACTOR,
    PAUSE,
    SECONDS,
    SHARE,
    SMALL_SHARE,
    TEXT,
    WrongError,
    choice,
)
from graceline.dialects.yaml.keys import Nested, key, keys_of
from graceline.errors import DefinitionError

__all__ = ["ADAPTIVE", "AdaptiveKeys", "BackoffKeys", "BreakerKeys", "HedgeKeys"]

_FIELD = re.compile(r"\w+\((\w+)=\)")


@attrs.frozen(kw_only=True)
class _Policy:
    """A mapping of which one definition is built."""

    definition: ClassVar[type[Any]]
    names: ClassVar[dict[str, str]] = {}

    def build(self, **more: Any) -> Any:
        """The definition.

        Raises:
            DefinitionError: if something is out of its range.
        """
        stated = {one.name: getattr(self, one.name) for one in keys_of(type(self))}
        given = {
            self.names.get(name, name): value for name, value in stated.items() if value is not None
        }
        return self.definition(**given, **more)

    def rules(self) -> Iterator[WrongError]:
        """What the definition refuses."""
        try:
            self.build()
        except DefinitionError as error:
            message = str(error)
            found = _FIELD.match(message)
            spelling = {field: name for name, field in self.names.items()}
            field = None if found is None else spelling.get(found[1], found[1])
            rest = message if found is None else message[found.end() :].lstrip(":, ")
            yield WrongError(rest.removeprefix(f"{self.definition.__name__}: "), field)


@attrs.frozen(kw_only=True)
class BackoffKeys(_Policy):
    """How long is waited between the attempts of a step."""

    definition = Retry
    names: ClassVar[dict[str, str]] = {"initial": "backoff", "max": "max_backoff"}

    initial: float | None = key(
        PAUSE, "the base of the backoff: up to so long is waited before the second attempt (0.1)"
    )
    max: float | None = key(PAUSE, "the longest backoff (10)")
    factor: float | None = key(FACTOR, "by how much it grows with each attempt, at least 1 (2)")


@attrs.frozen(kw_only=True)
class AdaptiveKeys(_Policy):
    """A limit that is learned from how long the calls took."""

    definition = Adaptive

    initial: float = key(SECONDS, "the limit before anything is known", required=True)
    ceiling: float = key(SECONDS, "the highest limit", required=True)
    floor: float | None = key(SECONDS, "the lowest limit (5ms)")
    alpha: float | None = key(SMALL_SHARE, "the share of healthy calls that may be cut (0.01)")


@attrs.frozen(kw_only=True)
class BreakerKeys(_Policy):
    """When calls are refused because they have been failing."""

    definition = Breaker

    failure_rate: float | None = key(SHARE, "the share of failures that opens it (0.5)")
    min_calls: int | None = key(COUNT, "calls that must count before a share means anything (10)")
    window: float | None = key(SECONDS, "how long a call counts (30)")
    consecutive: int | None = key(COUNT, "so many failures in a row open it")
    slow_rate: float | None = key(SHARE, "the share of slow calls that opens it")
    slow_after: float | None = key(SECONDS, "a call that takes longer is slow")
    open_for: float | None = key(SECONDS, "how long calls are refused (10)")
    max_open_for: float | None = key(SECONDS, "the most that is doubled to (5m)")
    probes: int | None = key(COUNT, "calls that must succeed before it closes (1)")
    probe_max: float | None = key(SECONDS, "how long a probe holds its slot")
    mode: str | None = key(choice("on", "metrics_only", "off", "forced_open"), "what it does (on)")
    name: str | None = key(TEXT, "steps whose breakers have the same name share one")


@attrs.frozen(kw_only=True)
class HedgeKeys(_Policy):
    """When a second copy of a slow attempt is sent."""

    definition = Hedge

    delay: float | None = key(SECONDS, "when it is sent; without it at the p95 of the calls")
    min_samples: int | None = key(COUNT, "durations that must be known without `delay` (50)")
    max_extra: float | None = key(SHARE, "the share of calls that may get a copy (0.05)")
    loser_grace: float | None = key(PAUSE, "how long the copy that lost may unwind (0.25)")


ADAPTIVE = Nested(AdaptiveKeys, "or", SECONDS)
"""A limit that is stated, or learned."""
