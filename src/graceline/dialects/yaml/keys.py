"""Keys: what the attrs classes of the schema say about each of their fields, and the table of all.

A class of the schema is a mapping in a file, its fields are the keys. From them come the reading,
the JSON Schema and the table, so that these cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from graceline.dialects.yaml.forms import Form

__all__ = ["Key", "Nested", "Section", "key", "keys_of", "name_of", "sections", "table"]

_KEY = "graceline"


@attrs.frozen(eq=False)
class Nested:
    """The form of a value that is a mapping of a class of the schema, or holds such ones.

    Attributes:
        kind: the class.
        holder: how it is held: alone, in a `list`, by name in a `map`, or `or` another form.
        other: what it may be instead, for `or`.
    """

    kind: type[Any]
    holder: str = "alone"
    other: Form | None = None

    @property
    def words(self) -> str:
        """What it may be, for people."""
        name = name_of(self.kind)
        if self.holder == "list":
            return f"a list of [{name}](#{name})"
        if self.holder == "map":
            return f"by name, each an [{name}](#{name})"
        link = f"[{name}](#{name})"
        return link if self.other is None else f"{self.other.words}; or [{name}](#{name})"


@attrs.frozen(eq=False)
class Key:
    """One key of a mapping.

    Attributes:
        name: as it is written.
        form: what its value may be.
        help: what it does, in one line.
        also: other spellings.
        required: whether it has to be there.
        template: whether its texts are templates. Where they are not, a text that looks like one
            is a mistake; None for a key that may hold any text.
    """

    name: str
    form: Form | Nested
    help: str
    also: tuple[str, ...]
    required: bool
    template: bool | None


def key(
    form: Form | Nested,
    help: str,  # noqa: A002 - what it is called everywhere
    *,
    also: tuple[str, ...] = (),
    required: bool = False,
    template: bool | None = False,
    default: Any = None,
    factory: Callable[[], Any] | None = None,
) -> Any:
    """A field of a class of the schema."""
    metadata = {_KEY: (form, help, also, required, template)}
    if required:
        return attrs.field(metadata=metadata)
    if factory is not None:
        return attrs.field(factory=factory, metadata=metadata)
    return attrs.field(default=default, metadata=metadata)


def keys_of(kind: type[Any]) -> tuple[Key, ...]:
    """The keys of a class of the schema, in their order."""
    return tuple(
        Key(field.name, *field.metadata[_KEY])
        for field in attrs.fields(kind)
        if _KEY in field.metadata
    )


@attrs.frozen
class Section:
    """The keys of one kind of mapping.

    Attributes:
        name: what the mapping is called, such as `step`.
        help: what it is.
        keys: its keys.
    """

    name: str
    help: str
    keys: tuple[Key, ...]


def sections(kind: type[Any]) -> tuple[Section, ...]:
    """Every key that may stand in a file, by the mappings that it may stand in."""
    found: dict[type[Any], Section] = {}
    waiting = [kind]
    while waiting:
        one = waiting.pop(0)
        if one in found:
            continue
        keys = keys_of(one)
        text = (one.__doc__ or "").partition("\n")[0].strip()
        found[one] = Section(name_of(one), text, keys)
        waiting += [nested.form.kind for nested in keys if isinstance(nested.form, Nested)]
    return tuple(found.values())


def name_of(kind: type[Any]) -> str:
    """What a mapping of a class of the schema is called."""
    return kind.__name__.removesuffix("Keys").lower()


def table(kind: type[Any]) -> str:
    """Every key with what its value may be and what it does, as Markdown."""
    lines: list[str] = []
    for section in sections(kind):
        lines += [f"### {section.name}", "", section.help, "", "| key | value | |", "|---|---|---|"]
        for one in section.keys:
            names = ", ".join(f"`{name}`" for name in (one.name, *one.also))
            marks = " (required)" * one.required + " (template)" * bool(one.template)
            lines.append(f"| {names}{marks} | {one.form.words} | {one.help} |")
        lines.append("")
    return "\n".join(lines)
