"""Two reports side by side: what has become better or worse, and what is only noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from rich.table import Table
from rich.text import Text

from benchmarks.measure import Spread
from benchmarks.rows import Row
from benchmarks.table import indented, quantity, times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.report import Report

__all__ = ["Change", "changes", "differences", "lines"]

TOLERANCE = 0.1
"""So much of the old figure may be lost. The middle of one and the same ratio moves by a few
percent from run to run."""

LEAST = 0.02
"""So much of the bar may be lost, if that is more: a tenth of almost nothing is nothing."""

_SAME = ("graceline", "trio", "python", "cores", "cpu", "quick")


@attrs.frozen
class Change:
    """A row as it was and as it is."""

    old: Row
    new: Row

    @property
    def spreads(self) -> tuple[Spread, Spread]:
        """What is compared: ratios, or figures where there is no ratio."""
        if self.old.ratio is None or self.new.ratio is None:
            return self.old.figure, self.new.figure
        return self.old.ratio, self.new.ratio

    @property
    def percent(self) -> float | None:
        """How much more it is; None of a figure that was nothing."""
        old, new = (spread.median for spread in self.spreads)
        return 100 * (new - old) / old if old > 0 else None

    @property
    def apart(self) -> bool:
        """Whether the quartile ranges do not touch."""
        old, new = self.spreads
        return old.high < new.low or new.high < old.low

    @property
    def verdict(self) -> str:
        """`noise`, `same`, `worse`, `better`; `changed` where nothing is promised."""
        old, new = (spread.median for spread in self.spreads)
        if not self.apart:
            return "same" if old == new else "noise"
        bar = self.new.bar if self.new.ratio is not None else self.new.most
        least = self.new.least
        if abs(new - old) <= max(TOLERANCE * abs(old), LEAST * (bar or least or 0.0)):
            return "same"
        if bar is None and least is None:
            return "changed"
        return "worse" if (new < old) == (least is not None) else "better"

    @property
    def decides(self) -> bool:
        """Whether it got worse on any machine: as with bars, a ratio counts, or what is exact."""
        comparable = self.new.ratio is not None or self.new.exact
        return comparable and self.verdict == "worse"


def changes(old: Report, new: Report) -> list[Change]:
    """The rows that are in both, in the order of the new one."""
    before = {row.key: row for row in old.rows}
    return [Change(before[row.key], row) for row in new.rows if row.key in before]


def differences(old: Report, new: Report) -> Iterator[str]:
    """What makes two reports hard to compare, and what is in one of them only."""
    for name in _SAME:
        one, other = getattr(old.about, name), getattr(new.about, name)
        if one != other:
            yield f"{name}: {one} in the old one, {other} in the new one"
    for one, other, which in ((old, new, "old"), (new, old, "new")):
        for group, why in one.unfinished.items():
            yield f"{group} did not finish in the {which} one: {why}"
        groups, keys = {row.group for row in other.rows}, {row.key for row in other.rows}
        alone = [row.key for row in one.rows if row.key not in keys]
        whole = dict.fromkeys(key[0] for key in alone if key[0] not in groups)
        if whole:
            yield f"only in the {which} one: all of {', '.join(whole)}"
        for key in alone:
            if key[0] in groups:
                yield f"only in the {which} one: {', '.join(filter(None, key))}"


def lines(found: list[Change]) -> Table:
    """The comparison for people."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what", ratio=1, min_width=16)
    for head in ("old (IQR)", "new (IQR)", "change"):
        table.add_column(head, justify="right")
    table.add_column("", no_wrap=True)
    group = ""
    for one in found:
        if one.new.group != group:
            group = one.new.group
            table.add_row(Text(group, "bold"))
        what, *cells = _cells(one)
        table.add_row(indented(what), *cells)
    return table


def _cells(one: Change) -> list[Text]:
    row = one.new
    against = f", against {row.against}" if row.against and not row.series else ""
    by_ratio = one.spreads[1] is row.ratio
    shown = [
        times(spread) if by_ratio else quantity(spread, row.unit, spread=True)
        for spread in one.spreads
    ]
    percent = "" if one.percent is None else f"{round(one.percent):+d} %"
    verdict = "(worse)" if one.verdict == "worse" and not one.decides else one.verdict
    style = {"worse": "bold red", "better": "green"}.get(verdict, "")
    return [Text(f"{row.what}{against}"), *map(Text, shown), Text(percent), Text(verdict, style)]
