"""The durations of a key as a picture: an SVG, or a page that needs nothing else.

matplotlib is imported with this module, so import it when a picture is asked for. No state of
pyplot is touched, and the same calls give the same file.
"""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from graceline.adaptive.course import time_of
from graceline.cli.history.keys import about, path_of
from graceline.cli.history.marks import CALLS, WORDS, drawn, kind_of, lasting, probing
from graceline.cli.history.scale import scale_for
from graceline.cli.history.words import facts_of, split_name
from graceline.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from graceline.adaptive import Key
    from graceline.adaptive.course import Point, Summary

__all__ = ["draw_page", "draw_svg"]

_INK, _FAINT, _GRID = "#1f2933", "#5b6672", "#e3e7ec"
_COMPLETED, _P95, _LIMIT = "#7d92a8", "#12806a", "#1d4fa3"
_CENSORED, _PROBE, _ALARM = "#c0483b", "#8a3fa0", "#c77700"
_TICKS = 9
_ACROSS = 72  # characters of a heading that fit beside each other
_HARDLY = 0.01  # share of the calls up to which a line is too short to be seen
_FEW = 60  # calls up to which their marks may be large
_STYLE = {"svg.hashsalt": "graceline", "font.size": 10.0, "text.color": _INK}


def draw_svg(key: Key, points: Sequence[Point], summary: Summary) -> str:
    """The picture of the calls of a key as the text of an SVG file."""
    return _drawn(key, points, summary, heading=True)


def _drawn(key: Key, points: Sequence[Point], summary: Summary, *, heading: bool) -> str:
    name = path_of(key)
    with style.context(_STYLE, after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name that the font lacks is drawn as boxes
        figure = Figure(figsize=(9.6, 5.2))
        figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        _draw(axes, points, summary)
        if heading:
            lines = "\n".join(split_name(name, _ACROSS))
            figure.suptitle(lines, x=0.01, ha="left", fontweight="bold", parse_math=False)
            axes.set_title(about(key), loc="left", fontsize=10.0, color=_FAINT, parse_math=False)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Title": name})
    return written.getvalue()


def draw_page(key: Key, points: Sequence[Point], summary: Summary) -> str:
    """The picture and the numbers of the calls of a key as the text of an HTML file."""
    svg = _drawn(key, points, summary, heading=False)  # the page has its own
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        name=path_of(key),
        about=about(key),
        facts=facts_of(summary),
        learned=summary.limit is not None,
        svg=svg[svg.index("<svg") :],
    )


def _draw(axes: Axes, points: Sequence[Point], summary: Summary) -> None:
    edges = [number - 0.5 for number in range(1, len(points) + 2)]
    older = summary.samples - summary.counted
    if 0 < older < len(points):
        axes.axvspan(0.5, older + 0.5, color="#f2f3f5", zorder=0, label="forgotten by the learner")
    _dots(axes, points)
    lines = {"limit": lasting(points), "p95": [point.p95 for point in points]}
    for name, line in lines.items():
        known = sum(seconds is not None for seconds in line)
        if known > len(points) * _HARDLY:
            look = {"label": WORDS[name], **_LINES[name]}
            axes.step(edges, _gaps(line), where="post", zorder=4, **look)
    limits = [(number, one) for number, one in enumerate(probing(points), 1) if one is not None]
    if limits:
        axes.scatter(*zip(*limits, strict=True), label=WORDS["probing"], zorder=5, **_PROBING)
    _frame(axes, points)


def _dots(axes: Axes, points: Sequence[Point]) -> None:
    """One mark per call, by how it ended and what its limit was."""
    kinds: dict[str, list[tuple[int, float]]] = {}
    for number, point in enumerate(points, 1):
        kinds.setdefault(kind_of(point), []).append((number, point.duration))
    for kind in CALLS:
        if kind in kinds:
            look = _LOOKS[kind]
            across, up = zip(*kinds[kind], strict=True)
            size = look["s"] * (1 if len(points) > _FEW else 3)
            axes.scatter(
                across, up, **(look | {"s": size}), label=WORDS[kind], zorder=5, clip_on=False
            )


_LINES: dict[str, dict[str, Any]] = {
    "limit": {"color": _LIMIT, "linewidth": 1.8},
    "p95": {"color": _P95, "linewidth": 1.3, "linestyle": (0, (3, 1.5))},
}
_PROBING: dict[str, Any] = {"marker": "_", "s": 60, "color": _PROBE, "linewidths": 1.8}
_LOOKS: dict[str, dict[str, Any]] = {
    "completed": {"marker": "o", "s": 11, "color": _COMPLETED, "linewidths": 0},
    "censored": {"marker": "x", "s": 26, "color": _CENSORED, "linewidths": 1.4},
    "probe": {"marker": "D", "s": 24, "color": _PROBE, "linewidths": 0},
    "hung": {
        "marker": "D",
        "s": 24,
        "facecolors": "white",
        "edgecolors": _PROBE,
        "linewidths": 1.4,
    },
    "alarm": {"marker": "^", "s": 70, "color": _ALARM, "linewidths": 0},
}


def _gaps(line: Iterable[float | None]) -> list[float]:
    """A line that is not drawn where it is unknown; its last value reaches past the last call."""
    values = [math.nan if seconds is None else seconds for seconds in line]
    return [*values, values[-1]]


def _frame(axes: Axes, points: Sequence[Point]) -> None:
    """The scales and what the marks mean."""
    scale = scale_for(drawn(points))
    if scale.log:
        axes.set_yscale("log")
    axes.set_ylim(scale.low, scale.high)
    ticks = scale.ticks(_TICKS)
    axes.set_yticks(ticks, [format_duration(tick) for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_xlim(0.5, len(points) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(color=_GRID, labelcolor=_FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_ylabel("duration" + (", logarithmic" if scale.log else ", linear"), color=_FAINT)
    axes.set_xlabel(_across(points), color=_FAINT)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, frameon=False)


def _across(points: Sequence[Point]) -> str:
    began, ended = time_of(points[0].at), time_of(points[-1].at)
    if began is None or ended is None:
        return "call, the oldest first"
    return f"call, from {began:%Y-%m-%d %H:%M} to {ended:%Y-%m-%d %H:%M} UTC"
