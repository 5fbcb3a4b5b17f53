"""A report: rows with what they were measured on, as JSON and back."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import cattrs

from benchmarks.rows import Row

if TYPE_CHECKING:
    from benchmarks.effort import Effort

__all__ = ["BadReportError", "Report", "Surroundings", "read", "rows_from", "surroundings", "write"]


class BadReportError(Exception):
    """A file that `--json` has not written; says which, and what is wrong with it."""


@attrs.frozen(kw_only=True)
class Surroundings:
    """What was measured, and on what; nothing of it names the machine."""

    date: str
    graceline: str
    trio: str
    python: str
    cores: int | None
    cpu: str
    quick: bool


@attrs.frozen(kw_only=True)
class Report:
    """What a run of the benchmarks has found.

    Attributes:
        about: what was measured, and on what.
        rows: of all groups that finished, in their order.
        unfinished: why there are no rows of a group, by its name.
    """

    about: Surroundings
    rows: tuple[Row, ...]
    unfinished: Mapping[str, str]

    @property
    def exit_code(self) -> int:
        """1 if a row has missed a bar that decides, or a group has not finished; else 0."""
        return int(bool(self.unfinished) or any(row.missed for row in self.rows))


def surroundings(effort: Effort) -> Surroundings:
    """Those of this process."""
    return Surroundings(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        graceline=version("graceline"),
        trio=version("trio"),
        python=platform.python_version(),
        cores=os.cpu_count(),
        cpu=_cpu(Path("/proc/cpuinfo")),
        quick=effort.quick,
    )


def _cpu(info: Path) -> str:
    """The name of the processor, "" where nobody says it."""
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def write(report: Report, path: Path) -> None:
    """Write a report down."""
    path.write_text(json.dumps(to_document(report), indent=1) + "\n", "utf-8")


def to_document(report: Report) -> dict[str, Any]:
    """A report as plain JSON types, with the verdicts that follow from its figures."""
    rows = [attrs.asdict(row) | {"verdict": row.verdict} for row in report.rows]
    return {
        **attrs.asdict(report.about),
        "rows": rows,
        "missed": [row.what for row in report.rows if row.missed],
        "unfinished": dict(report.unfinished),
    }


def read(path: Path) -> Report:
    """Read a report.

    Raises:
        BadReportError: if there is none.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadReportError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadReportError(f"{path} is no JSON: {error}") from error
    try:
        return from_document(document)
    except (cattrs.BaseValidationError, TypeError, LookupError) as error:
        raise _bad(path, "; ".join(cattrs.transform_error(error)[:3])) from error
    except ValueError as error:
        raise _bad(path, str(error)) from error


def _bad(path: Path, what: str) -> BadReportError:
    return BadReportError(
        f"{path} is no report that `python -m benchmarks --json` of this version writes: {what}"
    )


def from_document(document: Any) -> Report:
    """A report from its JSON."""
    if not isinstance(document, dict) or not isinstance(document.get("unfinished", {}), dict):
        raise ValueError("a report is an object, and so is `unfinished`")  # noqa: TRY004 - of JSON
    return Report(
        about=cattrs.structure(document, Surroundings),
        rows=rows_from(document["rows"]),
        unfinished=cattrs.structure(document["unfinished"], dict[str, str]),
    )


def rows_from(document: Any) -> tuple[Row, ...]:
    """Rows from their JSON.

    Raises:
        ValueError: for what is no list, or a figure that is no finite number: no bar can be held
            against it.
        cattrs.BaseValidationError: for rows of another shape.
    """
    if not isinstance(document, list):
        raise ValueError(f"rows are a list, not {document!r:.40}")  # noqa: TRY004 - of JSON
    rows = cattrs.structure(document, tuple[Row, ...])
    for row in rows:
        for spread in filter(None, (row.figure, row.floor, row.ratio, *row.series.values())):
            if not all(map(isfinite, (spread.median, spread.low, spread.high))):
                raise ValueError(f"a figure of {row.group}, {row.what} is no finite number")
    return rows
