"""What lies behind a dot, and between brackets: data, and the methods of plain values.

Of a mapping its keys, of an attrs or dataclass object or a named tuple its fields, of an exception
its class, its text and what was stored in it. Nothing else: no property, no method of an object, no
private name. A method can be called, and is one of this list.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from graceline.definitions.checks import brief, nearest
from graceline.dialects.templates.errors import MissingError, TemplateError
from graceline.dialects.templates.meter import Meter
from graceline.dialects.templates.operators import check_hashable
from graceline.dialects.templates.texts import join, replaced, split

__all__ = ["METHODS", "attribute", "call_method", "check_attribute", "item", "missing"]

_CONSIDERED = 200
"""Names that are looked at for the nearest one."""
_LISTED = 12
"""Names that an error lists when none is near."""
_NEVER = object()


def check_attribute(name: object) -> None:
    """Complain of a name that Python keeps to itself."""
    if isinstance(name, str) and name.startswith("__"):
        raise TemplateError(f"{brief(name)} is private: names that begin with __ are not offered")


def missing(what: str, name: object, names: Iterable[Any]) -> MissingError:
    """The error for a name that is not there; it names the nearest one that is."""
    considered = list(islice(names, _CONSIDERED))
    return MissingError(what, lambda: _hint(name, considered))


def _hint(name: object, names: list[Any]) -> str:
    known = [str(key) for key in names if len(str(key)) <= 60]
    hint = nearest(name, known)
    if hint.startswith("valid are") and len(known) > _LISTED:
        hint = f"{nearest(None, known[:_LISTED])}, ..."
    return hint


def attribute(value: Any, name: str, label: str) -> Any:
    """What `value.name` is; `label` says in an error what the value is called.

    Raises:
        MissingError: if there is nothing of that name.
        TemplateError: for what is not offered.
    """
    check_attribute(name)
    found = _look(value, name)
    if found is not _NEVER:
        return found
    if name in METHODS and _offers(value, name):
        raise TemplateError(f"{label}.{name} is a method; write {label}.{name}(...)")
    if value is None:
        raise MissingError(f"{label} is None, and has no {brief(name)}")
    names = _names(value)
    if not names and not isinstance(value, Mapping):
        raise MissingError(f"{label} is {_kind(value)}, and has no {brief(name)}")
    raise missing(f"{label} has no {brief(name)}", name, names)


def item(value: Any, key: Any, label: str, meter: Meter) -> Any:
    """What `value[key]` is.

    Raises:
        MissingError: if there is nothing of that name, or at that index.
        TemplateError: for what has no items.
    """
    check_attribute(key)
    if isinstance(key, slice):
        return _slice(value, key, label, meter)
    if isinstance(value, Mapping):
        check_hashable(key, meter)
        if key in value:
            return value[key]
    elif isinstance(value, str | Sequence) and isinstance(key, int):
        if -len(value) <= key < len(value):
            return value[key]
        raise MissingError(f"{label} has {len(value)} elements, and none at {key}")
    if isinstance(key, str):
        return attribute(value, key, label)
    if isinstance(value, Mapping):
        raise missing(f"{label} has no {brief(key)}", key, _names(value))
    raise MissingError(f"{label} is {_kind(value)}, and has nothing at {brief(key)}")


def _slice(value: Any, key: slice, label: str, meter: Meter) -> Any:
    if not isinstance(value, str | list | tuple):
        raise TemplateError(f"{label} is {_kind(value)}, which has no parts from:to")
    for bound in (key.start, key.stop, key.step):
        if bound is not None and not isinstance(bound, int):
            raise TemplateError(f"a part from:to is given in whole numbers, not {brief(bound)}")
    if key.step == 0:
        raise TemplateError("a part from:to:step has a step other than 0")
    size = len(range(*key.indices(len(value))))
    if isinstance(value, str):
        meter.charge(4 * size)
    else:
        meter.items(size)
    return meter.kept(value[key])


def _look(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name, _NEVER)
    if name.startswith("_"):
        return _NEVER
    if isinstance(value, BaseException):
        if name == "type":
            return type(value).__name__
        if name == "message":
            return str(value)
        return vars(value).get(name, _NEVER)
    return getattr(value, name, _NEVER) if name in _field_names(value) else _NEVER


def _field_names(value: Any) -> tuple[str, ...]:
    kind = type(value)
    if attrs.has(kind):
        return tuple(field.name for field in attrs.fields(kind))
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return getattr(kind, "_fields", ()) if isinstance(value, tuple) else ()


def _names(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(islice(value, _CONSIDERED))
    if isinstance(value, BaseException):
        return ["type", "message", *(name for name in vars(value) if not name.startswith("_"))]
    return [name for name in _field_names(value) if not name.startswith("_")]


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeioAEIO" else f"a {name}"


# -- methods --------------------------------------------------------------------------------------


def _plain(name: str) -> Callable[..., Any]:
    """A method of text that gives no more than a few times its length, and looks at it once."""

    def call(meter: Meter, value: str, *args: Any) -> Any:
        meter.pay(value, *args)
        return meter.kept(getattr(str(value), name)(*args))

    return call


def _get(meter: Meter, value: Mapping[Any, Any], key: Any, default: Any = None) -> Any:
    check_hashable(key, meter)
    return value.get(key, default)


def _items(meter: Meter, value: Mapping[Any, Any]) -> list[Any]:
    meter.items(2 * len(value))
    return [(key, entry) for key, entry in value.items()]


def _keys(meter: Meter, value: Mapping[Any, Any]) -> list[Any]:
    meter.items(len(value))
    return list(value)


def _values(meter: Meter, value: Mapping[Any, Any]) -> list[Any]:
    meter.items(len(value))
    return list(value.values())


def _found(name: str) -> Callable[..., Any]:
    """`index` and `count`, of text and of lists."""

    def call(meter: Meter, value: Any, wanted: Any) -> Any:
        meter.pay(value, wanted)
        return getattr(value, name)(wanted)

    return call


_TEXT = (
    "capitalize", "casefold", "endswith", "find", "isalnum", "isalpha", "isdigit", "islower",
    "isnumeric", "isspace", "isupper", "lower", "lstrip", "removeprefix", "removesuffix", "rfind",
    "rstrip", "startswith", "strip", "swapcase", "title", "upper",
)  # fmt: skip
_OF_TEXT: dict[str, Callable[..., Any]] = {
    **{name: _plain(name) for name in _TEXT},
    "count": _found("count"),
    "index": _found("index"),
    "join": lambda meter, value, parts: join(meter, parts, value),
    "replace": replaced,
    "split": split,
    "splitlines": lambda meter, value: split(meter, value, lines=True),
}
_OF_MAPPINGS: dict[str, Callable[..., Any]] = {
    "get": _get,
    "items": _items,
    "keys": _keys,
    "values": _values,
}
_OF_LISTS: dict[str, Callable[..., Any]] = {"count": _found("count"), "index": _found("index")}

METHODS: frozenset[str] = frozenset(_OF_TEXT) | frozenset(_OF_MAPPINGS) | frozenset(_OF_LISTS)
"""The methods that can be called."""


def _methods(value: Any) -> Mapping[str, Callable[..., Any]]:
    if isinstance(value, str):
        return _OF_TEXT
    if isinstance(value, Mapping):
        return _OF_MAPPINGS
    return _OF_LISTS if isinstance(value, list | tuple) else {}


def _offers(value: Any, name: str) -> bool:
    return name in _methods(value)


def call_method(
    value: Any, name: str, args: Sequence[Any], options: Mapping[str, Any], label: str, meter: Meter
) -> Any:
    """What `value.name(...)` gives.

    Raises:
        TemplateError: if it is not offered, or cannot be called like this.
    """
    methods = _methods(value)
    if name not in methods:
        hint = nearest(name, sorted(methods))
        raise TemplateError(f"{label} is {_kind(value)}, and there is no {name}() of it; {hint}")
    try:
        return methods[name](meter, value, *args, **options)
    except (TypeError, ValueError, LookupError) as error:
        raise TemplateError(f"{label}.{name}() does not take this: {error}") from error
