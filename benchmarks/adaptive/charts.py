"""A chart per regime: every call of one seed, and the limits that the learners gave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.adaptive.metrics import CEILING
from graceline.testing.traffic import EndedCall

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_LOWEST, _HIGHEST = 1.0, 4500.0
"""Milliseconds: the few calls that end within the first would take half of a chart."""
_COLOURS = ("#1f2933", "#3f78b5", "#d9a441", "#8a94a3")
_FINE, _CUT, _HUNG = "#9db8ab", "#c0483b", "#6b4fa0"


def draw(regime: str, runs: Mapping[str, Sequence[EndedCall]], path: Path) -> None:
    """Write an SVG; the first learner's calls are the dots.

    Raises:
        ImportError: without matplotlib, which the extra `benchmarks` has.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    first, shown = next(iter(runs.items()))
    # Text as text and fixed names: the same figures give the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": regime}):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        axes = figure.add_subplot()
        _dots(axes, shown)
        for (learner, calls), colour in zip(runs.items(), _COLOURS, strict=False):
            limits = [1000.0 * one.limit for one in calls]
            axes.plot(limits, color=colour, linewidth=1.1, label=f"limit, {learner}")
        axes.set_yscale("log")
        shortest = 1000.0 * min(one.elapsed for one in shown)
        axes.set_ylim(max(0.7 * shortest, _LOWEST), _HIGHEST)
        axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.tick_params(axis="y", which="minor", labelsize=7)
        axes.set_xlim(-20, len(shown) + 20)
        axes.set_xlabel("call")
        axes.set_ylabel("milliseconds")
        axes.set_title(f"{regime}; the dots are the calls under {first}", loc="left")
        # Below the axes: within them it would hide the probes, which are at the top.
        figure.legend(loc="outside lower center", fontsize=8, ncols=4, markerscale=2, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _dots(axes: Axes, calls: Sequence[EndedCall]) -> None:
    kinds: dict[str, tuple[str, list[tuple[int, float]]]] = {
        "in time, or ended from outside": (_FINE, []),
        "cut, would have finished": (_CUT, []),
        "cut, longer than the ceiling": (_HUNG, []),
    }
    fine, cut, hung = kinds.values()
    for number, one in enumerate(calls):
        kind = fine if not one.cut else hung if one.call.latency > CEILING else cut
        shown = one.elapsed if kind is not cut else one.call.latency
        kind[1].append((number, 1000.0 * shown))
    for label, (colour, points) in kinds.items():
        if points:
            across, up = zip(*points, strict=True)
            size, above = (3, 1) if label.startswith("in") else (12, 3)  # lines are at 2
            axes.scatter(across, up, s=size, color=colour, linewidths=0, label=label, zorder=above)
