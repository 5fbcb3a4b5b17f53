"""The commands `graceline history ...`: what runs have taught, to look at and to carry around.

What they need is imported when they are called: `graceline run` does not pay for it.
"""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
from cyclopts import App, Parameter
from rich.console import Console
from rich.text import Text

from graceline.adaptive import export_records, import_records
from graceline.cli.ending import OK
from graceline.cli.failures import UsageError
from graceline.cli.history.keys import described, find_key
from graceline.cli.keeping import change_history, default_path, open_history
from graceline.cli.options import FLAG

if TYPE_CHECKING:
    from graceline.adaptive import Key, Record, Records
    from graceline.adaptive.course import Summary

__all__ = ["HISTORY", "history"]

HISTORY = {
    "history list": "no word",
    "history show": "one KEY",
    "history export": "one FILE",
    "history import": "one FILE",
    "history forget": "one KEY",
}
"""The commands of this module, with the words that each takes."""

_ABOUT = """\
Look at the durations and limits that runs have left.

`graceline run` keeps how long the calls took, and the limits that it learned \
from them, in the user's directory for state; --history FILE names another file.
"""
_LIST_HELP = """\
List what is known: one line per part of a pipeline whose durations are kept.

Its samples are the durations of its last calls. Those that were cut or \
cancelled are censored: they would have taken longer. The quantiles are \
Kaplan-Meier's, which count both. The limit is the newest that was learned.
"""
_LIST_EPILOGUE = """\
Examples:

  graceline history list
  graceline history list --history other.db --json

Exit codes: 0; 2 if the file is no history.
"""
_KEY_HELP = (
    "What was measured, by its name: `pipeline.stage.node`, or a part of that such as "
    "`stage.node`, `node` or `pipeline` where only one fits."
)
_SHOW_HELP = """\
Draw the durations of one part and its limit, call by call.

A probe is a call that was let run to the ceiling, to tell slow calls from hung \
ones. An alarm is raised by a run of cuts; it lifts the limit for a trial.
"""
_SHOW_EPILOGUE = """\
Examples:

  graceline history show rank
  graceline history show shop.search.rank --html rank.html
  graceline history show shop --level pipeline --history other.db

Exit codes: 0; 2 if nothing of that name is known, or several are.
"""
_EXPORT_HELP = """\
Write all that is known as lines of JSON, one per part.
"""
_EXPORT_EPILOGUE = """\
Examples:

  graceline history export known.jsonl
  graceline history export | grep '"node": "rank"'

Exit codes: 0; 2 if there is no history, or the file cannot be written.
"""
_IMPORT_HELP = """\
Merge lines that `graceline history export` wrote into what is known.

Equal samples count once, so the same file may come twice, and the files of \
several machines in any order. A file with a broken line changes nothing.
"""
_IMPORT_EPILOGUE = """\
Examples:

  graceline history import known.jsonl
  ssh host graceline history export | graceline history import -

Exit codes: 0; 2 if a line is broken, or the file cannot be read.
"""
_FORGET_HELP = """\
Drop what is known of one part, or with --all of everything.

A run that goes on meanwhile still knows it, and may write it again.
"""
_FORGET_EPILOGUE = """\
Examples:

  graceline history forget shop.search.rank
  graceline history forget --all --history other.db

Exit codes: 0; 2 if nothing of that name is known, or several are.
"""

_History = Annotated[
    Path | None,
    Parameter(name="--history", help="The file; by default that of `graceline run`."),
]
_Lane = Annotated[str | None, Parameter(help="Only what was learned in this lane of engines.")]
_Level = Annotated[
    str | None,
    Parameter(help="Only limits of this level: `pipeline`, `stage` or `node`."),
]

history: App = App(
    name="history", help=_ABOUT, help_format="plaintext", result_action="return_value"
)


@history.command(name="list", help=_LIST_HELP, help_epilogue=_LIST_EPILOGUE)
def _list(
    *,
    file: _History = None,
    as_json: Annotated[
        bool, FLAG, Parameter(name="--json", help="Print a JSON array, durations in seconds.")
    ] = False,
) -> int:
    """List the keys."""
    from graceline.adaptive.course import summary_of  # noqa: PLC0415 - see above
    from graceline.cli.history.display import row_of, show_table  # noqa: PLC0415

    path = file or default_path()
    found: list[tuple[Key, Summary]] = []
    if path.exists():
        with open_history(path) as store:
            found = [(key, summary_of(record)) for key, record in _records(store)]
    if as_json:
        sys.stdout.write(json.dumps([row_of(*entry) for entry in found], indent=2) + "\n")
    elif found:
        show_table(Console(), found)
    else:
        said = "is empty" if path.exists() else "does not exist"
        Console().print(Text(f"no history yet: {path} {said}"), soft_wrap=True)
    return OK


def _records(store: Records) -> list[tuple[Key, Record]]:
    """All keys with samples, in the order of their names."""
    keys = sorted(store.keys(), key=attrs.astuple)
    loaded = ((key, store.load(key)) for key in keys)
    return [(key, record) for key, record in loaded if record is not None and len(record.history)]


@history.command(name="show", help=_SHOW_HELP, help_epilogue=_SHOW_EPILOGUE)
def _show(
    name: Annotated[str, Parameter(name="KEY", help=_KEY_HELP)],
    /,
    *,
    lane: _Lane = None,
    level: _Level = None,
    svg: Annotated[
        Path | None, Parameter(help="Write the picture to this file, as an SVG.")
    ] = None,
    html: Annotated[
        Path | None, Parameter(help="Write picture and numbers to this file, as a page.")
    ] = None,
    file: _History = None,
) -> int:
    """Draw one key."""
    from graceline.adaptive.course import course_of, summary_of  # noqa: PLC0415 - see above
    from graceline.cli.history.display import show_key  # noqa: PLC0415

    with open_history(file or default_path()) as store:
        found = dict(_records(store))
        key = find_key(list(found), name, lane, level)
        record = found[key]
    points, summary = course_of(record), summary_of(record)
    show_key(Console(), key, points, summary)
    if svg is not None or html is not None:
        _check_drawing()
        from graceline.cli.history.picture import draw_page, draw_svg  # noqa: PLC0415

        if svg is not None:
            _write(svg, draw_svg(key, points, summary))
        if html is not None:
            _write(html, draw_page(key, points, summary))
    return OK


def _check_drawing() -> None:
    for name in ("matplotlib", "jinja2"):
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"a picture needs {name}; run: pip install 'graceline[cli]'")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    sys.stderr.write(f"graceline: wrote {path}\n")


@history.command(name="export", help=_EXPORT_HELP, help_epilogue=_EXPORT_EPILOGUE)
def _export(
    target: Annotated[
        Path | None,
        Parameter(
            name="FILE",
            allow_leading_hyphen=True,
            help="Where to write; by default, and for `-`, standard output.",
        ),
    ] = None,
    /,
    *,
    file: _History = None,
) -> int:
    """Write everything as JSON lines."""
    written = io.StringIO()
    with open_history(file or default_path()) as store:
        export_records(store, written)
    if target is None or target == Path("-"):
        sys.stdout.write(written.getvalue())
    else:
        _write(target, written.getvalue())
    return OK


@history.command(name="import", help=_IMPORT_HELP, help_epilogue=_IMPORT_EPILOGUE)
def _import(
    source: Annotated[
        Path,
        Parameter(
            name="FILE", allow_leading_hyphen=True, help="What to read; `-` is standard input."
        ),
    ],
    /,
    *,
    file: _History = None,
) -> int:
    """Merge JSON lines."""
    try:
        data = sys.stdin.buffer.read() if source == Path("-") else source.read_bytes()
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from None
    # What is no UTF-8 is no JSON either afterwards, and the message names its line.
    lines = io.StringIO(data.decode("utf-8", "backslashreplace"))
    with change_history(file or default_path()) as store:
        try:
            count = import_records(store, lines)
        except ValueError as error:
            raise UsageError(f"{source}: {error}; nothing was changed") from None
    sys.stdout.write(f"imported {_counted(count, 'key')}\n")
    return OK


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@history.command(name="forget", help=_FORGET_HELP, help_epilogue=_FORGET_EPILOGUE)
def _forget(
    name: Annotated[str | None, Parameter(name="KEY", help=_KEY_HELP)] = None,
    /,
    *,
    lane: _Lane = None,
    level: _Level = None,
    everything: Annotated[bool, FLAG, Parameter(name="--all", help="Drop everything.")] = False,
    file: _History = None,
) -> int:
    """Drop one key, or all of them."""
    if everything == (name is not None):
        raise UsageError("name one KEY to forget, or give --all for everything, not both")
    if everything and (lane is not None or level is not None):
        raise UsageError("--all is everything; --lane and --level go with a KEY")
    path = file or default_path()
    with open_history(path) as known:  # first of all: a name that is wrong makes no file
        keys = known.keys()
        dropped = keys if name is None else [find_key(keys, name, lane, level)]
        counts = [(key, known.load(key)) for key in dropped]
    with change_history(path) as store:
        for key in dropped:
            store.forget(key)
    for key, record in counts:
        samples = 0 if record is None else len(record.history)
        sys.stdout.write(f"forgot {described(key)}: {_counted(samples, 'sample')}\n")
    if not dropped:
        sys.stdout.write("there was nothing to forget\n")
    return OK
