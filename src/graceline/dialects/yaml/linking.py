"""Linking: which step needs which, as declared and as found in the templates of a file.

It looks at the tree and not at the schema's objects: so what is wrong with the references is told
together with what is wrong with the form. The classes of the schema say which keys take templates.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from graceline.definitions.checks import brief, nearest
from graceline.dialects.templates import Template, TemplateError
from graceline.dialects.templates.meter import MAX_STEPS as MAX_STEPS_OF_TEMPLATE
from graceline.dialects.templates.meter import Meter
from graceline.dialects.templates.parsing import is_template
from graceline.dialects.yaml.forms import Form, WrongError, is_name
from graceline.dialects.yaml.keys import Key, Nested, keys_of
from graceline.dialects.yaml.links import Links, Place, References
from graceline.dialects.yaml.problems import Position, Problem
from graceline.dialects.yaml.reading import Tree
from graceline.dialects.yaml.schema import StepKeys

__all__ = [
    "ITEM_NAMES",
    "MAX_STEPS",
    "MAX_TEMPLATES",
    "OUTPUTS",
    "RECORD_FIELDS",
    "RESERVED",
    "link",
    "steps_of",
]

RECORD_FIELDS = ("result", "error", "status", "value")
"""What templates can ask of a step that has ended."""
ITEM_NAMES = ("item", "index", "is_first", "is_last", "length")
"""What templates of a step with `for_each` know besides."""
_TEXTS = ("error", "status")
_EXECUTION = ("id", "timestamp")
_CONSTANTS = ("true", "True", "false", "False", "none", "None", "null")
OUTPUTS = "outputs"
"""The id of the stage, and of its node, that makes the outputs; no other one has it."""
RESERVED = ("inputs", "steps", "execution", OUTPUTS, *ITEM_NAMES, *_CONSTANTS)
"""Names that no step and no input can have."""

MAX_STEPS = 2000
"""A file with more is refused: no person writes it, and each step takes milliseconds to build."""
MAX_TEMPLATES = 5000
"""So many different texts of a file may be templates."""
_ENOUGH = 50
"""So many problems are looked for."""
_SHOWN = 300
"""So many characters of names are shown."""
_WHOLE = ("condition", "for_each", "cleanup")
"""Keys whose templates are about the whole step, and not about one item."""
_TAKING = [key.name for key in keys_of(StepKeys) if key.template]


def steps_of(tree: Tree) -> Iterator[tuple[int, tuple[str | int, ...], Tree]]:
    """The steps of a file: the number of their stage, their path, and themselves."""
    stages = tree.get("stages")
    if stages is not None and isinstance(stages.value, list):
        for number, stage in enumerate(stages.value):
            yield from _listed(stage, number, ("stages", number, "steps"))
    yield from _listed(tree, 0, ("steps",))


def _listed(
    holder: Tree, number: int, path: tuple[str | int, ...]
) -> Iterator[tuple[int, tuple[str | int, ...], Tree]]:
    steps = holder.get("steps")
    if steps is not None and isinstance(steps.value, list):
        for index, step in enumerate(steps.value):
            if isinstance(step.value, dict):
                yield number, (*path, index), step


def _values(
    tree: Tree, kind: type[Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Key, Tree]]:
    """What a mapping holds, and the mappings in it: the way to it, its key, and itself."""
    for key in keys_of(kind):
        for name in (key.name, *key.also):
            value = tree.get(name)
            if value is None:
                continue
            if not isinstance(key.form, Nested):
                yield (*above, name), key, value
            elif isinstance(value.value, dict):
                yield from _values(value, key.form.kind, (*above, name))


def _text(tree: Tree | None) -> str | None:
    return tree.value if tree is not None and isinstance(tree.value, str) else None


def _near(name: str, valid: Sequence[str]) -> str:
    """The nearest valid name, or all of them if there are not too many."""
    hint = nearest(name, valid)
    return hint if len(hint) <= _SHOWN else f"none of the {len(valid)} there are is near it"


def _meaning(name: str) -> str:
    """Why a name cannot be taken."""
    if name in ITEM_NAMES:
        return f"templates use {name!r} for items"
    return f"in templates {name!r} is {'a constant' if name in _CONSTANTS else 'something else'}"


def link(tree: Tree, file: str) -> Links:
    """Find what refers to what in a file, and what refers to nothing."""
    return _Linker(tree, file).link()


class _EnoughError(Exception):
    """So much is wrong that it is no use to go on: near names are slow to find."""


class _Linker:
    def __init__(self, tree: Tree, file: str) -> None:
        self._tree = tree
        self._file = file
        self._links = Links()
        inputs = tree.get("inputs") or tree.get("parameters")
        found = {} if inputs is None or not isinstance(inputs.value, dict) else inputs.keys
        self._inputs: dict[str, Position] = dict(found)
        self._read: dict[str, list[tuple[str, ...]]] = {}
        self._spent = 0
        self._taken: set[str] = set()

    def link(self) -> Links:
        """All of it, or as much as anybody will want to read."""
        with suppress(_EnoughError):
            self._link()
        return self._links

    def _link(self) -> None:
        self._name()
        for place in self._links.steps.values():
            self._link_step(place)
        outputs = self._tree.get("outputs")
        self._check_keys(outputs, "outputs")
        if outputs is not None:
            for text in outputs.texts():
                for path in self._paths(text, "outputs"):
                    self._refer(path, text.at, "outputs", self._links.outputs, whole=True)
            self._links.used.update(self._links.outputs.steps)
        self._find_cycles()

    def _wrong(self, message: str, at: Position) -> None:
        self._links.problems.append(Problem(message, self._file, at))
        if len(self._links.problems) >= _ENOUGH:
            raise _EnoughError

    def _name(self) -> None:
        """Every stage and every step has a name of its own, and no input has one of those."""
        stages = self._tree.get("stages")
        seen = set()
        for stage in stages.value if stages is not None and isinstance(stages.value, list) else ():
            name = stage.get("id") or stage.get("name")
            text = _text(name)
            if name is not None and text == OUTPUTS:
                self._wrong(
                    f"stage {text!r}: what makes the outputs is a stage of this id", name.at
                )
            elif name is not None and text in seen:
                self._wrong(f"stage {brief(text)}: another stage has this id", name.at)
            seen.add(text or "")
        name = self._tree.get("id") or self._tree.get("name")
        if name is not None and _text(name) == OUTPUTS and self._tree.get("steps") is not None:
            self._wrong(
                f"the file has the id {OUTPUTS!r}, which is also that of its only stage, and what "
                "makes the outputs is a stage of this id; give it another one",
                name.at,
            )
        for number, path, step in steps_of(self._tree):
            name = step.get("id") or step.get("name")
            text = _text(name)
            if name is None or text is None or not is_name(text):
                continue  # which has been noted by the reading of the schema
            if len(self._links.steps) >= MAX_STEPS:
                self._wrong(f"there are more than {MAX_STEPS} steps", name.at)
                raise _EnoughError
            first = self._links.steps.get(text)
            if first is not None:
                line = first.tree.at.line
                self._wrong(f"step {text!r}: another step has this id, in line {line}", name.at)
            elif text in RESERVED:
                self._taken.add(text)
                self._wrong(f"step {text!r}: take another id; {_meaning(text)}", name.at)
            else:
                self._links.steps[text] = Place(text, number, path, step)
        for text, at in self._inputs.items():
            if text in self._links.steps:
                self._wrong(f"input {text!r}: a step has this name, too", at)
            elif text in RESERVED:
                self._taken.add(text)
                self._wrong(f"input {text!r}: take another name; {_meaning(text)}", at)
            elif not (text.isidentifier() and text.isascii()):
                self._wrong(f"input {brief(text)}: templates could not refer to it", at)

    def _link_step(self, place: Place) -> None:
        where = f"step {place.id!r}"
        needs: dict[str, None] = {}
        after: dict[str, None] = {}

        def need(name: str | None, at: Position, *, itself: bool = False) -> None:
            if name is None or (itself and name == place.id):
                return
            if name == place.id:
                self._wrong(f"{where}: it refers to itself, before it has run", at)
                return
            needs[name] = None
            other = self._links.steps[name]
            if other.stage == place.stage:
                after[name] = None
            elif other.stage > place.stage:
                self._wrong(f"{where}: it needs {name!r}, which is in a later stage", at)

        for entry in self._declared(place):
            name = entry.value
            if not isinstance(name, str) or name in self._taken:
                continue  # which has been noted
            if name in self._links.steps:
                need(name, entry.at)
            else:
                valid = [step for step in self._links.steps if step != place.id]
                self._wrong(
                    f"{where}, dependencies: there is no step {brief(name)}; {_near(name, valid)}",
                    entry.at,
                )
        looped = place.tree.get("for_each") is not None
        found = self._links.references[place.id] = References()
        for way, key, value in _values(place.tree, StepKeys):
            if not key.template:
                self._check_literal(key, value, f"{where}, {'.'.join(way)}")
                continue
            what = f"{where}, {way[0]}"
            self._check_keys(value, what)
            for text in value.texts():
                for path in self._paths(text, what):
                    items = looped and way[0] not in _WHOLE
                    name = self._refer(path, text.at, what, found, items=items)
                    need(name, text.at, itself=way[0] == "cleanup")
        self._links.needs[place.id] = tuple(needs)
        self._links.after[place.id] = tuple(after)
        self._links.used.update(needs)

    def _declared(self, place: Place) -> list[Tree]:
        declared = place.tree.get("dependencies")
        if declared is None:
            return []
        return declared.value if isinstance(declared.value, list) else [declared]

    def _check_keys(self, tree: Tree | None, where: str) -> None:
        """No key is a template, however deep it stands."""
        if tree is None or not isinstance(tree.value, list | dict):
            return
        for key, at in tree.keys.items():
            if is_template(key):
                self._wrong(f"{where}: {brief(key)} is a key, and keys are no templates", at)
        for part in tree.value.values() if isinstance(tree.value, dict) else tree.value:
            self._check_keys(part, where)

    def _check_literal(self, key: Key, value: Tree, where: str) -> None:
        """A template where none is evaluated is a mistake, unless any text may stand there."""
        text = next((text for text in value.texts() if is_template(text.value)), None)
        if text is None or key.template is None:
            return
        assert isinstance(key.form, Form)  # noqa: S101 - what is nested has been opened
        with suppress(WrongError):  # which has been noted by the reading of the schema
            key.form.read(value.plain())
            self._wrong(
                f"{where}: {brief(text.value)} looks like a template, and is none here; "
                f"templates are for {', '.join(_TAKING)}",
                text.at,
            )

    def _paths(self, text: Tree, where: str) -> list[tuple[str, ...]]:
        if "{" not in text.value:
            return []
        paths = self._read.get(text.value)
        if paths is None:  # aliases may repeat a text many times
            paths = []
            try:
                template = Template(text.value)
                paths = sorted(template.paths)
                self._try(template)
            except TemplateError as error:
                self._wrong(f"{where}: {error}", text.at)
            self._read[text.value] = paths
            if len(self._read) > MAX_TEMPLATES:
                self._wrong(f"there are more than {MAX_TEMPLATES} templates", text.at)
                raise _EnoughError
        return paths

    def _try(self, template: Template) -> None:
        """Evaluate what is the same in every run, so that what always fails is told now."""
        if self._spent < MAX_STEPS_OF_TEMPLATE:
            meter = Meter()
            try:
                template.check(meter)
            finally:
                self._spent += meter.steps

    def _refer(
        self,
        path: tuple[str, ...],
        at: Position,
        where: str,
        found: References,
        *,
        items: bool = False,
        whole: bool = False,
    ) -> str | None:
        """The step that a path leads to, if it does; a path that leads nowhere is noted."""
        root, *rest = path
        name = self._step_of(path, at, where, items=items, whole=whole)
        if name is not None:
            found.steps.add(name)
        elif root == "inputs":
            found.inputs.update(rest[:1])
            found.all_inputs |= not rest
        elif root in self._inputs:
            found.inputs.add(root)
        return name

    def _step_of(
        self, path: tuple[str, ...], at: Position, where: str, *, items: bool, whole: bool
    ) -> str | None:
        root, *rest = path
        steps = self._links.steps
        if root in self._taken or (root == "steps" and not self._taken.isdisjoint(rest[:1])):
            return None  # which has been noted
        if root in steps:
            self._check_field(root, rest, at, where)
            return root
        if root == "steps":
            if not rest:
                if not whole:
                    self._wrong(f"{where}: say which step is meant: steps.{next(iter(steps))}", at)
                return None
            if self._check(rest[:1], tuple(steps), f"{where}: there is no step", at):
                self._check_field(rest[0], rest[1:], at, where)
                return rest[0]
        elif root == "inputs":
            self._check(rest[:1], tuple(self._inputs), f"{where}: there is no input", at)
        elif root == "execution":
            self._check(rest[:1], _EXECUTION, f"{where}: execution has no", at)
        elif root in ITEM_NAMES:
            if not items:
                self._wrong(f"{where}: {root!r} is known to the items of for_each only", at)
        elif root not in self._inputs:
            valid = [*self._inputs, *steps, "inputs", "steps", "execution"]
            self._wrong(f"{where}: nothing is called {brief(root)}; {_near(root, valid)}", at)
        return None

    def _check_field(self, step: str, rest: list[str], at: Position, where: str) -> None:
        """What a template asks of a step."""
        if not self._check(rest[:1], RECORD_FIELDS, f"{where}: step {step!r} has no", at):
            return
        if rest[1:] and rest[0] in _TEXTS:
            self._wrong(
                f"{where}: the {rest[0]} of step {step!r} is a text, and has no {brief(rest[1])}",
                at,
            )

    def _check(self, names: list[str], valid: tuple[str, ...], what: str, at: Position) -> bool:
        """Whether a name, if there is one, is a valid one; else it is noted."""
        if names and names[0] not in valid:
            self._wrong(f"{what} {brief(names[0])}; {_near(names[0], valid)}", at)
            return False
        return True

    def _find_cycles(self) -> None:
        """Cut the cycles one by one, so that each of them is told."""
        after = {name: set(needed) for name, needed in self._links.after.items()}
        while True:
            try:
                graphlib.TopologicalSorter(after).prepare()
            except graphlib.CycleError as error:
                cycle = error.args[1]
                first, second = cycle[0], cycle[1]
                names = cycle if len(cycle) < 10 else [*cycle[:5], "...", *cycle[-3:]]
                shown = " -> ".join(name if name == "..." else repr(name) for name in names)
                at = self._links.steps[second].tree.at
                self._wrong(f"step {second!r}: {shown} is a cycle; it would wait for itself", at)
                after[second].discard(first)
            else:
                return
