"""The filters: the usual ones of Jinja2, and `slugify`, `tojson`, `from_json`, `basename`.

Each is a function of the meter, the value and its arguments. It counts what it touches, and what it
is going to make before it makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graceline.definitions.checks import brief, nearest
from graceline.dialects.templates import texts
from graceline.dialects.templates.errors import TemplateError
from graceline.dialects.templates.lists import LISTS, NEVER, each_of, itself, path_getter
from graceline.dialects.templates.meter import Meter
from graceline.dialects.templates.operators import printf, text_of
from graceline.dialects.templates.tests import TESTS
from graceline.dialects.templates.values import VALUES

__all__ = ["FILTERS", "MISSING"]

MISSING: object = object()
"""What `default` gets in place of a value that is missing."""
_OF_MISSING = ("defined", "undefined")
_Filter = Callable[..., Any]


def _map(meter: Meter, value: Any, name: Any = None, *args: Any, **options: Any) -> Any:
    if name is None:
        if set(options) - {"attribute", "default"} or "attribute" not in options:
            raise TemplateError("map takes the name of a filter, or attribute= and default=")
        function = path_getter(meter, options["attribute"], options.get("default", NEVER))
    else:
        chosen = _find(FILTERS, name, "filter")

        def function(entry: Any) -> Any:
            return chosen(meter, entry, *args, **options)

    results = []
    for entry in each_of(value, meter):
        results.append(function(entry))
        meter.items(1)
    return meter.kept(results)


def _find(table: Mapping[str, _Filter], name: Any, what: str) -> _Filter:
    if not isinstance(name, str) or name not in table:
        raise TemplateError(f"there is no {what} {brief(name)}; {nearest(name, sorted(table))}")
    return table[name]


def _select(*, keep: bool, by_attribute: bool) -> _Filter:
    def choose(meter: Meter, value: Any, *named: Any) -> Any:
        args = list(named)
        get: Callable[[Any], Any] = itself
        if by_attribute:
            if not args:
                raise TemplateError("selectattr and rejectattr take the name of an attribute")
            path, *args = args
            asks = bool(args) and args[0] in _OF_MISSING  # what is missing is what it is about
            get = path_getter(meter, path, MISSING if asks else NEVER)
        test = _find(TESTS, args[0], "test") if args else lambda _, entry: bool(entry)
        rest = args[1:]

        def holds(entry: Any) -> bool:
            found = get(entry)
            if found is MISSING:
                return bool(args[0] == "undefined")
            return bool(test(meter, found, *rest))

        return meter.kept([entry for entry in each_of(value, meter) if holds(entry) is keep])

    return choose


def _default(meter: Meter, value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    meter.tick()
    return default_value if value is MISSING or (boolean and not value) else value


def _on_text(name: str) -> _Filter:
    def call(meter: Meter, value: Any, *args: Any) -> Any:
        text = text_of(value, meter)
        meter.pay(text, *args)
        return meter.kept(getattr(text, name)(*args))

    return call


def _string(meter: Meter, value: Any) -> str:
    return text_of(value, meter)


def _words(meter: Meter, value: Any) -> int:
    text = text_of(value, meter)
    meter.charge(len(text))
    return sum(1 for _ in texts.words(text))


def _join(meter: Meter, value: Any, d: str = "", attribute: Any = None) -> str:
    get: Callable[[Any], Any] = itself if attribute is None else path_getter(meter, attribute)
    return texts.join(meter, (get(entry) for entry in each_of(value, meter)), d)


def _replace(meter: Meter, value: Any, old: str, new: str, count: int = -1) -> str:
    return texts.replaced(meter, text_of(value, meter), old, new, -1 if count is None else count)


def _format(meter: Meter, value: Any, *args: Any, **options: Any) -> str:
    if args and options:
        raise TemplateError("format takes values, or values by name, not both")
    return printf(meter, texts.check_text(value, "format"), *args, **options)


FILTERS: dict[str, _Filter] = {
    **LISTS,
    **VALUES,
    "basename": texts.basename,
    "capitalize": _on_text("capitalize"),
    "center": texts.center,
    "d": _default,
    "default": _default,
    "format": _format,
    "indent": texts.indent,
    "join": _join,
    "lower": _on_text("lower"),
    "map": _map,
    "reject": _select(keep=False, by_attribute=False),
    "rejectattr": _select(keep=False, by_attribute=True),
    "replace": _replace,
    "select": _select(keep=True, by_attribute=False),
    "selectattr": _select(keep=True, by_attribute=True),
    "slugify": texts.slugify,
    "string": _string,
    "title": _on_text("title"),
    "trim": _on_text("strip"),
    "truncate": texts.truncate,
    "upper": _on_text("upper"),
    "urlencode": texts.quoted,
    "wordcount": _words,
}
"""The filters by their names."""
