"""What every part of a pipeline has in common: its name, its limits, its handlers.

All frozen: a definition can be shared by engines, tasks and threads.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

import attrs

from graceline.definitions.adaptive import Adaptive
from graceline.definitions.checks import (
    as_callables,
    brief,
    check_cleanup,
    check_flag,
    check_name,
    check_plain,
    frozen_metadata,
    optional_duration,
)
from graceline.definitions.inherit import Inheritable
from graceline.durations import Duration, format_duration, parse_duration
from graceline.errors import DefinitionError, DefinitionWarning
from graceline.values import frozen

__all__ = ["PASS_INPUT", "Part", "Step", "warn_clamped", "warn_part", "warn_writer", "where_of"]

PASS_INPUT: Any = type("PassInput", (), {"__repr__": lambda _: "PASS_INPUT"})()
"""The default fallback: what depends on a failed part gets that part's input."""

_Function: TypeAlias = Callable[[Any], Any]
_Names: TypeAlias = "str | Part | Iterable[str | Part] | None"

# A constructor takes more than its attribute holds, and type checkers read what it takes off the
# converter. The conversion itself waits for `__attrs_post_init__`: only there is the name of the
# part known, which belongs into every message.


def _limit(value: Duration | Adaptive | None) -> float | Adaptive | None:
    return cast("float | Adaptive | None", value)


def _seconds(value: Duration | None) -> float | None:
    return cast("float | None", value)


def _metadata(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value)


def _handlers(value: _Function | Iterable[_Function] | None) -> tuple[_Function, ...]:
    return cast("tuple[_Function, ...]", value)


def _after(value: _Names) -> tuple[str, ...] | None:
    return cast("tuple[str, ...] | None", value)


def where_of(part: Part) -> str:
    """The part by its kind and name, for messages."""
    return f"{type(part).__name__.lower()} {part.name!r}"


@frozen(kw_only=True, eq=False)
class Part(Inheritable):
    """What nodes, stages and pipelines have in common; their policies are those of `Inheritable`.

    Attributes:
        timeout: seconds from its start; None = not stated, `math.inf` = stated to be unlimited,
            0 = already expired. A limit above the parent's is clamped, with a warning. Or an
            `Adaptive`, which learns it.
        grace: seconds that cleanup may use after a cancel; None takes the parent's.
        reserve: instead of `grace`, seconds of `timeout` that are kept for cleanup, so that the
            limit is exact.
        strict: whether a late value counts as timed out or cancelled; None takes the parent's.
        stop_before: seconds before the deadline at which `stopping()` is set; None: never.
        slo: latency objective in seconds; it cuts nothing, and telemetry compares with it.
        metadata: free-form; only its key `timeout` has a meaning, where `timeout=` is not given.
        on_cleanup: functions of the outcome, called after the work has unwound, in a bounded
            shielded scope. A handler that raises is attached to the outcome and replaces nothing.
    """

    name: str
    timeout: float | Adaptive | None = attrs.field(default=None, converter=_limit)
    grace: float | None = attrs.field(default=None, converter=_seconds)
    reserve: float | None = attrs.field(default=None, converter=_seconds)
    strict: bool | None = None
    stop_before: float | None = attrs.field(default=None, converter=_seconds)
    slo: float | None = attrs.field(default=None, converter=_seconds)
    metadata: Mapping[str, Any] = attrs.field(default=None, converter=_metadata)
    on_cleanup: tuple[Callable[[Any], Any], ...] = attrs.field(default=None, converter=_handlers)

    def __attrs_post_init__(self) -> None:
        kind = type(self).__name__
        hint = "" if isinstance(self.name, str) else f"the name comes first: {kind}('name', [...])"
        check_name(self.name, kind.lower(), hint if kind != "Node" else "")
        where = where_of(self)
        put = object.__setattr__
        for field in ("timeout", "grace", "reserve", "stop_before", "slo"):
            value = getattr(self, field)
            if field != "timeout" or not isinstance(value, Adaptive):
                put(self, field, optional_duration(value, f"{where}, {field}="))
        if isinstance(self.timeout, Adaptive) and self.reserve is not None:
            raise DefinitionError(
                f"{where}: a learned limit is about how long the work takes; give grace= with "
                "timeout=Adaptive(...), and not reserve="
            )
        if isinstance(self.timeout, Adaptive) and self.stop_before is not None:
            raise DefinitionError(
                f"{where}: work that stops politely before a learned limit would teach it to "
                "become ever shorter; state a timeout with stop_before="
            )
        self._check_policies(where)
        if self.strict is not None:
            check_flag(self.strict, f"{where}, strict=")
        put(self, "metadata", frozen_metadata(self.metadata, where))
        put(self, "on_cleanup", as_callables(self.on_cleanup, f"{where}, on_cleanup="))
        check_cleanup(where, self.stated_timeout, self.grace, self.reserve)

    @property
    def stated_timeout(self) -> float | None:
        """The stated timeout in seconds: `timeout`, else `metadata["timeout"]`, else None.

        Of a learned one it is the ceiling.
        """
        if isinstance(self.timeout, Adaptive):
            return self.timeout.ceiling
        if self.timeout is not None:
            return self.timeout
        stated = self.metadata.get("timeout")
        return None if stated is None else parse_duration(stated)


@frozen(kw_only=True, eq=False)
class Step(Part):
    """What nodes and stages have in common: they stand in a graph.

    Attributes:
        after: names of what must have finished first; None leaves it to the holder.
        when: a plain function of the input; where it returns false the part is `skipped` and its
            input passes through.
        critical: whether its failure stops what holds it.
        fallback: for a non-critical part, what its dependents get instead of its value: a value,
            or a plain function of its input. By default its input passes through.
    """

    after: tuple[str, ...] | None = attrs.field(default=None, converter=_after)
    when: Callable[[Any], Any] | None = None
    critical: bool = True
    fallback: Any = PASS_INPUT

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        where = where_of(self)
        if self.after is not None:
            object.__setattr__(self, "after", _names(self.after, where))
        check_flag(self.critical, f"{where}, critical=")
        if self.when is not None:
            check_plain(self.when, f"{where}, when=")
        if self.fallback is not PASS_INPUT:
            if self.critical:
                raise DefinitionError(f"{where}: fallback= is used only with critical=False")
            if callable(self.fallback):
                check_plain(self.fallback, f"{where}, fallback=")


def _names(value: object, where: str) -> tuple[str, ...]:
    entries = (value,) if isinstance(value, str | Part) else value
    if not isinstance(entries, Iterable):
        raise DefinitionError(f"{where}: after= takes names, not {brief(value)}")
    names = tuple(entry.name if isinstance(entry, Part) else entry for entry in entries)
    for name in names:
        if not isinstance(name, str):
            raise DefinitionError(f"{where}: after= takes names, not {brief(name)}")
    return tuple(dict.fromkeys(names))


def warn_clamped(what: str, limit: float | None, parent: Part, word: str = "limit") -> None:
    """Warn of a limit above the parent's, at the line that wrote the definition down."""
    above = parent.stated_timeout
    if above is None or limit is None or not above < limit < math.inf:
        return
    warn_writer(
        f"{what}: its {word} of {format_duration(limit)} is above the {format_duration(above)} of "
        f"{where_of(parent)}, which clamps it"
    )


def warn_writer(message: str) -> None:
    """Warn of a definition, at the line that wrote it down."""
    frame = inspect.currentframe()
    while frame and frame.f_back and _is_inner(frame.f_globals):
        frame = frame.f_back
    assert frame is not None  # noqa: S101 - CPython has frames
    warnings.warn_explicit(
        message,
        DefinitionWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def warn_part(part: Part, parent: Part) -> None:
    """Warn of a part whose limit is above its parent's."""
    word = "ceiling" if isinstance(part.timeout, Adaptive) else "limit"
    warn_clamped(where_of(part), part.stated_timeout, parent, word)


def _is_inner(module: Mapping[str, Any]) -> bool:
    """Whether these are the globals of graceline, of attrs, or of code that attrs wrote."""
    return str(module.get("__name__", "attr")).partition(".")[0] in ("attr", "graceline")
