"""The command `graceline plan`: what would happen with these limits, by what was recorded.

What it needs is imported when it is called: `graceline run` does not pay for it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
from cyclopts import Parameter
from rich.console import Console

from graceline.adaptive import MemoryStore
from graceline.cli.ending import OK, USAGE, broken
from graceline.cli.failures import UsageError
from graceline.cli.files import find_pipeline
from graceline.cli.guarding import guarded, output_aside
from graceline.cli.keeping import default_path, open_history
from graceline.cli.loading import as_number, is_file, parse_timeout
from graceline.cli.options import FLAG, Debug, Target, ToolModules
from graceline.cli.plannable import plannable
from graceline.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from graceline.adaptive import Records
    from graceline.planning import Plan, Watch

__all__ = ["PLAN_EPILOGUE", "PLAN_HELP", "plan"]

PLAN_HELP = """\
Tell what would happen with these limits, and which ones would be better.

The durations that were recorded are replayed through the engine, in virtual \
time. Nothing of the pipeline's own functions is called, and nothing is written.

The pipeline's own limits apply, and no others; the options try others. The \
recommended ones are replayed too, with the same draws: what is shown of them \
was measured.
"""
PLAN_EPILOGUE = """\
Examples:

  graceline plan research.yaml --node search=20s
  graceline plan shop.py --timeout 250ms
  graceline plan shop.py --node search=80ms --target 99.9%
  graceline plan shop.py --history production.db --json

Exit codes:

  0    there is a plan, whatever it says
  2    a mistake in the command line or in the definition, or nothing is
       recorded of a node
  130  interrupted (SIGINT)
"""


def plan(
    target: Target,
    /,
    *,
    tools: ToolModules = None,
    file: Annotated[
        Path | None,
        Parameter(
            name="--history",
            help="The file with the durations; by default that of `graceline run`.",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="Limit of the runs, instead of the pipeline's own: `300ms`, `2s`, `1m30s`.",
        ),
    ] = None,
    stages: Annotated[
        list[str] | None,
        Parameter(
            name="--stage",
            negative=(),
            help="A limit `NAME=50ms` of a stage, instead of its own; may be given several times.",
        ),
    ] = None,
    nodes: Annotated[
        list[str] | None,
        Parameter(
            name="--node",
            negative=(),
            help="A limit `NAME=50ms` of a node, instead of its own; `STAGE.NAME` if several have "
            "the name.",
        ),
    ] = None,
    assume: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="`NAME=20ms`: take it that the node always takes so long. For nodes of which "
            "nothing is recorded.",
        ),
    ] = None,
    wanted: Annotated[
        str,
        Parameter(
            name="--target",
            help="The share of runs that should have an answer, for the recommended limits.",
        ),
    ] = "99%",
    runs: Annotated[int, Parameter(help="How many runs are replayed.")] = 10_000,
    seed: Annotated[int, Parameter(help="The same seed gives the same plan.")] = 0,
    lane: Annotated[
        str | None,
        Parameter(
            help="The lane of the engine that recorded; by default `$GRACELINE_LANE`, else "
            "`default`."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        FLAG,
        Parameter(name="--json", help="Print the plan as JSON and nothing else."),
    ] = False,
    debug: Debug = False,
) -> int:
    """Plan limits."""
    from graceline.planning import MissingHistoryError, make_plan  # noqa: PLC0415 - see above
    from graceline.planning.places import by_place, by_stage  # noqa: PLC0415

    seconds = None if timeout is None else parse_timeout(timeout)
    stage_limits = _named(stages, "--stage")
    node_limits, assumed = _named(nodes, "--node"), _named(assume, "--assume")
    share = _share(wanted)
    if runs < 1:
        raise UsageError(f"--runs {runs}: at least 1 is replayed")
    with output_aside(wanted=as_json), guarded(USAGE, debug=debug):
        pipeline = find_pipeline(target, tools or ())
    notes: tuple[str, ...] = ()
    if is_file(target):
        pipeline, notes = plannable(pipeline)
    # With the names of the options: in what is raised below they are those of arguments.
    by_stage(pipeline, stage_limits, "--stage")
    by_place(pipeline, node_limits, "--node")
    by_place(pipeline, assumed, "--assume")
    path = file or default_path()
    try:
        with _history(path) as store, _watching(Console(stderr=True)) as watch:
            made = make_plan(
                pipeline,
                store,
                timeout=seconds,
                stages=stage_limits,
                nodes=node_limits,
                assume=assumed,
                target=share,
                runs=runs,
                seed=seed,
                lane=lane,
                watch=watch,
            )
    except MissingHistoryError as error:
        if not path.exists():
            raise UsageError(
                f"no history yet: {path} does not exist, and without one every node needs "
                "--assume NAME=20ms"
            ) from None
        raise UsageError(
            f"{path}: {error}. Record some runs with `graceline run`, or with "
            "`open_engine(history=SqliteStore(...))`; or assume a duration: --assume NAME=20ms"
        ) from None
    except KeyboardInterrupt as error:
        return broken(error, USAGE, debug=debug)
    made = attrs.evolve(made, notes=(*made.notes, *notes))
    if as_json:
        sys.stdout.write(json.dumps(made.to_dict(), indent=2) + "\n")
    else:
        _show(made)
    return OK


def _history(path: Path) -> contextlib.AbstractContextManager[Records]:
    """What was recorded; where nothing ever was, a plan can still assume all durations."""
    if path.exists() and (path.is_dir() or path.stat().st_size):
        return open_history(path)
    return contextlib.nullcontext(MemoryStore())


def _show(made: Plan) -> None:
    from graceline.cli.planned import show_plan  # noqa: PLC0415

    show_plan(Console(), made)


@contextlib.contextmanager
def _watching(screen: Console) -> Iterator[Watch]:
    """A progress bar on a terminal, and nothing elsewhere; it leaves nothing behind."""
    if not screen.is_terminal:
        yield lambda *_: None
        return
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=screen, transient=True) as progress:
        task = progress.add_task("")

        def watch(what: str, ended: int, runs: int) -> None:
            if not ended:
                progress.reset(task, total=runs, description=what)
            progress.update(task, completed=ended)

        yield watch


def _named(pairs: Iterable[str] | None, option: str) -> dict[str, float]:
    """Durations by name from `NAME=50ms` words.

    Raises:
        UsageError: for a word without `=`, a name that is given twice, and a number without a unit.
        DefinitionError: for what is no duration.
    """
    given: dict[str, float] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {pair}: write NAME=50ms")
        if name in given:
            raise UsageError(f"{option} {pair}: {name!r} is given twice")
        number = as_number(text)
        if number is not None:
            number = abs(number)
            raise UsageError(
                f"{option} {pair}: a number needs its unit; write {name}={number:.15g}s or "
                f"{name}={number:.15g}ms"
            )
        given[name] = parse_duration(text, f"{option} {name}")
    return given


def _share(text: str) -> float:
    """A share from `99%` or `0.99`.

    Raises:
        UsageError: for anything else, and for what is not above 0 and at most 1.
    """
    number, percent, rest = text.strip().partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if rest or not 0 < share <= 1:
        raise UsageError(f"--target {text}: write a share such as 99% or 0.99, at most 100%")
    return share
