"""Operators, each bounded: what would be too large is refused before it is computed."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from graceline.definitions.checks import brief
from graceline.dialects.templates.errors import TemplateError
from graceline.dialects.templates.meter import MAX_BITS, Meter, check_bits

__all__ = ["binary", "check_hashable", "compare", "negative", "printf", "text_of"]

_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "-": operator.sub,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
_DIGITS_PER_STEP = 64
"""Digits of a fraction that are written for one step."""
_BITS_PER_STEP = 512
"""Bits of a whole number that are written as text for one step, besides those of its weight."""
_COMPARISONS: Mapping[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "eq": ("==", operator.eq),
    "ne": ("!=", operator.ne),
    "gt": (">", operator.gt),
    "gteq": (">=", operator.ge),
    "lt": ("<", operator.lt),
    "lteq": ("<=", operator.le),
}


def binary(sign: str, left: Any, right: Any, meter: Meter) -> Any:
    """What `left sign right` is.

    Raises:
        TemplateError: if it is not defined, or would be too large.
    """
    try:
        return meter.kept(_binary(sign, left, right, meter))
    except (TypeError, ValueError, ArithmeticError) as error:
        raise TemplateError(f"{brief(left)} {sign} {brief(right)}: {error}") from error


def _binary(sign: str, left: Any, right: Any, meter: Meter) -> Any:
    if isinstance(left, int | float) and isinstance(right, int | float):
        for number in (left, right):
            if isinstance(number, int):
                check_bits(number)
        if sign == "**":
            return _power(left, right)
        if sign in _ARITHMETIC:
            return _ARITHMETIC[sign](left, right)
        return left + right if sign == "+" else left * right
    if sign == "+":
        kinds: tuple[Any, ...] = (str, list, tuple)
        for kind in kinds:
            if isinstance(left, kind) and isinstance(right, kind):
                _make(kind, len(left) + len(right), meter)
                return left + right
    if sign == "*":
        if isinstance(left, int):
            left, right = right, left
        if isinstance(left, str | list | tuple) and isinstance(right, int):
            _make(type(left), len(left) * max(0, right), meter)
            return left * right
    if sign == "%" and isinstance(left, str):
        return printf(meter, left, *(right if isinstance(right, tuple) else (right,)))
    hint = ""
    if sign == "+" and str in (type(left), type(right)):
        hint = "; `~` joins the texts of any two values"
    both = f"{type(left).__name__} and {type(right).__name__}"
    raise TemplateError(f"{brief(left)} {sign} {brief(right)} is not defined for {both}{hint}")


def _make(kind: type, size: int, meter: Meter) -> None:
    if issubclass(kind, str):
        meter.charge(size)
    else:
        meter.items(size)


def _power(base: float, exponent: float) -> Any:
    whole = isinstance(base, int) and isinstance(exponent, int)
    # The lower bound of its bits: what is refused is really too large.
    if whole and exponent > 0 and (int(base).bit_length() - 1) * exponent > MAX_BITS:
        raise TemplateError(
            f"a whole number may have {MAX_BITS} bits; {brief(base)}**{brief(exponent)} has more"
        )
    result = base**exponent
    if isinstance(result, complex):
        raise TemplateError(f"{base} ** {exponent} is not a real number")
    return result


def negative(sign: str, value: Any) -> Any:
    """What `-value` or `+value` is."""
    if not isinstance(value, int | float):
        raise TemplateError(f"{sign}{brief(value)} is not defined: it is no number")
    return -value if sign == "-" else +value


def compare(name: str, left: Any, right: Any, meter: Meter) -> bool:
    """Whether a comparison of Jinja2's names (`eq`, `lteq`, `in`, `notin`, ...) holds.

    Raises:
        TemplateError: if the two cannot be compared.
    """
    meter.tick()
    if name in ("in", "notin"):
        return _contains(right, left, meter) == (name == "in")
    sign, function = _COMPARISONS[name]
    meter.pay(left, right)
    try:
        return bool(function(left, right))
    except TypeError as error:
        raise TemplateError(f"{brief(left)} {sign} {brief(right)}: {error}") from error


def _contains(container: Any, value: Any, meter: Meter) -> bool:
    if isinstance(container, Mapping | set | frozenset):
        check_hashable(value, meter)
    elif isinstance(container, str | list | tuple):
        meter.pay(container, value)
    else:
        raise TemplateError(f"`in` needs a list, a mapping or a text, not {brief(container)}")
    try:
        return value in container
    except TypeError as error:
        raise TemplateError(f"{brief(value)} in {brief(container)}: {error}") from error


def check_hashable(key: Any, meter: Meter) -> None:
    """Complain of what cannot be a key."""
    meter.pay(key)
    try:
        hash(key)
    except TypeError:
        raise TemplateError(f"{brief(key)} cannot be a key") from None


def text_of(value: Any, meter: Meter) -> str:
    """A value as it stands in a text."""
    if type(value) is str:
        return value
    meter.pay(value)
    if isinstance(value, int):
        meter.tick(value.bit_length() // _BITS_PER_STEP)
    try:
        text = str(value)
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"it has no text: {error}") from error
    made: str = meter.kept(text)
    return made


_DIRECTIVE = re.compile(
    r"%(?P<key>\([^()]*\))?[#0\- +]*(?P<width>\*|[0-9]*)"
    r"(?:\.(?P<precision>\*|[0-9]*))?[hlL]?(?P<kind>[diouxXeEfFgGcrsa%])?"
)
_MAX_WIDTH = 1000


def printf(meter: Meter, template: str, *args: Any, **options: Any) -> str:
    """What `template % args` is: with widths up to 1000, and without `*`.

    Raises:
        TemplateError: for another width, and for what `%` does not take.
    """
    meter.pay(template)
    found = list(_DIRECTIVE.finditer(template))
    meter.tick(2 * len(found))
    for directive in found:
        sizes = (directive["width"] or "0", directive["precision"] or "0")
        if directive["kind"] is None or "*" in sizes:
            raise TemplateError(
                f"{brief(template)} holds a % that is no directive such as %s or %5d"
            )
        if any(len(size) > 4 or int(size) > _MAX_WIDTH for size in sizes):
            raise TemplateError(f"%{'.'.join(sizes)[:20]} is too wide: {_MAX_WIDTH} is the most")
        meter.tick(int(sizes[1]) // _DIGITS_PER_STEP)
    weight = sum(map(meter.weigh, (*args, *options.values())))
    uses = len(found) if options else 1  # what has a name can be used more than once
    meter.charge(len(template) + 2 * _MAX_WIDTH * len(found) + 4 * weight * uses)
    try:
        return template % (options or args)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise TemplateError(f"{brief(template)} % ...: {error}") from error
