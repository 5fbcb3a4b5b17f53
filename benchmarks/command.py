"""The command: measures groups, or compares reports; a missed bar is in its exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.against import changes, differences, lines
from benchmarks.chart import write_charts
from benchmarks.effort import Effort
from benchmarks.groups import GROUPS
from benchmarks.peers.command import compare_peers, unknown
from benchmarks.peers.environments import cache
from benchmarks.report import BadReportError, Report, read, surroundings, write
from benchmarks.runner import programs, run, suite_of
from benchmarks.table import console, show

__all__ = ["main"]

Programs = Callable[[Sequence[str], Effort], Mapping[str, Sequence[str]]]

_EPILOG = """\
Exit status: 1 if a bar is missed that does not depend on the machine, if a group
did not finish, or if --against finds a row that got worse, a group that did not
finish in NEW, or no row that is in both; 128 and the number of a signal that ended
it; else 0.

  python -m benchmarks --json new.json            measure, and keep the figures
  python -m benchmarks --against old.json         measure, and compare with a file
  python -m benchmarks --against old.json new.json   compare two files
"""


def _parser(names: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the engine against hand-written Trio, in interleaved rounds.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("group", nargs="*", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--svg",
        type=Path,
        metavar="PATH",
        help="write charts into a directory, or that of the ratios into FILE.svg",
    )
    parser.add_argument(
        "--against", type=Path, nargs="+", metavar="FILE", help="compare: OLD, or OLD and NEW"
    )
    parser.add_argument(
        "--peers", action="store_true", help="compare with other libraries instead; names choose"
    )
    parser.add_argument(
        "--peers-dir", type=Path, metavar="DIR", help="where their environments are kept"
    )
    return parser


def main(
    argv: Sequence[str] | None = None,
    names: Sequence[str] = tuple(GROUPS),
    programs: Programs = programs,
) -> int:
    """Run the command; returns its exit status.

    Args:
        argv: its arguments; None takes those of this process.
        names: of the groups there are.
        programs: gives the command line that measures a group, by its name.
    """
    parser = _parser(names)
    asked = parser.parse_args(argv)
    effort = Effort(quick=asked.quick)
    _check_places(parser, asked)
    if asked.peers:
        return _peers(parser, asked, effort)
    if asked.peers_dir:
        parser.error("--peers-dir says where --peers keeps environments: it needs --peers")
    for name in asked.group:
        if name not in names:
            parser.error(f"no group is called {name!r}; there are {', '.join(names)}")
    try:
        reports = _reports(parser, asked, names)
    except BadReportError as error:
        parser.error(str(error))
    if len(reports) == 2:
        return _compare(*reports)
    suite = suite_of("benchmarks", programs(asked.group or names, effort), effort.limit)
    measured = run(suite)
    ended_early = measured.signal is not None and not measured.rows
    report = Report(about=surroundings(effort), rows=measured.rows, unfinished=measured.unfinished)
    if asked.json and not ended_early:
        write(report, asked.json)
    show(report.rows)
    for why in dict.fromkeys(report.unfinished.values()):
        groups = [group for group, its in report.unfinished.items() if its == why]
        print(f"{', '.join(groups)} did not finish: {why}", file=sys.stderr)
    if asked.svg and not ended_early:
        write_charts(report.rows, asked.svg)
    if ended_early and (asked.json or asked.svg):
        print("no group had finished: no file was written", file=sys.stderr)
    worse = _compare(reports[0], report) if reports else 0
    if measured.signal is not None:
        return 128 + measured.signal
    return report.exit_code or worse


def _peers(parser: argparse.ArgumentParser, asked: argparse.Namespace, effort: Effort) -> int:
    """Compare the peers that were asked for."""
    if asked.against:
        parser.error("--peers has no --against: they are compared with each other")
    if wrong := unknown(asked.group):
        parser.error(wrong)
    root = cache(asked.peers_dir)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"no environments can be kept in {root}: {error.strerror}")
    return compare_peers(asked.group, effort, root=root, as_json=asked.json, as_svg=asked.svg)


def _check_places(parser: argparse.ArgumentParser, asked: argparse.Namespace) -> None:
    """Refuse what cannot be written; looked at first, since measuring takes long."""
    charts = asked.svg is not None and asked.svg.suffix != ".svg" and not asked.peers
    for path, folder in ((asked.json, False), (asked.svg, charts)):
        if path is None:
            continue
        why = ""
        if not path.parent.is_dir():
            why = f"there is no directory {path.parent}"
        elif path.exists() and path.is_dir() != folder:
            why = "it is no directory" if folder else "it is a directory"
        elif not os.access(path if path.exists() else path.parent, os.W_OK):
            why = "permission denied"
        if why:
            parser.error(f"{path} cannot be written: {why}")


def _reports(
    parser: argparse.ArgumentParser, asked: argparse.Namespace, names: Sequence[str]
) -> list[Report]:
    """The reports to compare; read first, since measuring takes long."""
    paths: list[Path] = asked.against or []
    for path in paths[1:]:
        if str(path) in names and not path.exists():
            parser.error(
                f"--against takes files, and {str(path)!r} is a group: write groups before it"
            )
    if len(paths) > 2:
        parser.error("--against takes OLD, or OLD and NEW")
    if len(paths) == 2 and (asked.group or asked.quick or asked.json or asked.svg):
        parser.error("--against OLD NEW compares two files, and measures nothing: no other options")
    return [read(path) for path in paths]


def _compare(old: Report, new: Report) -> int:
    """Print what has changed; returns 1 if something got worse, or was lost."""
    out = console()
    found = changes(old, new)
    out.print(f"\nold: {old.about.date}, new: {new.about.date}; ratios, or figures without one")
    out.print(lines(found))
    for one in differences(old, new):
        out.print(f"note: {one}", markup=False)
    if not found:
        out.print("no row is in both")
        return 1
    worse = [change.new.what for change in found if change.decides]
    named = f": {'; '.join(worse)}" if worse else ""
    out.print(f"{len(worse)} of {len(found)} rows got worse{named}", markup=False)
    return int(bool(worse or new.unfinished))
