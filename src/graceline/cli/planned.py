"""A plan on a terminal: what the limits come to, who is to blame, and what would be better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from graceline.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from graceline.planning import PartProjection, Plan, Projection

__all__ = ["show_plan"]

_HEAD = "dim"
_NOTHING = "-"


def show_plan(out: Console, plan: Plan) -> None:
    """Show a plan."""
    now, then = plan.now, plan.recommended.projection
    head = Text.assemble(
        (plan.pipeline, "bold"),
        (f"  {now.runs:,} runs replayed, each with durations that were recorded", "dim"),
    )
    out.print(head, soft_wrap=True)
    out.print()
    out.print(_comparison(now, then))
    blames = _blames(now, then)
    if blames.row_count:
        out.print()
        out.print(blames)
    out.print()
    out.print(_parts(plan))
    out.print()
    said = Table.grid(padding=(0, 4, 0, 0))
    said.add_row("target", _target(plan))
    for note in plan.notes:
        said.add_row("note", note, style="dim")
    out.print(said)


def _table(*columns: str) -> Table:
    """A table without lines: the first column to the left, numbers to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=_HEAD)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
    return table


def _comparison(now: Projection, then: Projection) -> Table:
    table = _table("", "these limits", "recommended")
    statuses = [one for one in dict.fromkeys((*now.statuses, *then.statuses)) if one != "ok"]
    for (name, said), (_, other) in zip(
        _figures(now, statuses), _figures(then, statuses), strict=True
    ):
        table.add_row(name, said, other, style="bold" if name == "answered" else "")
    return table


def _figures(one: Projection, statuses: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The numbers of a projection, each with its name."""
    yield "answered", _percent(one.completion)
    yield "  95 % interval", f"{one.low:.1%} to {one.high:.1%}"
    yield "  degraded", _percent(one.degraded)
    for status in statuses:
        yield status, _percent(one.statuses.get(status, 0) / one.runs)
    yield "time p50", _seconds(one.p50)
    yield "time p95", _seconds(one.p95)
    yield "time p99", _seconds(one.p99)
    yield "wasted per run", f"{format_duration(one.waste)}, {_percent(one.waste_share)}"


def _blames(now: Projection, then: Projection) -> Table:
    table = _table("to blame", "these limits", "recommended")
    shares = [
        {f"{blame.level} {blame.name}, {blame.kind}": blame.share for blame in one.blames}
        for one in (now, then)
    ]
    for name in dict.fromkeys(name for share in shares for name in share):
        table.add_row(name, *(_percent(share.get(name, 0.0)) for share in shares))
    return table


def _parts(plan: Plan) -> Table:
    table = _table("", "calls", "p50", "p95", "no end", "limit", "cut", "new limit", "cut")
    known = {(one.stage, one.node): one for one in plan.nodes}
    now, then = plan.now, plan.recommended.projection
    table.add_row(
        plan.pipeline, "", "", "", "", _seconds(now.limit), "", _changed(now.limit, then.limit), ""
    )
    for part, other in zip(now.parts, then.parts, strict=True):
        node = known.get((part.stage, part.node))
        figures = (
            ("", "", "", "")
            if node is None
            else (
                f"{node.samples:,}" if node.samples else "assumed",
                _seconds(node.p50),
                _seconds(node.p95),
                _percent(node.hangs) if node.hangs else "",
            )
        )
        table.add_row(
            f"    {part.node}" if part.node else f"  {part.stage}",
            *figures,
            _limit(part),
            _percent(part.cut) if part.cut else "",
            _changed(part.limit, other.limit) if not other.learned else "learned",
            _percent(other.cut) if other.cut else "",
        )
    return table


def _limit(part: PartProjection) -> str:
    if part.learned:
        return "learned"
    return "" if part.limit is None else _seconds(part.limit)


def _changed(now: float | None, then: float | None) -> str:
    """A recommended limit; nothing where there is none and was none."""
    if then is None:
        return "" if now is None else "none"
    return _seconds(then)


def _target(plan: Plan) -> str:
    wanted = plan.recommended
    said = f"{_percent(wanted.target)} of the runs answered:"
    if wanted.reached and wanted.kept:
        return f"{said} with the limits as they are"
    if wanted.reached:
        return f"{said} with {_seconds(wanted.projection.limit)} for the pipeline"
    why = ", ".join(
        f"{one.stage}.{one.node} ({_percent(one.hangs)})"
        for one in plan.nodes
        if f"{one.stage}.{one.node}" in wanted.stopped_by
    )
    said += f" not reached, {_percent(wanted.reachable)} at most"
    if why:
        said += f", since there are calls without an end: {why}"
    return f"{said}; the limits stay as they are" if wanted.kept else said


def _percent(share: float) -> str:
    """A share with one decimal; one that is small, but not 0, is not shown as 0."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _seconds(seconds: float | None) -> str:
    return _NOTHING if seconds is None else format_duration(seconds)
