"""The figures that are committed, and whether anything costs more than they say.

They are kept by version of Python, whose interpreters differ. What is compared is the ratio to
hand-written scopes: another build of the interpreter or another Trio moves both sides of it, though
not quite alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any

import attrs

from benchmarks.instructions.scenarios import BARE, ENGINE, HAND, SCENARIOS

__all__ = [
    "FIGURES", "TOLERANCE", "BadFiguresError", "Line", "compare", "load", "ratio", "render", "save",
]  # fmt: skip

FIGURES = Path(__file__).with_name("figures.json")
TOLERANCE = 0.05
"""A ratio may be worse by this share.

From run to run it moves by a fiftieth of it, but between two builds of one version of Python by up
to 3 %, and whoever commits figures need not have the build that CI has.
"""

Counts = Mapping[str, Mapping[str, float]]


class BadFiguresError(Exception):
    """The file of the figures that are committed holds something else; says which, and what."""


@attrs.frozen
class Line:
    """One scenario: what was counted, and what is committed.

    Attributes:
        name: of the scenario.
        engine: instructions per unit, above those of a bare loop where there is one.
        hand: the same of hand-written scopes.
        known: the ratio that is committed; None if there is none.
    """

    name: str
    engine: float
    hand: float
    known: float | None

    @property
    def ratio(self) -> float:
        """What the engine costs as a multiple of hand-written scopes."""
        return self.engine / self.hand

    @property
    def change(self) -> float:
        """By which share the ratio has grown since it was committed; 0 if there is none."""
        return 0.0 if self.known is None else self.ratio / self.known - 1.0

    @property
    def failed(self) -> bool:
        """Whether it got worse by more than the tolerance, or cannot be compared."""
        return self.known is None or self.change > TOLERANCE

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.known is None:
            return "NOT KNOWN"
        if self.failed:
            return "WORSE"
        return "better: keep it by --update" if self.change < -TOLERANCE else "ok"


def ratio(counted: Mapping[str, float]) -> float:
    """The ratio of the engine to hand-written scopes, without what a bare loop costs."""
    below = counted.get(BARE, 0.0)
    return (counted[ENGINE] - below) / (counted[HAND] - below)


def compare(counts: Counts, document: Mapping[str, Any], python: str) -> list[Line]:
    """Hold counts against the figures of a version of Python such as "3.11"."""
    known = document.get(python, {}).get("counts", {})
    lines = []
    for name, counted in counts.items():
        below = counted.get(BARE, 0.0)
        lines.append(
            Line(
                name,
                counted[ENGINE] - below,
                counted[HAND] - below,
                ratio(known[name]) if name in known else None,
            )
        )
    return lines


def load(path: Path) -> dict[str, Any]:
    """The document of all versions; empty if there is no file.

    Raises:
        BadFiguresError: if there is no ratio in it where one should be.
    """
    if not path.exists():
        return {}
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        known = [ratio(one) for of in document.values() for one in of.get("counts", {}).values()]
        broken = [one for one in known if not 0.0 < one < inf]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise BadFiguresError(
            f"{path} holds no figures that --update writes ({type(error).__name__}: {error})"
        ) from error
    if broken:
        raise BadFiguresError(f"{path} holds a ratio of {broken[0]:g}, which nothing can cost")
    return document


def save(path: Path, counts: Counts, python: str) -> None:
    """Write down what was counted; other scenarios and other versions of Python stay."""
    document = load(path)
    kept = document.get(python, {}).get("counts", {})
    kept |= {
        name: {who: round(number) for who, number in counted.items()}
        for name, counted in counts.items()
    }
    kept = {name: kept[name] for name in SCENARIOS if name in kept}
    document[python] = {"trio": version("trio"), "counts": kept}
    path.write_text(json.dumps(dict(sorted(document.items())), indent=2) + "\n")


def render(lines: Iterable[Line]) -> str:
    """The table."""
    table = [("instructions", "", "engine", "by hand", "ratio", "known", "change", "")]
    for line in lines:
        scenario = SCENARIOS[line.name]
        table.append(
            (
                line.name,
                scenario.what,
                f"{line.engine:,.0f} per {scenario.unit}",
                f"{line.hand:,.0f}",
                f"{line.ratio:.3f}",
                "" if line.known is None else f"{line.known:.3f}",
                "" if line.known is None else f"{line.change:+.1%}",
                line.verdict,
            )
        )
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    left = {0, 1, len(widths) - 1}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in table
    )
