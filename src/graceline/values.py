"""Values: attrs classes that share the methods which compare, hash and show them.

attrs compiles these methods anew for each class, which takes longer than all the rest of it. There
are about a hundred such classes behind `import graceline`. What they do is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

__all__ = ["define", "draft_of", "frozen"]

T = TypeVar("T")

if TYPE_CHECKING:
    from attrs import define, frozen
else:

    def frozen(cls: type | None = None, **options: Any) -> Any:
        """As `attrs.frozen`."""
        return define(cls, frozen=True, **options)

    def define(
        cls: type | None = None,
        *,
        eq: bool = True,
        repr: bool = True,  # noqa: A002 - as attrs has it
        **options: Any,
    ) -> Any:
        """As `attrs.define`; what a class says of itself stays."""
        if cls is None:
            return partial(define, eq=eq, repr=repr, **options)
        own = vars(cls)
        if repr and "__repr__" not in own:
            cls.__repr__ = _repr
        if eq and "__eq__" not in own:
            cls.__eq__ = _eq
            if "__hash__" not in own:
                cls.__hash__ = _hash if options.get("frozen") else None
        return attrs.define(cls, eq=False, repr=False, **options)


def draft_of(frozen: type[T]) -> type[T]:
    """A mutable twin of a frozen attrs class, of the same layout.

    An instance is filled in by plain assignments and then becomes the frozen class by
    `draft.__class__ = frozen`. That takes a third of the time of a frozen `__init__`, which has to
    call `object.__setattr__` once for each field.
    """
    name = f"_{frozen.__name__}Draft"
    fields = {
        field.name: attrs.field(type=field.type)
        for field in attrs.fields(frozen)  # type: ignore[arg-type]
    }
    filled = attrs.make_class(name, fields, slots=False, eq=False, repr=False)
    return type(
        name,
        frozen.__bases__,  # what its fields are laid out behind
        {
            "__slots__": frozen.__slots__,  # type: ignore[attr-defined]
            "__init__": vars(filled)["__init__"],
            "__setattr__": object.__setattr__,  # fast only where both are as in `object`
            "__delattr__": object.__delattr__,
        },
    )


@cache
def _compared(cls: Any) -> Callable[[object], Any]:
    """What gives the fields that are compared."""
    names = [field.name for field in attrs.fields(cls) if field.eq]
    return attrgetter(*names) if names else lambda _: ()


def _eq(self: Any, other: Any) -> bool:
    cls = self.__class__
    if other.__class__ is not cls:
        return NotImplemented  # type: ignore[no-any-return]
    compared = _compared(cls)
    return bool(compared(self) == compared(other))


def _hash(self: Any) -> int:
    cls = self.__class__
    return hash((cls, _compared(cls)(self)))


@recursive_repr()
def _repr(self: Any) -> str:
    cls = self.__class__
    shown = ", ".join(
        f"{field.name}={getattr(self, field.name, attrs.NOTHING)!r}"
        for field in attrs.fields(cls)
        if field.repr
    )
    return f"{cls.__qualname__.rpartition('>.')[2]}({shown})"
