"""Every module says in `__all__` exactly what it defines for others."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

import graceline

MODULES = sorted(
    found.name for found in pkgutil.walk_packages(graceline.__path__, prefix="graceline.")
)


def defined(tree):
    """The public names that a module binds at its top level other than by an import."""
    names = set()
    for statement in tree.body:
        match statement:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                names.add(statement.name)
            case ast.Assign():
                names |= {target.id for target in statement.targets if hasattr(target, "id")}
            case ast.AnnAssign(target=ast.Name()):
                names.add(statement.target.id)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):  # what there is at run time
                names |= defined(ast.Module(statement.orelse))
    return {name for name in names if not name.startswith("_")}


def public(module):
    """What a module should export: what it defines, type variables aside."""
    names = defined(ast.parse(inspect.getsource(module)))
    return {name for name in names if not isinstance(getattr(module, name), TypeVar | ParamSpec)}


def test_the_walk_finds_the_package():
    """A walk that finds nothing would agree with everything."""
    assert {"graceline.errors", "graceline.deadlines.level"} <= set(MODULES)
    assert len(MODULES) >= 20


@pytest.mark.parametrize("name", MODULES)
def test_a_module_exports_what_it_defines(name):
    """`__all__` holds the public names of a plain module: no more, no fewer."""
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert len(exported) == len(set(exported))
    if Path(module.__file__).name == "__init__.py":
        assert public(module) <= set(exported)
        assert all(hasattr(module, entry) for entry in exported)
    else:
        assert set(exported) == public(module)


def test_a_package_exports_what_it_imports():
    """The root offers every public name that it imports, in sorted order, and nothing else."""
    assert all(hasattr(graceline, name) for name in graceline.__all__)  # some come when asked for
    submodules = {name.split(".")[1] for name in MODULES}
    names = {
        name
        for name, value in vars(graceline).items()
        if not name.startswith(("_", "@"))  # pytest puts names with @ where it rewrites asserts
        and not (name in submodules and inspect.ismodule(value))
    } - {"TYPE_CHECKING", "import_module"}
    assert set(graceline.__all__) == names
    assert graceline.__all__ == sorted(graceline.__all__)


@pytest.mark.parametrize(
    "module", ["graceline.errors", "graceline.engine", "graceline.deadlines.vocabulary"]
)
def test_the_root_offers_what_users_need(module):
    """Errors, the engine's functions and the words of outcomes need no deeper import."""
    assert set(importlib.import_module(module).__all__) <= set(graceline.__all__)


NOT_AT_THE_ROOT = (
    {
        "BreakerMode",
        "Duration",
        "Listener",
        "TimeoutHandler",
    }  # aliases: one writes what they stand for
    | {"Event", "Sink", "Stats", "Store"}  # of `graceline.telemetry` and `graceline.adaptive`
    | {"AttemptRow", "Drawn", "Pair", "Row"}  # of `graceline.timelines`
    | {"JobCleanup", "JobStopSignal"}  # as `Cleanup` and `StopSignal`, within a job
    | {"Flag", "RunState"}  # the engine's own books
)


def mentioned(thing):
    """The names in the annotations of a function, or of a class's public fields and methods."""
    if not inspect.isclass(thing):
        return set(re.findall(r"\w+", " ".join(map(str, inspect.get_annotations(thing).values()))))
    fields = inspect.get_annotations(thing).items()
    public_fields = " ".join(str(kind) for name, kind in fields if not name.startswith("_"))
    names = set(re.findall(r"\w+", public_fields))
    for name, member in vars(thing).items():
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and not name.startswith("_"):
            names |= mentioned(function)
    return names


def test_the_root_offers_the_types_in_its_signatures():
    """What the engine takes, returns and shows can be named without a deeper import."""
    rooms = [importlib.import_module(name) for name in MODULES if not name.endswith("__main__")]
    ours = {name for room in rooms for name in getattr(room, "__all__", ())}
    ours -= NOT_AT_THE_ROOT
    waiting, seen = set(graceline.engine.__all__), set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        thing = getattr(graceline, name)
        if thing.__module__.startswith(("graceline.definitions", "typing")):
            continue
        found = mentioned(thing) & ours
        assert found <= set(graceline.__all__), f"{name} mentions {found}"
        waiting |= found - seen
    assert {"Malformed", "BreakerSnapshot", "BreakerState", "Blame", "NodeOutcome"} <= seen


@pytest.mark.parametrize("room", ["adaptive", "engine", "telemetry", "timelines", "timers"])
def test_a_room_is_there_after_the_plain_import(room):
    """`import graceline` is enough to write `graceline.telemetry`, whatever ran before."""
    code = f"import graceline; assert {room!r} in dir(graceline); print(graceline.{room}.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == f"graceline.{room}"


LATER = {
    "graceline": {"trio", "cattrs", "graceline.engine", "graceline.telemetry"},
    "graceline.engine": {"sqlite3", "json", "difflib", "prometheus_client", "graceline.timers"},
}
"""What an import leaves to the first use."""


@pytest.mark.parametrize("name", LATER)
def test_an_import_leaves_what_is_not_needed_yet(name):
    """Definitions come without the engine and without Trio, the engine without files and tools."""
    code = f"import {name}, sys; print(sorted({LATER[name] | {name}!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == f"{[name]}\n"


@pytest.mark.parametrize("package", ["graceline", "graceline.adaptive"])
def test_what_comes_later_is_there_all_the_same(package):
    """Each name is listed and found before anything has loaded it; any other is refused."""
    code = f"""
import {package} as package
missing = set(package.__all__) - set(dir(package))
for name in package.__all__:
    getattr(package, name)
try:
    package.surely_not
except AttributeError as error:
    print(missing, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == f"set() module {package!r} has no attribute 'surely_not'\n"


DIALECTS = [f"graceline.dialects.{name}" for name in ("messages", "resume", "tools", "yaml")]


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_offers_the_types_in_its_signatures(name):
    """What it takes, returns and shows can be named: by its own package, or by that of another."""
    rooms = [importlib.import_module(room) for room in MODULES if ".dialects." in room]
    dialects = [importlib.import_module(dialect) for dialect in DIALECTS]
    offered = {entry: getattr(room, entry) for room in dialects for entry in room.__all__}
    ours = {entry for room in rooms for entry in getattr(room, "__all__", ())} - {"Built"}
    waiting, seen = set(importlib.import_module(name).__all__), set()
    while waiting:
        entry = waiting.pop()
        seen.add(entry)
        if callable(offered[entry]):
            found = mentioned(offered[entry]) & ours
            assert found <= set(offered), f"{entry} mentions {found - set(offered)}"
            waiting |= found - seen
    assert len(seen) > 3


def test_a_forgotten_name_is_noticed():
    """The comparison sees classes, functions and constants, and leaves private names alone."""
    source = "import os\nA = 1\nB: int = 2\n_c = 3\nx.y = 4\ndef d(): ...\nclass E: ...\n"
    assert defined(ast.parse(source)) == {"A", "B", "d", "E"}
