"""Reading: a file as a tree of plain values, each of which knows where it stands.

PyYAML parses, and only that: its events carry positions, come one by one, and are made by libyaml
where that is there. What they mean is decided here, by the core schema of YAML 1.2, and there are
bounds on size, depth and expansion, so that no file can exhaust the process that reads it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import attrs
import yaml

from graceline.definitions.checks import brief
from graceline.dialects.yaml.problems import FileError, Position, Problem
from graceline.dialects.yaml.scalars import resolve_scalar

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "Tree", "parse", "read_bytes"]

MAX_BYTES = 1 << 20
"""A larger file is refused before it is parsed."""
MAX_DEPTH = 64
"""How deeply values may be nested."""
MAX_VALUES = 100_000
"""How many values a file may hold, each as often as aliases repeat it; long texts count more."""

_CHARACTERS_OF_A_VALUE = 64
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
# U+0085, U+2028 and U+2029 end lines in YAML 1.1, which PyYAML reads, and in 1.2 they do not.
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


@attrs.frozen(eq=False)
class Tree:
    """A value of a file, and where it stands.

    Attributes:
        value: a text, a number, a boolean, None, a list of trees, or trees by key.
        at: where it begins.
        keys: where the keys of a mapping stand.
        depth: how many levels it has.
        weight: how many values it holds, itself included.
    """

    value: Any
    at: Position
    keys: dict[str, Position] = attrs.field(factory=dict)
    depth: int = 1
    weight: int = 1

    def plain(self) -> Any:
        """The value without positions."""
        return _plain(self, {})

    def get(self, *path: str | int) -> Tree | None:
        """What stands at a path of keys and indices, None if there is nothing."""
        here: Tree | None = self
        for step in path:
            if here is None:
                return None
            inside = here.value
            if isinstance(inside, dict) and isinstance(step, str):
                here = inside.get(step)
            elif isinstance(inside, list) and isinstance(step, int) and step < len(inside):
                here = inside[step]
            else:
                return None
        return here

    def texts(self) -> Iterator[Tree]:
        """The texts in it, itself included; keys are none."""
        if isinstance(self.value, str):
            yield self
        elif isinstance(self.value, list | dict):
            inside = self.value.values() if isinstance(self.value, dict) else self.value
            for entry in inside:
                yield from entry.texts()


def _plain(tree: Tree, done: dict[int, Any]) -> Any:
    """Aliases stay one object, so that no expansion costs memory."""
    if id(tree) not in done:
        value = tree.value
        if isinstance(value, dict):
            value = {key: _plain(entry, done) for key, entry in value.items()}
        elif isinstance(value, list):
            value = [_plain(entry, done) for entry in value]
        done[id(tree)] = value
    return done[id(tree)]


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file, at most one more than it may have.

    Raises:
        FileError: if it cannot be read, or is no regular file.
    """
    name = os.fspath(path)
    try:
        # Without blocking: a pipe would wait for somebody who writes.
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise FileError([Problem("is no regular file", name)])
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError([Problem(f"cannot be read: {reason}", name)]) from None


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parse(data: str | bytes, file: str | Path = "<text>") -> Tree:
    """Parse the text of a file.

    Args:
        data: UTF-8, with or without a byte order mark.
        file: what messages call it.

    Raises:
        FileError: for everything that is no YAML 1.2, and for what YAML allows and a pipeline does
            not: several documents, tags, merge keys, keys that are no texts, keys given twice;
            and for more than the bounds allow.
    """
    composer = _Composer(str(file))
    text = _decode(data, composer)
    tree = composer.compose(text)
    if composer.problems:
        raise FileError(composer.problems)
    assert tree is not None  # noqa: S101 - or there is a problem
    return tree


def _decode(data: str | bytes, composer: _Composer) -> str:
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "replace"))
    if size > MAX_BYTES:
        composer.fail(f"is larger than {MAX_BYTES >> 20} MiB, which no pipeline is", None)
    if isinstance(data, str):
        text = data
    else:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            composer.fail("is UTF-16; save it as UTF-8", Position(1, 1))
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            at = _place(data[: error.start].decode("utf-8"), error.start)
            composer.fail(f"is not UTF-8: byte 0x{data[error.start]:02x}; save it as UTF-8", at)
    text = text.removeprefix("\ufeff")
    found = _UNPRINTABLE.search(text)
    if found is not None:
        code = f"{ord(found[0]):04x}"
        composer.fail(
            f"a control character, U+{code.upper()}; in double quotes it is written \\u{code}",
            _place(text, found.start()),
        )
    return text


def _place(text: str, index: int) -> Position:
    before = text[:index]
    return Position(before.count("\n") + 1, len(before) - before.rfind("\n"))


@attrs.define(eq=False)
class _Frame:
    """A list or a mapping of which not all has been read yet."""

    at: Position
    anchor: str | None
    items: list[Tree]
    entries: dict[str, Tree] | None
    keys: dict[str, Position] = attrs.field(factory=dict)
    key: str | None = None
    has_key: bool = False
    depth: int = 1
    weight: int = 1


@attrs.define(eq=False)
class _Composer:
    """Makes a tree of PyYAML's events, without recursion: its own stack is the depth."""

    file: str
    problems: list[Problem] = attrs.field(factory=list)
    anchors: dict[str, Tree | None] = attrs.field(factory=dict)
    stack: list[_Frame] = attrs.field(factory=list)
    total: int = 0

    def compose(self, text: str) -> Tree | None:
        """The tree of the only document in a text; None if it is found not to be one."""
        root: Tree | None = None
        documents = 0
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    self._begin(event, documents)
                elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                    done = self._take(event)
                    root = root if done is None else done
        except yaml.MarkedYAMLError as error:
            self._refuse(error, text)
        if root is None or (root.value is None and not self.problems):
            self.fail("is empty; a pipeline has at least a name and steps", None)
        return root

    def fail(self, message: str, at: Position | None) -> NoReturn:
        """Give up: what follows could not be understood."""
        raise FileError([*self.problems, Problem(message, self.file, at)])

    def _begin(self, event: Any, documents: int) -> None:
        at = _position(event.start_mark)
        if documents > 1:
            self.fail("a second document begins here; a file holds one pipeline", at)
        if event.version not in (None, (1, 2)):
            self.fail("files are read as YAML 1.2; remove the line with %YAML", at)

    def _take(self, event: Any) -> Tree | None:
        """Take the next event; returns the document's tree when it is complete."""
        at = _position(event.start_mark)
        if isinstance(event, yaml.CollectionEndEvent):
            return self._close()
        if isinstance(event, yaml.AliasEvent):
            return self._put(self._alias(event.anchor, at), at)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if event.tag is not None:
            self._note(
                f"the tag {brief(event.tag)} is not used: a file is data; write the value without "
                "it, and a text in quotes",
                at,
            )
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, at)
        if len(self.stack) >= MAX_DEPTH:
            self.fail(f"is nested more than {MAX_DEPTH} levels deep here", at)
        entries: dict[str, Tree] | None = {} if isinstance(event, yaml.MappingStartEvent) else None
        self.stack.append(_Frame(at, event.anchor, [], entries))
        return None

    def _scalar(self, event: Any, at: Position) -> Tree | None:
        value: Any = event.value
        plain = event.style in (None, "")  # as the pure parser says it, and libyaml
        if plain and event.tag is None:
            try:
                value = resolve_scalar(value)
            except ValueError as error:
                self._note(str(error), at)
        tree = Tree(value, at, weight=1 + len(event.value) // _CHARACTERS_OF_A_VALUE)
        if event.anchor is not None:
            self.anchors[event.anchor] = tree
        return self._put(tree, at, merge=plain and event.value == "<<")

    def _alias(self, anchor: str, at: Position) -> Tree:
        shown = _short(anchor)
        if anchor not in self.anchors:
            self.fail(f"the alias *{shown} has no anchor &{shown} before it", at)
        tree = self.anchors[anchor]
        if tree is None:
            self.fail(f"the alias *{shown} stands inside of what it repeats", at)
        if len(self.stack) + tree.depth > MAX_DEPTH:
            self.fail(f"with *{shown} it is nested more than {MAX_DEPTH} levels deep", at)
        return tree

    def _put(self, tree: Tree, at: Position, *, merge: bool = False) -> Tree | None:
        """Put a complete value into what holds it; returns it if nothing does."""
        is_collection = isinstance(tree.value, list | dict)
        if not (is_collection and tree.at == at):  # else its parts have been counted
            self._count(tree.weight, at)
        if not self.stack:
            return tree
        frame = self.stack[-1]
        if frame.entries is None:
            frame.items.append(tree)
        elif not frame.has_key:
            frame.key = self._key(frame, tree, at, merge=merge)
            frame.has_key = True
            return None
        else:
            if frame.key is not None:
                frame.entries[frame.key] = tree
            frame.has_key = False
        frame.depth = max(frame.depth, tree.depth + 1)
        frame.weight += tree.weight
        return None

    def _key(self, frame: _Frame, tree: Tree, at: Position, *, merge: bool) -> str | None:
        """A key that can be used; None for one that cannot, which has been noted."""
        key = tree.value
        if merge:
            self._note(
                "merge keys (<<) are no part of YAML 1.2; an alias may stand for a whole value", at
            )
        elif not isinstance(key, str):
            shown = "a list or a mapping" if isinstance(key, list | dict) else brief(key)
            quoted = _template(tree)
            if quoted is None:
                self._note(f"a key must be a text, not {shown}; quote it if it is one", at)
            else:
                self._note(f"braces are mappings; quote the template: {quoted}", at)
        elif key in frame.keys:
            self._note(f"{brief(key)} is given twice, first in line {frame.keys[key].line}", at)
        else:
            frame.keys[key] = at
            return key
        return None

    def _close(self) -> Tree | None:
        frame = self.stack.pop()
        value = frame.items if frame.entries is None else frame.entries
        tree = Tree(value, frame.at, frame.keys, frame.depth, frame.weight)
        if frame.anchor is not None:
            self.anchors[frame.anchor] = tree
        self._count(1, frame.at)
        return self._put(tree, frame.at)

    def _count(self, weight: int, at: Position) -> None:
        self.total += weight
        if self.total > MAX_VALUES:
            self.fail(f"holds more than {MAX_VALUES} values; aliases count as often as used", at)

    def _note(self, message: str, at: Position) -> None:
        self.problems.append(Problem(message, self.file, at))
        if len(self.problems) >= MAX_DEPTH:
            raise FileError(self.problems)

    def _refuse(self, error: yaml.MarkedYAMLError, text: str) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        at = None if mark is None else _position(mark)
        line = text.splitlines()[at.line - 1 :][:1] if at is not None else []
        if at is not None and line and line[0][at.column - 1 : at.column] == "\t":
            self.fail("a tab; indent with spaces", at)
        context = f" {error.context}" if error.context else ""
        problem = _short(error.problem or "it cannot be parsed", 200)
        self.fail(f"is no YAML: {problem}{context}", at)


def _template(key: Tree) -> str | None:
    """What was meant by a mapping as the key of another one, as it would be right."""
    if not isinstance(key.value, dict) or len(key.value) != 1:
        return None
    ((name, value),) = key.value.items()
    if value.value is not None:
        return None
    quote = "'" if '"' in name else '"'
    return f"{quote}{{{{ {_short(name)} }}}}{quote}"


def _short(text: str, most: int = 60) -> str:
    """A text of the file as it stands in a message, however long it is there."""
    return text if len(text) <= most else f"{text[:most]}..."


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)
