"""Changes: what differs between the file that a run began with and the file as it is now.

Files are compared by what they say, and not by how: comments and the order of keys do not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from graceline.dialects.yaml.links import Links
from graceline.dialects.yaml.problems import FileError, Position
from graceline.dialects.yaml.reading import Tree, parse
from graceline.dialects.yaml.schema import FileKeys, InputKeys, StepKeys
from graceline.dialects.yaml.structuring import structure

__all__ = ["HARMLESS", "Change", "Version", "affected", "compare", "read_keys"]

HARMLESS: dict[str, frozenset[str]] = {
    "file": frozenset({"id", "name", "description", "version", "config"}),
    "input": frozenset({"description"}),
    "stage": frozenset(
        {"description", "timeout", "default_timeout", "grace", "reserve", "critical"}
    ),
    "step": frozenset(
        {
            "description", "timeout", "total_timeout", "grace", "reserve", "max_retries", "backoff",
            "breaker", "hedge", "idempotent", "on_error", "max_parallel", "runs_on", "metadata",
        }
    ),
}  # fmt: skip
"""Keys that decide how long and how often something is tried, and not what is done."""


@attrs.frozen
class Change:
    """One difference.

    Attributes:
        what: where it is, and what, such as `step 'build', command`.
        file: the name of the file.
        at: where it stands now; None if it is gone.
        harmless: whether what was done stays what would be done now.
        step: the step that is not the same any more; None if that is none.
        input: the input that is not.
    """

    what: str
    file: str
    at: Position | None
    harmless: bool
    step: str | None = None
    input: str | None = None

    def __str__(self) -> str:
        where = self.file if self.at is None else f"{self.file}:{self.at.line}:{self.at.column}"
        return f"{where}: {self.what}"


@attrs.frozen
class Version:
    """A file as it was, or is.

    Attributes:
        keys: what it says.
        tree: the same with positions.
    """

    keys: FileKeys
    tree: Tree


def read_keys(text: str, file: str) -> Version:
    """What a text of a file says. It was valid when it was written down.

    Raises:
        FileError: if it is not.
    """
    tree = parse(text, file)
    keys, problems = structure(tree, FileKeys, file)
    if keys is None:
        raise FileError(problems)
    return Version(keys, tree)


def compare(old: Version, new: Version, links: Links, file: str) -> list[Change]:
    """Every difference.

    Args:
        old: the file as it was.
        new: the file as it is.
        links: where its steps stand.
        file: what messages call it.
    """
    return list(_Comparison(old, new, links, file).changes())


class _Comparison:
    def __init__(self, old: Version, new: Version, links: Links, file: str) -> None:
        self._old = old
        self._new = new
        self._links = links
        self._file = file

    def changes(self) -> Iterator[Change]:
        """In the order of the kinds: the file, its inputs, its stages, its steps."""
        old, new = self._old.keys, self._new.keys
        for name in ("id", "name", "description", "version", "outputs"):
            if not _same(getattr(old, name), getattr(new, name)):
                yield self._change(name, ((name,),), harmless=name in HARMLESS["file"])
        for name in _differing(old.config, new.config):
            yield self._change(f"config, {name}", (("config", name), ("config",)), harmless=True)
        yield from self._inputs(old.inputs, new.inputs)
        yield from self._stages()
        yield from self._steps()

    def _change(
        self,
        what: str,
        paths: Iterable[tuple[str | int, ...]],
        *,
        harmless: bool = False,
        step: str | None = None,
        input: str | None = None,  # noqa: A002 - as the attribute
    ) -> Change:
        found = (self._new.tree.get(*path) for path in paths)
        at = next((tree.at for tree in found if tree is not None), None)
        return Change(what, self._file, at, harmless, step, input)

    def _inputs(self, old: dict[str, InputKeys], new: dict[str, InputKeys]) -> Iterator[Change]:
        for name in dict.fromkeys([*old, *new]):
            where = f"input {name!r}"
            paths = (("inputs", name), ("parameters", name))
            if name not in new:
                yield self._change(f"{where} is gone", (), input=name)
            elif name not in old:
                yield self._change(f"{where} is new", paths, input=name)
            else:
                for key in _differing(old[name], new[name]):
                    harmless = key in HARMLESS["input"]
                    places = [(*path, key) for path in paths] + list(paths)
                    yield self._change(
                        f"{where}, {key}", places, harmless=harmless,
                        input=None if harmless else name,
                    )  # fmt: skip

    def _stages(self) -> Iterator[Change]:
        old = {stage.id: stage for stage in self._old.keys.stages}
        new = {stage.id: stage for stage in self._new.keys.stages}
        numbers = {name: number for number, name in enumerate(new)}
        if [name for name in old if name in new] != [name for name in new if name in old]:
            yield self._change("the order of the stages", (("stages",),))
        for name in dict.fromkeys([*old, *new]):
            if name not in new:
                yield self._change(f"stage {name!r} is gone", ())
            elif name not in old:
                yield self._change(f"stage {name!r} is new", (("stages", numbers[name]),))
            else:
                for key in _differing(old[name], new[name], without=("steps",)):
                    path = ("stages", numbers[name])
                    yield self._change(
                        f"stage {name!r}, {key}", ((*path, key), path), harmless=True
                    )

    def _steps(self) -> Iterator[Change]:
        old, new = _steps_of(self._old.keys), _steps_of(self._new.keys)
        for name in dict.fromkeys([*old, *new]):
            where = f"step {name!r}"
            if name not in new:
                yield self._change(f"{where} is gone", ())
                continue
            path = self._links.steps[name].path
            if name not in old:
                yield self._change(f"{where} is new", (path,), step=name)
                continue
            (stage_before, before), (stage, now) = old[name], new[name]
            if stage_before != stage:
                yield self._change(f"{where} is in another stage", (path,), step=name)
            for key in _differing(before, now):
                harmless = key in HARMLESS["step"]
                yield self._change(
                    f"{where}, {key}", ((*path, key), path), harmless=harmless,
                    step=None if harmless else name,
                )  # fmt: skip


def affected(changes: Iterable[Change], links: Links) -> set[str]:
    """The steps of the new file whose work, or what they work on, has changed."""
    changes = list(changes)
    inputs = {change.input for change in changes if change.input is not None}
    steps = {change.step for change in changes if change.step is not None}
    for name, found in links.references.items():
        if inputs and (found.all_inputs or found.inputs & inputs):
            steps.add(name)
    return links.with_dependents(steps)


def _steps_of(keys: FileKeys) -> dict[str, tuple[str | None, StepKeys]]:
    return {
        step.id: (None if stage is None else stage.id, step)
        for stage, steps in keys.groups()
        for step in steps
    }


def _differing(old: Any, new: Any, without: tuple[str, ...] = ()) -> Iterator[str]:
    """The keys that two objects of one class do not have in common."""
    for field in attrs.fields(type(old)):
        name = field.name
        if name not in without and not _same(getattr(old, name), getattr(new, name), key=name):
            yield name


def _same(old: Any, new: Any, key: str = "") -> bool:
    """Whether two values of a file are the same; to Python `1` and `true` are."""
    if key == "dependencies":
        return sorted(old) == sorted(new)
    return _canonical(old) == _canonical(new)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=_fields)


def _fields(value: Any) -> Any:
    return attrs.asdict(value, recurse=False)
