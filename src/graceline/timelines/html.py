"""The waterfall as HTML: a page that needs nothing else, and a fragment for notebooks.

The bars are a treegrid: arrow keys move from row to row and fold stages away. Without scripts
everything is unfolded. Whatever a name contains is escaped, and no value is shown at all.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING

from graceline.timelines.axis import brief, share, step_of, ticks
from graceline.timelines.burning import common_scale, known_until
from graceline.timelines.lines import (
    density,
    facts_of,
    groups_of,
    legible,
    status_of,
    word_of,
)
from graceline.timelines.look import MARKS
from graceline.timelines.sheet import fragment_css, script
from graceline.timelines.track import cut_above, track, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graceline.timelines.drawn import Drawn
    from graceline.timelines.lines import Group, Line
    from graceline.timelines.rows import Row

__all__ = ["fragment", "page"]

_LONG = 32  # characters from which a name may not fit, so that it is told on hovering too
_END = 92  # percent of the axis from which a mark ends where it stands
_LEGEND = {
    "work": ("bar", "work"),
    "unwinding": ("bar grace", "unwinding, from its cancel to its end"),
    "backoff": ("bar backoff", "backoff"),
    "queue": ("bar queue", "waits for a slot"),
    "refused": ("bar refused", "refused"),
    "limit": ("limit", "its own limit"),
    "above": ("limit above", "a limit above it"),
}


def page(timelines: Sequence[Drawn], names: Sequence[str] = (), *, now: float = 0.0) -> str:
    """A page with the waterfalls of one run, or of two side by side.

    Args:
        timelines: one or two.
        names: what to call them, if there are two.
        now: for a run that goes on, seconds since its submission.
    """
    runs = [timeline.pipeline for timeline in timelines]
    title = ", ".join(
        f"{legible(run.name)}: {word_of(status_of(run, now))}" for run in runs if run is not None
    )
    key = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{key}'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title or "no run")}</title>
</head>
<body class="graceline-page">
{fragment(timelines, names, now=now)}
</body>
</html>
"""


def fragment(timelines: Sequence[Drawn], names: Sequence[str] = (), *, now: float = 0.0) -> str:
    """The same as a part of another page; its style sheet touches nothing else there."""
    scale = common_scale(timelines, now)
    drawn = [
        _run(timeline, name, scale, known_until(timeline, now))
        for timeline, name in zip(timelines, names or [""] * len(timelines), strict=True)
    ]
    step = share(step_of(scale), scale or 1.0)
    pair = " pair" if len(drawn) > 1 else ""
    return (
        f'<div class="graceline{pair}" style="--step:{step}%">\n<style>\n{fragment_css()}</style>\n'
        f'<div class="runs">\n{"".join(drawn)}</div>\n</div>\n<script>{script()}</script>'
    )


def _run(timeline: Drawn, called: str, scale: float, now: float) -> str:
    run = timeline.pipeline
    if run is None:
        return "<p>nothing was heard of a run</p>\n"
    status, name = status_of(run, now), legible(run.name)
    which = f'<p class="which"><bdi>{escape(legible(called))}</bdi></p>\n' if called else ""
    soft = ", degraded" if timeline.degraded and status in ("ok", "late") else ""
    tone = "late" if soft else status
    facts, before = "", ""
    for word, what in facts_of(run, timeline, now):
        facts += "" if word == before else f"<dt>{escape(word)}</dt>"
        facts += f"<dd><bdi>{escape(what)}</bdi></dd>\n"
        before = word
    groups = groups_of(timeline, now)
    body = "".join(_group(group, scale or 1.0, now) for group in groups)
    head = (
        f'<section class="run is-{tone}" data-status="{status}">\n{which}<header>'
        f"<h2><bdi>{escape(name)}</bdi></h2>"
        f'<span class="badge">{MARKS[status]} {word_of(status)}{soft}</span></header>\n'
        f'<dl class="facts">\n{facts}</dl>\n'
    )
    if not groups:
        return f"{head}</section>\n"
    whole = f"{name}, {word_of(status)}: stages and nodes over time"
    return (
        f'{head}<table role="treegrid" aria-label="{escape(whole)}">\n'
        f"{_axis(scale)}{body}</table>\n{_legend(groups, scale or 1.0, now)}</section>\n"
    )


def _axis(scale: float) -> str:
    marks = ""
    found = ticks(scale)
    for number, (left, word) in enumerate(found):
        kind = "last" if left > _END else "first" if left == 0 else "mark"
        # Where there is little room every other one goes, and what comes too near the last.
        near = number == len(found) - 2 and found[-1][0] > _END
        spare = " spare" * (kind == "mark" and (number % 2 == 1 or near))
        marks += f'<span class="{kind}{spare}" style="left:{left}%">{word}</span>'
    return (
        '<thead role="rowgroup"><tr role="row" class="axis">'
        '<th role="columnheader" scope="col"><span class="quiet">part</span></th>'
        '<th role="columnheader" scope="col"><span class="quiet">time</span>'
        f'<div class="track" aria-hidden="true">{marks}</div></th>'
        '<th role="columnheader" scope="col"><span class="quiet">status</span></th>'
        '<th role="columnheader" scope="col"><span class="quiet">took</span></th></tr></thead>\n'
    )


def _group(group: Group, scale: float, now: float) -> str:
    rows = "".join(
        _row(line, scale, now, group=group if number == 0 else None)
        for number, line in enumerate(group.lines)
    )
    folded = " data-folded" if group.folded else ""
    return f'<tbody role="rowgroup"{folded}>\n{rows}</tbody>\n'


def _row(line: Line, scale: float, now: float, *, group: Group | None) -> str:
    row = line.row
    classes = f"{row.level} is-{line.status}{' blamed' * row.blamed}{' hid' * line.hides}"
    folds = group is not None and group.told
    state = ' aria-expanded="true"' if folds else ""
    title = f' title="{escape(line.name)}"' if len(line.name) > _LONG else ""
    name = f"<span{title}><bdi>{escape(line.name)}</bdi></span>"
    if folds and group is not None:
        label = escape(f"nodes of {line.name}")
        name = f'<button type="button" aria-expanded="true" aria-label="{label}"></button>{name}'
        name += f"<small>{group.told}</small>"
    head = f'<tr role="row" aria-level="{line.indent + 1}"{state} class="{classes}">'
    if row.level == "more":
        return (
            f'{head}<th role="rowheader" scope="row"><span>… {escape(line.name)}</span></th>'
            '<td role="gridcell"><div class="track empty"></div></td>'
            '<td role="gridcell"></td><td role="gridcell"></td></tr>\n'
        )
    holds = group is not None and bool(group.nodes) and row.level == "stage"
    bar = track(row, scale, now, label=line.label, thin=holds)
    if folds and group is not None:
        bar = bar.replace("</div>", f"{_density(group.nodes, scale, now)}</div>")
    said = f"{MARKS[line.status]} {word_of(line.status)}"
    blame = "<b>◄ to blame</b>" * row.blamed
    notes = [note for note in line.notes if note != "to blame"]
    small = f"<small>{', '.join(notes)}</small>" if notes else ""
    limit = "" if row.limit is None else f" <small>limit {_limit(row)}</small>"
    return (
        f'{head}<th role="rowheader" scope="row">{name}</th><td role="gridcell">{bar}</td>'
        f'<td role="gridcell" class="status">{said}{blame}{small}</td>'
        f'<td role="gridcell" class="time">{line.took}{limit}</td></tr>\n'
    )


def _limit(row: Row) -> str:
    return brief(row.limit or 0.0)


def _density(nodes: Sequence[Row], scale: float, now: float) -> str:
    """How many of many nodes were at it over time, as an area."""
    counts, most = density(nodes, scale, now)
    if most == 0:
        return ""
    steps = "".join(
        f"V{10 - round(10 * count / most, 1):g}H{at + 1}" for at, count in enumerate(counts)
    )
    return (
        '<svg class="density" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="M0 10{steps}V10Z"/></svg>'
    )


def _legend(groups: Sequence[Group], scale: float, now: float) -> str:
    rows = [line.row for group in groups for line in group.lines if line.row.level != "more"]
    kinds = {piece.kind for row in rows for piece in visible(row, scale, now)}
    for row in rows:
        if row.limit_at is not None and row.limit_at <= scale:
            own = row.limit is not None and cut_above(row) is None
            kinds.add("limit" if own else "above")
    items = "".join(
        f'<li><span class="sample"><i class="{classes}"></i></span>{what}</li>'
        for kind, (classes, what) in _LEGEND.items()
        if kind in kinds
    )
    if any(group.told for group in groups):
        items += '<li><span class="sample"><i class="area"></i></span>how many nodes at once</li>'
    return f'<ul class="legend" aria-label="what the bars mean">{items}</ul>\n'
