"""Filters of collections; they give lists, where Jinja2 has generators."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cmp_to_key
from typing import Any, NamedTuple

from graceline.definitions.checks import brief
from graceline.dialects.templates.access import item
from graceline.dialects.templates.errors import MissingError, TemplateError
from graceline.dialects.templates.meter import MISSED, Meter
from graceline.dialects.templates.operators import binary, check_hashable

__all__ = ["LISTS", "NEVER", "Group", "each_of", "itself", "listed", "path_getter"]

NEVER: Any = object()
"""What stands for no value, where None is one."""
_SORT = 3
"""Steps that sorting takes, however little is sorted."""
_Filter = Callable[..., Any]


class Group(NamedTuple):
    """What `groupby` gives for each value: `{% for grouper, list in ... %}`."""

    grouper: Any
    list: list[Any]


def each_of(value: Any, meter: Meter) -> Iterator[Any]:
    """The elements of a collection, each a step; a mapping has its keys.

    Raises:
        TemplateError: for what is none. A generator is none: looking at it would use it up.
    """
    if not isinstance(value, Collection) or isinstance(value, bytes):
        raise TemplateError(f"{brief(value)} is no list or other collection")
    for entry in value:
        meter.tick()
        yield entry


def listed(meter: Meter, value: Any) -> list[Any]:
    """The elements as a new list."""
    if isinstance(value, Collection):
        meter.items(len(value))
    kept: list[Any] = meter.kept(list(each_of(value, meter)))
    return kept


def itself(value: Any) -> Any:
    """The key of an element that is compared as a whole."""
    return value


def path_getter(meter: Meter, path: Any, default: Any = NEVER) -> Callable[[Any], Any]:
    """A function that follows a path such as `author.name`, or `items.0`, or takes an index."""
    steps = path.split(".") if isinstance(path, str) else [path]

    def get(value: Any) -> Any:
        meter.tick(len(steps))
        try:
            for step in steps:
                key = step
                if isinstance(step, str) and step.isdecimal() and not isinstance(value, Mapping):
                    key = int(step[:9])
                value = item(value, key, "an element", meter)
        except MissingError:
            if default is NEVER:
                raise
            meter.tick(MISSED)
            return default
        return value

    return get


def _key(meter: Meter, path: Any, *, case_sensitive: bool) -> Callable[[Any], Any]:
    get: Callable[[Any], Any] = itself if path is None else path_getter(meter, path)

    def key(value: Any) -> Any:
        found = get(value)
        return found.lower() if isinstance(found, str) and not case_sensitive else found

    return key


def _sorted(
    meter: Meter, value: Any, key: Callable[[Any], Any], *, reverse: bool = False
) -> list[Any]:
    """Sorted, each comparison counted with what it looks at."""

    def less(left: tuple[Any, Any], right: tuple[Any, Any]) -> int:
        meter.tick()
        meter.pay(left[0], right[0])
        try:
            return -1 if left[0] < right[0] else int(right[0] < left[0])
        except TypeError as error:
            raise TemplateError(f"they cannot be put in order: {error}") from error

    meter.tick(_SORT)
    pairs = [(key(entry), entry) for entry in listed(meter, value)]
    pairs.sort(key=cmp_to_key(less), reverse=bool(reverse))
    return [entry for _, entry in pairs]


def _sort(
    meter: Meter,
    value: Any,
    reverse: bool = False,
    case_sensitive: bool = False,
    attribute: Any = None,
) -> Any:
    key = _key(meter, attribute, case_sensitive=case_sensitive)
    return meter.kept(_sorted(meter, value, key, reverse=reverse))


def _dictsort(
    meter: Meter,
    value: Any,
    case_sensitive: bool = False,
    by: str = "key",
    reverse: bool = False,
) -> Any:
    if by not in ("key", "value"):
        raise TemplateError(f"dictsort takes by='key' or by='value', not {brief(by)}")
    key = _key(meter, 0 if by == "key" else 1, case_sensitive=case_sensitive)
    return meter.kept(_sorted(meter, _pairs(meter, value), key, reverse=reverse))


def _pairs(meter: Meter, value: Any) -> list[Any]:
    if not isinstance(value, Mapping):
        raise TemplateError(f"{brief(value)} is no mapping")
    meter.items(2 * len(value))
    return list(value.items())


def _groupby(
    meter: Meter,
    value: Any,
    attribute: Any,
    default: Any = None,
    case_sensitive: bool = False,
) -> Any:
    get = path_getter(meter, attribute, default)
    fold = _key(meter, None, case_sensitive=case_sensitive)
    groups: list[Group] = []
    last: Any = NEVER
    for entry in _sorted(meter, value, lambda one: fold(get(one))):
        found = fold(get(entry))
        if last is NEVER or _equal(meter, found, last) is False:
            groups.append(Group(get(entry), []))
            last = found
        groups[-1].list.append(entry)
    return meter.kept(groups)


def _equal(meter: Meter, left: Any, right: Any) -> bool:
    """Whether two values are equal, paid for."""
    meter.pay(left, right)
    return bool(left == right)


def _unique(meter: Meter, value: Any, case_sensitive: bool = False, attribute: Any = None) -> Any:
    key = _key(meter, attribute, case_sensitive=case_sensitive)
    seen: dict[Any, Any] = {}
    for entry in each_of(value, meter):
        found = key(entry)
        check_hashable(found, meter)
        seen.setdefault(found, entry)
    return meter.kept(list(seen.values()))


def _first(meter: Meter, value: Any) -> Any:
    for entry in each_of(value, meter):
        return entry
    raise MissingError("there is no first element: the collection is empty")


def _last(meter: Meter, value: Any) -> Any:
    if isinstance(value, Sequence) and value:
        return value[-1]
    found = listed(meter, value)
    if not found:
        raise MissingError("there is no last element: the collection is empty")
    return found[-1]


def _extreme(sign: int) -> _Filter:
    def pick(meter: Meter, value: Any, case_sensitive: bool = False, attribute: Any = None) -> Any:
        key = _key(meter, attribute, case_sensitive=case_sensitive)
        best: Any = NEVER
        for entry in each_of(value, meter):
            found = key(entry)
            if best is NEVER:
                best, chosen = found, entry
                continue
            meter.pay(found, best)
            try:
                better = found < best if sign < 0 else best < found
            except TypeError as error:
                raise TemplateError(f"they cannot be put in order: {error}") from error
            if better:
                best, chosen = found, entry
        if best is NEVER:
            raise MissingError("there is none: the collection is empty")
        return chosen

    return pick


def _sum(meter: Meter, value: Any, attribute: Any = None, start: Any = 0) -> Any:
    get: Callable[[Any], Any] = itself if attribute is None else path_getter(meter, attribute)
    total = start
    for entry in each_of(value, meter):
        total = binary("+", total, get(entry), meter)
    return total


def _reverse(meter: Meter, value: Any) -> Any:
    if isinstance(value, str):
        return meter.kept(value[::-1])
    return meter.kept(listed(meter, value)[::-1])


def _length(meter: Meter, value: Any) -> int:
    if not isinstance(value, Collection):
        raise TemplateError(f"{brief(value)} has no length")
    meter.tick()
    return len(value)


def _batch(meter: Meter, value: Any, linecount: int, fill_with: Any = None) -> Any:
    size = _count(linecount, "batch")
    entries = listed(meter, value)
    lines = [entries[at : at + size] for at in range(0, len(entries), size)]
    if lines and fill_with is not None:
        meter.items(size)
        lines[-1] += [fill_with] * (size - len(lines[-1]))
    return meter.fresh(lines)


def _slices(meter: Meter, value: Any, slices: int, fill_with: Any = None) -> Any:
    count = _count(slices, "slice")
    meter.items(count)
    entries = listed(meter, value)
    short, longer = divmod(len(entries), count)
    columns, at = [], 0
    for number in range(count):
        size = short + (number < longer)
        column = entries[at : at + size]
        if fill_with is not None and number >= longer:
            column.append(fill_with)
        columns.append(column)
        at += size
    return meter.fresh(columns)


def _count(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TemplateError(f"{what} takes a number from 1, not {brief(value)}")
    return value


def _items(meter: Meter, value: Any) -> Any:
    return meter.kept(_pairs(meter, value))


LISTS: dict[str, _Filter] = {
    "batch": _batch,
    "count": _length,
    "dictsort": _dictsort,
    "first": _first,
    "groupby": _groupby,
    "items": _items,
    "last": _last,
    "length": _length,
    "list": listed,
    "max": _extreme(1),
    "min": _extreme(-1),
    "reverse": _reverse,
    "slice": _slices,
    "sort": _sort,
    "sum": _sum,
    "unique": _unique,
}
"""The filters of collections by their names."""
