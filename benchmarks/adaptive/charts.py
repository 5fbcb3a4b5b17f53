"""A chart per regime: every call of one seed, and the limits that the learners gave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graceline.testing.traffic import EndedCall

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_CEILING = 3.0
_COLOURS = ("#1f2933", "#c0483b", "#d9a441", "#8a94a3")
_FINE, _CUT, _HUNG = "#9db8ab", "#c0483b", "#6b4fa0"


def draw(regime: str, runs: Mapping[str, Sequence[EndedCall]], path: Path) -> None:
    """Write an SVG; the first learner's calls are the dots.

    Raises:
        ImportError: without matplotlib, which the extra `benchmarks` has.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Text as text and fixed names: the same figures give the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": regime}):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        axes = figure.add_subplot()
        _dots(axes, next(iter(runs.values())))
        for (learner, calls), colour in zip(runs.items(), _COLOURS, strict=False):
            limits = [1000.0 * one.limit for one in calls]
            axes.plot(limits, color=colour, linewidth=1.1, label=f"limit, {learner}")
        axes.set_yscale("log")
        axes.set_xlabel("call")
        axes.set_ylabel("milliseconds")
        axes.set_title(regime, loc="left")
        axes.legend(loc="upper left", fontsize=7, ncols=2, framealpha=0.85)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _dots(axes: Axes, calls: Sequence[EndedCall]) -> None:
    kinds: dict[str, tuple[str, list[tuple[int, float]]]] = {
        "in time, or ended from outside": (_FINE, []),
        "cut, would have finished": (_CUT, []),
        "cut, hung": (_HUNG, []),
    }
    fine, cut, hung = kinds.values()
    for number, one in enumerate(calls):
        kind = fine if not one.cut else hung if one.call.latency > _CEILING else cut
        shown = one.elapsed if kind is not cut else one.call.latency
        kind[1].append((number, 1000.0 * shown))
    for label, (colour, points) in kinds.items():
        if points:
            across, up = zip(*points, strict=True)
            size = 3 if label.startswith("in") else 9
            axes.scatter(across, up, s=size, color=colour, linewidths=0, label=label)
