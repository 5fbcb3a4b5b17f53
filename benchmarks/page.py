"""The page about performance: what was measured is written between its marks, from its JSON.

`python -m benchmarks.page` does so for `docs/performance.md`, and draws its charts again.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chart import CHARTS
from benchmarks.filling import DOCS, fill, markdown
from benchmarks.report import BadReportError, Report, read
from benchmarks.rows import Row
from benchmarks.table import bars, promise, quantity, times

__all__ = ["JSON", "PAGE", "charts", "filled", "main"]

PAGE, JSON = DOCS / "performance.md", DOCS / "performance.json"


def filled(page: str, report: Report) -> str:
    """The page with all that was measured put between its marks."""
    return fill(
        page,
        {
            "measured": _measured(report),
            "verdict": _verdict(report),
            "bars": _bars(report.rows),
            "rows": lambda groups: _rows(report, groups),
            "series": lambda groups: _series(report, groups),
            "shares": _shares(report.rows),
            "others": _others(page, report),
        },
    )


def charts(report: Report) -> dict[str, str]:
    """The charts of the page, by the name of their file in the docs."""
    return {f"performance-{name}.svg": draw(report.rows) for name, draw in CHARTS.items()}


def _measured(report: Report) -> str:
    about = report.about
    rounds = " A quick look, with few rounds." if about.quick else ""
    return (
        f"Measured on {about.date}: Python {about.python}, Trio {about.trio}, "
        f"{about.cores} cores of {about.cpu or 'an unnamed processor'}.{rounds}"
    )


def _verdict(report: Report) -> str:
    promised = [row for row in report.rows if row.verdict]
    missed = [row for row in promised if row.verdict == "MISSED"]
    lines = [f"{len(promised) - len(missed)} of {len(promised)} bars hold."]
    if missed:
        lines += ["", "Missed:", "", *(f"- {row.group}: {_named(row)}" for row in missed)]
    if report.unfinished:
        groups = ", ".join(report.unfinished)
        lines += ["", f"Not measured: {groups}."]
    return "\n".join(lines)


def _bars(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        limit, spread = promise(row)
        if row.verdict and limit is not None and not row.exact:
            measured = times(spread) if spread is row.ratio else quantity(spread, row.unit)
            verdict = "yes" if row.verdict == "ok" else "**no**"
            lines.append([row.group, _named(row), measured, bars(row), verdict])
    return markdown(["group", "what", "measured", "bar", "holds"], lines, right={2, 3})


def _rows(report: Report, groups: Sequence[str]) -> str:
    heads = ["what", "engine", "compared with", "its figure", "ratio (quartiles)", "bar"]
    lines = [
        [
            row.what,
            quantity(row.figure, row.unit),
            row.against,
            "" if row.floor is None else quantity(row.floor, row.unit),
            "" if row.ratio is None else times(row.ratio),
            bars(row),
        ]
        for row in _of(report, groups)
        if not row.series
    ]
    kept = [at for at in range(len(heads)) if at < 2 or any(line[at] for line in lines)]
    return markdown(
        [heads[at] for at in kept],
        [[line[at] for at in kept] for line in lines],
        right={at for at, was in enumerate(kept) if was not in {0, 2}},
    )


def _series(report: Report, groups: Sequence[str]) -> str:
    """A column per size; a row that was not measured at a size has a gap there."""
    rows = [row for row in _of(report, groups) if row.series]
    sizes = sorted(
        {size for row in rows for size in row.series}, key=lambda size: (len(size), size)
    )
    lines = [
        [
            row.what,
            row.unit,
            *(
                quantity(row.series[size], "").rstrip() if size in row.series else ""
                for size in sizes
            ),
            "" if row.ratio is None else f"{times(row.ratio, spread=False)} ({row.against})",
            bars(row),
        ]
        for row in rows
    ]
    heads = ["what", "in", *sizes, "worst growth", "bar"]
    return markdown(heads, lines, right=set(range(2, len(heads))))


def _shares(rows: Sequence[Row]) -> str:
    lines = []
    before = ""
    for row in rows:
        if row.group == "shares" and row.ratio is not None:
            whole, _, part = row.what.partition(": ")
            lines.append(
                [whole if whole != before else "", part, f"{100 * row.ratio.median:.0f} %"]
            )
            before = whole
    return markdown(["", "part", "share"], lines, right={2})


def _others(page: str, report: Report) -> str:
    """What no other mark shows: a group that is new, or one that needs no words."""
    shown = {
        name for names in re.findall(r"<!-- \w+: ([\w ]+) -->", page) for name in names.split()
    }
    exact = {row.group for row in report.rows if row.exact}
    groups = dict.fromkeys(row.group for row in report.rows)
    rest = [name for name in groups if name not in {*shown, *exact, "shares"}]
    return f"## And the rest\n\n{_rows(report, rest)}" if rest else ""


def _of(report: Report, groups: Sequence[str]) -> list[Row]:
    """The rows of groups.

    Raises:
        ValueError: if a group was not measured.
    """
    rows = [row for row in report.rows if row.group in groups]
    missing = set(groups) - {row.group for row in rows} - set(report.unfinished)
    if missing:
        raise ValueError(f"the figures have no rows of {', '.join(sorted(missing))}")
    return rows


def _named(row: Row) -> str:
    return f"{row.what}, against {row.against}" if row.against and not row.series else row.what


def main(argv: Sequence[str] | None = None, docs: Path = DOCS) -> int:
    """Write the page and its charts, or nothing if the figures are not all there."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.page",
        description=f"Write the figures of docs/{JSON.name} into docs/{PAGE.name}, and its charts.",
    )
    parser.parse_args(argv)
    page = docs / PAGE.name
    try:
        found = read(docs / JSON.name)
        texts = {page: filled(page.read_text("utf-8"), found)}
    except (BadReportError, ValueError) as error:
        parser.error(str(error))
    texts |= {docs / name: drawn for name, drawn in charts(found).items()}
    for path, text in texts.items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
