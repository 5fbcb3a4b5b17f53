"""A census of Python's own standard library, as a pipeline that answers in time.

    .venv/bin/graceline run docs/examples/census.py:census
    .venv/bin/graceline run docs/examples/census.py:census --timeout 300ms
    .venv/bin/graceline run docs/examples/census.py:census -i limit=200 -i top=5

The stages: `discover` lists the files, `parse` reads them in parallel shards (worker threads),
`summarise` adds the shards up, and `crosscheck` counts again with another method. The last one is
not critical: if it is too slow, the answer is there without it.

A shard saves what it has counted after every file, so a run that is cut still says what it knows;
and it asks between files whether it was cancelled, so that its thread ends soon after.
"""

from __future__ import annotations

import ast
import os
import sysconfig
import threading
import tokenize
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from graceline import Node, Pipeline, Stage, node, parallel, save_partial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHARDS = 4
SKIPPED = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"})
BRANCHES = (
    ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert,
    ast.comprehension, ast.match_case,
)  # fmt: skip

PARSER = threading.Lock()
"""One file at a time: CPython 3.11 keeps the depth of `ast.parse` in one place for all threads, and
raises `SystemError` if a garbage collection lets another one in."""


@attrs.frozen
class Options:
    """What `-i` may set: how many files to read at most, and how long the tables are.

    `discover` refuses anything else, so a mistake in it is a failed run.
    """

    limit: int | None = None
    top: int = 10


@attrs.frozen
class Files:
    """The files to read, relative to a root directory, in a fixed order."""

    root: str
    names: tuple[str, ...]
    top: int


@attrs.frozen
class Module:
    """One file in numbers."""

    name: str
    lines: int
    functions: int


@attrs.frozen
class Function:
    """One function and its cyclomatic complexity: one, and one for each branch in it."""

    name: str
    complexity: int


@attrs.frozen
class Tally:
    """What was counted so far. Frozen: a partial value must not change after it was saved."""

    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    unreadable: int = 0
    largest: tuple[Module, ...] = ()
    most_complex: tuple[Function, ...] = ()

    def plus(self, other: Tally, top: int) -> Tally:
        """The sum of two tallies, with the `top` entries of their tables."""
        largest = sorted(self.largest + other.largest, key=lambda m: (-m.lines, m.name))
        deepest = sorted(
            self.most_complex + other.most_complex, key=lambda f: (-f.complexity, f.name)
        )
        return Tally(
            self.files + other.files,
            self.lines + other.lines,
            self.functions + other.functions,
            self.classes + other.classes,
            self.unreadable + other.unreadable,
            tuple(largest[:top]),
            tuple(deepest[:top]),
        )


@node
def discover(options: Mapping[str, Any] | None) -> Files:
    """List the standard library's own sources; a worker thread, since it waits for the disk."""
    wanted = _options(options or {})
    root = sysconfig.get_path("stdlib")
    names: list[str] = []
    for folder, inside, files in os.walk(root):
        trio.from_thread.check_cancelled()
        inside[:] = sorted(set(inside) - SKIPPED)
        names += [
            os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118
            for name in files
            if name.endswith(".py")
        ]
    return Files(root, tuple(sorted(names)[: wanted.limit]), wanted.top)


def _options(given: Mapping[str, Any]) -> Options:
    known = [field.name for field in attrs.fields(Options)]
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{key!r} is no option of the census; there are {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{key}={value!r} must be a whole number, at least 1")
    return Options(**given)


def parse_shard(shard: int, files: Files) -> Tally:
    """Count every `SHARDS`-th file, in a worker thread."""
    tally = Tally()
    save_partial(tally)
    for name in files.names[shard::SHARDS]:
        trio.from_thread.check_cancelled()
        tally = tally.plus(count(Path(files.root, name), name), files.top)
        save_partial(tally)
    return tally


def count(path: Path, name: str) -> Tally:
    """Count one file."""
    try:
        source = path.read_bytes()
        with PARSER:
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError):
        return Tally(files=1, unreadable=1)
    lines = source.count(b"\n")
    functions: list[Function] = []
    classes = _walk(tree, name.removesuffix(".py").replace(os.sep, "."), functions)
    return Tally(
        files=1,
        lines=lines,
        functions=len(functions),
        classes=classes,
        largest=(Module(name, lines, len(functions)),),
        most_complex=tuple(functions),
    )


def _walk(tree: ast.AST, module: str, functions: list[Function]) -> int:
    """Collect the functions of a tree, each with its own branches; returns the number of classes.

    An explicit stack: the depth of somebody else's source is not ours to trust.
    """
    classes = 0
    names, branches = [module], [0]
    todo: list[tuple[ast.AST, int, str]] = [(tree, 0, module)]
    while todo:
        part, owner, scope = todo.pop()
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            scope = f"{scope}.{part.name}"
            owner = len(names)
            names.append(scope)
            branches.append(1)
        elif isinstance(part, ast.ClassDef):
            scope = f"{scope}.{part.name}"
            classes += 1
        elif isinstance(part, BRANCHES):
            branches[owner] += 1
        elif isinstance(part, ast.BoolOp):
            branches[owner] += len(part.values) - 1
        todo += [(child, owner, scope) for child in ast.iter_child_nodes(part)]
    functions += map(Function, names[1:], branches[1:])
    return classes


@node
async def summarise(shards: Mapping[str, Tally]) -> dict[str, Any]:
    """The census: the sum of all shards."""
    return summary(shards.values())


def summary(tallies: Iterable[Tally]) -> dict[str, Any]:
    """Tallies as one document; it makes as much sense of partial ones."""
    parts = list(tallies)
    top = max((len(part.largest) for part in parts), default=0)
    total = Tally()
    for part in parts:
        total = total.plus(part, top)
    return attrs.asdict(total)


@node
def crosscheck(report: dict[str, Any]) -> dict[str, Any]:
    """Count the functions of the largest modules again, by their tokens, and compare."""
    root = sysconfig.get_path("stdlib")
    differences: dict[str, int] = {}
    for module in report["largest"]:
        trio.from_thread.check_cancelled()
        with Path(root, module["name"]).open("rb") as source:
            tokens = tokenize.tokenize(source.readline)
            counted = sum(t.type == tokenize.NAME and t.string == "def" for t in tokens)
        if counted != module["functions"]:
            differences[module["name"]] = counted - module["functions"]
    return report | {"crosscheck": {"modules": len(report["largest"]), "differences": differences}}


census = Pipeline(
    "census",
    [
        Stage("discover", [discover], timeout="30s"),
        Stage(
            "parse",
            parallel(*(Node(partial(parse_shard, i), name=f"shard-{i}") for i in range(SHARDS))),
            timeout="4m",
        ),
        Stage("summarise", [summarise], timeout="10s"),
        Stage("crosscheck", [crosscheck], timeout="30s", critical=False),
    ],
    timeout="5m",
    grace="1s",
)
