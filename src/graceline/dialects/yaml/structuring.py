"""Structuring: cattrs makes objects of the schema out of a tree; every mistake has its position."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import cattrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from graceline.definitions.checks import brief, nearest
from graceline.dialects.yaml.forms import WrongError
from graceline.dialects.yaml.keys import Key, Nested, keys_of
from graceline.dialects.yaml.problems import Position, Problem
from graceline.dialects.yaml.reading import Tree

__all__ = ["place_of", "structure", "where_of"]

T = TypeVar("T")

_ENOUGH = 200
"""So many mistakes are looked at: near names are slow to find."""
_SHOWN = 60
"""So many characters of a key are shown."""

_Path = tuple[str | int, ...]


def structure(tree: Tree, kind: type[T], file: str) -> tuple[T | None, list[Problem]]:
    """An object of a class of the schema, or everything that keeps the tree from being one."""
    try:
        return _converter().structure(tree.plain(), kind), []
    except (cattrs.BaseValidationError, WrongError) as error:
        return None, [
            Problem(where_of(tree, path) + message, file, place_of(tree, path, on_key=on_key))
            for path, message, on_key in islice(_problems(error, ()), _ENOUGH)
        ]


def place_of(tree: Tree, path: _Path, *, on_key: bool = False) -> Position:
    """Where a value stands, or its key; of what is missing, where the mapping around it begins."""
    here = tree
    for index, step in enumerate(path):
        inside = here.get(step)
        if inside is None or (on_key and index == len(path) - 1):
            return here.keys.get(str(step), here.at)
        here = inside
    return here.at


def where_of(tree: Tree, path: _Path) -> str:
    """What a path is about: `step 'a', backoff.initial: `."""
    parts: list[str] = []
    keys: list[str] = []
    here: Tree | None = tree
    for index, step in enumerate(path):
        here = None if here is None else here.get(step)
        if isinstance(step, str):
            keys.append(step if len(step) <= _SHOWN else f"{step[:_SHOWN]}...")
            continue
        kind = str(path[index - 1]).removesuffix("s")
        named = here and (here.get("id") or here.get("name"))
        if named and isinstance(named.value, str):
            parts.append(f"{kind} {brief(named.value)}")
        else:
            parts.append(f"{kind} {step + 1}")
        keys.clear()
    if keys:
        parts.append(".".join(keys))
    return f"{', '.join(parts)}: " if parts else ""


# -- cattrs ---------------------------------------------------------------------------------------


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook_factory(
        lambda kind: bool(getattr(kind, "__attrs_attrs__", ())),
        lambda kind: _class_hook(kind, converter),
    )
    return converter


def _class_hook(kind: type[Any], converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    """Structures one class: its keys, in all their spellings, and then its rules."""
    keys = keys_of(kind)
    spellings = {other: one.name for one in keys for other in one.also}
    overrides = {one.name: override(struct_hook=_key_hook(one, converter)) for one in keys}
    fill: Callable[..., Any] = make_dict_structure_fn(
        kind, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True,
        **overrides,  # type: ignore[arg-type]
    )  # fmt: skip

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            what = "has no value; give one, or leave the key out"
            raise WrongError(what if value is None else f"must be a mapping, not {brief(value)}")
        twice = [
            WrongError(f"is {spellings[name]} in another spelling; give one of the two", name)
            for name in value
            if spellings.get(name) in value
        ]
        named = {spellings.get(name, name): entry for name, entry in value.items()}
        try:
            made = fill(named, kind)
        except cattrs.ClassValidationError as error:
            raise cattrs.ClassValidationError("", [*twice, *error.exceptions], kind) from None
        wrong = [*twice, *made.rules()]
        if wrong:
            raise cattrs.ClassValidationError("", wrong, kind)
        return made

    return hook


def _key_hook(one: Key, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    form = one.form
    if not isinstance(form, Nested):
        return lambda value, _: form.read(value)
    kind, other = form.kind, form.other
    if form.holder == "list":
        return lambda value, _: _structure_list(value, kind, converter)
    if form.holder == "map":
        return lambda value, _: _structure_map(value, kind, converter)
    if other is not None:
        return lambda value, _: (
            converter.structure(value, kind) if isinstance(value, dict) else other.read(value)
        )
    return lambda value, _: converter.structure(value, kind)


def _structure_list(value: Any, kind: type[Any], converter: cattrs.Converter) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value:
        raise WrongError(f"must be a list with at least one entry, not {brief(value)}")
    return tuple(_structure_all(dict(enumerate(value)), kind, converter).values())


def _structure_map(value: Any, kind: type[Any], converter: cattrs.Converter) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongError(f"must be a mapping, not {brief(value)}")
    return _structure_all(value, kind, converter)


def _structure_all(
    entries: dict[Any, Any], kind: type[Any], converter: cattrs.Converter
) -> dict[Any, Any]:
    done: dict[Any, Any] = {}
    errors: list[Exception] = []
    for place, entry in entries.items():
        try:
            done[place] = converter.structure(entry, kind)
        except (cattrs.BaseValidationError, WrongError) as error:
            error.add_note(IterableValidationNote(f"at {place!r}", place, kind))
            errors.append(error)
    if errors:
        raise cattrs.IterableValidationError("", errors, kind)
    return done


def _problems(error: Exception, path: _Path) -> Iterator[tuple[_Path, str, bool]]:
    """Every mistake in a tree of errors: its path, what is wrong, and whether it is the key."""
    if isinstance(error, cattrs.BaseValidationError):
        for inner in error.exceptions:
            yield from _problems_within(inner, path)
    elif isinstance(error, WrongError):
        yield (path if error.key is None else (*path, error.key)), str(error), False


def _problems_within(error: Exception, path: _Path) -> Iterator[tuple[_Path, str, bool]]:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            path = (*path, note.name)
        elif isinstance(note, IterableValidationNote):
            path = (*path, note.index)
    if isinstance(error, ForbiddenExtraKeysError):
        valid = [name for one in keys_of(error.cl) for name in (one.name, *one.also)]
        for name in sorted(error.extra_fields):
            yield (*path, name), f"there is no such key; {nearest(name, valid)}", True
    elif isinstance(error, KeyError):
        yield path[:-1], f"has no {path[-1]}, which it needs", False
    else:
        yield from _problems(error, path)
