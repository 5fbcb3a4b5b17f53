"""The tests, as in `x is defined`; what is defined is decided before one of these is asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from graceline.definitions.checks import brief
from graceline.dialects.templates.errors import TemplateError
from graceline.dialects.templates.meter import Meter, check_bits
from graceline.dialects.templates.operators import compare

__all__ = ["TESTS"]


def _remainder(value: Any, divisor: Any) -> int:
    for number in (value, divisor):
        if not isinstance(number, int):
            raise TemplateError(f"{brief(number)} is no whole number")
        check_bits(number)
    if divisor == 0:
        raise TemplateError("nothing is divisible by 0")
    return int(value % divisor)


def _kind(*kinds: type) -> Callable[[Meter, Any], bool]:
    def is_kind(meter: Meter, value: Any) -> bool:
        meter.tick()
        return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))

    return is_kind


def _is(wanted: object) -> Callable[[Meter, Any], bool]:
    return lambda _, value: value is wanted


def _comparison(name: str) -> Callable[[Meter, Any, Any], bool]:
    return lambda meter, value, other: compare(name, value, other, meter)


def _case(name: str) -> Callable[[Meter, Any], bool]:
    def is_case(meter: Meter, value: Any) -> bool:
        meter.pay(value)
        return isinstance(value, str) and bool(getattr(value, name)())

    return is_case


TESTS: dict[str, Callable[..., bool]] = {
    "boolean": _kind(bool),
    "defined": lambda _, __: True,
    "divisibleby": lambda _, value, divisor: _remainder(value, divisor) == 0,
    "even": lambda _, value: _remainder(value, 2) == 0,
    "false": _is(False),
    "float": _kind(float),
    "integer": _kind(int),
    "iterable": _kind(Collection),
    "lower": _case("islower"),
    "mapping": _kind(Mapping),
    "none": _is(None),
    "number": _kind(int, float),
    "odd": lambda _, value: _remainder(value, 2) == 1,
    "sameas": lambda _, value, other: value is other,
    "sequence": _kind(Sequence),
    "string": _kind(str),
    "true": _is(True),
    "undefined": lambda _, __: False,
    "upper": _case("isupper"),
}
TESTS |= {
    alias: _comparison(name)
    for name, aliases in {
        "eq": ("==", "eq", "equalto"),
        "ne": ("!=", "ne"),
        "gt": (">", "gt", "greaterthan"),
        "gteq": (">=", "ge"),
        "lt": ("<", "lt", "lessthan"),
        "lteq": ("<=", "le"),
        "in": ("in",),
    }.items()
    for alias in aliases
}
"""The tests by their names."""
