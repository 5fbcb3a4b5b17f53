"""The house: a room imports only rooms below it, and the lower floors do without Trio.

Both hold for types as well as at run time.
"""

import ast
from pathlib import Path

import graceline

PACKAGE = Path(graceline.__file__).parent

FLOORS = {
    "errors": 0,
    "durations": 0,
    "saying": 0,
    "values": 0,
    "deadlines": 0,
    "definitions": 1,
    "results": 1,
    "adaptive": 2,
    "resilience": 2,
    "telemetry": 2,
    "timers": 2,
    "virtual": 3,
    "work": 3,
    "engine": 4,
    "graceline": 4,  # the root offers what the engine's floor and those below it hold
    "bench": 5,
    "planning": 5,
    "testing": 5,
    "dialects": 6,  # a file may hold a suite for the benchmark runner
    "cli": 7,
}
WITH_TRIO = 3  # from this floor on rooms may wait, so that what decides needs no event loop
SAME_ROOM = {"__main__": "cli", "documents": "results", "timelines": "results"}


def room(module):
    """The room of a dotted module name: `graceline.work.thread` lies in `work`."""
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else parts[0]
    return SAME_ROOM.get(name, name)


def imports(source, module, *, is_package):
    """Every module that a module imports anywhere, `TYPE_CHECKING` included."""
    base = module.split(".") if is_package else module.split(".")[:-1]
    for found in ast.walk(ast.parse(source)):
        if isinstance(found, ast.Import):
            targets = [alias.name for alias in found.names]
        elif isinstance(found, ast.ImportFrom):
            above = base[: len(base) - found.level + 1] if found.level else []
            origin = ".".join([*above, *filter(None, [found.module])])
            whole = origin == "graceline"  # `from graceline import x`: x may be a room
            targets = [
                f"graceline.{alias.name}" if whole and alias.name in FLOORS else origin
                for alias in found.names
            ]
        else:
            continue
        yield from targets


def modules(package):
    """Every module of a room, with what it imports."""
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package).with_suffix("")
        is_package = relative.name == "__init__"
        module = ".".join(["graceline", *(relative.parts[:-1] if is_package else relative.parts)])
        if module != "graceline":
            yield module, list(imports(path.read_text("utf-8"), module, is_package=is_package))


def arrows_up(package):
    """Every import that does not lead to a lower floor, to its own room, or along the ground."""
    wrong = []
    for module, targets in modules(package):
        here = room(module)
        for target in targets:
            if target.split(".")[0] != "graceline":
                continue
            there = room(target)
            ground = FLOORS[here] == FLOORS[there] == 0
            if here != there and not ground and FLOORS[there] >= FLOORS[here]:
                wrong.append(f"{module} imports {target}")
    return wrong


def loops_below(package):
    """Every module below the floors with Trio that imports it."""
    return [
        module
        for module, targets in modules(package)
        if FLOORS[room(module)] < WITH_TRIO
        and any(target.split(".")[0] == "trio" for target in targets)
    ]


def test_no_arrow_runs_up():
    """What decides knows nothing of what waits: each import leads down."""
    assert arrows_up(PACKAGE) == []


def test_what_decides_knows_no_event_loop():
    """The rooms of the lower floors import no Trio: they can be read and tested without a loop."""
    assert loops_below(PACKAGE) == []


def test_every_room_has_a_floor():
    """A new module must say on which floor it lies before it is let in."""
    rooms = {room(f"graceline.{path.stem}") for path in PACKAGE.glob("[a-z]*")}
    assert rooms - {"py"} <= set(FLOORS)


def build(root, path, source):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, "utf-8")


def test_an_arrow_up_is_seen_however_it_is_written(tmp_path):
    """Absolute, relative, nested, for types only and through the root: all are found."""
    build(tmp_path, "deadlines/level.py", "from graceline.engine.core import Engine\n")
    build(tmp_path, "results.py", "def late():\n    import graceline.telemetry.hub\n")
    build(tmp_path, "telemetry/hub.py", "if TYPE_CHECKING:\n    from ..engine import Run\n")
    build(tmp_path, "definitions/__init__.py", "from ..work.thread import ThreadPool\n")
    build(tmp_path, "work/base.py", "from graceline import Node\n")
    build(tmp_path, "work/thread.py", "from graceline import engine\n")
    build(tmp_path, "adaptive/store.py", "from graceline.telemetry.events import Event\n")
    assert arrows_up(tmp_path) == [
        "graceline.adaptive.store imports graceline.telemetry.events",
        "graceline.deadlines.level imports graceline.engine.core",
        "graceline.definitions imports graceline.work.thread",
        "graceline.results imports graceline.telemetry.hub",
        "graceline.telemetry.hub imports graceline.engine",
        "graceline.work.base imports graceline",
        "graceline.work.thread imports graceline.engine",
    ]


def test_a_loop_below_is_seen_however_it_is_written(tmp_path):
    """A submodule, for types only, nested: all are found; upper floors and other names are fine."""
    build(tmp_path, "definitions/__init__.py", "def late():\n    import trio.lowlevel\n")
    build(tmp_path, "errors.py", "if TYPE_CHECKING:\n    from trio import Event\n")
    build(tmp_path, "telemetry/hub.py", "from trio.testing import MockClock\n")
    build(tmp_path, "telemetry/trio.py", "import triode\nfrom . import trio\n")
    build(tmp_path, "virtual.py", "import trio\n")
    assert loops_below(tmp_path) == [
        "graceline.definitions",
        "graceline.errors",
        "graceline.telemetry.hub",
    ]


def test_arrows_down_and_within_a_room_are_fine(tmp_path):
    """A room may use itself, the floors below, and other libraries."""
    build(tmp_path, "__init__.py", "from graceline.engine import Engine\n")
    build(tmp_path, "durations.py", "import re\nfrom graceline.errors import DefinitionError\n")
    build(tmp_path, "documents.py", "from graceline.results import NodeOutcome\n")
    build(tmp_path, "telemetry/hub.py", "from .events import Event\nfrom ..deadlines import Kind\n")
    build(tmp_path, "engine/core.py", "import trio\nfrom graceline import errors\n")
    build(tmp_path, "cli/main.py", "from graceline import open_engine\n")
    assert arrows_up(tmp_path) == []
