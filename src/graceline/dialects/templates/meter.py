"""How much one evaluation may do: steps, and what it makes; counted, never timed.

Every node of a template that is looked at, every round of a loop and every element that a filter
touches is a step. An operation whose cost depends on how large its operands are pays for them in
advance: `pay()` adds steps by their weight. The weight of a value is that of the tree that somebody
sees who writes it out, shared parts counted as often as they occur, because comparing, hashing and
printing cost that much. So a list that holds itself twice, twenty times over, is refused when it is
made and not when it is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import attrs

from graceline.dialects.templates.errors import TemplateError

__all__ = [
    "MAX_BITS",
    "MAX_ITEMS",
    "MAX_MADE",
    "MAX_STEPS",
    "MAX_VALUE",
    "MISSED",
    "Meter",
    "check_bits",
]

MAX_STEPS = 200_000
"""Steps of one evaluation: half a second or less."""
MAX_ITEMS = 100_000
"""Elements of one list that a template makes."""
MAX_VALUE = 16 << 20
"""Bytes of one value that a template makes."""
MAX_MADE = 64 << 20
"""Bytes of everything that one evaluation makes."""
MAX_BITS = 4096
"""Bits of a whole number."""
MISSED = 6
"""Steps that an error about what is missing takes, where something else stands in for it."""
_MAX_DEPTH = 100
_PER_STEP = 256
"""Bytes that are compared or printed for one step."""
_COPIED_PER_STEP = 1024
"""Bytes that are copied for one step."""
_NODE = 64
"""Bytes that an element counts, besides the text that it holds."""
_TOO_LARGE = (
    f"it would look at a value of more than {MAX_VALUE} bytes; what is that large can only be "
    "handed on as it is, by a template that is nothing but its name"
)
_TOO_DEEP = f"it would make, or look at, a value of more than {_MAX_DEPTH} levels"

_CONTAINERS = (list, tuple, dict, set, frozenset, MappingProxyType)


class _Weight(NamedTuple):
    """What was weighed, which is kept so that no other value gets its identity."""

    value: Any
    size: int
    depth: int


class Meter:
    """What one evaluation has used."""

    def __init__(self) -> None:
        self.steps: int = 0
        self.made: int = 0
        self._weights: dict[int, _Weight] = {}

    def tick(self, steps: int = 1) -> None:
        """Count steps.

        Raises:
            TemplateError: if they are more than an evaluation may take.
        """
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise TemplateError(f"it takes more than {MAX_STEPS} steps, which a template may not")

    def charge(self, size: int) -> None:
        """Count bytes that are about to be made.

        Raises:
            TemplateError: if one value, or all of them together, would be too large.
        """
        if size > MAX_VALUE:
            raise TemplateError(
                f"it would make a value of {size} bytes, and one may have {MAX_VALUE}"
            )
        self.made += size
        if self.made > MAX_MADE:
            raise TemplateError(
                f"it makes more than {MAX_MADE} bytes in all, which a template may not"
            )
        self.tick(size // _COPIED_PER_STEP)

    def items(self, count: int) -> None:
        """Count the elements of a list that is about to be made.

        Raises:
            TemplateError: if they are too many.
        """
        if count > MAX_ITEMS:
            raise TemplateError(
                f"it would make a list of {count} elements, and one may have {MAX_ITEMS}"
            )
        self.charge(8 * count)
        self.tick(count // 16)

    def pay(self, *values: Any) -> None:
        """Count the steps of an operation that looks at all of some values."""
        for value in values:
            self.tick(self.weigh(value) // _PER_STEP)

    def kept(self, value: Any) -> Any:
        """A value that was just made, once its size has been counted."""
        if isinstance(value, str | bytes):
            self.charge(sys.getsizeof(value))
        elif isinstance(value, int):
            check_bits(value)
        elif isinstance(value, _CONTAINERS):
            self.items(len(value))
            self.weigh(value)
        return value

    def fresh(self, value: Any) -> Any:
        """A value all of whose parts were just made, once they have been counted."""
        self.items(len(value))
        self.charge(self.weigh(value))
        return value

    def weigh(self, value: Any) -> int:
        """Bytes of a value when it is written out as a tree.

        Raises:
            TemplateError: if they are too many, or if it is nested too deeply.
        """
        return self._weigh(value, 0).size

    def _weigh(self, value: Any, level: int) -> _Weight:
        if isinstance(value, str | bytes):
            return _Weight(value, _NODE + len(value), 0)
        known = self._weights.get(id(value))
        if known is not None:
            return known
        if isinstance(value, _CONTAINERS) and len(value) * _NODE > MAX_VALUE:
            raise TemplateError(_TOO_LARGE)
        fields = _fields(value)
        if fields is None:
            bits = value.bit_length() if isinstance(value, int) else 0
            return _Weight(value, _NODE + bits // 3, 0)
        self.tick(1 + len(fields) // 16)
        size, depth = _NODE, 1
        for part in fields:
            kind = type(part)
            if kind is str:  # what large lists hold, first: a call for each would take long
                size += _NODE + len(part)
            elif kind is int:
                size += _NODE + part.bit_length() // 3
            else:
                if level > _MAX_DEPTH:  # it may hold itself
                    raise TemplateError(_TOO_DEEP)
                inside = self._weigh(part, level + 1)
                size += inside.size
                depth = max(depth, inside.depth + 1)
            if size > MAX_VALUE:
                raise TemplateError(_TOO_LARGE)
        if depth > _MAX_DEPTH:
            raise TemplateError(_TOO_DEEP)
        weight = self._weights[id(value)] = _Weight(value, size, depth)
        return weight


def _fields(value: Any) -> Any:
    """The parts of a container, or None."""
    if not isinstance(value, _CONTAINERS):
        kind = type(value)
        if not attrs.has(kind):
            return None
        return [getattr(value, field.name, None) for field in attrs.fields(kind)]
    if isinstance(value, Mapping):
        return [part for pair in value.items() for part in pair]
    return value


def check_bits(value: int) -> None:
    """Complain of a whole number that is too large."""
    if value.bit_length() > MAX_BITS:
        raise TemplateError(f"a whole number may have {MAX_BITS} bits, and one has more")
